"""Maps, targets and fixations for the tests of saliency metrics."""

import numpy as np
import torch

H, W = 18, 25


def make_case(name, seed=0):
    """Maps, targets and fixations in float64; every frame has a fixation."""
    rng = np.random.default_rng(seed)
    maps, target = rng.random((4, H, W)), rng.random((4, H, W)) ** 4
    fixations = np.stack([rng.uniform(0, W - 1, (4, 9)), rng.uniform(0, H - 1, (4, 9)), np.full((4, 9), 200.0)], -1)
    if name == "constant":
        maps[:] = 0.3
    elif name == "zero":
        maps[:] = 0.0
    elif name == "single":
        fixations[:, 1:, 2] = 0
    elif name == "border":
        fixations[:, 0, :2], fixations[:, 1, :2] = (-0.5, -0.4), (W - 0.51, H - 0.6)
        fixations[:, 2, :2], fixations[:, 3, :2] = (W - 0.5, 3), (-0.51, 3)
    elif name == "ties":
        maps = np.round(maps * 5) / 5
        fixations[:, 4:] = fixations[:, 3:4]
    elif name == "sparse":
        maps[:, :, 5:] = 0
        target[:, :5] = 0
    return (
        torch.tensor(maps),
        torch.tensor(target / target.sum((1, 2), keepdims=True)),
        torch.tensor(fixations),
    )


CASES = ["random", "constant", "zero", "single", "border", "ties", "sparse"]

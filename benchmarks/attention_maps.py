"""Attention maps: two small matrix products against filtering a fixation map with SciPy.

    python benchmarks/attention_maps.py

64 frames of 240 x 240 px with 40 fixations each, sigma 30 px, on one CPU thread; both give float32 maps with
maximum 1.
"""

from functools import partial

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from anatomark.geometry.attention import render_map
from timing import best_seconds

SIDE, SIGMA, N_FIXATIONS, N_FRAMES = 240, 30.0, 40, 64
TRUNCATE = 4.0
"""Deviations after which SciPy cuts its kernel off; its default."""
REPEATS = 5


def make_fixations() -> Tensor:
    """Fixations on distinct pixels of every frame, because a binary fixation map holds each pixel once."""
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.choice(SIDE**2, N_FIXATIONS, replace=False) for _ in range(N_FRAMES)])
    columns = [pixels % SIDE, pixels // SIDE, np.full_like(pixels, 200)]
    return torch.from_numpy(np.stack(columns, axis=-1).astype(np.float32))


def render_with_scipy(fixations: Tensor, truncate: float = TRUNCATE) -> np.ndarray:
    """Binary fixation maps, filtered one by one and divided by their maxima."""
    binary = np.zeros((N_FRAMES, SIDE, SIDE), dtype=np.float32)
    x, y = fixations[..., 0].long().numpy(), fixations[..., 1].long().numpy()
    binary[np.arange(N_FRAMES)[:, None], y, x] = 1
    maps = [gaussian_filter(frame, SIGMA, mode="constant", truncate=truncate) for frame in binary]
    return np.stack([frame / frame.max() for frame in maps])


def render_ours(fixations: Tensor) -> np.ndarray:
    """The same with the project's renderer."""
    return render_map(fixations, size=(SIDE, SIDE), sigma=SIGMA, weighting="equal").numpy()


def main() -> None:
    torch.set_num_threads(1)
    fixations = make_fixations()
    ours, theirs = (
        best_seconds(partial(render, fixations), repeats=REPEATS) for render in (render_ours, render_with_scipy)
    )
    print(f"anatomark {1000 * ours:8.2f} ms per batch")
    print(f"SciPy     {1000 * theirs:8.2f} ms per batch")
    print(f"ratio     {theirs / ours:8.1f} x")
    cut = np.abs(render_ours(fixations) - render_with_scipy(fixations)).max()
    whole = np.abs(render_ours(fixations) - render_with_scipy(fixations, truncate=SIDE / SIGMA)).max()
    print(f"largest difference of maps in [0, 1]: {cut:.1e}; with SciPy's kernel uncut: {whole:.1e}")


if __name__ == "__main__":
    main()

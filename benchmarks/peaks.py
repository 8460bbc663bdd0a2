"""Peaks of a batch of saliency maps: ours and scikit-image's ``peak_local_max``, and the ratio of times.

Run: ``python benchmarks/peaks.py``
"""

from functools import partial

import numpy as np
import torch
from skimage.feature import peak_local_max
from torch import Tensor

from anatomark.geometry.peaks import find_peaks
from timing import best_seconds

BATCH, HEIGHT, WIDTH = 64, 28, 36
MIN_DISTANCE, THRESHOLD = 2, 0.1
REPEATS = 30


def saliency_like_maps(seed: int) -> Tensor:
    """Sums of eight Gaussians per map, maximum 1."""
    rng = torch.Generator().manual_seed(seed)
    centre = torch.rand(BATCH, 8, 1, 1, 2, generator=rng) * torch.tensor([WIDTH, HEIGHT])
    height = torch.rand(BATCH, 8, 1, 1, generator=rng)
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    squared = (torch.stack([x, y], dim=-1) - centre).square().sum(-1)
    maps = (height * torch.exp(-squared / 8)).sum(1)
    return maps / maps.amax((1, 2), keepdim=True)


def ours(maps: Tensor) -> set[tuple[int, int, int]]:
    peaks = find_peaks(maps, min_distance=MIN_DISTANCE, threshold=THRESHOLD)
    return {(f, x, y) for f, (x, y) in zip(peaks.frame.tolist(), peaks.cell.tolist(), strict=True)}


def peers(maps: Tensor) -> set[tuple[int, int, int]]:
    # scikit-image compares with >, the paper with >=.
    below = np.nextafter(np.float32(THRESHOLD), np.float32(-np.inf))
    return {
        (frame, int(x), int(y))
        for frame, image in enumerate(maps.numpy())
        for y, x in peak_local_max(
            image,
            min_distance=MIN_DISTANCE,
            threshold_abs=below,
            threshold_rel=None,
            exclude_border=False,
            num_peaks=np.inf,
            footprint=None,
            labels=None,
            num_peaks_per_label=np.inf,
            p_norm=np.inf,
        )
    }


def main() -> None:
    for name, maps in {
        "sums of Gaussians": saliency_like_maps(0),
        "uniform noise": torch.rand(BATCH, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)),
    }.items():
        found = ours(maps)
        if found != peers(maps):
            raise SystemExit(f"{name}: the two sets of peaks differ")
        our_time, peer_time = (best_seconds(partial(find, maps), repeats=REPEATS) for find in (ours, peers))
        print(
            f"peaks, {BATCH} x {HEIGHT} x {WIDTH}, {name}: {len(found)} peaks, identical sets; "
            f"anatomark {our_time * 1e3:.2f} ms, scikit-image {peer_time * 1e3:.2f} ms, "
            f"ratio {peer_time / our_time:.1f}"
        )


if __name__ == "__main__":
    main()

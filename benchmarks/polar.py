"""Polar images: one grid sampling of a batch against scikit-image's warp and OpenCV's remap, called frame by frame.

    python benchmarks/polar.py

32 frames of 224 x 224 px, each of its own sector, to polar images of 224 x 224 px, bilinear, on one CPU thread. All
three work out where the pixels come from anew for every frame, as they must for frames of different sectors. OpenCV is
compared where it is installed (pip install opencv-python-headless).
"""

import importlib
from typing import Any

import numpy as np
import torch
from skimage.transform import warp
from torch import Tensor

from anatomark.geometry.polar import to_polar
from anatomark.types import PolarGrid
from timing import best_seconds

SIDE, N_FRAMES = 224, 32
REPEATS = 7


def make_frames() -> tuple[Tensor, list[PolarGrid]]:
    """Frames of noise that is smooth over a few px, as speckle is, and sectors that fill them."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(N_FRAMES, 1, SIDE // 4, SIDE // 4, generator=generator)
    images = torch.nn.functional.interpolate(noise, size=(SIDE, SIDE), mode="bilinear")
    grids = []
    for share in torch.rand(N_FRAMES, generator=generator).tolist():
        near = 60 + 60 * share
        grids.append(
            PolarGrid.of(
                {
                    "apex": torch.tensor([SIDE / 2 + 10 * share, 4 - near]),
                    "radii": torch.tensor([near, near + 215]),
                    "half_angle": 0.45 + 0.2 * share,
                    "tilt": 0.1 * share,
                },
                (SIDE, SIDE),
            )
        )
    return images, grids


def sources(grid: PolarGrid) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of a polar image lie in the frame: columns and rows, float32."""
    depth = grid.near + (np.arange(SIDE, dtype=np.float32) + 0.5) * ((grid.far - grid.near) / SIDE)
    angle = grid.tilt - grid.half_angle + (np.arange(SIDE, dtype=np.float32) + 0.5) * (2 * grid.half_angle / SIDE)
    x, y = grid.apex[0] + np.outer(depth, np.sin(angle)), grid.apex[1] + np.outer(depth, np.cos(angle))
    return x.astype(np.float32), y.astype(np.float32)


def with_skimage(images: Tensor, grids: list[PolarGrid]) -> np.ndarray:
    """Frame by frame with scikit-image."""
    frames = zip(images[:, 0].numpy(), grids, strict=True)
    return np.stack([warp(frame, np.stack(sources(grid)[::-1]), order=1) for frame, grid in frames])


def with_opencv(cv2: Any, images: Tensor, grids: list[PolarGrid]) -> np.ndarray:
    """Frame by frame with OpenCV."""
    frames = zip(images[:, 0].numpy(), grids, strict=True)
    return np.stack([cv2.remap(frame, *sources(grid), cv2.INTER_LINEAR) for frame, grid in frames])


def ours(images: Tensor, grids: list[PolarGrid]) -> np.ndarray:
    """The batch at once."""
    return to_polar(images, grids)[:, 0].numpy()


def main() -> None:
    torch.set_num_threads(1)
    images, grids = make_frames()
    reference, own = ours(images, grids), best_seconds(lambda: ours(images, grids), repeats=REPEATS)
    print(f"anatomark    {1000 * own:8.1f} ms per batch")
    peers = {"scikit-image": with_skimage}
    try:
        cv2 = importlib.import_module("cv2")
        cv2.setNumThreads(1)
        peers["OpenCV"] = lambda *batch: with_opencv(cv2, *batch)
    except ImportError:
        print("OpenCV       is not installed")
    inside = np.stack([np.all([np.stack(xy) > 1, np.stack(xy) < SIDE - 2], axis=(0, 1)) for xy in map(sources, grids)])
    for name, transform in peers.items():
        theirs = best_seconds(lambda transform=transform: transform(images, grids), repeats=REPEATS)  # type: ignore[misc]
        off = np.abs(transform(images, grids) - reference)[inside].max()
        print(f"{name:<12} {1000 * theirs:8.1f} ms per batch, {theirs / own:5.1f} x; largest difference {off:.1e}")
    # Some versions of OpenCV round positions to 1/32 px: up to half of that per axis, times the steepest slope.
    slope = max(float(images.diff(dim=axis).abs().max()) for axis in (-1, -2))
    print(f"1/64 px along both axes can make {2 * slope / 64:.1e} in images from 0 to 1")


if __name__ == "__main__":
    main()

"""Small volumes on an oblique grid of unequal spacing."""

from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from anatomark.geometry.volumes import Volume, VolumeGeometry

OBLIQUE = Rotation.from_euler("xyz", (25, -40, 130), degrees=True).as_matrix()
SPACING = (0.3, 0.45, 1.1)
ORIGIN = np.array([-12.0, 34.5, 7.25])


def grid(size: tuple[int, int, int] = (12, 10, 8), **changed: Any) -> VolumeGeometry:
    values: dict[str, Any] = {
        "spacing_mm": SPACING,
        "origin_mm": tuple(ORIGIN.tolist()),
        "direction": tuple(tuple(row) for row in OBLIQUE.tolist()),
        "size": size,
    }
    return VolumeGeometry(**(values | changed))


def noise(geometry: VolumeGeometry, seed: int = 0) -> Volume:
    voxels = 1000 * torch.randn(geometry.size[::-1], generator=torch.Generator().manual_seed(seed))
    return Volume(voxels=voxels, geometry=geometry)


def ball(geometry: VolumeGeometry, radius_mm: float) -> Volume:
    inside = (positions(geometry) - geometry.centre_mm).norm(dim=-1) <= radius_mm
    return Volume(voxels=inside.float(), geometry=geometry)


def positions(geometry: VolumeGeometry) -> Tensor:
    """LPS mm of every voxel, (k, j, i, 3)."""
    k, j, i = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in geometry.size[::-1]), indexing="ij")
    return geometry.to_mm(torch.stack([i, j, k], dim=-1))

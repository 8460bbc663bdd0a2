"""Convex hulls of masks against another way of making them."""

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay
from torch import Tensor

from anatomark.geometry.hulls import convex_hull
from anatomark.types import AnatomarkError


def by_simplices(mask: Tensor) -> Tensor:
    """Voxels in any tetrahedron of a triangulation of the mask's voxels."""
    points = np.argwhere(mask.numpy())
    every = np.argwhere(np.ones(mask.shape, dtype=bool))
    inside = Delaunay(points).find_simplex(every, tol=1e-9) >= 0
    return torch.from_numpy(inside.reshape(mask.shape)) | mask


def sphere(radius: float, inner: float = -1.0) -> Tensor:
    distance = torch.stack(torch.meshgrid(*[torch.arange(15.0) - 7] * 3, indexing="ij")).norm(dim=0)
    return (distance <= radius) & (distance > inner)


@pytest.mark.parametrize("seed", range(5))
def test_hulls_are_those_of_a_triangulation(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(9, 11, 13, dtype=torch.bool)
    mask[2:8, 1:9, 3:12] = torch.rand(6, 8, 9, generator=generator) < 0.05
    assert torch.equal(convex_hull(mask), by_simplices(mask))


def test_the_hull_of_a_shell_is_the_ball() -> None:
    shell = sphere(6.0, inner=4.5)
    assert torch.equal(convex_hull(shell), convex_hull(sphere(6.0)))
    assert bool(convex_hull(shell)[7, 7, 7])


def test_the_hull_of_a_hull_is_itself_and_turns_with_its_axes() -> None:
    mask = torch.rand(8, 9, 10, generator=torch.Generator().manual_seed(0)) < 0.02
    hull = convex_hull(mask)
    assert torch.equal(convex_hull(hull), hull)
    assert torch.equal(convex_hull(mask.permute(2, 0, 1)), hull.permute(2, 0, 1))
    assert torch.equal(convex_hull(mask.flip(2)), hull.flip(2))


def test_rows_are_met_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = torch.rand(8, 9, 10, generator=torch.Generator().manual_seed(1)) < 0.05
    whole = convex_hull(mask)
    monkeypatch.setattr("anatomark.geometry.hulls._PAIRS_AT_ONCE", 1)
    assert torch.equal(convex_hull(mask), whole)


def test_masks_without_a_volume_are_refused() -> None:
    flat = torch.zeros(5, 6, 7, dtype=torch.bool)
    with pytest.raises(AnatomarkError, match="is empty"):
        convex_hull(flat)
    flat[2, 1:5, 1:5] = True
    with pytest.raises(AnatomarkError, match="lies in a plane"):
        convex_hull(flat)
    flat[:] = False
    flat[0, 0, 0] = True
    with pytest.raises(AnatomarkError, match="lies in a plane"):
        convex_hull(flat)

"""Grids of volumes, against SimpleITK's own mapping and by invariance."""

import math
from typing import Any

import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from anatomark.geometry.volumes import VolumeGeometry, as_image, geometry_of
from anatomark.types import AnatomarkError

# The machine that runs the tests may be busy.
few = settings(max_examples=30, deadline=None)

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def geometry(**changed: Any) -> VolumeGeometry:
    values = {
        "spacing_mm": (0.3, 0.5, 1.25),
        "origin_mm": (-12.0, 34.5, 7.25),
        "direction": turned((40.0, -25.0, 110.0)),
        "size": (9, 7, 5),
    }
    return VolumeGeometry(**(values | changed))


def turned(degrees: tuple[float, float, float], mirrored: bool = False) -> Any:
    matrix = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:, 2] *= -1 if mirrored else 1
    return tuple(tuple(row) for row in matrix.tolist())


@st.composite
def grids(draw: st.DrawFn) -> VolumeGeometry:
    def three(low: float, high: float) -> Any:
        # Not of hypothesis' smallest numbers, near which ITK's own inverse of the direction is NaN.
        return draw(st.tuples(*[st.floats(low, high).map(lambda value: round(value, 4))] * 3))

    return geometry(
        spacing_mm=three(0.05, 5),
        origin_mm=three(-300, 300),
        direction=turned(three(-180, 180), draw(st.booleans())),
        size=draw(st.tuples(*[st.integers(1, 40)] * 3)),
    )


@few
@given(grids(), st.tuples(*[st.floats(-3, 45)] * 3))
def test_points_are_where_simpleitk_says(grid: VolumeGeometry, index: tuple[float, float, float]) -> None:
    image = as_image(torch.zeros(grid.size[::-1]), grid)
    expected = image.TransformContinuousIndexToPhysicalPoint(index)
    found = grid.to_mm(torch.tensor(index, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)
    back = image.TransformPhysicalPointToContinuousIndex(expected)
    torch.testing.assert_close(grid.to_index(found), torch.tensor(back, dtype=torch.float64), rtol=0, atol=1e-8)
    assert geometry_of(image) == grid


@few
@given(grids())
def test_the_affine_and_its_inverse_undo_each_other(grid: VolumeGeometry) -> None:
    product = grid.affine @ grid.inverse_affine
    torch.testing.assert_close(product, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-9)


def test_columns_of_the_affine_step_along_the_axes_of_the_voxels() -> None:
    # j runs towards the back of the head, i upwards, k to the right: an axis mixed up would show.
    grid = geometry(direction=((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)), origin_mm=(10.0, 20.0, 30.0))
    points = grid.to_mm(torch.eye(3))
    assert torch.allclose(points, torch.tensor([[10.0, 20.0, 30.3], [10.0, 20.5, 30.0], [8.75, 20.0, 30.0]]))


def test_many_points_map_as_one_by_one_in_their_own_type() -> None:
    grid = geometry()
    points = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    mapped = grid.to_mm(points)
    assert mapped.dtype == torch.float32
    assert mapped.shape == points.shape
    for one, expected in zip(points.reshape(-1, 3), mapped.reshape(-1, 3), strict=True):
        torch.testing.assert_close(grid.to_mm(one), expected)


@few
@given(grids())
def test_the_field_of_view_ends_half_a_voxel_beyond_the_outermost_centres(grid: VolumeGeometry) -> None:
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    inwards = 1e-6 * (1 - 2 * corners)
    inside = corners * torch.tensor(grid.size, dtype=torch.float64) - 0.5 + inwards
    assert bool(grid.contains(grid.to_mm(inside)).all())
    across = 2 * inwards[:, None] * torch.eye(3, dtype=torch.float64)
    assert not bool(grid.contains(grid.to_mm(inside[:, None] - across)).any())


def test_a_point_of_nan_lies_nowhere() -> None:
    assert geometry().contains(torch.tensor([[math.nan, 0.0, 0.0]])).tolist() == [False]


@few
@given(grids(), st.floats(0.05, 3))
def test_an_isotropic_grid_covers_the_same_field_of_view(grid: VolumeGeometry, spacing: float) -> None:
    cubic = grid.isotropic(spacing)
    assert cubic.spacing_mm == (spacing,) * 3
    assert cubic.direction == grid.direction
    torch.testing.assert_close(cubic.centre_mm, grid.centre_mm, rtol=0, atol=1e-9)
    for n, s, m in zip(grid.size, grid.spacing_mm, cubic.size, strict=True):
        assert n * s - 2e-3 * spacing <= m * spacing < n * s + spacing
    # Nothing has to be invented: all new centres lie inside the old field of view.
    corners = torch.cartesian_prod(*(torch.tensor([0.0, n - 1.0], dtype=torch.float64) for n in cubic.size))
    if min(cubic.size) > 1:
        assert bool(grid.contains(cubic.to_mm(corners)).all())


def test_an_isotropic_grid_stays_as_it_is() -> None:
    grid = geometry(spacing_mm=(0.3, 0.3, 0.3), size=(9, 8, 7))
    assert grid.isotropic(0.3).matches(grid, tolerance_voxels=1e-9)


@few
@given(grids(), st.floats(0, 0.04))
def test_rounded_headers_match(grid: VolumeGeometry, share: float) -> None:
    x, y, z = grid.origin_mm
    moved = geometry(
        spacing_mm=grid.spacing_mm,
        origin_mm=(x + share * min(grid.spacing_mm), y, z),
        direction=grid.direction,
        size=grid.size,
    )
    assert grid.matches(moved)


def test_a_small_turn_shows_at_the_far_corner() -> None:
    grid = geometry(size=(400, 400, 100), direction=IDENTITY)
    assert not grid.matches(geometry(size=(400, 400, 100), direction=turned((0.0, 0.0, 0.05))))
    assert geometry(direction=IDENTITY).matches(geometry(direction=turned((0.0, 0.0, 0.05))))


@pytest.mark.parametrize(
    "changed",
    [
        {"size": (9, 7, 6)},
        {"spacing_mm": (0.3, 0.5, 1.3)},
        {"origin_mm": (-12.0, 34.5, 7.35)},
        {"direction": turned((40.0, -25.0, 110.0), mirrored=True)},
    ],
)
def test_other_grids_do_not_match(changed: dict[str, Any]) -> None:
    assert not geometry().matches(geometry(**changed))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"spacing_mm": (0.3, 0.0, 1.0)}, "spacing"),
        ({"spacing_mm": (0.3, -0.5, 1.0)}, "spacing"),
        ({"spacing_mm": (0.3, math.nan, 1.0)}, "spacing"),
        ({"spacing_mm": (0.3, math.inf, 1.0)}, "spacing"),
        ({"origin_mm": (0.0, math.nan, 0.0)}, "origin"),
        ({"size": (9, 0, 5)}, "voxels"),
        ({"direction": ((1.0, 0.0, 0.0), (0.3, 1.0, 0.0), (0.0, 0.0, 1.0))}, "sheared"),
        ({"direction": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0))}, "direction"),
        ({"direction": ((1.0, 0.0, 0.0), (0.0, math.nan, 0.0), (0.0, 0.0, 1.0))}, "direction"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(AnatomarkError, match=says):
        geometry(**changed)


@pytest.mark.parametrize("spacing", [0.0, -1.0, math.nan, math.inf])
def test_a_spacing_that_cannot_be_is_refused(spacing: float) -> None:
    with pytest.raises(AnatomarkError, match="spacing"):
        geometry().isotropic(spacing)


def test_voxels_become_an_image_in_their_place() -> None:
    grid = geometry()
    voxels: Tensor = torch.arange(9 * 7 * 5, dtype=torch.float32).reshape(5, 7, 9)
    image = as_image(voxels, grid)
    assert image.GetPixelID() == sitk.sitkFloat32
    assert image[3, 2, 1] == voxels[1, 2, 3].item()
    mask = as_image(voxels > 10, grid)
    assert mask.GetPixelID() == sitk.sitkUInt8
    assert mask[3, 2, 1] == 1
    with pytest.raises(AnatomarkError, match="k, j, i"):
        as_image(voxels.mT, grid)

"""Random poses of patches: what their angles mean, and that they are uniform."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import kstest

from anatomark.geometry.poses import draw_poses, nearest_axes, rotations_from_angles, uniform_rotations
from anatomark.types import AnatomarkError


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_angles_turn_about_i_then_j_then_k() -> None:
    angles = 3 * torch.randn(50, 3, generator=make_generator(), dtype=torch.float64)
    expected = Rotation.from_euler("xyz", angles.numpy()).as_matrix()
    np.testing.assert_allclose(rotations_from_angles(angles).numpy(), expected, atol=1e-12)


def test_uniform_rotations_are_uniform() -> None:
    """The density of the angle of a uniform rotation is (1 - cos) / pi, its axis points anywhere."""
    rotations = uniform_rotations(20_000, generator=make_generator(1))
    identity = torch.eye(3, dtype=torch.float64).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.mT, identity)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(20_000, dtype=torch.float64))
    assert rotations.mean(0).abs().max() < 0.02  # the standard error of an entry is 0.004
    torch.testing.assert_close(rotations.square().mean(0), torch.full((3, 3), 1 / 3).double(), rtol=0, atol=0.02)
    vectors = Rotation.from_matrix(rotations.numpy()).as_rotvec()
    angles = np.linalg.norm(vectors, axis=1)
    assert kstest(angles, lambda a: (a - np.sin(a)) / np.pi).pvalue > 1e-3
    assert kstest(vectors[:, 2] / angles, lambda z: (z + 1) / 2).pvalue > 1e-3


def test_poses_are_uniform_within_their_limits_and_repeatable() -> None:
    centre = torch.tensor([5.0, 60.0, 7.0])
    poses = draw_poses(4000, centre=centre, generator=make_generator(2))
    for shifts in (poses.centres - centre).T.numpy():
        assert kstest(shifts, "uniform", args=(-10, 20)).pvalue > 1e-3
    for angles in Rotation.from_matrix(poses.rotations.numpy()).as_euler("xyz", degrees=True).T:
        assert kstest(angles, "uniform", args=(-20, 40)).pvalue > 1e-3
    again = draw_poses(4000, centre=centre, generator=make_generator(2))
    assert all(torch.equal(*pair) for pair in zip(poses, again, strict=True))
    still = draw_poses(2, centre=centre, translation=0, rotation=0, generator=make_generator())
    assert torch.equal(still.centres, centre.double().expand(2, 3))
    assert torch.equal(still.rotations, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"translation": -1.0}, "translation is -1.0 voxels"),
        ({"translation": math.nan}, "translation is nan voxels"),
        ({"rotation": 181.0}, "rotation is 181.0; it must lie between 0 and 180 degrees, or be full"),
        ({"rotation": math.nan}, "rotation is nan"),
    ],
)
def test_poses_that_cannot_be_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(AnatomarkError, match=message):
        draw_poses(1, centre=torch.zeros(3), generator=make_generator(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_axes_are_those_of_the_grid_within_an_eighth_turn_or_so(seed: int, mirrored: bool) -> None:
    direction, axes = uniform_rotations(2, generator=torch.Generator().manual_seed(seed))
    direction = direction * torch.tensor([1.0, 1.0, -1.0 if mirrored else 1.0], dtype=torch.float64)
    found = nearest_axes(direction, axes)
    # Columns of the grid, each once, up to sign, and never mirrored against the others.
    torch.testing.assert_close((direction.mT @ found).abs().sum(0), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close((direction.mT @ found).abs().sum(1), torch.ones(3, dtype=torch.float64))
    assert float(found.det()) == pytest.approx(float(axes.det()))
    # The rotations of a cube leave no rotation further than 62.8 degrees away.
    assert float((found.mT @ axes).trace()) >= 1 + 2 * math.cos(math.radians(62.8)) - 1e-3


def test_axes_of_the_grid_itself_stay() -> None:
    axes = uniform_rotations(1, generator=torch.Generator().manual_seed(0))[0]
    shuffled = axes[:, [2, 0, 1]] * torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(nearest_axes(shuffled, axes), axes)

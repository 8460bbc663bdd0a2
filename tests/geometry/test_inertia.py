"""Moments and alignments against NumPy and solids whose moments are known."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from anatomark.geometry.inertia import (
    four_rotations,
    inscribed_ball,
    is_ambiguous,
    joint_probability,
    moments,
    principal_axes,
    rigid,
    weighted_correlation,
)
from anatomark.geometry.poses import uniform_rotations


def turn(seed: int) -> Tensor:
    return uniform_rotations(1, generator=torch.Generator().manual_seed(seed))[0]


def affine(rotation: Tensor, spacing: float, origin: tuple[float, float, float]) -> Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = spacing * rotation
    matrix[:3, 3] = torch.tensor(origin, dtype=torch.float64)
    return matrix


def test_the_product_keeps_what_all_directions_see() -> None:
    directions = torch.full((3, 4, 4, 4), 0.9)
    directions[0, 0] = 0.1
    product = joint_probability(directions)
    assert not product[0].any()
    torch.testing.assert_close(product[1:], torch.full((3, 4, 4), 0.9**3))


def test_products_below_an_eighth_are_background() -> None:
    directions = torch.full((3, 1, 1, 2), 0.5)
    directions[:, 0, 0, 1] = 0.499
    torch.testing.assert_close(joint_probability(directions), torch.tensor([[[0.125, 0.0]]]))


def test_the_heaviest_part_stays_not_the_largest() -> None:
    seen = torch.zeros(3, 9, 9, 9)
    seen[:, :2, :2, :2] = 1.0  # mass 8
    seen[:, 4:7, 4:7, 4:7] = 0.6  # mass 27 * 0.216
    product = joint_probability(seen)
    assert product[:2, :2, :2].all()
    assert not product[4:].any()
    touching = seen.clone()
    touching[:, 2:4, 2:4, 2:4] = 1.0  # joins them by corners
    assert joint_probability(touching)[6, 6, 6] > 0


def test_nothing_is_left_of_background() -> None:
    assert not joint_probability(torch.full((3, 4, 5, 6), 0.4)).any()


@pytest.mark.parametrize("seed", range(3))
def test_moments_are_those_of_numpy(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    probability = torch.rand(5, 6, 7, generator=draw) * (torch.rand(5, 6, 7, generator=draw) > 0.5)
    grid = affine(turn(seed), 0.3, (4.0, -7.0, 11.0))
    found = moments(probability, grid)
    k, j, i = np.indices(probability.shape).reshape(3, -1)
    points = np.stack([i, j, k, np.ones_like(i)]).T @ grid.numpy().T
    weights = probability.double().numpy().ravel()
    assert float(found.mass_mm3) == pytest.approx(weights.sum() * 0.027)
    np.testing.assert_allclose(found.centre_mm, np.average(points[:, :3], axis=0, weights=weights))
    np.testing.assert_allclose(found.covariance_mm2, np.cov(points[:, :3].T, aweights=weights, ddof=0))


def test_moments_of_an_ellipsoid() -> None:
    """The variance along a semi-axis a of a solid ellipsoid is a^2 / 5."""
    k, j, i = torch.meshgrid(*(torch.arange(60.0) - 30,) * 3, indexing="ij")
    solid = ((i / 24) ** 2 + (j / 16) ** 2 + (k / 10) ** 2 <= 1).float()
    found = moments(solid, affine(torch.eye(3, dtype=torch.float64), 0.5, (0, 0, 0)))
    values, axes = principal_axes(found.covariance_mm2)
    torch.testing.assert_close(values, torch.tensor([12.0, 8.0, 5.0]).double() ** 2 / 5, rtol=0.01, atol=0)
    torch.testing.assert_close(axes.abs(), torch.eye(3, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_one_of_four_rotations_is_the_right_one(seed: int) -> None:
    spread = torch.diag(torch.tensor([9.0, 4.0, 1.0], dtype=torch.float64))
    start, motion = turn(seed), turn(100 + seed)
    before = start @ spread @ start.mT
    after = motion @ before @ motion.mT
    found = four_rotations(before, after)
    for rotation in found:
        torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64))
        assert float(rotation.det()) == pytest.approx(1)
        torch.testing.assert_close(rotation @ before @ rotation.mT, after)
    assert min(float((rotation - motion).norm()) for rotation in found) < 1e-9
    # They differ by half turns.
    for one, other in itertools.combinations(found, 2):
        assert float((one.mT @ other).trace()) == pytest.approx(-1)


@pytest.mark.parametrize(("values", "alike"), [((9, 4, 1), False), ((9, 8.2, 1), True), ((9, 4, 3.7), True)])
def test_similar_moments_are_told(values: tuple[float, ...], alike: bool) -> None:
    assert bool(is_ambiguous(torch.tensor(values, dtype=torch.float64))) is alike


def test_a_rigid_motion_turns_about_its_centre() -> None:
    centre, goal = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([-4.0, 0.0, 7.0]).double()
    rotation = turn(7)
    motion = rigid(rotation, centre=centre, moved_to=goal)
    torch.testing.assert_close(motion @ torch.cat([centre, torch.ones(1)]), torch.cat([goal, torch.ones(1)]).double())
    torch.testing.assert_close(motion[:3, :3], rotation)


def test_the_correlation_is_that_of_numpy_and_ignores_gain() -> None:
    draw = torch.Generator().manual_seed(0)
    a, b, weight = (torch.rand(4, 5, 6, generator=draw) for _ in range(3))
    cov = np.cov(a.flatten(), b.flatten(), aweights=weight.flatten(), ddof=0)
    expected = cov[0, 1] / math.sqrt(cov[0, 0] * cov[1, 1])
    assert float(weighted_correlation(a, b, weight)) == pytest.approx(expected, abs=1e-6)
    assert float(weighted_correlation(3 * a + 1, b, weight)) == pytest.approx(expected, abs=1e-6)
    assert float(weighted_correlation(a, torch.ones_like(a), weight)) == 0


@pytest.mark.parametrize("side", [24, 25])
def test_the_inscribed_ball_has_its_volume_and_fits(side: int) -> None:
    ball = inscribed_ball(torch.zeros(side, side, side))
    assert float(ball.sum()) == pytest.approx(math.pi / 6 * side**3, rel=0.02)
    assert torch.equal(ball, ball.flip(0))
    assert torch.equal(ball, ball.transpose(0, 2))

"""Signals of reliability against NumPy and SciPy, one landmark at a time."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.stats import rankdata

from anatomark.evaluators.one_shot_reliability import doubts_of, local_correlation, rank_correlation
from anatomark.registration.demons import Deformation

RNG = np.random.default_rng(2)


def image(voxels: np.ndarray, *, vector: bool = False) -> sitk.Image:
    made = sitk.GetImageFromArray(voxels.astype(np.float64), isVector=vector)
    made.SetSpacing((0.5, 0.5, 1.0))
    made.SetOrigin((3.0, -4.0, 5.0))
    return made


def at(grid: sitk.Image, *indices: tuple[int, int, int]) -> np.ndarray:
    return np.array([grid.TransformIndexToPhysicalPoint(index) for index in indices])


def test_local_correlation_is_that_of_the_cubes() -> None:
    a, b = RNG.normal(size=(2, 12, 14, 16))
    b += 0.5 * a
    grid = image(a)
    # 2 mm: two voxels to either side along i and j, one along k; the last cube is cut by the border.
    found = local_correlation(grid, image(b), at(grid, (5, 6, 7), (0, 13, 4)), window_mm=2.0)
    whole = np.s_[6:9, 4:9, 3:8]
    cut = np.s_[3:6, 11:14, 0:3]
    expected = [np.corrcoef(a[part].ravel(), b[part].ravel())[0, 1] for part in (whole, cut)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    same = local_correlation(grid, image(3 * a + 2), at(grid, (5, 6, 7)), window_mm=2.0)
    np.testing.assert_allclose(same, 1)


def test_a_constant_cube_says_nothing() -> None:
    voxels = RNG.normal(size=(8, 8, 8))
    flat = np.full((8, 8, 8), 0.1)
    assert local_correlation(image(voxels), image(flat), at(image(flat), (4, 4, 4)), window_mm=2.0).tolist() == [0.0]


def test_signals_of_a_linear_field() -> None:
    grid = image(RNG.normal(size=(8, 9, 10)))
    k, j, i = np.meshgrid(np.arange(8), np.arange(9), np.arange(10), indexing="ij")
    # 10 % wider along x, 20 % narrower along z.
    field = image(np.stack([0.1 * 0.5 * i, 0.0 * j, -0.2 * k], axis=-1), vector=True)
    points = at(grid, (4, 3, 2), (8, 3, 0))
    deformation = Deformation(field=field, matrix=np.eye(4))
    doubts = doubts_of(grid, grid, points, deformation=deformation, window_mm=1.5)
    np.testing.assert_allclose(doubts["displacement"], [np.hypot(0.2, 0.4), 0.4])
    np.testing.assert_allclose(doubts["jacobian"], 1 - 1.1 * 0.8)
    np.testing.assert_allclose(doubts["correlation"], 0, atol=1e-12)
    assert set(doubts_of(grid, grid, points, deformation=None, window_mm=1.5)) == {"correlation"}


def test_rank_correlation_is_pearsons_of_the_ranks() -> None:
    doubts, errors = RNG.integers(0, 6, 20).astype(float), RNG.normal(size=20)
    expected = np.corrcoef(rankdata(doubts), rankdata(errors))[0, 1]
    assert rank_correlation(doubts.tolist(), errors.tolist()) == pytest.approx(expected)


@pytest.mark.parametrize(("doubts", "errors"), [([1, 2], [3, 4]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [2, 2, 2])])
def test_rank_correlations_that_say_nothing_are_absent(doubts: list[float], errors: list[float]) -> None:
    assert rank_correlation(doubts, errors) is None

"""Similarities from landmarks, against angles, and the algebra of affine maps."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from anatomark.geometry.similarity import (
    apply_transform,
    compose,
    flip_matrix,
    flip_needed,
    invert,
    similarity_from_landmarks,
)
from anatomark.types import AnatomarkError

coordinate = st.floats(-500, 1500, allow_nan=False)
points = st.tuples(coordinate, coordinate)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def carried(matrix: Tensor, point: Tensor) -> Tensor:
    return apply_transform(matrix, point[..., None, :])[..., 0, :]


@given(points, points, points, points, st.integers(1, 2000))
def test_both_landmarks_land_on_their_targets(
    c: tuple[float, float],
    d: tuple[float, float],
    target_c: tuple[float, float],
    target_d: tuple[float, float],
    width: int,
) -> None:
    assume(math.dist(c, d) >= 1 and math.dist(target_c, target_d) >= 1)
    ends = tensor(*c), tensor(*d), tensor(*target_c), tensor(*target_d)
    matrix = similarity_from_landmarks(*ends, width)
    assert matrix.dtype == torch.float64
    torch.testing.assert_close(carried(matrix, ends[0]), ends[2], atol=1e-9, rtol=0)
    torch.testing.assert_close(carried(matrix, ends[1]), ends[3], atol=1e-9, rtol=0)
    # A similarity: orthogonal columns of one length, mirrored exactly where the order was opposite.
    scale = math.dist(target_c, target_d) / math.dist(c, d)
    square = matrix[:, :2].T @ matrix[:, :2]
    torch.testing.assert_close(square / scale**2, torch.eye(2, dtype=torch.float64), atol=1e-8, rtol=0)
    opposite = np.sign(c[0] - d[0]) * np.sign(target_c[0] - target_d[0]) < 0
    assert (torch.linalg.det(matrix[:, :2]) < 0) == opposite


def test_equals_the_formula_with_angles() -> None:
    c, d, target_c, target_d = tensor(30, 40), tensor(90, 70), tensor(200, 50), tensor(120, 130)
    width = 160
    # By hand: mirror, move C to the origin, turn by the difference of directions, scale, move to the target.
    mirrored = [(width - 1 - float(p[0]), float(p[1])) for p in (c, d)]
    (cx, cy), (dx, dy) = mirrored
    turn = math.atan2(130 - 50, 120 - 200) - math.atan2(dy - cy, dx - cx)
    scale = math.hypot(80, 80) / math.hypot(dx - cx, dy - cy)
    matrix = similarity_from_landmarks(c, d, target_c, target_d, width)
    for x, y in [(0.0, 0.0), (17.0, 3.0), (159.0, 99.0)]:
        px, py = width - 1 - x - cx, y - cy
        expected = (
            200 + scale * (math.cos(turn) * px - math.sin(turn) * py),
            50 + scale * (math.sin(turn) * px + math.cos(turn) * py),
        )
        np.testing.assert_allclose(apply_transform(matrix, tensor(x, y)[None])[0], expected, atol=1e-9)


def test_flip_uses_the_width_of_the_source() -> None:
    c, d = tensor(10, 50), tensor(60, 50)
    # The target is the source mirrored in its own width, then moved by (7, -2).
    mirrored = [carried(flip_matrix(100), p) + tensor(7, -2) for p in (c, d)]
    assert mirrored[0].tolist() == [96, 48]
    assert flip_needed(c, d, *mirrored)
    matrix = similarity_from_landmarks(c, d, *mirrored, 100)
    torch.testing.assert_close(matrix, tensor(-1, 0, 106, 0, 1, -2).view(2, 3))


def test_landmarks_above_each_other_ask_for_no_flip() -> None:
    upright = tensor(10, 50), tensor(10, 90)
    for dx in (-5, 0, 5):
        assert not flip_needed(*upright, tensor(20, 20), tensor(20 + dx, 60))


def test_any_leading_axes_and_one_width_per_pair() -> None:
    rng = torch.Generator().manual_seed(0)
    ends = [torch.rand(3, 4, 2, generator=rng, dtype=torch.float64) * 100 for _ in range(4)]
    widths = torch.randint(100, 300, (3, 4), generator=rng)
    matrices = similarity_from_landmarks(*ends, widths)
    assert matrices.shape == (3, 4, 2, 3)
    assert flip_needed(*ends).any()
    for i in range(3):
        for j in range(4):
            alone = similarity_from_landmarks(*(e[i, j] for e in ends), int(widths[i, j]))
            torch.testing.assert_close(matrices[i, j], alone)


def test_float32_landmarks_are_computed_in_float64() -> None:
    ends = [torch.rand(6, 2, generator=torch.Generator().manual_seed(i)) * 200 for i in range(4)]
    matrix = similarity_from_landmarks(*ends, 224.0)
    torch.testing.assert_close(carried(matrix, ends[1]), ends[3].double(), atol=1e-9, rtol=0)


@pytest.mark.parametrize(("image", "which"), [("source", 1), ("target", 3)])
@pytest.mark.parametrize("gap", [0.9, 0.0, math.nan])
def test_landmarks_too_close_are_refused_with_their_pair(image: str, which: int, gap: float) -> None:
    ends = [torch.zeros(5, 2), torch.full((5, 2), 9.0), torch.zeros(5, 2), torch.full((5, 2), 9.0)]
    ends[which][3] = torch.tensor([gap, 0.0])
    with pytest.raises(AnatomarkError, match=f"pair 3: the two {image} landmarks are .* px apart"):
        similarity_from_landmarks(*ends, 50)


def random_matrix(seed: int, *lead: int) -> Tensor:
    return torch.randn(*lead, 2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_compose_applies_the_inner_map_first() -> None:
    outer, inner, xy = random_matrix(0, 4), random_matrix(1), random_matrix(2)[:, :2]
    expected = apply_transform(outer, apply_transform(inner, xy))
    torch.testing.assert_close(apply_transform(compose(outer, inner), xy), expected)


def test_invert_undoes_and_refuses_singular_maps() -> None:
    matrix = random_matrix(3, 5)
    identity = torch.eye(2, 3, dtype=torch.float64).expand(5, 2, 3)
    torch.testing.assert_close(compose(matrix, invert(matrix)), identity)
    torch.testing.assert_close(compose(invert(matrix), matrix), identity)
    for bad in (0.0, torch.nan):
        matrix[2, 0] = bad
        with pytest.raises(ValueError, match="without an inverse"):
            invert(matrix)


def test_transforms_keep_the_more_precise_type() -> None:
    assert apply_transform(random_matrix(0), torch.zeros(3, 2)).dtype == torch.float64
    assert apply_transform(random_matrix(0).float(), torch.zeros(0, 2)).dtype == torch.float32
    assert compose(random_matrix(0).float(), random_matrix(1)).dtype == torch.float64

"""Affine maps of pixels, and the similarity that two landmarks define (Droste et al. 2020, eq. 4-5)."""

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from anatomark.types import AnatomarkError

MIN_DISTANCE_PX = 1.0
"""Landmarks closer than this give no direction."""


def flip_needed(
    source_c: Float[Tensor, "*n 2"],
    source_d: Float[Tensor, "*n 2"],
    target_c: Float[Tensor, "*n 2"],
    target_d: Float[Tensor, "*n 2"],
) -> Bool[Tensor, "*n"]:
    """Whether C and D lie in opposite horizontal order in source and target (eq. 4).

    Landmarks exactly above each other have no horizontal order and ask for no flip.
    """
    # Of signs, because the product of two tiny differences is 0.
    return (source_c - source_d)[..., 0].sign() * (target_c - target_d)[..., 0].sign() < 0


def similarity_from_landmarks(
    source_c: Float[Tensor, "*n 2"],
    source_d: Float[Tensor, "*n 2"],
    target_c: Float[Tensor, "*n 2"],
    target_d: Float[Tensor, "*n 2"],
    source_width: Num[Tensor, "*n"] | float | int,
) -> Float[Tensor, "*n 2 3"]:
    """Flip, translation, rotation and scale that carry two source landmarks onto the target's (eq. 4-5).

    The source is mirrored first where :func:`flip_needed` says so. Then, with u = D - C in the source and
    v = D - C in the target, the scaled rotation is [[alpha, beta], [-beta, alpha]] with
    alpha = (u . v) / |u|^2 and beta = (u_y v_x - u_x v_y) / |u|^2: no angle is ever computed.

    Args:
        source_c: first landmark in the source, px.
        source_d: second landmark in the source, px.
        target_c: first landmark in the target, px.
        target_d: second landmark in the target, px.
        source_width: width of the source image, px; one for all or one per pair.

    Returns:
        Maps from source px to target px, ``float64``, the flip included.

    Raises:
        AnatomarkError: the two landmarks of an image are less than 1 px apart or not numbers.
    """
    source_c, source_d, target_c, target_d = (p.double() for p in (source_c, source_d, target_c, target_d))
    flip = flip_needed(source_c, source_d, target_c, target_d)
    sign = torch.where(flip, -1.0, 1.0).double()
    shift = torch.where(flip, source_width - 1.0, 0.0).double()
    c_x, u_x = sign * source_c[..., 0] + shift, sign * (source_d - source_c)[..., 0]
    c_y, u_y = source_c[..., 1], (source_d - source_c)[..., 1]
    v_x, v_y = (target_d - target_c).unbind(-1)
    _require_apart(u_x, u_y, "source")
    _require_apart(v_x, v_y, "target")
    squared = u_x.square() + u_y.square()
    alpha = (u_x * v_x + u_y * v_y) / squared
    beta = (u_y * v_x - u_x * v_y) / squared
    row_x = [sign * alpha, beta, target_c[..., 0] - alpha * c_x - beta * c_y + alpha * shift]
    row_y = [-sign * beta, alpha, target_c[..., 1] + beta * c_x - alpha * c_y - beta * shift]
    return torch.stack([torch.stack(row_x, dim=-1), torch.stack(row_y, dim=-1)], dim=-2)


def apply_transform(matrix: Float[Tensor, "*m 2 3"], points: Float[Tensor, "*k n 2"]) -> Float[Tensor, "*b n 2"]:
    """Maps points (x, y); leading axes broadcast, and the result has the more precise of the two types."""
    dtype = torch.promote_types(matrix.dtype, points.dtype)
    matrix, points = matrix.to(dtype), points.to(dtype)
    return points @ matrix[..., :2].mT + matrix[..., 2].unsqueeze(-2)


def compose(outer: Float[Tensor, "*m 2 3"], inner: Float[Tensor, "*k 2 3"]) -> Float[Tensor, "*b 2 3"]:
    """The map that applies ``inner`` first and ``outer`` second; leading axes broadcast."""
    dtype = torch.promote_types(outer.dtype, inner.dtype)
    outer, inner = outer.to(dtype), inner.to(dtype)
    product = outer[..., :2] @ inner
    return torch.cat([product[..., :2], product[..., 2:] + outer[..., 2:]], dim=-1)


def invert(matrix: Float[Tensor, "*n 2 3"]) -> Float[Tensor, "*n 2 3"]:
    """The inverse map.

    Raises:
        ValueError: a matrix is singular to working precision or not finite.
    """
    a, b, c, d = matrix[..., :2].flatten(-2).unbind(-1)
    determinant = a * d - b * c
    size = torch.linalg.matrix_norm(matrix[..., :2]).square()
    # Written so that NaN counts as singular too.
    if not (determinant.abs() > torch.finfo(matrix.dtype).eps * size).all():
        raise ValueError("an affine map without an inverse: its linear part is singular or holds NaN")
    linear = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2)
    linear = linear / determinant[..., None, None]
    return torch.cat([linear, -linear @ matrix[..., 2:]], dim=-1)


def flip_matrix(width: int) -> Float[Tensor, "2 3"]:
    """Mirrors an image of ``width`` px left to right: x becomes ``width - 1 - x``; ``float64``."""
    return torch.tensor([[-1, 0, width - 1], [0, 1, 0]], dtype=torch.float64)


def _require_apart(x: Float[Tensor, "*n"], y: Float[Tensor, "*n"], image: str) -> None:
    distance = torch.hypot(x, y)
    wrong = ~(distance >= MIN_DISTANCE_PX)
    if wrong.any():
        index = tuple(wrong.nonzero()[0].tolist())
        where = f"pair {index[0] if len(index) == 1 else index}: " if index else ""
        raise AnatomarkError(
            f"{where}the two {image} landmarks are {float(distance[index]):.3g} px apart and give no"
            f" direction; choose landmarks at least {MIN_DISTANCE_PX:g} px apart"
        )

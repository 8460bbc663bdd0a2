"""Ellipses: from masks, and under affine maps."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import binary_fill_holes
from torch import Tensor

from anatomark.types import AnatomarkError, Ellipse


def ellipse_from_mask(mask: Bool[Tensor, "h w"]) -> Ellipse:
    """The ellipse with the area moments of a mask.

    Args:
        mask: a filled ellipse, or a closed outline of one (as HC18 publishes them), whose ellipse then runs
            along the middle of the line.

    Raises:
        AnatomarkError: the mask is empty, or what it shows is no filled or closed ellipse.
    """
    line = mask.cpu().numpy()
    if not line.any():
        raise AnatomarkError("the mask is empty, so it has no ellipse; check which colour marks the structure")
    filled = binary_fill_holes(line)
    assert filled is not None
    edges = [filled]
    if 2 * line.sum() < filled.sum():
        # An outline: the mean of its outer and its inner edge, so that the line's thickness does not matter.
        edges.append(filled & ~line)
    centres, roots = zip(*(_moments(edge) for edge in edges), strict=True)
    ellipse = _from_root(torch.stack(centres).mean(0), torch.stack(roots).mean(0))
    covered = sum(int(edge.sum()) for edge in edges) / len(edges)
    area = math.pi * float(ellipse["semi_axes"].prod())
    if not 0.8 * area < covered < 1.25 * area:
        raise AnatomarkError(
            f"the mask covers {covered:.0f} px where the ellipse of its moments covers {area:.0f}: it is"
            " neither a filled ellipse nor a closed outline; check the mask for gaps and stray pixels"
        )
    return ellipse


def transform_ellipse(ellipse: Ellipse, matrix: Float[Tensor, "2 3"]) -> Ellipse:
    """The ellipse's image under an affine map: exact, also where the map shears.

    Works on the ellipse's matrix S, with (p - c)^T S^-1 (p - c) = 1 on the outline, which becomes A S A^T.

    Returns:
        The moved ellipse, in the type of the given one's centre.

    Raises:
        ValueError: the map is singular, so that the image is no ellipse.
    """
    linear = matrix[:, :2].double()
    direction = torch.tensor([math.cos(ellipse["angle"]), math.sin(ellipse["angle"])], dtype=torch.float64)
    frame = torch.stack([direction, torch.stack([-direction[1], direction[0]])], dim=1)
    # Through a root of S: S itself would lose half of the digits of a slender ellipse.
    root = linear @ frame * ellipse["semi_axes"].double()
    moved = _from_root(linear @ ellipse["centre"].double() + matrix[:, 2].double(), root)
    if not float(moved["semi_axes"][1]) > 0:
        raise ValueError("an affine map without an inverse: the ellipse's image is no ellipse")
    dtype = ellipse["centre"].dtype
    return Ellipse(centre=moved["centre"].to(dtype), semi_axes=moved["semi_axes"].to(dtype), angle=moved["angle"])


def _moments(filled: Bool[np.ndarray, "h w"]) -> tuple[Float[Tensor, "2"], Float[Tensor, "2 2"]]:
    """Centre, px, and symmetric matrix whose eigenvalues are the semi-axes, px."""
    y, x = filled.nonzero()
    xy = torch.from_numpy(np.stack([x, y])).double()
    centre = xy.mean(1)
    offset = xy - centre[:, None]
    # A filled ellipse with semi-axis a has the variance a^2 / 4 along it.
    squares, vectors = torch.linalg.eigh(4 * offset @ offset.T / len(x))
    return centre, vectors * squares.clamp(min=0).sqrt() @ vectors.T


def _from_root(centre: Float[Tensor, "2"], root: Float[Tensor, "2 2"]) -> Ellipse:
    """The ellipse ``centre + root @ unit circle``."""
    vectors, semi_axes, _ = torch.linalg.svd(root)
    x, y = vectors[:, 0].tolist()
    # An axis has no sign: the half plane x > 0 gives an angle in (-pi/2, pi/2].
    angle = math.atan2(y, x) if x > 0 else math.atan2(-y, -x) if x < 0 else math.pi / 2
    return Ellipse(centre=centre, semi_axes=semi_axes, angle=angle)

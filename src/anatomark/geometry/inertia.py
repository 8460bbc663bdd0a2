"""Where a structure lies and how it is turned, from a map of its probability: Wang et al. 2021, section 2.3.

Masses are probabilities times volumes, mm^3; moments are in LPS mm. A rotation is proper: it never mirrors.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

LEAST_PRODUCT = 0.5**3
"""Of three probabilities: below it, they say together that the structure is not there."""

_TOUCHING = np.ones((3, 3, 3), dtype=bool)
# The rotations by 180 degrees about the principal axes, which change no covariance, and none.
_SIGNS = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))


class Moments(NamedTuple):
    """Mass, centre and spread of a structure.

    Attributes:
        mass_mm3: sum of the probability, mm^3.
        centre_mm: centre of mass, LPS mm (eq. 2).
        covariance_mm2: covariance of the mass about it, mm^2.
    """

    mass_mm3: Float[Tensor, ""]
    centre_mm: Float[Tensor, "3"]
    covariance_mm2: Float[Tensor, "3 3"]


def joint_probability(directions: Float[Tensor, "3 k j i"]) -> Float[Tensor, "k j i"]:
    """The product of what the slices of three directions say (eq. 1), in its heaviest connected part; elsewhere 0.

    Products below 0.5^3 are no part of the structure. What leaks into the background would otherwise pull the centre to
    the middle of the patch. All zeros where nothing is left.
    """
    product = directions.prod(0)
    product = torch.where(product >= LEAST_PRODUCT, product, 0)
    parts, n_parts = ndimage.label(product.cpu().numpy() > 0, structure=_TOUCHING)
    if n_parts <= 1:
        return product
    labels = torch.from_numpy(parts).to(product.device, torch.int64)
    mass = torch.zeros(n_parts + 1, device=product.device).index_add(0, labels.flatten(), product.float().flatten())
    return torch.where(labels == mass.argmax(), product, 0)


def moments(probability: Float[Tensor, "k j i"], affine: Float[Tensor, "4 4"]) -> Moments:
    """Mass, centre and covariance of a probability.

    Args:
        probability: at least one voxel is above 0.
        affine: voxels (i, j, k) to LPS mm.

    Returns:
        ``float64`` on the CPU.
    """
    where = probability.nonzero()
    weight = probability[tuple(where.T)].cpu().double()
    points = where.flip(-1).cpu().double() @ affine[:3, :3].double().mT + affine[:3, 3].double()
    mass = weight.sum()
    centre = weight @ points / mass
    centred = points - centre
    return Moments(
        mass_mm3=mass * affine[:3, :3].double().det().abs(),
        centre_mm=centre,
        covariance_mm2=centred.mT @ (weight[:, None] * centred) / mass,
    )


def principal_axes(covariance: Float[Tensor, "3 3"]) -> tuple[Float[Tensor, "3"], Float[Tensor, "3 3"]]:
    """Principal moments, the largest first, and their axes as the columns of a proper rotation."""
    values, axes = torch.linalg.eigh(covariance)
    values, axes = values.flip(0), axes.flip(1)
    axes[:, 2] *= axes.det()
    return values, axes


def is_ambiguous(values: Float[Tensor, "3"], *, within: float = 0.1) -> Bool[Tensor, ""]:
    """Whether two neighbouring principal moments differ by less than a share of the larger.

    Their axes may then be exchanged.
    """
    return ((values[:-1] - values[1:]) < within * values[:-1]).any()


def four_rotations(reference: Float[Tensor, "3 3"], target: Float[Tensor, "3 3"]) -> Float[Tensor, "4 3 3"]:
    """The rotations that bring the principal axes of one covariance into line with those of another.

    An axis has no sign, so that there are four proper ones, and nothing in the covariances tells them apart.
    """
    (_, before), (_, after) = principal_axes(reference), principal_axes(target)
    signs = torch.tensor(_SIGNS, dtype=before.dtype, device=before.device)
    return (after * signs[:, None]) @ before.mT


def rigid(
    rotation: Float[Tensor, "3 3"], *, centre: Float[Tensor, "3"], moved_to: Float[Tensor, "3"]
) -> Float[Tensor, "4 4"]:
    """The motion that turns about ``centre`` and carries it to ``moved_to``."""
    motion = torch.eye(4, dtype=rotation.dtype, device=rotation.device)
    motion[:3, :3] = rotation
    motion[:3, 3] = moved_to - rotation @ centre
    return motion


def inscribed_ball(cube: Float[Tensor, "n n n"]) -> Float[Tensor, "n n n"]:
    """1 in the largest ball within a cube, 0 outside."""
    offsets = torch.arange(len(cube), dtype=cube.dtype, device=cube.device) - (len(cube) - 1) / 2
    k, j, i = torch.meshgrid(offsets, offsets, offsets, indexing="ij")
    return ((k**2 + j**2 + i**2).sqrt() <= len(cube) / 2).to(cube)


def weighted_correlation(
    a: Float[Tensor, "k j i"], b: Float[Tensor, "k j i"], weight: Float[Tensor, "k j i"]
) -> Float[Tensor, ""]:
    """Normalised correlation of two patches, in [-1, 1]; 0 where one is constant under the weight."""
    share = weight.double() / weight.double().sum()
    a, b = a.double(), b.double()
    a, b = a - (share * a).sum(), b - (share * b).sum()
    scale = ((share * a * a).sum() * (share * b * b).sum()).sqrt()
    return torch.where(scale > 0, (share * a * b).sum() / scale.clamp_min(torch.finfo(scale.dtype).tiny), 0)

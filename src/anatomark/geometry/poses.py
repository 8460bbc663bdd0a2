"""Random poses of patches and rotations (Wang et al. 2021, algorithm 1).

Positions are voxels ``(i, j, k)``; the columns of a rotation are a patch's own i, j and k axis.
"""

import itertools
import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anatomark.types import AnatomarkError


class Poses(NamedTuple):
    """Where patches lie in a volume.

    Attributes:
        centres: positions of their middles, voxels (i, j, k).
        rotations: their axes as columns.
    """

    centres: Float[Tensor, "b 3"]
    rotations: Float[Tensor, "b 3 3"]


def draw_poses(
    n: int,
    *,
    centre: Float[Tensor, "3"],
    translation: float = 10.0,
    rotation: float | Literal["full"] = 20.0,
    generator: torch.Generator,
) -> Poses:
    """Random poses about a centre, such as the structure's centre of mass (Wang et al. 2021, algorithm 1).

    Args:
        n: number of poses.
        centre: the middle of the undisturbed patch, voxels (i, j, k).
        translation: dT: shifts are uniform in (-dT, dT) along each axis, voxels.
        rotation: dR: angles are uniform in (-dR, dR) about each axis, degrees; "full" draws uniformly from all
            rotations.
        generator: source of randomness, on the CPU, so that a seed gives the same poses for every device.

    Returns:
        ``float64`` poses on the CPU.

    Raises:
        AnatomarkError: ``translation`` or ``rotation`` cannot be.
    """
    if not 0 <= translation < math.inf:
        raise AnatomarkError(f"translation is {translation} voxels; it must be a finite number, 0 or more")
    if rotation != "full" and (isinstance(rotation, str) or not 0 <= rotation <= 180):
        raise AnatomarkError(f"rotation is {rotation}; it must lie between 0 and 180 degrees, or be full")
    shifts = translation * _uniform(n, generator)
    if rotation == "full":
        rotations = uniform_rotations(n, generator=generator)
    else:
        rotations = rotations_from_angles(math.radians(rotation) * _uniform(n, generator))
    return Poses(centres=centre.cpu().double() + shifts, rotations=rotations)


def rotations_from_angles(angles: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3 3"]:
    """Rotations by ``angles`` (radians) about the fixed axes i, j and k, in this order: R = R_k R_j R_i."""
    (cos_a, cos_b, cos_c), (sin_a, sin_b, sin_c) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    rows = [
        [cos_b * cos_c, sin_a * sin_b * cos_c - cos_a * sin_c, cos_a * sin_b * cos_c + sin_a * sin_c],
        [cos_b * sin_c, sin_a * sin_b * sin_c + cos_a * cos_c, cos_a * sin_b * sin_c - sin_a * cos_c],
        [-sin_b, sin_a * cos_b, cos_a * cos_b],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def uniform_rotations(n: int, *, generator: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Rotations drawn uniformly from all of them, ``float64``: those of uniformly random unit quaternions."""
    quaternions = F.normalize(torch.randn(n, 4, generator=generator, dtype=torch.float64), dim=1)
    w, axis = quaternions[:, 0, None, None], quaternions[:, 1:]
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).view(n, 3, 3)
    # v + 2 w (q x v) + 2 q x (q x v), as a matrix.
    return torch.eye(3, dtype=torch.float64) + 2 * w * cross + 2 * cross @ cross


def nearest_axes(direction: Float[Tensor, "3 3"], axes: Float[Tensor, "3 3"]) -> Float[Tensor, "3 3"]:
    """The axes of a grid, in the order and with the signs that bring them nearest to others of their handedness.

    Args:
        direction: directions of the grid's axes as columns.
        axes: the others, as columns; they are mirrored, or not, as the result then is.
    """
    signs = torch.tensor(list(itertools.product((1.0, -1.0), repeat=3)), dtype=direction.dtype)
    orders = list(itertools.permutations(range(3)))
    candidates = torch.cat([direction[:, list(order)] * signs[:, None] for order in orders])
    alike = (candidates * axes).sum((1, 2))
    return candidates[int(torch.where(candidates.det() * axes.det() > 0, alike, -torch.inf).argmax())]


def _uniform(n: int, generator: torch.Generator) -> Tensor:
    return 2 * torch.rand(n, 3, generator=generator, dtype=torch.float64) - 1

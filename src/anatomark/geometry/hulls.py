"""Convex hulls of masks."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor

from anatomark.types import AnatomarkError

_ON_THE_HULL = 1e-6
"""Distance within which a voxel centre is on a face, voxels."""
_PAIRS_AT_ONCE = 2**23
"""Rows of voxels times faces that are met at a time: 64 MB a tensor."""


def convex_hull(mask: Bool[Tensor, "k j i"]) -> Bool[Tensor, "k j i"]:
    """The voxels whose centres lie in the convex hull of the mask's voxel centres.

    Affine maps keep convexity, so the hull on a grid of unequal spacing is that in the patient. Each row of voxels
    along i meets every face of the hull once, which gives where it enters and leaves the hull.

    Raises:
        AnatomarkError: the mask is empty or lies in a plane.
    """
    hull = torch.zeros_like(mask)
    filled = mask.nonzero()
    if len(filled) == 0:
        raise AnatomarkError("the mask is empty and has no convex hull; draw the structure")
    low, high = filled.amin(0), filled.amax(0) + 1
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    faces = _faces(mask[box]).to(mask.device)
    depth, height, width = mask[box].shape
    rows = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64, device=mask.device) for n in (depth, height)))
    columns = torch.arange(width, dtype=torch.float64, device=mask.device)
    spans = [_span(part, faces) for part in torch.split(rows, max(1, _PAIRS_AT_ONCE // len(faces)))]
    first, last = (torch.cat(ends)[:, None] for ends in zip(*spans, strict=True))
    hull[box] = ((columns >= first - _ON_THE_HULL) & (columns <= last + _ON_THE_HULL)).view(depth, height, width)
    # Rounding must not lose a corner of the hull, which is a voxel of the mask.
    return hull | mask


def _faces(mask: Bool[Tensor, "k j i"]) -> Float[Tensor, "f 4"]:
    """Rows (a, b, c, d) with a k + b j + c i + d <= 0 inside; only the ends of each row can be corners."""
    ends = mask & ~(_beside(mask, 1) & _beside(mask, -1))
    try:
        hull = ConvexHull(ends.nonzero().cpu().numpy())
    except QhullError as error:
        raise AnatomarkError(
            "the mask lies in a plane and its convex hull has no volume; draw the structure in all slices"
        ) from error
    # Each face is cut into triangles, which lie in one plane.
    return torch.from_numpy(np.unique(hull.equations, axis=0))


def _beside(mask: Tensor, step: int) -> Tensor:
    """Whether the next voxel along i is in the mask as well."""
    moved = mask.roll(step, dims=2)
    moved[:, :, 0 if step > 0 else -1] = False
    return moved


def _span(rows: Float[Tensor, "r 2"], faces: Float[Tensor, "f 4"]) -> tuple[Tensor, Tensor]:
    """Where rows (k, j) enter and leave the hull; the end lies before the start where a row misses it."""
    slope, height = faces[:, 2], rows @ faces[:, :2].mT + faces[:, 3]
    parallel = slope.abs() < 1e-12
    crossing = -height / torch.where(parallel, 1.0, slope)
    # Faces that the row runs along decide by the side it is on.
    missed = (parallel & (height > _ON_THE_HULL)).any(1)
    first = crossing.masked_fill(parallel | (slope > 0), -torch.inf).amax(1)
    last = crossing.masked_fill(parallel | (slope < 0), torch.inf).amin(1)
    return first.masked_fill(missed, torch.inf), last

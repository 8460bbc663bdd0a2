"""Maps to boxes, for localisation (Toussaint et al. 2018, section 2).

Boxes are (x0, y0, x1, y1) px with continuous edges: the pixel in column c covers ``[c - 0.5, c + 0.5]``, so a box
around the whole image is (-0.5, -0.5, W - 0.5, H - 0.5).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anatomark.geometry.peaks import cell_to_pixel
from anatomark.types import AnatomarkError

ABOVE_MEDIAN = 0.3
"""A pixel belongs to the object where it is 30 % above the map's median (Toussaint et al. 2018)."""


def median_and_highest(maps: Float[Tensor, "b h w"]) -> tuple[Float[Tensor, "b 1"], Float[Tensor, "b 1"]]:
    """The median and the maximum of each map, which :func:`median_threshold` and :func:`contrast_threshold` take."""
    values = maps.flatten(1)
    n_pixels = values.shape[1]
    upper_half = values.topk(n_pixels // 2 + 1, sorted=False).values  # several times faster than sorting all
    median = upper_half.topk(2 - n_pixels % 2, largest=False).values.mean(1)
    return median[:, None], values.amax(1)[:, None]


def median_threshold(median: Float[Tensor, "b 1"], highest: Float[Tensor, "b 1"]) -> Float[Tensor, "b 1"]:
    """1.3 times the median of each map, which a pixel of the object reaches: the paper's rule to the letter.

    Where the median is 0, or nothing reaches 1.3 times it, it is :func:`contrast_threshold`. A constant map says
    nothing about where, and gives the whole image.

    Args:
        median: of maps from 0 up.
        highest: their maxima.
    """
    factor = (1 + ABOVE_MEDIAN) * median
    return torch.where((median > 0) & (factor <= highest), factor, contrast_threshold(median, highest))


def contrast_threshold(median: Float[Tensor, "b 1"], highest: Float[Tensor, "b 1"]) -> Float[Tensor, "b 1"]:
    """30 % of the way from the median of each map to its maximum.

    The paper's rule where a map has no zero of its own: of one stretched to [0, 1] the lowest pixel decides what 1.3
    times the median is.
    """
    # Rounding must not lift the threshold of a constant map above it.
    return torch.minimum(median + ABOVE_MEDIAN * (highest - median), highest)


def mean_threshold(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b 1"]:
    """The mean of each map (soft proposal networks, Zhu et al. 2017)."""
    return torch.minimum(maps.mean((1, 2)), maps.amax((1, 2)))[:, None]


def fraction_thresholds(maps: Float[Tensor, "b h w"], fractions: Sequence[float]) -> Float[Tensor, "b t"]:
    """Fractions of the maximum of each map.

    Raises:
        AnatomarkError: a fraction is not in [0, 1].
    """
    if outside := [fraction for fraction in fractions if not 0 <= fraction <= 1]:
        raise AnatomarkError(f"the threshold is {outside[0]} of a map's maximum; it must lie in [0, 1]")
    return maps.amax((1, 2))[:, None] * maps.new_tensor(fractions)


def require_reached(maps: Float[Tensor, "b h w"], thresholds: Float[Tensor, "b t"]) -> None:
    """Refuses a map that nowhere reaches one of its thresholds, as one that holds NaN does."""
    reached = (maps.amax((1, 2))[:, None] >= thresholds).all(1)
    if not reached.all():
        below = int((~reached).nonzero()[0])
        raise AnatomarkError(
            f"map {below} of the batch nowhere reaches its threshold, so it has no box; check its values"
        )


def threshold_boxes(maps: Float[Tensor, "b h w"], thresholds: Float[Tensor, "b t"]) -> Float[Tensor, "b t 4"]:
    """The smallest box around the pixels of at least each threshold.

    Raises:
        AnatomarkError: a map nowhere reaches a threshold.
    """
    require_reached(maps, thresholds)
    return _around(maps, thresholds)


def contrast_boxes(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b 4"]:
    """The box of :func:`contrast_threshold`; no step of it depends on values, so it exports."""
    return _around(maps, contrast_threshold(*median_and_highest(maps)))[:, 0]  # which every map reaches


def union_box(boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "4"]:
    """The smallest box around all boxes."""
    return torch.cat([boxes[:, :2].amin(0), boxes[:, 2:].amax(0)])


def box_iou(first: Float[Tensor, "*n 4"], second: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """Intersection over union of boxes one by one; 0 for two boxes without area."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = _area(first) + _area(second) - shared
    return torch.where(union > 0, shared / torch.where(union > 0, union, 1), 0)


def box_contains(boxes: Float[Tensor, "*n 4"], points: Float[Tensor, "*n 2"]) -> Bool[Tensor, "*n"]:
    """Whether points (x, y) lie in boxes, edges included, one by one."""
    return ((points >= boxes[..., :2]) & (points <= boxes[..., 2:])).all(-1)


def peak_points(maps: Float[Tensor, "b h w"], *, stride: int = 1) -> Float[Tensor, "b 2"]:
    """Centre (x, y), px, of the highest cell of every map; of equal ones the first in raster order.

    It is where a bilinear interpolation of the map has its maximum, without the plateau that ends at a border.

    Args:
        maps: maps of any resolution.
        stride: side of a cell, px.
    """
    index = maps.flatten(1).argmax(1)
    width = maps.shape[2]
    cells = torch.stack([index % width, index // width], dim=1).to(maps.dtype)
    return cell_to_pixel(cells, stride)


def _around(maps: Float[Tensor, "b h w"], thresholds: Float[Tensor, "b t"]) -> Float[Tensor, "b t 4"]:
    """The smallest box around what reaches each threshold, which something does."""
    sides = []
    for reduced_axis in (1, 2):  # the maxima of columns give x, those of rows y
        occupied = maps.amax(reduced_axis)[:, None] >= thresholds[..., None]
        index = torch.arange(occupied.shape[2], device=maps.device)
        first = torch.where(occupied, index, occupied.shape[2]).amin(2)
        last = torch.where(occupied, index, -1).amax(2)
        sides.append((first - 0.5, last + 0.5))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], dim=2)


def _area(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)

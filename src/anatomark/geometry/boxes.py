"""Maps to boxes, for localisation (Toussaint et al. 2018, section 2; METHODS 4.3).

Boxes are (x0, y0, x1, y1) px with continuous edges: the pixel in column c covers ``[c - 0.5, c + 0.5]``, so a box
around the whole image is (-0.5, -0.5, W - 0.5, H - 0.5).
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from anatomark.geometry.peaks import cell_to_pixel
from anatomark.types import AnatomarkError

MEDIAN_FACTOR = 1.3
"""A pixel belongs to the object where it is 30 % above the map's median."""


def threshold_median(maps: Float[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
    """Pixels of at least 1.3 times the median of their map (Toussaint et al. 2018).

    Where the median is 0, or nothing reaches 1.3 times it, the threshold lies 30 % of the way from the median to the
    maximum. A constant map says nothing about where, and gives the whole image.

    Args:
        maps: maps from 0 up.
    """
    values = maps.flatten(1)
    n_pixels = values.shape[1]
    upper_half = values.topk(n_pixels // 2 + 1, sorted=False).values  # several times faster than sorting all
    median = upper_half.topk(2 - n_pixels % 2, largest=False).values.mean(1)
    highest = values.amax(1)
    factor = MEDIAN_FACTOR * median
    fallback = median + (MEDIAN_FACTOR - 1) * (highest - median)
    threshold = torch.where((median > 0) & (factor <= highest), factor, fallback)
    # Rounding must not lift the threshold of a constant map above it.
    return maps >= torch.minimum(threshold, highest)[:, None, None]


def threshold_mean(maps: Float[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
    """Pixels of at least the mean of their map (soft proposal networks, Zhu et al. 2017)."""
    mean = torch.minimum(maps.mean((1, 2)), maps.amax((1, 2)))
    return maps >= mean[:, None, None]


def threshold_fraction(maps: Float[Tensor, "b h w"], fraction: float) -> Bool[Tensor, "b h w"]:
    """Pixels of at least this fraction of the maximum of their map.

    Raises:
        AnatomarkError: the fraction is not in [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise AnatomarkError(f"the threshold is {fraction} of a map's maximum; it must lie in [0, 1]")
    return maps >= fraction * maps.amax((1, 2), keepdim=True)


def largest_component(masks: Bool[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
    """The largest connected part of every mask; pixels that touch at a corner are connected.

    Of equally large parts the first in raster order is kept; an empty mask stays empty.
    """
    neighbours = np.zeros((3, 3, 3), dtype=bool)
    neighbours[1] = True  # within a mask, never across the batch
    labels, n_parts = ndimage.label(masks.cpu().numpy(), structure=neighbours)
    sizes = np.bincount(labels.ravel(), minlength=n_parts + 1)
    # Parts are numbered in raster order, so those of a mask follow those of the masks before it.
    highest = np.maximum.accumulate(labels.reshape(len(labels), -1).max(axis=1, initial=0))
    # Of each mask the first after sorting by mask, then falling size, then number, which is raster order.
    parts = np.arange(1, n_parts + 1)
    mask_of = np.searchsorted(highest, parts)
    order = np.lexsort((parts, -sizes[1:], mask_of))
    masks_with_parts, first = np.unique(mask_of[order], return_index=True)
    largest = np.full(len(labels), -1)
    largest[masks_with_parts] = parts[order[first]]
    return torch.from_numpy(labels == largest[:, None, None]).to(masks.device)


def enclosing_boxes(masks: Bool[Tensor, "b h w"]) -> Float[Tensor, "b 4"]:
    """The smallest box around each mask.

    Raises:
        AnatomarkError: a mask is empty.
    """
    occupied = masks.flatten(1).any(1)
    if not occupied.all():
        empty = int((~occupied).nonzero()[0])
        raise AnatomarkError(f"mask {empty} of the batch is empty, so it has no box; check its map")
    return _edges(masks)


def median_boxes(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b 4"]:
    """The box around what :func:`threshold_median` keeps of every map; nothing in it depends on values, so it exports.

    Args:
        maps: maps from 0 up.
    """
    return _edges(threshold_median(maps))  # no mask of which is empty


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


def _edges(masks: Bool[Tensor, "b h w"]) -> Float[Tensor, "b 4"]:
    """The smallest box around each mask, none of which is empty."""
    sides = []
    for reduced_axis in (1, 2):  # columns that hold a pixel give x, rows give y
        occupied = masks.any(reduced_axis)
        index = torch.arange(occupied.shape[1], device=masks.device)
        first = torch.where(occupied, index, occupied.shape[1]).amin(1)
        last = torch.where(occupied, index, -1).amax(1)
        sides.append((first - 0.5, last + 0.5))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], dim=1)


def _area(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)

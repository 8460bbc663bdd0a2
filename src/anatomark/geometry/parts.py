"""The largest connected part of what reaches a threshold, of many maps and thresholds at once.

Rows of a mask are cut into runs of its pixels, and runs that touch are joined: there are far fewer of them than pixels.
A map is read once for all thresholds, as the number of them that each pixel reaches: where it changes along a row, runs
begin or end.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from anatomark.geometry.boxes import require_reached

Indices = Int[np.ndarray, "r"]

_PIXELS_AT_ONCE = 2**19
"""Of the maps that are read together, which bounds the memory of their runs."""


class _Runs(NamedTuple):
    """Runs of pixels in raster order, which is that of their masks; a mask is what reaches one threshold of a map.

    Attributes:
        start: index of the first pixel among those of all masks, which have a border.
        end: index after the last one.
        stride: indices from a pixel to the one below.
        rows: rows of a mask, its border included.
    """

    start: Indices
    end: Indices
    stride: int
    rows: int


def largest_boxes(maps: Float[Tensor, "b h w"], thresholds: Float[Tensor, "b t"]) -> Float[Tensor, "b t 4"]:
    """The box of the largest part of the pixels of at least each threshold; pixels that touch at a corner are one part.

    Of equally large parts the first in raster order counts. Boxes are those of :mod:`anatomark.geometry.boxes`.

    Raises:
        AnatomarkError: a map nowhere reaches a threshold.
    """
    require_reached(maps, thresholds)
    if not len(maps):
        return maps.new_zeros(0, thresholds.shape[1], 4)
    ascending, order = thresholds.sort(dim=1)
    n_maps = max(1, _PIXELS_AT_ONCE // maps[0].numel())
    values, levels = maps.cpu().numpy(), ascending.cpu().numpy()
    boxes = [
        _largest_boxes(_find_runs(values[i : i + n_maps], levels[i : i + n_maps])).reshape(levels.shape[1], -1, 4)
        for i in range(0, len(values), n_maps)
    ]
    by_level = torch.from_numpy(np.concatenate(boxes, axis=1)).to(maps).transpose(0, 1)
    return torch.zeros_like(by_level).scatter(1, order[:, :, None].expand_as(by_level), by_level)


def _find_runs(maps: Float[np.ndarray, "b h w"], levels: Float[np.ndarray, "b t"]) -> _Runs:
    """The runs of what reaches each level of its map, which ascend; masks are sorted by level, then by map."""
    n_levels = levels.shape[1]
    n_reached = np.zeros(maps.shape, dtype=np.min_scalar_type(n_levels))
    for level in levels.T:
        n_reached += maps >= level[:, None, None]
    # The border ends every run within its row and keeps the last row of a map from the first of the next.
    bordered = np.pad(n_reached, ((0, 0), (0, 1), (1, 1)))
    pixels = bordered.ravel()
    changes = np.flatnonzero(pixels[1:] != pixels[:-1])
    before, after = pixels[changes], pixels[changes + 1]
    number = np.arange(n_levels, dtype=pixels.dtype)[:, None]
    begins, ends = (before <= number) & (number < after), (after <= number) & (number < before)
    start, end = (_indices(where, changes + 1, pixels.size) for where in (begins, ends))
    return _Runs(start=start, end=end, stride=bordered.shape[2], rows=bordered.shape[1])


def _indices(where: Bool[np.ndarray, "t c"], pixel: Int[np.ndarray, "c"], n_pixels: int) -> Int[np.ndarray, "found"]:
    """Indices of pixels among those of the masks of all levels."""
    level, column = np.divmod(np.flatnonzero(where), len(pixel))
    indices: Indices = level * n_pixels + pixel[column]
    return indices


def _largest_boxes(runs: _Runs) -> Float[np.ndarray, "n 4"]:
    mask_of = runs.start // (runs.stride * runs.rows)
    length = runs.end - runs.start
    n_parts, part = _join(runs)
    size = np.bincount(part, length, minlength=n_parts)
    first = np.empty(n_parts, dtype=np.int64)
    first[part[::-1]] = np.arange(len(part))[::-1]  # of repeated indices the last assignment counts
    order = np.lexsort((first, -size, mask_of[first]))
    largest = order[np.flatnonzero(np.diff(mask_of[first[order]], prepend=-1))]
    kept = np.flatnonzero(part == largest[mask_of])
    begin = np.flatnonzero(np.diff(mask_of[kept], prepend=-1))
    row, column = np.divmod(runs.start[kept], runs.stride)
    x0 = np.minimum.reduceat(column, begin)
    x1 = np.maximum.reduceat(column + length[kept], begin)
    y0, y1 = (row[at] % runs.rows for at in (begin, np.append(begin[1:], len(row)) - 1))
    # The border makes the first column 1.
    return np.stack([x0 - 1.5, y0 - 0.5, x1 - 1.5, y1 + 0.5], axis=1)


def _join(runs: _Runs) -> tuple[int, Indices]:
    """Number of connected parts, and the part of every run."""
    # Of the runs in the row below, those touch that end no earlier than one column before, and begin no later than one
    # after.
    low = np.searchsorted(runs.end, runs.start + runs.stride, side="left")
    high = np.searchsorted(runs.start, runs.end + runs.stride, side="right")
    bounds = np.append(0, np.cumsum(high - low))
    below = np.arange(bounds[-1]) + np.repeat(low - bounds[:-1], high - low)
    n_runs = len(runs.start)
    touching = csr_array((np.ones(len(below), dtype=np.int8), below, bounds), shape=(n_runs, n_runs))
    return connected_components(touching, directed=False)

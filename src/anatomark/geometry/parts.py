"""The largest connected part of a mask, of many masks at once.

Rows of a mask are cut into runs of its pixels, and runs that touch are joined: there are far fewer of them than pixels.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from anatomark.geometry.boxes import require_reached

Indices = Int[np.ndarray, "r"]


class _Runs(NamedTuple):
    """Runs of pixels in raster order, which is that of their masks.

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
    values, levels = maps.cpu().numpy(), thresholds.cpu().numpy()
    # One threshold at a time, because the masks of all would take many times the memory of the maps.
    boxes = [_largest_boxes(_find_runs(values, level)) for level in levels.T]
    return torch.from_numpy(np.stack(boxes, axis=1)).to(maps)


def _find_runs(maps: Float[np.ndarray, "b h w"], levels: Float[np.ndarray, "b"]) -> _Runs:
    """The runs of pixels of at least the level of their map."""
    n_maps, height, width = maps.shape
    # The border ends every run within its row and keeps the last row of a map from the first of the next.
    bordered = np.zeros((n_maps, height + 1, width + 2), dtype=bool)
    np.greater_equal(maps, levels[:, None, None], out=bordered[:, :-1, 1:-1])
    pixels = bordered.ravel()
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    return _Runs(start=changes[::2], end=changes[1::2], stride=width + 2, rows=height + 1)


def _largest_boxes(runs: _Runs) -> Float[np.ndarray, "b 4"]:
    mask_of = runs.start // (runs.stride * runs.rows)
    n_parts, part = _join(runs)
    size = np.bincount(part, runs.end - runs.start, minlength=n_parts)
    first = np.empty(n_parts, dtype=np.int64)
    first[part[::-1]] = np.arange(len(part))[::-1]  # of repeated indices the last assignment counts
    order = np.lexsort((first, -size, mask_of[first]))
    largest = order[np.flatnonzero(np.diff(mask_of[first[order]], prepend=-1))]
    kept = np.flatnonzero(part == largest[mask_of])
    begin = np.flatnonzero(np.diff(mask_of[kept], prepend=-1))
    row, column = np.divmod(runs.start[kept], runs.stride)
    x0 = np.minimum.reduceat(column, begin)
    x1 = np.maximum.reduceat(runs.end[kept] % runs.stride, begin)
    y0, y1 = (reduce.reduceat(row, begin) % runs.rows for reduce in (np.minimum, np.maximum))
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

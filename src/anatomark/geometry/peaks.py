"""Landmarks as local maxima of saliency maps (Droste et al. 2020, eq. 1-2) and their sub-pixel positions."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from anatomark.types import AnatomarkError


class Peaks(NamedTuple):
    """Local maxima of a batch of maps, sorted by frame, then by falling value.

    Attributes:
        frame: index of the map each peak lies in.
        cell: its cell (x, y).
        value: height of the map there.
    """

    frame: Int64[Tensor, "n"]
    cell: Int64[Tensor, "n 2"]
    value: Float[Tensor, "n"]


def find_peaks(maps: Float[Tensor, "b h w"], *, min_distance: int = 2, threshold: float = 0.1) -> Peaks:
    """Cells that hold the maximum of their (2 d + 1)-wide square window and reach the threshold.

    Equal maxima closer than ``min_distance`` (Chebyshev) are thinned greedily in raster order, so a plateau
    gives a spaced set of peaks; the set equals that of scikit-image's ``peak_local_max`` without border
    exclusion, except that a value equal to the threshold counts. Peaks on the border count; a constant map
    has none.

    Args:
        maps: maps, normally in [0, 1] with their maximum at 1: a density seldom reaches the threshold.
        min_distance: d of eq. 1, cells.
        threshold: t of eq. 2.

    Raises:
        AnatomarkError: a map holds NaN or infinity, or ``min_distance`` is below 1.
    """
    if min_distance < 1:
        raise AnatomarkError(f"min_distance is {min_distance}; give at least 1 cell")
    values = maps.detach()
    if not values.isfinite().all():
        broken = int((~values.isfinite()).flatten(1).any(1).nonzero()[0])
        raise AnatomarkError(f"map {broken} of the batch holds NaN or infinity, so it has no peaks; check its model")
    is_maximum = values == _window_max(values, min_distance)
    constant = is_maximum.flatten(1).all(1)
    candidates = is_maximum & (values >= threshold) & ~constant[:, None, None]
    frame, y, x = _thin(candidates, min_distance - 1).nonzero().unbind(1)
    value = values[frame, y, x]
    # Two stable sorts, the minor key first, leave ties in raster order.
    order = value.argsort(descending=True, stable=True)
    order = order[frame[order].argsort(stable=True)]
    return Peaks(frame[order], torch.stack([x, y], dim=1)[order], value[order])


def refine_peaks(maps: Float[Tensor, "b h w"], peaks: Peaks) -> Float[Tensor, "n 2"]:
    """Sub-pixel positions: the least-squares quadratic of the log map on the 3x3 cells around each peak.

    Exact for any noise-free Gaussian, also an anisotropic and rotated one. Where the fitted quadratic has no
    maximum within 1 cell along both axes, the separable parabola replaces it, clamped to +-0.5 cells. Cells
    outside the map repeat the border.

    Returns:
        (x, y) in cells, ``float64``.
    """
    height, width = maps.shape[-2:]
    steps = torch.arange(-1, 2, device=maps.device)
    columns = (peaks.cell[:, 0, None] + steps).clamp(0, width - 1)
    rows = (peaks.cell[:, 1, None] + steps).clamp(0, height - 1)
    around = maps.detach()[peaks.frame[:, None, None], rows[:, :, None], columns[:, None, :]]
    # An empty cell has no logarithm; the smallest normal number keeps it far below its neighbours and finite.
    log = around.clamp(min=torch.finfo(maps.dtype).tiny).double().log()
    full, has_maximum = _quadratic_offset(log)
    return peaks.cell + torch.where(has_maximum[:, None], full, _separable_offset(log))


def cell_to_pixel(cells: Float[Tensor, "*n 2"], stride: int) -> Float[Tensor, "*n 2"]:
    """Image position, px, of a map position: cell c covers ``[c * stride - 0.5, (c + 1) * stride - 0.5]``."""
    return (cells + 0.5) * stride - 0.5


def _window_max(values: Tensor, radius: int) -> Tensor:
    """Maximum over a (2 radius + 1)-wide square window, cut at the border.

    Shifted views, one axis at a time: ``max_pool2d`` needs 30 times as long on a CPU.
    """
    for axis in (1, 2):
        length = values.shape[axis]
        largest = values.clone()
        for shift in range(1, min(radius, length - 1) + 1):
            low, high = (0, length - shift), (shift, length - shift)
            for target, other in ((low, high), (high, low)):
                view = largest.narrow(axis, *target)
                torch.maximum(view, values.narrow(axis, *other), out=view)
        values = largest
    return values


def _thin(candidates: Bool[Tensor, "b h w"], radius: int) -> Bool[Tensor, "b h w"]:
    """Keeps candidates in raster order and drops the later ones within ``radius`` of a kept one.

    Candidates that close share one value, so the greedy order by value is raster order. Each round settles,
    in all maps at once, every candidate that no open one precedes in its window.
    """
    height, width = candidates.shape[-2:]
    # Larger means earlier; 0 marks a closed cell.
    rank = torch.arange(height * width, 0, -1, device=candidates.device, dtype=torch.int32).view(height, width)
    kept = torch.zeros_like(candidates)
    open_ = candidates
    while open_.any():
        ranked = rank * open_
        first = open_ & (_window_max(ranked, radius) == ranked)
        kept |= first
        # Ordinary maps are settled in the first round and need no second window.
        if torch.equal(first, open_):
            break
        open_ = open_ & ~_window_max(first.to(torch.uint8), radius).bool()
    return kept


def _quadratic_offset(log: Float[Tensor, "n 3 3"]) -> tuple[Float[Tensor, "n 2"], Bool[Tensor, "n"]]:
    """Extremum of the least-squares quadratic, and whether it is a maximum within 1 cell along both axes."""
    rows, columns = log.sum(2), log.sum(1)
    slope_x = (columns[:, 2] - columns[:, 0]) / 6
    slope_y = (rows[:, 2] - rows[:, 0]) / 6
    curve_xx = (columns[:, 0] - 2 * columns[:, 1] + columns[:, 2]) / 3
    curve_yy = (rows[:, 0] - 2 * rows[:, 1] + rows[:, 2]) / 3
    curve_xy = (log[:, 2, 2] - log[:, 2, 0] - log[:, 0, 2] + log[:, 0, 0]) / 4
    determinant = curve_xx * curve_yy - curve_xy.square()
    negative_definite = (curve_xx < 0) & (determinant > 0)
    divisor = torch.where(negative_definite, determinant, 1)
    x = (curve_xy * slope_y - curve_yy * slope_x) / divisor
    y = (curve_xy * slope_x - curve_xx * slope_y) / divisor
    offset = torch.stack([x, y], dim=1)
    return offset, negative_definite & (offset.abs() <= 1).all(1)


def _separable_offset(log: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 2"]:
    """Vertex of the parabola through the three middle cells of each axis, within +-0.5; 0 on a plateau."""
    middle = torch.stack([log[:, 1, :], log[:, :, 1]], dim=1)
    slope = (middle[..., 2] - middle[..., 0]) / 2
    curve = middle[..., 0] - 2 * middle[..., 1] + middle[..., 2]
    return torch.where(curve < 0, -slope / torch.where(curve < 0, curve, 1), 0).clamp(-0.5, 0.5)

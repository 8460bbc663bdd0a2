"""Scan sectors in polar coordinates, depth x angle, and back (Toussaint et al. 2018, section 2).

A row of a polar image is a depth, from near to far, and a column a direction, from the left edge of the sector to the
right. Pixel centres lie at integers there too, so that the sector's own edges are those of the polar image: at -0.5 and
``size`` - 0.5. Every function takes one :class:`~anatomark.types.PolarGrid` per image, each of its own geometry.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from anatomark.types import AnatomarkError, PolarGrid

ARC_POINTS = 65
"""Points along each arc of a polygon: at a depth of 1000 px over 90 degrees its chords are 0.08 px off the arc."""


def to_polar(images: Float[Tensor, "b c h w"], grids: Sequence[PolarGrid]) -> Float[Tensor, "b c depths angles"]:
    """Samples the sectors of images, all at once, bilinear; black where a sector leaves its image.

    Nothing is smoothed where polar pixels are larger than the frame's: on ultrasound the aliasing is 3 % of the
    standard deviation at 2 frame px per polar px, and 6 to 9 % at 4.

    Raises:
        AnatomarkError: the polar images differ in size.
    """
    images = images.float()
    height, width = _common_size(grids)
    apex, first, step = _parameters(grids, images)
    depth = first[:, :1] + step[:, :1] * torch.arange(height, device=images.device)
    angle = first[:, 1:] + step[:, 1:] * torch.arange(width, device=images.device)
    # One multiplication and addition of the size of the grid, on x and y of all columns side by side.
    scale = 2 / torch.tensor([images.shape[-1], images.shape[-2]], dtype=images.dtype, device=images.device)
    direction = (torch.stack([angle.sin(), angle.cos()], dim=-1) * scale).flatten(1)
    origin = ((apex + 0.5) * scale - 1).repeat(1, width)
    grid = torch.addcmul(origin[:, None], depth[:, :, None], direction[:, None]).view(len(images), height, width, 2)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def to_cartesian(
    images: Float[Tensor, "b c depths angles"], grids: Sequence[PolarGrid], *, size: tuple[int, int]
) -> Float[Tensor, "b c h w"]:
    """Puts polar images, maps or masks (as numbers) back into frames, bilinear; zero outside the sector.

    Args:
        images: polar images of the grids' size.
        grids: their geometry.
        size: (height, width) of the frames, px.

    Raises:
        AnatomarkError: the polar images are not of the grids' size.
    """
    images = images.float()
    if tuple(images.shape[-2:]) != (expected := _common_size(grids)):
        raise AnatomarkError(f"polar images are {tuple(images.shape[-2:])} px but their grids {expected}; resize them")
    distinct = {grid: number for number, grid in enumerate(dict.fromkeys(grids))}
    where, inside = _places_in_polar(list(distinct), images, size)
    if len(distinct) < len(grids):  # such as for several maps of a frame
        which = torch.tensor([distinct[grid] for grid in grids], device=images.device)
        where, inside = where[which], inside[which]
    # Repeating the border keeps a map from fading within half a pixel of the sector's edges.
    sampled = F.grid_sample(images, where, padding_mode="border", align_corners=False)
    return sampled * inside[:, None]


def points_to_cartesian(points: Float[Tensor, "b n 2"], grids: Sequence[PolarGrid]) -> Float[Tensor, "b n 2"]:
    """Frame positions (x, y), px, of polar ones (column, row)."""
    apex, first, step = _parameters(grids, points.double())
    angle, depth = (first.flip(1)[:, None] + step.flip(1)[:, None] * points.double()).unbind(-1)
    return (apex[:, None] + depth[..., None] * torch.stack([angle.sin(), angle.cos()], dim=-1)).to(points.dtype)


def points_to_polar(points: Float[Tensor, "b n 2"], grids: Sequence[PolarGrid]) -> Float[Tensor, "b n 2"]:
    """Polar positions (column, row), px, of frame positions (x, y): the inverse of :func:`points_to_cartesian`.

    Directions are cut opposite to the middle of the sector.
    """
    apex, first, step = _parameters(grids, points.double())
    x, y = (points.double() - apex[:, None]).unbind(-1)
    row = (torch.hypot(x, y) - first[:, :1]) / step[:, :1]
    column = _turn(torch.atan2(x, y) - first[:, 1:], step[:, 1:], _common_size(grids)[1])
    return torch.stack([column, row], dim=-1).to(points.dtype)


def box_polygons(boxes: Float[Tensor, "b n 4"], grids: Sequence[PolarGrid]) -> Float[Tensor, "b n p 2"]:
    """Outlines (x, y), px of the frame, of polar boxes: along the near arc and back along the far one."""
    share = torch.linspace(0, 1, ARC_POINTS, dtype=boxes.dtype, device=boxes.device)
    left, top, right, bottom = boxes[..., None].unbind(-2)
    column = left + (right - left) * torch.cat([share, share.flip(0)])
    row = torch.cat([top.expand(*top.shape[:-1], ARC_POINTS), bottom.expand(*top.shape[:-1], ARC_POINTS)], dim=-1)
    polygon = torch.stack([column, row], dim=-1)
    return points_to_cartesian(polygon.flatten(1, 2), grids).reshape(polygon.shape)


def boxes_to_cartesian(boxes: Float[Tensor, "b n 4"], grids: Sequence[PolarGrid]) -> Float[Tensor, "b n 4"]:
    """The smallest upright boxes of the frame around polar boxes, exact.

    Along a direction of the axes, the region between two arcs reaches as far as the larger arc's point nearest to that
    direction, or the smaller arc's where all of the region lies on the other side of the apex.
    """
    apex, first, step = (value[:, None] for value in _parameters(grids, boxes.double()))
    left, top, right, bottom = boxes.double().unbind(-1)
    near = (first[..., 0] + step[..., 0] * top).clamp(min=0)
    far = (first[..., 0] + step[..., 0] * bottom).clamp(min=0)
    low, high = first[..., 1] + step[..., 1] * left, first[..., 1] + step[..., 1] * right
    reach = []
    for direction in (-math.pi / 2, math.pi, math.pi / 2, 0.0):  # -x, -y, +x, +y
        turned = low + torch.remainder(direction - low, 2 * math.pi)  # the first time at or after the left edge
        nearest = torch.maximum((low - direction).cos(), (high - direction).cos())
        nearest = torch.where(turned <= high, 1.0, nearest)
        reach.append(torch.where(nearest > 0, far, near) * nearest)
    sign = torch.tensor([-1, -1, 1, 1], dtype=torch.float64, device=boxes.device)
    return (apex.repeat(1, 1, 2) + torch.stack(reach, dim=-1) * sign).to(boxes.dtype)


def boxes_to_polar(boxes: Float[Tensor, "b n 4"], grids: Sequence[PolarGrid]) -> Float[Tensor, "b n 4"]:
    """The smallest upright polar boxes around boxes of the frame, exact.

    A box that holds the apex, or lies across the line behind it, reaches all around.
    """
    apex, first, step = _parameters(grids, boxes.double())
    corners = boxes.double()[..., [0, 1, 2, 1, 2, 3, 0, 3]]
    polar = points_to_polar(corners.reshape(len(boxes), -1, 2), grids).reshape(*boxes.shape, 2)
    column, far_row = polar.unbind(-1)
    low, high = boxes.double()[..., :2], boxes.double()[..., 2:]
    nearest = apex[:, None].clamp(min=low, max=high) - apex[:, None]
    near_row = (nearest.norm(dim=-1) - first[:, :1]) / step[:, :1]
    left, right = column.amin(-1), column.amax(-1)
    half_turn = math.pi / step[:, 1:]
    around = right - left >= half_turn
    middle = (_common_size(grids)[1] - 1) / 2
    left, right = torch.where(around, middle - half_turn, left), torch.where(around, middle + half_turn, right)
    return torch.stack([left, near_row, right, far_row.amax(-1)], dim=-1).to(boxes.dtype)


def sees(grid: PolarGrid, size: tuple[int, int]) -> bool:
    """Whether any pixel of a polar image lies within a frame of ``size`` (height, width)."""
    (apex,), (first,), (step,) = _parameters([grid], torch.empty(0, dtype=torch.float64))
    depth = first[0] + step[0] * torch.arange(grid.size[0])
    angle = first[1] + step[1] * torch.arange(grid.size[1])
    x, y = apex[0] + torch.outer(depth, angle.sin()), apex[1] + torch.outer(depth, angle.cos())
    height, width = size
    return bool(((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)).any())


def _common_size(grids: Sequence[PolarGrid]) -> tuple[int, int]:
    sizes = {grid.size for grid in grids}
    if len(sizes) != 1:
        raise AnatomarkError(f"a batch holds polar images of the sizes {sorted(sizes)}; make them of one size")
    return sizes.pop()


def _parameters(
    grids: Sequence[PolarGrid], like: Tensor
) -> tuple[Float[Tensor, "b 2"], Float[Tensor, "b 2"], Float[Tensor, "b 2"]]:
    """Apexes (x, y); depth and direction against +y of the first pixel; their steps from pixel to pixel."""
    rows = []
    for grid in grids:
        depth, angle = (grid.far - grid.near) / grid.size[0], 2 * grid.half_angle / grid.size[1]
        first = (grid.near + depth / 2, grid.tilt - grid.half_angle + angle / 2)
        rows.append((grid.apex, first, (depth, angle)))
    # Not every device has float64, so the type changes before the device does.
    apexes, firsts, steps = torch.tensor(rows, dtype=like.dtype).to(like.device).unbind(1)
    return apexes, firsts, steps


def _places_in_polar(
    grids: Sequence[PolarGrid], like: Tensor, size: tuple[int, int]
) -> tuple[Float[Tensor, "b h w 2"], Bool[Tensor, "b h w"]]:
    """Where the pixels of frames lie in their polar images, from -1 to 1 between its edges, and whether they do."""
    height, width = _common_size(grids)
    apex, first, step = _parameters(grids, like)
    x = torch.arange(size[1], device=like.device) - apex[:, 0, None, None]
    y = torch.arange(size[0], device=like.device)[:, None] - apex[:, 1, None, None]
    row = (torch.hypot(x, y) - first[:, 0, None, None]) / step[:, 0, None, None]
    column = _turn(torch.atan2(x, y) - first[:, 1, None, None], step[:, 1, None, None], width)
    inside = (row >= -0.5) & (row <= height - 0.5) & (column >= -0.5) & (column <= width - 0.5)
    return torch.stack([(column + 0.5) * (2 / width) - 1, (row + 0.5) * (2 / height) - 1], dim=-1), inside


def _turn(angle: Tensor, step: Tensor, width: int) -> Tensor:
    """Columns of directions, radians from the first column, each less than half a turn from the middle column."""
    middle = (width - 1) / 2 * step
    return (torch.remainder(angle - middle + math.pi, 2 * math.pi) - math.pi + middle) / step

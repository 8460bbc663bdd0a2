"""A sector's edges and arcs, fitted to the area that a frame shows.

The side edges are the straight lines that bound most rows of the area and leave nothing outside, the arcs the circles
around the edges' intersection that bound most columns. All are then fitted together by least squares. The sides of the
picture cut off what lies beyond them, and overlays cover parts.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from scipy.optimize import least_squares

LEFT_EDGES = np.radians(np.arange(-80, 20.01, 0.25))
"""Directions of a left edge against +y, positive towards +x; those of a right edge are mirrored."""

MIN_OPENING = math.radians(8)
"""Edges that meet at less are parallel to all intents."""

MIN_SEEN = 0.08
"""An edge counts as seen along this share of the frame's height, an arc along this share of its width."""

REACHES_PX = (4.0, 2.0, 1.5)
"""Distances up to which points are taken for a curve, fit after fit."""

Theta = Float[np.ndarray, "6"]
"""A sector: apex x and y, directions of its left and right edge against +y, near and far radius; px and radians."""


class _Bound(NamedTuple):
    """Where the visible area ends in one direction: the outer sides of the last pixels, (x, y) px, row by row or column
    by column. ``free`` are those that do not lie on a side of the picture."""

    points: Float[np.ndarray, "n 2"]
    free: Bool[np.ndarray, "n"]


def fit_sector(area: Bool[np.ndarray, "h w"]) -> Theta | None:
    """The sector of a visible area; None where an edge is missing."""
    if not area.any():
        return None
    window = window_of(area)
    bounds = _bounds(area, window)
    left, right = _edge(bounds[0], -1, area.shape[0]), _edge(bounds[1], 1, area.shape[0])
    if left is None or right is None or right[2] - left[2] < MIN_OPENING:
        return None
    apex = np.linalg.solve(np.stack([left[0], right[0]]), [left[1], right[1]])
    theta = np.array([*apex, left[2], right[2], 0, 0])
    for reach in REACHES_PX:
        theta, seen = _radii(theta, bounds, MIN_SEEN * area.shape[1])
        theta = _refine(theta, seen, bounds, reach)
    unseen = np.where(seen, theta[4:], _radii(theta, bounds, math.inf)[0][4:])
    theta = np.array([*theta[:4], *unseen])
    if not 0 <= theta[4] < theta[5] or not MIN_OPENING <= theta[3] - theta[2] < math.pi:
        return None
    return theta


def window_of(area: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    """First and last row and column of the picture, which may be smaller than the frame."""
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def _bounds(area: Bool[np.ndarray, "h w"], window: tuple[int, int, int, int]) -> tuple[_Bound, _Bound, _Bound, _Bound]:
    """Left, right, upper and lower bound."""
    top, bottom, first, last = window
    rows, columns = np.arange(top, bottom + 1), np.arange(first, last + 1)
    sides = [
        np.stack([area[rows].argmax(1) - 0.5, rows], 1),
        np.stack([area.shape[1] - 0.5 - area[rows, ::-1].argmax(1), rows], 1),
        np.stack([columns, area[:, columns].argmax(0) - 0.5], 1),
        np.stack([columns, area.shape[0] - 0.5 - area[::-1, columns].argmax(0)], 1),
    ]
    low, high = np.array([first, top]) + 1, np.array([last, bottom]) - 1
    left, right, upper, lower = (_Bound(points, np.all((points > low) & (points < high), axis=1)) for points in sides)
    return left, right, upper, lower


def _edge(bound: _Bound, side: int, height: int) -> tuple[Float[np.ndarray, "2"], float, float] | None:
    """Outward normal, distance from the origin and direction of the left (-1) or right (1) edge, if it is seen."""
    directions = -side * LEFT_EDGES
    normals = side * np.stack([np.cos(directions), -np.sin(directions)], 1)
    distances, scores = _elect(normals @ bound.points.T, bound.free, 1)
    best = int(scores.argmax())
    if scores[best] < MIN_SEEN * height:
        return None
    return normals[best], float(distances[best]), float(directions[best])


def _radii(
    theta: Theta, bounds: tuple[_Bound, _Bound, _Bound, _Bound], enough: float
) -> tuple[Theta, Bool[np.ndarray, "2"]]:
    """The sector with radii of its arcs, and which of them are seen along at least ``enough`` columns."""
    found, seen = [], []
    for bound, outwards in zip(bounds[2:], (-1, 1), strict=True):
        offset = bound.points - theta[:2]
        radius = outwards * np.hypot(*offset.T)
        direction = np.arctan2(offset[:, 0], offset[:, 1])
        within = (direction > theta[2] + 0.01) & (direction < theta[3] - 0.01)
        elected, score = _elect(radius[None], bound.free & within, 2)
        seen.append(bool(score[0] >= enough))
        found.append(outwards * float(elected[0] if seen[-1] else radius.max()))
    return np.array([*theta[:4], *found]), np.array(seen)


def _elect(
    distances: Float[np.ndarray, "k n"], free: Bool[np.ndarray, "n"], reach: int
) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    """For each of k ways to measure, the distance at which most points lie and beyond which none, and its score.

    A free point within ``reach`` of it counts 1, any point farther out -4.
    """
    lowest = math.floor(distances.min()) - reach
    cells = np.floor(distances - lowest).astype(np.int64)
    n_ways, n_cells = len(distances), int(cells.max()) + 2 * reach + 2
    cells += np.arange(n_ways)[:, None] * n_cells
    voting = np.bincount(cells[:, free].ravel(), minlength=n_ways * n_cells).reshape(n_ways, n_cells)
    every = np.bincount(cells.ravel(), minlength=n_ways * n_cells).reshape(n_ways, n_cells)
    on = ndimage.convolve1d(voting, np.ones(2 * reach + 1, dtype=np.int64), axis=1, mode="constant")
    beyond = np.zeros_like(every)
    beyond[:, : -reach - 1] = every[:, ::-1].cumsum(1)[:, ::-1][:, reach + 1 :]
    scores = on - 4.0 * beyond
    best = scores.argmax(1)
    return best + lowest + 0.5, scores[np.arange(n_ways), best]


def _refine(
    theta: Theta, seen: Bool[np.ndarray, "2"], bounds: tuple[_Bound, _Bound, _Bound, _Bound], reach: float
) -> Theta:
    """Least squares over the free points within ``reach`` of edges and seen arcs."""
    moving = np.array([True] * 4 + list(seen))
    points = [bound.points[bound.free & used] for bound, used in zip(bounds, [True, True, *seen], strict=True)]
    points = [xy[np.abs(off) < reach] for xy, off in zip(points, _offsets(theta, points), strict=True)]

    def full(values: Float[np.ndarray, "k"]) -> Theta:
        filled = theta.copy()
        filled[moving] = values
        return filled

    def misfit(values: Float[np.ndarray, "k"]) -> Float[np.ndarray, "n"]:
        return np.concatenate(_offsets(full(values), points))

    fit = least_squares(
        misfit,
        theta[moving],
        x_scale=np.array([1, 1, 1e-3, 1e-3, 1, 1])[moving],
        loss="soft_l1",
    )
    return full(fit.x)


def _offsets(theta: Theta, points: list[Float[np.ndarray, "_ 2"]]) -> list[Float[np.ndarray, "_"]]:
    """Distances, px, of points from the left and right edge and from the near and far arc."""
    offsets = [xy - theta[:2] for xy in points]
    edges = [
        xy[:, 0] * math.cos(angle) - xy[:, 1] * math.sin(angle)
        for xy, angle in zip(offsets[:2], theta[2:4], strict=True)
    ]
    return edges + [np.hypot(*xy.T) - radius for xy, radius in zip(offsets[2:], theta[4:], strict=True)]

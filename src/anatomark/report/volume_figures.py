"""Pictures of points in volumes: plain values in, Matplotlib figures out. Coordinates are voxels (i, j, k)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

_PLANES = ((0, 1), (0, 2), (1, 2))
"""The axes across and upwards of each picture; the third runs into it."""
_AXIS = "ijk"
_PATH, _FOUND, _EXPERT = "#ffb000", "#22d3ee", "#f472b6"
_CELL_INCHES = 2.3
_MOST_LINES = 20
"""Lines that a legend can still name."""


@dataclass(frozen=True, kw_only=True)
class PlanesRow:
    """One volume.

    Attributes:
        title: what it is.
        images: its pictures (j i), (k i) and (k j): slices or projections of cubic voxels.
        points: name -> points (n, 3).
    """

    title: str
    images: Sequence[NDArray[np.float32]]
    points: Mapping[str, NDArray[np.float64]]


def three_slices(voxels: NDArray[np.float32], index: Sequence[float]) -> list[NDArray[np.float32]]:
    """The slices of a volume (k j i) through a position (i, j, k); the nearest ones where it lies outside."""
    i, j, k = (min(max(round(at), 0), n - 1) for at, n in zip(index, voxels.shape[::-1], strict=True))
    return [voxels[k], voxels[:, j], voxels[:, :, i]]


def three_projections(voxels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The means of a volume (k j i) along k, j and i."""
    return [voxels.mean(axis=axis) for axis in range(3)]


def draw_centre_paths(rows: Sequence[PlanesRow]) -> Figure:
    """Draws centres over iterations as a path on three planes (Wang et al. 2021, figure 3).

    Args:
        rows: volumes whose only points are the centres in their order.
    """
    figure, grid = _plane_grid(rows)
    for row, line in zip(rows, grid, strict=True):
        (path,) = row.points.values()
        for axes, (across, up) in zip(line, _PLANES, strict=True):
            axes.plot(path[:, across], path[:, up], "-o", color=_PATH, ms=3, lw=1.2)
            axes.plot(path[-1, across], path[-1, up], "+", color=_FOUND, ms=12, mew=1.8)
    figure.supxlabel(
        "line: from the start, round by round; +: the last centre, through which the slices run", fontsize=8
    )
    return figure


def draw_landmark_planes(rows: Sequence[PlanesRow], *, found: str, expert: str) -> Figure:
    """Draws detected and expert landmarks over projections of aligned patches (Wang et al. 2021, figure 3).

    Args:
        rows: patches.
        found: name of the detected points.
        expert: name of the expert's, which a row may lack.
    """
    figure, grid = _plane_grid(rows)
    for row, line in zip(rows, grid, strict=True):
        for axes, (across, up) in zip(line, _PLANES, strict=True):
            if expert in row.points:
                truth = row.points[expert]
                axes.plot(truth[:, across], truth[:, up], "o", mfc="none", color=_EXPERT, ms=6, mew=1.1)
            points = row.points[found]
            axes.plot(points[:, across], points[:, up], "+", color=_FOUND, ms=6, mew=1.2)
    figure.supxlabel(f"+ {found}, ○ {expert}, over the mean along the third axis", fontsize=8)
    return figure


def draw_distances(distances: Mapping[str, Sequence[float]]) -> Figure:
    """Draws the distance to the last centre over iterations, a line per volume (Wang et al. 2021, figure 3).

    Args:
        distances: volume -> mm from the last centre: at the start, then after each round.
    """
    figure = Figure(figsize=(5.0, 2.8), layout="constrained")
    axes = figure.add_subplot()
    for key, values in distances.items():
        axes.plot(range(len(values)), values, "-o", ms=3, lw=1.2, label=key)
    axes.set_xlabel("round", fontsize=8)
    axes.set_ylabel("distance to the last centre, mm", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(distances) <= _MOST_LINES:
        axes.legend(fontsize=7, frameon=False, ncols=1 + len(distances) // 8)
    return figure


def _plane_grid(rows: Sequence[PlanesRow]) -> tuple[Figure, list[list[Axes]]]:
    figure = Figure(figsize=(3 * _CELL_INCHES, _CELL_INCHES * len(rows) + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), 3, squeeze=False)
    for row, line in zip(rows, grid, strict=True):
        for axes, image, (across, up) in zip(line, row.images, _PLANES, strict=True):
            axes.imshow(image, cmap="gray", origin="lower")
            axes.autoscale(enable=False)
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(f"{_AXIS[across]} \N{RIGHTWARDS ARROW}, {_AXIS[up]} \N{UPWARDS ARROW}", fontsize=7)
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(row.title, fontsize=8)
    return figure, [list(line) for line in grid]

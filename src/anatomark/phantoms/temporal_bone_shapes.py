"""Implicit shapes for phantoms of volumes: signed distances in mm, negative inside."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

Points = Float[np.ndarray, "n 3"]
Values = Float[np.ndarray, "n"]

STEP_MM = 0.04
"""Distance of the samples along a curve; half of it makes no difference to the distance from its tube."""


@runtime_checkable
class Shape(Protocol):
    """What can be painted."""

    def distance(self, points: Points) -> Values:
        """Signed distance, mm."""

    def box(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Lowest and highest corner of a box around the shape, mm."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ellipsoid:
    """An ellipsoid; its distance is exact on the surface and to first order beside it.

    Attributes:
        centre: mm.
        semi_axes: mm.
        axes: rows are the unit vectors of the semi-axes.
    """

    centre: Float[np.ndarray, "3"]
    semi_axes: Float[np.ndarray, "3"]
    axes: Float[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))

    def distance(self, points: Points) -> Values:
        """Signed distance, mm."""
        local = (points - self.centre) @ self.axes.T / self.semi_axes
        level = np.linalg.norm(local, axis=1)
        slope = np.linalg.norm(local / self.semi_axes, axis=1)
        # At the very centre the ratio has no value; the shortest way out is along the shortest axis.
        ratio = np.divide(level, slope, out=np.full_like(level, self.semi_axes.min()), where=slope > 0)
        return np.asarray((level - 1) * ratio)

    def box(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Lowest and highest corner of a box around the shape, mm."""
        half = np.linalg.norm(self.axes * self.semi_axes[:, None], axis=0)
        return self.centre - half, self.centre + half


class Tube:
    """A round tube about a curve, with round ends.

    Args:
        points: the curve, sampled densely, mm.
        radii: radius at each sample, mm; it changes slowly.
        flat_start: the first end is cut off at right angles to the curve instead.
    """

    def __init__(self, points: Points, radii: Values, *, flat_start: bool = False) -> None:
        self.points = points
        self.radii = radii
        self.flat_start = flat_start
        self._tree = cKDTree(points)

    def nearest(self, points: Points) -> tuple[Values, Int[np.ndarray, "n"]]:
        """Distance from the curve, mm, and the number of its nearest sample."""
        distance, number = self._tree.query(points)
        return np.asarray(distance), np.asarray(number)

    def distance(self, points: Points) -> Values:
        """Signed distance, mm."""
        distance, number = self.nearest(points)
        signed = distance - self.radii[number]
        if not self.flat_start:
            return np.asarray(signed)
        start = self.points[1] - self.points[0]
        behind = (self.points[0] - points) @ start / np.linalg.norm(start)
        # Only beside the first sample: the same plane cuts the tube elsewhere too.
        return np.asarray(np.where(number == 0, np.maximum(signed, behind), signed))

    def box(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Lowest and highest corner of a box around the shape, mm."""
        widest = self.radii.max()
        return self.points.min(axis=0) - widest, self.points.max(axis=0) + widest


class AirCells:
    """Cells that fill an ellipsoid like a honeycomb: the Voronoi cells of random points, with walls between them.

    Args:
        hull: what they fill.
        cell_mm: typical distance of neighbouring cells.
        wall_mm: thickness of the walls.
        rng: draws the points.
    """

    def __init__(self, hull: Ellipsoid, *, cell_mm: float, wall_mm: float, rng: np.random.Generator) -> None:
        self.hull = hull
        self.wall_mm = wall_mm
        low, high = hull.box()
        count = int(np.prod(high - low) / cell_mm**3)
        self._tree = cKDTree(rng.uniform(low, high, (count, 3)))

    def distance(self, points: Points) -> Values:
        """Signed distance, mm: exact to first order at the walls."""
        first, second = np.asarray(self._tree.query(points, k=2)[0]).T
        return np.asarray(np.maximum(self.hull.distance(points), self.wall_mm / 2 - (second - first) / 2))

    def box(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Lowest and highest corner of a box around the shape, mm."""
        return self.hull.box()


def ellipsoid(centre: Sequence[float], semi_axes: Sequence[float], along: Sequence[float] = (1, 0, 0)) -> Ellipsoid:
    """An ellipsoid whose first axis points along a direction and whose second is horizontal."""
    first = np.array(along, dtype=float) / np.linalg.norm(along)
    second = np.cross((0.0, 0.0, 1.0), first)
    second /= np.linalg.norm(second)
    return Ellipsoid(
        centre=np.array(centre, dtype=float),
        semi_axes=np.array(semi_axes, dtype=float),
        axes=np.stack([first, second, np.cross(first, second)]),
    )


def polyline_tube(corners: Sequence[Sequence[float]], radii: Sequence[float]) -> Tube:
    """A tube about straight pieces; its radius changes linearly from corner to corner."""
    knots = np.array(corners, dtype=float)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    samples = np.linspace(0, along[-1], int(along[-1] / STEP_MM) + 2)
    points = np.stack([np.interp(samples, along, knots[:, axis]) for axis in range(3)], axis=1)
    return Tube(points, np.interp(samples, along, radii))


def arc_tube(
    centre: Sequence[float],
    towards: Sequence[float],
    up: Sequence[float],
    *,
    radius: float,
    half_deg: float,
    tube: float,
) -> Tube:
    """A tube about an arc of a circle.

    Args:
        centre: of the circle, mm.
        towards: direction of the arc's middle from the centre.
        up: another direction in its plane.
        radius: of the circle, mm.
        half_deg: half of the arc, degrees.
        tube: radius of the tube, mm.
    """
    first = np.array(towards, dtype=float) / np.linalg.norm(towards)
    second = np.array(up, dtype=float) - first * (first @ up)
    second /= np.linalg.norm(second)
    half = np.radians(half_deg)
    angles = np.linspace(-half, half, int(2 * half * radius / STEP_MM) + 2)[:, None]
    points = np.array(centre, dtype=float) + radius * (np.cos(angles) * first + np.sin(angles) * second)
    return Tube(points, np.full(len(points), tube))

"""Soft-edged shapes that are painted into a tissue map, in the coordinates of a body part.

Shapes are weights in [0, 1] over a grid of any shape; painting mixes a tissue in by its weight.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int

from anatomark.phantoms.ultrasound import AcousticGrid, Sector, Tissue

Grid = Float32[np.ndarray, "h w"]
Beams = Float32[np.ndarray, "1 w"]
Vector = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where a body part lies in the frame. Its axes are p (to the right when not flipped) and q (downwards).

    Attributes:
        centre: origin of the body part, px.
        scale: px per unit of the body part.
        angle: rotation, radians, positive from +x towards +y.
        flip: whether p is mirrored before the rotation.
    """

    centre: Vector
    scale: float
    angle: float
    flip: bool

    def to_frame(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Positions (p, q) of the body part to px of the frame."""
        return np.asarray(points @ self._axes() * self.scale + np.asarray(self.centre))

    def to_local(self, xy: Float32[np.ndarray, "2 h w"]) -> tuple[Grid, Grid]:
        """Positions in px of the frame to p and q."""
        x, y = xy[0] - np.float32(self.centre[0]), xy[1] - np.float32(self.centre[1])
        axes = (self._axes() / self.scale).astype(np.float32)
        return axes[0, 0] * x + axes[0, 1] * y, axes[1, 0] * x + axes[1, 1] * y

    def beams(self, sector: Sector, grid: AcousticGrid) -> tuple[Beams, Beams]:
        """Direction (p, q) of each beam."""
        angle = grid.angles + sector.tilt
        p, q = self._axes() @ np.stack([np.sin(angle), np.cos(angle)])
        return p[None].astype(np.float32), q[None].astype(np.float32)

    def _axes(self) -> Float[np.ndarray, "2 2"]:
        """Rows: directions of p and q in the frame."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        mirror = -1.0 if self.flip else 1.0
        return np.array([[mirror * c, mirror * s], [-s, c]])


@dataclass(frozen=True)
class Canvas:
    """A tissue map being painted, with the coordinates to paint in.

    Attributes:
        tissue: the map; painting changes it in place.
        p: first coordinate of each cell.
        q: second coordinate of each cell.
        beams: direction (p, q) of each beam.
        shimmer: how well smooth surfaces reflect, in [0, 1]; its variation makes their echoes uneven.
    """

    tissue: Tissue
    p: Grid
    q: Grid
    beams: tuple[Beams, Beams]
    shimmer: Grid

    @classmethod
    def blank(
        cls, local: tuple[Grid, Grid], beams: tuple[Beams, Beams], rng: "Normals", *, unevenness: float
    ) -> "Canvas":
        """An empty canvas.

        Args:
            local: p and q of each cell.
            beams: direction (p, q) of each beam.
            rng: draws how things bend and shimmer.
            unevenness: how far shapes are bent, in units of the body part: nothing in a body is exactly straight.
        """
        shape = (local[0].shape[0], local[0].shape[1])
        p, q = (axis + np.float32(unevenness) * smooth_noise(shape, (14, 12), rng) for axis in local)
        shimmer = 0.25 + 0.75 * np.clip(0.5 + 0.5 * smooth_noise(shape, (50, 40), rng), 0, 1)
        return cls(Tissue.empty(shape), p, q, beams, shimmer)

    def within(self, radius: float, centre: Vector = (0.0, 0.0)) -> "Canvas":
        """The smallest part of the canvas that holds all within ``radius`` of ``centre``; empty where it has none."""
        near = (self.p - np.float32(centre[0])) ** 2 + (self.q - np.float32(centre[1])) ** 2 < radius**2
        rows, columns = (np.flatnonzero(near.any(axis=axis)) for axis in (1, 0))
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if rows.size else np.s_[:0, :0]
        tissue = Tissue(
            backscatter=self.tissue.backscatter[part],
            interface=self.tissue.interface[part],
            attenuation=self.tissue.attenuation[part],
        )
        beams = (self.beams[0][:, part[1]], self.beams[1][:, part[1]])
        return Canvas(tissue, self.p[part], self.q[part], beams, self.shimmer[part])

    def paint(self, weight: Grid, level_db: float | Grid, attenuation: float | Grid) -> None:
        """Replaces the tissue by one of the given backscatter in dB and attenuation in dB/mm."""
        amplitude = np.float32(10) ** (np.asarray(level_db, dtype=np.float32) / 20)
        for values, new in (
            (self.tissue.backscatter, amplitude),
            (self.tissue.attenuation, np.asarray(attenuation, dtype=np.float32)),
            (self.tissue.interface, np.float32(0)),
        ):
            values += weight * (new - values)

    def reflect(self, weight: Grid, level_db: float, normal: tuple[Grid, Grid] | Vector, power: float) -> None:
        """Adds a smooth surface that echoes ``cos(incidence) ** power`` of its level."""
        cosine = np.abs(normal[0] * self.beams[0] + normal[1] * self.beams[1])
        echo = weight * self.shimmer * cosine**power * np.float32(10 ** (level_db / 20))
        np.maximum(self.tissue.interface, echo, out=self.tissue.interface)

    def stroke(self, start: Vector, end: Vector, *, width: float, level_db: float, bend: float = 0.0) -> None:
        """Adds a thin membrane that fades at its ends and bulges by ``bend`` between them."""
        length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
        along, across = self.rotated(start, float(np.arctan2(end[1] - start[1], end[0] - start[0])))
        position = along / np.float32(length)
        sagitta = np.float32(4 * bend) * position * (1 - position)
        taper = smooth_step(along, 2 * width) * smooth_step(length - along, 2 * width)
        weight = np.exp(-(((across - sagitta) / np.float32(width)) ** 2)) * taper
        normal = ((start[1] - end[1]) / length, (end[0] - start[0]) / length)
        self.reflect(weight, level_db, normal, power=4)

    def ellipse(self, centre: Vector, axes: Vector, *, angle: float = 0.0, soft: float = 0.015) -> Grid:
        """Weight of a filled ellipse."""
        u, v = self.rotated(centre, angle)
        rho = np.hypot(u / np.float32(axes[0]), v / np.float32(axes[1]))
        return smooth_step((1 - rho) * np.float32(min(axes)), soft)

    def box(self, centre: Vector, half: Vector, *, angle: float = 0.0, soft: float = 0.015) -> Grid:
        """Weight of a filled rectangle."""
        u, v = self.rotated(centre, angle)
        inside = np.minimum(np.float32(half[0]) - np.abs(u), np.float32(half[1]) - np.abs(v))
        return smooth_step(inside, soft)

    def rotated(self, centre: Vector, angle: float) -> tuple[Grid, Grid]:
        """Coordinates along and across a direction at ``angle`` from +p towards +q."""
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        dp, dq = self.p - np.float32(centre[0]), self.q - np.float32(centre[1])
        return c * dp + s * dq, c * dq - s * dp


def smooth_step(distance: Grid, soft: float) -> Grid:
    """0 below ``-soft``, 1 above ``soft``, smooth between."""
    t = np.clip(distance * np.float32(0.5 / soft) + np.float32(0.5), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


@runtime_checkable
class Normals(Protocol):
    """A source of normal deviates, as :class:`numpy.random.Generator` is."""

    def standard_normal(self, size: tuple[int, int], dtype: Any) -> Any:
        """Array of ``size`` with zero mean and unit variance."""


class Drift:
    """Normal deviates that change smoothly along a sweep.

    Args:
        seed: equal seeds give equal deviates at equal positions.
        position: where along the sweep, not negative; deviates one apart share half of what they are made of.
    """

    def __init__(self, seed: int, position: float) -> None:
        below = int(position)
        self._sources = [np.random.default_rng([seed, knot]) for knot in (below, below + 1)]
        angle = np.pi / 2 * (position - below)
        self._weights = np.float32(np.cos(angle)), np.float32(np.sin(angle))

    def standard_normal(self, size: tuple[int, int], dtype: Any) -> Any:
        """Array of ``size`` with zero mean and unit variance."""
        first, second = (source.standard_normal(size, dtype=dtype) for source in self._sources)
        return self._weights[0] * first + self._weights[1] * second


def smooth_noise(shape: tuple[int, int], knots: tuple[int, int], rng: Normals) -> Grid:
    """Random field of zero mean and unit variance, smooth between ``knots`` along each axis."""
    field = rng.standard_normal(knots, dtype=np.float32)
    # Only two knots weigh on a sample, so gathering them is cheaper than a matrix product.
    below, weights = _blend(shape[0], knots[0])
    field = weights[0, :, None] * field[below] + weights[1, :, None] * field[below + 1]
    below, weights = _blend(shape[1], knots[1])
    return np.asarray(weights[0] * field[:, below] + weights[1] * field[:, below + 1], dtype=np.float32)


@lru_cache(maxsize=1024)
def _blend(samples: int, knots: int) -> tuple[Int[np.ndarray, "samples"], Float32[np.ndarray, "2 samples"]]:
    """Knot below each sample and the raised-cosine weights, of unit norm, of it and the next one."""
    position = np.linspace(0, knots - 1, samples)
    below = np.minimum(position.astype(np.int64), knots - 2)
    upper = 0.5 - 0.5 * np.cos(np.pi * (position - below))
    weights = np.stack([1 - upper, upper]) / np.hypot(1 - upper, upper)
    return below, weights.astype(np.float32)

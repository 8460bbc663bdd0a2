"""Anatomy of a fetal trunk between 18 and 24 weeks, from the lower abdomen to the heart.

Positions are in units of the abdomen's mean radius: p towards the fetus's left, q towards its back, z towards
its head, with z = 0 near the plane in which the abdominal circumference (AC) is measured. That plane shows the
stomach, the umbilical vein inside the liver and the spine together.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from anatomark.phantoms.drawing import Vector

STRUCTURES = ("stomach", "umbilical_vein", "spine")
"""What the AC plane shows."""
SHOWN = 0.5
"""A structure counts as visible when the section shows at least this share of its full size."""
CUT_OFF, FADING = 0.84, 0.05
"""Share of the umbilical vein's course that a section beyond its lengthwise part misses, and how far beyond."""


@dataclass(frozen=True, kw_only=True)
class Organ:
    """An organ whose sections are ellipses of one shape that shrink towards its ends along z.

    Attributes:
        centre: (p, q) of its sections.
        axes: half axes of the largest section.
        angle: direction of the first axis from +p towards +q, radians.
        level: z of its middle.
        half: half of its length along z.
    """

    centre: Vector
    axes: Vector
    angle: float = 0.0
    level: float
    half: float

    def size(self, z: float) -> float:
        """Scale of the section at ``z``, in [0, 1]; blunt ends, so that the organ soon has its full size."""
        return float(np.sqrt(max(0.0, 1 - ((z - self.level) / self.half) ** 4)))

    def reach(self) -> float:
        """Distance from the middle along z within which the organ is visible."""
        return float(self.half * (1 - SHOWN**2) ** 0.25)

    def outline(self, z: float) -> Float[np.ndarray, "64 2"]:
        """Points (p, q) around the section at ``z``."""
        t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        u, v = self.size(z) * self.axes[0] * np.cos(t), self.size(z) * self.axes[1] * np.sin(t)
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.stack([self.centre[0] + c * u - s * v, self.centre[1] + s * u + c * v], axis=1)


@dataclass(frozen=True, kw_only=True)
class Vein:
    """The umbilical vein, which rises from the navel and bends to the right inside the liver: a hockey stick.

    A section at its level shows it lengthwise; one below cuts it across near the anterior wall, one above shows
    its end or nothing.

    Attributes:
        corners: start, bend and end of the course (p, q).
        width: half of its diameter.
        level: z of the middle of the lengthwise part.
        half: half of the range of z that shows all of the lengthwise part.
    """

    corners: tuple[Vector, Vector, Vector]
    width: float
    level: float
    half: float

    def extent(self, z: float) -> tuple[float, float]:
        """Part of the course that the section at ``z`` shows, from 0 (start) to 1 (end)."""
        below, above = self.level - self.half - z, z - self.level - self.half
        start, stop = (CUT_OFF * min(max(beyond / FADING, 0.0), 1.0) for beyond in (above, below))
        return start, 1 - stop

    def length(self, z: float) -> float:
        """Share of the course that the section at ``z`` shows."""
        start, stop = self.extent(z)
        return stop - start

    def reach(self) -> float:
        """Distance from the middle along z within which the vein is visible."""
        return self.half + FADING * (1 - SHOWN) / CUT_OFF

    def patent(self, z: float) -> float:
        """Scale of the lumen at ``z``: the vein leaves the section well below and above its lengthwise part."""
        away = abs(z - self.level) - self.half
        return 1 - _rise(away - (0.45 if z < self.level else 0.1), 0.06)

    def course(self, z: float) -> Float[np.ndarray, "17 2"]:
        """Points (p, q) along the visible part; below its level the vein is cut nearer to the anterior wall."""
        start, bend, end = (np.asarray(corner) for corner in self.corners)
        s = np.linspace(*self.extent(z), 17)[:, None]
        sink = min(0.2, max(0.0, self.level - self.half - z) * 0.5)
        return np.asarray((1 - s) ** 2 * start + 2 * s * (1 - s) * bend + s**2 * end + np.array([0.0, -sink]))


@dataclass(frozen=True, kw_only=True)
class Abdomen:
    """One trunk; lengths in units of the mean radius unless named otherwise.

    Attributes:
        radius_mm: mean radius of the abdominal circumference, mm.
        aspect: half width over half depth of the outline.
        dents: amplitudes and phases of the outline's deviations from an ellipse.
        wall: thickness of the abdominal wall.
        stomach: the stomach bubble.
        vein: the umbilical vein.
        spine: centre (p, q) of the vertebrae.
        vertebra: size of a vertebra's ossified parts.
        fluids: other organs filled with fluid: gallbladder, bladder, renal pelves.
        kidneys: the two kidneys.
        vessels: aorta, vena cava and vessels of the liver.
        bowel: loops of the bowel.
        heart: the heart.
        ribs: pairs of ribs, each (z of its joint with the spine, half of the angle a section shows, radians).
        liver_db: echogenicity of the liver, dB.
        fluid_db: echogenicity of the stomach's content, dB.
        blood_db: echogenicity of the umbilical vein's blood, dB.
        contrast_db: echogenicity of borders against the average, dB.
    """

    radius_mm: float
    aspect: float
    dents: tuple[Vector, ...]
    wall: float
    stomach: Organ
    vein: Vein
    spine: Vector
    vertebra: float
    fluids: tuple[Organ, ...]
    kidneys: tuple[Organ, Organ]
    vessels: tuple[Organ, ...]
    bowel: tuple[Organ, ...]
    heart: Organ
    ribs: tuple[Vector, ...]
    liver_db: float
    fluid_db: float
    blood_db: float
    contrast_db: float

    def semi_axes(self, z: float) -> Vector:
        """Half width (along p) and half depth (along q) of the outline at ``z``."""
        taper = 1 - 0.05 * min(max(z, 0.0), 1.5) ** 2 - 0.06 * min(z, 0.0) ** 2
        return taper * self.aspect**0.5, taper / self.aspect**0.5

    def outline(self, z: float) -> Float[np.ndarray, "180 2"]:
        """Points (p, q) around the trunk."""
        t = np.linspace(0, 2 * np.pi, 180, endpoint=False)
        bulge = self.bulge(t)
        a, b = self.semi_axes(z)
        return np.stack([a * bulge * np.cos(t), b * bulge * np.sin(t)], axis=1)

    def bulge(self, angle: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Radius of the outline over that of the ellipse, by direction."""
        return np.asarray(1 + sum(a * np.cos(k * angle + f) for k, (a, f) in enumerate(self.dents, 2)))

    def plane_range(self) -> Vector:
        """Lowest and highest z at which stomach and vein are both visible."""
        low = max(x.level - x.reach() for x in (self.stomach, self.vein))
        return low, min(x.level + x.reach() for x in (self.stomach, self.vein))


def _rise(x: float, width: float) -> float:
    """0 below 0, 1 above ``width``, smooth between."""
    t = min(max(x / width, 0.0), 1.0)
    return t * t * (3 - 2 * t)

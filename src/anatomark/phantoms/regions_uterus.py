"""The placenta on the wall of the uterus, and what else lies around the fetus."""

from dataclasses import dataclass

import numpy as np

from anatomark.phantoms.drawing import Canvas, Grid, Normals, Vector, smooth_noise, smooth_step
from anatomark.phantoms.maternal import WALL_LOSS, Surroundings, paint_lining, paint_uterus
from anatomark.phantoms.regions_bones import OUTLINE, Mask


@dataclass(frozen=True, kw_only=True)
class Placenta:
    """A disc of even tissue on the wall of the uterus, in the uterus's coordinates.

    Attributes:
        middle: direction of its middle from the cavity's centre, radians.
        half: half of the angle it covers, radians.
        thickness: thickness of its middle.
        lakes: blood lakes, each (direction from its middle over half of its angle, height over thickness, radius).
        level_db: echogenicity, dB.
    """

    middle: float
    half: float
    thickness: float
    lakes: tuple[tuple[float, float, float], ...]
    level_db: float

    @classmethod
    def draw(cls, uterus: Surroundings, thickness: float, rng: np.random.Generator) -> "Placenta":
        """The part of the placenta that a random section shows."""
        middle = rng.uniform(0, 2 * np.pi)
        radius = float(np.hypot(uterus.cavity[0] * np.cos(middle), uterus.cavity[1] * np.sin(middle)))
        lakes = rng.uniform((-0.6, 0.25, 0.02), (0.6, 0.75, 0.05), size=(rng.integers(1, 6), 3))
        return cls(
            middle=middle,
            half=float(rng.uniform(0.5, 0.8) / radius),
            thickness=thickness * rng.uniform(0.85, 1.1),
            lakes=tuple((float(turn), float(height), float(size)) for turn, height, size in lakes),
            level_db=uterus.placenta_db + 1,
        )

    def position(self, uterus: Surroundings, *, height: float = 0.5) -> Vector:
        """Position (p, q) of the middle at a ``height`` over its thickness."""
        c, s = np.cos(self.middle), np.sin(self.middle)
        reach = height * self.thickness / min(uterus.cavity) + 1
        return (
            float(uterus.offset[0] + reach * uterus.cavity[0] * c),
            float(uterus.offset[1] + reach * uterus.cavity[1] * s),
        )

    @property
    def extent(self) -> Vector:
        """Half of the length across and along the direction of its middle, roughly."""
        return 0.65, self.thickness / 2

    @property
    def area(self) -> float:
        """Area of the section, roughly."""
        return 1.3 * self.thickness

    def paint(self, canvas: Canvas, distance: Grid, angle: Grid, rng: Normals) -> Mask:
        """Paints the placenta; returns where it is.

        Args:
            canvas: in the uterus's coordinates.
            distance: distance outside of the cavity.
            angle: direction from the cavity's centre.
            rng: draws the texture.
        """
        shape = (canvas.p.shape[0], canvas.p.shape[1])
        turn = (np.remainder(angle - self.middle + np.pi, 2 * np.pi) - np.pi).astype(np.float32) / np.float32(self.half)
        thickness = np.float32(self.thickness) * np.sqrt(np.clip(1 - np.square(np.square(turn)), 0, 1))
        fine, coarse = smooth_noise(shape, (90, 70), rng), smooth_noise(shape, (20, 16), rng)
        lined = smooth_step(1.15 - np.abs(turn), 0.1)
        bed = np.exp(-(((distance - thickness - 0.05) / np.float32(0.04)) ** 2)) * lined
        canvas.paint(0.8 * bed, -48.0, 0.1)
        body = smooth_step(distance + 0.02, 0.02) * smooth_step(thickness - distance, 0.02)
        body = body * smooth_step(1 - np.abs(turn), 0.05)
        canvas.paint(body, self.level_db + 1.6 * fine + 1.6 * coarse, 0.13)
        for place, height, radius in self.lakes:
            u = (turn - np.float32(place)) * np.float32(self.half)
            v = distance - np.float32(height) * thickness
            canvas.paint(body * smooth_step(radius - np.hypot(u, v), 0.02), -50.0, 0.05)
        plate = np.exp(-((distance / np.float32(0.018)) ** 2)) * smooth_step(1 - np.abs(turn), 0.05)
        canvas.paint(plate, -17.0, WALL_LOSS)
        return np.asarray(body > OUTLINE)


@dataclass(frozen=True, kw_only=True)
class Wall:
    """What the wall of the uterus holds besides the placenta, in the uterus's coordinates.

    Attributes:
        vessels: vessels and other dark spots in the tissue, each (p, q), half axes and angle.
        strands: thin membranes in the fluid, each start and end.
    """

    vessels: tuple[tuple[Vector, Vector, float], ...]
    strands: tuple[tuple[Vector, Vector], ...]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Wall":
        """A random wall."""
        vessels = []
        for _ in range(rng.integers(4, 11)):
            size = rng.uniform(0.03, 0.1)
            axes = (size * rng.uniform(1.0, 2.5), size)
            vessels.append((_around(rng.uniform(1.2, 2.6), rng), axes, float(rng.uniform(0, np.pi))))
        starts = [_around(rng.uniform(0.2, 1.2), rng) for _ in range(rng.integers(0, 4))]
        strands = tuple(((p, q), (p + rng.normal(0, 0.35), q + rng.normal(0, 0.35))) for p, q in starts)
        return cls(vessels=tuple(vessels), strands=strands)

    def paint(self, canvas: Canvas) -> None:
        """Paints all of it."""
        for centre, axes, angle in self.vessels:
            part = canvas.within(max(axes) + 0.05, centre)
            part.paint(part.ellipse(centre, axes, angle=angle, soft=0.02), -54.0, 0.03)
        for start, end in self.strands:
            canvas.stroke(start, end, width=0.012, level_db=-12, bend=0.04)


def paint_womb(
    canvas: Canvas, uterus: Surroundings, wall: Wall, placenta: Placenta | None, rng: Normals
) -> dict[str, Mask]:
    """Paints the uterus.

    Args:
        canvas: in the uterus's coordinates.
        uterus: shape of the cavity.
        wall: contents of the wall.
        placenta: the placenta, if the section passes it.
        rng: draws the texture.

    Returns:
        Where the placenta is, by its class, if the section passes it.
    """
    distance, angle = paint_uterus(canvas, uterus, rng)
    wall.paint(canvas)
    paint_lining(canvas, distance)
    return {} if placenta is None else {"placenta": placenta.paint(canvas, distance, angle, rng)}


def _around(radius: float, rng: np.random.Generator) -> Vector:
    angle = rng.uniform(0, 2 * np.pi)
    return float(radius * np.cos(angle)), float(radius * np.sin(angle))

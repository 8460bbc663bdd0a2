"""What surrounds the fetus: abdominal wall, uterus, placenta and amniotic fluid."""

from dataclasses import dataclass

import numpy as np

from anatomark.phantoms.drawing import Canvas, Grid, Normals, smooth_noise, smooth_step
from anatomark.phantoms.ultrasound import AcousticGrid

WALL_LOSS = 0.22


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Maternal anatomy of one subject; lengths in units of the fetal part's size (a head's semi-major axis).

    Attributes:
        cavity: half axes of the uterine cavity, in the fetal part's directions.
        offset: centre of the cavity against the fetal part's.
        wall_mm: depth of the abdominal wall, mm.
        placenta: direction of the placenta's middle and half of the angle it covers, radians.
        placenta_db: echogenicity of the placenta, dB.
        tissue_db: echogenicity of the maternal tissue, dB.
    """

    cavity: tuple[float, float]
    offset: tuple[float, float]
    wall_mm: float
    placenta: tuple[float, float]
    placenta_db: float
    tissue_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Surroundings":
        """Random surroundings."""
        return cls(
            cavity=(rng.uniform(1.15, 1.7), rng.uniform(0.92, 1.15)),
            offset=(rng.uniform(-0.25, 0.25), rng.uniform(-0.08, 0.08)),
            wall_mm=rng.uniform(4, 12),
            placenta=(rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.4)),
            placenta_db=rng.uniform(-34, -27),
            tissue_db=rng.uniform(-37, -29),
        )


def paint_surroundings(canvas: Canvas, grid: AcousticGrid, surroundings: Surroundings, rng: Normals) -> None:
    """Paints fluid, uterine wall, placenta and abdominal wall; the fetus is painted over them."""
    distance, angle = paint_uterus(canvas, surroundings, rng)
    _paint_placenta(canvas, distance, angle, surroundings, rng)
    paint_lining(canvas, distance)
    paint_abdominal_wall(canvas, grid, surroundings, rng)


def paint_uterus(canvas: Canvas, surroundings: Surroundings, rng: Normals) -> tuple[Grid, Grid]:
    """Paints fluid and the tissue around it.

    Returns:
        Distance of each cell outside of the cavity (negative inside), and its direction from the cavity's centre.
    """
    shape = (canvas.p.shape[0], canvas.p.shape[1])
    canvas.paint(np.ones(shape, np.float32), -56.0, 0.02)
    distance, angle = _cavity(canvas, surroundings, rng)
    streaks = np.sin(distance * 45 + 2 * smooth_noise(shape, (8, 8), rng))
    level = (
        surroundings.tissue_db
        + 3.5 * smooth_noise(shape, (14, 10), rng)
        + 3 * smooth_noise(shape, (70, 16), rng)
        + 4 * streaks
    )
    canvas.paint(smooth_step(distance, 0.02), level, WALL_LOSS)
    return distance, angle


def paint_lining(canvas: Canvas, distance: Grid) -> None:
    """Paints the border between fluid and tissue, where the distance outside of the cavity is 0."""
    canvas.paint(np.exp(-((distance / np.float32(0.02)) ** 2)), -22.0, WALL_LOSS)


def _paint_placenta(canvas: Canvas, distance: Grid, angle: Grid, surroundings: Surroundings, rng: Normals) -> None:
    shape = (canvas.p.shape[0], canvas.p.shape[1])
    middle, half = surroundings.placenta
    turn = np.abs(np.angle(np.exp(1j * (angle - middle)))).astype(np.float32)
    placenta = smooth_step(half - turn, 0.15) * smooth_step(distance, 0.02) * smooth_step(0.6 - distance, 0.1)
    canvas.paint(placenta, surroundings.placenta_db + 1.5 * smooth_noise(shape, (20, 16), rng), WALL_LOSS)


def _cavity(canvas: Canvas, surroundings: Surroundings, rng: Normals) -> tuple[Grid, Grid]:
    """Distance outside of the uterine cavity and direction from its centre."""
    u = (canvas.p - np.float32(surroundings.offset[0])) / np.float32(surroundings.cavity[0])
    v = (canvas.q - np.float32(surroundings.offset[1])) / np.float32(surroundings.cavity[1])
    rho = np.hypot(u, v)
    wobble = np.float32(0.06) * smooth_noise((rho.shape[0], rho.shape[1]), (6, 6), rng)
    return (rho - 1 + wobble) * np.float32(min(surroundings.cavity)), np.arctan2(v, u)


def paint_abdominal_wall(canvas: Canvas, grid: AcousticGrid, surroundings: Surroundings, rng: Normals) -> None:
    """Paints the layers of fat and muscle below the probe."""
    shape = (canvas.p.shape[0], canvas.p.shape[1])
    depth = grid.depth_mm + 1.2 * smooth_noise(shape, (4, 5), rng)
    layers = -30 + 5 * np.sin(depth * 2.2) + 3 * smooth_noise(shape, (16, 12), rng)
    canvas.paint(smooth_step(surroundings.wall_mm - depth, 0.6), layers, WALL_LOSS)

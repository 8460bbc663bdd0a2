"""How a section through a fetal trunk scatters ultrasound."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from anatomark.phantoms.abdomen_anatomy import SHOWN, Abdomen, Organ
from anatomark.phantoms.abdomen_view import Limb, View, ossified
from anatomark.phantoms.drawing import Canvas, Grid, Normals, Vector, smooth_noise, smooth_step
from anatomark.phantoms.ultrasound import AcousticGrid

FLUID_DB, BLOOD_DB, BONE_DB = -62.0, -56.0, -20.0
BOWEL_DB, LUNG_DB, KIDNEY_DB, HEART_DB = -34.0, -33.0, -43.0, -34.0
SOFT_LOSS, FLUID_LOSS, BONE_LOSS, RIB_LOSS = 0.12, 0.03, 2.6, 3.5
ECHO_REACH = 0.25
"""Beyond this distance from its outline an organ has no effect, down to the last bit."""
RIB_SLOPE = 0.35
"""How far a rib descends per radian on its way from the spine to the front."""


def paint_trunk(canvas: Canvas, view: View, rng: Normals) -> None:
    """Paints wall and contents over what is there; ``rng`` draws the texture."""
    abdomen, section = view.abdomen, view.section
    canvas = _with_patchy_echoes(canvas.within(1.35), rng)
    depth, normal = skin_depth(canvas, abdomen, section.z)
    levels = section.levels(canvas.p, canvas.q)
    _paint_wall(canvas, abdomen, depth, normal, rng)
    _paint_soft_tissue(canvas, abdomen, depth, levels, rng)
    _paint_ribs(canvas, abdomen, depth, normal, levels)
    for organ in abdomen.kidneys:
        _paint_organ(canvas, view, organ, level_db=KIDNEY_DB, border_db=-14 + abdomen.contrast_db)
    for organ in abdomen.bowel:
        _paint_organ(canvas, view, organ, level_db=-50, border_db=-17 + abdomen.contrast_db)
    for organ in abdomen.vessels:
        _paint_organ(canvas, view, organ, level_db=BLOOD_DB, border_db=-16 + abdomen.contrast_db)
    for organ in abdomen.fluids:
        _paint_organ(canvas, view, organ, level_db=FLUID_DB, border_db=-10 + abdomen.contrast_db)
    _paint_heart(canvas, view, abdomen.heart)
    _paint_organ(canvas, view, abdomen.stomach, level_db=abdomen.fluid_db, border_db=-10 + abdomen.contrast_db)
    _paint_vein(canvas, view)
    _paint_spine(canvas, abdomen)


def paint_limb(canvas: Canvas, grid: AcousticGrid, limb: Limb) -> None:
    """Paints a limb and with it, as the beams are weakened, its shadow."""
    angle = np.abs(grid.angles - limb.angle)[None].astype(np.float32)
    radius = grid.radii[:, None].astype(np.float32)
    inside = smooth_step(limb.half_angle - angle, 0.2 * limb.half_angle)
    middle, half = sum(limb.radii) / 2, (limb.radii[1] - limb.radii[0]) / 2
    arch = np.float32(middle) + (angle / np.float32(limb.half_angle)) ** 2 * np.float32(1.5 * half)
    weight = inside * smooth_step(np.float32(half) - np.abs(radius - arch), 0.3 * half)
    loss = 26 / (2 * half * grid.spacing_mm)
    canvas.paint(weight, BONE_DB + 6, loss)


def _with_patchy_echoes(canvas: Canvas, rng: Normals) -> Canvas:
    """The canvas with surfaces that show here and there only, as smooth ones do."""
    shape = (canvas.p.shape[0], canvas.p.shape[1])
    patches = 0.2 + 0.8 * smooth_step(smooth_noise(shape, (22, 20), rng) + 0.2, 1.0)
    return replace(canvas, shimmer=canvas.shimmer * patches)


def skin_depth(canvas: Canvas, abdomen: Abdomen, z: float) -> tuple[Grid, tuple[Grid, Grid]]:
    """Distance below the skin (negative outside) and the skin's normal."""
    a, b = (np.float32(axis) for axis in abdomen.semi_axes(z))
    rho = np.hypot(canvas.p / a, canvas.q / b) + np.float32(1e-6)
    gradient = canvas.p / (rho * a**2), canvas.q / (rho * b**2)
    steepness = np.hypot(*gradient)
    bulge = abdomen.bulge(np.arctan2(canvas.q / b, canvas.p / a)).astype(np.float32)
    return (bulge - rho) / steepness, (gradient[0] / steepness, gradient[1] / steepness)


def _paint_wall(canvas: Canvas, abdomen: Abdomen, depth: Grid, normal: tuple[Grid, Grid], rng: Normals) -> None:
    shape = (depth.shape[0], depth.shape[1])
    fat = -31 + 4 * smooth_noise(shape, (24, 24), rng)
    # Fat and folds weaken the beams unevenly, which streaks everything behind.
    loss = 0.16 + 2.2 * smooth_step(smooth_noise(shape, (6, 18), rng) - 0.3, 1.0)
    canvas.paint(smooth_step(depth, 0.012), fat, loss)
    muscle = smooth_step(depth - 0.45 * abdomen.wall, 0.012)
    canvas.paint(muscle, -46 + 2 * smooth_noise(shape, (20, 20), rng), 0.12)
    skin = np.exp(-((depth / np.float32(0.014)) ** 2))
    evenness = 0.3 + 0.7 * smooth_step(smooth_noise(shape, (9, 9), rng) + 0.4, 1.2)
    canvas.reflect(skin * evenness, 1.0 + abdomen.contrast_db, normal, 4.0)


def _paint_soft_tissue(canvas: Canvas, abdomen: Abdomen, depth: Grid, levels: Grid, rng: Normals) -> None:
    """Bowel below, the even liver in the middle, lungs above; muscles beside the spine."""
    shape = (depth.shape[0], depth.shape[1])
    fine, coarse = smooth_noise(shape, (60, 44), rng), smooth_noise(shape, (22, 18), rng)
    liver = abdomen.liver_db + 2.4 * fine + 2.2 * coarse
    bowel = BOWEL_DB + 4.5 * fine + 3.5 * coarse
    lung = LUNG_DB + 2.0 * fine + 2.8 * coarse
    # The liver's lower edge is on the right.
    low, high = smooth_step(levels + 0.5 - 0.25 * canvas.p, 0.12), smooth_step(levels - 0.72, 0.1)
    inside = smooth_step(depth - abdomen.wall, 0.02)
    canvas.paint(inside, bowel + low * (liver - bowel) + high * (lung - liver), SOFT_LOSS)
    for side in (-1, 1):
        centre = (abdomen.spine[0] + side * 0.22, abdomen.spine[1] + 0.06)
        muscle = canvas.ellipse(centre, (0.16, 0.11), angle=-side * 0.5, soft=0.04)
        canvas.paint(muscle, -45 + 2 * fine, SOFT_LOSS)


def _paint_ribs(canvas: Canvas, abdomen: Abdomen, depth: Grid, normal: tuple[Grid, Grid], levels: Grid) -> None:
    """Each pair of ribs is cut on both sides, nearer to the front the lower the section is."""
    turn = np.abs(np.arctan2(canvas.p - np.float32(abdomen.spine[0]), canvas.q))
    band = np.exp(-(((depth - np.float32(0.75 * abdomen.wall)) / np.float32(0.022)) ** 2))
    for joint, half in abdomen.ribs:
        cut = (np.float32(joint) - levels) / np.float32(RIB_SLOPE)
        arc = smooth_step(half - np.abs(turn - cut), 0.08) * smooth_step(1.8 - cut, 0.2) * smooth_step(cut - 0.3, 0.1)
        canvas.paint(band * arc, BONE_DB, RIB_LOSS)
        canvas.reflect(band * arc, 3.0, normal, 3.0)


def _paint_organ(canvas: Canvas, view: View, organ: Organ, *, level_db: float, border_db: float) -> None:
    """An organ darker than the tissue around it; a thin slice of it is as pale as partial volume makes it."""
    z = view.section.level(organ.centre)
    size = organ.size(z)
    if size < 0.1:
        return
    axes = (size * organ.axes[0], size * organ.axes[1])
    canvas = canvas.within(max(axes) + ECHO_REACH, organ.centre)
    u, v = canvas.rotated(organ.centre, organ.angle)
    rho = np.hypot(u / np.float32(axes[0]), v / np.float32(axes[1])) + np.float32(1e-6)
    du, dv = u / (rho * np.float32(axes[0]) ** 2), v / (rho * np.float32(axes[1]) ** 2)
    steepness = np.hypot(du, dv)
    distance = (1 - rho) / steepness
    full = _presence(size)
    canvas.paint(full * smooth_step(distance, 0.015), level_db, FLUID_LOSS)
    c, s = np.float32(np.cos(organ.angle)), np.float32(np.sin(organ.angle))
    normal = (c * du - s * dv) / steepness, (s * du + c * dv) / steepness
    border = full * np.exp(-(((distance + np.float32(0.012)) / np.float32(0.014)) ** 2))
    canvas.reflect(border, border_db, normal, 3.0)


def _paint_vein(canvas: Canvas, view: View) -> None:
    vein = view.abdomen.vein
    z = view.section.level(vein.corners[1])
    width = vein.width * vein.patent(z)
    if width < 0.2 * vein.width:
        return
    course = vein.course(z)
    middle = course.mean(axis=0)
    reach = float(np.hypot(*(course - middle).T).max())
    canvas = canvas.within(reach + ECHO_REACH, (float(middle[0]), float(middle[1])))
    distance, normal = _from_course(canvas, course)
    canvas.paint(smooth_step(width - distance, 0.015), view.abdomen.blood_db, FLUID_LOSS)
    wall = np.exp(-(((distance - np.float32(width + 0.012)) / np.float32(0.015)) ** 2))
    canvas.paint(0.7 * wall, -29 + view.abdomen.contrast_db, SOFT_LOSS)
    canvas.reflect(wall, -5 + view.abdomen.contrast_db, normal, 2.0)


def _from_course(canvas: Canvas, course: Float[np.ndarray, "k 2"]) -> tuple[Grid, tuple[Grid, Grid]]:
    """Distance from a polyline and the direction away from it."""
    nearest = np.full(canvas.p.shape, np.inf, np.float32)
    away = np.zeros((2, *canvas.p.shape), np.float32)
    for start, end in zip(course[:-1].astype(np.float32), course[1:].astype(np.float32), strict=True):
        step = end - start
        dp, dq = canvas.p - start[0], canvas.q - start[1]
        t = np.clip((dp * step[0] + dq * step[1]) / (step @ step + np.float32(1e-9)), 0, 1)
        dp, dq = dp - t * step[0], dq - t * step[1]
        distance = np.hypot(dp, dq)
        closer = distance < nearest
        nearest[closer] = distance[closer]
        away[0][closer], away[1][closer] = dp[closer], dq[closer]
    return nearest, (away[0] / (nearest + np.float32(1e-6)), away[1] / (nearest + np.float32(1e-6)))


def _paint_spine(canvas: Canvas, abdomen: Abdomen) -> None:
    (p, q), size = abdomen.spine, abdomen.vertebra
    canvas.paint(canvas.ellipse((p, q + 0.25 * size), (1.1 * size, 1.2 * size), soft=0.02), -46, SOFT_LOSS)
    for centre, angle in zip(ossified(abdomen), (0.0, 0.7, -0.7), strict=True):
        bone = canvas.ellipse(centre, (0.55 * size, 0.38 * size), angle=angle, soft=0.012)
        canvas.paint(bone, BONE_DB + 9, BONE_LOSS)


def _paint_heart(canvas: Canvas, view: View, heart: Organ) -> None:
    """Four chambers between bright septa that meet at the crux."""
    z = view.section.level(heart.centre)
    size = heart.size(z)
    if size < 0.1:
        return
    _paint_organ(canvas, view, heart, level_db=HEART_DB, border_db=-8 + view.abdomen.contrast_db)
    full = _presence(size)
    c, s = np.cos(heart.angle), np.sin(heart.angle)
    for along, across in ((-0.42, -0.4), (-0.42, 0.4), (0.36, -0.36), (0.36, 0.36)):
        u, v = along * size * heart.axes[0], across * size * heart.axes[1]
        centre = (heart.centre[0] + c * u - s * v, heart.centre[1] + s * u + c * v)
        axes = (0.36 * size * heart.axes[0], 0.29 * size * heart.axes[1])
        canvas.paint(full * canvas.ellipse(centre, axes, angle=heart.angle, soft=0.03), FLUID_DB + 3, FLUID_LOSS)
    for u, v in ((0.7, 0.0), (0.0, 0.6)):
        tip = _turned((u * size * heart.axes[0], v * size * heart.axes[1]), c, s)
        start, end = ((heart.centre[0] + k * tip[0], heart.centre[1] + k * tip[1]) for k in (-1, 1))
        canvas.stroke(start, end, width=0.014, level_db=-10)


def _turned(vector: Vector, c: float, s: float) -> Vector:
    return c * vector[0] - s * vector[1], s * vector[0] + c * vector[1]


def _presence(size: float) -> float:
    """How much of its contrast a section of this size has: all of it where it counts as visible."""
    t = min(max((size - 0.6 * SHOWN) / (0.4 * SHOWN), 0.0), 1.0)
    return t * t * (3 - 2 * t)

"""Anatomy of a fetal head between 18 and 24 weeks, and how it scatters ultrasound.

Positions are in units of the skull's semi-major axis: p towards the forehead, q towards the far-field side.
"TV" is the transventricular plane (cavum septi pellucidi, CSP, and far-field lateral ventricle, LV), "TC" the
transcerebellar plane (CSP and cerebellum).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float32
from scipy.special import ellipe

from anatomark.phantoms.drawing import Canvas, Grid, Normals, Vector, smooth_noise, smooth_step

Plane = Literal["TV", "TC"]
PLANES: tuple[Plane, ...] = ("TV", "TC")
Segment = tuple[Vector, Vector]

BRAIN_DB, FLUID_DB, BONE_DB, CHOROID_DB, MEMBRANE_DB = -40.0, -60.0, -21.0, -24.0, -6.0
BRAIN_LOSS, BONE_LOSS = 0.12, 2.6


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """One head. Lengths are in units of the semi-major axis unless named otherwise.

    Attributes:
        semi_major_mm: semi-major axis of the outer skull, mm.
        aspect: semi-minor over semi-major axis (cephalic index).
        skull: thickness of the skull.
        dents: amplitudes and phases of the skull's deviations from an ellipse.
        csp: centre of the CSP.
        csp_half: half length and half width of the CSP.
        ventricle: centre of the LV's body.
        ventricle_half: half length and half width of the LV.
        ventricle_angle: direction of the LV against the midline, radians.
        choroid: centre of the choroid plexus along the LV.
        cerebellum: position of the cerebellum along the midline.
        hemisphere: half axes of a cerebellar hemisphere along p and q.
        membranes: echogenic segments that belong to no annotated structure.
        gaps: intervals along p in which the midline echo is missing.
        haze_db: how much reverberation brightens the near-field side, dB.
        contrast_db: echogenicity of the structures' borders against the average, dB.
    """

    semi_major_mm: float
    aspect: float
    skull: float
    dents: tuple[Vector, ...]
    csp: Vector
    csp_half: Vector
    ventricle: Vector
    ventricle_half: Vector
    ventricle_angle: float
    choroid: float
    cerebellum: float
    hemisphere: Vector
    membranes: tuple[Segment, ...]
    gaps: tuple[Vector, ...]
    haze_db: float
    contrast_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Anatomy":
        """A random head; sizes follow the usual growth charts over 18 to 24 weeks."""
        weeks = rng.uniform(18, 24)
        aspect = rng.normal(0.78, 0.03)
        circumference_mm = 150 + 11.5 * (weeks - 18) + rng.normal(0, 4)
        semi_major_mm = circumference_mm / (4 * float(ellipe(1 - aspect**2)))
        unit = 1 / semi_major_mm
        tcd_mm = 18 + 1.35 * (weeks - 18) + rng.normal(0, 0.6)
        return cls(
            semi_major_mm=semi_major_mm,
            aspect=aspect,
            skull=rng.uniform(1.3, 2.2) * unit,
            dents=tuple((rng.normal(0, 0.012 / k), rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3)),
            csp=(rng.normal(0.42, 0.04), rng.normal(0, 0.012)),
            csp_half=(rng.uniform(4.0, 5.6) * unit, rng.uniform(1.9, 2.9) * unit),
            ventricle=(rng.normal(-0.44, 0.04), rng.normal(0.36, 0.025)),
            ventricle_half=(rng.uniform(0.25, 0.31), rng.uniform(3.0, 4.4) * unit),
            ventricle_angle=rng.normal(-0.16, 0.07),
            choroid=rng.uniform(0.04, 0.12),
            cerebellum=rng.normal(-0.52, 0.03),
            hemisphere=(rng.uniform(0.155, 0.185), tcd_mm * unit / 4 * 1.12),
            membranes=tuple(_membrane(rng, aspect) for _ in range(rng.integers(10, 22))),
            gaps=tuple((g, g + rng.uniform(0.04, 0.14)) for g in rng.uniform(-0.8, 0.2, size=3)),
            haze_db=rng.uniform(0, 6),
            contrast_db=rng.normal(0, 2.5),
        )

    @property
    def tcd_half(self) -> float:
        """Half of the transcerebellar diameter."""
        return self.hemisphere[1] / 1.12 * 2

    def csp_corners(self) -> list[Vector]:
        """Corners of the CSP."""
        (p, q), (length, width) = self.csp, self.csp_half
        return [(p + i * length, q + j * width) for i in (-1, 1) for j in (-1, 1)]

    def ventricle_line(self) -> Segment:
        """Inner walls of the LV at the atrium, behind the choroid plexus."""
        half = self.ventricle_half[1]
        return self.along_ventricle(-0.09, -half), self.along_ventricle(-0.09, half)

    def along_ventricle(self, along: float, across: float) -> Vector:
        """Position in the LV's own axes, along p and towards +q."""
        c, s = np.cos(self.ventricle_angle), np.sin(self.ventricle_angle)
        return (
            float(self.ventricle[0] + c * along - s * across),
            float(self.ventricle[1] + s * along + c * across),
        )


def landmarks(anatomy: Anatomy, plane: Plane) -> dict[str, Vector]:
    """Annotated points: the CSP, and the LV or the cerebellum with the ends of its caliper line."""
    if plane == "TV":
        start, end = anatomy.ventricle_line()
        name = "lv"
    else:
        start, end = ((anatomy.cerebellum, side * anatomy.tcd_half) for side in (-1, 1))
        name = "cerebellum"
    centre = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    return {"csp": anatomy.csp, name: centre, f"{name}_start": start, f"{name}_end": end}


def paint_head(canvas: Canvas, anatomy: Anatomy, plane: Plane, rng: Normals) -> None:
    """Paints skull and contents over what is there; ``rng`` draws the texture of the brain."""
    canvas = canvas.within(1.2)
    _paint_skull(canvas, anatomy, rng)
    _paint_midline(canvas, anatomy, plane)
    for start, end in anatomy.membranes:
        canvas.stroke(start, end, width=0.011, level_db=-12, bend=0.015)
    if plane == "TV":
        _paint_ventricle(canvas, anatomy)
    else:
        _paint_cerebellum(canvas, anatomy)
    _paint_cavum(canvas, anatomy)


def skull_depth(p: Grid, q: Grid, anatomy: Anatomy) -> tuple[Float32[np.ndarray, "h w"], tuple[Grid, Grid]]:
    """Distance below the outer surface of the skull (negative outside) and the surface's normal."""
    aspect = np.float32(anatomy.aspect)
    rho = np.hypot(p, q / aspect) + np.float32(1e-6)
    angle = np.arctan2(q / aspect, p)
    bulge = 1 + sum(np.float32(a) * np.cos(k * angle + f) for k, (a, f) in enumerate(anatomy.dents, 2))
    gradient = p / rho, q / (rho * aspect**2)
    steepness = np.hypot(*gradient)
    return (bulge - rho) / steepness, (gradient[0] / steepness, gradient[1] / steepness)


def _paint_skull(canvas: Canvas, anatomy: Anatomy, rng: Normals) -> None:
    depth, normal = skull_depth(canvas.p, canvas.q, anatomy)
    shape = (depth.shape[0], depth.shape[1])
    canvas.paint(smooth_step(depth + 0.07, 0.02), -30 + 3 * smooth_noise(shape, (20, 20), rng), 0.15)
    skull = np.float32(anatomy.skull)
    ring = smooth_step(depth, 0.015) * smooth_step(skull - depth, 0.015)
    canvas.paint(smooth_step(depth - skull, 0.01), FLUID_DB + 8, 0.03)
    brain = smooth_step(depth - skull - 0.05, 0.03)
    texture = smooth_noise(shape, (24, 20), rng) + smooth_noise(shape, (60, 30), rng)
    core = 9 * smooth_step(0.75 - np.hypot(canvas.p, canvas.q * 1.2), 0.5) - 5
    haze = np.float32(anatomy.haze_db) * smooth_step(-canvas.q - 0.1, 0.5)
    canvas.paint(brain, BRAIN_DB + 3 * texture + haze + core, BRAIN_LOSS)
    canvas.paint(ring, BONE_DB, BONE_LOSS)
    evenness = 0.3 + 0.7 * smooth_step(smooth_noise(shape, (7, 7), rng) + 0.5, 1.5)
    canvas.reflect(ring * evenness, 7.0, normal, 3.0)


def _paint_midline(canvas: Canvas, anatomy: Anatomy, plane: Plane) -> None:
    thalamus = (-0.02, 0.13) if plane == "TC" else (0.03, 0.12)
    for side in (-1, 1):
        canvas.paint(
            canvas.ellipse((thalamus[0], side * thalamus[1]), (0.2, 0.11), angle=-side * 0.25, soft=0.03),
            BRAIN_DB - 6,
            BRAIN_LOSS,
        )
        horn = side * 0.24
        start, end = (anatomy.csp[0] - 0.02, horn * 0.82), (anatomy.csp[0] + 0.22, horn * 1.05)
        canvas.stroke(start, end, width=0.012, level_db=-13)
    front = 1 - anatomy.skull
    back = -front if plane == "TV" else anatomy.cerebellum + anatomy.hemisphere[0] + 0.1
    stops = sorted({back, anatomy.csp[0] - anatomy.csp_half[0], *(x for gap in anatomy.gaps for x in gap)})
    for start_p, end_p in pairwise(stops):
        middle = (start_p + end_p) / 2
        if middle > back and not any(low < middle < high for low, high in anatomy.gaps):
            canvas.stroke((start_p, 0), (end_p, 0), width=0.012, level_db=-12)
    canvas.stroke((anatomy.csp[0] + anatomy.csp_half[0], 0), (front, 0), width=0.012, level_db=-10)


def _paint_cavum(canvas: Canvas, anatomy: Anatomy) -> None:
    (p, q), (length, width) = anatomy.csp, anatomy.csp_half
    canvas.paint(canvas.box((p, q), (length, width)), FLUID_DB + 7, 0.0)
    for side in (-1, 1):
        wall = q + side * (width + 0.012)
        canvas.stroke(
            (p - length * 1.05, wall),
            (p + length * 1.05, wall),
            width=0.014,
            level_db=MEMBRANE_DB + anatomy.contrast_db,
        )


def _paint_ventricle(canvas: Canvas, anatomy: Anatomy) -> None:
    length, width = anatomy.ventricle_half
    angle = anatomy.ventricle_angle
    canvas.paint(canvas.ellipse(anatomy.ventricle, (length, width), angle=angle), FLUID_DB, 0.02)
    plexus = anatomy.along_ventricle(anatomy.choroid, 0.25 * width)
    for shift, size in ((-0.12, 0.85), (0.12, 0.95), (0.4, 0.6)):
        lobe = (plexus[0] + shift * length, plexus[1] + 0.1 * shift * length)
        body = canvas.ellipse(lobe, (0.3 * length, size * width), angle=angle - 0.12, soft=0.03)
        canvas.paint(body, CHOROID_DB + anatomy.contrast_db, 0.25)
    for side, level in ((-1, MEMBRANE_DB - 3), (1, -12.0)):
        start = anatomy.along_ventricle(-0.75 * length, side * width * 0.85)
        end = anatomy.along_ventricle(0.45 * length, side * width * 1.05)
        canvas.stroke(start, end, width=0.013, level_db=level + anatomy.contrast_db, bend=side * 0.02)


def _paint_cerebellum(canvas: Canvas, anatomy: Anatomy) -> None:
    along, across = anatomy.hemisphere
    p = anatomy.cerebellum
    outer = 2 * across / 1.12
    cisterna = canvas.box((p - along - 0.06, 0.0), (0.09, 0.75 * outer), soft=0.04)
    canvas.paint(cisterna, FLUID_DB, 0.02)
    for side in (-1, 1):
        centre = (p, side * (outer - across))
        body = canvas.ellipse(centre, (along, across), angle=side * 0.2, soft=0.02)
        core = canvas.ellipse(centre, (along - 0.035, across - 0.035), angle=side * 0.2, soft=0.02)
        canvas.paint(body, -23 + anatomy.contrast_db, 0.15)
        folia = 4 * np.sin(np.hypot((canvas.p - p) / along, (canvas.q - centre[1]) / across) * 22)
        canvas.paint(core, BRAIN_DB + 5 + folia, BRAIN_LOSS)
    canvas.paint(canvas.ellipse((p - 0.02, 0.0), (0.6 * along, 0.05), soft=0.03), -22, 0.15)


def _membrane(rng: np.random.Generator, aspect: float) -> Segment:
    """A short echo (sulcus, insula, vessel) somewhere in the brain, mostly along the midline's direction."""
    angle, radius = rng.uniform(0, 2 * np.pi), 0.75 * np.sqrt(rng.uniform(0.03, 1))
    p, q = radius * np.cos(angle), radius * np.sin(angle) * aspect
    half, turn = rng.uniform(0.02, 0.08), rng.normal(0, 0.35)
    dp, dq = half * np.cos(turn), half * np.sin(turn)
    return (p - dp, q - dq), (p + dp, q + dq)

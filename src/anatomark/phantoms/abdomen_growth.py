"""Random fetal trunks: sizes, places and the look-alikes of the structures of the AC plane."""

import numpy as np

from anatomark.phantoms.abdomen_anatomy import Abdomen, Organ, Vein
from anatomark.phantoms.drawing import Vector

SHORTEST_PLANE, LONGEST_PLANE = 0.3, 0.6


def draw_abdomen(rng: np.random.Generator) -> Abdomen:
    """A random trunk; sizes follow the usual growth charts over 18 to 24 weeks."""
    weeks = rng.uniform(18, 24)
    abdomen = _draw(rng, circumference_mm=130 + 11.0 * (weeks - 18) + rng.normal(0, 5))
    low, high = abdomen.plane_range()
    if not SHORTEST_PLANE < high - low < LONGEST_PLANE:
        return draw_abdomen(rng)
    return abdomen


def _draw(rng: np.random.Generator, *, circumference_mm: float) -> Abdomen:
    # The plane is where stomach and vein overlap along z: one of them ends on each side of it.
    offset = rng.uniform(0.12, 0.2) * (1 if rng.random() < 0.5 else -1)
    middle = rng.normal(0, 0.08)
    stomach = Organ(
        centre=(rng.normal(0.44, 0.04), rng.normal(0.0, 0.07)),
        axes=(rng.uniform(0.2, 0.3), rng.uniform(0.12, 0.18)),
        angle=rng.normal(0.9, 0.35),
        level=middle + offset,
        half=rng.uniform(0.4, 0.55),
    )
    spine = (rng.normal(0, 0.02), rng.uniform(0.68, 0.74))
    kidneys = tuple(_kidney(side, rng) for side in (-1, 1))
    return Abdomen(
        radius_mm=circumference_mm / (2 * np.pi),
        aspect=rng.normal(1.0, 0.035),
        dents=tuple((rng.normal(0, 0.012 / k), rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3)),
        wall=rng.uniform(0.06, 0.1),
        stomach=stomach,
        vein=_vein(middle - offset, rng),
        spine=spine,
        vertebra=rng.uniform(0.085, 0.11),
        fluids=(*_bubbles(rng), *(_pelvis(kidney, rng) for kidney in kidneys)),
        kidneys=(kidneys[0], kidneys[1]),
        vessels=_vessels(spine, rng),
        bowel=tuple(_loop(rng) for _ in range(rng.integers(14, 24))),
        heart=Organ(
            centre=(rng.normal(0.16, 0.05), rng.normal(-0.2, 0.05)),
            axes=(rng.uniform(0.42, 0.5), rng.uniform(0.34, 0.4)),
            angle=rng.normal(-0.8, 0.15),
            level=rng.uniform(1.1, 1.2),
            half=rng.uniform(0.4, 0.48),
        ),
        ribs=tuple((0.22 * k + rng.normal(0, 0.02), rng.uniform(0.14, 0.24)) for k in range(6)),
        liver_db=rng.uniform(-36, -32),
        fluid_db=rng.uniform(-62, -50),
        blood_db=rng.uniform(-60, -50),
        contrast_db=rng.normal(0, 2),
    )


def _vein(level: float, rng: np.random.Generator) -> Vein:
    start = (rng.normal(0.02, 0.03), rng.uniform(-0.74, -0.64))
    bend = (start[0] + rng.normal(0.02, 0.03), rng.uniform(-0.24, -0.14))
    end = (rng.uniform(-0.42, -0.3), bend[1] + rng.uniform(0.0, 0.12))
    return Vein(
        corners=(start, bend, end),
        width=rng.uniform(0.048, 0.065),
        level=level,
        half=rng.uniform(0.28, 0.4),
    )


def _kidney(side: int, rng: np.random.Generator) -> Organ:
    return Organ(
        centre=(side * rng.uniform(0.36, 0.42), rng.uniform(0.36, 0.46)),
        axes=(rng.uniform(0.2, 0.25), rng.uniform(0.15, 0.19)),
        angle=side * rng.uniform(0.4, 0.9),
        level=rng.normal(-0.85, 0.08),
        half=rng.uniform(0.4, 0.48),
    )


def _pelvis(kidney: Organ, rng: np.random.Generator) -> Organ:
    """The fluid in the middle of a kidney, sometimes wide."""
    wide = rng.uniform(0.55, 0.75) if rng.random() < 0.3 else rng.uniform(0.2, 0.4)
    return Organ(
        centre=(kidney.centre[0] * 0.94, kidney.centre[1] * 0.97),
        axes=(wide * kidney.axes[0], 0.7 * wide * kidney.axes[1]),
        angle=kidney.angle,
        level=kidney.level,
        half=0.6 * kidney.half,
    )


def _bubbles(rng: np.random.Generator) -> tuple[Organ, ...]:
    """Bladder and gallbladder: fluid in the midline below, and beside the vein's place just below its level."""
    gallbladder = Organ(
        centre=(rng.uniform(-0.4, -0.26), rng.uniform(-0.46, -0.34)),
        axes=(rng.uniform(0.16, 0.24), rng.uniform(0.06, 0.09)),
        angle=rng.normal(1.1, 0.25),
        level=rng.normal(-0.4, 0.08),
        half=rng.uniform(0.2, 0.32),
    )
    bladder = Organ(
        centre=(rng.normal(0, 0.04), rng.uniform(-0.5, -0.3)),
        axes=(rng.uniform(0.18, 0.28), rng.uniform(0.14, 0.22)),
        angle=rng.normal(0, 0.3),
        level=rng.uniform(-1.75, -1.55),
        half=rng.uniform(0.35, 0.5),
    )
    return gallbladder, bladder


def _vessels(spine: Vector, rng: np.random.Generator) -> tuple[Organ, ...]:
    """Aorta, vena cava, hepatic veins that meet at the vena cava, and small branches anywhere in the liver."""
    cava = (rng.normal(-0.16, 0.03), rng.normal(0.34, 0.04))
    long = {"level": 0.0, "half": 4.0}
    width = rng.uniform(0.045, 0.06)
    great = (
        Organ(centre=(spine[0] + rng.normal(0.1, 0.03), spine[1] - 0.25), axes=(width, width), **long),
        Organ(centre=cava, axes=(width * 1.1, width * 0.9), **long),
    )
    hepatic = tuple(_hepatic(cava, direction, rng) for direction in rng.normal((-2.9, -2.2, -1.4), 0.12))
    small = tuple(_branch(rng) for _ in range(rng.integers(14, 26)))
    return great + hepatic + small


def _hepatic(cava: Vector, direction: float, rng: np.random.Generator) -> Organ:
    """A straight vein that leaves the vena cava above the level of the umbilical vein."""
    length = rng.uniform(0.18, 0.27)
    start = 0.06 + length
    return Organ(
        centre=(cava[0] + start * np.cos(direction), cava[1] + start * np.sin(direction)),
        axes=(length, rng.uniform(0.03, 0.045)),
        angle=direction,
        level=rng.uniform(0.5, 0.62),
        half=rng.uniform(0.14, 0.26),
    )


def _branch(rng: np.random.Generator) -> Organ:
    angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0.02, 0.5))
    return Organ(
        centre=(radius * np.cos(angle) - 0.15, radius * np.sin(angle)),
        axes=(rng.uniform(0.03, 0.12), rng.uniform(0.015, 0.028)),
        angle=rng.uniform(0, np.pi),
        level=rng.uniform(-0.5, 0.65),
        half=rng.uniform(0.1, 0.25),
    )


def _loop(rng: np.random.Generator) -> Organ:
    """A loop of the bowel; some are as wide as a stomach."""
    angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0.0, 0.42))
    size = rng.uniform(0.05, 0.16)
    return Organ(
        centre=(radius * np.cos(angle), radius * np.sin(angle) - 0.15),
        axes=(size * rng.uniform(1.0, 1.8), size),
        angle=rng.uniform(0, np.pi),
        level=rng.uniform(-1.7, -0.5),
        half=rng.uniform(0.12, 0.3),
    )

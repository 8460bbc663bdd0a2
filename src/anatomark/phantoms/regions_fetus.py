"""One pregnancy between 20 and 30 weeks, with everything that a free-hand examination passes."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ellipe

from anatomark.phantoms.abdomen_anatomy import Abdomen
from anatomark.phantoms.abdomen_growth import draw_abdomen
from anatomark.phantoms.fetal_anatomy import Anatomy
from anatomark.phantoms.maternal import Surroundings

UTERUS_MM = 50.0
"""Length of a unit of the uterus's coordinates, mm."""


@dataclass(frozen=True, kw_only=True)
class Fetus:
    """A fetus and the uterus around it; the shapes are in units of their own, whose lengths stand beside them.

    Attributes:
        head: the head.
        head_mm: semi-major axis of the skull, mm.
        trunk: abdomen and thorax.
        trunk_mm: mean radius of the abdomen, mm.
        vertebra_mm: distance of neighbouring vertebrae, mm.
        femur_mm: length of the femur's shaft, mm.
        limb_width: half width of a thigh, in units of the femur.
        uterus: the uterus, in units of :data:`UTERUS_MM`.
        placenta_mm: thickness of the placenta, mm.
    """

    head: Anatomy
    head_mm: float
    trunk: Abdomen
    trunk_mm: float
    vertebra_mm: float
    femur_mm: float
    limb_width: float
    uterus: Surroundings
    placenta_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Fetus":
        """A random pregnancy; sizes follow the usual growth charts."""
        weeks = rng.uniform(20, 30)
        head, trunk = Anatomy.draw(rng), draw_abdomen(rng)
        head_mm = (180 + 9.8 * (weeks - 20) + rng.normal(0, 5)) / (4 * float(ellipe(1 - head.aspect**2)))
        return cls(
            head=head,
            head_mm=head_mm,
            trunk=trunk,
            trunk_mm=(155 + 10.5 * (weeks - 20) + rng.normal(0, 6)) / (2 * np.pi),
            vertebra_mm=4.4 + 0.21 * (weeks - 20) + rng.normal(0, 0.15),
            femur_mm=33 + 2.3 * (weeks - 20) + rng.normal(0, 1),
            limb_width=rng.uniform(0.27, 0.35),
            uterus=replace(Surroundings.draw(rng), wall_mm=rng.uniform(8, 20)),
            placenta_mm=rng.uniform(22, 34),
        )

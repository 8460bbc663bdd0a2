"""What a visit of an examination shows of a region: one section of one body part."""

from dataclasses import dataclass

import numpy as np

from anatomark.phantoms.abdomen_anatomy import Abdomen
from anatomark.phantoms.abdomen_tissue import paint_trunk, skin_depth
from anatomark.phantoms.abdomen_view import Section
from anatomark.phantoms.abdomen_view import View as TrunkView
from anatomark.phantoms.drawing import Canvas, Normals, Vector
from anatomark.phantoms.fetal_anatomy import PLANES, Anatomy, Plane, paint_head, skull_depth
from anatomark.phantoms.fetal_view import View
from anatomark.phantoms.regions_bones import Limb, Mask, Spine
from anatomark.phantoms.regions_fetus import UTERUS_MM, Fetus
from anatomark.phantoms.regions_uterus import Placenta


@dataclass(frozen=True, kw_only=True)
class Head:
    """A transverse section through the head."""

    anatomy: Anatomy
    plane: Plane

    @property
    def extent(self) -> Vector:
        """Half of the length along p and along q."""
        return 1.0, self.anatomy.aspect

    @property
    def area(self) -> float:
        """Area of the section."""
        return float(np.pi * self.anatomy.aspect)

    def paint(self, canvas: Canvas, rng: Normals) -> Mask:
        """Paints the head; returns where it is."""
        paint_head(canvas, self.anatomy, self.plane, rng)
        return np.asarray(skull_depth(canvas.p, canvas.q, self.anatomy)[0] > 0)


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """A transverse section through the trunk that moves along it during a visit.

    Attributes:
        abdomen: the trunk.
        levels: z of the first and the last frame.
        tilt: angle against a transverse section, radians.
        towards: direction in which the level changes.
    """

    abdomen: Abdomen
    levels: Vector
    tilt: float
    towards: Vector

    @classmethod
    def draw(cls, abdomen: Abdomen, region: str, rng: np.random.Generator) -> "Trunk":
        """A random section through the abdomen, from kidneys to liver, or through the four chambers."""
        heart = abdomen.heart
        lowest, highest = (heart.level - 0.2, heart.level + 0.15) if region == "thorax" else (-0.85, 0.4)
        first = rng.uniform(lowest, highest)
        last = np.clip(first + rng.normal(0, 0.25), lowest, highest)
        direction = rng.uniform(0, 2 * np.pi)
        return cls(
            abdomen=abdomen,
            levels=(float(first), float(last)),
            tilt=float(rng.normal(0, np.radians(4))),
            towards=(float(np.cos(direction)), float(np.sin(direction))),
        )

    @property
    def extent(self) -> Vector:
        """Half of the length along p and along q."""
        return self.abdomen.semi_axes(sum(self.levels) / 2)

    @property
    def area(self) -> float:
        """Area of the section."""
        return float(np.pi * np.prod(self.extent))

    def paint(self, canvas: Canvas, view: View, progress: float, rng: Normals) -> Mask:
        """Paints the trunk where the section is after a share ``progress`` of the visit; returns where it is."""
        z = self.levels[0] + (self.levels[1] - self.levels[0]) * progress
        section = Section(z=z, tilt=self.tilt, towards=self.towards)
        lie = TrunkView(
            abdomen=self.abdomen,
            section=section,
            pose=view.pose,
            sector=view.sector,
            spacing_mm=view.spacing_mm,
        )
        paint_trunk(canvas, lie, rng)
        return np.asarray(skin_depth(canvas, self.abdomen, z)[0] > 0)


FetalShape = Head | Trunk | Spine | Limb
Shape = FetalShape | Placenta


@dataclass(frozen=True, kw_only=True)
class Part:
    """A body part as one visit sees it.

    Attributes:
        region: its class.
        shape: the section.
        unit_mm: length of a unit of the section's coordinates, mm.
        angle: how it lies in the frame, radians.
        flip: whether it is mirrored.
        texture: seed of its texture.
    """

    region: str
    shape: Shape
    unit_mm: float
    angle: float
    flip: bool
    texture: int

    @classmethod
    def draw(cls, fetus: Fetus, region: str, rng: np.random.Generator) -> "Part":
        """A random section through a region."""
        shape, unit_mm = _draw_shape(fetus, region, rng)
        return cls(
            region=region,
            shape=shape,
            unit_mm=unit_mm,
            angle=float(rng.uniform(0, 2 * np.pi)),
            flip=bool(rng.random() < 0.5),
            texture=int(rng.integers(2**32)),
        )

    @property
    def half_mm(self) -> float:
        """Half of its length, mm."""
        return max(self.shape.extent) * self.unit_mm

    @property
    def area_mm2(self) -> float:
        """Area of the section, mm²."""
        return self.shape.area * self.unit_mm**2


def _draw_shape(fetus: Fetus, region: str, rng: np.random.Generator) -> tuple[Shape, float]:
    """A random section through a region, and the length of its unit, mm."""
    match region:
        case "head":
            return Head(anatomy=fetus.head, plane=PLANES[int(rng.integers(len(PLANES)))]), fetus.head_mm
        case "spine":
            return Spine.draw(rng), fetus.vertebra_mm
        case "limbs":
            return Limb.draw(fetus.limb_width, rng), fetus.femur_mm
        case "placenta":
            return Placenta.draw(fetus.uterus, fetus.placenta_mm / UTERUS_MM, rng), UTERUS_MM
        case _:
            return Trunk.draw(fetus.trunk, region, rng), fetus.trunk_mm

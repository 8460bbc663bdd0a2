"""Tissues of a left temporal bone in Hounsfield units, as implicit shapes about the cochlea.

Axes are those of a patient in LPS, mm, with the origin at the cochlea's centre: x to the left (outwards), y backwards,
z up. Sizes follow anatomy; only the side of the head lies nearer than in a patient, so that a small field of view
shows air outside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from anatomark.phantoms.temporal_bone_cochlea import AXIS, cochlea, landmarks, modiolus
from anatomark.phantoms.temporal_bone_deformation import Waves
from anatomark.phantoms.temporal_bone_shapes import (
    AirCells,
    Points,
    Shape,
    Tube,
    Values,
    arc_tube,
    ellipsoid,
    polyline_tube,
)

AIR, FAT, BRAIN, MUSCLE, FLUID = -1000.0, -90.0, 35.0, 55.0, 15.0
TRABECULAR, SKULL, CORTICAL, OTIC_CAPSULE, MODIOLUS = 550.0, 1100.0, 1400.0, 2000.0, 800.0

HEAD_CENTRE, HEAD_SEMI_AXES = (-56.0, 6.0, 12.0), (76.0, 95.0, 95.0)
FAT_MM, MUSCLE_MM, SKULL_MM = 2.5, 6.0, 10.0
"""Depth below the skin at which fat, muscle and skull end at the side of the head."""
CORTEX_MM = 1.5
CAPSULE_MM = {"cochlea": 1.3, "vestibule": 1.2, "canal": 1.0}
"""Thickness of the dense bone about each part of the labyrinth."""
VESTIBULE = (1.2, 5.2, 1.0)

TEXTURE_HU, TEXTURE_MM, N_TEXTURE = 180.0, (2.0, 6.0), 12
"""Marrow spaces: root mean square, shortest and longest wave, and number of waves."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A tissue that covers what was painted before it.

    Attributes:
        shape: where it is.
        hu: its value.
        grow_mm: how far it reaches beyond the shape; negative: how far it stays inside.
        texture: added to the value, HU.
    """

    shape: Shape
    hu: float
    grow_mm: float = 0.0
    texture: Waves | None = None

    def paint(self, values: Values, points: Points, edge_mm: float) -> None:
        """Blends the tissue into ``values`` in place; its border is a ramp ``edge_mm`` wide (partial volume)."""
        low, high = self.shape.box()
        margin = max(self.grow_mm, 0.0) + edge_mm
        near = np.flatnonzero(((points >= low - margin) & (points <= high + margin)).all(axis=1))
        if near.size == 0:
            return
        share = np.clip(0.5 - (self.shape.distance(points[near]) - self.grow_mm) / edge_mm, 0, 1)
        inside = share > 0
        near, share = near[inside], share[inside]
        tissue = self.hu if self.texture is None else self.hu + self.texture.at(points[near])[:, 0]
        values[near] += share * (tissue - values[near])


class TemporalBone:
    """One temporal bone; its air cells and marrow are random, its shapes are not.

    Args:
        rng: draws air cells and marrow.

    Attributes:
        cochlea: fluid of the cochlea.
        landmarks: name -> position, mm.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.cochlea = cochlea()
        self.landmarks = landmarks(self.cochlea)
        texture = Waves.draw(rng, count=N_TEXTURE, wavelengths_mm=TEXTURE_MM, rms=TEXTURE_HU, components=1)
        self._layers = [*_head(), *_bone(texture, rng), *_spaces(), *_labyrinth(self.cochlea)]

    def hounsfield(self, points: Points, *, edge_mm: float) -> Values:
        """Values at points, HU.

        Args:
            points: mm.
            edge_mm: width of the ramp at borders, about a voxel.
        """
        values = np.full(len(points), AIR)
        for layer in self._layers:
            layer.paint(values, points, edge_mm)
        return values

    def in_cochlea(self, points: Points) -> Bool[np.ndarray, "n"]:
        """Which points lie in the cochlea's fluid."""
        low, high = self.cochlea.box()
        near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
        inside = np.zeros(len(points), bool)
        inside[near] = self.cochlea.distance(points[near]) < 0
        return inside


def _head() -> list[Layer]:
    head = ellipsoid(HEAD_CENTRE, HEAD_SEMI_AXES)
    depths = ((0.0, MUSCLE), (1.0, FAT), (FAT_MM, MUSCLE), (MUSCLE_MM, SKULL), (SKULL_MM, BRAIN))
    neck = ellipsoid((-20.0, 0.0, -40.0), (36.0, 60.0, 28.0))  # below the base of the skull
    return [*(Layer(shape=head, hu=hu, grow_mm=-depth) for depth, hu in depths), Layer(shape=neck, hu=MUSCLE)]


def _bone(texture: Waves, rng: np.random.Generator) -> list[Layer]:
    """Petrous pyramid and mastoid: cortex, marrow and air cells."""
    petrous = ellipsoid((-1.0, 3.0, 0.5), (24.0, 11.0, 10.5), along=(0.75, 0.66, 0.0))
    mastoid = ellipsoid((9.0, 19.0, -3.0), (9.0, 12.0, 15.0))
    cells = AirCells(ellipsoid((9.5, 19.5, -3.0), (7.2, 9.5, 12.5)), cell_mm=2.8, wall_mm=0.5, rng=rng)
    antrum = ellipsoid((9.0, 11.0, 6.0), (2.2, 3.5, 2.2))
    return [
        Layer(shape=petrous, hu=CORTICAL),
        Layer(shape=mastoid, hu=CORTICAL),
        Layer(shape=petrous, hu=TRABECULAR, grow_mm=-CORTEX_MM, texture=texture),
        Layer(shape=mastoid, hu=TRABECULAR, grow_mm=-CORTEX_MM, texture=texture),
        Layer(shape=cells, hu=AIR),
        Layer(shape=antrum, hu=AIR),
    ]


def _spaces() -> list[Layer]:
    """Carotid canal, jugular bulb, middle ear with ossicles and ear canal."""
    carotid = polyline_tube(
        [(-1.0, -5.0, -24.0), (-1.5, -5.5, -10.0), (-6.0, -8.5, -7.0), (-16.0, -16.0, -6.0)], [2.4] * 4
    )
    jugular = ellipsoid((-1.0, 8.5, -13.0), (3.2, 3.6, 4.5))
    ear = ellipsoid((8.0, 1.5, -0.5), (2.6, 5.0, 6.5))
    ear_canal = polyline_tube([(10.5, 2.0, -3.0), (15.0, 1.5, -3.0), (25.0, 2.5, -4.5)], [3.0, 2.8, 3.4])
    malleus, incus = ellipsoid((8.6, 0.2, 2.4), (0.8, 0.9, 2.2)), ellipsoid((8.4, 2.2, 2.6), (0.8, 1.3, 1.7))
    return [
        Layer(shape=carotid, hu=CORTICAL, grow_mm=0.8),
        Layer(shape=carotid, hu=MUSCLE),
        Layer(shape=jugular, hu=MUSCLE),
        Layer(shape=ear, hu=AIR),
        Layer(shape=ear_canal, hu=AIR),
        Layer(shape=malleus, hu=CORTICAL),
        Layer(shape=incus, hu=CORTICAL),
    ]


def _labyrinth(tube: Tube) -> list[Layer]:
    """Otic capsule, then the air of the round window's niche, then all fluids."""
    window = tube.points[0]
    niche = polyline_tube(
        np.stack([window, window + np.array((2.0, 0.4, 0.2)), np.array((7.5, 3.0, -1.5))]).tolist(), [0.8, 0.9, 1.2]
    )
    fundus = -2.9 * AXIS + np.array((-0.8, 0.5, 0.2))
    meatus = polyline_tube([fundus.tolist(), (-9.0, 4.0, 0.8), (-16.0, 6.5, 0.5)], [1.5, 2.2, 3.2])
    nerve = polyline_tube(np.stack([-0.9 * AXIS, fundus]).tolist(), [0.7, 0.8])
    vestibule = ellipsoid(VESTIBULE, (1.6, 2.8, 2.3))
    canals = _canals()
    capsule = [
        Layer(shape=shape, hu=OTIC_CAPSULE, grow_mm=CAPSULE_MM[part])
        for part, shapes in (("cochlea", [tube]), ("vestibule", [vestibule]), ("canal", canals))
        for shape in shapes
    ]
    fluids: Sequence[Shape] = (meatus, nerve, vestibule, *canals, tube)
    return [
        *capsule,
        Layer(shape=modiolus(), hu=MODIOLUS),
        Layer(shape=niche, hu=AIR),
        *(Layer(shape=shape, hu=FLUID) for shape in fluids),
    ]


def _canals() -> list[Tube]:
    """Superior, posterior and lateral semicircular canal, each from vestibule to vestibule."""
    x, y, z = VESTIBULE
    return [
        arc_tube((x + 0.6, y, z + 3.4), (0.0, 0.0, 1.0), (0.72, -0.69, 0.0), radius=3.2, half_deg=150, tube=0.55),
        arc_tube((x + 1.8, y + 3.6, z - 0.2), (0.69, 0.72, 0.0), (0.0, 0.0, 1.0), radius=3.2, half_deg=150, tube=0.55),
        arc_tube(
            (x + 2.4, y + 1.4, z + 0.3), (0.86, 0.5, 0.0), (-0.45, 0.8, -0.35), radius=2.7, half_deg=150, tube=0.55
        ),
    ]

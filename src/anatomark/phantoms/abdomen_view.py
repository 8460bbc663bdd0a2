"""Where a section through a fetal trunk lies in a frame, and what is true about the frame."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from anatomark.data.frames import FrameRecord
from anatomark.geometry.ellipse import transform_ellipse
from anatomark.phantoms.abdomen_anatomy import SHOWN, STRUCTURES, Abdomen
from anatomark.phantoms.abdomen_sweep import Sweep
from anatomark.phantoms.drawing import Grid, Pose, Vector
from anatomark.phantoms.ultrasound import Sector
from anatomark.types import Ellipse, Frustum

PLANE = "AC"
LABELS = ("background", "plane")
ROUND = 1.1
"""Sections stretched by more than this are oblique and no standard plane."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A plane cut through the trunk.

    Attributes:
        z: level at the trunk's axis.
        tilt: angle against a transverse section, radians.
        towards: unit vector (p, q) along which the level changes.
    """

    z: float
    tilt: float
    towards: Vector

    @property
    def stretch(self) -> float:
        """Factor by which a tilted section is longer than a transverse one."""
        return float(1 / np.cos(self.tilt))

    def level(self, point: Vector) -> float:
        """z of the section where it passes (p, q)."""
        along = point[0] * self.towards[0] + point[1] * self.towards[1]
        return float(self.z + np.tan(self.tilt) * along)

    def levels(self, p: Grid, q: Grid) -> Grid:
        """z of the section at each cell."""
        slope = np.tan(self.tilt)
        return np.float32(self.z) + np.float32(slope * self.towards[0]) * p + np.float32(slope * self.towards[1]) * q

    def matrix(self, factor: float) -> Float[np.ndarray, "2 2"]:
        """Scaling by ``factor`` in the direction of the tilt."""
        return np.asarray(np.eye(2) + (factor - 1) * np.outer(self.towards, self.towards))


@dataclass(frozen=True, kw_only=True)
class Limb:
    """A limb that casts a shadow; distances in px and directions in radians from the sector's apex.

    Attributes:
        angle: direction of its middle.
        half_angle: half of its width.
        radii: where it starts and ends along the beam.
    """

    angle: float
    half_angle: float
    radii: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class View:
    """One frame's geometry: section, lie of the trunk, sector, size of a px and limb in the way."""

    abdomen: Abdomen
    section: Section
    pose: Pose
    sector: Sector
    spacing_mm: float
    limb: Limb | None = None

    @cached_property
    def shapes(self) -> dict[str, Float[np.ndarray, "_ 2"]]:
        """Points (p, q) around what the section shows of each structure, the shadow left aside."""
        abdomen, section = self.abdomen, self.section
        shown = {"spine": spine_points(abdomen)}
        z = section.level(abdomen.stomach.centre)
        if abdomen.stomach.size(z) >= SHOWN:
            shown["stomach"] = abdomen.stomach.outline(z)
        z = section.level(abdomen.vein.corners[1])
        if abdomen.vein.length(z) >= SHOWN:
            course, width = abdomen.vein.course(z), abdomen.vein.width
            shown["umbilical_vein"] = np.concatenate([course + width * np.array(d) for d in _AROUND])
        return {name: shown[name] for name in STRUCTURES if name in shown}

    @cached_property
    def visible(self) -> dict[str, Float[np.ndarray, "_ 2"]]:
        """Px of the frame around each structure that is in the section and, for the most part, not in shadow."""
        placed = {name: self.to_frame(points) for name, points in self.shapes.items()}
        return {name: xy for name, xy in placed.items() if self.shaded_share(xy) < 0.5}

    @property
    def label(self) -> str:
        """ "plane" where all structures are visible in a round section, else "background"."""
        is_plane = set(self.visible) == set(STRUCTURES) and self.section.stretch <= ROUND
        return LABELS[is_plane]

    def to_frame(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Positions (p, q) of the trunk to px of the frame."""
        return self.pose.to_frame(np.asarray(points @ self.section.matrix(self.section.stretch)))

    def to_local(self, xy: Float32[np.ndarray, "2 h w"]) -> tuple[Grid, Grid]:
        """Px of the frame to p and q of the trunk."""
        p, q = self.pose.to_local(xy)
        m = self.section.matrix(1 / self.section.stretch).astype(np.float32)
        return m[0, 0] * p + m[0, 1] * q, m[1, 0] * p + m[1, 1] * q

    def centre(self, name: str) -> Float[np.ndarray, "2"]:
        """Middle of a visible structure, px: of the course for the vein."""
        abdomen = self.abdomen
        if name == "umbilical_vein":
            course = abdomen.vein.course(self.section.level(abdomen.vein.corners[1]))
            middle = (float(course[8, 0]), float(course[8, 1]))
        else:
            middle = abdomen.stomach.centre if name == "stomach" else abdomen.spine
        return np.asarray(self.to_frame(np.array([middle]))[0])

    def outline(self) -> Float[np.ndarray, "180 2"]:
        """Px around the trunk."""
        return self.to_frame(self.abdomen.outline(self.section.z))

    def shaded_share(self, xy: Float[np.ndarray, "n 2"]) -> float:
        """Share of points behind the limb."""
        if self.limb is None:
            return 0.0
        _, angle = self.sector.polar(xy)
        return float((np.abs(angle - self.limb.angle) < self.limb.half_angle).mean())

    def shows(self, size: tuple[int, int]) -> bool:
        """Whether a frame of ``size`` (H, W) holds the outline, and the sector the structures' places."""
        places = (self.abdomen.stomach.centre, *self.abdomen.vein.corners, self.abdomen.spine)
        outline = self.outline()
        whole = (outline >= 0).all() and (outline <= np.array([size[1], size[0]]) - 1).all()
        return bool(whole and self.sector.shows(self.to_frame(np.array(places)), size))


_AROUND = [(np.cos(t), np.sin(t)) for t in np.linspace(0, 2 * np.pi, 12, endpoint=False)]


def spine_points(abdomen: Abdomen) -> Float[np.ndarray, "_ 2"]:
    """Points (p, q) around the three ossified parts of a vertebra."""
    size = abdomen.vertebra
    return np.concatenate([np.asarray(c) + 0.5 * size * np.array(_AROUND) for c in ossified(abdomen)])


def ossified(abdomen: Abdomen) -> tuple[Vector, Vector, Vector]:
    """Centres (p, q) of a vertebra's body and of both halves of its arch."""
    (p, q), size = abdomen.spine, abdomen.vertebra
    return (p, q - 0.5 * size), (p - 0.85 * size, q + 0.6 * size), (p + 0.85 * size, q + 0.6 * size)


def draw_views(abdomen: Abdomen, sweep: Sweep, size: tuple[int, int], rng: np.random.Generator) -> list[View]:
    """The views of all frames of a clip, at a random lie that keeps the structures in frames of ``size`` (H, W)."""
    views = _draw_views(abdomen, sweep, size, rng)
    while not all(view.shows(size) for view in views):
        views = _draw_views(abdomen, sweep, size, rng)
    return views


def _draw_views(abdomen: Abdomen, sweep: Sweep, size: tuple[int, int], rng: np.random.Generator) -> list[View]:
    height, width = size
    radius = rng.uniform(0.28, 0.36) * height
    centre = np.array([width, 1.06 * height]) / 2 + rng.normal(0, 0.02, size=2) * width
    angle, flip = rng.uniform(-1, 1) * np.radians(80), bool(rng.random() < 0.5)
    spacing_mm = abdomen.radius_mm / radius
    sector = Sector.draw(size, spacing_mm, rng)
    views = []
    for i, z in enumerate(sweep.z):
        x, y = centre + radius * sweep.shift[i]
        pose = Pose(centre=(float(x), float(y)), scale=radius, angle=angle + float(sweep.turn[i]), flip=flip)
        section = Section(z=float(z), tilt=float(sweep.tilt[i]), towards=sweep.tilt_towards)
        view = View(abdomen=abdomen, section=section, pose=pose, sector=sector, spacing_mm=spacing_mm)
        views.append(_with_limb(view, sweep, i))
    return views


def _with_limb(view: View, sweep: Sweep, frame: int) -> View:
    if sweep.shade is None:
        return view
    abdomen = view.abdomen
    place = {"stomach": abdomen.stomach.centre, "umbilical_vein": abdomen.vein.corners[1], "spine": abdomen.spine}
    _, target = view.sector.polar(view.to_frame(np.array([place[sweep.shade.over]])))
    radii, angles = view.sector.polar(view.outline())
    near = float(radii[np.abs(angles - target[0]) < 0.08].min())
    thick = 3.0 / view.spacing_mm
    stop = max(near - thick / 2, view.sector.radii[0] + 2 * thick)
    half_angle = sweep.shade.half_mm / view.spacing_mm / stop
    angle = float(target[0]) + float(sweep.shade.aside[frame]) * half_angle
    limb = Limb(angle=angle, half_angle=half_angle, radii=(stop - thick, stop))
    return replace(view, limb=limb)


def truth(view: View, *, key: str, subject: str, size: tuple[int, int]) -> FrameRecord:
    """All annotations of a frame of ``size`` (H, W), in px of its file."""
    a, b = view.abdomen.semi_axes(view.section.z)
    # An ellipse's first axis is its longer one.
    flat = Ellipse(centre=_tensor((0, 0)), semi_axes=_tensor(sorted((a, b))[::-1]), angle=0.0 if a >= b else np.pi / 2)
    columns = view.to_frame(np.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]))
    matrix = np.column_stack([columns[1] - columns[0], columns[2] - columns[0], columns[0]])
    boxes = {"abdominal_wall": view.outline(), **view.visible}
    return FrameRecord(
        key=key,
        subject=subject,
        clip=subject,
        file=Path("images") / f"{key}.png",
        plane=PLANE,
        label=view.label,
        spacing_mm=(view.spacing_mm, view.spacing_mm),
        size=(size[1], size[0]),
        points={name: _tensor(view.centre(name)) for name in view.visible},
        boxes={name: _tensor(np.concatenate([xy.min(axis=0), xy.max(axis=0)])) for name, xy in boxes.items()},
        ellipse=transform_ellipse(flat, torch.from_numpy(matrix)),
        frustum=Frustum(
            apex=_tensor(view.sector.apex),
            radii=_tensor(view.sector.radii),
            half_angle=view.sector.half_angle,
            tilt=view.sector.tilt,
        ),
    )


def _tensor(values: object) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))

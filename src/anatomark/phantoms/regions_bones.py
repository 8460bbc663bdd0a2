"""Sections along the fetal spine and along a limb."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from anatomark.phantoms.drawing import Canvas, Grid, Normals, Vector, smooth_noise, smooth_step

Mask = Bool[np.ndarray, "h w"]
BONE_DB, SOFT_DB, MUSCLE_DB, CARTILAGE_DB, FLUID_DB = -17.0, -36.0, -44.0, -50.0, -54.0
BONE_LOSS, VERTEBRA_LOSS, SOFT_LOSS = 4.5, 1.6, 0.12
OUTLINE = 0.5
"""Weight at the edge of a shape."""


@dataclass(frozen=True, kw_only=True)
class Spine:
    """A lengthwise section through the spine: bodies and arches of the vertebrae on both sides of the canal.

    Positions are in units of the distance of two vertebrae: p towards the head, q towards the back.

    Attributes:
        half: half of the length that the section shows.
        curve: bend of the spine, 1 / unit.
        rows: q of the bodies and of the arches.
        dorsal: q of the skin of the back.
        ventral: q at which the section leaves the trunk.
        tissue_db: echogenicity of the trunk's soft tissue, dB.
    """

    half: float
    curve: float
    rows: Vector
    dorsal: float
    ventral: float
    tissue_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Spine":
        """A random section."""
        return cls(
            half=rng.uniform(4.8, 6.8),
            curve=rng.normal(0.012, 0.012),
            rows=(-rng.uniform(0.6, 0.85), rng.uniform(0.55, 0.8)),
            dorsal=rng.uniform(1.8, 2.6),
            ventral=-rng.uniform(5.0, 8.5),
            tissue_db=rng.uniform(-37, -32),
        )

    @property
    def extent(self) -> Vector:
        """Half of the length along p and along q."""
        return self.half, 1.2

    @property
    def area(self) -> float:
        """Area of what counts as the spine."""
        return 2 * self.half * (self.rows[1] - self.rows[0] + 0.7)

    def paint(self, canvas: Canvas, rng: Normals) -> Mask:
        """Paints the back and the vertebrae in it; returns where the spine is."""
        shape = (canvas.p.shape[0], canvas.p.shape[1])
        along, across = canvas.p, canvas.q - np.float32(self.curve) * canvas.p**2
        self._paint_back(canvas, along, across, rng)
        end = smooth_step(np.float32(self.half) - np.abs(along), 0.5)
        canvas.paint(0.8 * end * smooth_step(0.42 - np.abs(across), 0.1), FLUID_DB, 0.02)
        evenness = 3 * smooth_noise(shape, (30, 30), rng)
        step = along - np.round(along)
        for row, (length, thickness), slant in zip(self.rows, ((0.34, 0.26), (0.24, 0.15)), (0.0, 0.25), strict=True):
            u, v = step, across - np.float32(row) - np.float32(slant) * step
            rho = np.hypot(u / np.float32(length), v / np.float32(thickness))
            bone = end * smooth_step((1 - rho) * np.float32(thickness), 0.11)
            canvas.paint(bone, BONE_DB + 4 + evenness, VERTEBRA_LOSS)
        inside = (across > self.rows[0] - 0.4) & (across < self.rows[1] + 0.3)
        return np.asarray((end > OUTLINE) & inside)

    def _paint_back(self, canvas: Canvas, along: Grid, across: Grid, rng: Normals) -> None:
        shape = (canvas.p.shape[0], canvas.p.shape[1])
        coarse, fine = smooth_noise(shape, (16, 14), rng), smooth_noise(shape, (50, 36), rng)
        length = smooth_step(np.float32(self.half + 2.5) - np.abs(along) + 0.5 * coarse, 1.2)
        body = length * smooth_step(self.dorsal - across, 0.12) * smooth_step(across - self.ventral + 0.5 * coarse, 0.6)
        canvas.paint(body, self.tissue_db + 2 * coarse + 2 * fine, SOFT_LOSS)
        muscle = length * smooth_step(across - self.rows[1] - 0.2, 0.15) * smooth_step(self.dorsal - 0.4 - across, 0.15)
        canvas.paint(muscle, MUSCLE_DB + 3 * np.sin(across * 9 + coarse) + fine, SOFT_LOSS)
        aorta = length * smooth_step(0.3 - np.abs(across - self.rows[0] + 1.1), 0.1)
        canvas.paint(aorta, FLUID_DB, 0.02)
        patches = smooth_step(smooth_noise(shape, (18, 18), rng) + 0.3, 1.0)
        skin = length * np.exp(-(((across - np.float32(self.dorsal)) / np.float32(0.16)) ** 2))
        canvas.reflect(skin * patches, -7.0, (-2 * np.float32(self.curve) * along, np.ones_like(along)), 3.0)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a limb between two joints.

    Attributes:
        start: position of its upper joint.
        angle: direction towards its lower joint, radians from +p towards +q.
        length: distance of the joints.
        widths: half width at the upper and the lower joint.
        bones: distances of its bones from its axis.
    """

    start: Vector
    angle: float
    length: float
    widths: Vector
    bones: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Limb:
    """A section along a limb in units of the femur's length; (0, 0) is the middle of what it shows.

    Attributes:
        segments: thigh, or upper arm, and in some sections the segment below it.
    """

    segments: tuple[Segment, ...]

    @classmethod
    def draw(cls, width: float, rng: np.random.Generator) -> "Limb":
        """A random section of a fetus whose thighs have the half ``width``."""
        is_arm = rng.random() < 0.4
        upper, lower = (0.9, 0.8) if is_arm else (1.06, 0.92)
        width *= 0.85 if is_arm else 1.0
        knee = (upper / 2, 0.0)
        segments = [
            Segment(start=(-upper / 2, 0.0), angle=0.0, length=upper, widths=(width, 0.72 * width), bones=(0.0,))
        ]
        if rng.random() < 0.5:
            flexion = rng.uniform(0.5, 2.0)
            bones = (-0.3 * width, 0.32 * width)
            below = Segment(start=knee, angle=flexion, length=lower, widths=(0.72 * width, 0.45 * width), bones=bones)
            segments.append(below)
        return cls(segments=_centred(segments))

    @property
    def extent(self) -> Vector:
        """Half of the length along p and along q."""
        ends = np.array([(s.start, _end(s)) for s in self.segments]).reshape(-1, 2)
        half = np.ptp(ends, axis=0) / 2 + max(self.segments[0].widths)
        return float(half[0]), float(half[1])

    @property
    def area(self) -> float:
        """Area of the section."""
        return sum(segment.length * sum(segment.widths) for segment in self.segments)

    def paint(self, canvas: Canvas, rng: Normals) -> Mask:
        """Paints the limb; returns where it is."""
        shape = (canvas.p.shape[0], canvas.p.shape[1])
        fine, coarse = smooth_noise(shape, (50, 40), rng), smooth_noise(shape, (14, 12), rng)
        lie = [(segment, *canvas.rotated(segment.start, segment.angle)) for segment in self.segments]
        depths = [_depth(segment, along, across) for segment, along, across in lie]
        depth = np.maximum.reduce(depths)
        width = np.float32(self.segments[0].widths[0])
        canvas.paint(smooth_step(depth, 0.03), -37 + 4 * coarse + 2 * fine, 0.16)
        striation = 2.5 * np.sin(depth * np.float32(26 / width) + 1.5 * coarse)
        canvas.paint(smooth_step(depth - 0.2 * width, 0.05), MUSCLE_DB + 2 + striation + 2.5 * fine, SOFT_LOSS)
        patches = smooth_step(smooth_noise(shape, (16, 16), rng) + 0.2, 1.0)
        for segment, own in zip(self.segments, depths, strict=True):
            edge = np.exp(-((own / np.float32(0.03)) ** 2)) * smooth_step(0.05 - depth, 0.02)
            canvas.reflect(edge * patches, -11.0, _normal(segment), 3.0)
        for segment, along, across in lie:
            _paint_bones(canvas, segment, along, across)
        return np.asarray(depth > 0)


def _paint_bones(canvas: Canvas, segment: Segment, along: Grid, across: Grid) -> None:
    """The shafts, between knobs of cartilage; what is behind them lies in shadow."""
    thickness = 0.034 if len(segment.bones) == 1 else 0.026
    for joint in (0.0, segment.length):
        u, v = along - np.float32(joint), across
        canvas.paint(smooth_step(0.62 * segment.widths[1] - np.hypot(u, v), 0.03), CARTILAGE_DB, 0.06)
    for aside in segment.bones:
        offset = np.abs(across - np.float32(aside) + np.float32(0.03) * np.sin(along * np.float32(3)))
        middle = np.float32(segment.length / 2)
        reach = np.float32(0.43 * segment.length)
        flare = np.float32(thickness) * (1 + 0.5 * np.square(np.square((along - middle) / reach)))
        shaft = smooth_step(reach - np.abs(along - middle), 0.03) * smooth_step(flare - offset, 0.015)
        canvas.paint(shaft, BONE_DB, BONE_LOSS)
        canvas.reflect(shaft, 4.0, _normal(segment), 2.0)


def _depth(segment: Segment, along: Grid, across: Grid) -> Grid:
    """Distance below the skin of a segment, negative outside."""
    t = np.clip(along / np.float32(segment.length), 0, 1)
    width = segment.widths[0] + np.float32(segment.widths[1] - segment.widths[0]) * t
    return np.asarray(width - np.hypot(along - t * np.float32(segment.length), across), dtype=np.float32)


def _normal(segment: Segment) -> Vector:
    return float(-np.sin(segment.angle)), float(np.cos(segment.angle))


def _end(segment: Segment) -> Vector:
    c, s = np.cos(segment.angle), np.sin(segment.angle)
    return float(segment.start[0] + segment.length * c), float(segment.start[1] + segment.length * s)


def _centred(segments: list[Segment]) -> tuple[Segment, ...]:
    """The segments moved so that (0, 0) is the middle of their extent."""
    ends = np.array([(s.start, _end(s)) for s in segments]).reshape(-1, 2)
    p, q = (ends.min(axis=0) + ends.max(axis=0)) / 2
    return tuple(replace(s, start=(float(s.start[0] - p), float(s.start[1] - q))) for s in segments)

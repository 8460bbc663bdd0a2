"""Where a fetal head and the sector lie in a frame, and what is true about the frame."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.data.frames import FrameRecord
from anatomark.phantoms.drawing import Pose, Vector
from anatomark.phantoms.fetal_anatomy import Anatomy, Plane, landmarks
from anatomark.phantoms.ultrasound import Sector
from anatomark.types import Ellipse, Frustum


@dataclass(frozen=True, kw_only=True)
class View:
    """One frame's geometry: where the head and the sector are, and the size of a px."""

    pose: Pose
    sector: Sector
    spacing_mm: float

    @classmethod
    def draw(cls, anatomy: Anatomy, size: tuple[int, int], rng: np.random.Generator) -> "View":
        """Random lie of the head in a frame of ``size`` (H, W); the head may touch the border."""
        height, width = size
        scale = rng.uniform(0.56, 0.8) * min(width, 9 / 7 * height) / 2
        angle = rng.uniform(-1, 1) * np.radians(25)
        c, s = np.cos(angle), np.sin(angle)
        reach = scale * np.hypot([c, s], [anatomy.aspect * s, anatomy.aspect * c])
        margin = np.maximum(np.array([width, height]) / 2 - reach, 0) + 0.03 * width
        centre = np.array([width - 1, height - 1]) / 2 + rng.uniform(-1, 1, size=2) * margin
        spacing_mm = anatomy.semi_major_mm / scale
        sector = Sector.draw(size, spacing_mm, rng)
        pose = Pose(
            centre=(float(centre[0]), float(centre[1])),
            scale=scale,
            angle=angle,
            flip=bool(rng.random() < 0.5),
        )
        return cls(pose=pose, sector=sector, spacing_mm=spacing_mm)

    def shows(self, points: Sequence[Vector], size: tuple[int, int]) -> bool:
        """Whether positions of the head lie well inside the sector and a frame of ``size`` (H, W)."""
        return self.sector.shows(self.pose.to_frame(np.array(points)), size)

    def moved(self, rng: np.random.Generator) -> "View":
        """The same view after small movements of the fetus and the probe."""
        shift = rng.normal(0, 0.02 * self.pose.scale, size=2)
        zoom = float(np.exp(rng.normal(0, 0.02)))
        centre = (self.pose.centre[0] + shift[0], self.pose.centre[1] + shift[1])
        angle = self.pose.angle + rng.normal(0, np.radians(2))
        pose = replace(self.pose, centre=centre, angle=angle, scale=self.pose.scale * zoom)
        return replace(self, pose=pose, spacing_mm=self.spacing_mm / zoom)


def truth(anatomy: Anatomy, plane: Plane, view: View, *, key: str, subject: str, size: tuple[int, int]) -> FrameRecord:
    """All annotations of a frame of ``size`` (H, W), in px of its file."""
    named = landmarks(anatomy, plane)
    xy = view.pose.to_frame(np.array(list(named.values())))
    corners = view.pose.to_frame(np.array(anatomy.csp_corners()))
    return FrameRecord(
        key=key,
        subject=subject,
        file=Path("images") / f"{key}.png",
        plane=plane,
        spacing_mm=(view.spacing_mm, view.spacing_mm),
        size=(size[1], size[0]),
        points={name: _tensor(position) for name, position in zip(named, xy, strict=True)},
        boxes={"csp": _tensor([*corners.min(axis=0), *corners.max(axis=0)])},
        ellipse=Ellipse(
            centre=_tensor(view.pose.centre),
            semi_axes=_tensor((view.pose.scale, view.pose.scale * anatomy.aspect)),
            angle=view.pose.angle,
        ),
        frustum=Frustum(
            apex=_tensor(view.sector.apex),
            radii=_tensor(view.sector.radii),
            half_angle=view.sector.half_angle,
            tilt=view.sector.tilt,
        ),
    )


def gaze_targets(anatomy: Anatomy, plane: Plane, view: View) -> tuple[list[Vector], list[Vector]]:
    """Centres of the plane's structures and of other echoes, px of the frame."""
    named = landmarks(anatomy, plane)
    structures = [named["csp"], named["lv" if plane == "TV" else "cerebellum"]]
    others = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in anatomy.membranes]
    others += [(0.0, 0.0), (-0.25, 0.0), (0.0, anatomy.aspect - anatomy.skull / 2)]
    xy = view.pose.to_frame(np.array(structures + others))
    positions = [(float(x), float(y)) for x, y in xy]
    return positions[:2], positions[2:]


def _tensor(values: Sequence[float] | Float[np.ndarray, "k"]) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))

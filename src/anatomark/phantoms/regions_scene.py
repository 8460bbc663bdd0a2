"""One frame of an examination: tissue, picture and truth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from anatomark.data.frames import FrameRecord
from anatomark.phantoms.drawing import Canvas, Drift, Pose, Vector, smooth_noise, smooth_step
from anatomark.phantoms.fetal_view import View
from anatomark.phantoms.maternal import paint_abdominal_wall
from anatomark.phantoms.regions_bones import Mask
from anatomark.phantoms.regions_fetus import UTERUS_MM, Fetus
from anatomark.phantoms.regions_parts import FetalShape, Part, Trunk
from anatomark.phantoms.regions_plan import BACKGROUND
from anatomark.phantoms.regions_uterus import Placenta, Wall, paint_womb
from anatomark.phantoms.regions_view import Shot
from anatomark.phantoms.ultrasound import AcousticGrid, Sector, Tissue
from anatomark.types import Frustum

GRID_SHAPE = (240, 144)
BOX = "region"
VISIBLE = 0.02
"""A region at the edge counts as shown from this share of the sector on."""
Positions = Float32[np.ndarray, "2 depths beams"]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a visit looks at.

    Attributes:
        fetus: the pregnancy.
        main: the part in the middle; None in the background.
        beside: the part that may be seen at the edge.
        wall: contents of the wall of the uterus.
        uterus_angle: how the uterus lies in the frame, radians.
        uterus_offset: centre of the uterus against the middle of the view, mm, where no placenta tells it.
        contact: how strongly the beams are weakened where the probe touches badly, dB.
        seed: seed of the textures.
    """

    fetus: Fetus
    main: Part | None
    beside: Part | None
    wall: Wall
    uterus_angle: float
    uterus_offset: Vector
    contact: float
    seed: int

    @classmethod
    def draw(cls, fetus: Fetus, main: Part | None, beside: Part | None, rng: np.random.Generator) -> "Scene":
        """A scene around given parts; without any, the view may be of fluid, of tissue or of both."""
        x, y = rng.normal(0, 18 if main is not None else 65, size=2)
        return cls(
            fetus=fetus,
            main=main,
            beside=beside,
            wall=Wall.draw(rng),
            uterus_angle=float(rng.uniform(0, 2 * np.pi)),
            uterus_offset=(float(x), float(y)),
            contact=float(rng.uniform(0, 14)),
            seed=int(rng.integers(2**32)),
        )

    @property
    def label(self) -> str:
        """Class of the frames."""
        return BACKGROUND if self.main is None else self.main.region

    @property
    def placenta(self) -> tuple[Placenta, bool] | None:
        """The placenta where a part is one, and whether that is the main part."""
        for part in (self.main, self.beside):
            if part is not None and isinstance(part.shape, Placenta):
                return part.shape, part is self.main
        return None


def paint_scene(scene: Scene, shot: Shot) -> tuple[Tissue, AcousticGrid, Positions, dict[str, Mask]]:
    """The tissue that the beams meet.

    Returns:
        The tissue, its grid, the position of each cell in px, and for each region where it is.
    """
    grid = AcousticGrid.of(shot.sector, shape=GRID_SHAPE, spacing_mm=shot.spacing_mm)
    xy = shot.sector.positions(grid)
    womb = _womb_pose(scene, shot)
    rng = Drift(scene.seed, 1.5 * shot.progress)
    canvas = Canvas.blank(womb.to_local(xy), womb.beams(shot.sector, grid), rng, unevenness=0.01)
    found = scene.placenta
    masks = paint_womb(canvas, scene.fetus.uterus, scene.wall, found[0] if found else None, rng)
    for part, place in ((scene.beside, shot.beside), (scene.main, shot.main)):
        if part is not None and not isinstance(part.shape, Placenta):
            mask = _paint_part(canvas, part, part.shape, place, shot, grid, xy)
            masks = {region: other & ~mask for region, other in masks.items()} | {part.region: mask}
    paint_abdominal_wall(canvas, grid, scene.fetus.uterus, rng)
    below = grid.depth_mm > scene.fetus.uterus.wall_mm
    _weaken(canvas.tissue, grid, scene.contact, rng)
    return canvas.tissue, grid, xy, {region: mask & below for region, mask in masks.items()}


def _womb_pose(scene: Scene, shot: Shot) -> Pose:
    """Where the uterus lies: where its placenta should be seen, or around the view."""
    scale = UTERUS_MM / shot.spacing_mm
    at_origin = Pose(centre=(0.0, 0.0), scale=scale, angle=scene.uterus_angle + shot.turn, flip=False)
    found = scene.placenta
    if found is None:
        x, y = np.array(shot.main) + np.array(scene.uterus_offset) / shot.spacing_mm
    else:
        placenta, is_main = found
        middle = at_origin.to_frame(np.array([placenta.position(scene.fetus.uterus)]))[0]
        x, y = np.array(shot.main if is_main else shot.beside) - middle
    return Pose(centre=(float(x), float(y)), scale=scale, angle=at_origin.angle, flip=False)


def _paint_part(
    canvas: Canvas, part: Part, shape: FetalShape, place: Vector, shot: Shot, grid: AcousticGrid, xy: Positions
) -> Mask:
    """Paints a part over what is there; returns where it is."""
    rng = Drift(part.texture, 1.5 * shot.progress)
    pose = Pose(centre=place, scale=part.unit_mm / shot.spacing_mm, angle=part.angle + shot.turn, flip=part.flip)
    view = View(pose=pose, sector=shot.sector, spacing_mm=shot.spacing_mm)
    own = Canvas.blank(pose.to_local(xy), pose.beams(shot.sector, grid), rng, unevenness=0.009)
    own = Canvas(canvas.tissue, own.p, own.q, own.beams, own.shimmer)
    if isinstance(shape, Trunk):
        return shape.paint(own, view, shot.progress, rng)
    return shape.paint(own, rng)


def _weaken(tissue: Tissue, grid: AcousticGrid, contact: float, rng: Drift) -> None:
    """Weakens the beams where the probe hardly touches the skin."""
    rows = 6
    lack = smooth_step(smooth_noise((1, tissue.attenuation.shape[1]), (2, 8), rng) - 1.0, 0.6)
    tissue.attenuation[:rows] += np.float32(contact / (rows * grid.depth_step_mm)) * lack


def truth(
    scene: Scene, shot: Shot, xy: Positions, masks: dict[str, Mask], *, key: str, subject: str, size: tuple[int, int]
) -> FrameRecord:
    """All annotations of a frame of ``size`` (H, W), in px of its file."""
    inside = (xy >= -0.5).all(axis=0) & (xy[0] <= size[1] - 0.5) & (xy[1] <= size[0] - 0.5)
    # A cell of the polar grid covers more of the frame the deeper it lies.
    area = np.hypot(xy[0] - np.float32(shot.sector.apex[0]), xy[1] - np.float32(shot.sector.apex[1])) * inside
    share = {region: float((area * mask).sum() / area.sum()) for region, mask in masks.items()}
    label = scene.label
    return FrameRecord(
        key=key,
        subject=subject,
        clip=subject,
        file=Path("images") / f"{key}.png",
        label=label,
        also=tuple(region for region, shown in share.items() if region != label and shown >= VISIBLE),
        spacing_mm=(shot.spacing_mm, shot.spacing_mm),
        size=(size[1], size[0]),
        boxes={BOX: _box(xy[:, masks[label] & inside])} if label in masks else {},
        frustum=_frustum(shot.sector),
    )


def _box(xy: Float[np.ndarray, "2 n"]) -> Tensor:
    return torch.from_numpy(np.concatenate([xy.min(axis=1), xy.max(axis=1)]))


def _frustum(sector: Sector) -> Frustum:
    return Frustum(
        apex=torch.tensor(sector.apex),
        radii=torch.tensor(sector.radii),
        half_angle=sector.half_angle,
        tilt=sector.tilt,
    )

"""Phantom of sweeps through fetal abdomens, with gaze and truth, for Cai et al. 2018."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from anatomark.data.frames_writer import RawFrame
from anatomark.data.gaze import GazeFilter, ScreenGeometry
from anatomark.phantoms.abdomen_gaze import look_at
from anatomark.phantoms.abdomen_growth import draw_abdomen
from anatomark.phantoms.abdomen_sweep import Sweep
from anatomark.phantoms.abdomen_tissue import paint_limb, paint_trunk
from anatomark.phantoms.abdomen_view import View, draw_views, truth
from anatomark.phantoms.base import Phantom, check_frame
from anatomark.phantoms.drawing import Canvas, Drift
from anatomark.phantoms.maternal import Surroundings, paint_surroundings
from anatomark.phantoms.scanpath import Viewer
from anatomark.phantoms.ultrasound import AcousticGrid, Scanner, Tissue
from anatomark.types import AnatomarkError

GRID_SHAPE = (448, 288)
TEXTURE_STEP = 0.35
"""Distance along the trunk over which its texture becomes another, in units of its radius."""
SCREEN = ScreenGeometry(frame_origin_px=(460, 140), frame_scale=2.5)
VIEWER = Viewer(duration_s=5.0, rate_hz=30.0)
SCANNER = Scanner(gain_db=3.0)


class FetalAbdomenPhantom(Phantom):
    """Clips of sweeps along fetal trunks at 18 to 24 weeks in simulated B-mode frames, with raw gaze.

    A frame is labelled "plane" (the plane of the abdominal circumference, AC) where stomach, umbilical vein and
    spine are visible together in a round section, else "background": a section that misses one of them or is
    oblique, or one through kidneys, bowel, bladder or heart, whose fluids resemble the structures.

    Truth, in px of the files: boxes and centres of the structures that are visible, the box "abdominal_wall"
    around the trunk, its outline as an ellipse, the sector. Every clip is one subject.

    Args:
        root: folder of the phantom.
        n_subjects: number of clips.
        frames_per_clip: fewest and most frames of a clip.
        image_size: height and width of the frames, px.
        gaze: filter that makes fixations of the raw gaze; its screen shows the frames.
        viewer: habits of the simulated viewer.
        scanner: the simulated machine; resolution and grey map vary around it per subject.
        seed: seed of everything.
        workers: processes that make the frames; the result does not depend on it.

    Raises:
        AnatomarkError: a number out of range, or a frame that does not fit on the screen.
    """

    name = "fetal_abdomen phantom"

    def __init__(
        self,
        root: str | Path,
        *,
        n_subjects: int = 33,
        frames_per_clip: Sequence[int] = (42, 56),
        image_size: Sequence[int] = (320, 400),
        gaze: GazeFilter = GazeFilter(screen=SCREEN),  # noqa: B008 - immutable
        viewer: Viewer = VIEWER,
        scanner: Scanner = SCANNER,
        seed: int = 0,
        workers: int | None = None,
    ) -> None:
        super().__init__(root, n_subjects=n_subjects, gaze=gaze, seed=seed, workers=workers)
        self.frames_per_clip = (int(frames_per_clip[0]), int(frames_per_clip[1]))
        self.size = (int(image_size[0]), int(image_size[1]))
        self.viewer = viewer
        self.scanner = scanner
        if not 2 <= self.frames_per_clip[0] <= self.frames_per_clip[1]:
            raise AnatomarkError(
                f"frames_per_clip is {list(self.frames_per_clip)}; give the fewest (at least 2) and the most"
            )
        check_frame(self.size, self.gaze.screen)

    def parameters(self) -> dict[str, Any]:
        """Everything the files depend on."""
        return {
            **super().parameters(),
            "frames_per_clip": self.frames_per_clip,
            "image_size": self.size,
            "screen": asdict(self.gaze.screen),
            "viewer": asdict(self.viewer),
            "scanner": asdict(self.scanner),
        }

    def make_subject(self, subject: int) -> list[RawFrame]:
        """All frames of one clip, in order."""
        rng = np.random.default_rng([self.seed, subject])
        abdomen, surroundings = draw_abdomen(rng), Surroundings.draw(rng)
        scanner = self.scanner.varied(rng)
        sweep = Sweep.draw(abdomen, int(rng.integers(*self.frames_per_clip, endpoint=True)), rng)
        texture_seed = int(rng.integers(2**32))
        name = f"clip{subject:02d}"
        frames = []
        for number, view in enumerate(draw_views(abdomen, sweep, self.size, rng), 1):
            tissue, grid = _tissue(view, surroundings, texture_seed)
            image = scanner.image(tissue, view.sector, grid, self.size, rng)
            record = truth(view, key=f"{name}_{number:03d}", subject=name, size=self.size)
            gaze = look_at(view, self.viewer, self.size, self.gaze.screen, rng)
            frames.append(RawFrame(record=record, image=image, gaze=gaze))
        return frames


def _tissue(view: View, surroundings: Surroundings, texture_seed: int) -> tuple[Tissue, AcousticGrid]:
    """The tissue the beams meet; its texture changes smoothly along the sweep."""
    rng = Drift(texture_seed, max(view.section.z + 3, 0) / TEXTURE_STEP)
    grid = AcousticGrid.of(view.sector, shape=GRID_SHAPE, spacing_mm=view.spacing_mm)
    local = view.to_local(view.sector.positions(grid))
    canvas = Canvas.blank(local, view.pose.beams(view.sector, grid), rng, unevenness=0.009)
    paint_surroundings(canvas, grid, surroundings, rng)
    paint_trunk(canvas, view, rng)
    if view.limb is not None:
        paint_limb(canvas, grid, view.limb)
    return canvas.tissue, grid

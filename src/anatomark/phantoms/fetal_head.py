"""Phantom of fetal heads in two standard planes, with gaze and truth, for Droste et al. 2020."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from anatomark.data.frames_writer import RawFrame
from anatomark.data.gaze import GazeFilter, ScreenGeometry
from anatomark.phantoms.base import Phantom, check_frame
from anatomark.phantoms.drawing import Canvas
from anatomark.phantoms.fetal_anatomy import PLANES, Anatomy, Plane, landmarks, paint_head
from anatomark.phantoms.fetal_view import View, gaze_targets, truth
from anatomark.phantoms.maternal import Surroundings, paint_surroundings
from anatomark.phantoms.scanpath import Viewer
from anatomark.phantoms.ultrasound import AcousticGrid, Scanner, Tissue
from anatomark.types import AnatomarkError

GRID_SHAPE = (448, 288)
SCREEN = ScreenGeometry(frame_origin_px=(420, 120), frame_scale=2.5)


class FetalHeadPhantom(Phantom):
    """Fetal heads at 18 to 24 weeks in simulated B-mode frames, with raw gaze of a simulated sonographer.

    Truth, in px of the files: the CSP's centre and box; in TV the ends and centre of the LV's line; in TC the
    ends and centre of the transcerebellar diameter; the outer head ellipse; the sector. Every subject is
    shown in all planes; frames of one plane differ by small movements.

    Args:
        root: folder of the phantom.
        n_subjects: number of heads.
        frames_per_subject: frames of each head over all planes, the same number in every plane.
        planes: "TV" (transventricular) and "TC" (transcerebellar).
        image_size: height and width of the frames, px.
        gaze: filter that makes fixations of the raw gaze; its screen shows the frames.
        viewer: habits of the simulated viewer.
        scanner: the simulated machine; resolution and grey map vary around it per subject.
        seed: seed of everything.
        workers: processes that make the frames; the result does not depend on it.

    Raises:
        AnatomarkError: a number out of range, an unknown plane, or a frame that does not fit on the screen.
    """

    name = "fetal_head phantom"

    def __init__(
        self,
        root: str | Path,
        *,
        n_subjects: int = 100,
        frames_per_subject: int = 4,
        planes: Sequence[str] = ("TV", "TC"),
        image_size: Sequence[int] = (336, 432),
        gaze: GazeFilter = GazeFilter(screen=SCREEN),  # noqa: B008 - immutable
        viewer: Viewer = Viewer(),  # noqa: B008 - immutable
        scanner: Scanner = Scanner(),  # noqa: B008 - immutable
        seed: int = 0,
        workers: int | None = None,
    ) -> None:
        super().__init__(root, n_subjects=n_subjects, gaze=gaze, seed=seed, workers=workers)
        self.frames_per_subject = frames_per_subject
        self.planes = _known(planes)
        self.size = (int(image_size[0]), int(image_size[1]))
        self.viewer = viewer
        self.scanner = scanner
        self._check()

    def parameters(self) -> dict[str, Any]:
        """Everything the files depend on."""
        return {
            **super().parameters(),
            "frames_per_subject": self.frames_per_subject,
            "planes": self.planes,
            "image_size": self.size,
            "screen": asdict(self.gaze.screen),
            "viewer": asdict(self.viewer),
            "scanner": asdict(self.scanner),
        }

    def make_subject(self, subject: int) -> list[RawFrame]:
        """All frames of one head."""
        rng = np.random.default_rng([self.seed, subject])
        anatomy, surroundings = Anatomy.draw(rng), Surroundings.draw(rng)
        scanner = self.scanner.varied(rng)
        frames = []
        for plane in self.planes:
            key_points = [*landmarks(anatomy, plane).values(), *anatomy.csp_corners()]
            view = View.draw(anatomy, self.size, rng)
            while not view.shows(key_points, self.size):
                view = View.draw(anatomy, self.size, rng)
            texture_seed = int(rng.integers(2**32))
            for number in range(self.frames_per_subject // len(self.planes)):
                key = f"subject{subject:04d}_{plane}_{number + 1}"
                moved = view.moved(rng)
                tissue, grid = _tissue(anatomy, surroundings, plane, moved, texture_seed)
                image = scanner.image(tissue, moved.sector, grid, self.size, rng)
                record = truth(anatomy, plane, moved, key=key, subject=f"subject{subject:04d}", size=self.size)
                gaze = self.viewer.look(*gaze_targets(anatomy, plane, moved), self.size[::-1], self.gaze.screen, rng)
                frames.append(RawFrame(record=record, image=image, gaze=gaze))
        return frames

    def _check(self) -> None:
        if self.frames_per_subject < 1 or self.frames_per_subject % len(self.planes):
            raise AnatomarkError(
                f"frames_per_subject is {self.frames_per_subject}; give a positive multiple of the "
                f"{len(self.planes)} planes"
            )
        check_frame(self.size, self.gaze.screen)


def _known(planes: Sequence[str]) -> tuple[Plane, ...]:
    """The planes in the order of :data:`PLANES`."""
    if not planes or not set(planes) <= set(PLANES) or len(set(planes)) < len(planes):
        raise AnatomarkError(f"planes is {list(planes)}; name each plane once, out of {list(PLANES)}")
    return tuple(plane for plane in PLANES if plane in planes)


def _tissue(
    anatomy: Anatomy, surroundings: Surroundings, plane: Plane, view: View, texture_seed: int
) -> tuple[Tissue, AcousticGrid]:
    """The tissue the beams meet; equal seeds give the same tissue in all frames of a view."""
    rng = np.random.default_rng(texture_seed)
    grid = AcousticGrid.of(view.sector, shape=GRID_SHAPE, spacing_mm=view.spacing_mm)
    local = view.pose.to_local(view.sector.positions(grid))
    canvas = Canvas.blank(local, view.pose.beams(view.sector, grid), rng, unevenness=0.007)
    paint_surroundings(canvas, grid, surroundings, rng)
    paint_head(canvas, anatomy, plane, rng)
    return canvas.tissue, grid

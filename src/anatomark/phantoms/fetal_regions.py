"""Phantom of free-hand obstetric examinations that pass from region to region, for Toussaint et al. 2018."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from anatomark.data.frames_writer import RawFrame
from anatomark.data.gaze import GazeFilter
from anatomark.phantoms.base import Phantom
from anatomark.phantoms.regions_fetus import Fetus
from anatomark.phantoms.regions_parts import Part
from anatomark.phantoms.regions_plan import BACKGROUND, CLASSES, Visit, plan_examination
from anatomark.phantoms.regions_scene import Scene, paint_scene, truth
from anatomark.phantoms.regions_view import draw_shots
from anatomark.phantoms.ultrasound import Scanner
from anatomark.types import AnatomarkError

SCANNER = Scanner(
    axial_sigma_mm=0.5,
    lateral_sigma_rad=0.009,
    focus_mm=70.0,
    focal_zone_mm=90.0,
    looks=2,
    noise_db=-57.0,
    gain_db=4.0,
)
PLAN, VISIT, LOOK = range(3)
"""What a stream of random numbers is for."""


class FetalRegionsPhantom(Phantom):
    """Free-hand examinations at 20 to 30 weeks in simulated B-mode frames: head, spine, thorax, abdomen, limbs,
    placenta and background (maternal tissue and amniotic fluid only).

    An examination is one clip of one subject. It visits region after region; probe, depth, sector width and zoom
    drift from frame to frame, and the region that was left or comes next is often still or already seen at the edge.
    Moments in which no region prevails are left out, as the paper discarded them. The classes are as unbalanced as the
    paper's. Settings, place and size of a px are drawn without regard to the region. The main region lies anywhere in
    the sector, sometimes cut by its edge, so that a box in the middle is a poor guess.

    Truth, in px of the files: the class, the class at the edge (``also``) from 2 % of the sector on, the box "region"
    around what the sector shows of the main region, the sector. No gaze.

    Args:
        root: folder of the phantom.
        n_frames: frames over all subjects.
        n_subjects: number of examinations.
        image_size: height and width of the frames, px.
        scanner: the simulated machine; resolution and grey map vary around it per subject, gain per visit.
        seed: seed of everything.
        workers: processes that make the frames; the result does not depend on it.

    Raises:
        AnatomarkError: a number out of range.
    """

    name = "fetal_regions phantom"
    format_version = 2

    def __init__(
        self,
        root: str | Path,
        *,
        n_frames: int = 7000,
        n_subjects: int = 20,
        image_size: Sequence[int] = (224, 288),
        scanner: Scanner = SCANNER,
        seed: int = 0,
        workers: int | None = None,
    ) -> None:
        super().__init__(root, n_subjects=n_subjects, gaze=GazeFilter(), seed=seed, workers=workers)
        self.n_frames = n_frames
        self.size = (int(image_size[0]), int(image_size[1]))
        self.scanner = scanner
        least = len(CLASSES) * n_subjects
        if n_frames < least:
            raise AnatomarkError(
                f"n_frames is {n_frames}; give at least {least}, one of each class for each of {n_subjects} subjects"
            )
        if min(self.size) < 64:
            raise AnatomarkError(f"image_size is {list(self.size)}; give at least 64 x 64 px")

    def parameters(self) -> dict[str, Any]:
        """Everything the files depend on."""
        return {
            **super().parameters(),
            "n_frames": self.n_frames,
            "image_size": self.size,
            "scanner": asdict(self.scanner),
        }

    @property
    def n_parts(self) -> int:
        """The visits of all examinations."""
        return len(self._visits)

    def make_part(self, part: int) -> list[RawFrame]:
        """Frames of one visit."""
        return self._make_visit(*self._visits[part])

    def make_subject(self, subject: int) -> list[RawFrame]:
        """All frames of one examination, in order."""
        visits = [number for of, number in self._visits if of == subject]
        return [frame for number in visits for frame in self._make_visit(subject, number)]

    @cached_property
    def _plans(self) -> list[list[Visit]]:
        """The visits of each examination."""
        each, more = divmod(self.n_frames, self.n_subjects)
        counts = [each + (subject < more) for subject in range(self.n_subjects)]
        return [plan_examination(count, self._rng(PLAN, subject)) for subject, count in enumerate(counts)]

    @cached_property
    def _visits(self) -> list[tuple[int, int]]:
        """Subject and number of each visit."""
        return [(subject, number) for subject, plan in enumerate(self._plans) for number in range(len(plan))]

    def _make_visit(self, subject: int, number: int) -> list[RawFrame]:
        visit = self._plans[subject][number]
        # Every visit starts from the subject's own numbers, so that any process can make it.
        rng = self._rng(LOOK, subject)
        fetus, scanner = Fetus.draw(rng), self.scanner.varied(rng)
        main = self._part(fetus, subject, number)
        beside = self._part(fetus, subject, number - 1 if visit.leaving else number + 1) if visit.beside else None
        rng = self._rng(VISIT, subject, number)
        scene = Scene.draw(fetus, main, beside, rng)
        scanner = replace(scanner, gain_db=scanner.gain_db + rng.normal(0, 1.5))
        shots = draw_shots(
            visit.n_frames,
            self.size,
            leaving=visit.leaving,
            share=main.area_mm2 / beside.area_mm2 if main and beside else 0.0,
            beside_mm=beside.half_mm if beside else None,
            rng=rng,
        )
        name = f"subject{subject:02d}"
        frames = []
        for i, shot in enumerate(shots, visit.first + 1):
            tissue, grid, xy, masks = paint_scene(scene, shot)
            image = scanner.image(tissue, shot.sector, grid, self.size, rng)
            record = truth(scene, shot, xy, masks, key=f"{name}_{i:05d}", subject=name, size=self.size)
            frames.append(RawFrame(record=record, image=image))
        return frames

    def _part(self, fetus: Fetus, subject: int, number: int) -> Part | None:
        """What a visit shows in the middle; the visits next to it see the same at the edge."""
        label = self._plans[subject][number].label
        return None if label == BACKGROUND else Part.draw(fetus, label, self._rng(LOOK, subject, number))

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])

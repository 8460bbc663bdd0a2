"""The folder that predict.py writes: tables of what was found, frames with it drawn on them, annotated videos."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anatomark.data.frames import Pixels
from anatomark.data.media import Media
from anatomark.data.video import VideoFile, VideoWriter
from anatomark.inference.findings import Finding
from anatomark.report.folders import replaced_folder
from anatomark.report.overlays import draw_findings

TABLE = "predictions.csv"
_BOX = ("x0_px", "y0_px", "x1_px", "y1_px")
_COLUMNS = ("file", "frame", "label", "score", *_BOX, "spacing_x_mm", "spacing_y_mm")
_LANDMARK_COLUMNS = ("file", "frame", "name", "x_px", "y_px", "weight")


@contextmanager
def open_output(folder: Path, names: dict[Path, str], *, overlays: bool) -> Iterator["Output"]:
    """The output of one call, which appears whole, in place of an earlier one, when the block ends without an error.

    Args:
        folder: where it shall be.
        names: what begins the names of the files made of each input file.
        overlays: draw every frame; else only videos are drawn.
    """
    with replaced_folder(folder, mark=TABLE, kind="output of predict.py") as fresh, ExitStack() as stack:
        yield Output(fresh, names, overlays=overlays, stack=stack)


class Output:
    """Writes what was found, frame by frame; made by :func:`open_output`."""

    def __init__(self, folder: Path, names: dict[Path, str], *, overlays: bool, stack: ExitStack) -> None:
        self._names = names
        self._findings = _open_table(folder / TABLE, _COLUMNS, stack)
        self._landmarks = _open_table(folder / "landmarks.csv", _LANDMARK_COLUMNS, stack)
        self._folder = folder
        self._overlays = folder / "overlays" if overlays else None
        if self._overlays is not None:
            self._overlays.mkdir()
        self._stack = stack
        self._video: tuple[Path, VideoWriter, ExitStack] | None = None

    def add(self, media: Media, number: int, pixels: Pixels, finding: Finding) -> None:
        """Writes a frame.

        Args:
            media: its file; the frames of a file come one after another.
            number: of the frame in it, from 0.
            pixels: the frame.
            finding: what was found in it.
        """
        where = (media.path.name, number)
        box = [""] * 4 if finding.box is None else [f"{edge:.2f}" for edge in finding.box.tolist()]
        score = "" if finding.score is None else f"{finding.score:.4f}"
        self._findings.writerow([*where, finding.label or "", score, *box, *(media.spacing_mm or ("", ""))])
        for mark in finding.landmarks:
            weight = "" if mark.weight is None else f"{mark.weight:.4f}"
            self._landmarks.writerow([*where, mark.name, f"{mark.x:.2f}", f"{mark.y:.2f}", weight])
        if self._overlays is None and not isinstance(media, VideoFile):
            return
        drawn = _draw(pixels, finding)
        name = self._names[media.path]
        if self._overlays is not None:
            numbered = name if media.n_frames == 1 else f"{name}_{number:06d}"
            Image.fromarray(drawn).save(self._overlays / f"{numbered}.png", compress_level=1)
        if isinstance(media, VideoFile):
            self._writer(media, name, drawn.shape[1::-1]).write(drawn)

    def _writer(self, media: VideoFile, name: str, size: tuple[int, int]) -> VideoWriter:
        """The writer of the current video, for which that of the one before is closed."""
        if self._video is None or self._video[0] != media.path:
            if self._video is not None:
                self._video[2].close()
            stack = self._stack.enter_context(ExitStack())
            path = self._folder / f"{name}_annotated.mp4"
            self._video = (media.path, stack.enter_context(VideoWriter(path, rate=media.rate, size=size)), stack)
        return self._video[1]


def _draw(pixels: Pixels, finding: Finding) -> np.ndarray:
    peaks_only = all(mark.weight is not None for mark in finding.landmarks)
    return draw_findings(
        pixels,
        finding.saliency.cpu().numpy(),
        caption="" if finding.score is None else f"{finding.label} {finding.score:.2f}",
        box=None if finding.box is None else finding.box.tolist(),
        landmarks=[("" if peaks_only else mark.name, mark.x, mark.y) for mark in finding.landmarks],
    )


def _open_table(path: Path, columns: Sequence[str], stack: ExitStack) -> Any:
    table = csv.writer(stack.enter_context(path.open("w", newline="", encoding="utf-8")), lineterminator="\n")
    table.writerow(columns)
    return table

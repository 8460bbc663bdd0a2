"""The folder that predict.py writes: tables of what was found, frames with it drawn on them, annotated videos."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anatomark.data.media import Media
from anatomark.data.pixels import Pixels
from anatomark.data.video import VideoFile, VideoWriter
from anatomark.inference.findings import Finding
from anatomark.report.folders import replaced_folder
from anatomark.report.overlays import draw_findings
from anatomark.types import AnatomarkError

TABLE = "predictions.csv"
INPUT = "input.json"
_BOX = ("x0_px", "y0_px", "x1_px", "y1_px")
_LANDMARK_COLUMNS = ("file", "frame", "name", "x_px", "y_px", "weight")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is written.

    Attributes:
        root: folder against which the tables name the input files.
        names: what the pictures of images and the annotated videos begin with, by input file.
        classes: class names.
        overlays: draw every frame; else only videos are drawn.
    """

    root: Path
    names: Mapping[Path, str]
    classes: Sequence[str]
    overlays: bool

    @property
    def columns(self) -> list[str]:
        """Columns of the table of frames."""
        scores = [f"p_{name}" for name in self.classes]
        return ["file", "frame", "label", "score", *scores, *_BOX, "spacing_x_mm", "spacing_y_mm", "sector_quality"]


@contextmanager
def open_output(folder: Path, source: Path, layout: Layout) -> Iterator["Output"]:
    """The output of one call, which appears whole, in place of an earlier one, when the block ends without an error.

    Args:
        folder: where it shall be.
        source: the input; only its own earlier output is replaced.
        layout: what is written.

    Raises:
        AnatomarkError: ``folder`` holds something else.
    """
    with (
        replaced_folder(folder, mark=INPUT, kind="output of predict.py", option="output=") as fresh,
        ExitStack() as stack,
    ):
        _check_same_input(folder, source)
        record = {"input": str(source), "path": str(source.resolve())}
        (fresh / INPUT).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        yield Output(fresh, layout, stack)


def _check_same_input(folder: Path, source: Path) -> None:
    """Refuses a folder with what was found in another input of the same name.

    Raises:
        AnatomarkError: it is one, or does not say.
    """
    path = folder / INPUT
    if not path.exists():
        return
    try:
        earlier = str(json.loads(path.read_text(encoding="utf-8"))["path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnatomarkError(f"{path} is damaged; choose another folder by output=, or remove {folder}") from error
    if earlier != str(source.resolve()):
        raise AnatomarkError(
            f"{folder} holds what was found in {earlier}, not in {source}; choose another folder by output=, or remove"
            " it"
        )


class Output:
    """Writes what was found, frame by frame; made by :func:`open_output`."""

    def __init__(self, folder: Path, layout: Layout, stack: ExitStack) -> None:
        self._layout = layout
        self._findings = _open_table(folder / TABLE, layout.columns, stack)
        self._landmarks = _open_table(folder / "landmarks.csv", _LANDMARK_COLUMNS, stack)
        self._folder = folder
        self._overlays = folder / "overlays" if layout.overlays else None
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
        where = (media.path.relative_to(self._layout.root).as_posix(), number)
        scores = [_number(finding.score), *(_number(finding.probabilities.get(name)) for name in self._layout.classes)]
        box = [""] * 4 if finding.box is None else [f"{edge:.2f}" for edge in finding.box.tolist()]
        spacing = media.spacing_mm or ("", "")
        quality = _number(finding.sector_quality)
        self._findings.writerow([*where, finding.label or "", *scores, *box, *spacing, quality])
        for mark in finding.landmarks:
            self._landmarks.writerow([*where, mark.name, f"{mark.x:.2f}", f"{mark.y:.2f}", _number(mark.weight)])
        if self._overlays is None and not isinstance(media, VideoFile):
            return
        drawn = _draw(pixels, finding)
        name = self._layout.names[media.path]
        if self._overlays is not None:
            # The folder of a file with several frames has its full name, which no picture has.
            path = self._overlays / (f"{name}.png" if media.n_frames == 1 else f"{where[0]}/{number:06d}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn).save(path, compress_level=1)
        if isinstance(media, VideoFile):
            self._writer(media, name, drawn.shape[1::-1]).write(drawn)

    def _writer(self, media: VideoFile, name: str, size: tuple[int, int]) -> VideoWriter:
        """The writer of the current video, for which that of the one before is closed."""
        if self._video is None or self._video[0] != media.path:
            if self._video is not None:
                self._video[2].close()
            stack = self._stack.enter_context(ExitStack())
            path = self._folder / f"{name}_annotated.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
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


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _open_table(path: Path, columns: Sequence[str], stack: ExitStack) -> Any:
    # File names that are not UTF-8 are written byte for byte, so that they can be found again.
    file = stack.enter_context(path.open("w", newline="", encoding="utf-8", errors="surrogateescape"))
    table = csv.writer(file, lineterminator="\n")
    table.writerow(columns)
    return table

"""Phantoms as sources of frames or volumes: written to disk on first use, then read like any other data set."""

import hashlib
import json
import multiprocessing
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from anatomark.data.frames import FrameRecord
from anatomark.data.frames_folder import read_frames
from anatomark.data.frames_writer import RawFrame, write_frames
from anatomark.data.gaze import GazeFilter, ScreenGeometry
from anatomark.types import AnatomarkError

MARKER = "phantom.json"

Part = TypeVar("Part")
Record = TypeVar("Record")


class PhantomOnDisk(ABC, Generic[Part, Record]):
    """A source that writes its files when they are missing or were made with other parameters.

    Args:
        root: folder of the phantom.
        n_subjects: number of subjects.
        seed: seed of everything; subjects are drawn independently of each other.
        workers: processes that make the files; as many as there are cores if None. The result does not
            depend on it.

    Raises:
        AnatomarkError: a number out of range.
    """

    name: str
    format_version: int = 1
    """Raised whenever the same parameters would give other files."""

    def __init__(self, root: str | Path, *, n_subjects: int, seed: int, workers: int | None) -> None:
        self.root = Path(root)
        self.n_subjects = n_subjects
        self.seed = seed
        self.workers = workers if workers is not None else os.cpu_count() or 1
        for key, value, least in (
            ("n_subjects", n_subjects, 1),
            ("seed", seed, 0),
            ("workers", self.workers, 1),
        ):
            if value < least:
                raise AnatomarkError(f"{key} is {value}; it must be at least {least}")

    def __call__(self) -> list[Record]:
        """Everything, written first if need be.

        Raises:
            AnatomarkError: ``root`` holds something else than this phantom.
        """
        if not self.is_current():
            self._write()
        return self.read()

    def parameters(self) -> dict[str, Any]:
        """Everything the files depend on, ready for JSON."""
        return {"n_subjects": self.n_subjects, "seed": self.seed}

    @property
    def n_parts(self) -> int:
        """How many parts are made, each by one process at a time."""
        return self.n_subjects

    @abstractmethod
    def make_part(self, part: int) -> Part:
        """A part; depends on the parameters and its number only. The parts follow each other on disk."""

    @abstractmethod
    def write(self, root: Path, parts: Iterable[Part]) -> None:
        """Writes all parts to a folder that does not exist yet."""

    @abstractmethod
    def read(self) -> list[Record]:
        """Reads the files of ``root``."""

    def description(self) -> dict[str, Any]:
        """Content of ``phantom.json``."""
        made_from = {"phantom": self.name, "format_version": self.format_version, "parameters": self.parameters()}
        text = json.dumps(made_from, sort_keys=True)
        return {**json.loads(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}

    def is_current(self) -> bool:
        """Whether the files on disk are those of these parameters.

        Raises:
            AnatomarkError: the folder holds something that this phantom did not write, which must not be overwritten.
        """
        if not self.root.exists() or (self.root.is_dir() and not any(self.root.iterdir())):
            return False
        marker = self.root / MARKER
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or found.get("phantom") != self.name:
            raise AnatomarkError(
                f"{self.root} is not empty and its {MARKER} does not say that it is the {self.name}; "
                "choose another root or remove the folder"
            )
        return bool(found.get("sha256") == self.description()["sha256"])

    def _write(self) -> None:
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{self.root.name}.", dir=self.root.parent) as scratch:
            fresh = Path(scratch) / "fresh"
            with self._made() as parts:
                shown = track(parts, f"writing {self.name}", total=self.n_parts, console=Console(stderr=True))
                self.write(fresh, shown)
            (fresh / MARKER).write_text(json.dumps(self.description(), indent=2) + "\n", encoding="utf-8")
            if self.is_current():
                return  # another run has written it meanwhile, and may be reading it
            if self.root.exists():
                self.root.rename(Path(scratch) / "stale")
            fresh.rename(self.root)

    @contextmanager
    def _made(self) -> Iterator[Iterable[Part]]:
        """All parts in order, made in parallel."""
        workers = min(self.workers, self.n_parts)
        if workers == 1:
            yield map(self.make_part, range(self.n_parts))
            return
        # A forked child would inherit the locks of torch's threads; a spawned one is safe everywhere.
        pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
        try:
            yield pool.map(self.make_part, range(self.n_parts))
        except BrokenProcessPool as error:
            raise AnatomarkError(
                f"a process that made the {self.name} died, perhaps for lack of memory; use fewer workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


class Phantom(PhantomOnDisk[list[RawFrame], FrameRecord]):
    """A phantom of frames.

    Args:
        root: folder of the phantom.
        n_subjects: number of subjects.
        gaze: filter that makes fixations of the raw gaze.
        seed: seed of everything.
        workers: processes that make the frames.

    Raises:
        AnatomarkError: a number out of range.
    """

    def __init__(self, root: str | Path, *, n_subjects: int, gaze: GazeFilter, seed: int, workers: int | None) -> None:
        super().__init__(root, n_subjects=n_subjects, seed=seed, workers=workers)
        self.gaze = gaze

    def make_part(self, part: int) -> list[RawFrame]:
        """Frames of a part: by default those of one subject."""
        return self.make_subject(part)

    @abstractmethod
    def make_subject(self, subject: int) -> list[RawFrame]:
        """All frames of one subject; depends on the parameters and the subject's number only."""

    def write(self, root: Path, parts: Iterable[list[RawFrame]]) -> None:
        """Writes a frames folder."""
        write_frames(root, (frame for part in parts for frame in part))

    def read(self) -> list[FrameRecord]:
        """Reads the frames folder."""
        return read_frames(self.root, self.gaze)


def check_frame(size: tuple[int, int], screen: ScreenGeometry) -> None:
    """Refuses a frame of ``size`` (H, W) that is too small for a phantom or does not fit on the screen.

    Raises:
        AnatomarkError: either is so.
    """
    if min(size) < 64:
        raise AnatomarkError(f"image_size is {list(size)}; give at least 64 x 64 px")
    corners = screen.to_screen(np.array([(-0.5, -0.5), (size[1] - 0.5, size[0] - 0.5)]))
    if (corners < -0.5).any() or (corners > np.array(screen.resolution_px) - 0.5).any():
        raise AnatomarkError(
            f"a frame of {size[1]} x {size[0]} px does not fit on the screen of the gaze; "
            "change screen.frame_origin_px, screen.frame_scale or image_size"
        )

"""Frames, videos and tables for the tests of predict.py."""

import csv
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from frames_fixture import make_frame


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def frame(subject: int) -> np.ndarray:
    """A frame of 96 x 64 px."""
    return make_frame(subject, "TV").image


def write_video(path: Path, n_frames: int = 7) -> Path:
    pytest.importorskip("av")
    from anatomark.data.video import VideoWriter

    with VideoWriter(path, rate=Fraction(25), size=(96, 64)) as writer:
        for number in range(n_frames):
            writer.write(frame(number)[..., None].repeat(3, axis=2))
    return path

"""Fixtures for every test."""

import os
from pathlib import Path

import pytest

from commands import Commands
from frames_fixture import write_tiny_frames


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the public data sets; tests that need it are marked ``real_data``."""
    folder = os.environ.get("ANATOMARK_DATA")
    if folder is None or not Path(folder).is_dir():
        pytest.skip("needs the public data sets; set ANATOMARK_DATA to their folder")
    return Path(folder)


@pytest.fixture
def tiny_frames(tmp_path: Path) -> Path:
    """A small valid frames folder: 6 subjects with a TV and a TC frame each, gaze on both structures."""
    return write_tiny_frames(tmp_path / "tiny")


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``tiny_frames``, written once; only for tests that leave it as it is."""
    return write_tiny_frames(tmp_path_factory.mktemp("frames") / "tiny")


@pytest.fixture
def commands(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Runs train.py and evaluate.py in an empty folder."""
    return Commands(tmp_path, capsys, monkeypatch)

"""Fixtures for every test."""

import os
import shutil
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


@pytest.fixture(scope="session")
def trained(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as training leaves it; its weights are untrained. Only for tests that leave it as it is."""

    class Silent:
        def readouterr(self) -> tuple[str, str]:
            return "", ""

    with pytest.MonkeyPatch.context() as patch:
        return Commands(tmp_path_factory.mktemp("trained"), Silent(), patch).train(frames)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """As ``trained``, a copy of one's own."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with frames of two sizes, one of them a stack, beside a file of another kind."""
    import imageio.v3 as iio
    import numpy as np

    from dicom_fixture import write_dicom
    from predict_inputs import frame

    folder = tmp_path / "images"
    folder.mkdir()
    iio.imwrite(folder / "a.png", frame(0))
    iio.imwrite(folder / "wide.png", np.pad(frame(1), ((0, 0), (0, 96))))
    write_dicom(folder / "a.dcm", np.stack([frame(2), frame(3)]), PhotometricInterpretation="MONOCHROME2")
    (folder / "notes.txt").write_text("not a frame")
    return folder

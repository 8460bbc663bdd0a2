"""Sectors that nobody annotated: fitted before the training starts, once, or all refused together."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from datamodule_fixture import module, ready

from anatomark.data import sectors
from anatomark.data.frames import FrameRecord
from anatomark.data.polar import ToPolar
from anatomark.data.sectors import add_sectors
from anatomark.geometry.sector import estimate_sector
from anatomark.types import AnatomarkError, Frustum

H, W = 120, 160
Y, X = np.indices((H, W))
FRUSTUM: Frustum = {
    "apex": torch.tensor([80.0, -20.0]),
    "radii": torch.tensor([30.0, 130.0]),
    "half_angle": 0.6,
    "tilt": 0.05,
}


def saved(folder: Path, key: str, inside: np.ndarray, **fields: object) -> FrameRecord:
    pixels = np.where(inside, np.random.default_rng(0).integers(40, 255, (H, W)), 0)
    iio.imwrite(folder / f"{key}.png", pixels.astype(np.uint8))
    return FrameRecord(key=key, subject=key, file=folder / f"{key}.png", **fields)  # type: ignore[arg-type]


def inside_sector() -> np.ndarray:
    radius, angle = np.hypot(X - 80, Y + 20), np.arctan2(X - 80, Y + 20) - 0.05
    return (radius > 30) & (radius < 130) & (np.abs(angle) < 0.6)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A fit each."""
    made: list[int] = []
    monkeypatch.setattr(sectors, "estimate_sector", lambda image: (made.append(1), estimate_sector(image))[1])
    return made


def test_missing_sectors_are_fitted_once_a_session(
    tmp_path: Path, calls: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    bare = [saved(tmp_path, key, inside_sector()) for key in "ab"]
    annotated = replace(bare[0], key="c", frustum={**FRUSTUM, "tilt": 0.2})
    with caplog.at_level(logging.INFO):
        splits = add_sectors({"train": [bare[0], annotated], "test": bare[1:]}, workers=0)
        again = add_sectors({"train": bare}, workers=0)
    assert {split: [one.key for one in records] for split, records in splits.items()} == {
        "train": ["a", "c"],
        "test": ["b"],
    }
    for record in (splits["train"][0], splits["test"][0]):
        assert record.frustum is not None
        assert torch.dist(record.frustum["apex"], FRUSTUM["apex"]) < 2
        assert record.frustum["half_angle"] == pytest.approx(0.6, abs=0.01)
    assert splits["train"][1] is annotated
    assert again["train"][1].frustum == splits["test"][0].frustum
    assert len(calls) == 2
    (line,) = caplog.messages
    assert re.fullmatch(r"sectors fitted to 2 frames: quality 0\.9\d at the lowest \(frame a\), 0\.9\d in .*", line)


def test_worker_processes_fit_the_same(tmp_path: Path) -> None:
    one, other = (saved(tmp_path, key, inside_sector()) for key in "ab")
    (here,) = add_sectors({"train": [one]}, workers=0)["train"]
    (there,) = add_sectors({"train": [other]}, workers=1)["train"]
    assert here.frustum is not None
    assert there.frustum is not None
    assert all(torch.equal(torch.as_tensor(here.frustum[key]), torch.as_tensor(there.frustum[key])) for key in FRUSTUM)  # type: ignore[literal-required]
    assert not there.frustum["apex"].is_shared()


def test_all_frames_that_no_sector_fits_are_refused_together(tmp_path: Path) -> None:
    everywhere, ellipse = X >= 0, (X - 80) ** 2 / 60**2 + (Y - 60) ** 2 / 45**2 < 1
    good = [saved(tmp_path, key, inside_sector()) for key in "ab"]
    bad = [saved(tmp_path, f"{key}_full", everywhere) for key in "cdef"]
    with pytest.raises(AnatomarkError) as caught:
        add_sectors({"train": [good[0], *bad[:3]], "val": [], "test": [bad[3], good[1]]}, workers=0)
    message = str(caught.value)
    assert message.startswith("no sector can be fitted to 4 of 6 frames (c_full: no sector is to be seen")
    assert "e_full: no sector" in message
    assert "; and 1 more); annotate their sectors in frames.csv, leave the frames out, or set" in message
    assert "f_full" not in message
    with pytest.raises(AnatomarkError, match=r"to 1 of 1 frames \(round: [^;]*\); annotate"):
        add_sectors({"test": [saved(tmp_path, "round", ellipse)]}, workers=0)


def test_a_frame_that_cannot_be_read_is_no_frame_without_sector(tmp_path: Path) -> None:
    record = saved(tmp_path, "a", inside_sector(), size=(99, 99))
    with pytest.raises(AnatomarkError, match="160 x 120 px"):
        add_sectors({"test": [record]}, workers=0)


def test_the_data_module_fits_all_splits_before_they_are_read(tmp_path: Path, calls: list[int]) -> None:
    records = [saved(tmp_path, key, inside_sector()) for key in "abcdef"]
    to_small = ToPolar(height=32, width=40)
    made = ready(records, frustum="estimate", train_transform=to_small, eval_transform=to_small)
    assert len(calls) == 6
    made.setup("test")
    for loader in (made.train_dataloader(), made.val_dataloader(), made.test_dataloader()):
        assert all("polar" in sample for batch in loader for sample in batch["samples"])
    assert len(calls) == 6
    known = ready(records, train_transform=to_small, eval_transform=to_small)
    assert not any("polar" in sample for batch in known.test_dataloader() for sample in batch["samples"])
    with pytest.raises(AnatomarkError, match=r"data.frustum is guess; it must be annotated or estimate"):
        module(records, frustum="guess")

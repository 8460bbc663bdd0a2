"""Packed records are the records: every field comes back, each time anew, in few bytes."""

import pickle
from dataclasses import fields
from functools import partial
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from anatomark.data.datamodules import collate
from anatomark.data.frame_masks import EllipseMask, MaskFile
from anatomark.data.frame_rows import FrameRows
from anatomark.data.frames import FrameDataset, FrameRecord
from anatomark.data.packed_records import PackedRecords
from anatomark.types import AnatomarkError

ELLIPSE = {"centre": torch.tensor([9.1, 8.0]), "semi_axes": torch.tensor([7.0, 5.0]), "angle": 0.1}
FRUSTUM = {"apex": torch.tensor([0.3, -5.0]), "radii": torch.tensor([1.0, 2.0]), "half_angle": 0.5, "tilt": 0.1}


def full(folder: Path, number: int = 0) -> FrameRecord:
    """A record with every field."""
    return FrameRecord(
        key=f"full{number}",
        subject="s",
        file=folder / "frame.png",
        split="val",
        plane="TV",
        label="a",
        also=("b", "c"),
        clip="clip",
        spacing_mm=(0.1, 0.25),
        size=(30, 20),
        viewings=(torch.rand(3, 3), torch.zeros(0, 3), torch.rand(2, 3, dtype=torch.float64)),
        points={"csp": torch.rand(2, 5)[:, 0]},  # a view of a larger tensor
        boxes={"csp": torch.rand(4), "lv": torch.rand(4)},
        ellipse=ELLIPSE,  # type: ignore[arg-type]
        frustum=FRUSTUM,  # type: ignore[arg-type]
        mask=EllipseMask(ellipse=ELLIPSE),  # type: ignore[arg-type]
    )


def bare(folder: Path, number: int = 0) -> FrameRecord:
    return FrameRecord(key=f"bare{number}", subject="s", file=folder / "frame.png")


def assert_same(found: object, expected: object) -> None:
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    elif isinstance(expected, dict):
        assert isinstance(found, dict)
        assert list(found) == list(expected)
        assert_same(list(found.values()), list(expected.values()))
    elif isinstance(expected, tuple | list):
        assert type(found) is type(expected)
        for one, other in zip(found, expected, strict=True):  # type: ignore[call-overload]
            assert_same(one, other)
    elif isinstance(expected, FrameRecord | EllipseMask):
        assert type(found) is type(expected)
        for field in fields(expected):
            assert_same(getattr(found, field.name), getattr(expected, field.name))
    else:
        assert found == expected


def test_every_field_comes_back(tmp_path: Path) -> None:
    records = [full(tmp_path), bare(tmp_path), full(tmp_path, 1)]
    for packed in (PackedRecords(records), PackedRecords(PackedRecords(records))):
        assert len(packed) == 3
        assert_same(list(packed), records)
        assert_same(packed[-1], records[-1])
        assert_same(packed[1:], records[1:])
        with pytest.raises(IndexError):
            packed[3]
    assert list(PackedRecords([])) == []
    masked = FrameRecord(key="a", subject="s", file=tmp_path, mask=MaskFile(file=tmp_path / "mask.png"))
    assert list(PackedRecords([masked])) == [masked]
    learnt = FrameRecord(key="a", subject="s", file=tmp_path, points={"csp": torch.ones(2, requires_grad=True)})
    assert PackedRecords([learnt])[0].points["csp"].tolist() == [1, 1]


def test_rows_of_a_table_come_back_without_the_table(tmp_path: Path) -> None:
    frames, names = [f"frame{number:04}" for number in range(1000)], ["csp", "lv"]
    table = pd.DataFrame({"frame_id": np.repeat(frames, 2), "name": names * 1000}).assign(x_px=range(2000), y_px=0.5)
    points = FrameRows(table, ("x_px", "y_px"))
    records = [FrameRecord(key=key, subject="s", file=tmp_path / key, points=points.of(key)) for key in frames]
    packed = PackedRecords(records)
    assert [point.tolist() for point in packed[7].points.values()] == [[14, 0.5], [15, 0.5]]
    assert list(packed[7].points) == names
    assert "third" not in packed[7].points
    assert len(pickle.dumps(packed)) < 500 * len(records)
    assert len(pickle.dumps(records[7])) < 2000  # nor does a record that is sent on its own take it along


def test_a_packed_record_is_as_small_as_its_numbers(tmp_path: Path) -> None:
    packed = PackedRecords([full(tmp_path, number) for number in range(100)])
    assert len(pickle.dumps(packed)) < 100 * (1000 + len(str(tmp_path)))  # PyTorch would write 3,500


def test_what_is_done_to_a_sample_is_not_done_to_the_record(tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "frame.png", np.zeros((20, 30), np.uint8))
    dataset = FrameDataset([full(tmp_path)])
    before = dataset[0]
    expected = [before[name].copy() for name in ("points", "boxes", "ellipse", "frustum")]  # type: ignore[literal-required]
    changed = dataset[0]
    changed["fixations"].zero_()
    for name, key in (("points", "csp"), ("boxes", "csp"), ("ellipse", "centre"), ("frustum", "radii")):
        changed[name][key].zero_()  # type: ignore[literal-required]
    after = dataset[0]
    assert torch.equal(after["fixations"], before["fixations"])
    assert_same([after[name] for name in ("points", "boxes", "ellipse", "frustum")], expected)  # type: ignore[literal-required]


def test_another_process_reads_the_same_samples(tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "frame.png", np.arange(600, dtype=np.uint8).reshape(20, 30))
    dataset = FrameDataset([full(tmp_path), bare(tmp_path), full(tmp_path, 2)], classes=["a", "b"])
    forked = [batch["samples"][0] for batch in DataLoader(dataset, num_workers=1, collate_fn=collate)]
    sent = pickle.loads(pickle.dumps(dataset))  # as to processes that are spawned
    for one, other, ours in zip(forked, sent, dataset, strict=True):
        assert_same(one, ours)
        assert_same(other, ours)


def test_a_record_that_cannot_be_packed_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        for mask in (lambda size: np.zeros(size[::-1], bool), partial(print, file)):
            record = FrameRecord(key="f1", subject="s", file=tmp_path, mask=mask)
            with pytest.raises(AnatomarkError, match=r"frame f1 cannot be pickled \(.*\); make its"):
                PackedRecords([bare(tmp_path), record])

"""A frames folder says the same after writing and reading."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from anatomark.data.frames import FrameDataset, FrameRecord, FrameSource
from anatomark.data.frames_folder import FramesFolder, read_frames
from anatomark.data.frames_writer import RawFrame, RawGaze, write_frames
from anatomark.types import AnatomarkError
from frames_fixture import GAZE, SIZE, make_frame


def edit(root, name, change):
    path = root / f"{name}.csv"
    change(pd.read_csv(path, dtype={"frame_id": str})).to_csv(path, index=False)


def test_what_is_written_is_read_back(tiny_frames):
    written = [make_frame(subject, plane) for subject in range(6) for plane in ("TV", "TC")]
    read = read_frames(tiny_frames, GAZE)
    assert [r.key for r in read] == [f.record.key for f in written]
    for found, frame in zip(read, written, strict=True):
        truth = frame.record
        assert (found.subject, found.plane, found.split) == (truth.subject, truth.plane, None)
        assert found.spacing_mm == truth.spacing_mm
        assert found.size == SIZE
        for name in ("points", "boxes"):
            assert set(getattr(found, name)) == set(getattr(truth, name))
            for key, value in getattr(truth, name).items():
                assert torch.equal(getattr(found, name)[key], value)
        assert torch.equal(found.ellipse["centre"], truth.ellipse["centre"])
        assert torch.equal(found.ellipse["semi_axes"], truth.ellipse["semi_axes"])
        assert found.ellipse["angle"] == pytest.approx(truth.ellipse["angle"], abs=1e-12)
        assert torch.equal(found.frustum["apex"], truth.frustum["apex"])
        assert torch.equal(found.frustum["radii"], truth.frustum["radii"])
        assert found.frustum["half_angle"] == pytest.approx(truth.frustum["half_angle"], abs=1e-12)
        assert found.frustum["tilt"] == pytest.approx(truth.frustum["tilt"], abs=1e-12)


def test_what_a_frame_lacks_it_lacks_after_reading_and_its_split_is_kept(tmp_path):
    full = make_frame(0, "TV")
    bare = FrameRecord(key="bare", subject="p", file=Path(), split="test")
    unseen = RawGaze(t_ms=np.empty(0), xy_px=np.empty((0, 2)), valid=np.empty(0, bool))
    given = replace(full, record=replace(full.record, split="train"))
    write_frames(tmp_path / "set", [RawFrame(record=bare, image=full.image, gaze=unseen), given])
    first, second = read_frames(tmp_path / "set", GAZE)
    file = tmp_path / "set" / "images" / "bare.png"
    assert first == replace(bare, file=file, size=SIZE)
    assert second.split == "train"
    assert set(second.points) == {"csp", "lv"}
    assert len(second.viewings) == 1


def test_images_are_read_back_exactly(tiny_frames):
    sample = FrameDataset(read_frames(tiny_frames, GAZE))[3]
    expected = torch.from_numpy(make_frame(1, "TC").image)
    assert torch.equal((sample["image"][0] * 255).round().to(torch.uint8), expected)


def test_gaze_becomes_fixations_on_the_structures(tiny_frames):
    for record in read_frames(tiny_frames, GAZE):
        (fixations,) = record.viewings
        second = record.points.get("lv", record.points.get("cerebellum"))
        centres = torch.stack([record.points["csp"], second])
        assert len(fixations) >= 2
        distance = torch.cdist(fixations[:, :2], centres)
        assert (distance.amin(dim=1) < 0.5).all()
        assert (distance.amin(dim=0) < 0.5).all()
        assert 850 < fixations[:, 2].sum() <= 1000


def test_frames_csv_alone_is_enough(tiny_frames):
    for name in ("gaze", "points", "boxes", "ellipses"):
        (tiny_frames / f"{name}.csv").unlink()
    edit(tiny_frames, "frames", lambda t: t[["frame_id", "subject_id", "file"]])
    records = read_frames(tiny_frames, GAZE)
    assert len(records) == 12
    assert records[0].size == SIZE  # from the image
    assert set(FrameDataset(records)[0]) == {"key", "subject", "image", "spacing_mm"}


def test_rows_of_a_table_may_come_in_any_order_and_miss_frames(tiny_frames):
    before = {record.key: record for record in read_frames(tiny_frames, GAZE)}
    edit(tiny_frames, "points", lambda t: t.sample(frac=1, random_state=0))
    edit(tiny_frames, "ellipses", lambda t: t[t["frame_id"] != "s2_TV"])
    after = {record.key: record for record in read_frames(tiny_frames, GAZE)}
    assert after["s2_TV"].ellipse is None
    for key, record in before.items():
        assert {n: p.tolist() for n, p in record.points.items()} == {
            n: p.tolist() for n, p in after[key].points.items()
        }


def test_ids_that_look_like_numbers_or_nothing_stay_text(tiny_frames):
    path = tiny_frames / "frames.csv"
    table = pd.read_csv(path)
    table["subject_id"] = ["007", "NA", "None", *table["subject_id"][3:]]
    table["label"] = ["None", "N/A", *["plain"] * 10]
    table.to_csv(path, index=False)
    records = read_frames(tiny_frames, GAZE)
    assert [record.subject for record in records[:3]] == ["007", "NA", "None"]
    assert [record.label for record in records[:3]] == ["None", "N/A", "plain"]


def test_spaces_around_text_make_no_new_subject(tiny_frames):
    edit(tiny_frames, "frames", lambda t: t.assign(subject_id=" " + t["subject_id"] + " "))
    assert {record.subject for record in read_frames(tiny_frames, GAZE)} == {f"s{n}" for n in range(6)}


def test_label_and_clip_are_written_and_read(tmp_path):
    plain, full = make_frame(0, "TV"), make_frame(1, "TV")
    full = replace(full, record=replace(full.record, label="plane", clip="sweep 7"))
    write_frames(tmp_path / "set", [plain, full])
    assert [(r.label, r.clip) for r in read_frames(tmp_path / "set", GAZE)] == [(None, None), ("plane", "sweep 7")]


def test_other_classes_are_written_and_read(tmp_path):
    also = [(), ("abdomen",), ("limbs", "cord and placenta")]
    made = [make_frame(number, "TV") for number in range(3)]
    labelled = [replace(f, record=replace(f.record, label="spine", also=a)) for f, a in zip(made, also, strict=True)]
    write_frames(tmp_path / "set", labelled)
    assert [record.also for record in read_frames(tmp_path / "set", GAZE)] == also
    assert pd.read_csv(tmp_path / "set" / "frames.csv")["also"].tolist()[1:] == ["abdomen", "limbs;cord and placenta"]
    edit(tmp_path / "set", "frames", lambda t: t.assign(also=" head ; limbs "))
    assert {record.also for record in read_frames(tmp_path / "set", GAZE)} == {("head", "limbs")}


def test_frames_without_gaze_are_written_without_gaze(tmp_path):
    write_frames(tmp_path / "set", [replace(make_frame(0, "TV"), gaze=None)])
    assert not (tmp_path / "set" / "gaze.csv").exists()
    assert read_frames(tmp_path / "set", GAZE)[0].viewings == ()


@pytest.mark.parametrize(("written", "read"), [(120, -60), (-90, 90), (90, 90), (270, 90), (-100, 80), (30, 30)])
def test_direction_of_an_ellipse_is_brought_into_range(tiny_frames, written, read):
    edit(tiny_frames, "ellipses", lambda t: t.assign(angle_deg=written))
    angle = read_frames(tiny_frames, GAZE)[0].ellipse["angle"]
    assert angle == pytest.approx(math.radians(read), abs=1e-12)
    assert -math.pi / 2 < angle <= math.pi / 2


def test_split_and_spacing_may_be_given_for_some_frames(tiny_frames):
    edit(
        tiny_frames,
        "frames",
        lambda t: t.assign(
            split=["test", "val", *["train"] * 10],
            spacing_x_mm=[None, *[0.5] * 11],
            spacing_y_mm=[None, *[0.25] * 11],
        ),
    )
    records = read_frames(tiny_frames, GAZE)
    assert [record.split for record in records[:3]] == ["test", "val", "train"]
    assert [record.spacing_mm for record in records[:2]] == [None, (0.5, 0.25)]


def test_folder_is_a_source_named_after_itself(tiny_frames, monkeypatch):
    source = FramesFolder(root=tiny_frames, gaze=GAZE)
    assert isinstance(source, FrameSource)
    assert source.name == "tiny"
    monkeypatch.chdir(tiny_frames)
    assert FramesFolder(root=".", gaze=GAZE).name == "tiny"
    assert [r.key for r in FramesFolder(root=".", gaze=GAZE)()] == [r.key for r in source()]


def test_writer_streams_and_leaves_nothing_half_written(tmp_path):
    seen = []

    def frames():
        for subject in range(3):
            seen.append([path.name for path in tmp_path.rglob("*.png")])
            yield make_frame(subject, "TV")
        raise RuntimeError("the phantom failed")

    with pytest.raises(RuntimeError, match="the phantom failed"):
        write_frames(tmp_path / "set", frames())
    assert [len(files) for files in seen] == [0, 1, 2]  # each is on disk before the next is made
    assert list(tmp_path.iterdir()) == []


def test_writer_refuses_no_frames_and_two_of_one_key(tmp_path):
    with pytest.raises(AnatomarkError, match=r"there are no frames to write to .*set; make at least one"):
        write_frames(tmp_path / "set", [])
    with pytest.raises(AnatomarkError, match="two frames have the key s1_TV"):
        write_frames(tmp_path / "set", [make_frame(1, "TV"), make_frame(1, "TV")])
    assert list(tmp_path.iterdir()) == []


def test_writer_does_not_overwrite(tiny_frames):
    before = (tiny_frames / "frames.csv").read_bytes()
    with pytest.raises(Exception, match="exists already; remove it or write to another folder"):
        write_frames(tiny_frames, [make_frame(0, "TV")])
    assert (tiny_frames / "frames.csv").read_bytes() == before

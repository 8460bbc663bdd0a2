"""Gaze recorded over a clip reaches the frames that were shown meanwhile."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from anatomark.data.clip_gaze import deal_fixations
from anatomark.data.frames_folder import read_frames
from anatomark.data.frames_writer import RawFrame, RawGaze, write_frames
from anatomark.types import AnatomarkError
from frames_fixture import GAZE, SCREEN, make_frame

RECORD = np.arange(0, 1001, 10.0)


def fixation(x, start, end, duration=None):
    return [x, 0.0, end - start if duration is None else duration, start, end]


def durations(dealt):
    return [None if rows is None else {row[0]: row[2] for row in rows.tolist()} for rows in dealt]


def test_a_fixation_gives_every_frame_its_share():
    fixations = np.array([fixation(1, 50, 350), fixation(2, 400, 500)])
    dealt = deal_fixations(fixations, RECORD, np.array([0.0, 100, 200, 300, 700]))
    assert durations(dealt) == [{1: 50}, {1: 100}, {1: 100}, {1: 50, 2: 100}, {}]
    # Samples lost inside a fixation shorten every share alike.
    dealt = deal_fixations(np.array([fixation(1, 50, 350, 150)]), RECORD, np.array([0.0, 100, 200, 300, 700]))
    assert durations(dealt) == [{1: 25}, {1: 50}, {1: 50}, {1: 25}, {}]


def test_the_last_frame_is_shown_for_the_median_interval():
    fixations = np.array([fixation(1, 0, 200), fixation(2, 350, 450)])
    dealt = deal_fixations(fixations, RECORD, np.array([100.0, 200, 300]))
    assert durations(dealt) == [{1: 100}, {}, {2: 50}]


def test_frames_shown_outside_the_recording_have_no_gaze():
    record = np.arange(250, 451, 10.0)
    dealt = deal_fixations(np.array([fixation(1, 250, 450)]), record, np.array([0.0, 100, 200, 300, 400, 500, 600]))
    assert durations(dealt) == [None, None, {1: 50}, {1: 100}, {1: 50}, None, None]
    nothing = deal_fixations(np.empty((0, 5)), record, np.array([0.0, 300]))
    assert durations(nothing) == [{}, {}]


def test_an_only_frame_is_shown_to_the_end():
    assert durations(deal_fixations(np.array([fixation(1, 100, 900)]), RECORD, np.array([500.0]))) == [{1: 400}]


@pytest.fixture
def clips(tmp_path):
    """Two clips of four frames, 250 ms each; gaze rests on (20, 20), then on (60, 40) from 600 ms on."""
    unseen = RawGaze(t_ms=np.empty(0), xy_px=np.empty((0, 2)), valid=np.empty(0, bool))
    frames = []
    for clip in "ab":
        for number in range(4):
            frame = make_frame(number, "TV")
            made = replace(frame.record, key=f"{clip}{number}", subject=clip, clip=f"clip {clip}")
            frames.append(RawFrame(record=made, image=frame.image, gaze=unseen))
    write_frames(tmp_path / "set", frames)
    edit(tmp_path / "set", "frames", lambda t: t.assign(t_ms=np.tile(np.arange(4) * 250, 2)))
    t_ms = np.arange(100) * 10.0
    xy = SCREEN.to_screen(np.where(t_ms[:, None] < 600, (20.0, 20.0), (60.0, 40.0)))
    gaze = pd.DataFrame({"clip_id": "clip a", "t_ms": t_ms, "x_px": xy[:, 0], "y_px": xy[:, 1], "valid": 1})
    gaze.to_csv(tmp_path / "set" / "gaze.csv", index=False)
    return tmp_path / "set"


def edit(root, name, change):
    path = root / f"{name}.csv"
    change(pd.read_csv(path)).to_csv(path, index=False)


def test_folder_with_gaze_by_clip(clips):
    records = {record.key: record for record in read_frames(clips, GAZE)}
    for key in ("a0", "a1"):
        (rows,) = records[key].viewings
        torch.testing.assert_close(rows, torch.tensor([[20.0, 20.0, 250.0]]), atol=0.1, rtol=0)
    (rows,) = records["a2"].viewings
    assert rows[:, 0].tolist() == pytest.approx([20, 60], abs=0.1)
    # The samples at the jump move too fast to be part of a fixation.
    assert rows[:, 2].tolist() == pytest.approx([100, 150], abs=31)
    (rows,) = records["a3"].viewings
    torch.testing.assert_close(rows, torch.tensor([[60.0, 40.0, 250.0]]), atol=0.1, rtol=0)
    assert all(records[f"b{n}"].viewings == () for n in range(4))


def test_shares_add_up_to_the_gaze_filters_durations(clips):
    table = pd.read_csv(clips / "gaze.csv")
    whole = GAZE(table["t_ms"].to_numpy(), table[["x_px", "y_px"]].to_numpy(), np.ones(100, bool), where="test")
    dealt = torch.cat([torch.cat(record.viewings) for record in read_frames(clips, GAZE) if record.viewings])
    assert len(whole) == 2
    for x, _, duration in whole.tolist():
        assert dealt[(dealt[:, 0] - x).abs() < 0.01, 2].sum() == pytest.approx(duration)


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("gaze", lambda t: t.assign(clip_id="c"), r"gaze.csv, row 2: clip_id is c; frames.csv has no such clip"),
        ("gaze", lambda t: t.assign(frame_id="a0"), r"gaze.csv has the columns frame_id and clip_id; keep the one"),
        ("gaze", lambda t: t.drop(columns="valid"), r"gaze.csv lacks the column valid; it needs clip_id, t_ms"),
        ("gaze", lambda t: t.assign(t_ms=0), r"gaze.csv, clip clip a.*t_ms does not increase"),
        ("frames", lambda t: t.drop(columns="clip_id"), r"clip_id is clip a; frames.csv has no such clip"),
        ("frames", lambda t: t.drop(columns="t_ms"), r"frames.csv lacks the column t_ms: gaze.csv goes by clip"),
        ("frames", lambda t: t.assign(t_ms=[0, None] * 4), r"frames.csv, row 3: t_ms is nan; say when"),
        ("frames", lambda t: t.assign(t_ms=[0, 9, 9, 20] * 2), r"frames.csv, row 4: t_ms is 9.0; it must increase"),
    ],
)
def test_bad_clips_are_named(clips, name, change, problem):
    edit(clips, name, change)
    with pytest.raises(AnatomarkError, match=problem) as caught:
        read_frames(clips, GAZE)
    assert "\n" not in str(caught.value)


def test_clips_without_gaze_need_no_times(clips):
    times = [0, 250, 500, 750, None, None, None, None]
    edit(clips, "frames", lambda t: t.assign(t_ms=times))
    assert len(read_frames(clips, GAZE)) == 8

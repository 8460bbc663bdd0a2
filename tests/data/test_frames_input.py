"""Bad frames folders: one line that names file, row and remedy."""

import numpy as np
import pandas as pd
import pytest

from anatomark.data.frames import FrameDataset
from anatomark.data.frames_folder import read_frames
from anatomark.types import AnatomarkError
from frames_fixture import GAZE


def spoil(root, name, row, column, value):
    """Changes one cell; ``row`` counts from 0."""
    path = root / f"{name}.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[row, column] = value
    table.to_csv(path, index=False)


def message(root):
    with pytest.raises(AnatomarkError) as caught:
        read_frames(root, GAZE)
    text = str(caught.value)
    assert "\n" not in text
    assert str(root) in text
    return text


def test_missing_and_empty_folder_say_what_is_expected(tmp_path):
    for root in (tmp_path / "nowhere", tmp_path):
        assert "frames.csv does not exist; expected a folder with frames.csv and its images" in message(root)


def test_table_without_rows_or_content(tiny_frames):
    (tiny_frames / "frames.csv").write_text("frame_id,subject_id,file\n")
    assert "frames.csv lists no frame" in message(tiny_frames)
    (tiny_frames / "frames.csv").write_text("")
    assert "frames.csv is no readable table" in message(tiny_frames)
    (tiny_frames / "frames.csv").write_bytes(b"\xff\xfe\x00\x01,\n\x80")
    assert "frames.csv is no readable table" in message(tiny_frames)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("frames", "subject_id"),
        ("gaze", "t_ms"),
        ("points", "name"),
        ("boxes", "x1_px"),
        ("ellipses", "semi_minor_px"),
    ],
)
def test_missing_column_is_named(tiny_frames, table, column):
    path = tiny_frames / f"{table}.csv"
    pd.read_csv(path).drop(columns=column).to_csv(path, index=False)
    assert f"{table}.csv lacks the column {column}; it needs frame_id" in message(tiny_frames)


@pytest.mark.parametrize("table", ["gaze", "points", "boxes", "ellipses"])
def test_unknown_frame_id_is_named_with_its_row(tiny_frames, table):
    spoil(tiny_frames, table, 3, "frame_id", "ghost")
    assert f"{table}.csv, row 5: frame_id is ghost; frames.csv has no such frame" in message(tiny_frames)


@pytest.mark.parametrize(
    ("table", "column", "value", "problem"),
    [
        ("frames", "frame_id", "s0_TV", "it is listed before"),
        ("frames", "subject_id", "", "fill it in"),
        ("frames", "file", "images/none.png", "holds no such file"),
        ("frames", "file", "", "fill it in"),
        ("frames", "mask", "masks/none.png", "holds no such file; add it or clear the cell"),
        ("frames", "mask", "masks", "holds no such file"),
        ("frames", "mask", "photo.jpg", "JPEG leaves grey around the structure; save masks as PNG"),
        ("frames", "spacing_x_mm", "0", "must be positive"),
        ("frames", "spacing_y_mm", "-0.1", "must be positive"),
        ("frames", "spacing_y_mm", "", "fill in all of spacing_x_mm, spacing_y_mm or none"),
        ("frames", "width", "96.5", "whole number"),
        ("frames", "height", "", "fill in all of width, height or none"),
        ("frames", "height", "0", "must be positive"),
        ("frames", "tilt_deg", "", "or none"),
        ("frames", "half_angle_deg", "0", "must be positive"),
        ("frames", "half_angle_deg", "200", "at most 180"),
        ("frames", "radius_near_px", "900", "below radius_far_px"),
        ("frames", "apex_x_px", "left", "must be a number"),
        ("gaze", "valid", "", "use 1 or 0"),
        ("gaze", "valid", "2", "use 1 or 0"),
        ("gaze", "x_px", "left", "must be a number"),
        ("gaze", "frame_id", "", "frames.csv has no such frame|fill it in"),
        ("points", "x_px", "", "fill it in"),
        ("points", "x_px", "nan", "fill it in"),
        ("points", "x_px", "inf", "must be finite"),
        ("points", "x_px", "96", "outside the frame"),
        ("points", "y_px", "-1", "outside the frame"),
        ("boxes", "x1_px", "95.6", "outside the frame"),
        ("boxes", "y0_px", "63", "must be below y1_px"),
        ("boxes", "name", "", "fill it in"),
        ("ellipses", "x_px", "-3", "outside the frame"),
        ("ellipses", "semi_minor_px", "41", "at most semi_major_px"),
        ("ellipses", "semi_minor_px", "0", "above 0"),
        ("ellipses", "angle_deg", "steep", "must be a number"),
    ],
)
def test_impossible_value_is_named_with_row_and_column(tiny_frames, table, column, value, problem):
    (tiny_frames / "photo.jpg").touch()
    spoil(tiny_frames, table, 2, column, value)
    text = message(tiny_frames)
    assert f"{table}.csv, row 4: " in text
    assert any(part in text for part in problem.split("|"))


def test_values_on_the_very_edge_are_good(tiny_frames):
    spoil(tiny_frames, "points", 0, "x_px", "-0.5")
    spoil(tiny_frames, "points", 1, "x_px", "95.5")
    spoil(tiny_frames, "boxes", 0, "y1_px", "63.5")
    assert len(read_frames(tiny_frames, GAZE)) == 12


def test_positions_are_checked_where_only_the_image_tells_the_size(tiny_frames):
    path = tiny_frames / "frames.csv"
    pd.read_csv(path).drop(columns=["width", "height"]).to_csv(path, index=False)
    spoil(tiny_frames, "points", 0, "x_px", "96")
    assert "points.csv, row 2: x_px is 96.0; it lies outside the frame" in message(tiny_frames)


def test_rows_are_counted_past_blank_lines(tiny_frames):
    path = tiny_frames / "points.csv"
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace("s0_TC", "ghost").replace("s1_TV", "ghost")
    path.write_text("\n".join([lines[0], "", *lines[1:], "", ""]))
    assert "points.csv, row 5: frame_id is ghost" in message(tiny_frames)


@pytest.mark.parametrize("table", ["points", "boxes", "ellipses"])
def test_second_annotation_of_one_thing(tiny_frames, table):
    path = tiny_frames / f"{table}.csv"
    rows = pd.read_csv(path)
    pd.concat([rows, rows[:1]]).to_csv(path, index=False)
    assert f"{table}.csv, row {len(rows) + 2}" in (text := message(tiny_frames))
    assert "the frame has one already" in text


def test_split_of_another_name(tiny_frames):
    path = tiny_frames / "frames.csv"
    pd.read_csv(path).assign(split="train").to_csv(path, index=False)
    spoil(tiny_frames, "frames", 1, "split", "training")
    assert "frames.csv, row 3: split is training; use train, val, test" in message(tiny_frames)


@pytest.mark.parametrize(
    ("label", "also", "problem"),
    [
        ("", "head", "also is head; the frame has no label"),
        ("head", "limbs;head", "also is limbs;head; name each class besides the label once, with ';' between"),
        ("head", "limbs;limbs", "also is limbs;limbs; name each class besides the label once"),
        ("head", "limbs;", "also is limbs;; name each class besides the label once"),
    ],
)
def test_impossible_other_classes(tiny_frames, label, also, problem):
    path = tiny_frames / "frames.csv"
    pd.read_csv(path).assign(label="head", also="limbs").to_csv(path, index=False)
    spoil(tiny_frames, "frames", 4, "label", label)
    spoil(tiny_frames, "frames", 4, "also", also)
    assert f"frames.csv, row 6: {problem}" in message(tiny_frames)


def test_other_classes_need_the_column_of_the_main_one(tiny_frames):
    path = tiny_frames / "frames.csv"
    pd.read_csv(path).assign(also="limbs").to_csv(path, index=False)
    assert "frames.csv, row 2: also is limbs; the frame has no label" in message(tiny_frames)


def test_half_a_sector(tiny_frames):
    path = tiny_frames / "frames.csv"
    pd.read_csv(path).drop(columns="tilt_deg").to_csv(path, index=False)
    assert "frames.csv has apex_x_px but lacks tilt_deg" in message(tiny_frames)


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("t_ms", lambda v: v[::-1], "t_ms does not increase"),
        ("t_ms", lambda v: np.where(v == v[5], np.nan, v), "t_ms is not a number"),
        ("x_px", lambda v: v + 5000, "off the 1920 x 1080 px screen"),
        ("valid", np.zeros_like, "all 90 gaze samples are invalid"),
    ],
)
def test_bad_gaze_is_named_with_its_frame(tiny_frames, column, values, problem):
    path = tiny_frames / "gaze.csv"
    gaze = pd.read_csv(path)
    mine = gaze["frame_id"] == "s3_TC"
    gaze.loc[mine, column] = values(gaze.loc[mine, column].to_numpy())
    gaze.to_csv(path, index=False)
    text = message(tiny_frames)
    assert "gaze.csv, frame s3_TC" in text
    assert problem in text


def test_unreadable_image_and_image_of_another_size(tiny_frames):
    spoil(tiny_frames, "frames", 0, "width", "97")
    with pytest.raises(AnatomarkError, match=r"s0_TV.png is 96 x 64 px .* made for 97 x 64"):
        FrameDataset(read_frames(tiny_frames, GAZE))[0]
    (tiny_frames / "images" / "s1_TV.png").write_bytes(b"")
    with pytest.raises(AnatomarkError, match=r"s1_TV.png: not a readable image"):
        FrameDataset(read_frames(tiny_frames, GAZE))[2]

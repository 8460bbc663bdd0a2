"""The tables of a frames folder, read and checked one by one; the header of a table is its row 1."""

import math
from pathlib import Path

import pandas as pd

from anatomark.data.csv_table import parse_csv
from anatomark.data.splits import SPLITS
from anatomark.types import AnatomarkError

FRUSTUM_COLUMNS = ("apex_x_px", "apex_y_px", "radius_near_px", "radius_far_px", "half_angle_deg", "tilt_deg")
SIZE_COLUMNS = ("width", "height")
SPACING_COLUMNS = ("spacing_x_mm", "spacing_y_mm")
COLUMNS = {
    "frames": ("frame_id", "subject_id", "file"),
    "gaze": ("frame_id", "t_ms", "x_px", "y_px", "valid"),  # or clip_id for the first
    "points": ("frame_id", "name", "x_px", "y_px"),
    "boxes": ("frame_id", "name", "x0_px", "y0_px", "x1_px", "y1_px"),
    "ellipses": ("frame_id", "x_px", "y_px", "semi_major_px", "semi_minor_px", "angle_deg"),
}
TEXT_COLUMNS = (
    *("frame_id", "volume_id", "subject_id", "clip_id", "name", "plane", "label", "also", "split", "valid"),
    *("file", "mask", "landmarks", "second_rater"),
)
SEPARATOR = ";"
"""Between the names of ``also``."""
LOSSY = (".jpg", ".jpeg")
TRUTH = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


def read_frames_table(root: Path) -> pd.DataFrame:
    """``frames.csv``, checked.

    Raises:
        AnatomarkError: the table or an image file is missing, or a value cannot be used.
    """
    path = root / "frames.csv"
    frames = read_table(path, COLUMNS["frames"])
    if frames is None:
        raise AnatomarkError(f"{path} does not exist; expected a folder with frames.csv and its images")
    if frames.empty:
        raise AnatomarkError(f"{path} lists no frame; add a row for each image")
    refuse(path, frames, frames["frame_id"].duplicated(), "frame_id", "it is listed before; give unique ids")
    absent = ~frames["file"].map(lambda file: (root / file).is_file()).astype(bool)
    refuse(path, frames, absent, "file", f"{root} holds no such file; add it or remove the row")
    if "mask" in frames:
        _check_masks(path, frames)
    for columns in (SIZE_COLUMNS, SPACING_COLUMNS, FRUSTUM_COLUMNS):
        _check_all_or_none(path, frames, columns)
    for column in (*SIZE_COLUMNS, *SPACING_COLUMNS, "radius_far_px", "half_angle_deg"):
        if column in frames:
            refuse(path, frames, frames[column] <= 0, column, "it must be positive")
    if "width" in frames:
        for column in SIZE_COLUMNS:
            refuse(path, frames, frames[column] % 1 > 0, column, "it must be a whole number of px")
    if "apex_x_px" in frames:
        near, far = frames["radius_near_px"], frames["radius_far_px"]
        refuse(path, frames, (near < 0) | (near >= far), "radius_near_px", "it must be 0 to below radius_far_px")
        refuse(path, frames, frames["half_angle_deg"] > 180, "half_angle_deg", "it must be at most 180")
    if "split" in frames:
        unknown = frames["split"].notna() & ~frames["split"].isin(SPLITS)
        refuse(path, frames, unknown, "split", f"use {', '.join(SPLITS)}")
    if "also" in frames:
        _check_also(path, frames)
    return frames


def read_table(path: Path, required: tuple[str, ...]) -> pd.DataFrame | None:
    """A table with ids, names and files as text and all else as numbers; None if there is none.

    Args:
        path: the CSV file.
        required: columns that must be there and filled in.

    Raises:
        AnatomarkError: it is no readable table, a required column is missing or has a gap, or a number is none.
    """
    table = parse_csv(path, text=TEXT_COLUMNS) if path.is_file() else None
    return None if table is None else _check(path, table, required, filled=required)


def split_names(cell: str | None) -> tuple[str, ...]:
    """The names of a cell of ``also``."""
    return () if cell is None else tuple(name.strip() for name in cell.split(SEPARATOR))


def read_gaze(root: Path, frames: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """``gaze.csv``, checked; empty if there is none.

    Args:
        root: the folder.
        frames: ``frames.csv``.

    Returns:
        "frame_id" or "clip_id", whichever the recordings are of, and the table.

    Raises:
        AnatomarkError: a column is missing, a frame or clip unknown, a value cannot be used, or the recordings are of
            clips and it does not say when their frames were shown.
    """
    path = root / "gaze.csv"
    table = parse_csv(path, text=TEXT_COLUMNS) if path.is_file() else None
    if table is None:
        return "frame_id", pd.DataFrame(columns=list(COLUMNS["gaze"]))
    if {"frame_id", "clip_id"} <= set(table):
        raise AnatomarkError(f"{path} has the columns frame_id and clip_id; keep the one whose recordings it holds")
    key = "clip_id" if "clip_id" in table else "frame_id"
    # The gaze filter checks times and positions, which lost samples may lack.
    table = _check(path, table, (key, *COLUMNS["gaze"][1:]), filled=(key,))
    unknown = ~table[key].isin(frames.get(key, []))
    remedy = f"frames.csv has no such {key.removesuffix('_id')}; correct the id or remove the row"
    refuse(path, table, unknown, key, remedy)
    valid = table["valid"].str.lower().map(TRUTH)
    refuse(path, table, valid.isna(), "valid", "use 1 or 0")
    if key == "clip_id":
        _check_shown(root / "frames.csv", frames[frames["clip_id"].isin(table["clip_id"])])
    return key, table.assign(valid=valid.astype(bool))


def read_rows(root: Path, name: str, ids: pd.Index) -> pd.DataFrame:
    """The table ``points``, ``boxes`` or ``ellipses``, checked; empty if there is none.

    Args:
        root: the folder.
        name: the table.
        ids: frames there are.

    Raises:
        AnatomarkError: a column is missing, a frame unknown or a value cannot be used.
    """
    path = root / f"{name}.csv"
    table = read_table(path, COLUMNS[name])
    if table is None:
        return pd.DataFrame(columns=list(COLUMNS[name]))
    unknown = ~table["frame_id"].isin(ids)
    refuse(path, table, unknown, "frame_id", "frames.csv has no such frame; correct the id or remove the row")
    identity = [column for column in ("frame_id", "name") if column in table]
    refuse(path, table, table.duplicated(identity), identity[-1], "the frame has one already; remove a row")
    if name == "boxes":
        for low, high in (("x0_px", "x1_px"), ("y0_px", "y1_px")):
            refuse(path, table, table[low] >= table[high], low, f"it must be below {high}")
    if name == "ellipses":
        minor, major = table["semi_minor_px"], table["semi_major_px"]
        wrong = (minor <= 0) | (minor > major)
        refuse(path, table, wrong, "semi_minor_px", "it must be above 0 and at most semi_major_px")
    return table


def check_inside(path: Path, table: pd.DataFrame, sizes: pd.DataFrame) -> None:
    """Refuses positions outside their frame.

    Args:
        path: file of the table.
        table: rows with columns such as x_px or y1_px.
        sizes: ``width`` and ``height`` by frame id.

    Raises:
        AnatomarkError: names the row.
    """
    for axis, extent in (("x", "width"), ("y", "height")):
        limit = table["frame_id"].map(sizes[extent])
        for column in (f"{axis}_px", f"{axis}0_px", f"{axis}1_px"):
            if column in table:
                outside = ~table[column].between(-0.5, limit - 0.5)
                remedy = f"it lies outside the frame, -0.5 to {extent} - 0.5; correct it or the frame's {extent}"
                refuse(path, table, outside, column, remedy)


def refuse(path: Path, table: pd.DataFrame, bad: "pd.Series[bool]", column: str, remedy: str) -> None:
    """Raises for the first bad row, saying what its ``column`` holds."""
    if bad.any():
        row = table.index[bad.to_numpy()][0]
        value: object = table.at[row, column]
        raise AnatomarkError(f"{path}, row {row + 2}: {column} is {value}; {remedy}")


def _check_masks(path: Path, frames: pd.DataFrame) -> None:
    """Refuses masks that are not there, and files whose compression leaves grey around the structure."""
    listed = frames[frames["mask"].notna()]
    files = [path.parent / file for file in listed["mask"]]
    absent = pd.Series([not file.is_file() for file in files], dtype=bool)
    refuse(path, listed, absent, "mask", f"{path.parent} holds no such file; add it or clear the cell")
    lossy = pd.Series([file.suffix.lower() in LOSSY for file in files], dtype=bool)
    refuse(path, listed, lossy, "mask", "JPEG leaves grey around the structure; save masks as PNG")


def _check_also(path: Path, frames: pd.DataFrame) -> None:
    """Refuses other classes without a main one, and names that are empty or repeated."""
    listed = frames[frames["also"].notna()]
    labels = listed.get("label", pd.Series(dtype=str)).reindex(listed.index)
    refuse(path, listed, labels.isna(), "also", "the frame has no label; put its main class there")
    names = [(label, *split_names(cell)) for label, cell in zip(labels, listed["also"], strict=True)]
    wrong = pd.Series(["" in group or len(set(group)) < len(group) for group in names], dtype=bool)
    refuse(path, listed, wrong, "also", f"name each class besides the label once, with {SEPARATOR!r} between")


def _check_shown(path: Path, frames: pd.DataFrame) -> None:
    """Refuses frames of recorded clips that do not say, in order, when they were shown."""
    remedy = "say when each frame was shown, ms from the clip's start"
    if "t_ms" not in frames:
        raise AnatomarkError(f"{path} lacks the column t_ms: gaze.csv goes by clip, so {remedy}")
    refuse(path, frames, frames["t_ms"].isna(), "t_ms", remedy)
    stuck = frames.groupby("clip_id", sort=False)["t_ms"].diff() <= 0
    refuse(path, frames, stuck, "t_ms", "it must increase from frame to frame of a clip; sort the rows or correct it")


def _check(path: Path, table: pd.DataFrame, required: tuple[str, ...], filled: tuple[str, ...]) -> pd.DataFrame:
    """The table with numbers as such; refuses a ``required`` column that is absent, or ``filled`` ones with gaps."""
    missing = [column for column in required if column not in table]
    if missing:
        raise AnatomarkError(f"{path} lacks the column {missing[0]}; it needs {', '.join(required)}")
    for column in table.columns:
        if column in SIZE_COLUMNS or column.endswith(("_px", "_mm", "_ms", "_deg")):
            table[column] = _numbers(path, table, column)
    for column in filled:
        refuse(path, table, table[column].isna(), column, "fill it in")
    return table


def _numbers(path: Path, table: pd.DataFrame, column: str) -> "pd.Series[float]":
    numbers = pd.to_numeric(table[column], errors="coerce").astype(float)
    refuse(path, table, numbers.isna() & table[column].notna(), column, "it must be a number")
    refuse(path, table, numbers.abs() == math.inf, column, "it must be finite")
    return numbers


def _check_all_or_none(path: Path, frames: pd.DataFrame, columns: tuple[str, ...]) -> None:
    present = [column for column in columns if column in frames]
    lacking = [column for column in columns if column not in frames]
    if present and lacking:
        raise AnatomarkError(f"{path} has {present[0]} but lacks {lacking[0]}; give all of {', '.join(columns)}")
    for column in present:
        partly = frames[column].isna() & frames[present].notna().any(axis=1)
        refuse(path, frames, partly, column, f"fill in all of {', '.join(columns)} or none")

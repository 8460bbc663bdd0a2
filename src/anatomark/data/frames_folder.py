"""The frames folder: ``frames.csv`` beside images and tables of gaze, points, boxes and ellipses.

======================  ==================================================================================
``frames.csv``          frame_id, subject_id, file; optional plane, label, split, width, height, spacing_x_mm,
                        spacing_y_mm and the sector: apex_x_px, apex_y_px, radius_near_px, radius_far_px,
                        half_angle_deg, tilt_deg
``gaze.csv``            frame_id, t_ms, x_px, y_px, valid: raw samples in px of the screen
``points.csv``          frame_id, name, x_px, y_px
``boxes.csv``           frame_id, name, x0_px, y0_px, x1_px, y1_px
``ellipses.csv``        frame_id, x_px, y_px, semi_major_px, semi_minor_px, angle_deg
``classes.txt``         class names, one a line, in the order of the class indices
======================  ==================================================================================

Only ``frames.csv`` is required. Coordinates are px of the image file unless said otherwise.
"""

import math
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.data.frames import FrameRecord
from anatomark.data.gaze import GazeFilter
from anatomark.types import AnatomarkError, Ellipse, Frustum

FRUSTUM_COLUMNS = ("apex_x_px", "apex_y_px", "radius_near_px", "radius_far_px", "half_angle_deg", "tilt_deg")
SPLITS = ("train", "val", "test")
COLUMNS = {
    "frames": ("frame_id", "subject_id", "file"),
    "gaze": ("frame_id", "t_ms", "x_px", "y_px", "valid"),
    "points": ("frame_id", "name", "x_px", "y_px"),
    "boxes": ("frame_id", "name", "x0_px", "y0_px", "x1_px", "y1_px"),
    "ellipses": ("frame_id", "x_px", "y_px", "semi_major_px", "semi_minor_px", "angle_deg"),
}


class FramesFolder:
    """A user's own frames.

    Args:
        root: the folder.
        gaze: makes fixations of ``gaze.csv``; knows the screen.
    """

    def __init__(self, *, root: str | Path, gaze: GazeFilter) -> None:
        self.root = Path(root)
        self.gaze = gaze
        self.name = self.root.name

    def __call__(self) -> list[FrameRecord]:
        return read_frames(self.root, self.gaze)


def read_frames(root: Path, gaze: GazeFilter) -> list[FrameRecord]:
    """Reads a frames folder; images are only checked for being there.

    Raises:
        AnatomarkError: a file or column is missing or a value cannot be used; names file and row.
    """
    frames = _read_table(root, "frames")
    if frames is None:
        raise AnatomarkError(f"{root / 'frames.csv'} does not exist; expected a folder with frames.csv and its images")
    if frames.empty:
        raise AnatomarkError(f"{root / 'frames.csv'} lists no frame")
    _check_frames(frames, root)
    ids = pd.Index(frames["frame_id"])
    points, boxes = _groups(root, "points", ids), _groups(root, "boxes", ids)
    ellipses, samples = _groups(root, "ellipses", ids), _groups(root, "gaze", ids)
    classes = _classes(frames, root)
    sizes = {key: size for key, size in zip(ids, _sizes(frames), strict=True) if size is not None}
    _check_inside(root, "points", points, (("x_px", "y_px"),), sizes)
    _check_inside(root, "boxes", boxes, (("x0_px", "y0_px"), ("x1_px", "y1_px")), sizes)
    return [
        FrameRecord(
            key=key,
            subject=str(row["subject_id"]),
            file=root / str(row["file"]),
            split=_optional(row, "split"),
            plane=_optional(row, "plane"),
            label=classes[row["label"]] if _optional(row, "label") is not None else None,
            spacing_mm=_spacing(row),
            size=sizes.get(key),
            viewings=(_fixations(samples[key], gaze, root, key),) if key in samples else (),
            points=_named(points.get(key), ["x_px", "y_px"]),
            boxes=_named(boxes.get(key), ["x0_px", "y0_px", "x1_px", "y1_px"]),
            ellipse=_ellipse(ellipses[key], root) if key in ellipses else None,
            frustum=_frustum(row),
        )
        for key, row in zip(ids, frames.to_dict("records"), strict=True)
    ]


def _read_table(root: Path, name: str) -> pd.DataFrame | None:
    """The table with ids as text, or None if there is none."""
    path = root / f"{name}.csv"
    if not path.is_file():
        return None
    text = {column: str for column in ("frame_id", "subject_id", "file", "name", "plane", "label", "split")}
    try:
        table = pd.read_csv(path, dtype=text, skipinitialspace=True)
    except (ValueError, pd.errors.ParserError) as error:
        raise AnatomarkError(f"{path} is not a readable table ({error}); save it as comma-separated text") from error
    missing = [column for column in COLUMNS[name] if column not in table.columns]
    if missing:
        raise AnatomarkError(f"{path} lacks the column {missing[0]}; it needs {', '.join(COLUMNS[name])}")
    for column in COLUMNS[name]:
        # Positions of invalid gaze samples may be empty; the gaze filter checks the others and the times.
        if name == "gaze" and column != "frame_id":
            continue
        if table[column].isna().any():
            raise AnatomarkError(f"{path}, {_row(table[column].isna())}: {column} is empty; fill it in")
    numbers = [column for column in table.columns if column.endswith(("_px", "_deg", "_ms", "_mm"))]
    for column in numbers:
        if not pd.api.types.is_numeric_dtype(table[column]):
            bad = pd.to_numeric(table[column], errors="coerce").isna() & table[column].notna()
            raise AnatomarkError(f"{path}, {_row(bad)}: {column} is {table[column][bad].iloc[0]!r}, not a number")
    return table


def _row(bad: "pd.Series[bool]") -> str:
    """Where the first bad entry stands, as an editor counts lines below the header."""
    return f"row {int(np.flatnonzero(bad)[0]) + 2}"


def _check_frames(frames: pd.DataFrame, root: Path) -> None:
    path = root / "frames.csv"
    doubled = frames["frame_id"].duplicated()
    if doubled.any():
        raise AnatomarkError(
            f"{path}, {_row(doubled)}: frame {frames['frame_id'][doubled].iloc[0]} is listed before; ids are unique"
        )
    absent = ~frames["file"].map(lambda file: (root / file).is_file())
    if absent.any():
        raise AnatomarkError(f"{path}, {_row(absent)}: {root / frames['file'][absent].iloc[0]} does not exist")
    for column in ("spacing_x_mm", "spacing_y_mm", "width", "height", "radius_far_px", "half_angle_deg"):
        if column in frames and (frames[column] <= 0).any():
            bad = frames[column] <= 0
            raise AnatomarkError(f"{path}, {_row(bad)}: {column} is {frames[column][bad].iloc[0]}; it must be positive")
    if "split" in frames:
        bad = frames["split"].notna() & ~frames["split"].isin(SPLITS)
        if bad.any():
            raise AnatomarkError(f"{path}, {_row(bad)}: split is {frames['split'][bad].iloc[0]!r}; use {', '.join(SPLITS)}")
    partly = [column for column in FRUSTUM_COLUMNS if column in frames]
    if partly and len(partly) < len(FRUSTUM_COLUMNS):
        lacking = next(column for column in FRUSTUM_COLUMNS if column not in frames)
        raise AnatomarkError(f"{path} has {partly[0]} but lacks {lacking}; a sector needs all six columns")


def _classes(frames: pd.DataFrame, root: Path) -> dict[Hashable, int]:
    if "label" not in frames:
        return {}
    used = sorted(frames["label"].dropna().unique())
    path = root / "classes.txt"
    names = path.read_text(encoding="utf-8").split("\n") if path.is_file() else used
    classes: dict[Hashable, int] = {name.strip(): index for index, name in enumerate(n for n in names if n.strip())}
    for name in used:
        if name not in classes:
            raise AnatomarkError(f"{path} does not list the class {name!r} that frames.csv uses; add it")
    return classes


def _groups(root: Path, name: str, ids: pd.Index) -> dict[str, pd.DataFrame]:
    """Rows of a table by frame."""
    table = _read_table(root, name)
    if table is None:
        return {}
    unknown = ~table["frame_id"].isin(ids)
    if unknown.any():
        raise AnatomarkError(
            f"{root / f'{name}.csv'}, {_row(unknown)}: frame {table['frame_id'][unknown].iloc[0]} is not in frames.csv"
        )
    return {str(key): rows for key, rows in table.groupby("frame_id", sort=False)}


def _check_inside(
    root: Path,
    name: str,
    groups: Mapping[str, pd.DataFrame],
    corners: Iterable[tuple[str, str]],
    sizes: Mapping[str, tuple[int, int]],
) -> None:
    for key, rows in groups.items():
        if key not in sizes:
            continue
        for columns in corners:
            for column, extent in zip(columns, sizes[key], strict=True):
                bad = ~rows[column].between(-0.5, extent - 0.5)
                if bad.any():
                    raise AnatomarkError(
                        f"{root / f'{name}.csv'}, row {int(rows.index[bad][0]) + 2}: {column} is {rows[column][bad].iloc[0]},"
                        f" outside the {sizes[key][0]} x {sizes[key][1]} px of frame {key}"
                    )


def _optional(row: Mapping[Hashable, Any], column: str) -> str | None:
    value = row.get(column)
    return None if value is None or pd.isna(value) else str(value)


def _sizes(frames: pd.DataFrame) -> list[tuple[int, int] | None]:
    if not {"width", "height"} <= set(frames.columns):
        return [None] * len(frames)
    known = frames[["width", "height"]].notna().all(axis=1)
    pairs = zip(frames["width"], frames["height"], known, strict=True)
    return [(int(width), int(height)) if given else None for width, height, given in pairs]


def _spacing(row: Mapping[Hashable, Any]) -> tuple[float, float] | None:
    x, y = (_optional(row, f"spacing_{axis}_mm") for axis in "xy")
    return None if x is None or y is None else (float(x), float(y))


def _fixations(rows: pd.DataFrame, gaze: GazeFilter, root: Path, key: str) -> Float[Tensor, "_ 3"]:
    valid = rows["valid"].astype(str).str.lower().isin(("1", "1.0", "true"))
    return gaze(
        rows["t_ms"].to_numpy(float),
        rows[["x_px", "y_px"]].to_numpy(float),
        valid.to_numpy(bool),
        where=f"{root / 'gaze.csv'}, frame {key}",
    )


def _named(rows: pd.DataFrame | None, columns: list[str]) -> dict[str, Tensor]:
    if rows is None:
        return {}
    values = torch.from_numpy(rows[columns].to_numpy(np.float32))
    return dict(zip(rows["name"], values, strict=True))


def _ellipse(rows: pd.DataFrame, root: Path) -> Ellipse:
    row = rows.iloc[0]
    axes = [float(row["semi_major_px"]), float(row["semi_minor_px"])]
    if len(rows) > 1 or not axes[0] >= axes[1] > 0:
        raise AnatomarkError(
            f"{root / 'ellipses.csv'}, row {int(rows.index[-1]) + 2}: frame {row['frame_id']} needs one ellipse with"
            " semi_major_px >= semi_minor_px > 0"
        )
    return {
        "centre": torch.tensor([float(row["x_px"]), float(row["y_px"])]),
        "semi_axes": torch.tensor(axes),
        "angle": math.radians(row["angle_deg"]),
    }


def _frustum(row: Mapping[Hashable, Any]) -> Frustum | None:
    if _optional(row, FRUSTUM_COLUMNS[0]) is None:
        return None
    apex_x, apex_y, near, far, half_angle, tilt = (float(row[column]) for column in FRUSTUM_COLUMNS)
    return {
        "apex": torch.tensor([apex_x, apex_y]),
        "radii": torch.tensor([near, far]),
        "half_angle": math.radians(half_angle),
        "tilt": math.radians(tilt),
    }

"""The frames folder: ``frames.csv`` beside images and tables of gaze, points, boxes and ellipses.

======================  ==================================================================================
``frames.csv``          frame_id, subject_id, file; optional clip_id, t_ms, plane, label, also, split, width, height,
                        spacing_x_mm, spacing_y_mm and the sector: apex_x_px, apex_y_px, radius_near_px,
                        radius_far_px, half_angle_deg, tilt_deg
``gaze.csv``            frame_id or clip_id, t_ms, x_px, y_px, valid: raw samples in px of the screen. By clip, one
                        recording goes on while the frames of the clip pass; ``t_ms`` of ``frames.csv`` says when each
                        was shown, on the same clock
``points.csv``          frame_id, name, x_px, y_px
``boxes.csv``           frame_id, name, x0_px, y0_px, x1_px, y1_px
``ellipses.csv``        frame_id, x_px, y_px, semi_major_px, semi_minor_px, angle_deg
======================  ==================================================================================

Only ``frames.csv`` is required. Coordinates are px of the image file unless said otherwise. ``label`` is a frame's
class, or the main one; ``also`` names the others it shows, separated by ";".
"""

import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.data.clip_gaze import deal_fixations
from anatomark.data.frames import FrameRecord, image_size
from anatomark.data.frames_tables import (
    COLUMNS,
    FRUSTUM_COLUMNS,
    SIZE_COLUMNS,
    SPACING_COLUMNS,
    check_inside,
    read_frames_table,
    read_gaze,
    read_rows,
    split_names,
)
from anatomark.data.gaze import GazeFilter
from anatomark.types import Ellipse, Frustum

Row = Mapping[Hashable, Any]


class FramesFolder:
    """A user's own frames.

    Args:
        root: the folder.
        gaze: makes fixations of ``gaze.csv``; knows the screen.
    """

    def __init__(self, *, root: str | Path, gaze: GazeFilter) -> None:
        self.root = Path(root)
        self.gaze = gaze
        self.name = self.root.resolve().name

    def __call__(self) -> list[FrameRecord]:
        return read_frames(self.root, self.gaze)


def read_frames(root: Path, gaze: GazeFilter) -> list[FrameRecord]:
    """Reads a frames folder; of the images no more than the size, where the table does not give it.

    Raises:
        AnatomarkError: a file or column is missing or a value cannot be used; names file and row.
    """
    frames = read_frames_table(root)
    ids = pd.Index(frames["frame_id"])
    sizes = _sizes(frames, root)
    viewings = _viewings(root, frames, gaze)
    groups = {name: _groups(root, name, sizes) for name in ("points", "boxes", "ellipses")}
    return [
        FrameRecord(
            key=key,
            subject=row["subject_id"],
            file=root / row["file"],
            split=_text(row, "split"),
            plane=_text(row, "plane"),
            label=_text(row, "label"),
            also=split_names(_text(row, "also")),
            clip=_text(row, "clip_id"),
            spacing_mm=_pair(row, SPACING_COLUMNS),
            size=size,
            viewings=(viewings[key],) if key in viewings else (),
            points=_named(groups["points"].get(key), COLUMNS["points"][2:]),
            boxes=_named(groups["boxes"].get(key), COLUMNS["boxes"][2:]),
            ellipse=_ellipse(groups["ellipses"][key]) if key in groups["ellipses"] else None,
            frustum=_frustum(row),
        )
        for key, row, size in zip(ids, frames.to_dict("records"), _pairs(sizes), strict=True)
    ]


def _sizes(frames: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Width and height by frame id, from the image where the table gives none."""
    given = frames.set_index("frame_id").reindex(columns=["file", *SIZE_COLUMNS])
    for key, file in given.loc[given["width"].isna(), "file"].items():
        given.loc[key, list(SIZE_COLUMNS)] = image_size(root / file)
    return given[list(SIZE_COLUMNS)].astype(int)


def _pairs(sizes: pd.DataFrame) -> list[tuple[int, int]]:
    return list(zip(sizes["width"].tolist(), sizes["height"].tolist(), strict=True))


def _groups(root: Path, name: str, sizes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of a table by frame."""
    table = read_rows(root, name, sizes.index)
    check_inside(root / f"{name}.csv", table, sizes)
    return {str(key): rows for key, rows in table.groupby("frame_id", sort=False)}


def _text(row: Row, column: str) -> str | None:
    value = row.get(column)
    return value if isinstance(value, str) else None


def _pair(row: Row, columns: tuple[str, str]) -> tuple[float, float] | None:
    first, second = (float(row.get(column, math.nan)) for column in columns)
    return None if math.isnan(first) else (first, second)


def _viewings(root: Path, frames: pd.DataFrame, gaze: GazeFilter) -> dict[str, Float[Tensor, "_ 3"]]:
    """Fixations by frame, of the frames whose gaze was recorded."""
    column, table = read_gaze(root, frames)
    kind = column.removesuffix("_id")
    viewings: dict[str, Tensor] = {}
    for name, rows in table.groupby(column, sort=False):
        t_ms, xy_px, valid = rows["t_ms"].to_numpy(float), rows[["x_px", "y_px"]].to_numpy(float), rows["valid"]
        recording = (t_ms, xy_px, valid.to_numpy(bool))
        where = f"{root / 'gaze.csv'}, {kind} {name}"
        if kind == "frame":
            viewings[str(name)] = gaze(*recording, where=where)
            continue
        shown = frames[frames["clip_id"] == name]
        dealt = deal_fixations(gaze.timed(*recording, where=where), t_ms, shown["t_ms"].to_numpy(float))
        viewings |= {key: one for key, one in zip(shown["frame_id"], dealt, strict=True) if one is not None}
    return viewings


def _named(rows: pd.DataFrame | None, columns: tuple[str, ...]) -> dict[str, Tensor]:
    if rows is None:
        return {}
    values = torch.from_numpy(rows[list(columns)].to_numpy(np.float32))
    return dict(zip(rows["name"], values, strict=True))


def _ellipse(rows: pd.DataFrame) -> Ellipse:
    x, y, major, minor, angle_deg = rows[list(COLUMNS["ellipses"][1:])].to_numpy(float)[0].tolist()
    # An axis has no sign: the remainder lies in [-90, 90], of which -90 is the same as 90.
    angle_deg = math.remainder(angle_deg, 180)
    return {
        "centre": torch.tensor([x, y]),
        "semi_axes": torch.tensor([major, minor]),
        "angle": math.pi / 2 if angle_deg == -90 else math.radians(angle_deg),
    }


def _frustum(row: Row) -> Frustum | None:
    values = [float(row.get(column, math.nan)) for column in FRUSTUM_COLUMNS]
    if math.isnan(values[0]):
        return None
    return {
        "apex": torch.tensor(values[:2]),
        "radii": torch.tensor(values[2:4]),
        "half_angle": math.radians(values[4]),
        "tilt": math.radians(values[5]),
    }

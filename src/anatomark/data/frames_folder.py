"""The frames folder: ``frames.csv`` beside images and tables of gaze, points, boxes and ellipses.

======================  ==================================================================================
``frames.csv``          frame_id, subject_id, file; optional clip_id, t_ms, plane, label, also, split, mask, width,
                        height, spacing_x_mm, spacing_y_mm and the sector: apex_x_px, apex_y_px, radius_near_px,
                        radius_far_px, half_angle_deg, tilt_deg
``gaze.csv``            frame_id or clip_id, t_ms, x_px, y_px, valid: raw samples in px of the screen. By clip, one
                        recording goes on while the frames of the clip pass; ``t_ms`` of ``frames.csv`` says when each
                        was shown, on the same clock
``points.csv``          frame_id, name, x_px, y_px
``boxes.csv``           frame_id, name, x0_px, y0_px, x1_px, y1_px
``ellipses.csv``        frame_id, x_px, y_px, semi_major_px, semi_minor_px, angle_deg
======================  ==================================================================================

Only ``frames.csv`` is required. Coordinates are px of the image file unless said otherwise. ``label`` is a frame's
class, or the main one; ``also`` names the others it shows, separated by ";". ``mask`` is an image of the frame's size,
black but for the structure to segment: all black where the frame does not show it, no file where nobody looked.
"""

import math
from collections.abc import Hashable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.data.clip_gaze import deal_fixations
from anatomark.data.frame_masks import MaskFile
from anatomark.data.frame_rows import FrameRows
from anatomark.data.frames import FrameRecord
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
from anatomark.data.pixels import image_size
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
    points, boxes = (FrameRows(_rows(root, name, sizes), COLUMNS[name][2:]) for name in ("points", "boxes"))
    ellipses = {str(row[0]): row[1:] for row in _rows(root, "ellipses", sizes)[list(COLUMNS["ellipses"])].to_numpy()}
    # Frames of a clip share sector, size and pixel size: held once, as there may be very many frames.
    frustum, spacing, extent = cache(_frustum), cache(_pair), cache(_pair)
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
            spacing_mm=spacing(*pair) if (pair := _numbers(row, SPACING_COLUMNS)) else None,
            size=extent(*size),
            viewings=(viewings[key],) if key in viewings else (),
            points=points.of(key),
            boxes=boxes.of(key),
            ellipse=_ellipse(*ellipses[key]) if key in ellipses else None,
            frustum=frustum(*sector) if (sector := _numbers(row, FRUSTUM_COLUMNS)) else None,
            mask=None if (mask := _text(row, "mask")) is None else MaskFile(file=root / mask),
        )
        for key, row, size in zip(ids, _each(frames), sizes.itertuples(index=False, name=None), strict=True)
    ]


def _each(frames: pd.DataFrame) -> Iterator[Row]:
    """Row by row, so that the rows are never all in memory."""
    for values in frames.itertuples(index=False, name=None):
        yield dict(zip(frames.columns, values, strict=True))


def _sizes(frames: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Width and height by frame id, from the image where the table gives none."""
    given = frames.set_index("frame_id").reindex(columns=["file", *SIZE_COLUMNS])
    for key, file in given.loc[given["width"].isna(), "file"].items():
        given.loc[key, list(SIZE_COLUMNS)] = image_size(root / file)
    return given[list(SIZE_COLUMNS)].astype(int)


def _rows(root: Path, name: str, sizes: pd.DataFrame) -> pd.DataFrame:
    """A table of positions, all of them inside their frame."""
    table = read_rows(root, name, sizes.index)
    check_inside(root / f"{name}.csv", table, sizes)
    return table


def _text(row: Row, column: str) -> str | None:
    value = row.get(column)
    return value if isinstance(value, str) else None


def _numbers(row: Row, columns: tuple[str, ...]) -> tuple[float, ...]:
    """The numbers of columns that are filled together; empty where they are not."""
    numbers = tuple(float(row.get(column, math.nan)) for column in columns)
    return () if math.isnan(numbers[0]) else numbers


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


def _pair(first: Any, second: Any) -> tuple[Any, Any]:
    return first, second


def _ellipse(x: float, y: float, major: float, minor: float, angle_deg: float) -> Ellipse:
    # An axis has no sign: the remainder lies in [-90, 90], of which -90 is the same as 90.
    angle_deg = math.remainder(angle_deg, 180)
    return {
        "centre": torch.tensor([x, y]),
        "semi_axes": torch.tensor([major, minor]),
        "angle": math.pi / 2 if angle_deg == -90 else math.radians(angle_deg),
    }


def _frustum(x: float, y: float, near: float, far: float, half_angle_deg: float, tilt_deg: float) -> Frustum:
    return {
        "apex": torch.tensor([x, y]),
        "radii": torch.tensor([near, far]),
        "half_angle": math.radians(half_angle_deg),
        "tilt": math.radians(tilt_deg),
    }

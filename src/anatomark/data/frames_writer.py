"""Writes a frames folder that :mod:`anatomark.data.frames_folder` reads back."""

import math
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from anatomark.data.frames import FrameRecord, Mask
from anatomark.data.frames_tables import COLUMNS, FRUSTUM_COLUMNS, SEPARATOR
from anatomark.data.pixels import GreyImage
from anatomark.types import AnatomarkError

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class RawGaze:
    """Gaze samples as an eye tracker gives them.

    Attributes:
        t_ms: times, ms.
        xy_px: positions on the screen, px; NaN where not valid.
        valid: whether the tracker saw the eye.
    """

    t_ms: Float[np.ndarray, "n"]
    xy_px: Float[np.ndarray, "n 2"]
    valid: Bool[np.ndarray, "n"]


@dataclass(frozen=True, kw_only=True)
class RawFrame:
    """A frame to write. Of the record, everything but ``file``, ``size``, ``viewings`` and ``mask`` is used."""

    record: FrameRecord
    image: GreyImage
    gaze: RawGaze | None = None
    mask: Mask | None = None


def write_frames(root: Path, frames: Iterable[RawFrame]) -> None:
    """Writes frames as they come; the folder appears, whole, when the last one is written.

    Args:
        root: folder to make.
        frames: frames, with their raw gaze where it was recorded.

    Raises:
        AnatomarkError: the folder exists already, there are no frames or two have the same key.
    """
    if root.exists():
        raise AnatomarkError(f"{root} exists already; remove it or write to another folder")
    unfinished = root.with_name(root.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "images").mkdir(parents=True)
    tables: dict[str, Rows] = {name: [] for name in COLUMNS}
    try:
        for frame in frames:
            record = frame.record
            file = f"images/{record.key}.png"
            if (unfinished / file).exists():
                raise AnatomarkError(f"two frames have the key {record.key}; give unique keys")
            iio.imwrite(unfinished / file, frame.image, compress_level=1)
            tables["frames"].append(_frame_row(record, file, frame.image.shape))
            if frame.mask is not None:
                tables["frames"][-1]["mask"] = _write_mask(unfinished, record.key, frame.mask)
            if frame.gaze is not None:
                tables["gaze"].extend(_gaze_rows(record.key, frame.gaze))
            tables["points"].extend(_named_rows(record.key, record.points, COLUMNS["points"][2:]))
            tables["boxes"].extend(_named_rows(record.key, record.boxes, COLUMNS["boxes"][2:]))
            tables["ellipses"].extend(_ellipse_rows(record))
        if not tables["frames"]:
            raise AnatomarkError(f"there are no frames to write to {root}; make at least one")
        for name, rows in tables.items():
            if rows:
                pd.DataFrame(rows).to_csv(unfinished / f"{name}.csv", index=False)
        unfinished.rename(root)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_mask(root: Path, key: str, mask: Mask) -> str:
    file = f"masks/{key}.png"
    (root / file).parent.mkdir(exist_ok=True)
    iio.imwrite(root / file, mask.astype(np.uint8) * 255, compress_level=1)
    return file


def _frame_row(record: FrameRecord, file: str, shape: tuple[int, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {"frame_id": record.key, "subject_id": record.subject, "file": file}
    optional = {"clip_id": record.clip, "plane": record.plane, "label": record.label, "split": record.split}
    row |= {name: value for name, value in optional.items() if value is not None}
    if record.also:
        row["also"] = SEPARATOR.join(record.also)
    row |= {"width": shape[1], "height": shape[0]}
    if record.spacing_mm is not None:
        row |= {"spacing_x_mm": record.spacing_mm[0], "spacing_y_mm": record.spacing_mm[1]}
    if record.frustum is not None:
        angles = [math.degrees(record.frustum["half_angle"]), math.degrees(record.frustum["tilt"])]
        values = [*record.frustum["apex"].tolist(), *record.frustum["radii"].tolist(), *angles]
        row |= dict(zip(FRUSTUM_COLUMNS, values, strict=True))
    return row


def _gaze_rows(key: str, gaze: RawGaze) -> Rows:
    columns = zip(gaze.t_ms, gaze.xy_px[:, 0], gaze.xy_px[:, 1], gaze.valid, strict=True)
    return [
        {"frame_id": key, "t_ms": round(t, 3), "x_px": round(x, 2), "y_px": round(y, 2), "valid": int(valid)}
        for t, x, y, valid in columns
    ]


def _named_rows(key: str, values: Any, columns: tuple[str, ...]) -> Rows:
    return [
        {"frame_id": key, "name": name, **dict(zip(columns, value.tolist(), strict=True))}
        for name, value in values.items()
    ]


def _ellipse_rows(record: FrameRecord) -> Rows:
    if record.ellipse is None:
        return []
    values = [
        *record.ellipse["centre"].tolist(),
        *record.ellipse["semi_axes"].tolist(),
        math.degrees(record.ellipse["angle"]),
    ]
    return [{"frame_id": record.key, **dict(zip(COLUMNS["ellipses"][1:], values, strict=True))}]

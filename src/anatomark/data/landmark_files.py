"""Landmarks of a volume from 3D Slicer's .mrk.json and .fcsv files and from CSV; always LPS mm once read."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.volumes import VolumeGeometry
from anatomark.markups import MARKUPS, markups_text
from anatomark.types import AnatomarkError, require
from anatomark.volume_types import Landmarks

FCSV, CSV = ".fcsv", ".csv"
CSV_COLUMNS = ("name", "x_mm", "y_mm", "z_mm")
"""Of a CSV file, whose points are LPS."""

_TO_LPS = {"LPS": (1.0, 1.0, 1.0), "RAS": (-1.0, -1.0, 1.0)}
# Slicer wrote numbers before version 4.11; 2 is IJK, which needs the volume.
_FCSV_SYSTEMS = {"LPS": "LPS", "1": "LPS", "RAS": "RAS", "0": "RAS"}
_FCSV_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label"
_FCSV_LABEL, _FCSV_STATUS, _FCSV_PLACED = 11, 14, "2"


def read_landmarks(path: Path) -> Landmarks:
    """Reads named points. Points that Slicer lists without a place are left out, as not annotated.

    Args:
        path: a point list of 3D Slicer, ``.mrk.json`` or ``.fcsv`` (its version 4 and later), in LPS or RAS as the file
            says, or a CSV with the columns ``name, x_mm, y_mm, z_mm`` in LPS.

    Raises:
        AnatomarkError: the file does not exist or cannot be read; does not say its coordinate system or says one of no
            patient; is not in mm; holds no point, a point without a name, a name twice, or a coordinate that is no
            finite number.
    """
    require(path, f"landmarks: {MARKUPS}, {FCSV} or {CSV}")
    for suffix, rows in ((MARKUPS, _markups_rows), (FCSV, _fcsv_rows), (CSV, _csv_rows)):
        if path.name.lower().endswith(suffix):
            return _named(path, rows(path))
    raise AnatomarkError(f"{path}: landmarks are not read from such files; give {MARKUPS}, {FCSV} or {CSV}")


def write_landmarks(path: Path, landmarks: Mapping[str, Float[Tensor, "3"]]) -> None:
    """Writes a point list that 3D Slicer opens; the file appears whole or not at all.

    Args:
        path: file to write, ``.mrk.json``.
        landmarks: name -> (x, y, z), LPS mm.

    Raises:
        AnatomarkError: another suffix, no landmark, or a coordinate that is not finite.
    """
    if not path.name.endswith(MARKUPS):
        raise AnatomarkError(f"{path}: landmarks are written as {MARKUPS}; give such a name")
    text = markups_text(landmarks, where=str(path))
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_inside(path: Path, landmarks: Mapping[str, Float[Tensor, "3"]], geometry: VolumeGeometry) -> None:
    """Checks that landmarks lie in the field of view of their volume.

    Args:
        path: the file they come from, for the message.
        landmarks: name -> LPS mm.
        geometry: the volume's.

    Raises:
        AnatomarkError: one lies outside; says so where all would lie inside in the other coordinate system.
    """
    points = torch.stack(list(landmarks.values()))
    outside = ~geometry.contains(points)
    if not bool(outside.any()):
        return
    names = [name for name, out in zip(landmarks, outside.tolist(), strict=True) if out]
    mirrored = points * torch.tensor(_TO_LPS["RAS"]).to(points)
    remedy = (
        "with x and y negated all lie inside: correct whether the file says LPS or RAS"
        if bool(geometry.contains(mirrored).all())
        else "correct them, or give the volume they were placed on"
    )
    raise AnatomarkError(
        f"{path}: {len(names)} of {len(points)} landmarks lie outside their volume ({_few(names)}); {remedy}"
    )


def require_same_names(reference: Path, expected: Mapping[str, Any], target: Path, found: Mapping[str, Any]) -> None:
    """Checks that a target has the landmarks of the reference, in any order.

    Args:
        reference: the reference's landmark file, for the message.
        expected: its landmarks.
        target: the target's landmark file.
        found: its landmarks.

    Raises:
        AnatomarkError: a name is in one of them only.
    """
    parts = [
        f"{what} {_few(names)}"
        for what, names in (
            ("lacks", [name for name in expected if name not in found]),
            ("adds", [name for name in found if name not in expected]),
        )
        if names
    ]
    if parts:
        raise AnatomarkError(f"{target}: {' and '.join(parts)} against {reference}; use the same names in both")


def _named(path: Path, rows: Iterator[tuple[str, str, list[Any]]]) -> Landmarks:
    """Checks rows of (where in the file, name, LPS position)."""
    landmarks: Landmarks = {}
    for where, name, position in rows:
        if not name:
            raise AnatomarkError(f"{path}, {where}: the landmark has no name; give it one")
        if name in landmarks:
            raise AnatomarkError(f"{path}, {where}: a landmark {name} is listed before; give unique names")
        try:
            values = [float(value) for value in position]
        except (TypeError, ValueError):
            values = []
        if len(values) != 3 or not all(map(math.isfinite, values)):
            raise AnatomarkError(f"{path}, {where}: landmark {name} lies at {position}; give three finite numbers, mm")
        landmarks[name] = torch.tensor(values, dtype=torch.float64)
    if not landmarks:
        raise AnatomarkError(f"{path} holds no landmark; place at least one")
    return landmarks


def _markups_rows(path: Path) -> Iterator[tuple[str, str, list[Any]]]:
    try:
        markups = json.loads(path.read_text(encoding="utf-8"))["markups"]
        (markup,) = markups
        kind, points = markup["type"], markup["controlPoints"]
        system, unit = str(markup.get("coordinateSystem", "not given")), markup.get("coordinateUnits", "mm")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnatomarkError(f"{path}: is not a markups file of one point list; save it again in 3D Slicer") from error
    if kind != "Fiducial" or not isinstance(points, list):
        raise AnatomarkError(f"{path}: holds a markup of type {kind}; save a point list (Fiducial)")
    if system not in _TO_LPS:
        raise AnatomarkError(f"{path}: its coordinateSystem is {system}; give LPS or RAS")
    # A unit may be given as a DICOM code: value, scheme, meaning.
    unit = unit[0] if isinstance(unit, list) and unit else unit
    if unit != "mm":
        raise AnatomarkError(f"{path}: its coordinateUnits are {unit}; save it in mm")
    for number, point in enumerate(points, start=1):
        if not isinstance(point, dict):
            raise AnatomarkError(f"{path}, point {number}: is not a control point; save the file again in 3D Slicer")
        if point.get("positionStatus", "defined") == "defined":
            yield f"point {number}", str(point.get("label", "")).strip(), _lps(point.get("position"), system)


def _fcsv_rows(path: Path) -> Iterator[tuple[str, str, list[Any]]]:
    lines = _text(path).splitlines()
    pairs = (line.lstrip("# ").partition("=") for line in lines if line.startswith("#"))
    header = {key.strip(): value.strip() for key, _, value in pairs}
    version = header.get("Markups fiducial file version", "").partition(".")[0]
    if not version.isdecimal() or int(version) < 4:
        raise AnatomarkError(f"{path}: is not a markups file of 3D Slicer 4 or later; save it again there")
    if not header.get("columns", _FCSV_COLUMNS).replace(" ", "").startswith(_FCSV_COLUMNS):
        raise AnatomarkError(f"{path}: its columns are {header['columns']}; they begin with {_FCSV_COLUMNS}")
    system = _FCSV_SYSTEMS.get(header.get("CoordinateSystem", ""))
    if system is None:
        said = header.get("CoordinateSystem", "not given")
        raise AnatomarkError(f"{path}: its CoordinateSystem is {said}; give LPS or RAS")
    for number, line in enumerate(lines, start=1):
        if line.startswith("#") or not line.strip():
            continue
        cells = next(csv.reader([line]))
        if len(cells) <= _FCSV_LABEL:
            raise AnatomarkError(f"{path}, line {number}: has {len(cells)} columns; expected {_FCSV_COLUMNS}")
        if len(cells) <= _FCSV_STATUS or cells[_FCSV_STATUS] in ("", _FCSV_PLACED):
            yield f"line {number}", cells[_FCSV_LABEL].strip(), _lps(cells[1:4], system)


def _csv_rows(path: Path) -> Iterator[tuple[str, str, list[Any]]]:
    reader = csv.DictReader(_text(path).splitlines())
    missing = [column for column in CSV_COLUMNS if column not in (reader.fieldnames or [])]
    if missing:
        raise AnatomarkError(f"{path} has no column {', '.join(missing)}; give {', '.join(CSV_COLUMNS)}, LPS mm")
    for number, row in enumerate(reader, start=2):
        yield f"row {number}", (row["name"] or "").strip(), _lps([row[column] for column in CSV_COLUMNS[1:]], "LPS")


def _lps(position: Any, system: str) -> list[Any]:
    """A position in LPS; as it is where it is not of three numbers, which the caller refuses."""
    try:
        return [sign * float(value) for sign, value in zip(_TO_LPS[system], position, strict=True)]
    except (TypeError, ValueError):
        return position if isinstance(position, list) else [position]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnatomarkError(f"{path}: is not a text file in UTF-8; save it as one") from error


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

"""Landmark files of 3D Slicer and CSV: both coordinate systems, round trips, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from refusal import refused
from torch import Tensor

from anatomark.data.landmark_files import read_landmarks, require_inside, require_same_names, write_landmarks
from anatomark.data.volumes import read_volume
from anatomark.geometry.volumes import VolumeGeometry

LPS = {"apex": (-12.5, 30.25, 7.125), "round window": (4.0, -5.5, 6.0)}
FCSV_COLUMNS = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
GRID = VolumeGeometry(
    spacing_mm=(0.5, 0.5, 1.0),
    origin_mm=(-20.0, -10.0, 0.0),
    direction=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    size=(60, 90, 12),
)


def markups(path: Path, sign: int = 1, system: str = "LPS", **changed: Any) -> Path:
    points = [
        {"id": str(n), "label": name, "position": [sign * x, sign * y, z], "positionStatus": "defined"}
        for n, (name, (x, y, z)) in enumerate(LPS.items())
    ]
    markup = {"type": "Fiducial", "coordinateSystem": system, "coordinateUnits": "mm", "controlPoints": points}
    path.write_text(json.dumps({"@schema": "markups-schema-v1.0.3.json#", "markups": [markup | changed]}))
    return path


def fcsv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def tensors(points: dict[str, tuple[float, float, float]]) -> dict[str, Tensor]:
    return {name: torch.tensor(point, dtype=torch.float64) for name, point in points.items()}


def plain(landmarks: dict[str, Tensor]) -> dict[str, tuple[float, ...]]:
    assert all(point.dtype == torch.float64 for point in landmarks.values())
    return {name: tuple(point.tolist()) for name, point in landmarks.items()}


@pytest.mark.parametrize(("system", "sign"), [("LPS", 1), ("RAS", -1)])
def test_markups_say_their_coordinate_system(tmp_path: Path, system: str, sign: int) -> None:
    assert plain(read_landmarks(markups(tmp_path / "a.mrk.json", sign, system))) == LPS


def test_units_may_be_a_dicom_code(tmp_path: Path) -> None:
    path = markups(tmp_path / "a.mrk.json", coordinateUnits=["mm", "UCUM", "millimeter"])
    assert plain(read_landmarks(path)) == LPS


@pytest.mark.parametrize(
    ("version", "system", "sign"),
    [("4.6", "0", -1), ("4.10", "1", 1), ("4.11", "RAS", -1), ("4.11", "LPS", 1), ("5.2", "LPS", 1)],
)
def test_fcsv_of_every_version(tmp_path: Path, version: str, system: str, sign: int) -> None:
    rows = [
        f"vtkMRMLMarkupsFiducialNode_{n},{sign * x},{sign * y},{z},0,0,0,1,1,1,0,{name},,"
        for n, (name, (x, y, z)) in enumerate(LPS.items())
    ]
    header = [f"# Markups fiducial file version = {version}", f"# CoordinateSystem = {system}", FCSV_COLUMNS]
    assert plain(read_landmarks(fcsv(tmp_path / "a.fcsv", *header, *rows))) == LPS


def test_fcsv_of_slicer_5_says_which_points_are_placed_and_quotes_names(tmp_path: Path) -> None:
    path = fcsv(
        tmp_path / "a.fcsv",
        "# Markups fiducial file version = 5.2",
        "# CoordinateSystem = LPS",
        FCSV_COLUMNS,
        '1,1,2,3,0,0,0,1,1,1,0,"window, ""round""",note,,2,0',
        "2,0,0,0,0,0,0,1,1,1,0,apex,,,0,0",
    )
    assert plain(read_landmarks(path)) == {'window, "round"': (1.0, 2.0, 3.0)}


def test_csv_in_mm(tmp_path: Path) -> None:
    path = fcsv(
        tmp_path / "a.csv", "name,x_mm,y_mm,z_mm,rater", *(f"{n},{x},{y},{z},A" for n, (x, y, z) in LPS.items())
    )
    assert plain(read_landmarks(path)) == LPS
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as spreadsheets save it
    assert plain(read_landmarks(path)) == LPS


def test_a_point_without_a_place_is_not_annotated(tmp_path: Path) -> None:
    path = markups(
        tmp_path / "a.mrk.json",
        controlPoints=[
            {"label": "apex", "position": [1.0, 2.0, 3.0], "positionStatus": "defined"},
            {"label": "older", "position": [1.0, 2.0, 4.0]},
            {"label": "window", "position": [0.0, 0.0, 0.0], "positionStatus": "undefined"},
            {"label": "top", "positionStatus": "missing"},
        ],
    )
    assert plain(read_landmarks(path)) == {"apex": (1.0, 2.0, 3.0), "older": (1.0, 2.0, 4.0)}


def test_what_is_written_is_read_back_exactly(tmp_path: Path) -> None:
    points = tensors({"Öffnung, rund": (0.1, -1 / 3, 1e-9), "2": (1e3, 2.0, 3.0)})
    path = tmp_path / "a.mrk.json"
    write_landmarks(path, points)
    read = read_landmarks(path)
    assert list(read) == list(points)
    assert all(torch.equal(read[name], points[name]) for name in points)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mrk.json"]


def test_what_is_written_has_the_fields_of_slicers_schema(tmp_path: Path) -> None:
    path = tmp_path / "a.mrk.json"
    write_landmarks(path, tensors(LPS))
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["@schema"].endswith("markups-schema-v1.0.3.json#")
    (markup,) = content["markups"]
    assert (markup["type"], markup["coordinateSystem"], markup["coordinateUnits"]) == ("Fiducial", "LPS", "mm")
    assert markup["lastUsedControlPointNumber"] == 2
    first = markup["controlPoints"][0]
    assert first["label"] == "apex"
    assert first["position"] == list(LPS["apex"])
    assert len(first["orientation"]) == 9
    assert first["positionStatus"] == "defined"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"coordinateSystem": "IJK"}, "coordinateSystem is IJK"),
        ({"coordinateSystem": None}, "coordinateSystem is None"),
        ({"coordinateUnits": "um"}, "coordinateUnits are um"),
        ({"type": "Line"}, "type Line"),
        ({"controlPoints": []}, "no landmark"),
        ({"controlPoints": ["apex"]}, "point 1"),
        ({"controlPoints": [{"label": " ", "position": [1, 2, 3]}]}, "point 1: the landmark has no name"),
        ({"controlPoints": [{"label": "a", "position": [1, 2, 3]}] * 2}, "point 2: a landmark a is listed before"),
        ({"controlPoints": [{"label": "a", "position": [1, 2]}]}, "three finite numbers"),
        ({"controlPoints": [{"label": "a", "position": [1, 2, None]}]}, "three finite numbers"),
        ({"controlPoints": [{"label": "a"}]}, "three finite numbers"),
        ({"controlPoints": [{"label": "a", "position": [1, 2, float("nan")]}]}, "three finite numbers"),
    ],
)
def test_markups_that_cannot_be_used(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    path = markups(tmp_path / "a.mrk.json", **changed)
    message = refused(lambda: read_landmarks(path))
    assert says in message
    assert str(path) in message


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"markups": 3}', '{"markups": []}', '{"markups": [{}, {}]}', '{"markups": [[]]}']
)
def test_a_file_that_is_no_point_list(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.mrk.json"
    path.write_text(text)
    assert "one point list" in refused(lambda: read_landmarks(path))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["1,2,3,4"], "Slicer 4"),
        (["# Fiducial List file a.fcsv", "# version = 2"], "Slicer 4"),
        (["# Markups fiducial file version = 3.6", "# CoordinateSystem = 0"], "Slicer 4"),
        (["# Markups fiducial file version = 4.11", FCSV_COLUMNS], "CoordinateSystem is not given"),
        (["# Markups fiducial file version = 4.11", "# CoordinateSystem = 2"], "CoordinateSystem is 2"),
        (
            ["# Markups fiducial file version = 4.11", "# CoordinateSystem = LPS", "# columns = id,label,x,y,z"],
            "its columns are id,label,x,y,z",
        ),
        (["# Markups fiducial file version = 4.11", "# CoordinateSystem = LPS", "1,2,3,4"], "line 3: has 4 columns"),
        (
            ["# Markups fiducial file version = 4.11", "# CoordinateSystem = RAS", "1,a,3,4,0,0,0,1,1,1,0,F,,"],
            "line 3: landmark F lies at ['a', '3', '4']",
        ),
        (["# Markups fiducial file version = 4.11", "# CoordinateSystem = RAS"], "no landmark"),
    ],
)
def test_fcsv_that_cannot_be_used(tmp_path: Path, lines: list[str], says: str) -> None:
    path = fcsv(tmp_path / "a.fcsv", *lines)
    assert says in refused(lambda: read_landmarks(path))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["name,x,y,z", "a,1,2,3"], "no column x_mm, y_mm, z_mm"),
        (["name,x_mm,y_mm,z_mm", "a,1,2"], "row 2: landmark a"),
        (["name,x_mm,y_mm,z_mm", "a,1,2,inf"], "row 2: landmark a"),
        (["name,x_mm,y_mm,z_mm", "a,1,2,3", "a,1,2,3"], "row 3: a landmark a is listed before"),
        (["name,x_mm,y_mm,z_mm"], "no landmark"),
    ],
)
def test_csv_that_cannot_be_used(tmp_path: Path, lines: list[str], says: str) -> None:
    path = fcsv(tmp_path / "a.csv", *lines)
    assert says in refused(lambda: read_landmarks(path))


def test_other_files_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(lambda: read_landmarks(tmp_path / "a.fcsv"))
    assert ".mrk.json, .fcsv or .csv" in refused(lambda: read_landmarks(fcsv(tmp_path / "a.txt", "x")))
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in refused(lambda: read_landmarks(tmp_path / "a.csv"))


def test_only_whole_point_lists_are_written(tmp_path: Path) -> None:
    assert ".mrk.json" in refused(lambda: write_landmarks(tmp_path / "a.fcsv", tensors(LPS)))
    assert "no landmark" in refused(lambda: write_landmarks(tmp_path / "a.mrk.json", {}))
    lost = {"apex": torch.tensor([0.0, float("nan"), 0.0])}
    assert "landmark apex" in refused(lambda: write_landmarks(tmp_path / "a.mrk.json", lost))
    assert not list(tmp_path.iterdir())


def test_landmarks_outside_their_volume_are_named() -> None:
    path = Path("a.mrk.json")
    require_inside(path, tensors(LPS), GRID)
    beyond = tensors(LPS | {"window": (4.0, -5.5, 40.0)})
    message = refused(lambda: require_inside(path, beyond, GRID))
    assert "1 of 3 landmarks lie outside their volume (window); correct them" in message


def test_landmarks_in_the_other_coordinate_system_are_recognised() -> None:
    mirrored = {name: point * torch.tensor([-1.0, -1.0, 1.0]) for name, point in tensors(LPS).items()}
    assert "LPS or RAS" in refused(lambda: require_inside(Path("a.fcsv"), mirrored, GRID))


def test_names_that_differ_are_listed() -> None:
    reference, target = Path("reference.mrk.json"), Path("target.mrk.json")
    require_same_names(reference, LPS, target, dict(reversed(LPS.items())))
    message = refused(lambda: require_same_names(reference, LPS, target, {"apex": 0, "Apex": 0}))
    assert "target.mrk.json: lacks round window and adds Apex against reference.mrk.json" in message
    many = {str(n): 0 for n in range(9)}
    assert "lacks 0, 1, 2, 3, 4 and 4 more against" in refused(lambda: require_same_names(reference, many, target, {}))


@pytest.mark.real_data
def test_what_is_written_has_the_fields_that_slicer_writes(data_dir: Path, tmp_path: Path) -> None:
    slicers = data_dir / "mouse_ct" / "target_LMs" / "A_J_.mrk.json"
    ours = tmp_path / "a.mrk.json"
    write_landmarks(ours, read_landmarks(slicers))
    (theirs,) = json.loads(slicers.read_text())["markups"]
    (written,) = json.loads(ours.read_text())["markups"]
    assert set(written) == set(theirs) - {"display", "measurements"}
    for point, expected in zip(written["controlPoints"], theirs["controlPoints"], strict=True):
        assert {name: type(value) for name, value in point.items()} == {n: type(v) for n, v in expected.items()}
        for name in ("label", "position", "orientation", "positionStatus"):
            assert point[name] == expected[name]


@pytest.mark.real_data
def test_landmarks_of_real_skulls(data_dir: Path) -> None:
    files = sorted((data_dir / "mouse_ct" / "target_LMs").glob("*.mrk.json"))
    assert len(files) == 8
    reference = read_landmarks(files[0])
    assert len(reference) == 45
    assert plain(reference)["1"] == (18.4718, 11.5644, 17.3914)
    for file in files:
        landmarks = read_landmarks(file)
        require_same_names(files[0], reference, file, landmarks)
        volume = read_volume(data_dir / "mouse_ct" / "targets" / f"{file.name.removesuffix('.mrk.json')}.nii.gz")
        require_inside(file, landmarks, volume.geometry)
        # They are points on bone: the brightest voxel near one is far brighter than the volume at large.
        index = volume.geometry.to_index(torch.stack(list(landmarks.values()))).round().int()
        near = [volume.voxels[k - 2 : k + 3, j - 2 : j + 3, i - 2 : i + 3].max() for i, j, k in index.tolist()]
        assert torch.stack(near).median() > volume.voxels.median() + 2 * volume.voxels.std()

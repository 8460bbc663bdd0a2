"""A folder of DICOM slices as a volume, and the series that make none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusal import refused
from volume_fixture import OBLIQUE, ORIGIN, SPACING, grid

from anatomark.data.volumes import read_volume
from dicom_series_fixture import write_series

HU = np.random.default_rng(0).integers(-1000, 2000, (7, 9, 11))


def series(folder: Path, **changed: Any) -> Path:
    options: dict[str, Any] = {"spacing_mm": SPACING, "origin_mm": ORIGIN, "direction": OBLIQUE} | changed
    return write_series(folder, HU, **options)


def tilted(degrees: float) -> Any:
    """Slices that move along their own columns as well, as under a tilted gantry."""
    step = SPACING[2] * (OBLIQUE[:, 2] + np.tan(np.radians(degrees)) * OBLIQUE[:, 1])
    return lambda k: [f"{value:.8f}" for value in ORIGIN + k * step]


def test_slices_stack_in_their_place_whatever_their_names(tmp_path: Path) -> None:
    read = read_volume(series(tmp_path))
    assert np.array_equal(read.voxels.numpy(), HU)
    assert read.geometry.matches(grid((11, 9, 7)), tolerance_voxels=1e-4)


def test_slices_against_the_normal_are_stacked_along_it(tmp_path: Path) -> None:
    downwards = ORIGIN + 6 * SPACING[2] * OBLIQUE[:, 2]
    positions = [downwards - k * SPACING[2] * OBLIQUE[:, 2] for k in range(7)]
    read = read_volume(series(tmp_path, ImagePositionPatient=lambda k: [f"{value:.8f}" for value in positions[k]]))
    assert np.array_equal(read.voxels.numpy(), HU[::-1])
    assert read.geometry.matches(grid((11, 9, 7)), tolerance_voxels=1e-4)


def test_every_slice_has_its_own_rescaling(tmp_path: Path) -> None:
    read = read_volume(series(tmp_path, RescaleSlope=lambda k: 1 + 0.5 * k, RescaleIntercept=lambda k: -10 * k))
    expected = [(plane + 1024) * (1 + 0.5 * k) - 10 * k for k, plane in enumerate(HU)]
    assert np.allclose(read.voxels.numpy(), np.stack(expected), rtol=0, atol=1e-3)


def test_rounded_positions_and_other_files_do_not_disturb(tmp_path: Path) -> None:
    positions = [np.round(ORIGIN + k * SPACING[2] * OBLIQUE[:, 2], 2) for k in range(7)]
    series(tmp_path, ImagePositionPatient=lambda k: positions[k].tolist())
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "older").mkdir()
    assert read_volume(tmp_path).geometry.matches(grid((11, 9, 7)))


@pytest.mark.parametrize("gone", [1, 3, 5])
def test_a_missing_slice_is_refused(tmp_path: Path, gone: int) -> None:
    message = refused(lambda: read_volume(series(tmp_path, without=(gone,))))
    assert "2.2 mm between" in message
    assert "1.1 mm elsewhere: a slice is missing" in message
    assert str(tmp_path) in message


def test_a_slice_missing_among_three_is_refused(tmp_path: Path) -> None:
    assert "missing" in refused(lambda: read_volume(series(tmp_path, without=(0, 2, 5, 6))))


def test_slices_shifted_by_a_tilted_gantry_are_refused(tmp_path: Path) -> None:
    assert "gantry" in refused(lambda: read_volume(series(tmp_path, ImagePositionPatient=tilted(5.0))))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"without": (0, 1, 2, 3, 4, 5)}, "a single slice"),
        ({"ImagePositionPatient": None}, "does not say its position"),
        ({"ImageOrientationPatient": None}, "does not say its orientation"),
        ({"PixelSpacing": None}, "does not say its pixel spacing"),
        ({"ImagePositionPatient": lambda k: [0, 0, 0]}, "lie at the same place"),
        ({"PixelSpacing": lambda k: [0.5, 0.5] if k == 3 else [0.4, 0.4]}, "pixel spacing"),
        ({"ImageOrientationPatient": lambda k: [1, 0, 0, 0, 1, 0] if k == 3 else [0, 1, 0, 0, 0, 1]}, "in orientation"),
        ({"PixelSpacing": [1e-4, 1e-4]}, "metres"),
    ],
)
def test_series_that_make_no_volume_are_refused(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    assert says in refused(lambda: read_volume(series(tmp_path, **changed)))


def test_two_phases_in_one_series_are_refused(tmp_path: Path) -> None:
    for name in ("before", "after"):
        for file in series(tmp_path / name, series="1.2.840.111111").iterdir():
            file.rename(tmp_path / f"{name}{file.name}")
    assert "lie at the same place" in refused(lambda: read_volume(tmp_path))


def test_several_series_are_refused(tmp_path: Path) -> None:
    series(tmp_path, series="1.2.840.111111")
    series(tmp_path, series="1.2.840.222222")
    message = refused(lambda: read_volume(tmp_path))
    assert "holds 2 DICOM series" in message
    assert "1.2.840.111111" in message
    assert "1.2.840.222222" in message


def test_a_folder_without_a_series_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not DICOM")
    assert "no DICOM series" in refused(lambda: read_volume(tmp_path))


@pytest.mark.parametrize("rle", [False, True])
@pytest.mark.parametrize("cut", [12, 60, 150, 250])
def test_a_truncated_slice_is_refused(tmp_path: Path, rle: bool, cut: int, capfd: pytest.CaptureFixture[str]) -> None:
    series(tmp_path, rle=rle)
    file = next(tmp_path.glob("11*"))  # the last of them: without it, the others are evenly spaced
    file.write_bytes(file.read_bytes()[:-cut])
    message = refused(lambda: read_volume(tmp_path))
    assert str(file) in message
    assert "cannot be read whole" in message


def test_compressed_slices_are_read(tmp_path: Path) -> None:
    assert np.array_equal(read_volume(series(tmp_path, rle=True)).voxels.numpy(), HU)


def test_slices_of_different_size_are_refused(tmp_path: Path) -> None:
    for hu, name in ((HU[:3, :8], "small"), (HU, "large")):
        folder = write_series(
            tmp_path / name, hu, spacing_mm=SPACING, origin_mm=ORIGIN, direction=OBLIQUE, series="1.2.840.111111"
        )
        for file in folder.iterdir():
            file.rename(tmp_path / f"{name}{file.name}")
    assert "in size" in refused(lambda: read_volume(tmp_path))

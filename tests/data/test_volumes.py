"""Volumes of every format in their place, against independent formulas, and what is refused."""

import gzip
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from refusal import refused
from volume_fixture import OBLIQUE, ORIGIN, SPACING, grid, noise

from anatomark.data.volumes import WRITTEN, read_volume, write_volume
from anatomark.geometry.volumes import as_image


@pytest.mark.parametrize("suffix", [*WRITTEN, ".mhd", ".nhdr"])
def test_every_format_keeps_voxels_and_place(tmp_path: Path, suffix: str) -> None:
    volume = noise(grid())
    path = tmp_path / f"a{suffix}"
    if suffix in WRITTEN:
        write_volume(path, volume)
        assert [file.name for file in tmp_path.iterdir()] == [path.name]
    else:
        sitk.WriteImage(as_image(volume.voxels, volume.geometry), str(path))
    read = read_volume(path)
    assert torch.equal(read.voxels, volume.voxels)
    assert read.voxels.dtype == torch.float32
    assert read.geometry.matches(volume.geometry, tolerance_voxels=1e-4)


def test_integers_become_float32(tmp_path: Path) -> None:
    values = np.arange(-100, 20, dtype=np.int16).reshape(4, 5, 6)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "a.nii.gz"))
    assert np.array_equal(read_volume(tmp_path / "a.nii.gz").voxels.numpy(), values.astype(np.float32))


def nifti(
    path: Path,
    voxels: np.ndarray,
    ras: np.ndarray,
    *,
    units: int = 2,
    pixdim: Any = None,
    cut: int = 0,
    order: str = "<",
) -> Path:
    """A NIfTI-1 file made from the standard alone, with the affine index -> RAS in its sform."""
    spacing = np.linalg.norm(ras[:3, :3], axis=0) if pixdim is None else pixdim
    header = bytearray(352)
    fields: list[tuple[int, str, tuple[Any, ...]]] = [
        (0, "i", (348,)),
        (40, "8h", (3, *voxels.shape[::-1], 1, 1, 1, 1)),
        (70, "2h", (16, 32)),
        (76, "8f", (1.0, *spacing, 0, 0, 0, 0)),
        (108, "3f", (352, 1.0, 0.0)),
        (123, "b", (units,)),
        (252, "2h", (0, 1)),
        (280, "12f", tuple(ras[:3].ravel())),
        (344, "4s", (b"n+1",)),
    ]
    for at, layout, values in fields:
        struct.pack_into(order + layout, header, at, *values)
    content = bytes(header) + voxels.astype(f"{order}f4").tobytes()
    content = content[: len(content) - cut]
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def ras_affine() -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = OBLIQUE * SPACING
    affine[:3, 3] = ORIGIN
    return affine


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_is_ras_and_a_volume_is_lps(tmp_path: Path, name: str, mirrored: bool) -> None:
    ras = ras_affine()
    if mirrored:
        ras[:3, 0] *= -1
    values = np.random.default_rng(1).normal(size=(4, 5, 6)).astype(np.float32)
    read = read_volume(nifti(tmp_path / name, values, ras))
    assert np.array_equal(read.voxels.numpy(), values)
    expected = torch.from_numpy(np.diag([-1.0, -1.0, 1.0, 1.0]) @ ras)
    torch.testing.assert_close(read.geometry.affine, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_of_both_byte_orders(tmp_path: Path, order: str) -> None:
    values = np.random.default_rng(1).normal(size=(4, 5, 6)).astype(np.float32)
    path = tmp_path / "a.nii.gz"
    read = read_volume(nifti(path, values, ras_affine(), order=order))
    assert np.array_equal(read.voxels.numpy(), values)
    assert read.geometry.spacing_mm == pytest.approx(SPACING, rel=1e-5)
    nifti(path, values, ras_affine(), order=order, cut=1)
    assert "ends after 831 of 832 bytes" in refused(lambda: read_volume(path))
    path.write_bytes(gzip.compress(struct.pack(f"{order}i", 540) + bytes(1000)))
    assert "NIfTI-2" in refused(lambda: read_volume(path))


@pytest.mark.parametrize(("units", "mm"), [(0, 1.0), (1, 1e3), (2, 1.0), (3, 1e-3)])
def test_units_of_nifti_are_heeded(tmp_path: Path, units: int, mm: float) -> None:
    stored = np.diag([0.4, 0.5, 0.6, mm]) / mm
    read = read_volume(nifti(tmp_path / "a.nii", np.ones((4, 5, 6)), stored, units=units))
    assert read.geometry.spacing_mm == pytest.approx((0.4, 0.5, 0.6), rel=1e-5)


@pytest.mark.parametrize("pixdim", [(0.0, 0.5, 0.5), (-0.5, 0.5, 0.5), (math.nan, 0.5, 0.5), (0.5, 0.5, math.inf)])
def test_a_nifti_spacing_that_cannot_be_is_refused(tmp_path: Path, pixdim: Any) -> None:
    # The reader of SimpleITK takes such a spacing for 1 mm.
    path = nifti(tmp_path / "a.nii.gz", np.ones((4, 5, 6)), np.diag([0.5, 0.5, 0.5, 1]), pixdim=pixdim)
    message = refused(lambda: read_volume(path))
    assert "spacing" in message
    assert str(path) in message


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_nifti_that_ends_early_is_refused(tmp_path: Path, name: str) -> None:
    # The reader of SimpleITK returns what the memory held.
    path = nifti(tmp_path / name, np.ones((4, 5, 6)), np.eye(4), cut=4)
    assert "ends after 828 of 832 bytes" in refused(lambda: read_volume(path))


@pytest.mark.parametrize("suffix", [*WRITTEN, ".mhd", ".nhdr"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.7, 0.95])
def test_a_truncated_file_is_refused(
    tmp_path: Path, suffix: str, keep: float, capfd: pytest.CaptureFixture[str]
) -> None:
    volume = noise(grid())
    sitk.WriteImage(as_image(volume.voxels, volume.geometry), str(tmp_path / f"a{suffix}"), True)
    # Where the header is a file of its own, its voxels are cut.
    path = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    assert f"a{suffix}" in refused(lambda: read_volume(tmp_path / f"a{suffix}"))


def test_other_files_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(lambda: read_volume(tmp_path / "a.nii"))
    (tmp_path / "a.png").write_bytes(b"x")
    assert "folder of a DICOM series" in refused(lambda: read_volume(tmp_path / "a.png"))
    (tmp_path / "a.nii").write_bytes(b"x" * 1000)
    assert "NIfTI" in refused(lambda: read_volume(tmp_path / "a.nii"))
    assert "use .nii" in refused(lambda: write_volume(tmp_path / "a.png", noise(grid())))


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("shape", [(6, 5), (1, 6, 5), (2, 4, 6, 5), (4, 6, 5, 3)])
def test_images_that_are_no_volume_are_refused(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    image = sitk.GetImageFromArray(np.ones(shape, dtype=np.float32), isVector=shape == (4, 6, 5, 3))
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    assert "not a grey volume of three dimensions" in refused(lambda: read_volume(tmp_path / f"a{suffix}"))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("pixel_type", [np.float32, np.float64])
def test_nifti_voxels_that_are_no_numbers_are_refused(tmp_path: Path, suffix: str, pixel_type: type) -> None:
    """SimpleITK reads them as 0, in CT the value of soft tissue."""
    voxels = np.zeros((40, 50, 60), pixel_type)
    voxels[3, 2, 1], voxels[-1, -1, -1] = math.nan, -math.inf
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / f"a{suffix}"))
    assert "2 voxels are NaN or infinite" in refused(lambda: read_volume(tmp_path / f"a{suffix}"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_voxels_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    volume = noise(grid())
    volume.voxels[3, 2, 1] = value
    write_volume(tmp_path / "a.mha", volume)
    assert "1 voxels are NaN or infinite, the first at index (1, 2, 3)" in refused(
        lambda: read_volume(tmp_path / "a.mha")
    )


@pytest.mark.parametrize(
    ("spacing", "says"),
    [
        ((0.00025, 0.00025, 0.00024), "metres"),
        ((0.005, 0.005, 0.005), "metres"),
        ((141.0, 141.0, 141.0), "micrometres"),
        ((0.1, 0.1, 10.0), "different units"),
    ],
)
def test_a_spacing_that_is_not_in_mm_is_refused(tmp_path: Path, spacing: Any, says: str) -> None:
    write_volume(tmp_path / "a.mha", noise(grid(spacing_mm=spacing)))
    message = refused(lambda: read_volume(tmp_path / "a.mha"))
    assert says in message
    assert "in mm" in message


@pytest.mark.parametrize("spacing", [(0.014, 0.014, 0.014), (0.25, 0.25, 0.24), (0.5, 0.5, 10.0)])
def test_the_spacings_of_scanners_are_read(tmp_path: Path, spacing: Any) -> None:
    write_volume(tmp_path / "a.mha", noise(grid((90, 90, 5), spacing_mm=spacing)))
    assert read_volume(tmp_path / "a.mha").geometry.spacing_mm == pytest.approx(spacing)


@pytest.mark.parametrize("new", ["0 0.5 0.75", "nan 0.5 0.75"])
def test_an_mha_spacing_that_cannot_be_is_refused(tmp_path: Path, new: str) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(as_image(torch.ones(4, 5, 6), grid((6, 5, 4), spacing_mm=(0.25, 0.5, 0.75))), str(path))
    path.write_bytes(path.read_bytes().replace(b"0.25 0.5 0.75", new.encode()))
    assert "impossible header" in refused(lambda: read_volume(path))


def test_a_sheared_volume_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((4, 5, 6), dtype=np.float32)), str(path))
    path.write_bytes(path.read_bytes().replace(b"= 1 0 0 0 1 0 0 0 1", b"= 1 0 0 0.3 1 0 0 0 1"))
    message = refused(lambda: read_volume(path))
    assert "sheared" in message
    assert str(path) in message


@pytest.mark.parametrize(("unit", "fine"), [("mm", True), ("um", False), ("m", False)])
def test_units_of_nrrd_are_mm(tmp_path: Path, unit: str, fine: bool) -> None:
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((4, 5, 6), dtype=np.float32)), str(path))
    units = f'space units: "{unit}" "{unit}" "{unit}"\nencoding:'
    path.write_bytes(path.read_bytes().replace(b"encoding:", units.encode(), 1))
    if fine:
        assert read_volume(path).geometry.spacing_mm == (1.0, 1.0, 1.0)
    else:
        assert f'"space units" are {unit}' in refused(lambda: read_volume(path))


def test_nrrd_in_ras_becomes_lps(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    volume = noise(grid())
    sitk.WriteImage(as_image(volume.voxels, volume.geometry), str(path))
    path.write_bytes(path.read_bytes().replace(b"left-posterior-superior", b"right-anterior-superior", 1))
    read = read_volume(path)
    mirrored = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64)) @ volume.geometry.affine
    torch.testing.assert_close(read.geometry.affine, mirrored, rtol=0, atol=1e-9)
    assert torch.equal(read.voxels, volume.voxels)

"""What is said of volumes that cannot be used, and of options that cannot be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from refusal import refused
from volumes_folder_fixture import change, geometry_of, module, ready, rewrite, write_volumes

from anatomark.data.landmark_files import write_landmarks
from dicom_series_fixture import write_series


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_volumes(tmp_path_factory.mktemp("volumes") / "kept")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_volumes(tmp_path / "mine")


def other_frame(folder: Path) -> None:
    change(folder, "ref", "mask", "valid_mask.nrrd")


def empty_mask(folder: Path) -> None:
    rewrite(folder / "ref_mask.nrrd", geometry_of(0), np.zeros(geometry_of(0).size[::-1]))


def cut_structure(folder: Path) -> None:
    voxels = np.zeros(geometry_of(0).size[::-1])
    voxels[3:6, 4:8, 10:] = 1
    rewrite(folder / "ref_mask.nrrd", geometry_of(0), voxels)


def flat_structure(folder: Path) -> None:
    voxels = np.zeros(geometry_of(0).size[::-1])
    voxels[3, 4:8, 10:14] = 1
    rewrite(folder / "ref_mask.nrrd", geometry_of(0), voxels)


def nan_voxels(folder: Path) -> None:
    # Not NIfTI, of which ITK reads NaN as 0.
    rewrite(folder / "valid.mha", geometry_of(1), np.full(geometry_of(1).size[::-1], np.nan))
    change(folder, "valid", "file", "valid.mha")


def flat_file(folder: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((9, 9), np.float32)), str(folder / "ref.nii.gz"))


def mixed_units(folder: Path) -> None:
    rewrite(
        folder / "ref.nii.gz",
        geometry_of(0).__class__(**{**vars(geometry_of(0)), "spacing_mm": (0.3, 0.45, 0.0011)}),
        np.zeros(geometry_of(0).size[::-1]),
    )


def gap_in_series(folder: Path) -> None:
    hu = np.random.default_rng(0).integers(-400, 400, (7, 9, 11))
    options: dict[str, Any] = {"spacing_mm": (0.5, 0.5, 1.0), "origin_mm": np.zeros(3), "direction": np.eye(3)}
    write_series(folder / "series", hu, without=(3,), **options)
    change(folder, "ref", "file", "series")


def landmark_outside(folder: Path) -> None:
    far = torch.tensor([500.0, 0.0, 0.0], dtype=torch.float64)
    write_landmarks(folder / "ref.mrk.json", {"centre": far, "top": geometry_of(0).centre_mm})


def copied(folder: Path) -> None:
    for name in (".nii.gz", "_mask.nrrd", ".mrk.json"):
        (folder / f"valid{name}").write_bytes((folder / f"ref{name}").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "file", "says"),
    [
        (other_frame, "valid_mask.nrrd", "the mask lies in another frame than its volume"),
        (empty_mask, "ref_mask.nrrd", "the mask is empty"),
        (cut_structure, "ref_mask.nrrd", "the structure reaches the last voxels along i"),
        (flat_structure, "ref_mask.nrrd", "the mask lies in a plane"),
        (nan_voxels, "valid.mha", "voxels are NaN or infinite"),
        (flat_file, "ref.nii.gz", "not a grey volume of three dimensions"),
        (mixed_units, "ref.nii.gz", "looks like different units along its axes"),
        (gap_in_series, "series", "mm between"),
        (landmark_outside, "ref.mrk.json", "1 of 2 landmarks lie outside their volume (centre)"),
        (copied, "valid.nii.gz", "hold the same voxels"),
    ],
)
def test_volumes_that_cannot_be_used_are_named(
    folder: Path, spoil: Callable[[Path], None], file: str, says: str
) -> None:
    spoil(folder)
    message = refused(module(folder, mask="hull").setup)
    assert str(folder / file) in message
    assert says in message


def test_targets_are_checked_when_they_are_read(folder: Path) -> None:
    (folder / "less.csv").write_text(
        "name,x_mm,y_mm,z_mm\n" + "centre,{:.6f},{:.6f},{:.6f}\n".format(*geometry_of(2).centre_mm.tolist())
    )
    change(folder, "first", "second_rater", "less.csv")
    made = ready(folder)
    assert "less.csv: lacks top against" in refused(lambda: made.evaluation_dataset(["test"])[0])
    change(folder, "first", "landmarks", "")
    made = ready(folder)
    assert "has no landmarks of a first rater" in refused(lambda: made.evaluation_dataset(["test"])[0])


def test_structures_must_fit_their_patch_and_be_seen_in_the_window(kept: Path) -> None:
    assert "set data.patch_size to at least 18 or" in refused(module(kept, patch_size=12).setup)
    assert "set data.window to the range" in refused(module(kept, window=(5000, 6000)).setup)
    assert "leave nothing of the mask" in refused(module(kept, spacing_mm=9.0).setup)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"window": [1.0]}, "data.window is [1.0]; give two intensities"),
        ({"window": [3.0, 1.0]}, "data.window is [3.0, 1.0]; give two finite intensities"),
        ({"spacing_mm": 0.0}, "data.spacing_mm is 0.0"),
        ({"mask": "round"}, "data.mask is round; it must be drawn or hull"),
        ({"outside": -1000.0}, "data.outside is -1000.0"),
        ({"patch_size": 1}, "data.patch_size is 1"),
        ({"batch_size": 0}, "data.batch_size is 0"),
        ({"steps": 0}, "data.steps is 0"),
        ({"validation_steps": 0}, "data.validation_steps is 0"),
        ({"scale": 1.0}, "data.scale is 1.0"),
        ({"rotation": "any"}, "data.rotation is any"),
        ({"translation": -1.0}, "data.translation is -1.0"),
    ],
)
def test_options_that_cannot_be_are_refused(kept: Path, changed: dict[str, Any], says: str) -> None:
    assert says in refused(lambda: module(kept, **changed))

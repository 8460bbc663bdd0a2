"""Masks in the frame of their volume, and resampling to cubic voxels against formulas and other libraries."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusal import refused
from scipy.ndimage import map_coordinates
from volume_fixture import OBLIQUE, ball, grid, noise, positions

from anatomark.data.volumes import (
    read_mask,
    read_volume,
    write_mask,
    write_volume,
)
from anatomark.geometry.resampling import resample_isotropic, resample_mask_isotropic
from anatomark.geometry.volumes import Volume
from anatomark.types import AnatomarkError

TURN = np.array([[math.cos(0.02), -math.sin(0.02), 0], [math.sin(0.02), math.cos(0.02), 0], [0, 0, 1]])


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
def test_masks_come_back_on_the_grid_of_their_volume(tmp_path: Path, suffix: str) -> None:
    mask = ball(grid(), 2.0)
    write_mask(tmp_path / f"mask{suffix}", mask)
    read = read_mask(tmp_path / f"mask{suffix}", grid())
    assert torch.equal(read.voxels, mask.voxels)
    assert 0 < mask.voxels.mean() < 1
    assert read.geometry == grid()


def test_a_mask_may_have_any_label(tmp_path: Path) -> None:
    mask = ball(grid(), 2.0)
    write_volume(tmp_path / "a.mha", Volume(voxels=7 * mask.voxels, geometry=mask.geometry))
    assert torch.equal(read_mask(tmp_path / "a.mha", grid()).voxels, mask.voxels)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"size": (12, 10, 9)}, "it has (12, 10, 9) voxels, the volume (12, 10, 8)"),
        ({"spacing_mm": (0.3, 0.45, 1.2)}, "its spacing is"),
        ({"origin_mm": (-12.0, 34.5, 8.25)}, "its origin is"),
        ({"direction": tuple(tuple(row) for row in (OBLIQUE @ np.diag([1, -1, 1])).tolist())}, "its direction is"),
        ({"direction": tuple(tuple(row) for row in (TURN @ OBLIQUE).tolist())}, "its direction is"),
    ],
)
def test_a_mask_in_another_frame_is_refused(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    write_mask(tmp_path / "a.nrrd", ball(grid(**changed), 2.0))
    message = refused(lambda: read_mask(tmp_path / "a.nrrd", grid()))
    assert says in message
    assert str(tmp_path / "a.nrrd") in message


def test_masks_of_nothing_or_of_several_structures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    write_mask(path, ball(grid(), -1.0))
    assert "the mask is empty" in refused(lambda: read_mask(path, grid()))
    two = ball(grid(), 2.0).voxels + ball(grid(), 1.0).voxels
    write_volume(path, Volume(voxels=two, geometry=grid()))
    assert "values from 1 to 2 besides 0" in refused(lambda: read_mask(path, grid()))


def test_voxels_must_fill_their_grid() -> None:
    with pytest.raises(AnatomarkError, match="k, j, i"):
        Volume(voxels=torch.zeros(12, 10, 8), geometry=grid())


@pytest.mark.parametrize("spacing", [0.15, 0.25, 0.3])
def test_resampling_interpolates_as_scipy_does(spacing: float) -> None:
    volume = noise(grid())
    resampled = resample_isotropic(volume, spacing_mm=spacing)
    index = volume.geometry.to_index(positions(resampled.geometry))
    # Between the outermost centres and the border, the nearest values hold.
    expected = map_coordinates(
        volume.voxels.double().numpy(), index.flip(-1).movedim(-1, 0).numpy(), order=1, mode="nearest"
    )
    assert resampled.voxels.numpy() == pytest.approx(expected, abs=1e-2)
    assert resampled.geometry == volume.geometry.isotropic(spacing)


@pytest.mark.parametrize("spacing", [0.2, 0.7, 1.5])
def test_resampling_leaves_a_constant_constant(spacing: float) -> None:
    volume = Volume(voxels=torch.full((8, 10, 12), -1000.0), geometry=grid())
    resampled = resample_isotropic(volume, spacing_mm=spacing)
    assert torch.allclose(resampled.voxels, torch.tensor(-1000.0), rtol=0, atol=0.1)


def test_resampling_leaves_a_ramp_of_mm_in_its_place() -> None:
    geometry = grid((60, 40, 30))
    normal = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)
    volume = Volume(voxels=(positions(geometry) @ normal).float(), geometry=geometry)
    for spacing in (0.25, 0.8):  # the second smooths as well
        resampled = resample_isotropic(volume, spacing_mm=spacing)
        expected = (positions(resampled.geometry) @ normal).float()
        # At the border the ramp cannot go on.
        inner = (slice(6, -6),) * 3
        torch.testing.assert_close(resampled.voxels[inner], expected[inner], rtol=0, atol=1e-3)


def test_resampling_does_not_alias() -> None:
    geometry = grid((64, 64, 64), spacing_mm=(0.25, 0.25, 0.25))
    i = torch.arange(64)
    stripes = torch.where(i % 4 < 2, 1000.0, -1000.0).expand(64, 64, 64).clone()
    # One in three voxels, so that each would see another phase of the stripes.
    coarse = resample_isotropic(Volume(voxels=stripes, geometry=geometry), spacing_mm=0.75)
    sigma = math.sqrt((0.75**2 - 0.25**2) / (8 * math.log(2)))
    # The first harmonic of the stripes, of 1 mm, behind a Gaussian.
    left = 1000 * 4 / math.pi * math.exp(-2 * (math.pi * sigma) ** 2)
    assert coarse.voxels[2:-2, 2:-2, 2:-2].abs().max() < 1.15 * left
    assert left < 250


def test_resampling_to_the_same_spacing_changes_nothing() -> None:
    volume = noise(grid(spacing_mm=(0.3, 0.3, 0.3)))
    resampled = resample_isotropic(volume, spacing_mm=0.3)
    assert torch.allclose(resampled.voxels, volume.voxels, rtol=0, atol=1e-2)


def test_a_resampled_mask_keeps_its_volume_and_place() -> None:
    geometry = grid((60, 40, 18))
    radius = 6.0
    mask = ball(geometry, radius)
    for spacing in (0.25, 0.6):
        resampled = resample_mask_isotropic(mask, spacing_mm=spacing)
        assert set(resampled.voxels.unique().tolist()) == {0.0, 1.0}
        assert resampled.voxels.sum().item() * spacing**3 == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.03)
        centre = positions(resampled.geometry)[resampled.voxels > 0].mean(dim=0)
        assert (centre - geometry.centre_mm).norm() < 0.05


def test_a_mask_finer_than_the_new_voxels_is_refused() -> None:
    voxels = torch.zeros(8, 10, 12)
    voxels[4, 5, 6] = 1
    with pytest.raises(AnatomarkError, match="leave nothing of the mask"):
        resample_mask_isotropic(Volume(voxels=voxels, geometry=grid()), spacing_mm=2.0)


@pytest.mark.real_data
def test_masks_of_real_skulls(data_dir: Path) -> None:
    folder = data_dir / "mouse_ct"
    for name in ("FVB_NJ_.nii.gz", "C57BL6_J_.nii.gz"):
        volume = read_volume(folder / "targets" / name)
        mask = read_mask(folder / "masks" / name, volume.geometry)
        bone = volume.voxels[mask.voxels > 0].median()
        assert bone > volume.voxels[mask.voxels == 0].median() + 20
    assert "in another frame" in refused(lambda: read_mask(folder / "masks" / "FVB_NJ_.nii.gz", volume.geometry))

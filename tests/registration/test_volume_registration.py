"""Linear registration of patches: known motions, in oblique and anisotropic images, are recovered."""

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from patch_fixture import (
    SPACING_MM,
    apply,
    centre_mm,
    errors_mm,
    motion_about,
    moved_patch,
    points_in,
    textured_patch,
    voxel_centres,
)

from anatomark.registration.patches import as_matrix, as_transform, match_histogram, resample_onto, transform_points
from anatomark.registration.volumes import VolumeRegistration
from anatomark.types import AnatomarkError

VOXEL_MM = min(SPACING_MM)
QUICK: dict[str, Any] = {"shrink": (4, 2), "sigmas_mm": (0.6, 0.3)}
ROBUST: dict[str, Any] = {"transform": "similarity", "metric": "correlation", **QUICK}


@pytest.fixture(scope="module")
def patch() -> sitk.Image:
    return textured_patch()


def structure(patch: sitk.Image) -> sitk.Image:
    return sitk.Cast(patch > 0.1, sitk.sitkUInt8)


def far_pose(patch: sitk.Image) -> np.ndarray:
    """150 degrees and 20 mm away."""
    return motion_about(centre_mm(patch), rotation=(1.5, 2.0, 0.8), shift=(12.0, -9.0, 14.0))


def test_rigid_motion_recovered_from_the_identity(patch: sitk.Image) -> None:
    truth = motion_about(centre_mm(patch), rotation=(0.1, -0.12, 0.08), shift=(0.5, -0.4, 0.3))
    target = moved_patch(patch, truth, np.eye(4))
    found = VolumeRegistration(**QUICK)(patch, target)
    points = points_in(patch)
    assert errors_mm(points, apply(truth, points)).mean() > 1.5 * VOXEL_MM
    assert errors_mm(transform_points(found.matrix, points), apply(truth, points)).max() < 0.2 * VOXEL_MM
    assert found.correlation > 0.99
    linear = found.matrix[:3, :3]
    np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-9)


@pytest.mark.parametrize("scale", [0.93, 1.07])
def test_similarity_recovered_from_a_turned_pose_at_another_gain(patch: sitk.Image, scale: float) -> None:
    pose = far_pose(patch)
    truth = pose @ motion_about(centre_mm(patch), rotation=(0.1, -0.1, 0.1), shift=(0.4, -0.3, 0.4), scale=scale)
    target = moved_patch(patch, truth, pose) * 3.0 + 20.0
    found = VolumeRegistration(**ROBUST)(patch, target, pose=pose, mask=structure(patch))
    points = points_in(patch)
    assert errors_mm(transform_points(found.matrix, points), apply(truth, points)).max() < 0.2 * VOXEL_MM
    assert found.correlation > 0.99
    assert np.cbrt(np.linalg.det(found.matrix[:3, :3])) == pytest.approx(scale, rel=0.005)


def test_turning_the_target_and_its_pose_changes_nothing(patch: sitk.Image) -> None:
    step = motion_about(centre_mm(patch), rotation=(0.08, 0.05, -0.06), shift=(0.2, 0.3, -0.2))
    pose = far_pose(patch)
    register = VolumeRegistration(**QUICK)
    near = register(patch, moved_patch(patch, step, np.eye(4)))
    far = register(patch, moved_patch(patch, pose @ step, pose), pose=pose)
    points = points_in(patch)
    back = transform_points(np.linalg.inv(pose) @ far.matrix, points)
    assert errors_mm(back, transform_points(near.matrix, points)).max() < 0.1 * VOXEL_MM


def test_pose_alone_is_exact_where_nothing_is_left_to_do(patch: sitk.Image) -> None:
    pose = far_pose(patch)
    found = VolumeRegistration(**QUICK)(patch, moved_patch(patch, pose, pose), pose=pose)
    points = points_in(patch)
    assert errors_mm(transform_points(found.matrix, points), apply(pose, points)).max() < 0.02 * VOXEL_MM


def test_voxels_outside_the_mask_do_not_count(patch: sitk.Image) -> None:
    truth = motion_about(centre_mm(patch), rotation=(0.05, 0.0, 0.05), shift=(0.3, 0.2, -0.2))
    radius = np.linalg.norm(voxel_centres(patch) - centre_mm(patch), axis=-1)
    mask = sitk.GetImageFromArray((radius < 4).astype(np.uint8))
    mask.CopyInformation(patch)
    target = moved_patch(patch, truth, np.eye(4))
    voxels = sitk.GetArrayFromImage(target)
    voxels[radius > 5.5] = np.random.default_rng(1).uniform(0, 3, int((radius > 5.5).sum()))
    disturbed = sitk.GetImageFromArray(voxels)
    disturbed.CopyInformation(target)
    register = VolumeRegistration(transform="rigid", metric="correlation", shrink=(2,), sigmas_mm=(0.0,))
    points = points_in(patch, within_mm=2.0)
    masked = register(patch, disturbed, mask=mask)
    assert errors_mm(transform_points(masked.matrix, points), apply(truth, points)).max() < 0.5 * VOXEL_MM
    assert masked.correlation > 0.95 > register(patch, disturbed).correlation


@pytest.mark.parametrize("threads", [1, 2])
def test_one_pair_gives_one_result(patch: sitk.Image, threads: int) -> None:
    truth = motion_about(centre_mm(patch), rotation=(0.05, 0.02, 0.05), shift=(0.3, 0.2, -0.2))
    target = moved_patch(patch, truth, np.eye(4))
    first, second = (
        VolumeRegistration(shrink=(4,), sigmas_mm=(0.6,), iterations=20, threads=threads)(patch, target)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.matrix, second.matrix)
    assert first.correlation == second.correlation


def test_resampled_target_meets_the_reference(patch: sitk.Image) -> None:
    pose = far_pose(patch)
    aligned = resample_onto(patch, moved_patch(patch, pose, pose), pose)
    np.testing.assert_allclose(sitk.GetArrayFromImage(aligned), sitk.GetArrayFromImage(patch), atol=2e-3)


def test_matrices_and_transforms_agree_about_any_centre() -> None:
    similarity = sitk.Similarity3DTransform(1.2, (0.0, 0.6, 0.8), 0.7, (1.0, 2.0, 3.0), (-4.0, 5.0, 6.0))
    points = np.random.default_rng(0).normal(size=(5, 3))
    matrix = as_matrix(similarity)
    expected = np.array([similarity.TransformPoint(point) for point in points.tolist()])
    np.testing.assert_allclose(transform_points(matrix, points), expected)
    np.testing.assert_allclose(as_matrix(as_transform(matrix)), matrix)


def test_histogram_matching_undoes_a_gain_and_offset(patch: sitk.Image) -> None:
    voxels = sitk.GetArrayFromImage(patch)
    matched = sitk.GetArrayFromImage(match_histogram(patch * 3 + 20, patch))
    np.testing.assert_allclose(matched, voxels, atol=0.02)


def changed(patch: sitk.Image, **geometry: Any) -> sitk.Image:
    image = sitk.Image(patch)
    for name, value in geometry.items():
        getattr(image, f"Set{name}")(value)
    return image


def test_constant_patch_refused(patch: sitk.Image) -> None:
    with pytest.raises(AnatomarkError, match=r"all voxels of the target patch equal 0; check its file"):
        VolumeRegistration()(patch, patch * 0.0)


def test_nan_refused(patch: sitk.Image) -> None:
    broken = sitk.Image(patch)
    broken[3, 4, 5] = float("nan")
    with pytest.raises(AnatomarkError, match="reference patch holds NaN"):
        VolumeRegistration()(broken, patch)


def test_flat_and_small_images_refused(patch: sitk.Image) -> None:
    with pytest.raises(AnatomarkError, match="2 dimensions"):
        VolumeRegistration()(patch[:, :, 3], patch)
    with pytest.raises(AnatomarkError, match="40 x 40 x 9 voxels; shrinking by 4 needs 16"):
        VolumeRegistration()(patch[:, :, :9], patch)


def test_empty_mask_refused(patch: sitk.Image) -> None:
    with pytest.raises(AnatomarkError, match="mask is empty"):
        VolumeRegistration()(patch, patch, mask=structure(patch) * 0)


def test_mask_on_another_grid_refused(patch: sitk.Image) -> None:
    with pytest.raises(AnatomarkError, match="mask lies on another grid"):
        VolumeRegistration()(patch, patch, mask=changed(structure(patch), Origin=(0.0, 0.0, 0.0)))


def test_patches_that_do_not_overlap_refused(patch: sitk.Image) -> None:
    with pytest.raises(AnatomarkError, match="0% of the reference's voxels lie in the target before"):
        VolumeRegistration()(patch, changed(patch, Origin=(200.0, 0.0, 0.0)))


def test_constant_overlap_refused(patch: sitk.Image) -> None:
    voxels = sitk.GetArrayFromImage(patch)
    voxels[:20, :20, :20] = 0
    half = sitk.GetImageFromArray(voxels)
    half.CopyInformation(patch)
    flat = np.zeros_like(voxels, dtype=np.uint8)
    flat[5:12, 5:12, 5:12] = 1
    mask = sitk.GetImageFromArray(flat)
    mask.CopyInformation(patch)
    with pytest.raises(AnatomarkError, match="constant where the aligned patches overlap"):
        VolumeRegistration(shrink=(2,), sigmas_mm=(0.0,), iterations=2)(half, patch, mask=mask)


@pytest.mark.parametrize("pose", [np.zeros((4, 4)), np.diag([1.0, 1.0, 0.0, 1.0]), np.full((4, 4), np.nan)])
def test_pose_without_inverse_refused(patch: sitk.Image, pose: np.ndarray) -> None:
    with pytest.raises(AnatomarkError, match="no invertible affine map"):
        VolumeRegistration()(patch, patch, pose=pose)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"transform": "affine"}, "choose rigid or similarity"),
        ({"metric": "mutual_information"}, "choose mean_squares or correlation"),
        ({"shrink": (4, 2)}, "make no pyramid"),
        ({"shrink": (), "sigmas_mm": ()}, "make no pyramid"),
        ({"shrink": (0,), "sigmas_mm": (1.0,)}, "make no pyramid"),
        ({"shrink": (1,), "sigmas_mm": (float("nan"),)}, "make no pyramid"),
        ({"iterations": 0}, "at least 1 of each"),
        ({"threads": 0}, "at least 1 of each"),
    ],
)
def test_impossible_options_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(AnatomarkError, match=says):
        VolumeRegistration(**options)

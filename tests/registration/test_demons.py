"""Demons: known deformations are recovered, in the direction that carries landmarks, and folding is counted."""

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from patch_fixture import (
    SPACING_MM,
    apply,
    as_field,
    centre_mm,
    errors_mm,
    motion_about,
    moved_patch,
    oblique_image,
    points_in,
    smooth_field,
    textured_patch,
    voxel_centres,
    window,
)

from anatomark.registration.demons import (
    Deformation,
    DiffeomorphicDemons,
    displace_points,
    jacobian_determinant,
    soft_mask,
)
from anatomark.types import AnatomarkError

VOXEL_MM = min(SPACING_MM)


@pytest.fixture(scope="module")
def patch() -> sitk.Image:
    return textured_patch()


def pulled_back(target: sitk.Image, field: sitk.Image) -> sitk.Image:
    """The reference whose point p shows what the target shows at p + field(p)."""
    transform = sitk.DisplacementFieldTransform(sitk.Image(field))
    return sitk.Resample(target, target, transform, sitk.sitkBSpline, 0.0, sitk.sitkFloat32)


def structure(patch: sitk.Image) -> sitk.Image:
    return sitk.Cast(patch > 0.1, sitk.sitkUInt8)


@pytest.mark.parametrize(
    ("options", "masked"),
    [
        ({}, False),
        ({"shrink": (4, 2), "iterations": (60, 40)}, True),
        ({"shrink": (4, 2), "iterations": (60, 40), "update_sigma": 1.0}, False),
    ],
)
def test_smooth_deformation_recovered(patch: sitk.Image, options: dict[str, Any], masked: bool) -> None:
    truth = smooth_field(patch, largest_mm=0.5)
    reference = pulled_back(patch, truth)
    weight = soft_mask(structure(reference), margin_mm=0.5, fade_mm=1.0) if masked else None
    found = DiffeomorphicDemons(**options)(reference, patch, weight=weight)
    points = points_in(patch)
    expected = displace_points(truth, points)
    before, after = errors_mm(points, expected), errors_mm(found.carry(points), expected)
    assert before.mean() > 0.9 * VOXEL_MM
    assert after.mean() < 0.5 * min(VOXEL_MM, before.mean())
    assert found.folding == 0
    assert found.field.GetSize() == patch.GetSize()


def test_field_points_from_the_reference_to_the_target(patch: sitk.Image) -> None:
    shift = np.array([0.5, -0.3, 0.4])
    motion = np.eye(4)
    motion[:3, 3] = shift
    found = DiffeomorphicDemons()(patch, moved_patch(patch, motion, np.eye(4)))
    points = points_in(patch, within_mm=1.5)
    np.testing.assert_allclose((found.carry(points) - points).mean(axis=0), shift, atol=0.3 * VOXEL_MM)


def test_deformation_and_pose_compose(patch: sitk.Image) -> None:
    """The target is the deformed reference, turned by 150 degrees and put 20 mm away on a grid of its own."""
    truth = smooth_field(patch, largest_mm=0.5)
    pose = motion_about(centre_mm(patch), rotation=(1.5, 2.0, 0.8), shift=(12.0, -9.0, 14.0))
    found = DiffeomorphicDemons(shrink=(4, 2), iterations=(60, 40))(
        pulled_back(patch, truth), moved_patch(patch, pose, pose), matrix=pose
    )
    points = points_in(patch)
    expected = apply(pose, displace_points(truth, points))
    assert errors_mm(found.carry(points), expected).mean() < 0.5 * VOXEL_MM


def test_histogram_matching_serves_another_gain(patch: sitk.Image) -> None:
    truth = smooth_field(patch, largest_mm=0.5)
    reference, target, points = pulled_back(patch, truth), patch * 1.6, points_in(patch)
    expected = displace_points(truth, points)
    with_it, without = (
        errors_mm(
            DiffeomorphicDemons(shrink=(4, 2), iterations=(40, 20), histogram_matching=match)(reference, target).carry(
                points
            ),
            expected,
        ).mean()
        for match in (True, False)
    )
    assert with_it < 0.5 * VOXEL_MM < without


def test_offset_and_gain_of_both_patches_change_nothing(patch: sitk.Image) -> None:
    reference = pulled_back(patch, smooth_field(patch, largest_mm=0.5))
    weight = soft_mask(structure(patch), margin_mm=0.5, fade_mm=1.0)
    demons = DiffeomorphicDemons(shrink=(4,), iterations=(20,))
    plain = demons(reference, patch, weight=weight)
    in_hounsfield = demons(reference * 2000 - 1000, patch * 2000 - 1000, weight=weight)
    points = points_in(patch)
    np.testing.assert_allclose(in_hounsfield.carry(points), plain.carry(points), atol=0.01 * VOXEL_MM)


def test_voxels_without_weight_do_not_count(patch: sitk.Image) -> None:
    reference = pulled_back(patch, smooth_field(patch, largest_mm=0.5))
    weight = soft_mask(structure(patch), margin_mm=0.5, fade_mm=1.0)
    outside = sitk.GetArrayFromImage(weight) == 0
    assert 0.05 < outside.mean() < 0.95
    voxels = sitk.GetArrayFromImage(patch)
    voxels[outside] = np.random.default_rng(1).uniform(0, 1, int(outside.sum()))
    demons = DiffeomorphicDemons(shrink=(4,), iterations=(20,), histogram_matching=False)
    plain = demons(reference, patch, weight=weight)
    disturbed = demons(reference, oblique_image(voxels), weight=weight)
    points = points_in(patch)
    np.testing.assert_array_equal(disturbed.carry(points), plain.carry(points))


@pytest.mark.parametrize("threads", [1, 2])
def test_one_pair_gives_one_field_whatever_the_threads(patch: sitk.Image, threads: int) -> None:
    reference = pulled_back(patch, smooth_field(patch, largest_mm=0.5))
    options: dict[str, Any] = {"shrink": (4, 2), "iterations": (10, 5)}
    fields = [
        sitk.GetArrayFromImage(DiffeomorphicDemons(**options, threads=count)(reference, patch).field)
        for count in (threads, 1)
    ]
    np.testing.assert_array_equal(*fields)


def linear_field(patch: sitk.Image, linear: np.ndarray) -> sitk.Image:
    """The field of ``p -> linear (p - centre) + centre``."""
    return as_field((voxel_centres(patch) - centre_mm(patch)) @ (linear - np.eye(3)).T, patch)


def test_jacobian_of_a_linear_map_is_its_determinant_in_an_oblique_image(patch: sitk.Image) -> None:
    linear = np.array([[1.2, 0.3, -0.1], [0.0, 0.9, 0.4], [0.2, -0.3, 1.1]])
    found = jacobian_determinant(linear_field(patch, linear))
    np.testing.assert_allclose(found, np.linalg.det(linear), rtol=1e-9)


def test_jacobian_is_that_of_itk_where_directions_are_the_axes(patch: sitk.Image) -> None:
    field = smooth_field(patch, largest_mm=2.0)
    field.SetDirection(np.eye(3).ravel().tolist())
    expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(jacobian_determinant(field)[inner], expected[inner], atol=1e-6)


def test_folding_counted(patch: sitk.Image) -> None:
    """A quarter of the voxels is mirrored along the first axis of the image; its edges are differences across it."""
    assert Deformation(field=linear_field(patch, np.diag([-1.0, 1.0, 1.0])), matrix=np.eye(4)).folding == 1
    assert Deformation(field=linear_field(patch, np.eye(3)), matrix=np.eye(4)).folding == 0
    along = np.arange(patch.GetSize()[0]) * SPACING_MM[0]
    moved = np.where(np.arange(len(along)) < 10, -2 * along, 0.0)
    first_axis = np.array(patch.GetDirection()).reshape(3, 3)[:, 0]
    displacement = np.broadcast_to(moved[:, None] * first_axis, (*patch.GetSize()[::-1], 3))
    expected = (np.gradient(along + moved) <= 0).mean()
    assert 0.2 < expected < 0.3
    assert Deformation(field=as_field(displacement, patch), matrix=np.eye(4)).folding == pytest.approx(expected)


def test_soft_mask_fades_in_millimetres() -> None:
    voxels = np.zeros((40, 40, 40), dtype=np.float32)
    voxels[20, 20, 20] = 1
    weight = sitk.GetArrayFromImage(soft_mask(sitk.Cast(oblique_image(voxels), sitk.sitkUInt8), margin_mm=1, fade_mm=2))
    along_i, along_k = weight[20, 20, 20:], weight[20:, 20, 20]
    # ITK measures to the border between voxels of the structure and the others, at most a voxel nearer.
    for profile, spacing in ((along_i, SPACING_MM[0]), (along_k, SPACING_MM[2])):
        distance = np.arange(20) * spacing
        assert (profile[distance <= 1] == 1).all()
        np.testing.assert_allclose(profile, np.clip((3 - distance) / 2, 0, 1), atol=spacing / 2 + 1e-6)


def test_points_are_interpolated_between_voxels(patch: sitk.Image) -> None:
    linear = np.array([[1.1, 0.1, 0.0], [0.0, 0.9, 0.1], [0.1, 0.0, 1.0]])
    points = points_in(patch)
    expected = (points - centre_mm(patch)) @ linear.T + centre_mm(patch)
    np.testing.assert_allclose(displace_points(linear_field(patch, linear), points), expected, atol=1e-9)
    assert displace_points(linear_field(patch, linear), np.empty((0, 3))).shape == (0, 3)


def test_point_outside_refused(patch: sitk.Image) -> None:
    points = np.stack([centre_mm(patch), centre_mm(patch) + 50])
    with pytest.raises(AnatomarkError, match=r"point 1 at .* lies outside the reference patch"):
        displace_points(smooth_field(patch, largest_mm=0.1), points)


def test_bad_patches_refused(patch: sitk.Image) -> None:
    demons = DiffeomorphicDemons()
    with pytest.raises(AnatomarkError, match="reference patch equal 0"):
        demons(patch * 0.0, patch)
    with pytest.raises(AnatomarkError, match="voxels; shrinking by 4 needs 16"):
        demons(patch[:, :, :9], patch)
    away = sitk.Image(patch)
    away.SetOrigin((200.0, 0.0, 0.0))
    with pytest.raises(AnatomarkError, match="0% of the reference's voxels lie in the target"):
        demons(patch, away)
    corner = oblique_image(window(1) * (np.arange(40) > 38))
    with pytest.raises(AnatomarkError, match="aligned target patch equal 0"):
        demons(patch[:20, :20, :20], corner)


def test_bad_weights_refused(patch: sitk.Image) -> None:
    demons, weight = DiffeomorphicDemons(), sitk.Cast(structure(patch), sitk.sitkFloat32)
    with pytest.raises(AnatomarkError, match="0 everywhere"):
        demons(patch, patch, weight=weight * 0)
    for wrong in (2.0, float("nan")):
        with pytest.raises(AnatomarkError, match=r"leaves \[0, 1\]"):
            demons(patch, patch, weight=weight * wrong)
    with pytest.raises(AnatomarkError, match="weight lies on another grid"):
        demons(patch, patch, weight=weight[1:, :, :])
    with pytest.raises(AnatomarkError, match="mask is empty"):
        soft_mask(structure(patch) * 0, margin_mm=1, fade_mm=1)
    with pytest.raises(AnatomarkError, match="a fade above 0 mm"):
        soft_mask(structure(patch), margin_mm=1, fade_mm=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shrink": (4, 2)}, "make no pyramid"),
        ({"shrink": (), "iterations": ()}, "make no pyramid"),
        ({"iterations": (5, 0, 5)}, "make no pyramid"),
        ({"field_sigma": -1.0}, "smoothing in voxels"),
        ({"update_sigma": float("nan")}, "smoothing in voxels"),
        ({"threads": 0}, "at least 1"),
    ],
)
def test_impossible_demons_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(AnatomarkError, match=says):
        DiffeomorphicDemons(**options)

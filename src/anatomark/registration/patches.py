"""What every registration of 3-D patches asks of its images, and the ways between matrices and SimpleITK.

Points are LPS mm, (x, y, z); a (4, 4) matrix carries points of the reference to points of the target.
"""

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Bool, Float, Float64

from anatomark.types import AnatomarkError

MIN_OVERLAP = 0.1
"""Smallest share of the registered reference voxels that must lie inside the target."""

MIN_SIDE = 4
"""Fewest voxels along a side at the coarsest level of a pyramid."""


def checked_patch(image: sitk.Image, role: str, *, shrink: int = 1) -> sitk.Image:
    """The patch as ``float32``.

    Raises:
        AnatomarkError: it is not 3-D or not grey, holds NaN or infinity, is constant, or has fewer than
            ``MIN_SIDE * shrink`` voxels along a side.
    """
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise AnatomarkError(
            f"the {role} patch has {image.GetDimension()} dimensions and {image.GetNumberOfComponentsPerPixel()}"
            " component(s) per voxel; give a 3-D grey volume"
        )
    if min(image.GetSize()) < MIN_SIDE * shrink:
        raise AnatomarkError(
            f"the {role} patch has {' x '.join(map(str, image.GetSize()))} voxels; shrinking by {shrink} needs"
            f" {MIN_SIDE * shrink} along each side: use a larger patch or shrink less"
        )
    voxels = sitk.GetArrayViewFromImage(image)
    if not np.isfinite(voxels).all():
        raise AnatomarkError(f"the {role} patch holds NaN or infinity and cannot be registered; check its file")
    if voxels.min() == voxels.max():
        raise AnatomarkError(f"all voxels of the {role} patch equal {voxels.min():g}; check its file and its position")
    return sitk.Cast(image, sitk.sitkFloat32)


def check_same_grid(image: sitk.Image, reference: sitk.Image, role: str) -> None:
    """Raises :class:`AnatomarkError` unless both images have the same voxels in space."""
    if image.GetSize() != reference.GetSize() or not all(
        np.allclose(mine, other, rtol=0, atol=1e-3 * min(reference.GetSpacing()))
        for mine, other in (
            (image.GetOrigin(), reference.GetOrigin()),
            (image.GetSpacing(), reference.GetSpacing()),
            (image.GetDirection(), reference.GetDirection()),
        )
    ):
        raise AnatomarkError(f"the {role} lies on another grid than the reference patch; resample it to that grid")


def match_histogram(target: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """The target with intensities mapped so that its histogram above the mean follows the reference's.

    Demons and mean squares assume equal intensities. 256 levels and 15 matched quantiles; voxels below the mean, which
    are mostly background, do not count.
    """
    return sitk.HistogramMatching(
        target, reference, numberOfHistogramLevels=256, numberOfMatchPoints=15, thresholdAtMeanIntensity=True
    )


def resample_onto(reference: sitk.Image, target: sitk.Image, matrix: Float[np.ndarray, "4 4"]) -> sitk.Image:
    """The target on the reference's grid, linearly; ``matrix`` carries reference mm to target mm.

    Beyond its border the target continues with its nearest voxel, so no edge appears that is not in the image.

    Raises:
        AnatomarkError: the matrix has no inverse, or the patches do not overlap.
    """
    transform = as_transform(matrix)
    check_overlap(reference, target, transform, region_of(reference, None), when="under the given matrix")
    return sitk.Resample(target, reference, transform, sitk.sitkLinear, 0.0, target.GetPixelID(), True)


def transform_points(matrix: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """Points of the reference, LPS mm, carried to the target."""
    carried: Float64[np.ndarray, "n 3"] = points @ matrix[:3, :3].T.astype(np.float64) + matrix[:3, 3]
    return carried


def as_transform(matrix: Float[np.ndarray, "4 4"]) -> sitk.AffineTransform:
    """A (4, 4) matrix as SimpleITK's transform.

    Raises:
        AnatomarkError: it is no affine map, or has no inverse.
    """
    if not np.isfinite(matrix).all() or not np.allclose(matrix[3], (0, 0, 0, 1)) or not np.linalg.det(matrix[:3, :3]):
        raise AnatomarkError(
            f"the pose {matrix.tolist()} is no invertible affine map; give a (4, 4) matrix of reference mm to target mm"
        )
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].astype(float).ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].astype(float).tolist())
    return transform


def as_matrix(transform: sitk.Transform) -> Float64[np.ndarray, "4 4"]:
    """SimpleITK's linear transform, ``p -> A (p - centre) + centre + translation``, as a (4, 4) matrix."""
    linear = np.array(transform.GetMatrix()).reshape(3, 3)
    centre = np.array(transform.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = centre + np.array(transform.GetTranslation()) - linear @ centre
    return matrix


def region_of(reference: sitk.Image, mask: sitk.Image | None) -> Bool[np.ndarray, "k j i"]:
    """Which voxels of the reference count: those of its mask, or all.

    Raises:
        AnatomarkError: the mask is empty or lies on another grid.
    """
    if mask is None:
        return np.ones(reference.GetSize()[::-1], dtype=bool)
    check_same_grid(mask, reference, "mask")
    region: Bool[np.ndarray, "k j i"] = sitk.GetArrayViewFromImage(mask) != 0
    if not region.any():
        raise AnatomarkError("the reference's mask is empty; give one that covers the structure")
    return region


def mask_image(reference: sitk.Image, region: Bool[np.ndarray, "k j i"]) -> sitk.Image:
    """The region as SimpleITK's mask, 0 and 1, on the reference's grid."""
    image = sitk.GetImageFromArray(region.astype(np.uint8))
    image.CopyInformation(reference)
    return image


def inside(reference: sitk.Image, target: sitk.Image, transform: sitk.Transform) -> Bool[np.ndarray, "k j i"]:
    """Which voxels of the reference fall inside the target."""
    ones = sitk.Image(target.GetSize(), sitk.sitkUInt8) + 1
    ones.CopyInformation(target)
    seen = sitk.Resample(ones, reference, transform, sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
    within: Bool[np.ndarray, "k j i"] = sitk.GetArrayFromImage(seen).astype(bool)
    return within


def check_overlap(
    reference: sitk.Image,
    target: sitk.Image,
    transform: sitk.Transform,
    region: Bool[np.ndarray, "k j i"],
    *,
    when: str,
) -> None:
    """Raises :class:`AnatomarkError` if less than ``MIN_OVERLAP`` of the region lies inside the target."""
    share = float(inside(reference, target, transform)[region].mean())
    if share < MIN_OVERLAP:
        raise AnatomarkError(
            f"{share:.0%} of the reference's voxels lie in the target {when}, less than {MIN_OVERLAP:.0%}; check the"
            " pose and both patches' origins"
        )

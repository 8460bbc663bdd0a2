"""Diffeomorphic demons in a pyramid with SimpleITK: Wang et al. 2021, section 2.3; Vercauteren et al. 2009.

The reference patch is the fixed image and the target patch the moving one. The displacement field then lives on the
reference and points to the target, so landmarks are carried without inverting anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Float, Float64

from anatomark.registration.patches import (
    check_same_grid,
    checked_patch,
    match_histogram,
    resample_onto,
    transform_points,
)
from anatomark.types import AnatomarkError


@dataclass(frozen=True, kw_only=True)
class Deformation:
    """A displacement, then a linear map: points of the reference to points of the target.

    Attributes:
        field: displacement in mm (LPS) of every voxel of the reference, on its grid, before ``matrix``.
        matrix: (4, 4), LPS mm of the reference to LPS mm of the target.
    """

    field: sitk.Image
    matrix: Float64[np.ndarray, "4 4"]

    @cached_property
    def determinant(self) -> Float64[np.ndarray, "k j i"]:
        """See :func:`jacobian_determinant`."""
        return jacobian_determinant(self.field)

    @property
    def folding(self) -> float:
        """Share of the field's voxels at which space folds: its determinant is not positive."""
        return float((self.determinant <= 0).mean())

    def carry(self, points: Float[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Points of the reference, LPS mm, carried to the target, LPS mm.

        Raises:
            AnatomarkError: a point lies outside the reference patch.
        """
        return transform_points(self.matrix, displace_points(self.field, points))


class DiffeomorphicDemons:
    """A pyramid of ITK's diffeomorphic demons; each level starts from the displacement of the one before.

    Args:
        shrink: factors of the pyramid's levels, from coarse to fine: (4, 2, 1) in the paper; (4, 2) is as exact on CT
            of mouse heads and much faster.
        iterations: steps of each level; the paper gives none.
        field_sigma: smoothing of the displacement after each step, voxels of the level.
        update_sigma: smoothing of each update before it is added (fluid-like), voxels of the level; 0 for none.
        histogram_matching: map the target's intensities to the reference's first.
        threads: threads of one registration.

    Raises:
        AnatomarkError: an option cannot be.
    """

    def __init__(
        self,
        *,
        shrink: Sequence[int] = (4, 2, 1),
        iterations: Sequence[int] = (60, 40, 20),
        field_sigma: float = 1.0,
        update_sigma: float = 0.0,
        histogram_matching: bool = True,
        threads: int = 1,
    ) -> None:
        if not shrink or len(iterations) != len(shrink) or min(*shrink, *iterations) < 1:
            raise AnatomarkError(
                f"shrink={list(shrink)} and iterations={list(iterations)} make no pyramid; give one of each, at least"
                " 1, per level"
            )
        if not (field_sigma >= 0 and update_sigma >= 0):
            raise AnatomarkError(
                f"field_sigma={field_sigma}, update_sigma={update_sigma}; give smoothing in voxels, 0 for none"
            )
        if threads < 1:
            raise AnatomarkError(f"threads={threads}; give at least 1")
        self.shrink = list(shrink)
        self.iterations = list(iterations)
        self.field_sigma = field_sigma
        self.update_sigma = update_sigma
        self.histogram_matching = histogram_matching
        self.threads = threads

    def __call__(
        self,
        reference: sitk.Image,
        target: sitk.Image,
        *,
        matrix: Float[np.ndarray, "4 4"] | None = None,
        weight: sitk.Image | None = None,
    ) -> Deformation:
        """Registers one pair.

        Args:
            reference: patch on whose grid the displacement is found.
            target: patch that it points to, on any grid.
            matrix: linear alignment, reference mm to target mm; the identity when None.
            weight: soft mask in [0, 1] on the reference's grid, see :func:`soft_mask`; everything counts when None.

        Raises:
            AnatomarkError: a patch is not 3-D, constant, too small or holds NaN; they do not overlap; the matrix has no
                inverse; the weight is on another grid, empty or outside [0, 1].
        """
        linear = np.eye(4) if matrix is None else matrix.astype(np.float64)
        fixed = checked_patch(reference, "reference", shrink=max(self.shrink))
        moving = resample_onto(fixed, checked_patch(target, "target"), linear)
        checked_patch(moving, "aligned target")
        if self.histogram_matching:
            moving = match_histogram(moving, fixed)
        fixed, moving = _weighted(fixed, moving, weight)
        field = None
        for factor, steps in zip(self.shrink, self.iterations, strict=True):
            field = self._level(_shrunk(fixed, factor), _shrunk(moving, factor), field, steps)
        field = _resampled(field, fixed)
        if not np.isfinite(sitk.GetArrayViewFromImage(field)).all():
            raise AnatomarkError("demons diverged to NaN or infinity; check both patches or smooth the field more")
        return Deformation(field=field, matrix=linear)

    def _level(self, fixed: sitk.Image, moving: sitk.Image, start: sitk.Image | None, steps: int) -> sitk.Image:
        demons = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetNumberOfThreads(self.threads)
        demons.SetNumberOfIterations(steps)
        demons.SetSmoothDisplacementField(self.field_sigma > 0)
        demons.SetStandardDeviations(self.field_sigma)
        demons.SetSmoothUpdateField(self.update_sigma > 0)
        demons.SetUpdateFieldStandardDeviations(self.update_sigma)
        # ITK stops early by the mean update in mm, which a large background or a small voxel makes tiny.
        demons.SetMaximumRMSError(0.0)
        if start is None:
            return demons.Execute(fixed, moving)
        return demons.Execute(fixed, moving, _resampled(start, fixed))


def soft_mask(mask: sitk.Image, *, margin_mm: float, fade_mm: float) -> sitk.Image:
    """A weight of 1 up to ``margin_mm`` around the mask that falls linearly to 0 over the next ``fade_mm``.

    Raises:
        AnatomarkError: the mask is empty, or a distance is negative or not finite, or the fade is 0.
    """
    if not (0 <= margin_mm < np.inf and 0 < fade_mm < np.inf):
        raise AnatomarkError(
            f"margin_mm={margin_mm}, fade_mm={fade_mm}; give a margin of at least 0 and a fade above 0 mm"
        )
    structure = mask != 0
    if not sitk.GetArrayViewFromImage(structure).any():
        raise AnatomarkError("the reference's mask is empty; give one that covers the structure")
    distance_mm = sitk.SignedMaurerDistanceMap(structure, squaredDistance=False, useImageSpacing=True)
    weight = np.clip((margin_mm + fade_mm - sitk.GetArrayViewFromImage(distance_mm)) / fade_mm, 0, 1)
    image = sitk.GetImageFromArray(weight.astype(np.float32))
    image.CopyInformation(mask)
    return image


def displace_points(field: sitk.Image, points: Float[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """Points, LPS mm, moved by the displacement field at their places, interpolated linearly.

    Raises:
        AnatomarkError: a point lies outside the field.
    """
    index = np.array([field.TransformPhysicalPointToContinuousIndex(point) for point in points.tolist()])
    outside = (index.reshape(-1, 3) < -0.5) | (index.reshape(-1, 3) > np.array(field.GetSize()) - 0.5)
    if outside.any():
        row = int(outside.any(axis=1).argmax())
        raise AnatomarkError(
            f"point {row} at {points[row].tolist()} mm lies outside the reference patch; use a larger patch or correct"
            " the point"
        )
    transform = sitk.DisplacementFieldTransform(sitk.Image(field))
    moved = [transform.TransformPoint(point) for point in points.tolist()]
    return np.array(moved, dtype=np.float64).reshape(-1, 3)


def jacobian_determinant(field: sitk.Image) -> Float64[np.ndarray, "k j i"]:
    """Determinant of the Jacobian of ``p -> p + field(p)`` at every voxel.

    ITK's own filter leaves out the direction of the image, so that it is wrong on oblique volumes.
    """
    displacement = sitk.GetArrayFromImage(field).astype(np.float64)
    # d displacement / d index, (k j i component axis), axes in (i, j, k) order
    by_axis = np.stack(np.gradient(displacement, axis=(2, 1, 0)), axis=-1)
    direction = np.array(field.GetDirection()).reshape(3, 3)
    to_index = np.linalg.inv(direction * np.array(field.GetSpacing()))
    determinant: Float64[np.ndarray, "k j i"] = np.linalg.det(np.eye(3) + by_axis @ to_index)
    return determinant


def _weighted(fixed: sitk.Image, moving: sitk.Image, weight: sitk.Image | None) -> tuple[sitk.Image, sitk.Image]:
    """Both patches in units of the reference's range, faded to its mean where the weight is 0.

    Fading to the mean leaves the least edge; the range makes ITK's threshold of equal intensities one of contrast.
    """
    voxels = sitk.GetArrayViewFromImage(fixed).astype(np.float64)
    share = np.ones_like(voxels) if weight is None else _checked_weight(fixed, weight)
    level, scale = float((voxels * share).sum() / share.sum()), float(np.ptp(voxels))
    faded = []
    for image in (fixed, moving):
        values = (sitk.GetArrayViewFromImage(image).astype(np.float64) - level) / scale * share
        patch = sitk.GetImageFromArray(values.astype(np.float32))
        patch.CopyInformation(fixed)
        faded.append(patch)
    return faded[0], faded[1]


def _checked_weight(fixed: sitk.Image, weight: sitk.Image) -> Float64[np.ndarray, "k j i"]:
    check_same_grid(weight, fixed, "weight")
    share: Float64[np.ndarray, "k j i"] = sitk.GetArrayFromImage(weight).astype(np.float64)
    if not (share.min() >= 0 and share.max() <= 1):
        raise AnatomarkError("the weight leaves [0, 1]; give a soft mask, such as that of soft_mask")
    if not share.any():
        raise AnatomarkError("the weight is 0 everywhere; give a soft mask that covers the structure")
    return share


def _shrunk(image: sitk.Image, factor: int) -> sitk.Image:
    """Means of blocks: smoothed and shrunk at once, and exactly in place, which sitk.Shrink is not for even factors."""
    return sitk.BinShrink(image, [factor] * 3)


def _resampled(field: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """The field on another level's grid; beyond its last voxel it continues with that voxel's displacement."""
    return sitk.Resample(
        field, grid, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkLinear, 0.0, field.GetPixelID(), True
    )

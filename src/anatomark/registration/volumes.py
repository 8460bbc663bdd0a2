"""Linear registration of 3-D patches with SimpleITK: Wang et al. 2021, section 2.3.

Images are SimpleITK's, so spacing, origin and direction are always theirs. Points are LPS mm, (x, y, z); a pose is a
(4, 4) matrix that carries points of the reference to points of the target.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Bool, Float, Float64

from anatomark.registration.patches import (
    as_matrix,
    as_transform,
    check_overlap,
    checked_patch,
    inside,
    mask_image,
    region_of,
)
from anatomark.types import AnatomarkError

RIGID, SIMILARITY = "rigid", "similarity"
MEAN_SQUARES, CORRELATION = "mean_squares", "correlation"


@dataclass(frozen=True, kw_only=True)
class VolumeAlignment:
    """A rigid motion or similarity between two patches.

    Attributes:
        matrix: (4, 4), points of the reference to points of the target, LPS mm.
        correlation: normalised correlation of the aligned patches, in [-1, 1], over the reference's mask where one was
            given; below about 0.5 the alignment is not to be trusted.
    """

    matrix: Float64[np.ndarray, "4 4"]
    correlation: float


class VolumeRegistration:
    """Multi-resolution registration of two patches by a rigid motion or a similarity.

    The paper: rigid (Euler 3-D) and mean squares. The robust choice, for targets of another size or scanner: a
    similarity and normalised correlation under the reference's mask. The pose is the moving initial transform, so the
    optimiser always works near the identity, however far the volume is turned. All voxels and a fixed number of
    threads: the result depends on nothing but the images.

    Args:
        transform: "rigid", three angles and a translation, or "similarity", with an isotropic scale.
        metric: "mean_squares", for equal intensities, or "correlation", for a different gain and offset.
        shrink: factors of the pyramid's levels, from coarse to fine.
        sigmas_mm: Gaussian smoothing of each level, mm.
        iterations: most steps per level of the regular-step gradient descent.
        threads: threads of one registration; the last digits depend on their number, never on the run.

    Raises:
        AnatomarkError: an option cannot be.
    """

    def __init__(
        self,
        *,
        transform: str = RIGID,
        metric: str = MEAN_SQUARES,
        shrink: Sequence[int] = (4, 2, 1),
        sigmas_mm: Sequence[float] = (2.0, 1.0, 0.0),
        iterations: int = 300,
        threads: int = 1,
    ) -> None:
        if transform not in (RIGID, SIMILARITY):
            raise AnatomarkError(f"transform is {transform!r}; choose {RIGID} or {SIMILARITY}")
        if metric not in (MEAN_SQUARES, CORRELATION):
            raise AnatomarkError(f"metric is {metric!r}; choose {MEAN_SQUARES} or {CORRELATION}")
        if not shrink or min(shrink) < 1 or len(sigmas_mm) != len(shrink) or not all(sigma >= 0 for sigma in sigmas_mm):
            raise AnatomarkError(
                f"shrink={list(shrink)} and sigmas_mm={list(sigmas_mm)} make no pyramid; give one factor of at least 1"
                " and one sigma of at least 0 per level"
            )
        if min(iterations, threads) < 1:
            raise AnatomarkError(f"iterations={iterations}, threads={threads}; give at least 1 of each")
        self.transform = transform
        self.metric = metric
        self.shrink = list(shrink)
        self.sigmas_mm = list(sigmas_mm)
        self.iterations = iterations
        self.threads = threads

    def __call__(
        self,
        reference: sitk.Image,
        target: sitk.Image,
        *,
        pose: Float[np.ndarray, "4 4"] | None = None,
        mask: sitk.Image | None = None,
    ) -> VolumeAlignment:
        """Registers one pair.

        Args:
            reference: patch whose points the result carries.
            target: patch that they are carried to.
            pose: first guess, reference mm to target mm; the identity when None.
            mask: region of the reference that counts, non-zero on its grid; all of it when None.

        Raises:
            AnatomarkError: a patch is not 3-D, constant, too small or holds NaN; the mask is empty or on another grid;
                the pose has no inverse; the patches do not overlap at the start, or no longer at the end.
        """
        fixed = checked_patch(reference, "reference", shrink=max(self.shrink))
        moving = checked_patch(target, "target", shrink=max(self.shrink))
        start = as_transform(np.eye(4) if pose is None else pose)
        region = region_of(fixed, mask)
        check_overlap(fixed, moving, start, region, when="before their registration")
        motion = sitk.Euler3DTransform() if self.transform == RIGID else sitk.Similarity3DTransform()
        # About the region's centre, rotation and translation disturb each other least.
        centre = np.argwhere(region).mean(axis=0)[::-1]
        motion.SetCenter(fixed.TransformContinuousIndexToPhysicalPoint(centre.tolist()))
        method = self._method(voxel_mm=min(fixed.GetSpacing()))
        if mask is not None:
            method.SetMetricFixedMask(mask_image(fixed, region))
        method.SetMovingInitialTransform(start)
        method.SetInitialTransform(motion, inPlace=True)
        # A lost overlap is reported below; ITK would also print it.
        sitk.ProcessObject.GlobalWarningDisplayOff()
        try:
            method.Execute(fixed, moving)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise AnatomarkError(f"registration failed: {reason}; check both patches and the pose") from error
        matrix = as_matrix(start) @ as_matrix(motion)
        found = as_transform(matrix)
        check_overlap(fixed, moving, found, region, when="after their registration")
        return VolumeAlignment(matrix=matrix, correlation=_correlation(fixed, moving, found, region))

    def _method(self, *, voxel_mm: float) -> sitk.ImageRegistrationMethod:
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(self.threads)
        if self.metric == MEAN_SQUARES:
            method.SetMetricAsMeanSquares()
        else:
            method.SetMetricAsCorrelation()
        method.SetMetricSamplingStrategy(method.NONE)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetShrinkFactorsPerLevel(self.shrink)
        method.SetSmoothingSigmasPerLevel(self.sigmas_mm)
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=2 * voxel_mm,
            minStep=voxel_mm / 1000,
            numberOfIterations=self.iterations,
            relaxationFactor=0.8,  # halving the step at each turn, ITK's default, stops short of the scale
            gradientMagnitudeTolerance=1e-12,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        return method


def _correlation(
    fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform, region: Bool[np.ndarray, "k j i"]
) -> float:
    aligned = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear))
    seen = region & inside(fixed, moving, transform)
    a, b = sitk.GetArrayViewFromImage(fixed)[seen].astype(float), aligned[seen].astype(float)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        raise AnatomarkError(
            "a patch is constant where the aligned patches overlap, so their correlation is undefined; check the pose"
            " and the mask"
        )
    return float(np.corrcoef(a, b)[0, 1])

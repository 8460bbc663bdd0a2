"""From the pose of one target to its landmarks: linear registration, demons, and how well both went."""

from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from jaxtyping import Float64

from anatomark.evaluators.one_shot_patches import ReferencePatch, cut_target, whole
from anatomark.evaluators.one_shot_reliability import doubts_of
from anatomark.registration.demons import Deformation, DiffeomorphicDemons
from anatomark.registration.patches import as_transform, inside, resample_onto, transform_points
from anatomark.registration.volumes import VolumeRegistration
from anatomark.volume_types import VolumePrediction, VolumeSample

START, LOCALISATION, INERTIA, LINEAR, DEMONS = "start", "localisation", "inertia", "rigid", "demons"
Points = Float64[np.ndarray, "n 3"]

_SHARED_FIELD = 0.5
"""Least share of the reference's field of view that the target's has to cover for the naive start to be as it is."""


@dataclass(frozen=True, kw_only=True)
class AlignedVolume:
    """One target in line with the reference.

    Attributes:
        points: stage -> where it puts the reference's landmarks, LPS mm of the target.
        seconds: stage -> its duration.
        matrix: linear alignment, reference mm to target mm.
        correlation: of the intensities within the region after it.
        folding: share of folding voxels of the demons' field; None without demons.
        warped: the target on the reference patch's grid, by ``matrix`` alone.
        doubts: signal -> a number per landmark, larger where it is less to be relied on.
    """

    points: dict[str, Points]
    seconds: dict[str, float]
    matrix: Float64[np.ndarray, "4 4"]
    correlation: float
    folding: float | None
    warped: sitk.Image
    doubts: dict[str, Float64[np.ndarray, "n"]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The two registrations, in their order.

    Attributes:
        registration: by a linear map.
        demons: by a diffeomorphism; None to do without.
        window_mm: edge of the cube around a landmark in which intensities are compared.
    """

    registration: VolumeRegistration
    demons: DiffeomorphicDemons | None
    window_mm: float

    def __call__(self, reference: ReferencePatch, sample: VolumeSample, prediction: VolumePrediction) -> AlignedVolume:
        """Registers a target whose structure was found.

        Raises:
            AnatomarkError: as the registrations; the pose puts the patch outside the target.
        """
        pose = prediction["pose"].double()
        points = posed_points(reference, prediction)
        seconds = {stage: float(prediction["seconds"][stage]) for stage in points}
        begun = perf_counter()
        target = cut_target(sample, reference, pose)
        linear = self.registration(reference.image, target, pose=pose.numpy(), mask=reference.region)
        points[LINEAR] = transform_points(linear.matrix, reference.points)
        seconds[LINEAR] = perf_counter() - begun
        deformation = None
        if self.demons is not None:
            begun = perf_counter()
            deformation = self.demons(reference.image, target, matrix=linear.matrix, weight=reference.weight)
            points[DEMONS] = deformation.carry(reference.points)
            seconds[DEMONS] = perf_counter() - begun
        warped = resample_onto(reference.image, target, linear.matrix)
        compared = warped if deformation is None else deform(deformation, reference.image, target)
        return AlignedVolume(
            points=points,
            seconds=seconds,
            matrix=linear.matrix,
            correlation=linear.correlation,
            folding=None if deformation is None else deformation.folding,
            warped=warped,
            doubts=doubts_of(
                reference.image,
                compared,
                reference.points,
                deformation=deformation,
                window_mm=self.window_mm,
            ),
        )

    def naive(self, reference: ReferencePatch, sample: VolumeSample) -> Points:
        """The reference's landmarks by the same registrations of the whole volumes, knowing nothing of the structure.

        It starts from the patient's coordinates as they are; where the fields of view hardly overlap, from their
        centres.

        Args:
            reference: the annotated structure in its whole volume; its mask is not used.
            sample: the target.

        Raises:
            AnatomarkError: as the registrations.
        """
        fixed = reference.whole
        assert fixed is not None
        moving = whole(sample, fixed.GetSpacing()[0])
        pose = np.eye(4)
        if inside(fixed, moving, as_transform(pose)).mean() < _SHARED_FIELD:
            ours, theirs = (s["original"].geometry.centre_mm for s in (reference.sample, sample))
            pose[:3, 3] = (theirs - ours).numpy()
        matrix = self.registration(fixed, moving, pose=pose).matrix
        if self.demons is None:
            return transform_points(matrix, reference.points)
        return self.demons(fixed, moving, matrix=matrix).carry(reference.points)


def posed_points(reference: ReferencePatch, prediction: VolumePrediction) -> dict[str, Points]:
    """Where the stages before registration put the reference's landmarks.

    The pose takes the centre of the reference's structure to the last centre, so that the former needs no field of its
    own. "start" and "localisation" move the reference's landmarks by the way from it to the first and last centre;
    "inertia" turns them as well.
    """
    pose, centres = prediction["pose"].double(), prediction["centres_mm"].double()
    from_centre = torch.linalg.solve(pose[:3, :3], centres[-1] - pose[:3, 3])
    return {
        START: reference.points + (centres[0] - from_centre).numpy(),
        LOCALISATION: reference.points + (centres[-1] - from_centre).numpy(),
        INERTIA: transform_points(pose.numpy(), reference.points),
    }


def deform(deformation: Deformation, reference: sitk.Image, target: sitk.Image) -> sitk.Image:
    """The target on the reference's grid: voxel p shows the target where p is carried to."""
    # SimpleITK applies the last of the list first.
    transform = sitk.CompositeTransform(
        [as_transform(deformation.matrix), sitk.DisplacementFieldTransform(sitk.Image(deformation.field))]
    )
    return sitk.Resample(target, reference, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32, True)

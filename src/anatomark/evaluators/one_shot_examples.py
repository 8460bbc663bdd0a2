"""What the one-shot evaluator draws (Wang et al. 2021, figure 3)."""

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from jaxtyping import Float, Float64
from matplotlib.figure import Figure

from anatomark.evaluators.one_shot_alignment import AlignedVolume
from anatomark.evaluators.one_shot_patches import ReferencePatch
from anatomark.registration.patches import transform_points
from anatomark.report.volume_figures import (
    PlanesRow,
    draw_centre_paths,
    draw_distances,
    draw_landmark_planes,
    three_projections,
    three_slices,
)
from anatomark.volume_types import VolumePrediction, VolumeSample

FOUND, EXPERT = "detected", "expert"


class Examples:
    """Keeps the pictures of the first targets, and every target's distances.

    Args:
        n: targets with pictures.
    """

    def __init__(self, *, n: int) -> None:
        self.n = n
        self._distances: dict[str, list[float]] = {}
        self._paths: list[PlanesRow] = []
        self._landmarks: list[PlanesRow] = []

    def offer(
        self, reference: ReferencePatch, sample: VolumeSample, prediction: VolumePrediction, aligned: AlignedVolume
    ) -> None:
        """Takes what is shown of one aligned target."""
        centres = prediction["centres_mm"].double()
        self._distances[sample["key"]] = (centres - centres[-1]).norm(dim=1).tolist()
        if len(self._paths) < self.n:
            self._paths.append(_path_row(sample, prediction))
            self._landmarks.append(_landmark_row(reference, sample, aligned))

    def figures(self) -> dict[str, Figure]:
        """Title -> figure; none where no target was aligned."""
        figures = {}
        if self._distances:
            figures["Distance to the final centre, by round"] = draw_distances(self._distances)
        if self._paths:
            figures["Centres over rounds"] = draw_centre_paths(self._paths)
            drawn = draw_landmark_planes(self._landmarks, found=FOUND, expert=EXPERT)
            figures["Detected and expert landmarks in the aligned patch"] = drawn
        return figures


def _path_row(sample: VolumeSample, prediction: VolumePrediction) -> PlanesRow:
    volume = sample["volume"]
    path = volume.geometry.to_index(prediction["centres_mm"].double()).cpu().numpy()
    slices = three_slices(volume.voxels.cpu().numpy(), path[-1].tolist())
    return PlanesRow(title=sample["key"], images=[image.copy() for image in slices], points={"centres": path})


def _landmark_row(reference: ReferencePatch, sample: VolumeSample, aligned: AlignedVolume) -> PlanesRow:
    """Both sets of landmarks brought to the reference's patch by the inverse of the linear alignment."""
    back = np.linalg.inv(aligned.matrix)
    points = {FOUND: list(aligned.points.values())[-1]}
    if sample.get("landmarks"):
        points[EXPERT] = torch.stack(list(sample["landmarks"].values())).double().cpu().numpy()
    return PlanesRow(
        title=sample["key"],
        images=three_projections(sitk.GetArrayFromImage(aligned.warped)),
        points={name: _index(reference.image, transform_points(back, of_name)) for name, of_name in points.items()},
    )


def _index(image: sitk.Image, points: Float[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    return np.array([image.TransformPhysicalPointToContinuousIndex(point) for point in points.tolist()])

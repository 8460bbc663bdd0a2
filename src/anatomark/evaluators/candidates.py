"""From one frame's prediction to its landmark candidates: peaks, sub-pixel positions and feature vectors."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anatomark.evaluators.clusters import FloatArray
from anatomark.evaluators.landmark_frame import Annotation, grey_image, read_annotation
from anatomark.evaluators.maps import main_map
from anatomark.geometry.peaks import cell_to_pixel, find_peaks, refine_peaks
from anatomark.types import AnatomarkError, Prediction, Sample


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The peaks of one frame before they are matched.

    Attributes:
        frame: the frame and its annotations.
        xy: sub-pixel positions, px of the image, (p, 2).
        values: map heights, (p,), highest first.
        features: feature vectors at the integer peaks, (p, f).
        image: grey uint8 image (h, w); complete frames only.
        saliency: the map (rows, columns); complete frames only.
    """

    frame: Annotation
    xy: FloatArray
    values: FloatArray
    features: FloatArray
    image: NDArray[np.uint8] | None
    saliency: NDArray[np.float32] | None


@dataclass(frozen=True, kw_only=True)
class CandidateReader:
    """Reads the candidates of single frames; the arguments are those of :class:`LandmarkDiscovery`."""

    planes: dict[str, tuple[str, ...]]
    min_distance: int
    threshold: float
    saliency_norm: Literal["max", "none"]
    normalise_features: bool

    def __call__(self, sample: Sample, prediction: Prediction, *, keep_image: bool) -> Candidates:
        """Keeps of a prediction what matching needs.

        Args:
            sample: the frame.
            prediction: its maps, of which the main one counts, and features.
            keep_image: keep image and map for figures and image-based registration, if the frame is complete.

        Raises:
            AnatomarkError: no features, several maps that belong to no class, another grid, values that are not
                finite, unknown plane.
        """
        frame = read_annotation(sample, prediction.get("run", "run"), self.planes)
        maps, features = _checked(sample, prediction)
        if self.saliency_norm == "max":
            maps = maps / maps.amax().clamp_min(torch.finfo(maps.dtype).tiny)
        peaks = find_peaks(maps, min_distance=self.min_distance, threshold=self.threshold)
        xy = cell_to_pixel(refine_peaks(maps, peaks), prediction.get("map_stride", 1))
        vectors = features[:, peaks.cell[:, 1], peaks.cell[:, 0]].T
        if self.normalise_features:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        keep = keep_image and frame.complete
        return Candidates(
            frame=frame,
            xy=_array(xy),
            values=_array(peaks.value),
            features=_array(vectors),
            image=grey_image(sample["image"]) if keep else None,
            saliency=maps[0].cpu().numpy() if keep else None,
        )


def _checked(sample: Sample, prediction: Prediction) -> tuple[Tensor, Tensor]:
    key, maps = prediction["key"], main_map(sample, prediction)[None].detach().float()
    if "features" not in prediction:
        raise AnatomarkError(
            f"the prediction of frame {key} has no `features` to match landmarks by; use a model that gives"
            " them, such as `saliency`"
        )
    features = prediction["features"].detach().float()
    if features.shape[1:] != maps.shape[1:]:
        raise AnatomarkError(
            f"the prediction of frame {key} has features on a {tuple(features.shape[1:])} grid and a map on"
            f" {tuple(maps.shape[1:])}; the model must give both on one grid"
        )
    if not (maps.isfinite().all() and features.isfinite().all()):
        raise AnatomarkError(f"the prediction of frame {key} is not finite; training diverged, lower the learning rate")
    return maps, features


def _array(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.double().cpu().numpy()
    return array

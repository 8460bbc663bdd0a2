"""What a prediction says about a frame, in px of the frame as it came."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.data.original import WayBack
from anatomark.evaluators.localisation_rules import BoxRules
from anatomark.evaluators.maps import full_size_map, main_map
from anatomark.evaluators.polar_frames import OUTSIDE
from anatomark.geometry.peaks import cell_to_pixel, find_peaks, refine_peaks
from anatomark.inference.samples import Prepared
from anatomark.metrics.saliency import stretch
from anatomark.types import AnatomarkError, Prediction, Sample

Probabilities = Callable[[Float[Tensor, "b k"]], Float[Tensor, "b k"]]


@dataclass(frozen=True, kw_only=True)
class Landmark:
    """A point.

    Attributes:
        name: a structure, or "peak 1" for the highest of the map.
        x: px of the frame.
        y: px of the frame.
        weight: height of the map there, in [0, 1]; None for a point that the model names itself.
    """

    name: str
    x: float
    y: float
    weight: float | None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found in a frame.

    Attributes:
        label: the most probable class, and None without classes.
        score: its probability.
        probabilities: of every class by name; empty without classes.
        box: (x0, y0, x1, y1) around the class, px, cut off at the frame's border; None without classes.
        landmarks: points that the model predicts, else the peaks of the map, highest first.
        saliency: the map at the frame's size, in [0, 1].
        sector_quality: how well the sector fits that was found in the frame; None where none was looked for.
    """

    label: str | None
    score: float | None
    probabilities: Mapping[str, float]
    box: Float[Tensor, "4"] | None
    landmarks: Sequence[Landmark]
    saliency: Float[Tensor, "h w"]
    sector_quality: float | None


@dataclass(frozen=True, kw_only=True)
class FindingReader:
    """Makes findings of predictions, as the run's evaluators would.

    Attributes:
        classes: class names in the order of the logits.
        probabilities: makes probabilities of logits.
        rules: how a box is made of a map.
        min_distance: of peaks, see :func:`~anatomark.geometry.peaks.find_peaks`.
        threshold: smallest height of a peak.
        saliency_norm: "max" divides the map by its maximum before its peaks are found; "none" takes it as it is.
    """

    classes: Sequence[str]
    probabilities: Probabilities
    rules: BoxRules
    min_distance: int
    threshold: float
    saliency_norm: Literal["max", "none"]

    def __call__(self, prepared: Prepared, prediction: Prediction, back: WayBack) -> Finding:
        """Reads the prediction of one frame.

        Args:
            prepared: the frame as the model saw it.
            prediction: what the model says of it.
            back: from the sample to the frame.

        Raises:
            AnatomarkError: there are not as many classes as logits, or several maps that belong to no class.
        """
        sample = prepared.sample
        probabilities = self._classify(prediction)
        label = max(probabilities, key=probabilities.__getitem__, default=None)
        whole = full_size_map(sample, prediction)
        box = None if label is None else self._box(whole, back)
        return Finding(
            label=label,
            score=None if label is None else probabilities[label],
            probabilities=probabilities,
            box=box,
            landmarks=list(_points(prediction, back)) or list(self._peaks(sample, prediction, back)),
            saliency=back.map(whole).clamp(0, 1),
            sector_quality=prepared.sector_quality,
        )

    def _classify(self, prediction: Prediction) -> dict[str, float]:
        if "logits" not in prediction:
            return {}
        logits = prediction["logits"].float()
        if len(logits) != len(self.classes):
            raise AnatomarkError(
                f"the model tells {len(logits)} classes and data.classes names {len(self.classes)}; give all the names"
                " it was trained with"
            )
        return dict(zip(self.classes, self.probabilities(logits[None])[0].tolist(), strict=True))

    def _box(self, whole: Float[Tensor, "h w"], back: WayBack) -> Float[Tensor, "4"]:
        stretched = stretch(whole[None])
        in_frame = back.map(stretched[0] - OUTSIDE)[None] + OUTSIDE
        return self.rules.headline_box(stretched, in_frame)[0]

    def _peaks(self, sample: Sample, prediction: Prediction, back: WayBack) -> Iterator[Landmark]:
        maps = main_map(sample, prediction)[None].float()
        if self.saliency_norm == "max":
            maps = maps / maps.amax().clamp_min(torch.finfo(maps.dtype).tiny)
        peaks = find_peaks(maps, min_distance=self.min_distance, threshold=self.threshold)
        points = back.points(cell_to_pixel(refine_peaks(maps, peaks), prediction.get("map_stride", 1)))
        seen = back.inside(points)  # not those in what pads the frame to the network's size
        found = zip(points[seen].tolist(), peaks.value[seen].tolist(), strict=True)
        for number, ((x, y), weight) in enumerate(found, start=1):
            yield Landmark(name=f"peak {number}", x=x, y=y, weight=weight)


def _points(prediction: Prediction, back: WayBack) -> Iterator[Landmark]:
    for name, xy in prediction.get("points", {}).items():
        ((x, y),) = back.points(xy[None]).tolist()
        yield Landmark(name=name, x=x, y=y, weight=None)

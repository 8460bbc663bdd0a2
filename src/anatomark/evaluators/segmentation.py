"""Evaluator: does the map cover the structure? Overlap with annotated masks."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from anatomark.evaluators.folds import spread
from anatomark.evaluators.maps import full_size_map
from anatomark.evaluators.polar_frames import maps_in_frame
from anatomark.evaluators.segmentation_examples import SegmentationExamples
from anatomark.evaluators.segmentation_report import build_table, describe_conventions
from anatomark.metrics.paired import bootstrap_interval
from anatomark.metrics.segmentation import METRICS, dice, iou
from anatomark.report.mask_figures import MaskPanel, draw_masks
from anatomark.types import AnatomarkError, Pairs, Prediction, Report, Sample


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How well the structure of one frame was found.

    Attributes:
        key: id of the frame.
        subject: the frame's subject.
        run: the run that predicted it.
        empty: whether the frame does not show the structure.
        dice: Dice coefficient.
        iou: intersection over union.
    """

    key: str
    subject: str
    run: str
    empty: bool
    dice: float
    iou: float


class SegmentationEvaluator:
    """Compares where each frame's main map is at least ``threshold`` with the annotated mask.

    The map is interpolated to the size of the image; where there is a map per class, that of the most probable class
    counts. A frame that was made polar is compared where it was annotated: in the frame before, of which nothing
    outside the sector is found. Frames without a mask are skipped and counted. A frame that does not show the structure
    scores 1 where nothing is found either, else 0.

    Args:
        threshold: value from which a map shows the structure, in (0, 1].
        n_examples: frames of each row of the picture; 0 for no picture.

    Raises:
        AnatomarkError: an option is out of range.
    """

    splits = ("test",)

    def __init__(self, *, threshold: float = 0.5, n_examples: int = 5) -> None:
        if not 0 < threshold <= 1:
            raise AnatomarkError(f"the segmentation's threshold is {threshold}; it must be above 0 and at most 1")
        if n_examples < 0:
            raise AnatomarkError(f"the segmentation's n_examples is {n_examples}; it must be 0 (no picture) or more")
        self.threshold = threshold
        self.n_examples = n_examples

    def __call__(self, pairs: Pairs) -> Report:
        """Evaluates a stream of frames.

        Args:
            pairs: frames with a map that covers the image.

        Raises:
            AnatomarkError: no frame has a mask, or a map does not cover its image, belongs to no class or is not
                finite.
        """
        found: list[Overlap] = []
        examples = SegmentationExamples(n=self.n_examples)
        n_skipped = 0
        for sample, prediction in pairs:
            frame = sample.get("cartesian", sample)
            if "mask" not in frame:
                n_skipped += 1
                continue
            truth = frame["mask"][0] >= 0.5
            predicted = self._segment(sample, prediction)
            found.append(_measure(sample, prediction, predicted, truth))
            examples.offer(found[-1].key, found[-1].dice, _panel(frame, found[-1], predicted, truth))
        if not found:
            raise AnatomarkError(
                f"no test frame to segment: {n_skipped} came, none with a mask; name mask files in the column mask of"
                " frames.csv, or leave out the segmentation evaluator"
            )
        values = {
            **_summarise(found),
            "n_skipped": n_skipped,
            "frames": [asdict(one) for one in found],
            "conventions": describe_conventions(self.threshold),
        }
        rows = examples.rows()
        return Report(
            name="segmentation",
            title="Segmentation",
            values=values,
            tables=[build_table(values)],
            figures={"Predicted and annotated outlines": draw_masks(rows)} if rows else {},
        )

    def _segment(self, sample: Sample, prediction: Prediction) -> Bool[Tensor, "h w"]:
        full = full_size_map(sample, prediction)
        if not full.isfinite().all():
            raise AnatomarkError(
                f"the map of frame {sample['key']} is not finite; training diverged, lower the learning rate"
            )
        return maps_in_frame(full[None], [sample])[0] >= self.threshold


def _measure(
    sample: Sample, prediction: Prediction, predicted: Bool[Tensor, "h w"], truth: Bool[Tensor, "h w"]
) -> Overlap:
    return Overlap(
        key=sample["key"],
        subject=sample["subject"],
        run=prediction.get("run", "run"),
        empty=not bool(truth.any()),
        dice=float(dice(predicted[None], truth[None])),
        iou=float(iou(predicted[None], truth[None])),
    )


def _panel(frame: Sample, overlap: Overlap, predicted: Bool[Tensor, "h w"], truth: Bool[Tensor, "h w"]) -> MaskPanel:
    return MaskPanel(
        title=f"{overlap.key}\nDice {overlap.dice:.3f}, IoU {overlap.iou:.3f}",
        image=frame["image"].float().mean(0).cpu().numpy(),
        truth=truth.cpu().numpy(),
        predicted=predicted.cpu().numpy(),
    )


def _summarise(found: Sequence[Overlap]) -> dict[str, Any]:
    runs = {run: _means(part) for run, part in _by(found, lambda one: one.run).items()}
    return {
        "n_frames": len(found),
        "n_empty": sum(one.empty for one in found),
        "n_subjects": len({one.subject for one in found}),
        **_means(found),
        "intervals": _intervals(found),
        "folds": [{"run": run, **means} for run, means in runs.items()],
        **spread(list(runs.values())),
        "subjects": {name: _means(part) for name, part in _by(found, lambda one: one.subject).items()},
    }


def _means(found: Sequence[Overlap]) -> dict[str, float]:
    """Means over the frames of a subject, then over subjects."""
    subjects = _subject_means(found)
    return {metric: float(subjects[:, column].mean()) for column, metric in enumerate(METRICS)}


def _intervals(found: Sequence[Overlap]) -> dict[str, list[float]] | None:
    """Bounds that hold 95 % of the means over subjects drawn with replacement; None for a single subject."""
    subjects = _subject_means(found)
    if len(subjects) < 2:
        return None
    ones, intervals = np.ones(len(subjects)), {}
    for column, metric in enumerate(METRICS):
        scores = np.stack([subjects[:, column], ones], axis=1)
        nothing = np.stack([0 * ones, ones], axis=1)  # the interval is that of a difference
        bounds = bootstrap_interval(scores, nothing, score=_mean)
        intervals[metric] = [bounds.low, bounds.high]
    return intervals


def _mean(sums: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, "p"]:
    """Means from sums of values and their numbers."""
    return sums[:, 0] / sums[:, 1]  # type: ignore[no-any-return]


def _subject_means(found: Sequence[Overlap]) -> Float[np.ndarray, "s m"]:
    groups = _by(found, lambda one: one.subject).values()
    return np.array([[fmean(getattr(one, metric) for one in part) for metric in METRICS] for part in groups])


def _by(found: Sequence[Overlap], name_of: Callable[[Overlap], str]) -> dict[str, list[Overlap]]:
    groups: dict[str, list[Overlap]] = defaultdict(list)
    for one in found:
        groups[name_of(one)].append(one)
    return groups

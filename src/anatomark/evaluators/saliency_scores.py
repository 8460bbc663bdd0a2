"""Scores of single frames and their means over frames and subjects."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from jaxtyping import Float
from torch import Tensor

METHODS = ("model", "baseline")


class FrameScores:
    """Scores of frames by the model and by the mean map of the training frames."""

    def __init__(self) -> None:
        self.n_frames = 0
        self.n_skipped = 0
        # Method -> metric -> subject -> the values of its frames.
        self._values: dict[str, dict[str, dict[str, list[float]]]] = {
            method: defaultdict(lambda: defaultdict(list)) for method in METHODS
        }

    def add(self, scores: Mapping[str, Mapping[str, Float[Tensor, "b"]]], subjects: Sequence[str]) -> None:
        """Adds frames.

        Args:
            scores: method -> metric -> value of each frame.
            subjects: subject of each frame.
        """
        self.n_frames += len(subjects)
        for method, metrics in scores.items():
            for metric, values in metrics.items():
                for subject, value in zip(subjects, values.double().tolist(), strict=True):
                    self._values[method][metric][subject].append(value)

    def means(self) -> dict[str, dict[str, float]]:
        """Means over frames, then over subjects, which count the same however many frames they have."""
        return {
            method: {
                metric: fmean(fmean(values) for values in subjects.values()) for metric, subjects in metrics.items()
            }
            for method, metrics in self._values.items()
        }

    def subjects(self) -> dict[str, dict[str, float]]:
        """The model's means over the frames of each subject: subject -> metric -> mean."""
        means: dict[str, dict[str, float]] = defaultdict(dict)
        for metric, subjects in self._values["model"].items():
            for subject, values in subjects.items():
                means[subject][metric] = fmean(values)
        return {subject: means[subject] for subject in sorted(means)}

    def summary(self) -> dict[str, Any]:
        """Counts and means, ready for JSON."""
        counts = {"n_frames": self.n_frames, "n_skipped": self.n_skipped, "n_subjects": len(self.subjects())}
        return {**self.means(), **counts}

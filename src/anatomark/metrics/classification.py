"""Classification metrics from counts, and precision/recall curves.

What cannot be measured is None, never 0: the precision of a class that no frame was called, the recall of a class that
no frame is of, the F1 of a class of which neither is there. F1 is ``2 TP / (2 TP + FP + FN)``, so a class that exists
but is never called has an F1 of 0.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anatomark.types import AnatomarkError


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How the frames of one class were classified.

    Attributes:
        tp: frames of the class that were called it.
        fp: frames of other classes that were called it.
        fn: frames of the class that were called something else.
        tn: all other frames.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def precision(self) -> float | None:
        """Share of the frames called the class that are of it."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """Share of the frames of the class that were called it."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


class Curve(NamedTuple):
    """A precision/recall curve, from the highest score down.

    Attributes:
        precision: precision of the frames with at least the threshold.
        recall: their recall.
        threshold: the scores that occur, falling.
    """

    precision: Float[Tensor, "t"]
    recall: Float[Tensor, "t"]
    threshold: Float[Tensor, "t"]


def confusion_matrix(
    label: Int[Tensor, "n"], predicted: Int[Tensor, "n"], *, n_classes: int
) -> Int[Tensor, "{n_classes} {n_classes}"]:
    """Number of frames of every class (row) that were called every class (column).

    Args:
        label: true class indices in [0, n_classes).
        predicted: predicted ones.
        n_classes: number of classes.
    """
    pairs = torch.bincount(label * n_classes + predicted, minlength=n_classes * n_classes)
    return pairs.view(n_classes, n_classes)


def class_counts(confusion: Int[Tensor, "k k"]) -> list[Counts]:
    """The counts of every class against all others."""
    total, hits = int(confusion.sum()), confusion.diagonal()
    called, there = (confusion.sum(0) - hits).tolist(), (confusion.sum(1) - hits).tolist()
    return [
        Counts(tp=tp, fp=fp, fn=fn, tn=total - tp - fp - fn)
        for tp, fp, fn in zip(hits.tolist(), called, there, strict=True)
    ]


def accuracy(confusion: Int[Tensor, "k k"]) -> float | None:
    """Share of all frames that were classified rightly."""
    return _ratio(int(confusion.trace()), int(confusion.sum()))


def precision_recall_curve(score: Float[Tensor, "n"], positive: Bool[Tensor, "n"]) -> Curve:
    """Precision and recall at every score that occurs; frames of one score enter together.

    Args:
        score: the higher, the more a frame looks positive.
        positive: which frames are.

    Raises:
        AnatomarkError: no frame is positive, so that there is no recall.
    """
    n_positive = int(positive.sum())
    if n_positive == 0:
        raise AnatomarkError("no frame is positive, so there is no precision/recall curve; leave this class out")
    ordered, order = score.sort(descending=True)
    hits = positive[order].cumsum(0)
    last_of_score = torch.cat([ordered[1:] != ordered[:-1], ordered.new_ones(1, dtype=torch.bool)])
    called = torch.arange(1, len(score) + 1, device=score.device)[last_of_score]
    found = hits[last_of_score].double()
    return Curve(precision=found / called, recall=found / n_positive, threshold=ordered[last_of_score])


def average_precision(curve: Curve) -> float:
    """Area under a precision/recall curve as a sum of steps, ``sum (R_i - R_(i-1)) P_i``."""
    return float((curve.recall.diff(prepend=curve.recall.new_zeros(1)) * curve.precision).sum())


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None

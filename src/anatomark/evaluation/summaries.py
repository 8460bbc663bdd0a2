"""What of an evaluator's report goes into a table of rows, and how it is made of numbers per subject.

Such numbers give the score of all folds together, of one fold, and of every permutation and resample of a paired test
alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from anatomark.types import Report

Scores = dict[str, Float[np.ndarray, "p"]]
SubjectValues = Mapping[str, Any]

_MAP_METRICS = ("ig", "cc", "nss", "sim", "auc_judd")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How the report of an evaluator becomes a line of a table: by numbers per subject, ``values["subjects"]``.

    Attributes:
        title: caption of the table.
        numbers: of a subject's values what is summed over subjects.
        score: sums over subjects, one row per set of subjects, and the size of these sets -> metric -> their scores;
            NaN where one cannot be measured.
        columns: metric -> header, in the order of the paper's table; shown in percent where the header says so.
        note: conventions.
        needed: metric -> why it cannot be measured and what to do, for those that all folds must have.
        baseline: key of ``values`` that holds the scores of a prediction without network, and what the table calls it.
        stacked: the evaluator's own tables and figures of all rows follow.
    """

    title: str
    numbers: Callable[[SubjectValues], Sequence[float]]
    score: Callable[[Float[np.ndarray, "p m"], int], Scores]
    columns: Mapping[str, str]
    note: str
    needed: Mapping[str, str] = field(default_factory=dict)
    baseline: tuple[str, str] | None = None
    stacked: bool = False


def summary_of(report: Report) -> Summary | None:
    """How the reports of an evaluator are summed up; None for one whose tables are only stacked."""
    values = report.values
    if report.name == "saliency":
        return SALIENCY
    if report.name == "localisation":
        return _boxes(list(values["classes"]))
    if report.name == "classification":
        return PLANES if values["positive"] is not None else _recalls(values["averaged"])
    return None


def count_scores(counts: Float[np.ndarray, "p m"], n_subjects: int) -> Scores:
    """Precision, recall and F1 from counts of true positives, false positives and false negatives.

    All are NaN where no frame is positive, and the precision of a method that calls none positive is NaN.
    """
    tp, fp, fn = counts.T
    positive = tp + fn > 0
    return {
        "precision": _ratio(tp, tp + fp, where=positive & (tp + fp > 0)),
        "recall": _ratio(tp, tp + fn, where=positive),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn, where=positive),
    }


def mean_scores(sums: Float[np.ndarray, "p m"], n_subjects: int) -> Scores:
    """Means over subjects."""
    return dict(zip(_MAP_METRICS, sums.T / n_subjects, strict=True))


def class_scores(
    sums: Float[np.ndarray, "p m"], n_subjects: int, *, average: str, classes: Sequence[str] = ()
) -> Scores:
    """Means over the frames of each class, and the average of those classes that have frames; NaN without frames.

    Args:
        sums: of each class in turn the number of frames, and the sum of what is averaged.
        n_subjects: size of the sets of subjects.
        average: name of the average.
        classes: names of the classes that are scores of their own.
    """
    frames, totals = sums[:, ::2], sums[:, 1::2]
    has_frames = frames > 0
    means = _ratio(totals, frames, where=has_frames)
    n_classes = has_frames.sum(axis=1)
    averages = _ratio(np.where(has_frames, means, 0).sum(axis=1), n_classes, where=n_classes > 0)
    return {average: averages, **{name: means[:, i] for i, name in enumerate(classes)}}


def _ratio(
    part: Float[np.ndarray, "*n"], whole: Shaped[np.ndarray, "*n"], *, where: Bool[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n"]:
    """NaN elsewhere."""
    ratio = np.full_like(part, np.nan)
    np.divide(part, whole, out=ratio, where=where)
    return ratio


PLANES = Summary(
    title="Standard planes, test frames",
    numbers=itemgetter("tp", "fp", "fn"),
    score=count_scores,
    columns={"precision": "precision, %", "recall": "recall, %", "f1": "F1, %"},
    note="The standard plane is the positive class; counts are pooled over all test frames.",
    needed={"recall": "no frame is of the positive class, so there is no recall; use fewer folds (data.n_folds)"},
)
"""Classification where one class is the positive one."""

SALIENCY = Summary(
    title="Predicted against measured attention, test frames",
    numbers=itemgetter(*_MAP_METRICS),
    score=mean_scores,
    columns={"ig": "IG, bits", "cc": "CC", "nss": "NSS", "sim": "SIM", "auc_judd": "AUC-Judd"},
    note="Means over frames, then over subjects; IG is that over the mean map of the training frames.",
    baseline=("baseline", "mean map"),
)


def _recalls(classes: Sequence[str]) -> Summary:
    """Classification where no class is special: the recall of every class, which Toussaint et al. call accuracy."""

    def numbers(subject: SubjectValues) -> list[float]:
        return [float(subject["classes"][name][count]) for name in classes for count in ("n", "correct")]

    return Summary(
        title="Recall of each class, test frames",
        numbers=numbers,
        score=partial(class_scores, average="average_recall", classes=classes),
        columns={"average_recall": "average, %", **{name: f"{name}, %" for name in classes}},
        note=f"Share of a class's test frames whose highest score is that class's; average of {', '.join(classes)}.",
        stacked=True,
    )


def _boxes(classes: Sequence[str]) -> Summary:
    """Localisation: the IoU of predicted and annotated boxes."""

    def numbers(subject: SubjectValues) -> list[float]:
        parts = [subject["classes"].get(name) for name in classes] if classes else [subject]
        counted = [(part["n_frames"], part["mean_iou"]) if part else (0, 0) for part in parts]
        return [float(number) for n_frames, iou in counted for number in (n_frames, n_frames * iou)]

    return Summary(
        title="IoU of predicted and annotated boxes, test frames",
        numbers=numbers,
        score=partial(class_scores, average="mean_iou"),
        columns={"mean_iou": "mean IoU"},
        note=f"Mean over {'the frames of a class, then over classes' if classes else 'frames'}.",
        stacked=True,
    )

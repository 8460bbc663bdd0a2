"""What of an evaluator's report goes into a table of rows, and how it is made of numbers per subject.

Such numbers give the score of all folds together, of one fold, and of every permutation of a paired test alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from anatomark.types import AnatomarkError

Scores = dict[str, Float[np.ndarray, "p"]]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How the report of an evaluator becomes a line of a table: by numbers per subject, ``values["subjects"]``.

    Attributes:
        title: caption of the table.
        per_subject: the numbers of a subject.
        score: sums over subjects, one row per set of subjects, and the size of these sets -> metric -> their scores;
            NaN where one cannot be measured.
        columns: metric -> header, in the order of the paper's table; shown in percent where the header says so.
        note: conventions.
        baseline: key of ``values`` that holds the scores of a prediction without network, and what the table calls it.
    """

    title: str
    per_subject: tuple[str, ...]
    score: Callable[[Float[np.ndarray, "p m"], int], Scores]
    columns: Mapping[str, str]
    note: str
    baseline: tuple[str, str] | None = None


def count_scores(counts: Float[np.ndarray, "p m"], n_subjects: int) -> Scores:
    """Precision, recall and F1 from counts of true positives, false positives and false negatives.

    The precision of a method that calls no frame positive is NaN: it cannot be measured.

    Raises:
        AnatomarkError: there is no positive frame.
    """
    tp, fp, fn = counts.T
    if not (tp + fn).all():
        raise AnatomarkError("no frame is of the positive class, so there is no recall; use fewer folds (data.n_folds)")
    return {
        "precision": np.divide(tp, tp + fp, out=np.full_like(tp, np.nan), where=tp + fp > 0),
        "recall": tp / (tp + fn),
        "f1": 2 * tp / (2 * tp + fp + fn),
    }


_MAP_METRICS = ("ig", "cc", "nss", "sim", "auc_judd")


def mean_scores(sums: Float[np.ndarray, "p m"], n_subjects: int) -> Scores:
    """Means over subjects."""
    return dict(zip(_MAP_METRICS, sums.T / n_subjects, strict=True))


SUMMARIES = {
    "classification": Summary(
        title="Standard planes, test frames",
        per_subject=("tp", "fp", "fn"),
        score=count_scores,
        columns={"precision": "precision, %", "recall": "recall, %", "f1": "F1, %"},
        note="The standard plane is the positive class; counts are pooled over all test frames.",
    ),
    "saliency": Summary(
        title="Predicted against measured attention, test frames",
        per_subject=_MAP_METRICS,
        score=mean_scores,
        columns={
            "ig": "IG, bits",
            "cc": "CC",
            "nss": "NSS",
            "sim": "SIM",
            "auc_judd": "AUC-Judd",
        },
        note="Means over frames, then over subjects; IG is that over the mean map of the training frames.",
        baseline=("baseline", "mean map"),
    ),
}
"""Evaluators whose reports have a table of their own; those of others are stacked."""

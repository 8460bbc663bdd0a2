"""Tables, figures and conventions of the classification report."""

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.figure import Figure

from anatomark.evaluators.classification_frames import ScoreName
from anatomark.evaluators.landmark_frame import NOT_MEASURED
from anatomark.metrics.classification import Curve
from anatomark.report.class_figures import draw_confusion, draw_precision_recall
from anatomark.types import Table

_CLASS_COLUMNS = {
    "precision": "precision, %",
    "recall": "recall, %",
    "f1": "F1, %",
    "average_precision": "average precision, %",
}
_COLUMNS = {
    "precision": "precision, %",
    "recall": "recall, %",
    "f1": "F1, %",
    "average_recall": "average recall, %",
    "accuracy": "accuracy, %",
}


_LEVELS = tuple(i / 100 for i in range(1, 101))
"""Recalls at which the precision is written down; a curve of every frame belongs in the figure."""


def describe_conventions(score: ScoreName) -> dict[str, str]:
    """How each number was computed.

    Args:
        score: what made scores of the logits.
    """
    return {
        "class": "the largest logit",
        "score": f"{score} of the logits",
        "precision": "TP / (TP + FP); null where no frame was called the class",
        "recall": "TP / (TP + FN), the papers' accuracy of a class; null where no frame is of the class",
        "f1": "2 TP / (2 TP + FP + FN); null where no frame is of the class nor was called it, 0 where none was found",
        "average_recall": "mean over the classes of `averaged` that occur",
        "average_precision": f"frames that {'are of' if score == 'softmax' else 'show'} the class against the rest:"
        " sum (R_i - R_(i-1)) P_i over falling scores, uninterpolated",
        "mean_average_precision": "mean over the classes of `averaged` that occur",
        "precision_at_recall": f"precision at the highest score that reaches recall {_LEVELS[0]}, {_LEVELS[1]}, ... 1",
        "confusion": "rows: a row per true class, as shares of its frames",
        "folds": "each run by itself; mean and standard deviation (n - 1) over runs",
    }


def precision_at_recall(curve: Curve) -> list[float]:
    """Precision at the highest score that reaches each hundredth of recall."""
    first = torch.searchsorted(curve.recall, curve.recall.new_tensor(_LEVELS))
    reached: list[float] = curve.precision[first].tolist()
    return reached


def describe_gaps(classes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What could not be measured, and why.

    Args:
        classes: class -> its numbers over all frames.
    """
    notes = []
    for name, values in classes.items():
        if values["precision"] is None:
            notes.append(f"no frame was called {name}, so it has no precision")
        if values["n"] == 0:
            missing = "no recall and no average precision" if values["average_precision"] is None else "no recall"
            notes.append(f"no frame is of class {name}, so it has {missing}")
    return notes


def build_tables(values: Mapping[str, Any]) -> list[Table]:
    """A table per class, and one of all frames and every fold.

    Args:
        values: the report's values.
    """
    gaps = "".join(f" {gap[0].upper()}{gap[1:]}." for gap in values["notes"])
    averaged = [name for name in values["averaged"] if values["classes"][name]["n"]]
    average = {
        "recall": values["average_recall"],
        "average_precision": values["mean_average_precision"],
        "n": sum(values["classes"][name]["n"] for name in averaged),
    }
    lines: dict[str, Mapping[str, Any]] = {**values["classes"], "average": average}
    per_class = Table(
        title="Classes, test frames",
        columns=["class", *_CLASS_COLUMNS.values(), "frames"],
        rows=[[name, *(_percent(v.get(metric)) for metric in _CLASS_COLUMNS), v["n"]] for name, v in lines.items()],
        note=f"{values['n_frames']} frames of {values['n_subjects']} subjects. The recall of a class is the papers'"
        f" accuracy of that class. The average is that over {', '.join(averaged)}." + gaps,
    )
    return [per_class, _overall_table(values)]


def draw_figures(values: Mapping[str, Any], curves: Mapping[str, Curve]) -> dict[str, Figure]:
    """The confusion matrix and the precision/recall curves.

    Args:
        values: the report's values.
        curves: class -> its curve.
    """
    confusion = values["confusion"]
    areas = {name: values["classes"][name]["average_precision"] for name in curves}
    drawn = {name: (c.recall.cpu().numpy(), c.precision.cpu().numpy(), areas[name]) for name, c in curves.items()}
    return {
        "Confusion matrix": draw_confusion(confusion["counts"], confusion["classes"]),
        "Precision and recall": draw_precision_recall(drawn),
    }


def _overall_table(values: Mapping[str, Any]) -> Table:
    measured = {metric: header for metric, header in _COLUMNS.items() if metric in values}
    lines = {"all frames": values}
    if "fold_mean" in values:
        lines |= {fold["run"]: fold for fold in values["folds"]}
        lines |= {"mean over folds": values["fold_mean"], "standard deviation": values["fold_sd"]}
    positive = values["positive"]
    return Table(
        title="All classes, test frames" if positive is None else f"{positive} against the rest, test frames",
        columns=["frames of", *measured.values(), "frames"],
        rows=[
            [name, *(_percent(line[metric]) for metric in measured), line.get("n_frames", NOT_MEASURED)]
            for name, line in lines.items()
        ],
        note="The standard deviation divides by n - 1. A dash could not be measured." if "fold_mean" in values else "",
    )


def _percent(share: float | None) -> float | str:
    # Rounded so that 0.967 does not come out as 96.70000000000002.
    return NOT_MEASURED if share is None else round(100 * share, 10)

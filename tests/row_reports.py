"""Reports of rows with known truth: counts and scores per subject."""

from collections.abc import Mapping, Sequence
from typing import Any

from anatomark.evaluation.comparison import ComparedRow
from anatomark.types import Report, Table

FOLDS = {0: ["a", "b"], 1: ["c", "d"]}


def classified(name: str, counts: Mapping[str, tuple[int, int, int, int]]) -> ComparedRow:
    """A row of a classification: subject -> tp, fp, fn, tn."""
    subjects = {subject: dict(zip(("tp", "fp", "fn", "tn"), c, strict=True)) for subject, c in counts.items()}
    values = {"positive": "plane", "subjects": subjects}
    report = Report(name="classification", title="Classification", values=values)
    return ComparedRow(name=name, report=report, folds=FOLDS)


def recalled(name: str, counts: Mapping[str, Mapping[str, tuple[int, int]]]) -> ComparedRow:
    """A row of a classification without special class: subject -> class -> frames, frames called right."""
    subjects = {
        subject: {"classes": {name: {"n": n, "correct": correct} for name, (n, correct) in classes.items()}}
        for subject, classes in counts.items()
    }
    averaged = [name for name in next(iter(counts.values())) if name != "background"]
    values = {"positive": None, "averaged": averaged, "subjects": subjects}
    tables = [Table(title="Classes", columns=["class", "recall"], rows=[[name, 0.5]], note="n")]
    report = Report(name="classification", title="C", values=values, tables=tables, figures={"Confusion": name})
    return ComparedRow(name=name, report=report, folds=FOLDS)


def boxed(name: str, boxes: Mapping[str, Mapping[str, tuple[int, float]]]) -> ComparedRow:
    """A row of localisation: subject -> class -> frames, their mean IoU; without classes the class None."""
    subjects: dict[str, Any] = {}
    for subject, classes in boxes.items():
        of_class = {name: {"n_frames": n, "mean_iou": iou} for name, (n, iou) in classes.items() if name}
        n_frames = sum(n for n, _ in classes.values())
        mean = sum(n * iou for n, iou in classes.values()) / n_frames
        subjects[subject] = {"n_frames": n_frames, "mean_iou": mean, "classes": of_class}
    names = {name: {} for classes in boxes.values() for name in classes if name}
    report = Report(name="localisation", title="L", values={"classes": names, "subjects": subjects})
    return ComparedRow(name=name, report=report, folds=FOLDS)


def scored(
    name: str, cc: Mapping[str, float], *, sigma: float = 9.0, folds: Mapping[int, Sequence[str]] = FOLDS
) -> ComparedRow:
    """A row of saliency: subject -> CC, from which the other metrics follow."""
    subjects = {s: {"ig": v + 1, "cc": v, "nss": 2 * v, "sim": v / 2, "auc_judd": v / 4} for s, v in cc.items()}
    baseline = {"ig": 0.0, "cc": 0.1, "nss": 0.2, "sim": 0.3, "auc_judd": 0.5}
    values = {"subjects": subjects, "baseline": baseline, "conventions": {"target": f"sigma {sigma}"}}
    return ComparedRow(name=name, report=Report(name="saliency", title="Saliency", values=values), folds=folds)


def listed(name: str, *lines: list[str | float | int]) -> ComparedRow:
    """A row of an evaluator that has no comparison of its own."""
    table = Table(title="Boxes", columns=["method", "IoU"], rows=list(lines), note="n")
    return ComparedRow(name=name, report=Report(name="boxes", title="B", values={"n": 1}, tables=[table]), folds=FOLDS)

"""Reports of rows with known truth: counts and scores per subject."""

from collections.abc import Mapping, Sequence

from anatomark.comparison import ComparedRow
from anatomark.types import Report, Table

FOLDS = {0: ["a", "b"], 1: ["c", "d"]}


def classified(name: str, counts: Mapping[str, tuple[int, int, int, int]]) -> ComparedRow:
    """A row of a classification: subject -> tp, fp, fn, tn."""
    subjects = {subject: dict(zip(("tp", "fp", "fn", "tn"), c, strict=True)) for subject, c in counts.items()}
    report = Report(name="classification", title="Classification", values={"subjects": subjects})
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

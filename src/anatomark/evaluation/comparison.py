"""Rows side by side: pooled scores with their spread over folds, differences to one row, the paper's numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from anatomark.evaluation.summaries import Summary, summary_of
from anatomark.evaluators.folds import spread
from anatomark.evaluators.landmark_frame import NOT_MEASURED
from anatomark.metrics.paired import Score, bootstrap_interval, swap_test
from anatomark.types import AnatomarkError, Report, Table

Line = list[str | float | int]
Differences = dict[str, dict[str, dict[str, Any]]]
"""Row -> metric -> difference of the reference to it, its interval and p."""


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """A row and what it found.

    Attributes:
        name: the row.
        report: of one evaluator.
        folds: fold -> its test subjects.
    """

    name: str
    report: Report
    folds: Mapping[int, Sequence[str]]


def compare(rows: Sequence[ComparedRow], *, reference: str, published: Mapping[str, Sequence[float]]) -> Report:
    """Merges the reports of one evaluator on several rows.

    Args:
        rows: at least one.
        reference: the row that all others are tested against, if it is among them.
        published: row -> the paper's numbers, in the order of the summary's columns.

    Raises:
        AnatomarkError: the rows were scored differently, or cannot be.
    """
    _check_conventions(rows)
    first, summary, stacked = rows[0].report, summary_of(rows[0].report), stack(rows)
    if summary is None:
        return stacked
    _check_published(published, first.name, summary)
    numbers = {row.name: _per_subject(row, summary) for row in rows}
    found = {row.name: _score_row(row, numbers[row.name], summary) for row in rows}
    paired = _test_pairs(found, numbers, reference, summary) if reference in found else {}
    baseline = first.values.get(summary.baseline[0], {}) if summary.baseline else {}
    tables = [_score_table(found, baseline, published, summary)]
    if all("fold_sd" in row for row in found.values()):
        tables.append(_spread_table(found, summary))
    if paired:
        tables.append(_paired_table(paired, reference, summary))
    values = {"rows": found, "reference": reference if paired else None, "paired": paired}
    figures = stacked.figures if summary.stacked else {}
    tables += stacked.tables if summary.stacked else []
    return Report(name=first.name, title=first.title, values=values, tables=tables, figures=figures)


def stack(rows: Sequence[ComparedRow]) -> Report:
    """Merges reports table by table: a first column names the row; lines that every row has alike are shown once."""
    first = rows[0].report
    tables = []
    for title in dict.fromkeys(table.title for row in rows for table in row.report.tables):
        found = [(row.name, t) for row in rows for t in row.report.tables if t.title == title]
        everywhere = len(found) == len(rows) > 1
        shared = [line for line in found[0][1].rows if everywhere and all(line in t.rows for _, t in found)]
        columns = list(dict.fromkeys(column for _, table in found for column in table.columns))
        own = [(name, table, line) for name, table in found for line in table.rows if line not in shared]
        lines = [[name, *_widen(table, line, columns)] for name, table, line in own]
        lines += [["all", *_widen(found[0][1], line, columns)] for line in shared]
        tables.append(Table(title=title, columns=["row", *columns], rows=lines, note=_join_notes(dict(found))))
    return Report(
        name=first.name,
        title=first.title,
        values={"rows": {row.name: row.report.values for row in rows}},
        tables=tables,
        figures={f"{row.name}: {title}": figure for row in rows for title, figure in row.report.figures.items()},
    )


def _join_notes(tables: Mapping[str, Table]) -> str:
    """The note that all rows have, or each row's own after its name."""
    notes = {table.note for table in tables.values()}
    if len(notes) == 1:
        return notes.pop()
    return " ".join(f"{name}: {table.note}" for name, table in tables.items() if table.note)


def _widen(table: Table, line: Sequence[str | float | int], columns: Sequence[str]) -> list[str | float | int]:
    cells = dict(zip(table.columns, line, strict=True))
    return [cells.get(column, NOT_MEASURED) for column in columns]


def _check_conventions(rows: Sequence[ComparedRow]) -> None:
    for row in rows[1:]:
        if row.report.values.get("conventions") != rows[0].report.values.get("conventions"):
            raise AnatomarkError(
                f"rows {rows[0].name!r} and {row.name!r} were scored by other conventions in {row.report.name};"
                " compare runs of one recipe, or set the same evaluator options for all"
            )


def _check_published(published: Mapping[str, Sequence[float]], evaluator: str, summary: Summary) -> None:
    for name, numbers in published.items():
        if len(numbers) != len(summary.columns):
            raise AnatomarkError(
                f"paper.{evaluator}.{name} has {len(numbers)} numbers; give {len(summary.columns)}:"
                f" {', '.join(summary.columns)}"
            )


def _per_subject(row: ComparedRow, summary: Summary) -> dict[str, list[float]]:
    subjects: dict[str, dict[str, Any]] = row.report.values["subjects"]
    return {subject: [float(number) for number in summary.numbers(values)] for subject, values in subjects.items()}


def _score_row(row: ComparedRow, numbers: Mapping[str, list[float]], summary: Summary) -> dict[str, Any]:
    where = f"{row.report.name}, row {row.name!r}"
    scored = {fold: [subject for subject in subjects if subject in numbers] for fold, subjects in row.folds.items()}
    folds = [
        {"fold": fold, "n_subjects": len(subjects), **_scores(numbers, subjects, summary, f"{where}, fold {fold}")}
        for fold, subjects in scored.items()
    ]
    per_fold = [{metric: fold[metric] for metric in summary.columns} for fold in folds]
    pooled = _scores(numbers, list(numbers), summary, where)
    return {**pooled, "folds": folds, **spread(per_fold), "report": row.report.values}


def _scores(
    numbers: Mapping[str, list[float]], subjects: Sequence[str], summary: Summary, where: str
) -> dict[str, float | None]:
    if not subjects:
        raise AnatomarkError(f"{where}: no frame was scored; check its data")
    sums = np.array([numbers[subject] for subject in subjects]).sum(axis=0, keepdims=True)
    scores = {metric: float(score[0]) for metric, score in summary.score(sums, len(subjects)).items()}
    for metric, problem in summary.needed.items():
        if not np.isfinite(scores[metric]):
            raise AnatomarkError(f"{where}: {problem}")
    return {metric: scores[metric] if np.isfinite(scores[metric]) else None for metric in summary.columns}


def _test_pairs(
    found: Mapping[str, Mapping[str, Any]],
    numbers: Mapping[str, Mapping[str, list[float]]],
    reference: str,
    summary: Summary,
) -> Differences:
    subjects = sorted(numbers[reference])

    def score(sums: Float[np.ndarray, "p m"], metric: str) -> Float[np.ndarray, "p"]:
        return summary.score(sums, len(subjects))[metric]

    paired: Differences = {}
    for name, other in numbers.items():
        if sorted(other) != subjects:
            raise AnatomarkError(f"rows {reference!r} and {name!r} were scored on other subjects; check their data")
        first, second = (np.array([row[subject] for subject in subjects]) for row in (numbers[reference], other))
        measured = [m for m in summary.columns if found[reference][m] is not None and found[name][m] is not None]
        if name != reference:
            paired[name] = {metric: _test_pair(first, second, partial(score, metric=metric)) for metric in measured}
    return paired


def _test_pair(first: Float[np.ndarray, "s m"], second: Float[np.ndarray, "s m"], score: Score) -> dict[str, Any]:
    test = swap_test(first, second, score=score)
    # One subject says nothing of how subjects vary.
    interval = asdict(bootstrap_interval(first, second, score=score)) if len(first) > 1 else None
    return {**asdict(test), "interval": interval}


def _score_table(
    found: Mapping[str, Mapping[str, Any]],
    baseline: Mapping[str, float],
    published: Mapping[str, Sequence[float]],
    summary: Summary,
) -> Table:
    ours = {**found, summary.baseline[1]: baseline} if summary.baseline and baseline else found
    lines: list[Line] = [[name, *_shown(scores, summary)] for name, scores in ours.items()]
    columns = ["row", *summary.columns.values()]
    if any(name in published for name in found):
        columns += [f"{header}, published" for header in summary.columns.values()]
        for line in lines:
            line.extend(published.get(str(line[0]), [NOT_MEASURED] * len(summary.columns)))
    note = summary.note + (" The published numbers are on the paper's private data." if published else "")
    return Table(title=summary.title, columns=columns, rows=lines, note=note)


def _spread_table(found: Mapping[str, Mapping[str, Any]], summary: Summary) -> Table:
    n_folds = len(next(iter(found.values()))["folds"])
    return Table(
        title=f"{summary.title}: standard deviation over {n_folds} folds",
        columns=["row", *summary.columns.values()],
        rows=[[name, *_shown(scores["fold_sd"], summary)] for name, scores in found.items()],
        note="Each fold scored by itself; n - 1.",
    )


def _paired_table(paired: Differences, reference: str, summary: Summary) -> Table:
    columns = ["row"]
    lines: list[Line] = [[name] for name in paired]
    for metric, header in summary.columns.items():
        columns += [f"difference in {header} [95 % interval]", "p"]
        for line, tests in zip(lines, paired.values(), strict=True):
            test = tests.get(metric)
            line += [_describe_difference(test, header), test["p"]] if test else [NOT_MEASURED, NOT_MEASURED]
    found = [
        test["interval"]["n_unmeasured"] for tests in paired.values() for test in tests.values() if test["interval"]
    ]
    left_out = f"; up to {max(found)} left out, where a score cannot be measured" if any(found) else ""
    return Table(
        title=f"{summary.title}: {reference} minus each row",
        columns=columns,
        rows=lines,
        note=f"Percentile interval over 10,000 bootstrap resamples of the subjects{left_out}. Two-sided permutation"
        " test that swaps the two rows within subjects, 10,000 permutations. Neither is corrected for the number of"
        " rows.",
    )


def _describe_difference(test: Mapping[str, Any], header: str) -> str:
    digits = 2 if header.endswith("%") else 3

    def show(value: float) -> str:
        return f"{_in_units(value, header):z.{digits}f}"  # z: not "-0.00"

    interval = f" [{show(test['interval']['low'])}, {show(test['interval']['high'])}]" if test["interval"] else ""
    return show(test["difference"]) + interval


def _shown(scores: Mapping[str, float | None], summary: Summary) -> Line:
    values = {header: scores[metric] for metric, header in summary.columns.items()}
    return [NOT_MEASURED if value is None else _in_units(value, header) for header, value in values.items()]


def _in_units(value: float, header: str) -> float:
    # Rounded so that 0.967 does not come out as 96.70000000000002.
    return round(100 * value, 10) if header.endswith("%") else value

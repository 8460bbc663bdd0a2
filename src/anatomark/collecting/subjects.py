"""The folds of a method pooled: scores over all test subjects, with bootstrap intervals over them.

A subject is tested in one fold. Where several seeds test it, its numbers are averaged over these first, so that every
subject counts once and the interval says how the score varies with the subjects drawn.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from anatomark.collecting.groups import Group, replicate
from anatomark.collecting.jobs import Job
from anatomark.errors import AnatomarkError
from anatomark.evaluation.summaries import Summary, summary_of
from anatomark.metrics.paired import score_interval
from anatomark.types import Report

Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score over subjects.

    Attributes:
        value: None where it cannot be measured.
        low: lower bound of its 95 % interval; None for a single subject.
        high: upper bound.
        n_unmeasured: resamples left out, on which it cannot be measured.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n_unmeasured: int = 0


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """One method's folds together.

    Attributes:
        parameters: those of the group.
        evaluator: whose scores these are.
        row: the row of a training that gives several, else "".
        data_set: what was measured.
        n_folds: number of folds.
        n_seeds: number of seeds.
        n_subjects: number of subjects.
        columns: metric -> header; in percent where that says so.
        scores: metric -> score.
    """

    parameters: Mapping[str, Any]
    evaluator: str
    row: str
    data_set: str
    n_folds: int
    n_seeds: int
    n_subjects: int
    columns: Mapping[str, str]
    scores: Mapping[str, Score]


@dataclass(frozen=True, kw_only=True)
class Unpooled:
    """A method whose folds could not be pooled, and why.

    Attributes:
        parameters: those of the group.
        evaluator: whose scores; "" for all.
        reason: why, and what to do.
    """

    parameters: Mapping[str, Any]
    evaluator: str
    reason: str


def pool(groups: Sequence[Group]) -> tuple[list[Pooled], list[Unpooled]]:
    """Pools every method whose finished jobs were evaluated.

    Raises:
        AnatomarkError: a report is damaged.
    """
    pooled: list[Pooled] = []
    unpooled: list[Unpooled] = []
    for group in groups:
        for evaluator in dict.fromkeys(name for job in group.finished for name in job.reports):
            for row, parts in _rows(group, evaluator).items():
                found = _pool(group, evaluator, row, parts)
                if isinstance(found, Pooled):
                    pooled.append(found)
                elif found:
                    unpooled.append(Unpooled(parameters=group.parameters, evaluator=evaluator, reason=found))
        if len(group.finished) > 1 and not any(job.reports for job in group.finished):
            reason = f"not evaluated; {_command(group.finished)}"
            unpooled.append(Unpooled(parameters=group.parameters, evaluator="", reason=reason))
    return pooled, unpooled


def _command(jobs: Sequence[Job]) -> str:
    if len(jobs) == 1:
        return f"python evaluate.py run={jobs[0].folder}"
    shared = Path(os.path.commonpath([job.folder.parent for job in jobs]))
    names = ", ".join(job.folder.relative_to(shared).as_posix() for job in jobs)
    return f"python evaluate.py run={shared / 'JOB'} for JOB {names}"


def _rows(group: Group, evaluator: str) -> dict[str, dict[str, Values]]:
    """Row -> job -> its values; the row "" where a training gives one."""
    rows: dict[str, dict[str, Values]] = {}
    for job in group.finished:
        values = job.reports.get(evaluator, {})
        found = values.get("rows")
        if values and not isinstance(found, dict):
            rows.setdefault("", {})[job.name] = values
        for row, of_row in found.items() if isinstance(found, dict) else ():
            # Those of an evaluator without numbers per subject are stacked as they are.
            report = of_row.get("report", of_row) if isinstance(of_row, dict) else of_row
            own = report if isinstance(report, dict) else {}
            rows.setdefault(row, {})[job.name] = {**own, "data_set": values.get("data_set")}
    return rows


def _pool(group: Group, evaluator: str, row: str, parts: Mapping[str, Values]) -> Pooled | str:
    """The pooled scores; else why there are none, empty where the evaluator has no numbers per subject."""
    first = next(iter(parts.values()))
    try:
        summary = summary_of(Report(name=evaluator, title="", values=dict(first)))
        if summary is None:
            return ""
        problem = _refuse(group, evaluator, parts)
        return problem or _score(group, evaluator, row, parts, summary)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        job = next(job for job in group.finished if job.name in parts)
        raise AnatomarkError(
            f"{job.folder / 'report' / evaluator}.json is no report of this version ({error!r}); make it again by"
            f" python evaluate.py run={job.folder}"
        ) from error


def _refuse(group: Group, evaluator: str, parts: Mapping[str, Values]) -> str:
    """Why the reports of a group cannot be pooled; empty where they can."""
    missing = [job for job in group.finished if job.name not in parts]
    if missing:
        return f"{len(parts)} of {len(group.finished)} jobs are evaluated; {_command(missing)}"
    first, *others = parts
    for other in others:
        for key, what in (("conventions", "by other conventions"), ("data_set", "on another data set")):
            if parts[other].get(key) != parts[first].get(key):
                return f"job {other} was evaluated {what} than job {first}; evaluate both alike"
    tested: dict[tuple[str, str], str] = {}
    for job in group.finished:
        for subject in parts[job.name]["subjects"]:
            earlier = tested.setdefault((replicate(job)[0], subject), job.name)
            if earlier != job.name:
                return f"jobs {earlier} and {job.name}, of one seed, both test subject {subject}; use one n_folds"
    return ""


def _score(group: Group, evaluator: str, row: str, parts: Mapping[str, Values], summary: Summary) -> Pooled:
    per_seed: dict[str, list[list[float]]] = {}
    for values in parts.values():
        for subject, found in values["subjects"].items():
            per_seed.setdefault(subject, []).append([float(number) for number in summary.numbers(found)])
    numbers = np.array([np.mean(found, axis=0) for found in per_seed.values()])
    replicates = [replicate(job) for job in group.finished]
    return Pooled(
        parameters=group.parameters,
        evaluator=evaluator,
        row=row,
        data_set=str(next(iter(parts.values())).get("data_set") or ""),
        n_folds=len({fold for _, fold in replicates}),
        n_seeds=len({seed for seed, _ in replicates}),
        n_subjects=len(numbers),
        columns=summary.columns,
        scores={metric: _measure(numbers, summary, metric) for metric in summary.columns},
    )


def _measure(numbers: Float[np.ndarray, "s m"], summary: Summary, metric: str) -> Score:
    def score(sums: Float[np.ndarray, "p m"]) -> Float[np.ndarray, "p"]:
        return summary.score(sums, len(numbers))[metric]

    value = float(score(numbers.sum(axis=0, keepdims=True))[0])
    if not np.isfinite(value):
        return Score(value=None)
    if len(numbers) < 2:
        return Score(value=value)
    found = score_interval(numbers, score=score)
    return Score(value=value, low=found.low, high=found.high, n_unmeasured=found.n_unmeasured)

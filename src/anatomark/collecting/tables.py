"""A sweep as tables: short ones for the page, and one with everything for jobs and for groups."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from anatomark.collecting.axes import show_value
from anatomark.collecting.groups import LEVEL, Group, Spread, measured, spreads
from anatomark.collecting.jobs import Job, Sweep
from anatomark.collecting.ranking import Ranking
from anatomark.collecting.subjects import Pooled, Score, Unpooled
from anatomark.evaluators.landmark_frame import NOT_MEASURED
from anatomark.report.tables import Link
from anatomark.types import Table

Cell = str | float | int

_PERCENT = f"{100 * LEVEL:g} %"
_PARAMETERS = (
    "What varied was found by comparing the jobs' configurations under the keys that multirun.yaml names;"
    f" a job whose configuration was never written has {NOT_MEASURED} where nothing else says its value."
)


def jobs_table(sweep: Sweep, ranking: Ranking | None) -> Table:
    """What varied, how each job ended, its score and test metrics, and the link to its report."""
    shown = [job for job in sweep.jobs if job.status in ("finished", "pruned")]
    metrics = _short(_names([measured(job, ranking) for job in shown]), ranking)
    rows: list[list[Cell]] = []
    for job in sweep.jobs:
        numbers = measured(job, ranking)
        name = f"{job.name} (best)" if ranking and job.name == ranking.best else job.name
        values = [numbers.get(metric, NOT_MEASURED) for metric in metrics]
        epochs = job.history.epochs if job.history else NOT_MEASURED
        rows.append([name, *_shown_of(job, sweep.keys), job.status, epochs, *values, _link(job)])
    return Table(
        title="Jobs",
        columns=["job", *sweep.keys, "status", "epochs", *metrics, "report"],
        rows=rows,
        note=f"{_score_note(ranking)} {_sweep_note(sweep)}All numbers of all jobs: jobs.csv. {_PARAMETERS}",
    )


def all_jobs_table(sweep: Sweep, ranking: Ranking | None) -> Table:
    """Every number of every job; empty cells where there is none."""
    numbers = {job.name: measured(job, ranking) for job in sweep.jobs}
    metrics = _names(list(numbers.values()))
    last = _names([job.history.last if job.history else {} for job in sweep.jobs])
    rows: list[list[Cell]] = []
    for job in sweep.jobs:
        history = job.history
        row: list[Cell] = [
            job.name,
            *(_exact(job.parameters[key]) if key in job.parameters else "" for key in sweep.keys),
            job.status,
        ]
        row += ["" if job.objective is None else job.objective]
        row += [history.epochs, _or_empty(history.best_epoch)] if history else ["", ""]
        row += [numbers[job.name].get(metric, "") for metric in metrics]
        row += [history.last.get(metric, "") if history else "" for metric in last]
        rows.append([*row, _page(job) if job.has_page else "", job.problem])
    own = ["job", *sweep.keys, "status", "objective", "epochs", "best epoch"]
    columns = [*own, *metrics, *(f"{metric} (last epoch)" for metric in last), "report", "problem"]
    return Table(title="Jobs", columns=columns, rows=rows)


def groups_table(groups: Sequence[Group], ranking: Ranking | None) -> Table:
    """Mean, standard deviation and interval of each group's score and test metrics."""
    found = [spreads(group, ranking) for group in groups]
    metrics = _short(_names(found), ranking)
    rows: list[list[Cell]] = [
        [
            *_shown(group.parameters),
            f"{len(group.finished)} of {len(group.jobs)}",
            _over(spread),
            *_means(spread, metrics),
        ]
        for group, spread in zip(groups, found, strict=True)
    ]
    return Table(
        title="Jobs that differ by seed and fold alone, together",
        columns=[*groups[0].parameters, "finished", "spread over", *metrics] if groups else [],
        rows=rows,
        note=f"Mean \N{PLUS-MINUS SIGN} standard deviation (n - 1) [{_PERCENT} interval of the mean, Student's t]. Over"
        " folds, each the mean of its seeds; over seeds where there is one fold. Folds share training subjects, so"
        " their interval is somewhat too narrow; that over subjects does not depend on this. Test metrics here, all in"
        " groups.csv.",
    )


def all_groups_table(groups: Sequence[Group], ranking: Ranking | None) -> Table:
    """Every spread of every group; empty cells where there is none."""
    found = [spreads(group, ranking) for group in groups]
    metrics = _names(found)
    parts = ("mean", "sd", "n", "low", "high", "seed_sd")
    rows: list[list[Cell]] = []
    for group, spread in zip(groups, found, strict=True):
        row = [*map(_exact, group.parameters.values()), len(group.jobs), len(group.finished), _over(spread, absent="")]
        for metric in metrics:
            row += [_or_empty(getattr(spread[metric], part)) if metric in spread else "" for part in parts]
        rows.append(row)
    own = [*(groups[0].parameters if groups else []), "jobs", "finished", "spread over"]
    columns = [*own, *(f"{metric} {part}" for metric in metrics for part in parts)]
    return Table(title="Groups", columns=columns, rows=rows)


def pooled_tables(pooled: Sequence[Pooled]) -> list[Table]:
    """One table per evaluator: scores over all subjects, with their intervals."""
    tables = []
    for evaluator in dict.fromkeys(found.evaluator for found in pooled):
        of_one = [found for found in pooled if found.evaluator == evaluator]
        headers = dict(item for found in of_one for item in found.columns.items())
        named = any(found.row for found in of_one)
        rows: list[list[Cell]] = []
        for found in of_one:
            scores = [_interval(found.scores.get(metric), header) for metric, header in headers.items()]
            row = [found.row or NOT_MEASURED] if named else []
            counts = [found.n_folds, found.n_seeds, found.n_subjects]
            rows.append([*_shown(found.parameters), *row, *counts, *scores])
        data_sets = ", ".join(dict.fromkeys(found.data_set for found in of_one if found.data_set))
        left_out = max(score.n_unmeasured for found in of_one for score in found.scores.values())
        tables.append(
            Table(
                title=f"Over subjects, {evaluator}; {data_sets}",
                columns=[
                    *of_one[0].parameters,
                    *(["row"] if named else []),
                    "folds",
                    "seeds",
                    "subjects",
                    *headers.values(),
                ],
                rows=rows,
                note=f"Score [{_PERCENT} percentile interval] over 10,000 bootstrap resamples of the test subjects of"
                " all folds; of several seeds, a subject's numbers are averaged first."
                + (f" Up to {left_out} resamples left out, where a score cannot be measured." if left_out else ""),
            )
        )
    return tables


def unpooled_table(unpooled: Sequence[Unpooled]) -> Table:
    """Groups without scores over subjects, and which command makes them."""
    return Table(
        title="Not pooled over subjects",
        columns=[*unpooled[0].parameters, "evaluator", "why"],
        rows=[[*_shown(one.parameters), one.evaluator or "all", one.reason] for one in unpooled],
    )


def problems_table(jobs: Sequence[Job], sweep: Sweep) -> Table:
    """The jobs that did not finish, or diverged, and why."""
    return Table(
        title="Jobs with problems",
        columns=["job", *sweep.keys, "status", "why", "log"],
        rows=[
            [job.name, *_shown_of(job, sweep.keys), job.status, job.problem or NOT_MEASURED, f"{job.name}/train.log"]
            for job in jobs
        ],
    )


def _names(found: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for numbers in found for name in numbers))


def _short(metrics: Sequence[str], ranking: Ranking | None) -> list[str]:
    """The score and the test metrics; without any of them, those of validation. Counts of frames are left out."""
    score = [ranking.metric] if ranking else []
    scores = [metric for metric in metrics if metric not in score and not metric.split("/")[-1].startswith("n_")]
    for split in ("test/", "val/"):
        if chosen := [metric for metric in scores if metric.startswith(split)]:
            return [*score, *chosen]
    return score


def _score_note(ranking: Ranking | None) -> str:
    if ranking is None:
        return "The jobs have no objective in common, so none is the best; metric=NAME metric_mode=min|max ranks them."
    better = "lower" if ranking.mode == "min" else "higher"
    return f"{ranking.metric} ({better} is better) at the best epoch; test/: the checkpoint that evaluate.py takes."


def _sweep_note(sweep: Sweep) -> str:
    page = sweep.folder / "report" / "index.html"
    return "Their comparison by evaluate.py is report/index.html of the sweep. " if page.is_file() else ""


def _shown_of(job: Job, keys: Sequence[str]) -> list[Cell]:
    return [show_value(job.parameters[key]) if key in job.parameters else NOT_MEASURED for key in keys]


def _shown(parameters: Mapping[str, Any]) -> list[Cell]:
    return [show_value(value) for value in parameters.values()]


def _exact(value: Any) -> Cell:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else show_value(value)


def _or_empty(value: Cell | None) -> Cell:
    return "" if value is None else value


def _link(job: Job) -> str:
    return Link("page", f"../{quote(_page(job))}") if job.has_page else NOT_MEASURED


def _page(job: Job) -> str:
    return f"{job.name}/report/index.html"


def _over(spread: Mapping[str, Spread], absent: str = NOT_MEASURED) -> str:
    for found in spread.values():
        return f"{found.n} {found.over if found.n > 1 else found.over.removesuffix('s')}"
    return absent


def _means(spread: Mapping[str, Spread], metrics: Sequence[str]) -> list[Cell]:
    return [_describe(spread[metric]) if metric in spread else NOT_MEASURED for metric in metrics]


def _describe(found: Spread) -> str:
    if found.sd is None or found.low is None or found.high is None:
        return _digits(found.mean)
    interval = f"[{_digits(found.low)}, {_digits(found.high)}]"
    return f"{_digits(found.mean)} \N{PLUS-MINUS SIGN} {_digits(found.sd)} {interval}"


def _digits(value: float) -> str:
    return f"{value:.2g}" if 0 < abs(value) < 5e-4 else f"{value:.3f}"


def _interval(score: Score | None, header: str) -> str:
    if score is None or score.value is None:
        return NOT_MEASURED
    factor, digits = (100, 1) if header.endswith("%") else (1, 3)

    def show(value: float) -> str:
        return f"{factor * value:z.{digits}f}"

    if score.low is None or score.high is None:
        return show(score.value)
    return f"{show(score.value)} [{show(score.low)}, {show(score.high)}]"

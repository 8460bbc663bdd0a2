"""A sweep as tables: short ones for the page, and those with everything for jobs, trials and groups."""

from collections.abc import Sequence

from anatomark.collecting.cells import (
    Cell,
    exact_cell,
    interval_cell,
    names_of,
    or_empty,
    page_link,
    page_of,
    parameter_cells,
    parameters_of,
    short_names,
    spread_cells,
    spread_over,
)
from anatomark.collecting.endings import TRAINED
from anatomark.collecting.groups import FOLD, LEVEL, TRIAL, Group, measured, spreads
from anatomark.collecting.jobs import Job, Sweep
from anatomark.collecting.ranking import Ranking
from anatomark.collecting.subjects import Pooled, Unpooled
from anatomark.evaluators.landmark_frame import NOT_MEASURED
from anatomark.types import Table

_PERCENT = f"{100 * LEVEL:g} %"
_PARAMETERS = (
    "What varied was found by comparing the jobs' configurations under the keys that multirun.yaml names;"
    f" a job whose configuration was never written has {NOT_MEASURED} where nothing else says its value."
)


def jobs_table(sweep: Sweep, ranking: Ranking | None) -> Table:
    """What varied, how each job ended, its score and test metrics, and the link to its report."""
    shown = [job for job in sweep.jobs if job.status in TRAINED]
    metrics = short_names(names_of([measured(job, ranking) for job in shown]), ranking)
    rows: list[list[Cell]] = []
    for job in sweep.jobs:
        numbers = measured(job, ranking)
        name = f"{job.name} (best)" if ranking and job.name == ranking.best else job.name
        values = [numbers.get(metric, NOT_MEASURED) for metric in metrics]
        epochs = job.history.epochs if job.history else NOT_MEASURED
        rows.append([name, *parameters_of(job, sweep.keys), job.status, epochs, *values, page_link(job)])
    return Table(
        title="Jobs",
        columns=["job", *sweep.keys, "status", "epochs", *metrics, "report"],
        rows=rows,
        note=f"{_score_note(ranking)} {_sweep_note(sweep)}All numbers of all jobs: jobs.csv. {_PARAMETERS}",
    )


def trials_table(sweep: Sweep, groups: Sequence[Group], ranking: Ranking | None) -> Table:
    """The trials of a study whose trials are cross-validations, the best first, with the spread over their folds."""
    of_trial = {group.parameters[TRIAL]: group for group in groups}
    found = {name: spreads(group, ranking) for name, group in of_trial.items()}
    metrics, keys = short_names(names_of(list(found.values())), ranking), [key for key in sweep.keys if key != FOLD]
    rows: list[list[Cell]] = []
    for trial in _best_first(sweep, ranking):
        name = f"{trial.name} (best)" if ranking and trial.name == ranking.best else trial.name
        folds = f"{len(of_trial[trial.name].finished) if trial.name in of_trial else 0} of {len(sweep.folds)}"
        epochs = trial.history.epochs if trial.history else NOT_MEASURED
        means = spread_cells(found.get(trial.name, {}), metrics)
        rows.append([name, *parameters_of(trial, keys), trial.status, folds, epochs, *means, page_link(trial)])
    return Table(
        title="Trials, the best first",
        columns=["trial", *keys, "status", "folds", "epochs", *metrics, "report"],
        rows=rows,
        note=f"{_score_note(ranking)} Mean \N{PLUS-MINUS SIGN} standard deviation (n - 1) [{_PERCENT} interval of the"
        " mean, Student's t] over the folds of a trial; of a pruned one over those that it trained. Folds share"
        " training subjects, so their interval is somewhat too narrow. All numbers: trials.csv and groups.csv.",
    )


def all_jobs_table(jobs: Sequence[Job], ranking: Ranking | None, *, keys: Sequence[str], what: str) -> Table:
    """Every number of every job, or of every trial of several; empty cells where there is none.

    Args:
        jobs: what is listed.
        ranking: by what they are ranked.
        keys: the parameters that vary.
        what: what they are called, "job" or "trial".
    """
    numbers = {job.name: measured(job, ranking) for job in jobs}
    metrics = names_of(list(numbers.values()))
    last = names_of([job.history.last if job.history else {} for job in jobs])
    rows: list[list[Cell]] = []
    for job in jobs:
        history = job.history
        row: list[Cell] = [
            job.name,
            *(exact_cell(job.parameters[key]) if key in job.parameters else "" for key in keys),
            job.status,
        ]
        row += ["" if job.objective is None else job.objective]
        row += [history.epochs, or_empty(history.best_epoch)] if history else ["", ""]
        row += [numbers[job.name].get(metric, "") for metric in metrics]
        row += [history.last.get(metric, "") if history else "" for metric in last]
        rows.append([*row, page_of(job) if job.has_page else "", job.problem])
    own = [what, *keys, "status", "objective", "epochs", "best epoch"]
    columns = [*own, *metrics, *(f"{metric} (last epoch)" for metric in last), "report", "problem"]
    return Table(title=f"{what.capitalize()}s", columns=columns, rows=rows)


def groups_table(groups: Sequence[Group], ranking: Ranking | None) -> Table:
    """Mean, standard deviation and interval of each group's score and test metrics."""
    found = [spreads(group, ranking) for group in groups]
    metrics = short_names(names_of(found), ranking)
    rows: list[list[Cell]] = [
        [
            *parameter_cells(group.parameters),
            f"{len(group.finished)} of {len(group.jobs)}",
            spread_over(spread),
            *spread_cells(spread, metrics),
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
    metrics = names_of(found)
    parts = ("mean", "sd", "n", "low", "high", "seed_sd")
    rows: list[list[Cell]] = []
    for group, spread in zip(groups, found, strict=True):
        row = [
            *map(exact_cell, group.parameters.values()),
            len(group.jobs),
            len(group.finished),
            spread_over(spread, absent=""),
        ]
        for metric in metrics:
            row += [or_empty(getattr(spread[metric], part)) if metric in spread else "" for part in parts]
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
            scores = [interval_cell(found.scores.get(metric), header) for metric, header in headers.items()]
            row = [found.row or NOT_MEASURED] if named else []
            counts = [found.n_folds, found.n_seeds, found.n_subjects]
            rows.append([*parameter_cells(found.parameters), *row, *counts, *scores])
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
        rows=[[*parameter_cells(one.parameters), one.evaluator or "all", one.reason] for one in unpooled],
    )


def problems_table(jobs: Sequence[Job], sweep: Sweep) -> Table:
    """The jobs that did not finish, or diverged, and why."""
    return Table(
        title="Jobs with problems",
        columns=["job", *sweep.keys, "status", "why", "log"],
        rows=[
            [
                job.name,
                *parameters_of(job, sweep.keys),
                job.status,
                job.problem or NOT_MEASURED,
                f"{job.name}/train.log",
            ]
            for job in jobs
        ],
    )


def _score_note(ranking: Ranking | None) -> str:
    if ranking is None:
        return (
            "No finished ones have an objective in common, so none is the best; metric=NAME metric_mode=min|max ranks."
        )
    better = "lower" if ranking.mode == "min" else "higher"
    return f"{ranking.metric} ({better} is better) at the best epoch; test/: the checkpoint that evaluate.py takes."


def _sweep_note(sweep: Sweep) -> str:
    page = sweep.folder / "report" / "index.html"
    return "Their comparison by evaluate.py is report/index.html of the sweep. " if page.is_file() else ""


def _best_first(sweep: Sweep, ranking: Ranking | None) -> list[Job]:
    """Finished trials by their score, then pruned ones by theirs, then those without one by their number."""
    scores, sign = (ranking.scores, 1 if ranking.mode == "min" else -1) if ranking else ({}, 1)

    def place(trial: Job) -> tuple[int, float]:
        scored = trial.name in scores
        return TRAINED.index(trial.status) if scored else len(TRAINED), sign * scores[trial.name] if scored else 0.0

    return sorted(sweep.ranked, key=place)

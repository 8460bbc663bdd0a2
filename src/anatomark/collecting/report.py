"""A sweep -> its folder ``collected``: one page, ``jobs.csv``, ``groups.csv`` and ``collected.json``.

A study whose trials are cross-validations has ``trials.csv``, too.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anatomark.collecting.figures import draw_figures
from anatomark.collecting.groups import FOLD, LEVEL, Group, describe_group, group_jobs, measured
from anatomark.collecting.jobs import Job, Sweep, count_statuses, read_sweep
from anatomark.collecting.ranking import Ranking, rank
from anatomark.collecting.subjects import Pooled, Unpooled, pool
from anatomark.collecting.tables import (
    all_groups_table,
    all_jobs_table,
    groups_table,
    jobs_table,
    pooled_tables,
    problems_table,
    trials_table,
    unpooled_table,
)
from anatomark.collecting.trials import with_trials
from anatomark.report.page import describe_evaluation
from anatomark.report.tables import csv_text
from anatomark.report.writer import write_reports
from anatomark.runs import display_path
from anatomark.types import Report, Table

FOLDER = "collected"


@dataclass(frozen=True, kw_only=True)
class Collected:
    """A sweep with what its jobs say together.

    Attributes:
        sweep: the sweep.
        ranking: by what its jobs are ranked.
        groups: jobs that differ by seed and fold alone, or the folds of each trial.
        pooled: scores over subjects.
        unpooled: groups without such scores.
    """

    sweep: Sweep
    ranking: Ranking | None
    groups: list[Group]
    pooled: list[Pooled]
    unpooled: list[Unpooled]


def collect_sweep(folder: Path, *, metric: str | None, mode: str | None) -> Collected:
    """Reads a sweep.

    Args:
        folder: its folder.
        metric: what ranks the jobs, of ``metrics.csv``; None for their objective.
        mode: "min" or "max" with ``metric``, else None.

    Raises:
        AnatomarkError: the folder is no sweep's, no job is finished, a file is damaged, or the metric is unknown.
    """
    sweep = with_trials(read_sweep(folder))
    ranking = rank(sweep, metric=metric, mode=mode)
    groups = group_jobs(sweep)
    pooled, unpooled = pool(groups)
    return Collected(sweep=sweep, ranking=ranking, groups=groups, pooled=pooled, unpooled=unpooled)


def write_collected(sweep: Sweep, report: Report) -> Path:
    """Writes the folder ``collected`` of a sweep, whole or not at all; returns the page's path."""
    configs = [job.config for job in sweep.jobs if job.config is not None]
    data_sets = dict.fromkeys(_name_data_set(config) for config in configs)
    return write_reports(
        [report],
        sweep.folder / FOLDER,
        title=str(configs[0].get("name", "Sweep")),
        run_info=describe_evaluation(", ".join(data_sets), [display_path(sweep.folder)], 0),
    )


def make_report(collected: Collected) -> Report:
    """Everything as one report."""
    sweep, ranking, groups = collected.sweep, collected.ranking, collected.groups
    files = {
        "jobs.csv": csv_text(all_jobs_table(sweep.jobs, ranking, keys=sweep.keys, what="job")),
        "groups.csv": csv_text(all_groups_table(groups, ranking)),
    }
    if sweep.trials:
        keys = [key for key in sweep.keys if key != FOLD]
        files["trials.csv"] = csv_text(all_jobs_table(sweep.trials, ranking, keys=keys, what="trial"))
    return Report(
        name=FOLDER,
        title=_title(sweep),
        values=_values(collected),
        tables=_tables(collected),
        figures=draw_figures(sweep, ranking) if ranking else {},
        files=files,
    )


def _title(sweep: Sweep) -> str:
    if sweep.trials:
        return f"Study of {len(sweep.trials)} trials in {len(sweep.jobs)} jobs: {count_statuses(sweep.trials)}"
    return f"Sweep of {len(sweep.jobs)} jobs: {count_statuses(sweep.jobs)}"


def _tables(collected: Collected) -> list[Table]:
    sweep, ranking = collected.sweep, collected.ranking
    tables = [jobs_table(sweep, ranking)]
    if sweep.trials:
        tables.insert(0, trials_table(sweep, collected.groups, ranking))
    elif any(len(group.jobs) > 1 for group in collected.groups):
        tables.insert(0, groups_table(collected.groups, ranking))
    tables += pooled_tables(collected.pooled)
    if collected.unpooled:
        tables.append(unpooled_table(collected.unpooled))
    problems = [job for job in sweep.jobs if job.problem or job.status in ("failed", "unfinished")]
    return [*tables, problems_table(problems, sweep)] if problems else tables


def _values(collected: Collected) -> dict[str, Any]:
    sweep, ranking = collected.sweep, collected.ranking
    return {
        "keys": list(sweep.keys),
        "statuses": {job.name: job.status for job in sweep.jobs},
        "ranking": None if ranking is None else {"metric": ranking.metric, "mode": ranking.mode, "best": ranking.best},
        "jobs": [{"job": job.name, **_describe_job(job, ranking)} for job in sweep.jobs],
        "trials": [{"trial": trial.name, **_describe_job(trial, ranking)} for trial in sweep.trials],
        "groups": [describe_group(group, ranking) for group in collected.groups],
        "subjects": [asdict(found) for found in collected.pooled],
        "not_pooled": [asdict(found) for found in collected.unpooled],
        "conventions": {
            "parameters": "found by comparing config.yaml of the jobs; null where a configuration lacks the key",
            "metrics": "val/ and train/: of the epoch with the best monitored value, the last where nothing is"
            " monitored; test/: of the checkpoint that evaluate.py takes; others: of report/*.json",
            "trials": "of a study whose trials are cross-validations; metrics are means over the finished folds",
            "groups": "jobs that differ by seed and fold alone, or the folds of a trial; sd divides by n - 1; Student's"
            f" interval, {LEVEL:g}",
            "subjects": f"subjects of all folds; percentile bootstrap over subjects, {LEVEL:g}, 10,000 resamples,"
            " seed 0; several seeds averaged per subject",
        },
    }


def _describe_job(job: Job, ranking: Ranking | None) -> dict[str, Any]:
    history = job.history
    return {
        "status": job.status,
        "problem": job.problem,
        "parameters": dict(job.parameters),
        "objective": job.objective,
        "epochs": history.epochs if history else None,
        "best_epoch": history.best_epoch if history else None,
        "metrics": measured(job, ranking),
        "last": dict(history.last) if history else {},
        "report": f"{job.name}/report/index.html" if job.has_page else None,
    }


def _name_data_set(config: Mapping[str, Any]) -> str:
    name = str(config["choices"].get("data"))
    targets = str(config["data"])
    if "anatomark.phantoms." in targets:
        return f"{name} phantom"
    return f"{name} (simulated gaze)" if "simulated_gaze." in targets else name

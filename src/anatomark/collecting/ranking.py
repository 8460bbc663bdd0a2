"""By what the jobs of a sweep are ranked: the metric they monitored, or another one that the command names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from anatomark.collecting.endings import TRAINED
from anatomark.collecting.jobs import Sweep
from anatomark.errors import AnatomarkError

Mode = Literal["min", "max"]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """A metric and each job's value of it.

    Attributes:
        metric: its name.
        mode: whether small or large is better.
        scores: job -> value, of finished and pruned jobs in their order; without those that have none. Trials of
            several jobs are among them, with the mean over their folds.
        best: the best finished job, or trial of several; the first of equals.
    """

    metric: str
    mode: Mode
    scores: Mapping[str, float]
    best: str


def rank(sweep: Sweep, *, metric: str | None, mode: str | None) -> Ranking | None:
    """Ranks the jobs, or the trials of a study whose trials are several.

    Args:
        sweep: the sweep with its trials.
        metric: a column of ``metrics.csv``; None for the objective of the jobs.
        mode: "min" or "max" with ``metric``, None without.

    Returns:
        The ranking; None where the jobs have no objective, or not the same.

    Raises:
        AnatomarkError: no finished job has the metric, or it is not said which values of it are better.
    """
    if metric is None and mode is not None:
        raise AnatomarkError(f"metric_mode={mode} needs metric=, too; without it the jobs' own monitor_mode counts")
    if metric is not None:
        return _by_metric(sweep, metric, mode)
    finished = sweep.of_status("finished")
    monitored = {(job.config.get("monitor"), job.config.get("monitor_mode")) for job in finished if job.config}
    ended = [job for job in sweep.listed if job.status in TRAINED]
    scores = {job.name: job.objective for job in ended if job.objective is not None}
    if len(monitored) != 1 or not any(job.name in scores for job in finished):
        return None
    ((name, direction),) = monitored
    return _make(sweep, str(name), _check_mode(direction, "monitor_mode"), scores)


def _by_metric(sweep: Sweep, metric: str, mode: str | None) -> Ranking:
    measured = {job.name: job.history.best for job in sweep.listed if job.history is not None}
    scores = {name: values[metric] for name, values in measured.items() if metric in values}
    if not any(job.name in scores for job in sweep.of_status("finished")):
        known = sorted({name for values in measured.values() for name in values})
        raise AnatomarkError(
            f"metric={metric}: no finished {sweep.unit} measured it; choose one of {', '.join(known) or '-'}"
        )
    return _make(sweep, metric, _check_mode(mode, "metric_mode"), scores)


def _make(sweep: Sweep, metric: str, mode: Mode, scores: Mapping[str, float]) -> Ranking:
    ordered = {job.name: scores[job.name] for job in sweep.listed if job.name in scores}
    finished = {job.name: scores[job.name] for job in sweep.of_status("finished") if job.name in scores}
    best = (min if mode == "min" else max)(finished, key=lambda name: finished[name])
    return Ranking(metric=metric, mode=mode, scores=ordered, best=best)


def _check_mode(mode: object, key: str) -> Mode:
    if mode == "min" or mode == "max":
        return mode
    raise AnatomarkError(f"{key} is {mode}; set it to min or max, whichever values are better")

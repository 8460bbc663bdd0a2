"""The trials of a study of cross-validations: each is several jobs, its folds, and is worth their mean."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from anatomark.collecting.endings import TRAINED, Ending, read_ending
from anatomark.collecting.groups import FOLD, trial_of
from anatomark.collecting.history import History
from anatomark.collecting.jobs import Job, Sweep
from anatomark.collecting.parameters import Config


def with_trials(sweep: Sweep) -> Sweep:
    """The sweep with its trials, each as one job; as it is where its trials are jobs, or it has none.

    Raises:
        AnatomarkError: the ``result.json`` of a trial is damaged.
    """
    if not sweep.folds:
        return sweep
    jobs: dict[str, list[Job]] = {}
    for job in sweep.jobs:
        jobs.setdefault(trial_of(job), []).append(job)
    return replace(sweep, trials=tuple(_make_trial(sweep, name, folds) for name, folds in jobs.items()))


def _make_trial(sweep: Sweep, name: str, folds: Sequence[Job]) -> Job:
    folder = sweep.folder / name
    ending = _read_ending(folder, folds)
    trained = ending.status in TRAINED
    known = next((job.parameters for job in folds if job.parameters), {})
    config = next((job.config for job in folds if job.config is not None), None)
    return Job(
        name=name,
        folder=folder,
        status=ending.status,
        problem=ending.problem,
        config=None if config is None else _without_fold(config),
        parameters={key: value for key, value in known.items() if key != FOLD},
        objective=ending.objective,
        history=_mean([job.history for job in folds if job.history is not None]) if trained else None,
        has_page=(folder / "report" / "index.html").is_file(),
    )


def _read_ending(folder: Path, folds: Sequence[Job]) -> Ending:
    """How a trial ended, which its study leaves in ``result.json`` unless a fold failed."""
    ending = read_ending(folder)
    lost = [job for job in folds if job.status == "failed" or (job.status == "finished" and job.objective is None)]
    if ending.status != "unfinished" or not lost:
        return ending
    why = lost[0].problem or "it has no objective"
    return Ending(status="failed", problem=f"job {lost[0].name}: {why}")


def _without_fold(config: Config) -> Config:
    group, _, key = FOLD.partition(".")
    data: Mapping[str, object] = config[group]
    return {**config, group: {name: value for name, value in data.items() if name != key}}


def _mean(histories: Sequence[History]) -> History | None:
    """The mean of what all folds measured, and the sum of their epochs; None without one."""
    if not histories:
        return None
    best, last = ([getattr(history, which) for history in histories] for which in ("best", "last"))
    return History(
        epochs=sum(history.epochs for history in histories), best_epoch=None, best=_common(best), last=_common(last)
    )


def _common(folds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(fold[name] for fold in folds) for name in folds[0] if all(name in fold for fold in folds)}

"""The trials of a study as jobs: how they are launched, and what the study is told of their end."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from optuna.study import Study
from optuna.trial import Trial, TrialState

from anatomark.sweeps.study import PRUNED_AT

log = logging.getLogger("anatomark")

DONE = (TrialState.COMPLETE, TrialState.PRUNED)
"""What a trial is that need not be replaced."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a trial ended.

    Attributes:
        state: finished, pruned or failed.
        value: what the study optimises; None unless it finished.
    """

    state: TrialState
    value: float | None = None


def train_trials(study: Study, jobs: Sequence[tuple[Trial, Sequence[str]]], *, launcher: Launcher) -> list[Ending]:
    """Trains trials of one job each, all at once; the jobs themselves report their epochs to the study.

    Args:
        study: the study.
        jobs: trials and their words of the command line.
        launcher: runs the jobs; trial N is the job in the folder N.
    """
    returns = launcher.launch([words for _, words in jobs], initial_job_idx=jobs[0][0].number)
    return [_end(study, trial, ret) for (trial, _), ret in zip(jobs, returns, strict=True)]


def _end(study: Study, trial: Trial, ret: JobReturn) -> Ending:
    if ret.status is JobStatus.COMPLETED and study.trials[trial.number].user_attrs.get(PRUNED_AT) is not None:
        return Ending(state=TrialState.PRUNED)
    value = objective_of(ret, name=f"trial {trial.number}")
    return Ending(state=TrialState.FAIL if value is None else TrialState.COMPLETE, value=value)


def objective_of(ret: JobReturn, *, name: str) -> float | None:
    """What a job gave back; None where it failed, or gave back no number.

    Args:
        ret: how it ended.
        name: what the log calls it.
    """
    if ret.status is not JobStatus.COMPLETED:
        return None
    value = ret.return_value
    if value is None or math.isnan(value):
        log.error("failed: %s: its metric is %s; set monitor= to one that is logged", name, value)
        return None
    return float(value)

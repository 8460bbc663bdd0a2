"""Cross-validation inside a study: every fold of a trial is a job of its own, and the trial is worth their mean."""

from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from optuna.study import Study
from optuna.trial import Trial, TrialState

from anatomark.errors import AnatomarkError
from anatomark.finished import mark_finished
from anatomark.runs import display_path
from anatomark.sweeps.study import is_hopeless
from anatomark.sweeps.trials import Ending, objective_of

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

_FOLD = "data.fold"


def folds_of(config: DictConfig, *, searched: Collection[str], given: Collection[str]) -> list[int]:
    """The folds that ``sweep.folds`` asks every trial to train; none where a trial is one job.

    Args:
        config: configuration of a job.
        searched: keys that the study searches.
        given: keys that all its trials share.

    Raises:
        AnatomarkError: the data set has no such folds, or something else sets them.
    """
    asked, n_folds = config.sweep.folds, config.data.get("n_folds")
    if asked is None:
        return []
    if "sweep.folds" in searched:
        raise AnatomarkError("sweep.folds cannot be searched, as the values of a study are means over the same folds")
    if any(key.lstrip("+") == _FOLD for key in (*searched, *given)):
        raise AnatomarkError(f"sweep.folds={asked} sets {_FOLD} in every job; leave {_FOLD} out")
    if not isinstance(n_folds, int):
        raise AnatomarkError(
            f"sweep.folds={asked} needs a data set with folds, and its data.n_folds is {n_folds} (volumes have none);"
            " leave sweep.folds out"
        )
    numbers = list(asked) if OmegaConf.is_list(asked) else list(range(asked)) if type(asked) is int else []
    if len(numbers) < 2 or len(set(numbers)) < len(numbers):
        raise AnatomarkError(f"sweep.folds is {asked}; it must be at least 2, or a list of at least 2 different folds")
    if not OmegaConf.is_list(asked) and asked != n_folds:
        raise AnatomarkError(
            f"sweep.folds={asked} and data.n_folds={n_folds} differ; set data.n_folds={asked}, or list some of the"
            f" {n_folds} folds, such as sweep.folds=[0,1]"
        )
    if not set(numbers) <= set(range(n_folds)):
        raise AnatomarkError(f"sweep.folds is {asked}; with data.n_folds={n_folds} folds are 0 to {n_folds - 1}")
    longest = config.sweep.pruner.get("max_resource", len(numbers))
    if longest != len(numbers):
        raise AnatomarkError(
            f"sweep.pruner.max_resource is {longest}; with sweep.folds it counts folds: set it to {len(numbers)}"
        )
    return numbers


def train_folds(
    study: Study,
    jobs: Sequence[tuple[Trial, Sequence[str]]],
    *,
    folds: Sequence[int],
    pruner: "BasePruner",
    launcher: Launcher,
    folder: Path,
) -> list[Ending]:
    """Trains the folds of trials one after another, each fold of all trials at once.

    After each fold the study learns the mean so far, and the pruner ends trials whose mean is hopeless. A trial with a
    failed fold has failed; others leave their mean in ``result.json`` of the folder N. Folds that a killed sweep
    finished give back their objective without a training.

    Args:
        study: the study.
        jobs: trials and their words of the command line.
        folds: at least two.
        pruner: asked after every fold but the last; its steps are folds.
        launcher: runs the jobs.
        folder: of the sweep; fold F of trial N is the job in the folder N/F.

    Raises:
        AnatomarkError: the folds of the data set are all the same.
    """
    objectives: dict[int, list[float]] = {trial.number: [] for trial, _ in jobs}
    ends: dict[int, Ending] = {}
    for step, fold in enumerate(folds):
        going = [(trial, words) for trial, words in jobs if trial.number not in ends]
        if not going:
            break
        launched = [[*words, f"{_FOLD}={fold}", f"sweep.job={trial.number}/{fold}"] for trial, words in going]
        returns = launcher.launch(launched, initial_job_idx=going[0][0].number)
        for (trial, _), ret in zip(going, returns, strict=True):
            objective = objective_of(ret, name=f"fold {fold} of trial {trial.number}")
            if objective is None:
                ends[trial.number] = Ending(state=TrialState.FAIL)
                continue
            if step == 1:
                _check_distinct(folder / str(trial.number), folds[0], fold)
            objectives[trial.number].append(objective)
            mean = fmean(objectives[trial.number])
            study._storage.set_trial_intermediate_value(trial._trial_id, step, mean)
            if step + 1 == len(folds):
                ends[trial.number] = Ending(state=TrialState.COMPLETE, value=mean)
            elif is_hopeless(study, pruner, trial._trial_id, step):
                ends[trial.number] = Ending(state=TrialState.PRUNED)
            if trial.number in ends:
                pruned = ends[trial.number].state is TrialState.PRUNED
                mark_finished(folder / str(trial.number), mean, pruned=pruned)
    return [ends[trial.number] for trial, _ in jobs]


def _check_distinct(folder: Path, *folds: int) -> None:
    """Refuses a data set that fixes who is trained and tested on, which only its files say."""
    first, second = ((folder / str(fold) / "splits.json").read_bytes() for fold in folds)
    if first == second:
        raise AnatomarkError(
            f"{display_path(folder)}: folds {folds[0]} and {folds[1]} have the same subjects in every split, as the"
            " data set brings its own splits; leave sweep.folds out"
        )

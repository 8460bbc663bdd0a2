"""Hydra's Optuna sweeper with a study that outlives it: it resumes, prunes, and goes on after a failed job.

The plugin's own loop starts every time at trial 0, knows no pruned trial and stops at the first failure, so this one
takes its place; the search space, the samplers and the configuration are the plugin's.
"""

import fcntl
import functools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl, create_params_from_overrides
from omegaconf import DictConfig, OmegaConf, open_dict
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GridSampler, QMCSampler
from optuna.study import Study
from optuna.trial import Trial, TrialState

from anatomark.errors import AnatomarkError
from anatomark.instantiation import instantiate as instantiate_allowed
from anatomark.runs import display_path
from anatomark.sweeps.folds import folds_of, train_folds
from anatomark.sweeps.study import create_study, open_storage, storage_errors
from anatomark.sweeps.trials import DONE, Ending, train_trials

log = logging.getLogger("anatomark")

Train = Callable[[Study, Sequence[tuple[Trial, Sequence[str]]]], list[Ending]]
"""Trains the trials of a batch, each with the words of its job."""

_RESULTS = "optimization_results.yaml"  # the plugin's name


class StudySweeper(OptunaSweeperImpl):
    """Trains until the study holds ``n_trials`` finished or pruned trials.

    Trial N is the job in the folder N, or with ``sweep.folds`` a job in N/FOLD for each fold. What a killed sweep left
    half done goes on under its number, with its parameters; what failed is replaced by another trial the next time
    that the command is given. The arguments are those of Hydra's Optuna sweeper, but the direction, which is
    ``monitor_mode``'s.
    """

    def __init__(self, sampler: DictConfig, **options: Any) -> None:
        super().__init__(sampler, **options)
        if not (isinstance(self.n_jobs, int) and self.n_jobs >= 1):
            raise AnatomarkError(
                f"hydra.sweeper.n_jobs is {self.n_jobs}; it, or hydra.launcher.n_jobs, must be at least 1"
            )
        if not (isinstance(self.n_trials, int) and self.n_trials >= 1):
            raise AnatomarkError(f"hydra.sweeper.n_trials is {self.n_trials}; it must be at least 1")
        if self.direction is not None:
            raise AnatomarkError("hydra.sweeper.direction is given by monitor_mode (min or max); set that")
        if not isinstance(self.storage, str):
            raise AnatomarkError(f"hydra.sweeper.storage is {self.storage}; it must be the URL of a database")
        self._url = self.storage

    def sweep(self, arguments: list[str]) -> None:
        """Runs the sweep.

        Raises:
            AnatomarkError: a parameter is unknown, the study cannot be used, or a trial failed.
        """
        space, fixed, others = _search_space([*self._parse_sweeper_params_config(), *arguments])
        config, folds = self._check(space, fixed, others)
        folder = Path(self.sweep_dir)
        folder.mkdir(parents=True, exist_ok=True)
        maximize, words = config.monitor_mode == "max", [*(f"{name}={value}" for name, value in fixed.items()), *others]
        assert self.launcher is not None
        train: Train = functools.partial(train_trials, launcher=self.launcher)
        if folds:
            pruner = instantiate_allowed(config.sweep.pruner)
            train = functools.partial(train_folds, folds=folds, pruner=pruner, launcher=self.launcher, folder=folder)
        with _alone_in(folder), storage_errors(self._url):
            storage = open_storage(self._url)
            study = create_study(
                storage, str(self.study_name), maximize=maximize, space=space, words=words, folds=folds
            )
            OmegaConf.save(self.config, folder / "multirun.yaml")
            failed = self._run(study, space, fixed, others, train)
            _save_best(study, folder)
        if failed:
            numbers = ", ".join(map(str, failed))
            raise AnatomarkError(
                f"{len(failed)} trials failed ({numbers}); their logs are in {display_path(folder)}. The same command"
                f" with hydra.sweep.dir={display_path(folder)} tries others in their place"
            )

    def _run(
        self, study: Study, space: dict[str, BaseDistribution], fixed: dict[str, Any], others: list[str], train: Train
    ) -> list[int]:
        """Trains batch by batch what is left to do; returns the trials that failed."""
        done = len(study.get_trials(deepcopy=False, states=DONE))
        half_done = [trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]
        study.sampler = self._make_sampler(space, 0)
        total = self.n_trials
        if isinstance(study.sampler, GridSampler):
            total = min(total, math.prod(len(self._to_grid_sampler_choices(drawn)) for drawn in space.values()))
        if done or half_done:
            log.info("study %s: %d of %d trials are done, %d half done", study.study_name, done, total, len(half_done))
        left = max(total - done, 0)
        for number in half_done[left:]:  # n_trials was lowered
            study.tell(number, state=TrialState.FAIL)
        half_done, failed = half_done[:left], list[int]()
        while left > 0:
            jobs = list[tuple[Trial, Sequence[str]]]()
            for _ in range(min(left, self.n_jobs)):
                trial = _again(study, half_done.pop(0)) if half_done else study.ask()
                study.sampler = self._make_sampler(space, trial.number)
                (drawn,) = self._configure_trials([trial], space, fixed, others)
                jobs.append((trial, [*drawn, f"sweep.trial={trial.number}"]))
            ends = train(study, jobs)
            bad = [trial.number for (trial, _), end in zip(jobs, ends, strict=True) if not _tell(study, trial, end)]
            failed += bad
            left -= len(jobs)
            if len(bad) / len(jobs) > self.max_failure_rate:
                log.error("stopped: %d of %d trials of a batch failed", len(bad), len(jobs))
                break
        return failed

    def _check(
        self, space: Mapping[str, BaseDistribution], fixed: Mapping[str, Any], others: list[str]
    ) -> tuple[DictConfig, list[int]]:
        """Composes jobs before any is run, which raises what is wrong with them; returns the first, and the folds."""
        first = {name: _values(drawn)[0] for name, drawn in space.items()} | dict(fixed)
        jobs = [first, *({**first, name: value} for name, drawn in space.items() for value in _values(drawn)[1:])]
        configs = [self._compose([*(f"{name}={value}" for name, value in job.items()), *others]) for job in jobs]
        for config in configs:
            if config.monitor is None:
                raise AnatomarkError("a study needs a metric to optimise; set monitor=, such as monitor=val/kld")
            devices = config.trainer.devices
            if devices not in (1, "1") and not (OmegaConf.is_list(devices) and len(devices) == 1):
                raise AnatomarkError(f"trainer.devices is {devices}; a job of a study trains on one, set it to 1")
        folds = [folds_of(config, searched=space, given=fixed) for config in configs]
        return configs[0], folds[0]

    def _compose(self, words: list[str]) -> DictConfig:
        assert self.hydra_context is not None
        assert self.config is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, words)
        with open_dict(config):
            del config["hydra"]
        return config

    def _make_sampler(self, space: Mapping[str, BaseDistribution], number: int) -> BaseSampler:
        """A sampler that proposes for a trial what an uninterrupted sweep would have proposed for it."""
        allowed = ["hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*"]
        make = functools.partial(instantiate, self.sampler, _execution_whitelist_=allowed)
        sampler = make()
        if isinstance(sampler, functools.partial):  # the grid's, which knows from the study where it is
            grid: BaseSampler = sampler({name: self._to_grid_sampler_choices(drawn) for name, drawn in space.items()})
            return grid
        seed = self.sampler.get("seed")
        if seed is not None and not isinstance(sampler, QMCSampler):  # whose seed names its one sequence
            sampler = make(seed=seed + number)
        assert isinstance(sampler, BaseSampler)
        return sampler


def _search_space(words: list[str]) -> tuple[dict[str, BaseDistribution], dict[str, Any], list[str]]:
    """What is searched, the values that all trials share, and what they share that is no value, such as ``~key``."""
    try:
        space, fixed, others = create_params_from_overrides(words)
    except (AssertionError, NotImplementedError, ValueError) as error:
        raise AnatomarkError(f"sweep=optuna cannot search this: {error}") from error
    space = {name: drawn for name, drawn in space.items() if name not in fixed}
    if not space:
        raise AnatomarkError(
            "sweep=optuna has nothing to search; give a range, such as"
            " 'model.optimizer.lr=tag(log,interval(1e-4,1e-1))', or choices a,b"
        )
    return space, fixed, others


def _values(drawn: BaseDistribution) -> list[Any]:
    return list(drawn.choices) if isinstance(drawn, CategoricalDistribution) else [drawn.low]  # type: ignore[attr-defined]


def _again(study: Study, number: int) -> Trial:
    """A trial that a killed sweep left behind, with the parameters it had got."""
    storage, study_id = study._storage, study._study_id
    return Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))


def _tell(study: Study, trial: Trial, end: Ending) -> bool:
    """Puts the end of a trial into the study; whether it did not fail."""
    try:
        study.tell(trial, end.value, state=end.state)
    except RuntimeError as error:
        # A grid that is through asks an optimisation loop to stop, which there is none of, after the trial is stored.
        if not isinstance(study.sampler, GridSampler) or "Study.stop" not in str(error):
            raise
    return end.state in DONE


def _save_best(study: Study, folder: Path) -> None:
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    pruned = len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)))
    log.info("study %s: %d trials finished, %d pruned", study.study_name, len(finished), pruned)
    if not finished:
        return
    best = study.best_trial
    log.info("best: %s in %s with %s", best.value, display_path(folder / str(best.number)), best.params)
    results = {"name": "optuna", "best_trial": best.number, "best_params": best.params, "best_value": best.value}
    OmegaConf.save(OmegaConf.create(results), folder / _RESULTS)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keeps a second sweep away, which would take the trials under way for half-done ones."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go when the process ends, however it ends
        except BlockingIOError as error:
            raise AnatomarkError(
                f"another sweep is running in {display_path(folder)}; wait for it, or choose another hydra.sweep.dir"
            ) from error
        yield

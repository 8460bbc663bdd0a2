"""A study whose trials are cross-validations; a program of milliseconds stands for train.py."""

import itertools
import json
import math
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")

import optuna
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from optuna.trial import FrozenTrial, TrialState

from anatomark.sweeps import folds, sweeper
from commands import CONF, Commands, Ended
from refused import assert_refused

APP = "tests/sweeps/toy_app.py"
LR = "model.optimizer.lr"
MEDIAN = ["sweep.pruner.n_startup_trials=1"]
HYPERBAND = ["sweep/pruner=hyperband", "sweep.pruner.max_resource=3"]
SPACE = f"{LR}=tag(log,interval(1e-4,1e-0))"


class Killed(BaseException):
    """Ends the process as SIGKILL does: nothing after it is run."""


def sweep(commands: Commands, *more: str) -> Ended:
    three = [] if any(word.startswith("sweep.folds=") for word in more) else ["sweep.folds=3"]
    return commands(APP, "-m", "--config-dir", str(CONF), "sweep=optuna", SPACE, *three, *more)


def trials(folder: Path) -> list[FrozenTrial]:
    return optuna.load_study(study_name="study", storage=f"sqlite:///{folder}/study.db").trials


def jobs(folder: Path) -> dict[str, int]:
    """Job -> the epochs that were trained in it, all sessions together."""
    paths = sorted(folder.glob("**/epochs.txt"))
    return {str(path.parent.relative_to(folder)): len(path.read_text().split()) for path in paths}


def outcome(folder: Path) -> list[tuple[Any, ...]]:
    return [(trial.params, trial.state, trial.value, trial.intermediate_values) for trial in trials(folder)]


def truth(lr: float, fold: int) -> float:
    return (math.log10(lr) + 2 + fold / 4) ** 2 + 1 / 6


@pytest.fixture
def folder(commands: Commands) -> Path:
    return commands.folder / "sweep"


def test_a_trial_is_the_mean_of_its_folds(commands: Commands, folder: Path) -> None:
    ended = sweep(commands, "hydra.sweeper.n_trials=2", "sweep/pruner=none")
    assert ended.code == 0, ended.err
    assert jobs(folder) == {f"{trial}/{fold}": 6 for trial in range(2) for fold in range(3)}
    for trial in trials(folder):
        of_folds = [truth(trial.params[LR], fold) for fold in range(3)]
        means = {0: of_folds[0], 1: fmean(of_folds[:2]), 2: fmean(of_folds)}
        assert trial.intermediate_values == pytest.approx(means)
        assert trial.value == pytest.approx(means[2])
        result = json.loads((folder / str(trial.number) / "result.json").read_text())
        assert result == {"objective": trial.value, "pruned": False}
        for fold, value in enumerate(of_folds):
            job = folder / str(trial.number) / str(fold)
            assert json.loads((job / "result.json").read_text())["objective"] == pytest.approx(value)
            words = json.loads((job / "job.json").read_text())["overrides"]
            assert {f"data.fold={fold}", f"sweep.job={trial.number}/{fold}"} <= set(words)
    assert "study study: 2 trials finished, 0 pruned" in ended.out
    assert "sweep sweep: 6 jobs, 6 finished" in ended.out


def test_some_of_the_folds(commands: Commands, folder: Path) -> None:
    ended = sweep(commands, "hydra.sweeper.n_trials=1", "sweep.folds=[2,0]")
    assert ended.code == 0, ended.err
    (trial,) = trials(folder)
    assert trial.value == pytest.approx(fmean(truth(trial.params[LR], fold) for fold in (2, 0)))
    assert set(jobs(folder)) == {"0/0", "0/2"}


def test_hopeless_trials_end_between_folds(commands: Commands, folder: Path) -> None:
    ended = sweep(commands, "hydra.sweeper.n_trials=8")
    assert ended.code == 0, ended.err
    found = trials(folder)
    trained = jobs(folder)
    for trial in found:
        n_folds = len(trial.intermediate_values)
        assert {job for job in trained if job.startswith(f"{trial.number}/")} == {
            f"{trial.number}/{fold}" for fold in range(n_folds)
        }
        # The first four are never stopped; then what is worse than the median after two folds is.
        after_two = trial.intermediate_values[1]
        others = [other.intermediate_values[1] for other in found[: trial.number] if other.state is TrialState.COMPLETE]
        hopeless = trial.number >= 4 and after_two > median(others)
        assert (trial.state, n_folds) == ((TrialState.PRUNED, 2) if hopeless else (TrialState.COMPLETE, 3))
        result = json.loads((folder / str(trial.number) / "result.json").read_text())
        assert result == {"objective": trial.intermediate_values[n_folds - 1], "pruned": hopeless}
    assert {trial.state for trial in found} == {TrialState.PRUNED, TrialState.COMPLETE}
    assert set(trained.values()) == {6}


def kill(patch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Ends the process where a function is called for the nth time."""
    calls, function = itertools.count(1), getattr(owner, name)

    def until_killed(*args: Any, **options: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return function(*args, **options)

    patch.setattr(owner, name, until_killed)


@pytest.mark.parametrize("more", [pytest.param(MEDIAN, marks=pytest.mark.slow), HYPERBAND], ids=str)
def test_killed_between_folds_it_ends_as_if_it_had_not_been(commands: Commands, folder: Path, more: list[str]) -> None:
    words = ["hydra.sweeper.n_trials=5", *more]
    places = [
        (BasicLauncher, "launch", 2),  # trial 0 has one fold
        (folds, "is_hopeless", 4),  # a fold of trial 1 is trained and reported, but not judged
        (folds, "objective_of", 3),  # a fold is trained, but not reported
        (sweeper, "_tell", 2),  # the folds of another trial are trained, its study not told
    ]
    for owner, name, call in places:
        with pytest.MonkeyPatch.context() as patch:
            kill(patch, owner, name, call)
            with pytest.raises(Killed):
                sweep(commands, *words)
        assert trials(folder)[-1].state is TrialState.RUNNING
    ended = sweep(commands, *words)
    assert ended.code == 0, ended.err
    other = commands.folder / "other"
    assert sweep(commands, *words, "hydra.sweep.dir=other").code == 0
    assert outcome(folder) == outcome(other)
    assert {trial.state for trial in trials(folder)} == {TrialState.PRUNED, TrialState.COMPLETE}
    assert jobs(folder) == jobs(other)  # no finished fold was trained again


def test_killed_inside_a_fold_only_that_one_is_trained_again(commands: Commands, folder: Path) -> None:
    words = ["hydra.sweeper.n_trials=2"]
    assert sweep(commands, *words).code == 0
    with pytest.MonkeyPatch.context() as patch:
        kill(patch, math, "log10", 6 * 4 + 3)  # in the third epoch of the second fold of trial 1
        with pytest.raises(Killed):
            sweep(commands, *words, "hydra.sweep.dir=other")
    other = commands.folder / "other"
    assert jobs(other) == {"0/0": 6, "0/1": 6, "0/2": 6, "1/0": 6, "1/1": 2}
    ended = sweep(commands, *words, "hydra.sweep.dir=other")
    assert ended.code == 0, ended.err
    assert jobs(other) == {**jobs(folder), "1/1": 2 + 6}
    assert outcome(folder) == outcome(other)


def test_a_trial_with_a_failed_fold_has_failed(commands: Commands, folder: Path) -> None:
    ended = sweep(commands, "hydra.sweeper.n_trials=3", "fails=[1/1]")
    assert_refused(ended, "1 trials failed (1)")
    assert [trial.state.name for trial in trials(folder)] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert "failed: 1/1 (" in ended.out
    assert "traceback in sweep/1/1/toy_app.log" in ended.out
    assert not (folder / "1" / "2").exists()
    assert not (folder / "1" / "result.json").exists()
    ended = sweep(commands, "hydra.sweeper.n_trials=3", "fails=[1/1]")
    assert ended.code == 0, ended.err
    assert [trial.state.name for trial in trials(folder)] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_trials_at_once_train_their_folds_together(commands: Commands, folder: Path) -> None:
    launched = []
    launch = BasicLauncher.launch

    def noted(self: BasicLauncher, words: Any, initial_job_idx: int) -> Any:
        launched.append([word for job in words for word in job if word.startswith("sweep.job=")])
        return launch(self, words, initial_job_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BasicLauncher, "launch", noted)
        ended = sweep(commands, "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2", "fails=[0/1]")
    assert_refused(ended, "1 trials failed (0)")
    assert launched == [["sweep.job=0/0", "sweep.job=1/0"], ["sweep.job=0/1", "sweep.job=1/1"], ["sweep.job=1/2"]]
    assert trials(folder)[1].state is TrialState.COMPLETE


def test_data_with_splits_of_its_own_is_refused(commands: Commands) -> None:
    ended = sweep(commands, "own_split=true")
    assert_refused(ended, "sweep/0: folds 0 and 1 have the same subjects", "leave sweep.folds out")


def test_a_study_keeps_its_folds(commands: Commands) -> None:
    assert sweep(commands, "hydra.sweeper.n_trials=1").code == 0
    for other in ("null", "[0,1]"):
        ended = sweep(commands, "hydra.sweeper.n_trials=1", f"sweep.folds={other}")
        assert_refused(ended, "(sweep.folds differ)")


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["sweep.folds=1"], ["sweep.folds is 1; it must be at least 2"]),
        (["sweep.folds=many"], ["sweep.folds is many"]),
        (["sweep.folds=true"], ["sweep.folds is True"]),
        (["sweep.folds=[1]"], ["sweep.folds is [1]"]),
        (["sweep.folds=[1,1]"], ["2 different folds"]),
        (["sweep.folds=[0,3]"], ["sweep.folds is [0, 3]", "folds are 0 to 2"]),
        (["sweep.folds=[0,a]"], ["folds are 0 to 2"]),
        (["sweep.folds=5"], ["sweep.folds=5 and data.n_folds=3 differ", "data.n_folds=5"]),
        (["sweep/pruner=hyperband"], ["sweep.pruner.max_resource is 6", "set it to 3"]),
        (["data.n_folds=3,5"], ["sweep.folds=3 and data.n_folds=5 differ"]),
        (["sweep.folds=[0,1],[0,2]"], ["sweep.folds cannot be searched"]),
        (["data.fold=0,1"], ["leave data.fold out"]),
        (["data.fold=2"], ["leave data.fold out"]),
        (["~data.n_folds"], ["volumes have none", "leave sweep.folds out"]),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_folds_that_cannot_be_are_refused_before_any_job(commands: Commands, more: list[str], parts: list[str]) -> None:
    assert_refused(sweep(commands, *more), *parts)
    assert not list(commands.folder.glob("sweep/*/"))

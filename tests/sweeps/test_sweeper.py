"""A study is resumed, pruned and checked; a program of milliseconds stands for train.py."""

import itertools
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")

import optuna
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from anatomark.multirun import ended_jobs
from anatomark.sweeps import sweeper
from anatomark.sweeps.pruning import TrialPruning
from anatomark.sweeps.summary import state_of
from anatomark.sweeps.sweeper import StudySweeper
from commands import CONF, ROOT, Commands, Ended
from refused import assert_refused

APP = "tests/sweeps/toy_app.py"
SPACE = "model.optimizer.lr=tag(log,interval(1e-4,1e-0))"
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


def words(*more: str) -> list[str]:
    return ["-m", "--config-dir", str(CONF), "sweep=optuna", SPACE, *more]


def sweep(commands: Commands, *more: str) -> Ended:
    return commands(APP, *words(*more))


def trials(folder: Path) -> list[FrozenTrial]:
    return optuna.load_study(study_name="study", storage=f"sqlite:///{folder}/study.db").trials


def epochs(folder: Path) -> dict[str, int]:
    return {path.parent.name: len(path.read_text().split()) for path in folder.glob("*/epochs.txt")}


def start(cwd: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / APP), *words(*more)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=240)
    return Ended(process.returncode, out, err)


@pytest.fixture
def folder(commands: Commands) -> Path:
    return commands.folder / "sweep"


def test_trial_n_is_folder_n_and_the_best_is_told(commands: Commands, folder: Path) -> None:
    ended = sweep(commands, "hydra.sweeper.n_trials=6", "sweep/pruner=none")
    assert ended.code == 0, ended.err
    assert sorted(epochs(folder)) == [str(number) for number in range(6)]
    found = trials(folder)
    for trial in found:
        assert trial.value == pytest.approx((math.log10(trial.params["model.optimizer.lr"]) + 2) ** 2 + 1 / 6)
        assert len(trial.intermediate_values) == epochs(folder)[str(trial.number)] == 6
    best = min(found, key=lambda trial: trial.value or math.inf)
    results = OmegaConf.load(folder / "optimization_results.yaml")
    assert (results.best_trial, results.best_value) == (best.number, pytest.approx(best.value))
    assert (folder / "multirun.yaml").is_file()
    assert "6 trials finished, 0 pruned" in ended.out
    assert "sweep sweep: 6 jobs, 6 finished" in ended.out


def test_a_study_that_is_done_trains_nothing_and_can_be_extended(commands: Commands, folder: Path) -> None:
    assert sweep(commands, "hydra.sweeper.n_trials=2").code == 0
    before = epochs(folder)
    ended = sweep(commands, "hydra.sweeper.n_trials=2")
    assert (ended.code, epochs(folder)) == (0, before)
    assert "2 of 2 trials are done, 0 half done" in ended.out
    assert sweep(commands, "hydra.sweeper.n_trials=3").code == 0
    assert epochs(folder) == {**before, "2": 6}


def test_hopeless_trials_are_pruned_and_no_failures(commands: Commands, folder: Path) -> None:
    ended = sweep(commands, "hydra.sweeper.n_trials=12")
    assert ended.code == 0, ended.err
    found = trials(folder)
    assert len(found) == 12
    pruned = [trial for trial in found if trial.state is TrialState.PRUNED]
    assert pruned
    assert all(trial.state in DONE for trial in found)
    jobs = ended_jobs(folder)
    assert {name for name, job in jobs.items() if state_of(folder / name, job) == "pruned"} == {
        str(trial.number) for trial in pruned
    }
    for trial in found:
        assert epochs(folder)[str(trial.number)] == len(trial.intermediate_values)
    assert all(len(trial.intermediate_values) < 6 for trial in pruned)
    # The first four are never stopped, nor is the best.
    assert {trial.number for trial in pruned} <= set(range(4, 12))
    assert f"{12 - len(pruned)} trials finished, {len(pruned)} pruned" in ended.out


@pytest.mark.filterwarnings("ignore:QMCSampler is experimental")
@pytest.mark.parametrize(
    "more", [["sweep/pruner=hyperband"], ["hydra/sweeper/sampler=random"], ["hydra/sweeper/sampler=qmc"]], ids=str
)
def test_other_pruners_and_samplers(commands: Commands, folder: Path, more: list[str]) -> None:
    ended = sweep(commands, "hydra.sweeper.n_trials=6", *more)
    assert ended.code == 0, ended.err
    assert len({trial.params["model.optimizer.lr"] for trial in trials(folder)}) == 6


def test_a_grid_ends_with_its_last_cell(commands: Commands, folder: Path) -> None:
    more = ["model.optimizer.lr=0.1,0.01,0.001", "hydra/sweeper/sampler=grid"]
    assert sweep(commands, *more, "hydra.sweeper.n_trials=2").code == 0
    ended = sweep(commands, *more)
    assert ended.code == 0, ended.err
    assert sorted(float(trial.params["model.optimizer.lr"]) for trial in trials(folder)) == [0.001, 0.01, 0.1]


def test_more_is_better_where_monitor_mode_says_so(commands: Commands, folder: Path) -> None:
    ended = sweep(commands, "hydra.sweeper.n_trials=3", "monitor_mode=max")
    assert ended.code == 0, ended.err
    best = max(trial.value for trial in trials(folder) if trial.value is not None)
    assert OmegaConf.load(folder / "optimization_results.yaml").best_value == pytest.approx(best)


class Killed(BaseException):
    """Ends the process as SIGKILL does: nothing after it is run."""


def kill(patch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Ends the process where a function is called for the nth time."""
    calls, function = itertools.count(1), getattr(owner, name)

    def until_killed(*args: Any, **options: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return function(*args, **options)

    patch.setattr(owner, name, until_killed)


def outcome(folder: Path) -> list[tuple[Any, ...]]:
    return [(trial.number, trial.params, trial.state, trial.value) for trial in trials(folder)]


def test_killed_anywhere_it_ends_as_if_it_had_not_been(commands: Commands, folder: Path) -> None:
    places = [
        (StudySweeper, "_configure_trials", 2),  # trial 1 has no parameters
        (TrialPruning, "on_train_epoch_end", 9),  # trial 1 is trained, trial 2 in its third epoch
        (sweeper, "_tell", 3),  # trial 4 is trained, its study not told
    ]
    for owner, name, call in places:
        with pytest.MonkeyPatch.context() as patch:
            kill(patch, owner, name, call)
            with pytest.raises(Killed):
                sweep(commands, "hydra.sweeper.n_trials=7")
    half_done = trials(folder)
    assert [trial.state.name for trial in half_done] == ["COMPLETE"] * 4 + ["RUNNING"]
    assert (folder / "4" / "result.json").is_file()
    trained = epochs(folder)["4"]
    ended = sweep(commands, "hydra.sweeper.n_trials=7")
    assert ended.code == 0, ended.err
    assert "4 of 7 trials are done, 1 half done" in ended.out
    assert sweep(commands, "hydra.sweeper.n_trials=7", "hydra.sweep.dir=other").code == 0
    assert outcome(folder) == outcome(commands.folder / "other")
    assert len({trial.params["model.optimizer.lr"] for trial in trials(folder)}) == 7
    # Only what was under way is trained again: three epochs of trial 2.
    assert epochs(folder) == {**epochs(commands.folder / "other"), "2": 3 + 6, "4": trained}


@pytest.mark.slow
@pytest.mark.timeout(900)  # three processes that load torch
def test_killed_by_the_system_it_ends_as_if_it_had_not_been(commands: Commands, folder: Path) -> None:
    for finished in (2, 5):
        process = start(commands.folder, "hydra.sweeper.n_trials=8", "seconds=0.1")
        deadline = time.monotonic() + 240
        while len(list(folder.glob("*/result.json"))) < finished and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.15)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert len(list(folder.glob("*/result.json"))) in range(finished, 8)
    ended = finish(start(commands.folder, "hydra.sweeper.n_trials=8", "seconds=0.1"))
    assert ended.code == 0, ended.err
    assert len(trials(folder)) == 8
    assert sweep(commands, "hydra.sweeper.n_trials=8", "hydra.sweep.dir=other").code == 0
    assert outcome(folder) == outcome(commands.folder / "other")


def test_a_failed_trial_is_told_and_replaced_the_next_time(commands: Commands, folder: Path) -> None:
    ended = sweep(commands, "hydra.sweeper.n_trials=4", "fails=[1,2]")
    assert_refused(ended, "2 trials failed (1, 2)", "hydra.sweep.dir=sweep")
    assert [trial.state.name for trial in trials(folder)] == ["COMPLETE", "FAIL", "FAIL", "COMPLETE"]
    assert "sweep sweep: 4 jobs, 2 failed, 2 finished" in ended.out
    own = trials(folder)[1].params["model.optimizer.lr"]
    line = f"failed: 1 (model.optimizer.lr={own} sweep.trial=1): ZeroDivisionError: a defect; traceback in"
    assert f"{line} sweep/1/toy_app.log" in ended.out
    assert "failed: 2 (" in ended.out
    log = (folder / "1" / "toy_app.log").read_text()
    assert "Traceback" in log
    assert "ZeroDivisionError: a defect" in log
    assert_refused(sweep(commands, "hydra.sweeper.n_trials=4"), "(fails differ)")
    ended = sweep(commands, "hydra.sweeper.n_trials=4", "fails=[1,2]")
    assert ended.code == 0, ended.err
    assert [trial.state in DONE for trial in trials(folder)] == [True, False, False, True, True, True]


def test_too_many_failures_end_the_sweep_where_that_is_asked_for(commands: Commands, folder: Path) -> None:
    ended = sweep(commands, "hydra.sweeper.n_trials=4", "fails=[1]", "hydra.sweeper.max_failure_rate=0.5")
    assert_refused(ended, "1 trials failed (1)")
    assert len(trials(folder)) == 2


def test_a_grid_of_jobs_lists_its_failures(commands: Commands, folder: Path) -> None:
    ended = commands(APP, "-m", "fails=[0,2]", "seed=0,1,2,3", "--config-dir", str(CONF))
    assert ended.code == 1
    assert "sweep sweep: 4 jobs, 2 failed, 2 finished" in ended.out
    assert "failed: 2 (seed=2): bad input; traceback in sweep/2/toy_app.log" in ended.out
    assert (folder / "3" / "result.json").is_file()


def test_jobs_of_several_names_share_one_folder(commands: Commands) -> None:
    sweep_dir = 'hydra.sweep.dir="runs/${of_sweep:${name}}/now"'
    ended = commands(APP, "-m", "name=a,b", sweep_dir, "--config-dir", str(CONF))
    assert ended.code == 0, ended.err
    assert sorted(commands.folder.glob("**/result.json")) == [
        commands.folder / "runs" / "toy" / "now" / number / "result.json" for number in "01"
    ]


@pytest.mark.parametrize("storage", ["sqlite:///sweep/other.db", "journal://${hydra.sweep.dir}/study.log"])
def test_other_storages(commands: Commands, storage: str, folder: Path) -> None:
    folder.mkdir()
    for n_trials in (1, 2):
        ended = sweep(commands, f"hydra.sweeper.n_trials={n_trials}", f"hydra.sweeper.storage={storage}")
        assert ended.code == 0, ended.err
    assert set(epochs(folder).values()) == {6}
    assert not (folder / "study.db").exists()


@pytest.mark.slow
def test_joblib_trains_two_at_once(commands: Commands, folder: Path) -> None:
    ended = finish(start(commands.folder, "launcher=joblib", "hydra.sweeper.n_trials=5", "fails=[2]"))
    assert_refused(ended, "1 trials failed (2)")
    assert "Joblib.Parallel(n_jobs=2" in ended.out
    assert len(trials(folder)) == 5
    assert "failed: 2 (" in ended.out


def test_submitit_trains_in_a_process_of_its_own(commands: Commands, folder: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    ended = finish(start(commands.folder, "launcher=submitit_local", "hydra.sweeper.n_trials=1"))
    assert ended.code == 0, ended.err
    assert [trial.state for trial in trials(folder)] == [TrialState.COMPLETE]
    assert epochs(folder) == {"0": 6}

"""Bad input of sweeps."""

import fcntl
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from anatomark.errors import AnatomarkError
from anatomark.sweeps import jobs
from anatomark.sweeps.jobs import prepare_sweep
from commands import CONF, Commands, Ended
from refused import assert_refused

APP = "tests/sweeps/toy_app.py"
SPACE = "model.optimizer.lr=tag(log,interval(1e-4,1e-0))"


def sweep(commands: Commands, *more: str) -> Ended:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    return commands(APP, "-m", "--config-dir", str(CONF), "sweep=optuna", "hydra.sweeper.n_trials=1", *more)


@pytest.mark.parametrize(
    ("word", "extra"),
    [
        ("sweep=optuna", "[sweep]"),
        ("launcher=joblib", "[sweep]"),
        ("hydra/launcher=submitit_slurm", "[sweep]"),
        ("launcher=slurm", "[sweep]"),
        ("hydra/launcher=ray", "hydra-ray-launcher"),
    ],
)
def test_the_missing_extra_is_named(word: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        return None if name.startswith("hydra_plugins") else util.find_spec(name)

    monkeypatch.setattr(jobs, "find_spec", missing)
    with pytest.raises(AnatomarkError) as error:
        prepare_sweep(["-m", word])
    assert str(error.value).startswith(f"{word} needs")
    assert extra in str(error.value)
    prepare_sweep(["-m", "seed=1,2"])


def test_a_study_needs_multirun() -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    with pytest.raises(AnatomarkError, match=r"add -m: python train\.py -m sweep=optuna"):
        prepare_sweep(["sweep=optuna", "model=msen"])


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["model.optimizer.rate=interval(0,1)"], ["model.optimizer.rate"]),
        (["model.optimzer.lr=1,2"], ["model.optimzer"]),
        (["sweep/pruner=never"], ["sweep/pruner/never"]),
        (["hydra.sweeper.params=null"], ["nothing to search"]),
        (["model.optimizer.lr=0.1"], ["nothing to search"]),
        ([SPACE, "monitor=null"], ["a study needs a metric"]),
        ([SPACE, "trainer.devices=2"], ["trainer.devices is 2"]),
        ([SPACE, "hydra.sweeper.n_jobs=-1"], ["hydra.sweeper.n_jobs is -1"]),
        ([SPACE, "hydra.sweeper.n_trials=0"], ["hydra.sweeper.n_trials is 0"]),
        ([SPACE, "hydra.sweeper.direction=maximize"], ["monitor_mode"]),
        ([SPACE, "hydra.sweeper.storage=null"], ["hydra.sweeper.storage is None"]),
        ([SPACE, "hydra.sweeper.storage=sqlite:////no/such/folder/a.db"], ["a.db cannot be used", "unable to open"]),
        ([SPACE, "hydra.sweeper.storage='postgresql+nodriver://me:secret@host/x'"], ["postgresql", "cannot be used"]),
        ([SPACE, "hydra.sweeper.storage=nonsense"], ["cannot be used"]),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_bad_words_are_refused_before_any_job(commands: Commands, more: list[str], parts: list[str]) -> None:
    ended = sweep(commands, *more)
    assert_refused(ended, *parts)
    assert "secret" not in ended.err + ended.out
    assert not list(commands.folder.glob("sweep/*/"))


def test_a_study_of_another_search_space_is_refused(commands: Commands) -> None:
    assert sweep(commands, SPACE).code == 0
    for more, other in {
        ("model.optimizer.lr=interval(0.1,0.2)",): "model.optimizer.lr",
        (SPACE, "seed=1,2"): "seed",
        (SPACE, "epochs=7"): "epochs",
        (SPACE, "monitor_mode=max"): "monitor_mode",
    }.items():
        assert_refused(sweep(commands, *more), f"{other} differ", "hydra.sweep.dir")
    assert sweep(commands, SPACE, "debug=true", "sweep/pruner=none").code == 0


def test_a_folder_has_one_sweep_at_a_time(commands: Commands) -> None:
    folder = commands.folder / "sweep"
    folder.mkdir()
    with Path(folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert_refused(sweep(commands, SPACE), "another sweep is running in sweep")
    assert sweep(commands, SPACE).code == 0

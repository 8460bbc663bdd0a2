"""A study of real trainings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")

import optuna
import pandas as pd
import torch
import yaml

from anatomark import finished
from anatomark.models.saliency import SaliencyModel
from commands import Commands, small


class Killed(BaseException):
    """Ends the process as SIGKILL does: nothing after it is run."""


def kill(patch: pytest.MonkeyPatch, owner: Any, name: str, when: Callable[..., bool]) -> list[Any]:
    """Ends the process where a function is called with certain arguments; returns the first arguments of all calls."""
    function, calls = getattr(owner, name), list[Any]()

    def until_killed(first: Any, *args: Any, **options: Any) -> Any:
        if when(first):
            raise Killed
        calls.append(first)
        return function(first, *args, **options)

    patch.setattr(owner, name, until_killed)
    return calls


def test_a_pruned_training_is_a_run_that_says_so(commands: Commands, frames: Path) -> None:
    hopeless = ["sweep/pruner=none", "sweep.pruner._target_=optuna.pruners.ThresholdPruner", "+sweep.pruner.upper=0"]
    words = [*small(frames), "hydra.sweep.dir=runs/sweep", "hydra.sweeper.n_trials=1", "epochs=3"]
    ended = commands("train.py", "-m", "sweep=optuna", *words, *hopeless)
    assert ended.code == 0, ended.err
    assert "1 jobs, 1 pruned" in ended.out
    sweep = commands.folder / "runs" / "sweep"
    (trial,) = optuna.load_study(study_name="study", storage=f"sqlite:///{sweep}/study.db").trials
    result = json.loads((sweep / "0" / "result.json").read_text())
    assert (trial.state.name, result["pruned"]) == ("PRUNED", True)
    metrics = pd.read_csv(sweep / "0" / "metrics.csv")
    assert metrics["epoch"].max() == 0
    assert not any(column.startswith("test/") for column in metrics)
    assert trial.intermediate_values == {0: pytest.approx(metrics["val/kld"].dropna().iloc[0])}
    # How it was swept is no part of what it is.
    config = yaml.safe_load((sweep / "0" / "config.yaml").read_text())
    assert "sweep" not in config
    assert not {"sweep", "sweep/pruner", "launcher"} & set(config["choices"])
    ended = commands("train.py", "-m", "sweep=optuna", *words, *hopeless)
    assert ended.code == 0, ended.err
    assert "1 of 1 trials are done" in ended.out


@pytest.mark.slow
def test_folds_of_a_trial_are_runs_like_any_other(commands: Commands, frames: Path) -> None:
    words = [*small(frames), "hydra.sweep.dir=runs/sweep", "hydra.sweeper.n_trials=1", "sweep.folds=[0,2]"]
    ended = commands("train.py", "-m", "sweep=optuna", *words)
    assert ended.code == 0, ended.err
    sweep = commands.folder / "runs" / "sweep"
    (trial,) = optuna.load_study(study_name="study", storage=f"sqlite:///{sweep}/study.db").trials
    folds = [sweep / "0" / fold for fold in "02"]
    objectives = [json.loads((fold / "result.json").read_text())["objective"] for fold in folds]
    assert trial.value == pytest.approx(sum(objectives) / 2)
    assert [yaml.safe_load((fold / "config.yaml").read_text())["data"]["fold"] for fold in folds] == [0, 2]
    ended = commands("evaluate.py", f"run=[{folds[0]},{folds[1]}]", "evaluator=[saliency]")
    assert ended.code == 0, ended.err
    (pooled,) = commands.folder.glob("runs/pooled/*/report/saliency.json")
    ended = commands("evaluate.py", "run=runs/sweep/0", "evaluator=[saliency]")
    assert ended.code == 0, ended.err
    assert json.loads((sweep / "0" / "report" / "saliency.json").read_text()) == json.loads(pooled.read_text())
    ended = commands("collect.py", f"sweep={sweep}")
    assert ended.code == 0, ended.err
    (group,) = json.loads((sweep / "collected" / "collected.json").read_text())["groups"]
    assert group["jobs"] == ["0/0", "0/2"]


def test_a_pruned_training_that_is_killed_at_its_end_stays_pruned(
    commands: Commands, frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hopeless = ["sweep/pruner=none", "sweep.pruner._target_=optuna.pruners.ThresholdPruner", "+sweep.pruner.upper=0"]
    words = [*small(frames), "hydra.sweep.dir=runs/sweep", "hydra.sweeper.n_trials=1", "epochs=4", *hopeless]
    words += ["+sweep.pruner.n_warmup_steps=1"]
    with pytest.MonkeyPatch.context() as patch:
        kill(patch, finished, "mark_finished", lambda folder: True)
        with pytest.raises(Killed):
            commands("train.py", "-m", "sweep=optuna", *words)
    sweep = commands.folder / "runs" / "sweep"
    rows = (sweep / "0" / "metrics.csv").read_bytes()
    steps = kill(monkeypatch, SaliencyModel, "training_step", lambda model: False)
    ended = commands("train.py", "-m", "sweep=optuna", *words)
    assert ended.code == 0, ended.err
    assert "0 of 1 trials are done, 1 half done" in ended.out
    (trial,) = optuna.load_study(study_name="study", storage=f"sqlite:///{sweep}/study.db").trials
    assert (trial.state.name, set(trial.intermediate_values)) == ("PRUNED", {0, 1})
    assert json.loads((sweep / "0" / "result.json").read_text())["pruned"]
    assert not steps
    assert (sweep / "0" / "metrics.csv").read_bytes() == rows


@pytest.mark.slow
@pytest.mark.parametrize("folds", [[], ["sweep.folds=[0,2]"]], ids=["trial", "fold"])
def test_killed_inside_a_training_it_goes_on_from_its_last_epoch(
    commands: Commands, frames: Path, monkeypatch: pytest.MonkeyPatch, folds: list[str]
) -> None:
    words = [*small(frames), "hydra.sweeper.n_trials=2", "epochs=3", *folds]
    part, whole = (commands.folder / "runs" / name for name in ("part", "whole"))
    cut = part / "1" / ("2" if folds else ".")  # the second fold of the second trial

    def in_third_epoch(model: SaliencyModel) -> bool:
        return model.current_epoch == 2 and Path(model.trainer.default_root_dir).resolve() == cut.resolve()

    with pytest.MonkeyPatch.context() as patch:
        kill(patch, SaliencyModel, "training_step", in_third_epoch)
        with pytest.raises(Killed):
            commands("train.py", "-m", "sweep=optuna", *words, "hydra.sweep.dir=runs/part")
    steps = kill(monkeypatch, SaliencyModel, "training_step", lambda model: model.current_epoch < 2)
    ended = commands("train.py", "-m", "sweep=optuna", *words, "hydra.sweep.dir=runs/part")
    assert ended.code == 0, ended.err
    assert steps
    monkeypatch.undo()
    assert commands("train.py", "-m", "sweep=optuna", *words, "hydra.sweep.dir=runs/whole").code == 0
    (a, b) = (optuna.load_study(study_name="study", storage=f"sqlite:///{sweep}/study.db") for sweep in (part, whole))
    for one, other in zip(a.trials, b.trials, strict=True):
        assert (one.state, one.value, one.params) == (other.state, other.value, other.params)
        assert one.intermediate_values == other.intermediate_values
    for name in ("best", "last"):
        found = [
            torch.load(sweep / cut.relative_to(part) / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
            for sweep in (part, whole)
        ]
        assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())

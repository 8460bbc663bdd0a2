"""A study of real trainings."""

import json
from pathlib import Path

import pytest

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")

import optuna
import pandas as pd
import yaml

from commands import Commands, small


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
    ended = commands("evaluate.py", f"run=[{folds[0]},{folds[1]}]")
    assert ended.code == 0, ended.err
    ended = commands("collect.py", f"sweep={sweep}")
    assert ended.code == 0, ended.err
    (group,) = json.loads((sweep / "collected" / "collected.json").read_text())["groups"]
    assert group["jobs"] == ["0/0", "0/2"]

"""What a sweep varied and how its jobs ended, from folders written by hand."""

import json
from pathlib import Path

import pytest

from anatomark.collecting.history import read_history
from anatomark.collecting.jobs import read_sweep
from anatomark.collecting.parameters import varied_keys
from anatomark.collecting.plan import read_plan
from anatomark.collecting.ranking import rank
from anatomark.errors import AnatomarkError
from sweep_fixture import config, write_config, write_failure, write_job, write_multirun


def test_parameters_are_called_as_the_command_calls_them(tmp_path: Path) -> None:
    sweep = write_multirun(tmp_path, "model.optimizer.lr=0.1,0.01", "epochs=3", "data.fold=0,1")
    for number, (lr, fold) in enumerate([(0.1, 0), (0.1, 1), (0.01, 0), (0.01, 1)]):
        write_job(sweep / str(number), config(lr=lr, fold=fold))
    found = read_sweep(sweep)
    assert found.keys == ("model.optimizer.lr", "data.fold")
    assert [tuple(job.parameters.values()) for job in found.jobs] == [(0.1, 0), (0.1, 1), (0.01, 0), (0.01, 1)]


def test_a_choice_stands_for_all_that_it_changes() -> None:
    configs = [config(model="saliency", width=8), config(model="msen", width=16), config(model="msen", width=16, lr=1)]
    assert varied_keys(configs, ["model"]) == ["model", "model.optimizer.lr"]
    assert varied_keys(configs, []) == ["model", "model.optimizer.lr"]  # nothing said what varied
    assert varied_keys(configs[:1], ["model"]) == []


def test_a_value_that_follows_another_is_not_shown_besides() -> None:
    configs = [config() | {"epochs": n, "trainer": {"max_epochs": n}} for n in (1, 2)]
    assert varied_keys(configs, []) == ["epochs"]
    drawn = [config(lr=lr, width=width) for lr, width in ((0.1, 8), (0.2, 16), (0.3, 32))]
    assert varied_keys(drawn, []) == ["model.optimizer.lr", "model.net.width"]  # of a random search, say


def test_the_grid_of_a_command(tmp_path: Path) -> None:
    write_multirun(tmp_path, "model=msen,saliency", "+note='a b'", params={"data.fold": "0,1", "model": "never"})
    plan = read_plan(tmp_path)
    assert plan.named == ("data.fold", "model", "note")
    assert plan.jobs[2] == {"data.fold": 1, "model": "msen", "note": "a b"}
    assert len(plan.jobs) == 4
    write_multirun(tmp_path, "lr=interval(0,1)", "seed=1,2")
    assert read_plan(tmp_path).jobs == ()
    write_multirun(tmp_path, "seed=1,2", sweeper="anatomark.sweeps.sweeper.StudySweeper")
    assert (read_plan(tmp_path).named, read_plan(tmp_path).jobs) == (("seed",), ())


def test_every_job_has_its_status(tmp_path: Path) -> None:
    sweep = write_multirun(tmp_path, "seed=0,1,2,3,4,5")
    write_job(sweep / "0", config(seed=0))
    write_job(sweep / "1", config(seed=1), pruned=True)
    write_failure(sweep / "2", "seed is wrong; set another")  # before it had a configuration
    stopped = write_config(sweep / "3", config(seed=3))
    (stopped / "train.log").write_text("reading data\n")
    again = write_failure(write_config(sweep / "4", config(seed=4)), "no memory", words=["seed=4"])
    with (again / "train.log").open("a") as log:
        log.write("reading data\n")  # started again, after it had failed
    found = read_sweep(sweep)
    assert [job.status for job in found.jobs] == [
        "finished",
        "pruned",
        "failed",
        "unfinished",
        "unfinished",
        "unfinished",
    ]
    assert [job.problem for job in found.jobs] == [
        "",
        "",
        "seed is wrong; set another",
        "was stopped, or is still running",
        "was stopped, or is still running",
        "was never started",
    ]
    # What jobs without a configuration were to be is known from the grid.
    assert [job.parameters for job in found.jobs] == [{"seed": seed} for seed in range(6)]


def test_the_words_of_a_failed_trial_say_what_it_was(tmp_path: Path) -> None:
    sweep = write_multirun(tmp_path, "sweep=optuna", params={"model.optimizer.lr": "interval(0,1)"}, sweeper="Study")
    for number, lr in enumerate((0.5, 0.25)):
        write_job(sweep / str(number), config(lr=lr))
    write_failure(sweep / "10", "no memory", words=["model.optimizer.lr=0.75", "sweep.trial=10", "epochs=3"])
    found = read_sweep(sweep)
    assert [job.name for job in found.jobs] == ["0", "1", "10"]
    assert found.keys == ("model.optimizer.lr",)
    assert (found.jobs[2].parameters, found.jobs[2].problem) == ({"model.optimizer.lr": 0.75}, "no memory")


def test_a_grid_of_another_command_says_nothing(tmp_path: Path) -> None:
    sweep = write_multirun(tmp_path, "seed=1,0,2")  # the jobs were made by seed=0,1
    for seed in (0, 1):
        write_job(sweep / str(seed), config(seed=seed))
    assert [job.parameters for job in read_sweep(sweep).jobs] == [{"seed": 0}, {"seed": 1}]


def test_metrics_of_the_best_and_the_last_epoch(tmp_path: Path) -> None:
    run = write_job(tmp_path / "run", config(), kld=(2.0, 0.5, 1.0), nss=0.7)
    found = read_history(run / "metrics.csv", monitor="val/kld", mode="min")
    assert (found.epochs, found.best_epoch) == (3, 1)
    assert found.best == {"train/loss": 1.5, "val/cc": 1 / 1.5, "val/kld": 0.5, "test/nss": 0.7}
    assert found.last == {"train/loss": 3.0, "val/cc": 0.5, "val/kld": 1.0, "test/nss": 0.7}
    assert read_history(run / "metrics.csv", monitor="val/cc", mode="min").best_epoch == 0
    unmonitored = read_history(run / "metrics.csv", monitor=None, mode="min")
    assert (unmonitored.best_epoch, unmonitored.best) == (None, found.last)


def test_what_is_not_finite_is_not_measured(tmp_path: Path) -> None:
    sweep = write_multirun(tmp_path, "seed=0,1")
    write_job(sweep / "0", config(seed=0))
    diverged = write_job(sweep / "1", config(seed=1), kld=(2.0, float("nan")))
    (diverged / "result.json").write_text('{"objective": NaN}')
    found = read_sweep(sweep).jobs[1]
    assert (found.status, found.objective) == ("finished", None)
    assert "diverged" in found.problem
    assert found.history is not None
    assert found.history.last["val/kld"] == 2.0


def test_jobs_are_ranked_by_what_they_monitored_or_by_another_metric(tmp_path: Path) -> None:
    sweep = write_multirun(tmp_path, "seed=0,1,2")
    for seed, (kld, nss) in enumerate([((1.0,), 0.1), ((0.5,), 0.2), ((0.8,), 0.9)]):
        write_job(sweep / str(seed), config(seed=seed), kld=kld, nss=nss, pruned=seed == 1)
    found = read_sweep(sweep)
    ranking = rank(found, metric=None, mode=None)
    assert ranking is not None
    assert (ranking.metric, ranking.mode) == ("val/kld", "min")
    assert dict(ranking.scores) == {"0": 1.0, "1": 0.5, "2": 0.8}
    assert ranking.best == "2"  # a pruned job is none
    other = rank(found, metric="test/nss", mode="max")
    assert other is not None
    assert (dict(other.scores), other.best) == ({"0": 0.1, "2": 0.9}, "2")
    for options, problem in (
        ({"metric": "test/f1", "mode": "max"}, r"metric=test/f1: no finished job .* test/nss"),
        ({"metric": "test/nss", "mode": None}, "metric_mode is None; set it to min or max"),
        ({"metric": None, "mode": "max"}, "needs metric="),
    ):
        with pytest.raises(AnatomarkError, match=problem):
            rank(found, **options)
    (sweep / "2" / "result.json").write_text(json.dumps({"objective": None}))
    (sweep / "0" / "result.json").write_text(json.dumps({"objective": None}))
    assert rank(read_sweep(sweep), metric=None, mode=None) is None

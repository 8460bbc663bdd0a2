"""The runs of a multirun: found, finished or not, never trained twice."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from anatomark.errors import AnatomarkError
from anatomark.finished import Result, mark_finished, mark_started
from anatomark.multirun import JobRecord, ended_jobs, expand_runs, finished_earlier, load_configs, read_job, record_job
from anatomark.runs import save_config

CHOICES = {"model": "saliency"}


def configuration(**changes: Any) -> DictConfig:
    return OmegaConf.create({"epochs": 3, "lr": 1e-6, "model": {"a": [1, 2]}, "data": {}, "run": None} | changes)


def make_run(folder: Path, *, finished: bool = True) -> Path:
    folder.mkdir(parents=True)
    save_config(configuration(), folder, CHOICES)
    if finished:
        mark_finished(folder, 0.5)
    return folder


def make_multirun(folder: Path, n_runs: int) -> list[Path]:
    runs = [make_run(folder / str(number)) for number in range(n_runs)]
    (folder / "multirun.yaml").touch()
    return runs


def test_a_multirun_stands_for_its_runs_in_the_order_of_the_jobs(tmp_path: Path) -> None:
    runs = make_multirun(tmp_path / "sweep", 12)
    alone = make_run(tmp_path / "alone", finished=False)
    assert expand_runs(str(tmp_path / "sweep")) == runs
    assert expand_runs([str(alone), str(tmp_path / "sweep")]) == [alone, *runs]
    assert expand_runs("no/such/run") == [Path("no/such/run")]  # load_config says what is wrong with it
    assert expand_runs(777) == expand_runs(OmegaConf.create([777])) == [Path("777")]


def test_a_trial_stands_for_its_folds(tmp_path: Path) -> None:
    folds = {trial: [make_run(tmp_path / trial / fold) for fold in ("0", "2", "10")] for trial in ("3", "4")}
    single = make_run(tmp_path / "5")
    (tmp_path / "multirun.yaml").touch()
    (tmp_path / "3" / "report").mkdir()
    with pytest.raises(AnatomarkError, match=rf"3: 3 folds of the trial are trained.*hydra\.sweep\.dir={tmp_path},"):
        expand_runs(str(tmp_path / "3"))
    mark_finished(tmp_path / "3", 1.0)
    assert expand_runs([str(tmp_path / "3"), str(single)]) == [*folds["3"], single]
    assert expand_runs(str(tmp_path)) == [*folds["3"], *folds["4"], single]
    for name in ("9", "3/report"):  # load_config says what is wrong with them
        assert expand_runs(str(tmp_path / name)) == [tmp_path / name]
    mark_started(folds["4"][1])
    with pytest.raises(AnatomarkError, match=rf"4: 1 of 3 runs did not finish \(2\).*hydra\.sweep\.dir={tmp_path},"):
        expand_runs(str(tmp_path / "4"))


def test_unfinished_runs_are_named(tmp_path: Path) -> None:
    make_multirun(tmp_path, 3)
    mark_started(tmp_path / "1")
    (tmp_path / "10").mkdir()
    (tmp_path / "10" / "train.log").touch()  # of a job that failed before it had a configuration
    with pytest.raises(AnatomarkError, match=r"2 of 4 runs did not finish \(1, 10\).*hydra\.sweep\.dir="):
        expand_runs(str(tmp_path))


def test_a_multirun_without_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").touch()
    with pytest.raises(AnatomarkError, match="holds no run"):
        expand_runs(str(tmp_path))


def test_a_finished_run_is_known_by_its_configuration(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert finished_earlier(run, configuration(run="x"), CHOICES) == Result(objective=0.5)
    with pytest.raises(AnatomarkError, match=r"another configuration \(epochs, lr differ\)"):
        finished_earlier(run, configuration(epochs=4, lr=1e-5), CHOICES)
    with pytest.raises(AnatomarkError, match=r"another configuration \(choices differ\)"):
        finished_earlier(run, configuration(), {"model": "msen"})
    mark_started(run)
    assert finished_earlier(run, configuration(), CHOICES) is None
    assert sorted(path.name for path in run.iterdir()) == ["config.yaml"]


def test_a_damaged_result_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for text in ("", "[1]", '{"other": 1}'):
        (run / "result.json").write_text(text)
        with pytest.raises(AnatomarkError, match=r"result\.json is damaged"):
            finished_earlier(run, configuration(), CHOICES)


def test_the_jobs_that_ended_are_listed_by_their_numbers(tmp_path: Path) -> None:
    ended = {name: JobRecord(overrides=[f"seed={name}"], error=None) for name in ("0", "2", "10", "10/1")}
    for name, job in ended.items():
        (tmp_path / name).mkdir()
        record_job(tmp_path / name, job)
    (tmp_path / "3").mkdir()  # under way
    assert read_job(tmp_path / "3") is None
    assert list(ended_jobs(tmp_path).items()) == list(ended.items())


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"overrides": [',
        "[]",
        '{"overrides": []}',
        '{"overrides": "seed=1", "error": null}',
        '{"overrides": [1], "error": null}',
        '{"overrides": [], "error": 1}',
        '{"overrides": [], "error": null, "other": 1}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:30],
)
def test_a_damaged_job_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(AnatomarkError, match=r"job\.json is damaged \(.*\); remove it"):
        read_job(tmp_path)


def test_choices_of_the_first_run_are_not_forced_upon_the_others(tmp_path: Path) -> None:
    runs = []
    for name, values in (("msen", {"width": 16}), ("sononet", {"depth": 5})):
        (tmp_path / name).mkdir()
        save_config(configuration(model=values), tmp_path / name, {"model": name, "data": "phantom"})
        runs.append(tmp_path / name)
    composed = configuration(model={"width": 16}, epochs=9)
    configs = load_configs(runs, composed, ["model=msen", "data=phantom", "run=[a,b]", "epochs=9"])
    assert [config.model for config in configs] == [{"width": 16}, {"depth": 5}]
    assert [config.epochs for config in configs] == [9, 9]


def test_a_checkpoint_named_by_the_command_line_replaces_those_of_the_rows(tmp_path: Path) -> None:
    save_config(configuration(rows={"early": "pretrained", "late": "last"}, checkpoint="last"), tmp_path, CHOICES)

    def rows(**changed: Any) -> Any:
        composed = configuration(**{"rows": {"early": "pretrained", "late": "last"}, "checkpoint": "last", **changed})
        words = [f"{key}={value}" for key, value in changed.items()]
        (config,) = load_configs([tmp_path], composed, words)
        return config.checkpoint, config.rows

    assert rows() == ("last", {"early": "pretrained", "late": "last"})
    assert rows(checkpoint="best") == ("best", None)
    assert rows(checkpoint="best", rows={"mine": "best"}) == ("best", {"mine": "best"})

"""collect.py: the folder it writes, a real multirun, and bad input."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from anatomark.runs import FORMAT
from commands import Commands, small
from refused import assert_refused, contents
from sweep_fixture import (
    config,
    saliency_report,
    write_config,
    write_failure,
    write_job,
    write_multirun,
    write_report,
)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two learning rates, two folds, two seeds; one job failed, one was pruned."""
    folder = write_multirun(tmp_path / "sweep", "model.optimizer.lr=0.1,0.01", "data.fold=0,1", "seed=0,1")
    for number in range(8):
        lr, fold, seed = (0.1, 0.01)[number // 4], number // 2 % 2, number % 2
        run = folder / str(number)
        if number == 6:
            write_failure(run, "no memory <b>left</b>")
            continue
        settings = config(lr=lr, fold=fold, seed=seed)
        write_job(run, settings, kld=(2.0, 1.0 + number / 7), nss=number / 3, pruned=number == 7)
        if number < 4:
            write_report(run, "saliency", saliency_report({f"s{fold}": 0.5 + seed / 3, f"t{fold}": 0.25}))
    return folder


class Attributes(HTMLParser):
    """All values of the attributes that may load something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "action", "data")]


def test_one_table_over_all_jobs(commands: Commands, sweep: Path) -> None:
    before = contents(sweep)
    ended = commands("collect.py", f"sweep={sweep}")
    assert ended.code == 0, ended.err
    assert "collected: sweep/collected/index.html" in ended.out
    folder = sweep / "collected"
    assert {"index.html", "jobs.csv", "groups.csv", "collected.json"} <= {path.name for path in folder.iterdir()}
    values = json.loads((folder / "collected.json").read_text())
    assert values["keys"] == ["model.optimizer.lr", "data.fold", "seed"]
    assert values["ranking"] == {"metric": "val/kld", "mode": "min", "best": "0"}
    assert [job["status"] for job in values["jobs"]] == [*["finished"] * 6, "failed", "pruned"]
    assert values["jobs"][6]["parameters"] == {"model.optimizer.lr": 0.01, "data.fold": 1, "seed": 0}
    assert values["jobs"][6]["problem"] == "no memory <b>left</b>"
    assert [group["n_finished"] for group in values["groups"]] == [4, 2]
    (pooled,) = values["subjects"]
    assert (pooled["n_subjects"], pooled["n_folds"], pooled["n_seeds"]) == (4, 2, 2)
    assert pooled["scores"]["cc"]["value"] == pytest.approx((2 * (0.5 + 1 / 6) + 2 * 0.25) / 4)
    assert "evaluate.py run=" in values["not_pooled"][0]["reason"]
    # A second time it takes the place of the first, and nothing else changes.
    assert commands("collect.py", f"sweep={sweep}", "metric=test/nss", "metric_mode=max").code == 0
    assert json.loads((folder / "collected.json").read_text())["ranking"]["best"] == "5"
    assert {name: data for name, data in contents(sweep).items() if not name.startswith("collected")} == before


def test_csv_and_json_hold_the_same_numbers(commands: Commands, sweep: Path) -> None:
    assert commands("collect.py", f"sweep={sweep}").code == 0
    folder = sweep / "collected"
    values = json.loads((folder / "collected.json").read_text())
    with (folder / "jobs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(values["jobs"]) == 8
    for row, job in zip(rows, values["jobs"], strict=True):
        numbers = {**job["parameters"], **job["metrics"], "epochs": job["epochs"], "objective": job["objective"]}
        numbers |= {f"{name} (last epoch)": value for name, value in job["last"].items()}
        for name, value in numbers.items():
            assert row[name] == ("" if value is None else str(value)), name
        assert (row["job"], row["status"], row["problem"]) == (job["job"], job["status"], job["problem"])
        assert row["report"] == (job["report"] or "")
    with (folder / "groups.csv").open(newline="") as file:
        groups = list(csv.DictReader(file))
    for row, group in zip(groups, values["groups"], strict=True):
        assert row["model.optimizer.lr"] == str(group["parameters"]["model.optimizer.lr"])
        for metric, spread in group["metrics"].items():
            for part in ("mean", "sd", "n", "low", "high", "seed_sd"):
                assert row[f"{metric} {part}"] == ("" if spread[part] is None else str(spread[part]))


def test_the_page_needs_nothing_but_itself_and_leads_to_the_reports(commands: Commands, sweep: Path) -> None:
    assert commands("collect.py", f"sweep={sweep}").code == 0
    text = (sweep / "collected" / "index.html").read_text()
    assert not re.search(r"url\(|@import|https?://", text)
    page = Attributes(text)
    links = [value for value in page.found if not value.startswith(("data:", "#"))]
    assert links == [f"../{number}/report/index.html" for number in range(4)]
    assert all((sweep / "collected" / link).is_file() for link in links)
    assert not {"link", "iframe", "object", "embed", "b"} & set(page.tags)  # the error's <b> is text
    assert sum(value.startswith("data:image/svg+xml") for value in page.found) == 2
    for shown in ("0 (best)", "no memory", "1.214 \N{PLUS-MINUS SIGN} 0.202"):
        assert shown in text


def test_a_real_multirun(commands: Commands, frames: Path) -> None:
    words = [*small(frames), "hydra.sweep.dir=runs/sweep", "data.fold=0,9,1"]
    assert commands("train.py", "-m", *words).code == 1
    sweep = commands.folder / "runs" / "sweep"
    for fold in (0, 2):
        assert commands("evaluate.py", f"run=runs/sweep/{fold}", "evaluator=[saliency]").code == 0
    ended = commands("collect.py", "sweep=runs/sweep")
    assert ended.code == 0, ended.err
    values = json.loads((sweep / "collected" / "collected.json").read_text())
    assert values["keys"] == ["data.fold"]
    assert [(job["parameters"]["data.fold"], job["status"]) for job in values["jobs"]] == [
        (0, "finished"),
        (9, "failed"),
        (1, "finished"),
    ]
    assert values["jobs"][1]["problem"].startswith("data.fold is 9")
    objectives = [json.loads((sweep / str(n) / "result.json").read_text())["objective"] for n in (0, 2)]
    assert [values["jobs"][n]["objective"] for n in (0, 2)] == objectives
    assert values["jobs"][0]["metrics"]["val/kld"] == pytest.approx(objectives[0])
    ((group,), (pooled,)) = values["groups"], values["subjects"]
    assert group["metrics"]["val/kld"]["mean"] == pytest.approx(sum(objectives) / 2)
    assert (pooled["data_set"], pooled["n_subjects"]) == (frames.name, 4)
    reports = [json.loads((sweep / str(n) / "report" / "saliency.json").read_text()) for n in (0, 2)]
    cc = [subject["cc"] for report in reports for subject in report["subjects"].values()]
    assert pooled["scores"]["cc"]["value"] == pytest.approx(sum(cc) / 4)
    # The multirun itself stays what it was.
    assert "1 of 3 runs did not finish" in commands("evaluate.py", "run=runs/sweep").err


def damaged_result(sweep: Path) -> None:
    (sweep / "0" / "result.json").write_text('{"objective"')


def result_of_another_kind(sweep: Path) -> None:
    (sweep / "0" / "result.json").write_text('{"objective": "good"}')


def damaged_metrics(sweep: Path) -> None:
    (sweep / "0" / "metrics.csv").write_text("epoch,val/kld\n0,1.0\n1,high\n")


def torn_metrics(sweep: Path) -> None:
    (sweep / "0" / "metrics.csv").write_text("epoch,step,val/kld\n0,1,1.0\n1,2\n")


def metrics_of_another_kind(sweep: Path) -> None:
    (sweep / "0" / "metrics.csv").write_text("step,val/kld\n0,1.0\n")


def damaged_report(sweep: Path) -> None:
    (sweep / "0" / "report" / "saliency.json").write_text('{"model": {"nss": NaN}}')


def damaged_job(sweep: Path) -> None:
    (sweep / "0" / "job.json").write_text("[]")


def damaged_multirun(sweep: Path) -> None:
    (sweep / "multirun.yaml").write_text("hydra: [")


def no_configuration(sweep: Path) -> None:
    (sweep / "0" / "config.yaml").unlink()


def newer(sweep: Path) -> None:
    path = sweep / "0" / "config.yaml"
    path.write_text(path.read_text().replace(f"format: {FORMAT}", f"format: {FORMAT + 1}"))


def older(sweep: Path) -> None:
    (sweep / "0" / "result.json").unlink()  # the log says "trained"


def hydras_own_layout(sweep: Path) -> None:
    for run in sweep.glob("[0-9]*"):
        shutil.rmtree(run)
    (sweep / "0" / ".hydra").mkdir(parents=True)


def none_finished(sweep: Path) -> None:
    for run in sweep.glob("[0-9]*"):
        shutil.rmtree(run)
    write_failure(sweep / "0", "no memory")
    write_config(sweep / "1", config())


def single_run(sweep: Path) -> None:
    shutil.rmtree(sweep)
    write_job(sweep, config())


def no_multirun(sweep: Path) -> None:
    shutil.rmtree(sweep)
    sweep.mkdir()


def something_else_in_the_way(sweep: Path) -> None:
    (sweep / "collected").mkdir()
    (sweep / "collected" / "mine.txt").touch()


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (damaged_result, ["0/result.json is damaged", "remove it"]),
        (result_of_another_kind, ["0/result.json is damaged", "remove it"]),
        (damaged_metrics, ["0/metrics.csv, row 3", "val/kld is 'high'"]),
        (torn_metrics, ["0/metrics.csv, row 3", "2 cells under 3 columns"]),
        (metrics_of_another_kind, ["0/metrics.csv", "no column 'epoch'"]),
        (damaged_report, ["0/report/saliency.json is damaged", "evaluate.py run="]),
        (damaged_job, ["0/job.json is damaged"]),
        (damaged_multirun, ["multirun.yaml is damaged"]),
        (no_configuration, ["0/config.yaml does not exist"]),
        (newer, ["0/config.yaml", f"format {FORMAT + 1}", "update"]),
        (older, ["0 says trained", "result.json"]),
        (hydras_own_layout, ["holds no run"]),
        (none_finished, ["no job is finished", "1 failed", "no memory"]),
        (single_run, ["folder of one run", "evaluate.py run="]),
        (no_multirun, ["is no multirun", "multirun.yaml"]),
        (something_else_in_the_way, ["collected exists and is no report"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_a_sweep_is_refused(commands: Commands, sweep: Path, damage: Callable[[Path], None], parts: list[str]) -> None:
    damage(sweep)
    before = contents(sweep)
    assert_refused(commands("collect.py", f"sweep={sweep}"), *parts)
    assert contents(sweep) == before


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["needs sweep="]),
        (["sweep=nowhere"], ["nowhere does not exist"]),
        (["sweep=SWEEP", "metric=test/f1", "metric_mode=max"], ["metric=test/f1", "test/nss"]),
        (["sweep=SWEEP", "metric=test/nss"], ["metric_mode"]),
        (["sweep=SWEEP", "metric=test/nss", "metric_mode=best"], ["metric_mode is best", "min or max"]),
        (["sweep=SWEEP", "colour=red"], ["colour"]),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else None,
)
def test_words_are_refused(commands: Commands, sweep: Path, words: list[str], parts: list[str]) -> None:
    assert_refused(commands("collect.py", *(word.replace("SWEEP", str(sweep)) for word in words)), *parts)
    assert not (sweep / "collected").exists()

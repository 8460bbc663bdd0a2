"""Runs whose training did not finish: by themselves with a warning, never beside others."""

from pathlib import Path

import pytest

from anatomark.finished import mark_finished
from commands import Commands
from refused import assert_refused


@pytest.fixture(params=["stopped", "pruned"])
def stopped(run: Path, request: pytest.FixtureRequest) -> Path:
    (run / "result.json").unlink()
    if request.param == "pruned":
        mark_finished(run, 0.5, pruned=True)
    return run


def test_one_by_itself_is_evaluated_and_said_to_be_unfinished(commands: Commands, stopped: Path) -> None:
    ended = commands("evaluate.py", f"run={stopped}", "evaluator=[saliency]")
    assert ended.code == 0, ended.err
    assert ended.out.count("did not finish its training") == 1
    assert "resume=true" in ended.out
    assert "The run did not finish its training." in (stopped / "report" / "index.html").read_text()


def test_one_is_neither_pooled_nor_compared(commands: Commands, stopped: Path, trained: Path) -> None:
    config = stopped / "config.yaml"
    config.write_text(config.read_text().replace("row: null", "row: mine"))
    for words in ([f"run=[{trained},{stopped}]"], [f"run={stopped}", "rows={early: best, late: last}"]):
        ended = commands("evaluate.py", *words)
        assert_refused(ended, f"{stopped} did not finish training", f"train.py run={stopped} resume=true")
    assert not (stopped / "predictions").exists()


def test_one_is_predicted_with_under_a_warning(commands: Commands, stopped: Path, images: Path) -> None:
    ended = commands("predict.py", f"run={stopped}", f"input={images / 'a.png'}")
    assert ended.code == 0, ended.err
    assert ended.out.count("did not finish its training") == 1


def test_what_lies_in_place_of_the_report_is_seen_before_anything_is_predicted(commands: Commands, run: Path) -> None:
    (run / "report").mkdir()
    (run / "report" / "notes.txt").write_text("mine")
    assert_refused(commands("evaluate.py", f"run={run}"), "report exists and is no report", "remove or rename it")
    assert not (run / "predictions").exists()

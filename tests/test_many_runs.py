"""Many runs of one command: rows compared, a multirun that fails or goes on, a model as it is built."""

import json
from pathlib import Path

import pytest
import torch

from commands import Commands, small

SWEEP = "hydra.sweep.dir=runs/sweep"


def checkpoints(sweep: Path) -> dict[str, int]:
    return {str(path.relative_to(sweep)): path.stat().st_mtime_ns for path in sweep.glob("*/checkpoints/best.ckpt")}


def test_a_multirun_becomes_a_table_of_rows(commands: Commands, frames: Path) -> None:
    words = ["train.py", "-m", *small(frames), SWEEP, "rows={early: best, late: last}", "data.fold=0,1"]
    assert commands(*words).code == 0
    sweep = commands.folder / "runs" / "sweep"

    (sweep / "1" / "result.json").unlink()  # as if stopped
    ended = commands("evaluate.py", "run=runs/sweep")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "1 of 2 runs did not finish (1)" in ended.err
    before = checkpoints(sweep)
    ended = commands(*words)
    assert ended.code == 0, ended.err
    after = checkpoints(sweep)
    assert before == after  # it goes on where it was stopped, which is behind its last epoch
    assert (sweep / "1" / "result.json").is_file()
    ended = commands(*words[:-1], "data.fold=1,0")
    assert ended.code == 1
    assert "another configuration (data differ)" in ended.err

    ended = commands("evaluate.py", "run=runs/sweep", "reference=late", "+paper.saliency.early=[1,2,3,4,5]")
    assert ended.code == 0, ended.err
    report = json.loads((sweep / "report" / "saliency.json").read_text())
    assert list(report["rows"]) == ["early", "late"]
    early = report["rows"]["early"]
    assert [fold["fold"] for fold in early["folds"]] == [0, 1]
    model = early["report"]["model"]
    # Two subjects per fold: the mean over folds is that over subjects.
    assert early["nss"] == pytest.approx(model["nss"]) == pytest.approx(early["fold_mean"]["nss"])
    assert report["paired"]["early"]["nss"]["n_subjects"] == 4
    assert report["paired"]["early"]["nss"]["difference"] == pytest.approx(report["rows"]["late"]["nss"] - early["nss"])
    assert "published" in (sweep / "report" / "saliency_1.csv").read_text().splitlines()[0]
    page = (sweep / "report" / "index.html").read_text()
    assert 'alt="Attention maps of the same frames"' in page
    assert {path.name for path in (sweep / "1" / "predictions").iterdir()} == {"best", "last"}
    assert commands("evaluate.py", "run=runs/sweep", "reference=never").err.startswith(
        "error: reference=never is no row"
    )


def test_rows_of_other_frames_are_refused(commands: Commands, frames: Path) -> None:
    runs = [
        commands.train(frames, f"data.split_seed={seed}", f"rows={{row{seed}: last}}", f"paths.run_dir=runs/{seed}")
        for seed in (0, 1)
    ]
    ended = commands("evaluate.py", f"run=[{runs[0]},{runs[1]}]")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "row 'row1' tests other frames than 'row0'" in ended.err


def test_a_failed_job_is_seen_and_the_others_go_on(commands: Commands, frames: Path) -> None:
    ended = commands("train.py", "-m", *small(frames), SWEEP, "data.fold=0,9,1")
    assert ended.code == 1
    assert "error: data.fold is 9" in ended.err
    sweep = commands.folder / "runs" / "sweep"
    assert {path.parent.name for path in sweep.glob("*/result.json")} == {"0", "2"}
    assert "failed: runs/sweep/1: data.fold is 9" in (sweep / "1" / "train.log").read_text()


def test_a_job_has_one_device(commands: Commands, frames: Path) -> None:
    ended = commands("train.py", "-m", *small(frames), SWEEP, "seed=1", "trainer=ddp", "trainer.devices=2")
    assert ended.code == 1
    assert "error: trainer.devices=2: a job of a multirun has one device; leave -m out" in ended.err
    assert not list((commands.folder / "runs" / "sweep").glob("*/checkpoints"))


def test_a_defect_in_a_job_keeps_its_traceback(
    commands: Commands, frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anatomark.models.saliency import SaliencyModel

    def broken(self: SaliencyModel, *args: object) -> torch.Tensor:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(SaliencyModel, "training_step", broken)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        commands("train.py", "-m", *small(frames), SWEEP, "seed=0,1")
    logs = [path.read_text() for path in (commands.folder / "runs" / "sweep").glob("*/train.log")]
    assert len(logs) == 2
    assert all("ZeroDivisionError: a defect" in log for log in logs)


def test_a_model_is_evaluated_as_it_is_built(commands: Commands, frames: Path) -> None:
    ended = commands("evaluate.py", "model=saliency", *small(frames))
    assert ended.code == 0, ended.err
    (run,) = commands.runs()
    assert len(list((run / "predictions" / "as_built").glob("*.npz"))) >= 4
    first = json.loads((run / "report" / "saliency.json").read_text())
    ended = commands("evaluate.py", f"run={run}")
    assert ended.code == 0, ended.err
    assert json.loads((run / "report" / "saliency.json").read_text()) == first
    assert commands.runs() == [run]


def test_evaluators_that_cannot_apply_are_left_out(commands: Commands, frames: Path) -> None:
    run = commands.train(frames, "evaluator=[saliency,landmarks]", "skip_evaluators=[landmarks]")
    ended = commands("evaluate.py", f"run={run}")
    assert ended.code == 0, ended.err
    assert not (run / "report" / "landmarks.json").exists()
    ended = commands("evaluate.py", f"run={run}", "evaluator=[landmarks]")
    assert ended.code == 1
    assert "landmarks cannot apply to saliency" in ended.err


@pytest.mark.real_data
def test_the_published_sononet_names_the_published_frames(commands: Commands, data_dir: Path) -> None:
    weights = data_dir / "sononet16" / "SonoNet16.pth"
    root = data_dir / "sononet16" / "examples"
    words = ["model=sononet16", "data=sononet_frames", f"data.root={root}", "recipe=sononet", "trainer.accelerator=cpu"]
    ended = commands("evaluate.py", *words, f"cai.weights={weights}", "trainer.enable_progress_bar=false")
    assert ended.code == 0, ended.err
    (run,) = commands.runs()
    report = json.loads((run / "report" / "classification.json").read_text())
    assert (report["n_frames"], report["accuracy"], report["misclassified"]["n"]) == (7, 1.0, 0)

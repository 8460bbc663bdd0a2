"""From the command line to the report: train, test, evaluate, resume, pool, sweep."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from commands import Commands, small
from frames_fixture import write_tiny_frames

pytestmark = pytest.mark.filterwarnings(
    "ignore:Starting from v1.9.0, `tensorboardX` has been removed",
    "ignore::DeprecationWarning:(wandb|tensorboard|google).*",
)

PARITY = ("kld", "nss", "cc", "sim", "auc_judd", "ig_uniform")


def read_metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
    return state


def same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_trains_and_evaluates(commands: Commands, frames: Path) -> None:
    run = commands.train(frames, "epochs=2")
    assert {path.name for path in run.iterdir()} == {
        "config.yaml",
        "checkpoints",
        "metrics.csv",
        "result.json",
        "splits.json",
        "train.log",
    }
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert f"trained: {run.relative_to(commands.folder)}" in (run / "train.log").read_text()
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert (saved["trainer"]["max_epochs"], saved["model"]["scheduler"]["T_max"]) == (2, 2)
    assert str(commands.folder) not in yaml.safe_dump(saved).replace(str(frames), "")

    trained = weights(run)
    moved = run.rename(commands.folder / "sent to a colleague")
    ended = commands("evaluate.py", f"run='{moved}'")
    assert ended.code == 0, ended.err
    assert same_weights(trained, weights(moved))
    report = json.loads((moved / "report" / "saliency.json").read_text())
    page = (moved / "report" / "index.html").read_text()
    assert 'alt="Loss and validation metrics"' in page
    assert "<script src" not in page
    n_test = report["n_frames"]
    assert n_test == 4
    # Of training frames the evaluator wants the gaze alone.
    assert len(list((moved / "predictions" / "best").glob("*.npz"))) == n_test
    assert not list(moved.rglob("*.tmp"))
    test = next(row for row in read_metrics(moved) if row["test/kld"])
    for name in PARITY:
        assert report["model"][name] == pytest.approx(float(test[f"test/{name}"]), abs=1e-5), name


def test_one_seed_one_result(commands: Commands, frames: Path) -> None:
    first, again = (commands.train(frames, f"paths.run_dir=runs/{name}") for name in "ab")
    other = commands.train(frames, "seed=1")
    assert read_metrics(first) == read_metrics(again)
    assert same_weights(weights(first), weights(again))
    assert read_metrics(first) != read_metrics(other)


def test_resumed_run_ends_like_an_uninterrupted_one(commands: Commands, frames: Path) -> None:
    # A constant rate, since the length of the cosine schedule is fixed when a run starts.
    constant = "model.scheduler=null"
    whole = commands.train(frames, constant, "epochs=2", "paths.run_dir=runs/whole")
    part = commands.train(frames, constant, "epochs=1", "paths.run_dir=runs/part")
    assert not same_weights(weights(part), weights(whole))
    # Moved: whatever the run writes belongs to where it lies now.
    part = part.rename(commands.folder / "moved")
    ended = commands("train.py", f"run={part}", "resume=true", "epochs=2")
    assert ended.code == 0, ended.err
    assert same_weights(weights(part), weights(whole))
    assert same_weights(weights(part, "best"), weights(whole, "best"))
    assert read_metrics(part) == read_metrics(whole)
    saved = yaml.safe_load((part / "config.yaml").read_text())
    assert (saved["epochs"], saved["trainer"]["max_epochs"]) == (2, 2)
    assert commands.runs() == [whole]  # no new folder


def test_interrupted_run_with_a_schedule_resumes(
    commands: Commands, frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = commands.train(frames, "epochs=2", "paths.run_dir=runs/whole")
    fail_in_epoch(monkeypatch, 1)
    with pytest.raises(RuntimeError, match="power cut"):
        commands.train(frames, "epochs=2", "paths.run_dir=runs/part")
    monkeypatch.undo()
    (part,) = (commands.folder / "runs" / "part").glob("*/*")
    # The disk was full, too: the last checkpoint and the rows of metrics.csv did not reach it whole.
    for damaged in (part / "checkpoints" / "last.ckpt", part / "metrics.csv"):
        damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    ended = commands("train.py", f"run={part}", "resume=true")
    assert ended.code == 0, ended.err
    assert "last.ckpt is damaged: training goes on from best.ckpt, after epoch 0" in (part / "train.log").read_text()
    assert same_weights(weights(part), weights(whole))
    assert read_metrics(part) == read_metrics(whole)


def fail_in_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    from anatomark.models.saliency import SaliencyModel

    step: Callable[..., torch.Tensor] = SaliencyModel.training_step

    def failing(self: SaliencyModel, *args: object) -> torch.Tensor:
        if self.current_epoch == epoch:
            raise RuntimeError("power cut")
        return step(self, *args)

    monkeypatch.setattr(SaliencyModel, "training_step", failing)


def test_training_again_in_a_named_folder_starts_anew(commands: Commands, frames: Path) -> None:
    named = "hydra.run.dir=runs/named"
    run = commands.train(frames, named)
    before = read_metrics(run)
    assert commands("train.py", *small(frames), named).code == 0
    assert read_metrics(run) == before


def test_multirun_makes_a_folder_per_seed(commands: Commands, frames: Path) -> None:
    ended = commands("train.py", "-m", *small(frames), "seed=1,2")
    assert ended.code == 0, ended.err
    runs = commands.runs()
    assert sorted(yaml.safe_load((run / "config.yaml").read_text())["seed"] for run in runs) == [1, 2]
    assert len({run.parent for run in runs}) == 1
    assert not same_weights(weights(runs[0]), weights(runs[1]))


def test_folds_are_pooled(commands: Commands, frames: Path) -> None:
    runs = [commands.train(frames, f"data.fold={fold}", f"paths.run_dir=runs/{fold}") for fold in range(3)]
    words = ",".join(str(run) for run in runs)
    ended = commands("evaluate.py", f"run=[{words}]", "evaluator=[saliency,landmarks]", "discovery.fit_on=test")
    assert ended.code == 0, ended.err
    (pooled,) = (commands.folder / "runs" / "pooled").iterdir()
    report = json.loads((pooled / "report" / "saliency.json").read_text())
    assert (report["n_frames"], report["n_subjects"]) == (12, 6)  # every subject is tested once
    landmarks = json.loads((pooled / "report" / "landmarks.json").read_text())
    assert {image["key"] for image in landmarks["images"]} == {f"s{s}_{p}" for s in range(6) for p in ("TV", "TC")}
    assert len({group["run"] for group in landmarks["groups"]}) == 3


def test_overrides_reach_data_and_evaluators(commands: Commands, frames: Path) -> None:
    run = commands.train(frames, "evaluator=[saliency,landmarks]", "discovery.fit_on=test")

    def peaks(*words: str) -> int:
        ended = commands("evaluate.py", f"run={run}", *words)
        assert ended.code == 0, ended.err
        values = json.loads((run / "report" / "landmarks.json").read_text())
        return len(values["images"])

    assert peaks() == 4
    assert {"saliency.json", "landmarks.json"} <= {path.name for path in (run / "report").iterdir()}
    ended = commands("evaluate.py", f"run={run}", "discovery.threshold=0")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "threshold" in ended.err
    more = write_tiny_frames(commands.folder / "more", n_subjects=9)
    assert peaks(f"data.root={more}", "evaluator=[landmarks]") == 6
    assert not (run / "report" / "saliency.json").exists()


@pytest.mark.parametrize("logger", ["tensorboard", "wandb"])
def test_loggers_work_offline(commands: Commands, frames: Path, logger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(logger)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = commands.train(
        frames, f"logger=[csv,{logger}]", "callbacks.map_images={_target_:anatomark.callbacks.MapImages}"
    )
    assert any(row["test/kld"] for row in read_metrics(run))
    written = [path.name for path in (run / logger).rglob("*")]
    assert any(name.startswith("events.out") or name.endswith(".wandb") for name in written)
    assert not (run / "maps").exists()  # the picture went to the logger

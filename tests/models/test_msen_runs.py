"""M-SEN from the command line: both phases in one run, stopped in either and continued."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from anatomark.data.frames_writer import RawFrame, write_frames
from anatomark.nets.sononet import SonoNet
from commands import SCREEN, Commands
from frames_fixture import make_frame

SMALL = [
    "data=frames",
    "data.classes=[background,plane]",
    "data.n_folds=3",
    "data.batch_size=4",
    "data.sampling.batches=2",
    "cai.size=32",
    "cai.disc_resolution=16",
    "gaze_sigma_px=5",
    "epochs=4",
    "cai.pretrain_epochs=2",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "callbacks.map_images=null",
    *SCREEN,
]


@pytest.fixture(scope="module")
def abdomens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny frames with classes and the box that is cropped to."""
    root = tmp_path_factory.mktemp("abdomens") / "tiny"
    write_frames(root, (labelled(make_frame(subject, plane)) for subject in range(6) for plane in ("TV", "TC")))
    return root


def labelled(frame: RawFrame) -> RawFrame:
    box = torch.tensor([8.0, 4.0, 88.0, 60.0])
    label = "plane" if frame.record.plane == "TV" else "background"
    return replace(frame, record=replace(frame.record, label=label, boxes={"abdominal_wall": box}))


def train(commands: Commands, root: Path, name: str, *words: str) -> Path:
    where = f"hydra.run.dir=runs/{name}"
    ended = commands("train.py", f"data.root={root}", *words, *SMALL, where)
    assert ended.code == 0, ended.err
    return commands.folder / "runs" / name


def weights(run: Path, name: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
    return state


def fail_in_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    from anatomark.models.msen import MSENModel

    step = MSENModel.training_step

    def failing(self: MSENModel, *args: Any) -> None:
        step(self, *args)
        if self.current_epoch == epoch:
            raise RuntimeError("power cut")

    monkeypatch.setattr(MSENModel, "training_step", failing)


def test_a_run_has_both_phases_and_goes_on_where_it_stopped(
    commands: Commands, abdomens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(commands, abdomens, "whole", "model=msen")
    names = {path.name for path in (whole / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "pretrained.ckpt"}
    with (whole / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    assert [bool(row["train/adversarial_loss"]) for row in rows] == [False, False, True, True]
    for epoch in (1, 3):
        fail_in_epoch(monkeypatch, epoch)
        with pytest.raises(RuntimeError, match="power cut"):
            train(commands, abdomens, f"part{epoch}", "model=msen")
        monkeypatch.undo()
        part = commands.folder / "runs" / f"part{epoch}"
        ended = commands("train.py", f"run={part}", "resume=true")
        assert ended.code == 0, ended.err
        for name in ("pretrained", "last"):
            state, expected = weights(part, name), weights(whole, name)
            assert all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize("model", ["msen_mse", "msen_shuffled_gaze", "msen_no_gaze", "saliency_only_mse"])
def test_every_variant_trains(commands: Commands, abdomens: Path, model: str) -> None:
    run = train(commands, abdomens, model, f"model={model}", "epochs=1")
    assert (run / "checkpoints" / "last.ckpt").exists()


def test_mixed_precision_keeps_whole_weights(commands: Commands, abdomens: Path) -> None:
    run = train(commands, abdomens, "mixed", "model=msen", "trainer.precision=bf16-mixed", "model.pretrain_epochs=1")
    state = weights(run, "last")
    assert all(value.dtype == torch.float32 for key, value in state.items() if value.is_floating_point())
    assert all(bool(torch.isfinite(value).all()) for value in state.values())
    assert (run / "checkpoints" / "pretrained.ckpt").exists()


def test_a_trained_run_needs_the_published_weights_no_longer(commands: Commands, abdomens: Path) -> None:
    published = commands.folder / "SonoNet16.pth"
    torch.save(SonoNet().state_dict(), published)
    run = train(commands, abdomens, "classifier", "model=sononet16", f"cai.weights={published}")
    published.unlink()
    ended = commands("evaluate.py", f"run={run}", "evaluator=[classification]")
    assert ended.code == 0, ended.err
    ended = commands("train.py", f"run={run}", "resume=true", "epochs=5")
    assert ended.code == 0, ended.err

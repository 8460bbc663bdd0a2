"""Options of any training: accumulated gradients, half precision, compiled networks, pinned memory."""

import csv
import shutil
from pathlib import Path

import jaxtyping
import pytest
import pytorch_lightning as pl
import torch

from anatomark.callbacks import CompileNet
from anatomark.types import AnatomarkError
from commands import Commands


def losses(run: Path) -> list[float]:
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


def test_gradients_of_several_batches_make_one_step(commands: Commands, frames: Path) -> None:
    run = commands.train(frames, "data.batch_size=2", "trainer.accumulate_grad_batches=2")
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    n_batches = saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["completed"]
    assert n_batches >= 2
    assert saved["global_step"] == -(-n_batches // 2)


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true but no accelerator is found")
def test_half_precision_and_pinned_memory_train_alike(commands: Commands, frames: Path) -> None:
    whole = commands.train(frames, "paths.run_dir=runs/whole")
    half = commands.train(frames, "trainer.precision=bf16-mixed", "data.pin_memory=true", "paths.run_dir=runs/half")
    assert losses(half) == pytest.approx(losses(whole), rel=0.05)
    assert losses(half) != losses(whole)
    assert {value.dtype for value in weights(half).values()} <= {torch.float32, torch.int64}


@pytest.mark.slow  # compiling takes a minute
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_network_trains_alike_and_is_saved_under_the_same_names(
    commands: Commands, frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the tests' type checks cannot be compiled
    plain = commands.train(frames, "paths.run_dir=runs/plain")
    compiled = commands.train(frames, "compile=true", "paths.run_dir=runs/compiled")
    assert weights(compiled).keys() == weights(plain).keys()
    assert losses(compiled) == pytest.approx(losses(plain), rel=1e-3)
    ended = commands("train.py", f"run={compiled}", "resume=true", "compile=false", "epochs=2")
    assert ended.code == 0, ended.err


class Holder(pl.LightningModule):
    """A model as far as the callback looks."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(2, 2)


def test_compiling_is_in_place_and_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    model, trainer = Holder(), pl.Trainer(logger=False, enable_checkpointing=False)
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda net: compiled.append(net))
    CompileNet(enabled=False).setup(trainer, model, "fit")
    assert compiled == []
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(AnatomarkError, match="compile=true needs a C\\+\\+ compiler"):
        CompileNet().setup(trainer, model, "fit")
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/c++")
    CompileNet().setup(trainer, model, "fit")
    assert compiled == [model.net]

"""M-SEN stopped anywhere and continued ends with the same weights, bit for bit; and two processes train one M-SEN."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from msen_training import ADVERSARIAL_LR, EPOCHS, LR, PRETRAIN, Rates, Stop, make_model, train

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

PROGRAM = Path(__file__).with_name("msen_training.py")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted training."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder)
    return folder


def state(folder: Path, name: str) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(folder / f"{name}.ckpt", weights_only=True)["state_dict"]
    return weights


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


def run_program(*words: str) -> subprocess.CompletedProcess[str]:
    # As many threads as here: sums of floats depend on it.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "MASTER_ADDR": "127.0.0.1"}
    command = [sys.executable, str(PROGRAM), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


def test_the_rate_falls_over_pre_training_and_is_fixed_after(tmp_path: Path) -> None:
    noted = Rates()
    train(tmp_path, watcher=noted)
    of_generator, of_discriminator = zip(*noted.rates, strict=True)
    assert of_generator == pytest.approx([LR, LR / 2, ADVERSARIAL_LR, ADVERSARIAL_LR])
    assert of_discriminator == pytest.approx([LR] * EPOCHS)


@pytest.mark.parametrize("epoch", [1, PRETRAIN, EPOCHS - 1])
def test_a_run_that_failed_ends_like_one_that_did_not(tmp_path: Path, whole: Path, epoch: int) -> None:
    part = tmp_path / "part"
    with pytest.raises(RuntimeError, match="power cut"):
        train(part, watcher=Stop(epoch=epoch, kill=False))
    assert (part / "pretrained.ckpt").exists() == (epoch >= PRETRAIN)
    train(part, resume=True)
    for name in ("pretrained", "last", "best"):
        assert_same(state(part, name), state(whole, name))


def test_a_killed_run_ends_like_one_that_was_not(tmp_path: Path, whole: Path) -> None:
    part = tmp_path / "part"
    killed = run_program(str(part), f"kill_in_epoch={PRETRAIN + 1}")
    assert killed.returncode == -9, killed.stderr
    assert not (part / "metrics.json").exists()
    train(part, resume=True)
    assert_same(state(part, "last"), state(whole, "last"))


def test_the_phases_differ_and_pre_training_leaves_the_discriminator_alone(whole: Path) -> None:
    pretrained, last = state(whole, "pretrained"), state(whole, "last")
    first = make_model().state_dict()
    for key, value in pretrained.items():
        if key.startswith("discriminator."):
            assert torch.equal(value, first[key])
            assert not torch.equal(value, last[key])
    assert torch.load(whole / "pretrained.ckpt", weights_only=True)["epoch"] == PRETRAIN - 1


def test_pre_training_that_is_all_there_is_is_kept(tmp_path: Path) -> None:
    train(tmp_path, max_epochs=PRETRAIN)
    assert_same(state(tmp_path, "pretrained"), state(tmp_path, "last"))


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    words = ('strategy="ddp_find_unused_parameters_true"', "devices=2")
    ended = run_program(str(tmp_path), *words)
    assert ended.returncode == 0, ended.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {"train/adversarial_loss", "train/discriminator_loss", "val/loss", "val/f1", "val/nss"} <= metrics.keys()
    # Each process saw other frames, so that only shared gradients keep their weights alike.
    assert_same(*(torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)))
    last, pretrained = state(tmp_path, "last"), state(tmp_path, "pretrained")
    assert all(torch.isfinite(value).all() for value in last.values())
    changed = {key.split(".")[0] for key in last if not torch.equal(last[key], pretrained[key])}
    assert changed == {"net", "discriminator"}

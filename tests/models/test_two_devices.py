"""Two processes that share a batch end with the metrics of one process that has it whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from anatomark import synced_norms
from anatomark.synced_norms import SyncedBatchNorm2d, SyncedNorms
from frames_fixture import write_tiny_frames

PROGRAM = Path(__file__).with_name("device_training.py")


def metrics_on(devices: int, folder: Path, frames: Path) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    command = [sys.executable, str(PROGRAM), str(folder), str(frames), str(devices)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, float] = json.loads((folder / f"metrics_{devices}.json").read_text())
    return found


@pytest.mark.slow
def test_two_processes_end_with_the_metrics_of_one(tmp_path: Path) -> None:
    frames = write_tiny_frames(tmp_path / "frames", n_subjects=11)
    one, two = (metrics_on(devices, tmp_path, frames) for devices in (1, 2))
    assert {"train/loss", "val/kld", "test/nss", "test/auc_judd"} <= one.keys()
    assert two == pytest.approx(one, abs=1e-6)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
def test_norms_go_by_the_batches_of_both_devices(
    momentum: float | None, affine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two devices with the same batch, of which one is here: what they add up is twice what this one has.
    monkeypatch.setattr(synced_norms.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(synced_norms.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(synced_norms, "_all_reduced", lambda values: 2 * values)
    torch.manual_seed(0)
    batch, gradient = (torch.randn(3, 4, 5, 6, dtype=torch.float64) * 2 + 1 for _ in range(2))
    whole = nn.BatchNorm2d(4, momentum=momentum, affine=affine).double()
    part = SyncedBatchNorm2d(4, momentum=momentum, affine=affine).double()
    if affine:
        for norm in (whole, part):
            with torch.no_grad():
                norm.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
                norm.bias.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0]))
    for _ in range(2):
        both, mine = torch.cat([batch, batch]).requires_grad_(), batch.clone().requires_grad_()
        expected, found = whole(both), part(mine)
        torch.testing.assert_close(found, expected[:3])
        (of_both,) = torch.autograd.grad(expected, both, torch.cat([gradient, gradient]))
        (of_mine,) = torch.autograd.grad(found, mine, gradient)
        torch.testing.assert_close(of_mine, of_both[:3])
    torch.testing.assert_close(part.state_dict(), whole.state_dict())
    torch.testing.assert_close(part.eval()(batch), whole.eval()(batch))


def test_norms_are_turned_and_back_with_their_weights() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    synced = SyncedNorms().apply(model)
    assert isinstance(synced[1], SyncedBatchNorm2d)
    torch.testing.assert_close(dict(synced.state_dict()), before)
    torch.testing.assert_close(synced(torch.ones(2, 1, 4, 4)), model(torch.ones(2, 1, 4, 4)))  # one device: as its base
    assert type(SyncedNorms().revert(synced)[1]) is nn.BatchNorm2d

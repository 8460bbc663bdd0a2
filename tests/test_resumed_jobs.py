"""Jobs of a multirun that were interrupted: the same command goes on with them, and they end as if nothing had been."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from commands import ROOT, Commands, small

FILES = ("config.yaml", "metrics.csv", "result.json", "splits.json")


def count_steps(patch: pytest.MonkeyPatch, *, fails_at: int | None = None) -> Counter[int]:
    """Epoch -> steps of training that are made from now on; those of one epoch may fail."""
    from anatomark.models.saliency import SaliencyModel

    step: Callable[..., torch.Tensor] = SaliencyModel.training_step
    steps: Counter[int] = Counter()

    def counted(self: SaliencyModel, *args: object) -> torch.Tensor:
        if self.current_epoch == fails_at:
            raise RuntimeError("power cut")
        steps[self.current_epoch] += 1
        return step(self, *args)

    patch.setattr(SaliencyModel, "training_step", counted)
    return steps


def assert_equal_jobs(job: Path, other: Path) -> None:
    for name in FILES:
        assert (job / name).read_bytes() == (other / name).read_bytes(), name
    for name in ("best", "last"):
        a, b = (torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True) for run in (job, other))
        assert a["epoch"] == b["epoch"]
        assert a["state_dict"].keys() == b["state_dict"].keys()
        assert all(torch.equal(value, b["state_dict"][key]) for key, value in a["state_dict"].items()), name


def test_jobs_of_a_grid_go_on(commands: Commands, frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["train.py", "-m", *small(frames), "epochs=2"]
    part, whole = (commands.folder / "runs" / name for name in ("part", "whole"))
    with pytest.MonkeyPatch.context() as patch:
        count_steps(patch, fails_at=1)
        with pytest.raises(RuntimeError, match="power cut"):
            commands(*words, "seed=0,1", "hydra.sweep.dir=runs/part")
    last = part / "1" / "checkpoints" / "last.ckpt"  # damaged, besides; best.ckpt is of the same epoch
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])

    steps = count_steps(monkeypatch)
    ended = commands(*words, "seed=0,1", "hydra.sweep.dir=runs/part")
    assert ended.code == 0, ended.err
    assert set(steps) == {1}
    for job in ("0", "1"):
        assert f"goes on from its last checkpoint: runs/part/{job}" in (part / job / "train.log").read_text()
    assert "last.ckpt is damaged" in (part / "1" / "train.log").read_text()
    steps.clear()
    assert commands(*words, "seed=1", "hydra.sweep.dir=runs/whole").code == 0
    assert set(steps) == {0, 1}
    assert_equal_jobs(part / "1", whole / "0")

    # Finished, they are not trained again; unfinished ones of another command are not thrown away.
    steps.clear()
    assert commands(*words, "seed=0,1", "hydra.sweep.dir=runs/part").code == 0
    (part / "1" / "result.json").unlink()
    ended = commands(*words, "seed=0,2", "hydra.sweep.dir=runs/part")
    assert ended.code == 1
    assert "error: runs/part/1 holds an unfinished run of another configuration (seed differ)" in ended.err
    assert not steps
    assert (part / "1" / "checkpoints" / "best.ckpt").is_file()


def test_a_multirun_continues_no_single_run(commands: Commands, frames: Path, run: Path) -> None:
    for more in (["resume=true"], []):
        ended = commands("train.py", "-m", *small(frames), f"run={run}", *more)
        assert ended.code == 1
        assert "error: a multirun cannot continue the run of run= and resume=true; leave -m out" in ended.err


@pytest.mark.slow
@pytest.mark.timeout(600)  # three processes that load torch
def test_jobs_killed_by_the_system_go_on(commands: Commands, frames: Path) -> None:
    words = [sys.executable, str(ROOT / "train.py"), "-m", *small(frames), "epochs=6", "seed=0,1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}

    def start(folder: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*words, f"hydra.sweep.dir=runs/{folder}"], cwd=commands.folder, env=environment, start_new_session=True
        )

    part, whole = (commands.folder / "runs" / name for name in ("part", "whole"))
    for job in ("0", "1"):
        process, deadline = start("part"), time.monotonic() + 200
        while not (part / job / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (part / job / "result.json").exists()
    for folder in ("part", "whole"):
        assert start(folder).wait(200) == 0
    for job in ("0", "1"):
        assert_equal_jobs(part / job, whole / job)
        assert (part / job / "train.log").read_text().count("goes on from its last checkpoint") == 1

"""Runs on full or locked disks, and with other data than before: one line, and nothing is lost."""

import resource
from pathlib import Path

import pytest

from anatomark.runs import read_checkpoint
from commands import Commands, small
from refused import assert_refused, contents


def test_a_full_disk_leaves_the_old_checkpoints(commands: Commands, run: Path) -> None:
    before = contents(run / "checkpoints")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before["last.ckpt"]) // 2, hard))
    try:
        ended = commands("train.py", f"run={run}", "resume=true", "epochs=2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_refused(ended, ".ckpt cannot be written", "free some space")
    assert contents(run / "checkpoints") == before
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["epoch"] == 0


@pytest.mark.parametrize("deeper", ["", "/deeper"])
def test_a_folder_that_cannot_be_written_is_named(commands: Commands, frames: Path, deeper: str) -> None:
    (commands.folder / "taken").touch()  # a file, which stops even root
    ended = commands("train.py", *small(frames), f"paths.run_dir=taken{deeper}")
    assert_refused(ended, "taken", "a file is where a folder should be", "paths.run_dir=")


def test_a_run_is_not_continued_with_other_data(commands: Commands, run: Path) -> None:
    before = contents(run, without="train.log")
    ended = commands("train.py", f"run={run}", "resume=true", "epochs=2", "data.fold=1")
    assert_refused(ended, "subject s", "data.fold")
    assert contents(run, without="train.log") == before

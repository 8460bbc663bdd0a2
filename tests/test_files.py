"""Files that are whole at any time."""

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from anatomark.cli import user_message
from anatomark.errors import AnatomarkError
from anatomark.files import describe_disk_error, whole_file, write_whole


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of more than 1000 bytes can be written: the system refuses, as on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    write_whole(path, "old")
    with whole_file(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_whole(path, b"old")

    def fail() -> None:
        with whole_file(path) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"file.txt": "old"}


def test_what_is_too_large_leaves_the_old_file(tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "file.txt"
    write_whole(path, b"old")
    with pytest.raises(AnatomarkError, match=r"file\.txt cannot be written: file too large; free some space"):
        write_whole(path, b"x" * 2000)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"file.txt": "old"}


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    for path in (tmp_path / "taken" / "file.txt", tmp_path / "taken" / "deeper" / "file.txt"):
        with pytest.raises(AnatomarkError, match=r"file\.txt cannot be written: .*; a file is where a folder should"):
            write_whole(path, b"x")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_faults_of_disks_are_told_with_a_remedy(number: int) -> None:
    error = OSError(number, os.strerror(number), "/runs/x")
    reason = describe_disk_error(error)
    assert reason is not None
    assert reason.startswith(os.strerror(number).lower() + "; ")
    assert user_message(error) == f"/runs/x: {reason}"
    assert "paths.run_dir=" in reason
    elsewhere = reason.replace("paths.run_dir=", "output=")
    assert user_message(error, option="output=") == f"/runs/x: {elsewhere}"


def test_other_faults_are_not_told_as_those_of_disks() -> None:
    assert describe_disk_error(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None
    assert describe_disk_error(OSError("something")) is None

"""Files that are whole at any time: a process killed while it writes leaves the old file or the new one."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anatomark.errors import AnatomarkError

UNFINISHED = ".tmp"
"""Ending of a file that is being written, or was when its process was killed."""

RUN_DIR = "paths.run_dir="
"""The word of the command line by which a training writes to another folder."""

_FULL = "free some space, or choose another folder by {option}"
_DENIED = "get the permission for it, or choose another folder by {option}"
_IN_THE_WAY = "a file is where a folder should be: move it, or choose another folder by {option}"
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: "choose a folder that can be written by {option}",
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says in one line why a file cannot be written: a full disk, a missing permission.

    Raises:
        AnatomarkError: it cannot.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch.save raises either
        reason = _disk_fault(error)
        if reason is None:
            raise
        raise AnatomarkError(f"{path} cannot be written: {reason}") from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives the name of a file to write, which takes the place of ``path`` when the block ends without an error.

    Nothing is lost to a power cut either: the file is on the disk before it gets its name.

    Raises:
        AnatomarkError: it cannot be written; the old file stays as it is.
    """
    # Of this process alone, as all processes of a training on several devices write its configuration.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield unfinished
            _to_disk(unfinished)
            unfinished.replace(path)
            _to_disk(path.parent)
        finally:
            unfinished.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes | str) -> None:
    """Writes a file that is whole at any time; text as UTF-8.

    Raises:
        AnatomarkError: it cannot be written; the old file stays as it is.
    """
    with whole_file(path) as unfinished:
        unfinished.write_bytes(data.encode() if isinstance(data, str) else data)


def describe_disk_error(error: OSError, *, option: str = RUN_DIR) -> str | None:
    """What is wrong with a disk or folder and what to do about it; None for what is no fault of these.

    Args:
        error: what the system says.
        option: the word of the command line by which another folder is chosen.
    """
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{(error.strerror or '').lower()}; {remedy.format(option=option)}" if remedy else None


def _disk_fault(error: BaseException | None) -> str | None:
    while error is not None:
        if isinstance(error, OSError) and (reason := describe_disk_error(error)):
            return reason
        error = error.__cause__ or error.__context__
    return None


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

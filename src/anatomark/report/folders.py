"""Folders that appear whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from uuid import uuid4

from anatomark.types import AnatomarkError

UNIQUE = "[0-9a-f]" * 8
"""Pattern of what tells apart the folders that are being written."""


def check_replaceable(folder: Path, *, mark: str, kind: str, option: str | None = None) -> None:
    """Refuses to write where something else lies: the folder is deleted and written anew, which must hit no data.

    Args:
        folder: folder to write.
        mark: the file that an earlier one of its kind holds.
        kind: what such a folder is called, such as "report".
        option: word of the command line by which another folder is chosen, such as ``output=``; None for none.

    Raises:
        AnatomarkError: ``folder`` exists and is neither empty nor of its kind.
    """
    if folder.exists() and not (folder.is_dir() and ((folder / mark).exists() or not any(folder.iterdir()))):
        remedy = f"choose another folder by {option}" if option else "remove or rename it"
        raise AnatomarkError(f"{folder} exists and is no {kind} (no {mark}); {remedy}")


@contextmanager
def replaced_folder(folder: Path, *, mark: str, kind: str, option: str | None = None) -> Iterator[Path]:
    """Gives an empty folder to fill, which takes the place of ``folder`` when the block ends without an error.

    An error leaves what was there. What a process that was killed left is cleared up first: its unfinished folder is
    removed, and where it had moved the earlier folder away, that is put back. Two processes may therefore not write the
    same folder at once.

    Args:
        folder, mark, kind, option: as for :func:`check_replaceable`.

    Raises:
        AnatomarkError: ``folder`` exists and is neither empty nor of its kind.
    """
    _clear_up(folder)
    check_replaceable(folder, mark=mark, kind=kind, option=option)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unique = uuid4().hex[:8]
    fresh, old = (folder.with_name(f".{folder.name}.{state}-{unique}") for state in ("new", "old"))
    try:
        fresh.mkdir()
        yield fresh
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for leftover in (fresh, old):
            if leftover.exists():
                shutil.rmtree(leftover)


def _clear_up(folder: Path) -> None:
    """Puts back and removes what killed processes left beside a folder."""
    for old in sorted(folder.parent.glob(f".{escape(folder.name)}.old-{UNIQUE}")):
        if folder.exists():
            shutil.rmtree(old)
        else:
            old.rename(folder)
    for fresh in folder.parent.glob(f".{escape(folder.name)}.new-{UNIQUE}"):
        shutil.rmtree(fresh)

"""Sweeps save all the time, and what a test writes need not survive the machine: it does not wait for the disk."""

import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files and SQLite databases of this process are left to the operating system."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    if importlib.util.find_spec("sqlalchemy") is None:  # of the extra
        yield
        return
    import sqlalchemy as sa

    def relax(connection: Any, record: Any) -> None:
        if type(connection).__module__ == "sqlite3":
            connection.execute("PRAGMA synchronous=OFF")

    sa.event.listen(sa.engine.Engine, "connect", relax)
    yield
    sa.event.remove(sa.engine.Engine, "connect", relax)

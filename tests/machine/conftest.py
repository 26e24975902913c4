"""Databases for the state machine, one clock in the place of all, and an ear for what the engine calls an error."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from syncd.engine import deadline
from syncd.store import dialect
from tests.machine.look import Look, PostgresqlLook, SqliteLook
from tests.machine.setting import Ground
from tests.store.databases import migrated_postgresql, migrated_sqlite, no_postgresql

__all__ = ["migrated_postgresql", "migrated_sqlite", "no_postgresql"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """For SQLite's file. Nobody pulls the plug in a test: commits need not wait for the disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


@pytest.fixture(params=["sqlite", "postgresql"])
def ground(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """Each kind of database in turn."""
    look: Look
    if request.param == "sqlite":
        look = SqliteLook(request.getfixturevalue("migrated_sqlite"), folder)
    else:
        look = PostgresqlLook(request.getfixturevalue("migrated_postgresql"))
    made = Ground(look)
    monkeypatch.setattr(dialect, "now", lambda conn: made.now(conn))
    monkeypatch.setattr(deadline, "now", lambda: made.seconds())

    def hear(logger: Any, method: str, told: Any) -> Any:
        if method in ("error", "exception", "critical"):
            made.errors.append(str(structlog.processors.format_exc_info(logger, method, told)))
        raise structlog.DropEvent

    structlog.configure(processors=[hear], wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield made
    structlog.reset_defaults()

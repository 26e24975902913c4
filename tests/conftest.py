"""Fixtures that every test may use: the databases, and the world that scenarios play in."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest

from tests.support.databases import NO_POSTGRESQL, Database, postgresql_database, sqlite_database, why_no_postgresql
from tests.support.world import World


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell of all that PostgreSQL is missing for in one line: as skipped at one place, here."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and NO_POSTGRESQL in report.longrepr[2]:
        report.longrepr = (__file__, 1, report.longrepr[2])
    return report


_no_postgresql: list[str | None] = []


async def _why_no_postgresql() -> str | None:
    """Asked once a session."""
    if not _no_postgresql:
        _no_postgresql.append(await why_no_postgresql())
    return _no_postgresql[0]


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        yield sqlite_database(tmp_path)
        return
    reason = await _why_no_postgresql()
    if reason is not None:
        # Continuous integration must not pass without them.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    async with postgresql_database() as made:
        yield made


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    """Platforms that are up, and a daemon to be started between them.

    Afterwards the daemon must end well, and its log hold no secret and tell of no defect.
    """
    world = World(tmp_path, database)
    async with world:
        yield world

"""Fixtures that every test may use: the databases, and the world that scenarios play in."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.support import figures as figures_of_faults
from tests.support.databases import NO_POSTGRESQL, Database, postgresql_database, sqlite_database, why_no_postgresql
from tests.support.forked import Forker
from tests.support.world import World


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell of all that PostgreSQL is missing for in one line: as skipped at one place, here."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and NO_POSTGRESQL in report.longrepr[2]:
        report.longrepr = (__file__, 1, report.longrepr[2])
    return report


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> figures_of_faults.Note:
    """Notes what a fault cost; all of it is shown at the end of the run."""

    def note(found: figures_of_faults.Figures) -> None:
        record_property(figures_of_faults.PROPERTY, figures_of_faults.as_property(found))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures of all faults that were brought about."""
    found = [
        value
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        if report.when == "call"
        for name, value in report.user_properties
        if name == figures_of_faults.PROPERTY
    ]
    if found:
        terminalreporter.section("what faults cost")
        for line in figures_of_faults.table(found):
            terminalreporter.write_line(line)


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


@pytest.fixture(scope="session")
def forkers() -> Iterator[tuple[Forker, Forker]]:
    """Processes that fork daemons: without failpoints, and with them."""
    made = Forker(failpoints=False), Forker(failpoints=True)
    yield made
    for forker in made:
        forker.end()


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    """Platforms that are up, and a daemon to be started between them.

    Afterwards the daemon must end well, and its log hold no secret and tell of no defect.
    """
    world = World(tmp_path, database)
    async with world:
        yield world

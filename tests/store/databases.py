"""What the store is tested on: a SQLite file a test, and one PostgreSQL database a module, emptied in between."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, Engine, Table, event, select
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.store import dialect, migrations
from syncd.store.database import Location, async_engine, writing_engine
from syncd.store.schema import metadata
from syncd.store.writer import Store
from tests.support.databases import DEFAULT_SERVER, SERVER, why_no_postgresql

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Database:
    """A database with the newest schema and no rows, and a way beside the store to look into it and change it."""

    location: Location
    engine: Engine | AsyncEngine

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.location.kind

    async def run(self, function: Callable[..., R], *args: Any) -> R:
        """Run `function(conn, *args)` in a transaction of its own."""
        if isinstance(self.engine, AsyncEngine):
            async with self.engine.begin() as conn:
                return await conn.run_sync(function, *args)
        with self.engine.begin() as plain:
            return function(plain, *args)

    async def rows(self, table: Table, *columns: str) -> list[tuple[Any, ...]]:
        """All rows of a table, sorted; some columns of them."""
        wanted = [table.c[name] for name in columns] if columns else [table]

        def read(conn: Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in conn.execute(select(*wanted))]

        return sorted(await self.run(read), key=repr)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """A started store of a process of its own."""
        store = Store(self.location)
        await store.start()
        try:
            yield store
        finally:
            await store.stop()


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements that are sent meanwhile, by whichever engine."""
    seen: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    def straight(conn: Connection, sql: str, values: tuple[Any, ...]) -> Any:
        before = len(seen)
        rows = execute(conn, sql, values)
        if len(seen) == before:  # it went to the driver, past the engine's events
            seen.append(sql)
        return rows

    execute = dialect._execute
    dialect._execute = straight
    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        dialect._execute = execute


def _apart(coroutine: Any) -> Any:
    """Run it in a thread and a loop of its own: fixtures of a module have no loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


async def on_server(statement: str) -> None:
    """Run a statement beside all test databases."""
    import asyncpg

    connection = await asyncpg.connect(os.environ.get(SERVER, DEFAULT_SERVER), timeout=5)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def no_postgresql() -> str | None:
    """Why there is no PostgreSQL to test on."""
    reason: str | None = _apart(why_no_postgresql())
    return reason


@pytest.fixture(scope="module")
def migrated_postgresql(no_postgresql: str | None) -> Iterator[str]:
    """The URL of a scratch database with the newest schema."""
    if no_postgresql is not None:
        # Skips of one place and reason are told in one line; continuous integration must not pass without them.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(no_postgresql)
    name = f"syncd_test_{secrets.token_hex(6)}"
    url = os.environ.get(SERVER, DEFAULT_SERVER).rpartition("/")[0] + f"/{name}"
    _apart(on_server(f"CREATE DATABASE {name} TEMPLATE template0"))
    try:
        # Nobody pulls the plug in a test: commits need not wait for the disk.
        _apart(on_server(f"ALTER DATABASE {name} SET synchronous_commit = off"))
        _apart(migrations.with_connection(Location.of(url), migrations.upgrade))
        yield url
    finally:
        _apart(on_server(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "syncd.db"
    _apart(migrations.with_connection(Location.of(f"sqlite:///{path}"), migrations.upgrade))
    return path


@asynccontextmanager
async def _sqlite(migrated: Path, folder: Path) -> AsyncIterator[Database]:
    path = shutil.copy(migrated, folder / "syncd.db")
    location = Location.of(f"sqlite:///{path}")
    engine = writing_engine(location)
    yield Database(location, engine)
    engine.dispose()


@asynccontextmanager
async def _postgresql(url: str) -> AsyncIterator[Database]:
    location = Location.of(url)
    engine = async_engine(location)
    try:
        async with engine.begin() as conn:
            # DELETE, not TRUNCATE: of a few rows it is far quicker.
            for table in metadata.tables.values():
                await conn.execute(table.delete())
        yield Database(location, engine)
    finally:
        await engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database with the newest schema, of each kind in turn."""
    if request.param == "sqlite":
        made = _sqlite(request.getfixturevalue("migrated_sqlite"), tmp_path)
    else:
        made = _postgresql(request.getfixturevalue("migrated_postgresql"))
    async with made as one:
        yield one


@pytest.fixture
async def shared(migrated_postgresql: str) -> AsyncIterator[Database]:
    """An empty database that several processes may work on: PostgreSQL."""
    async with _postgresql(migrated_postgresql) as one:
        yield one


@pytest.fixture
async def local(migrated_sqlite: Path, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty SQLite file."""
    async with _sqlite(migrated_sqlite, tmp_path) as one:
        yield one


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    """A started store on an empty database."""
    async with database.store() as one:
        yield one


def in_order(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The first column of rows."""
    return [row[0] for row in rows]

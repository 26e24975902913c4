"""The databases that every scenario runs on: a SQLite file, and a PostgreSQL database made for it."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

SERVER = "SYNCD_TEST_POSTGRES"
DEFAULT_SERVER = "postgresql://postgres@127.0.0.1:5432/postgres"

_AGEING = (
    ("delivery", "tried_at"),
    ("lane", "due_at"),
    ("lane", "lease_until"),
    ("cursor", "lease_until"),
    ("session", "observed_at"),
    ("operation", "lease_until"),
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Database:
    """One empty database, and a look into it beside the daemon."""

    url: str

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.url.partition(":")[0]

    async def rows(self, statement: str) -> list[Row]:
        """The rows of a SELECT, by column name."""
        if self.kind == "sqlite":
            return await asyncio.to_thread(self._sqlite, statement)
        return await _fetch(self.url, statement)

    async def value(self, statement: str) -> Any:
        """The one value of a SELECT."""
        (row,) = await self.rows(statement)
        (value,) = row.values()
        return value

    async def deadlocks(self) -> int:
        """How many deadlocks the server had to end: each costs a second."""
        if self.kind == "sqlite":
            return 0  # It has one writer.
        counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        return int(await self.value(counted))

    async def change(self, statement: str) -> None:
        """Change something. Only while no daemon runs."""
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self._path)) as connection, connection:
                connection.execute(statement)
        else:
            await _fetch(self.url, statement)

    async def age(self, seconds: int) -> None:
        """Let time pass for deliveries and leases: all that was tried, waits, or is held is so much older."""
        for table, column in _AGEING:
            if self.kind == "sqlite":
                earlier = f"strftime('%Y-%m-%dT%H:%M:%f', {column}, '-{seconds} seconds') || '000Z'"
            else:
                earlier = f"{column} - interval '{seconds} seconds'"
            await self.change(f'UPDATE "{table}" SET {column} = {earlier} WHERE {column} IS NOT NULL')

    @property
    def _path(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))

    def _sqlite(self, statement: str) -> list[Row]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(statement)]


def sqlite_database(folder: Path) -> Database:
    """A SQLite file that is yet to be made."""
    return Database(f"sqlite:///{folder / 'syncd.db'}")


@asynccontextmanager
async def postgresql_database() -> AsyncIterator[Database]:
    """A new database on the test server, dropped afterwards."""
    name = f"syncd_test_{secrets.token_hex(6)}"
    server = os.environ.get(SERVER, DEFAULT_SERVER)
    parts = urlsplit(server)
    await _fetch(server, f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield Database(urlunsplit(parts._replace(path=f"/{name}")))
    finally:
        await _fetch(server, f'DROP DATABASE "{name}" WITH (FORCE)')


NO_POSTGRESQL = "PostgreSQL does not answer"


async def why_no_postgresql() -> str | None:
    """Why there is no PostgreSQL to test on; None where there is."""
    server = os.environ.get(SERVER, DEFAULT_SERVER)
    try:
        await _fetch(server, "SELECT 1")
    except Exception as error:
        return f"{NO_POSTGRESQL} ({type(error).__name__}): set {SERVER} to test on it too"
    return None


async def _fetch(url: str, statement: str) -> list[Row]:
    import asyncpg  # an optional extra

    connection = await asyncpg.connect(url, timeout=5)
    try:
        return [dict(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()

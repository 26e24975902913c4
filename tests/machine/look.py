"""A look into the database beside the processes, and a fresh database for every example."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from syncd.store.database import Location
from syncd.store.schema import metadata
from tests.machine.clockwork import Clockwork

Rows = list[tuple[Any, ...]]


class Look(Protocol):
    """One kind of database."""

    processes: tuple[str, ...]
    """Names of those that may work on it at once."""

    async def fresh(self, loop: Clockwork) -> Location:
        """A database with the newest schema and no rows."""
        ...

    async def rows(self, statement: str) -> Rows:
        """The rows of a SELECT."""
        ...

    async def close(self) -> None:
        """The end of an example."""
        ...


class SqliteLook:
    """A file an example."""

    processes: tuple[str, ...] = ("one",)

    def __init__(self, migrated: Path, folder: Path) -> None:
        self._migrated = migrated
        self._path = folder / "syncd.db"

    async def fresh(self, loop: Clockwork) -> Location:
        for left in self._path.parent.glob(f"{self._path.name}*"):
            os.unlink(left)
        shutil.copy(self._migrated, self._path)
        return Location.of(f"sqlite:///{self._path}")

    async def rows(self, statement: str) -> Rows:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(statement).fetchall()

    async def close(self) -> None:
        return None


class PostgresqlLook:
    """One database, emptied before each example."""

    processes: tuple[str, ...] = ("one", "two")

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None
        self._loop: Clockwork | None = None

    async def fresh(self, loop: Clockwork) -> Location:
        import asyncpg

        self._loop = loop
        self._connection = await loop.work(asyncpg.connect(self._url, timeout=5))
        # Two transactions that wait for each other are told at once: nobody here waits a second for that.
        name = self._url.rpartition("/")[2]
        await loop.work(self._connection.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '20ms'"))
        # DELETE, not TRUNCATE: of a few rows it is far quicker.
        await loop.work(self._connection.execute(";".join(f'DELETE FROM "{table}"' for table in metadata.tables)))
        return Location.of(self._url)

    async def rows(self, statement: str) -> Rows:
        assert self._loop is not None
        return [tuple(row) for row in await self._loop.work(self._connection.fetch(statement))]

    async def close(self) -> None:
        assert self._loop is not None
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await self._loop.work(connection.close())

"""Opening the database: engines, SQLite's settings, and the lock that keeps a second daemon away."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

_SQLITE = "sqlite:///"
IDLE_SECONDS = 3
"""A transaction in which nothing is asked for so long is the server's to end: its process is stopped, its machine gone,
or the network has swallowed the connection, and others wait for the rows that it has locked (G4). A healthy one asks
again within milliseconds, and others must not wait until their own statements run out of time."""
UPGRADE_IDLE_SECONDS = 30
"""The same while a schema is upgraded, which reads its scripts meanwhile."""
STATEMENT_SECONDS = 10.0
"""No statement of the daemon takes that long where the database answers at all: a webhook is tried no longer."""
_BY_KEY = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
"""A statement that was prepared while the tables were small would go on reading them from end to end until the server
has counted their rows anew, which it does once a minute at most."""


class DatabaseError(Exception):
    """The database cannot be used as it is; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where the database is. Shown without its password."""

    url: str
    kind: str
    """`sqlite` or `postgresql`."""

    @classmethod
    def of(cls, url: str) -> Location:
        """From a `database.url`."""
        return cls(url, "postgresql" if url.startswith("postgres") else "sqlite")

    @property
    def path(self) -> Path:
        """The SQLite file. Whatever characters its folders' names have: nothing of it is taken for URL syntax."""
        return Path(self.url.removeprefix(_SQLITE))

    @property
    def address(self) -> URL:
        """For SQLAlchemy."""
        if self.kind == "sqlite":
            return URL.create("sqlite", database=str(self.path))
        return make_url(self.url).set(drivername="postgresql+asyncpg")

    def __repr__(self) -> str:
        return self.url if self.kind == "sqlite" else make_url(self.url).render_as_string(hide_password=True)

    __str__ = __repr__


def writing_engine(location: Location, *, create: bool = True) -> Engine:
    """SQLite's one writing connection: WAL, `synchronous=FULL` (G1), `BEGIN IMMEDIATE`.

    Without `create` a file that is missing stays so: what a new one took could not be found in the old one.
    """
    engine = create_engine(
        location.address,
        poolclass=NullPool,
        hide_parameters=True,
        creator=lambda: _connected(location, "rwc" if create else "rw"),
    )
    _prepare_sqlite(engine, begin="BEGIN IMMEDIATE", query_only=False)
    return engine


def reading_engine(location: Location, *, size: int = 2) -> Engine:
    """SQLite's readers; they cannot write."""
    engine = create_engine(
        location.address,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=10,
        hide_parameters=True,
        creator=lambda: _connected(location, "rw"),
    )
    _prepare_sqlite(engine, begin="BEGIN", query_only=True)
    return engine


def async_engine(
    location: Location, *, size: int = 4, seconds: float | None = STATEMENT_SECONDS, by_key: bool = False
) -> AsyncEngine:
    """PostgreSQL over asyncpg. A statement may take `seconds` (None: as long as it takes).

    `by_key`: all that it finds is to be found by indexes, whatever the server believes of the sizes of tables.
    """
    try:
        import asyncpg  # noqa: F401
    except ImportError:
        raise DatabaseError("PostgreSQL needs the driver: pip install 'syncd[postgres]'") from None
    idle = UPGRADE_IDLE_SECONDS if seconds is None else IDLE_SECONDS
    settings = {"application_name": "syncd", "idle_in_transaction_session_timeout": f"{idle}s"}
    engine = create_async_engine(
        location.address,
        pool_size=size,
        max_overflow=0,
        pool_timeout=10,
        hide_parameters=True,
        connect_args={"timeout": 5, "command_timeout": seconds, "server_settings": settings},
    )
    if by_key:
        event.listen(engine.sync_engine, "connect", _look_by_key)
    return engine


def _look_by_key(connection: Any, _: Any) -> None:
    # Not among the settings that a connection begins with: PgBouncer refuses those that it does not know.
    connection.run_async(lambda driver: driver.execute(_BY_KEY))


def lock_file(location: Location) -> Callable[[], None]:
    """Be the only process that writes to this SQLite file, which is made if need be; returns how to stop being it.

    Raises `DatabaseError` where another process is it. The lock dies with its process.
    """
    path = location.path.with_name(location.path.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise DatabaseError(
            f"another syncd writes to {location.path}: stop it first, or use PostgreSQL for several processes"
        ) from None
    # What people say is in it: for syncd's user only, whatever the umask; its log takes the same mode from it.
    os.close(os.open(location.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return lambda: os.close(handle)


def _connected(location: Location, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(location.path))}?mode={mode}",
        uri=True,
        timeout=5.0,
        check_same_thread=False,
        cached_statements=512,
    )


def _prepare_sqlite(engine: Engine, *, begin: str, query_only: bool) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        # The driver's own transactions begin too late; ours begin in `begun`.
        connection.isolation_level = None
        cursor = connection.cursor()
        if query_only:
            cursor.execute("PRAGMA query_only=ON")
        else:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA wal_autocheckpoint=4000")
        cursor.execute("PRAGMA cache_size=-32768")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql(begin)

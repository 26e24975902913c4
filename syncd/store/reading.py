"""Reading the database of a daemon that runs, or does not: no lock, no file made, nothing written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from syncd.store.database import DatabaseError, Location, async_engine

R = TypeVar("R")


class NotThere(DatabaseError):
    """There is no SQLite file yet."""


async def read(location: Location, function: Callable[..., R], *args: Any) -> R:
    """Run `function(conn, *args)` in one read-only transaction.

    Raises `NotThere` for a SQLite file that is missing, `DatabaseError` for a database that does not answer.
    """
    try:
        if location.kind == "sqlite":
            return _read_sqlite(location, function, args)
        return await _read_postgresql(location, function, args)
    except SQLAlchemyError as error:
        advice = ": run this as the user that syncd runs as" if "unable to open" in str(error) else ""
        raise DatabaseError(f"{location} cannot be read: {getattr(error, 'orig', None) or error}{advice}") from error


def _read_sqlite(location: Location, function: Callable[..., R], args: tuple[Any, ...]) -> R:
    if not location.path.is_file():
        raise NotThere(f"there is no database at {location.path}: `syncd run` or `syncd migrate` makes it")
    engine = _read_only(location)
    try:
        with engine.begin() as conn:
            return function(conn, *args)
    finally:
        engine.dispose()


def _read_only(location: Location) -> Engine:
    def connect() -> sqlite3.Connection:
        uri = f"file:{quote(str(location.path))}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=5.0, isolation_level=None, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def begun(conn: Connection) -> None:
        conn.exec_driver_sql("BEGIN")

    return engine


async def _read_postgresql(location: Location, function: Callable[..., R], args: tuple[Any, ...]) -> R:
    engine = async_engine(location, size=1, seconds=60)
    try:
        try:
            conn = await engine.connect()
        except Exception as error:
            # The driver's own errors, which SQLAlchemy passes on as they are, have no common base.
            why = str(getattr(error, "orig", error)) or type(error).__name__
            raise DatabaseError(f"{location} cannot be reached: {why}; start it, or correct database.url") from error
        try:
            await conn.exec_driver_sql("SET TRANSACTION READ ONLY")
            return await conn.run_sync(function, *args)
        finally:
            await conn.close()
    finally:
        await engine.dispose()

"""The store on SQLite: one thread with the one connection that writes, and readers apart."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine

from syncd.failpoints import commits
from syncd.store.database import Location, lock_file, reading_engine, writing_engine
from syncd.store.files import Files, FilesChanged
from syncd.store.units import (
    MOST_UNITS,
    Outcome,
    R,
    Side,
    StoreUnavailable,
    Unit,
    answer,
    carry_out,
    functions_of,
    is_blameless,
    is_outage,
    original,
    reason,
    refused,
)

LOOK_SECONDS = 5.0
"""Between looks into a database that was found to be corrupt."""
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class OnSqlite:
    """One thread that writes: neither a statement nor a commit ever holds up the event loop."""

    def __init__(
        self, location: Location, done: Callable[[int, float], None], failed: Callable[[BaseException, float], None]
    ) -> None:
        self._location = location
        self._done = done
        self._failed = failed
        self._files = Files(location.path)
        self._corrupt = ""
        self._looked_at = 0.0
        self._queue: queue.SimpleQueue[Unit | None] = queue.SimpleQueue()
        self._waiting: list[list[Unit]] = [[] for _ in Side]
        self._last = Side.IN
        self._ended = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="syncd-read")
        self._unlock: Callable[[], None] | None = None
        self._reading: Engine | None = None

    def lock(self) -> None:
        """Be the one process that writes to the file. Raises `DatabaseError` where another is it."""
        self._unlock = lock_file(self._location)

    async def start(self) -> None:
        """Begin to write."""
        self._reading = reading_engine(self._location)
        self._files.opened()
        self._loop = loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="syncd-write", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Commit what waits, then close."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._readers.shutdown()
        if self._reading is not None:
            self._reading.dispose()
        if self._unlock is not None:
            self._unlock()

    def put(self, unit: Unit) -> None:
        """Let a unit wait for its side's next commit."""
        self._queue.put(unit)

    async def read(self, function: Callable[..., R], args: tuple[Any, ...]) -> R:
        """Run `function(conn, *args)` on a reader. Raises `StoreUnavailable`."""

        def run() -> R:
            assert self._reading is not None
            with self._reading.begin() as conn:
                return function(conn, *args)

        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await loop.run_in_executor(self._readers, run)
        except Exception as error:
            if is_blameless(error):
                self._note_corruption(error)
                self._failed(error, began)
                raise StoreUnavailable(reason(error)) from error
            raise

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        engine = writing_engine(self._location, create=False)
        conn: Connection | None = None
        while units := self._take():
            began = loop.time()
            try:
                if self._corrupt:  # as a reader may have found
                    self._close(conn)
                    conn = None
                if conn is None:
                    conn = self._opened(engine)
                outcomes, outage = self._commit(conn, units)
            except Exception as error:
                outcomes, outage = refused(units, error), error
            if outage is None:
                loop.call_soon_threadsafe(self._done, len(units), loop.time() - began)
            else:
                # Nothing that was open then is used again: the next batch begins with the files as they are.
                self._close(conn)
                conn = None
                self._note_corruption(outage)
                self._tell(outage, began)
            loop.call_soon_threadsafe(answer, outcomes)
        self._close(conn)
        engine.dispose()

    def _tell(self, error: BaseException, began: float) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._failed, error, began)

    def _opened(self, engine: Engine) -> Connection:
        if self._corrupt and time.monotonic() - self._looked_at < LOOK_SECONDS:
            raise StoreUnavailable(self._corrupt)
        self._files.opened()
        conn = engine.connect()
        if self._corrupt:
            self._looked_at = time.monotonic()
            try:
                found = _driver(conn).execute("PRAGMA quick_check(1)").fetchone()[0]
                if found != "ok":
                    raise StoreUnavailable(self._corrupt)
            except Exception:
                self._close(conn)
                raise
            self._corrupt = ""
        return conn

    def _note_corruption(self, outage: Exception) -> None:
        told = original(outage)
        code = getattr(told, "sqlite_errorcode", 0)
        if isinstance(told, FilesChanged) or code & 0xFF in _CORRUPT or code == sqlite3.SQLITE_IOERR_SHORT_READ:
            self._corrupt = self._corrupt or reason(outage)

    def _close(self, conn: Connection | None) -> None:
        if self._reading is not None:
            self._reading.dispose()
        if conn is not None:
            with suppress(Exception):  # What is broken may not even let itself be closed.
                conn.invalidate()
                conn.close()

    def _take(self) -> list[Unit]:
        """All that waits on one side; nothing at the end. The sides take turns."""
        if not any(self._waiting) and not self._ended:
            self._sort_in(self._queue.get())
        while True:
            try:
                self._sort_in(self._queue.get_nowait())
            except queue.Empty:
                break
        other = Side.OUT if self._last is Side.IN else Side.IN
        if self._waiting[other]:
            self._last = other
        waiting = self._waiting[self._last]
        units, self._waiting[self._last] = waiting[:MOST_UNITS], waiting[MOST_UNITS:]
        return units

    def _sort_in(self, unit: Unit | None) -> None:
        if unit is None:
            self._ended = True
        else:
            self._waiting[unit.side].append(unit)

    def _commit(self, conn: Connection, units: Sequence[Unit]) -> tuple[list[Outcome], Exception | None]:
        """The units' outcomes, and the outage that kept some of them from being committed."""
        try:
            results = self._carried_out(conn, units)
            return [(unit, result, None) for unit, result in zip(units, results, strict=True)], None
        except Exception as error:
            if is_outage(error):
                return refused(units, error), error
            if len(units) == 1:
                if not is_blameless(error):
                    return [(units[0], None, error)], None
                self._tell(error, time.monotonic())
                return refused(units, error), None
        # One of them is bad: each for itself, so that it fails alone (G10).
        outcomes: list[Outcome] = []
        for place, unit in enumerate(units):
            alone, outage = self._commit(conn, [unit])
            outcomes += alone
            if outage is not None:
                # What was committed before is told so: to do it again would not be the same for everything.
                return outcomes + refused(units[place + 1 :], outage), outage
        return outcomes, None

    @commits(lambda self, conn, units: functions_of(units))
    def _carried_out(self, conn: Connection, units: Sequence[Unit]) -> list[Any]:
        driver = _driver(conn)
        self._files.check(driver, after=False)
        with conn.begin():
            results = carry_out(conn, units)
        self._files.check(driver, after=True)
        return results


def _driver(conn: Connection) -> sqlite3.Connection:
    driver = conn.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver

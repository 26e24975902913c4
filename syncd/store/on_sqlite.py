"""The store on SQLite: one thread with the one connection that writes, and readers apart."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Connection, Engine

from syncd.store.database import Location, lock_file, reading_engine, writing_engine
from syncd.store.units import MOST_UNITS, Outcome, R, Side, StoreUnavailable, Unit, answer, carry_out, is_outage


class OnSqlite:
    """One thread that writes: neither a statement nor a commit ever holds up the event loop."""

    def __init__(self, location: Location, done: Callable[[int, float], None]) -> None:
        self._location = location
        self._done = done
        self._queue: queue.SimpleQueue[Unit | None] = queue.SimpleQueue()
        self._waiting: list[list[Unit]] = [[] for _ in Side]
        self._last = Side.IN
        self._ended = False
        self._thread: threading.Thread | None = None
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="syncd-read")
        self._unlock: Callable[[], None] | None = None
        self._reading: Engine | None = None

    def lock(self) -> None:
        """Be the one process that writes to the file. Raises `DatabaseError` where another is it."""
        self._unlock = lock_file(self._location)

    async def start(self) -> None:
        """Begin to write."""
        self._reading = reading_engine(self._location)
        loop = asyncio.get_running_loop()
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

        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, run)
        except Exception as error:
            if is_outage(error):
                raise StoreUnavailable(str(getattr(error, "orig", error))) from error
            raise

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        engine = writing_engine(self._location)
        conn: Connection | None = None
        while units := self._take():
            began = loop.time()
            try:
                if conn is None:
                    conn = engine.connect()
                outcomes = self._commit(conn, units)
            except Exception as error:
                # The connection itself may be gone; the next batch opens another.
                if conn is not None:
                    conn.invalidate()
                conn = None
                failure = StoreUnavailable(str(getattr(error, "orig", error)))
                outcomes = [(unit, None, failure) for unit in units]
            else:
                loop.call_soon_threadsafe(self._done, len(units), loop.time() - began)
            loop.call_soon_threadsafe(answer, outcomes)
        if conn is not None:
            conn.close()
        engine.dispose()

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

    def _commit(self, conn: Connection, units: Sequence[Unit]) -> list[Outcome]:
        try:
            with conn.begin():
                results = carry_out(conn, units)
            return [(unit, result, None) for unit, result in zip(units, results, strict=True)]
        except Exception as error:
            if is_outage(error):
                raise
            if len(units) == 1:
                return [(units[0], None, error)]
        # One of them is bad: each for itself, so that it fails alone (G10).
        return [outcome for unit in units for outcome in self._commit(conn, [unit])]

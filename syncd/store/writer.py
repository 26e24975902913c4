"""The store as the rest of syncd uses it: one writer with group commit, and readers apart (design §13).

A unit of work is a *handler* and an *item*. The writer takes all units that wait, hands the items of one handler to it
together, commits once, and only then answers all of them. There is no timer: a lone unit is committed at once.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from typing import Any, Protocol, TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.store.database import Location, async_engine, lock_file, reading_engine, writing_engine

log = structlog.get_logger("syncd.store")

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")
Handler = Callable[[Connection, Sequence[I]], Sequence[R]]
"""Does the items in order in the open transaction and returns as many results. May be run again after a roll-back."""

MOST_UNITS = 1000
"""Units in one transaction."""


class StoreUnavailable(Exception):
    """The database did not take it: not committed, or (rarely, when a connection dies) not known to be."""


class Side(IntEnum):
    """Which way a unit of work looks. Each side has commits of its own: while one commits, the other's results are
    worked on, where all in one would leave the event loop and the database waiting for each other in turn.
    """

    IN = 0
    """Events."""
    OUT = 1
    """Deliveries, and all the rest."""


class Unit:
    """One waiting unit of work."""

    __slots__ = ("after", "future", "handler", "item", "side")

    def __init__(
        self,
        handler: Handler[Any, Any],
        item: Any,
        future: asyncio.Future[Any],
        after: Callable[[Any], None] | None,
        side: Side,
    ) -> None:
        self.side = side
        self.handler = handler
        self.item = item
        self.future = future
        self.after = after


class Observer(Protocol):
    """Is told of every commit; for metrics."""

    def committed(self, units: int, seconds: float) -> None:
        """So many units were committed in so many seconds."""
        ...


class Store:
    """The database of one process. `start()` before use; `stop()` finishes what was submitted."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self.observer: Observer | None = None
        self._backend: _SqliteBackend | _PostgresqlBackend = (
            _SqliteBackend(location) if location.kind == "sqlite" else _PostgresqlBackend(location)
        )
        self._stopped = False
        self.commits = 0
        self.units = 0

    @property
    def shared(self) -> bool:
        """Whether other processes may work on the same database."""
        return self.location.kind == "postgresql"

    def lock(self) -> None:
        """Be the one process of a SQLite file. Raises `DatabaseError` where another is it."""
        self._backend.lock()

    async def start(self) -> None:
        """Open the database; its schema must be right."""
        await self._backend.start(self)

    async def stop(self) -> None:
        """Commit what was submitted, then close."""
        self._stopped = True
        await self._backend.stop()

    def submit(
        self, handler: Handler[I, R], item: I, after: Callable[[R], None] | None = None, *, side: Side = Side.OUT
    ) -> asyncio.Future[R]:
        """Queue a unit. The future has the handler's result after the commit.

        It fails with `StoreUnavailable` when the database is away, or with what the handler raised for this item.
        `after` is called with the result in any case, whether or not anybody still waits for the future.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        if self._stopped:
            future.set_exception(StoreUnavailable("the store is stopped"))
            return future
        self._backend.put(Unit(handler, item, future, after, side))
        return future

    async def write(self, function: Callable[..., R], *args: Any) -> R:
        """Run `function(conn, *args)` as a unit of its own in the next transaction."""
        return await self.submit(_call, (function, args))

    async def read(self, function: Callable[..., R], *args: Any) -> R:
        """Run `function(conn, *args)` on a reader, which cannot write. Raises `StoreUnavailable`."""
        return await self._backend.read(function, args)

    def done(self, units: int, seconds: float) -> None:
        """A batch was committed (called by the backend)."""
        self.commits += 1
        self.units += units
        if self.observer is not None:
            self.observer.committed(units, seconds)


def _call(conn: Connection, items: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]]) -> list[Any]:
    return [function(conn, *args) for function, args in items]


def _carry_out(conn: Connection, units: Sequence[Unit]) -> list[Any]:
    """Run the units' handlers, a call a handler, in the order of first appearance; the results unit by unit."""
    groups: dict[Any, list[int]] = {}
    for place, unit in enumerate(units):
        groups.setdefault(unit.handler, []).append(place)
    results: list[Any] = [None] * len(units)
    for handler, places in groups.items():
        for place, result in zip(places, handler(conn, [units[p].item for p in places]), strict=True):
            results[place] = result
    return results


_OUTAGES = ("08", "53", "57", "55000", "25006")
"""SQLSTATE classes: connection, resources, operator's intervention, not taking connections, read-only."""


_OUTAGE_ERRORS = (
    StoreUnavailable,
    sqlite3.OperationalError,
    OperationalError,
    InterfaceError,
    PoolTimeout,
    OSError,
    asyncio.TimeoutError,
)


def is_outage(error: BaseException) -> bool:
    """Whether the database is to blame, rather than what it was given."""
    if isinstance(error, IntegrityError):
        return False
    if isinstance(error, _OUTAGE_ERRORS):
        return True
    told = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(told, "sqlstate", None) or "")
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return state.startswith(_OUTAGES) or (not state and type(told).__module__.startswith("asyncpg"))


def _answer(outcomes: Sequence[tuple[Unit, Any, BaseException | None]]) -> None:
    for unit, result, error in outcomes:
        if error is None and unit.after is not None:
            unit.after(result)
        if unit.future.done():
            continue
        if error is None:
            unit.future.set_result(result)
        else:
            unit.future.set_exception(error)


class _SqliteBackend:
    """One thread that writes; a commit never runs on the event loop."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._queue: queue.SimpleQueue[Unit | None] = queue.SimpleQueue()
        self._waiting: list[list[Unit]] = [[], []]
        self._last: int = Side.IN
        self._ended = False
        self._thread: threading.Thread | None = None
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="syncd-read")
        self._unlock: Callable[[], None] | None = None
        self._reading: Engine | None = None

    def lock(self) -> None:
        self._unlock = lock_file(self._location)

    async def start(self, store: Store) -> None:
        loop = asyncio.get_running_loop()
        self._reading = reading_engine(self._location)
        self._thread = threading.Thread(target=self._run, args=(store, loop), name="syncd-write", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._readers.shutdown()
        if self._reading is not None:
            self._reading.dispose()
        if self._unlock is not None:
            self._unlock()

    def put(self, unit: Unit) -> None:
        self._queue.put(unit)

    async def read(self, function: Callable[..., R], args: tuple[Any, ...]) -> R:
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

    def _run(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        engine = writing_engine(self._location)
        conn: Connection | None = None
        while units := self._take():
            began = loop.time()
            try:
                if conn is None:
                    conn = engine.connect()
                outcomes = self._commit(conn, units)
            except Exception as error:
                # The connection itself is gone; the next batch opens another.
                if conn is not None:
                    conn.invalidate()
                conn = None
                failure = StoreUnavailable(str(getattr(error, "orig", error)))
                outcomes = [(unit, None, failure) for unit in units]
            else:
                loop.call_soon_threadsafe(store.done, len(units), loop.time() - began)
            loop.call_soon_threadsafe(_answer, outcomes)
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
        if self._waiting[1 - self._last]:
            self._last = 1 - self._last
        waiting = self._waiting[self._last]
        units, self._waiting[self._last] = waiting[:MOST_UNITS], waiting[MOST_UNITS:]
        return units

    def _sort_in(self, unit: Unit | None) -> None:
        if unit is None:
            self._ended = True
        else:
            self._waiting[unit.side].append(unit)

    def _commit(self, conn: Connection, units: Sequence[Unit]) -> list[tuple[Unit, Any, BaseException | None]]:
        try:
            with conn.begin():
                results = _carry_out(conn, units)
            return [(unit, result, None) for unit, result in zip(units, results, strict=True)]
        except Exception as error:
            if is_outage(error):
                raise
            if len(units) == 1:
                return [(units[0], None, error)]
        # One of them is bad: each for itself, so that it fails alone (G10).
        return [outcome for unit in units for outcome in self._commit(conn, [unit])]


class _PostgresqlBackend:
    """Two tasks that write through asyncpg, one a side, each on one connection at a time."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._engine: AsyncEngine | None = None
        self._waiting: list[list[Unit]] = [[], []]
        self._wake = (asyncio.Event(), asyncio.Event())
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def lock(self) -> None:
        """Any number of processes may share PostgreSQL."""

    async def start(self, store: Store) -> None:
        self._engine = async_engine(self._location)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(store, side), name=f"syncd-write-{side.name}") for side in Side]

    async def stop(self) -> None:
        self._stopping = True
        for wake in self._wake:
            wake.set()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._engine is not None:
            await self._engine.dispose()

    def put(self, unit: Unit) -> None:
        self._waiting[unit.side].append(unit)
        self._wake[unit.side].set()

    async def read(self, function: Callable[..., R], args: tuple[Any, ...]) -> R:
        assert self._engine is not None
        try:
            async with self._engine.connect() as conn:
                await conn.exec_driver_sql("SET TRANSACTION READ ONLY")
                return await conn.run_sync(function, *args)
        except Exception as error:
            if is_outage(error):
                raise StoreUnavailable(str(getattr(error, "orig", error))) from error
            raise

    async def _run(self, store: Store, side: Side) -> None:
        loop = asyncio.get_running_loop()
        while True:
            waiting = self._waiting[side]
            if not waiting:
                if self._stopping:
                    return
                self._wake[side].clear()
                await self._wake[side].wait()
                continue
            units, self._waiting[side] = waiting[:MOST_UNITS], waiting[MOST_UNITS:]
            began = loop.time()
            try:
                outcomes = await self._commit(units)
            except Exception as error:
                failure = StoreUnavailable(str(getattr(error, "orig", error)))
                outcomes = [(unit, None, failure) for unit in units]
            else:
                store.done(len(units), loop.time() - began)
            _answer(outcomes)

    async def _commit(self, units: Sequence[Unit]) -> list[tuple[Unit, Any, BaseException | None]]:
        try:
            results = await self._carried_out(units)
            return [(unit, result, None) for unit, result in zip(units, results, strict=True)]
        except Exception as error:
            if is_outage(error):
                raise
            if len(units) == 1:
                # Another process may have been first with the same row: what it wrote is seen the second time.
                return [await self._second_try(units[0], error)]
        return [outcome for unit in units for outcome in await self._commit([unit])]

    async def _carried_out(self, units: Sequence[Unit]) -> list[Any]:
        assert self._engine is not None
        conn = self._engine.connect()
        try:
            await conn.start()
        except Exception as error:
            # Whatever keeps a connection from coming up is not the units' fault.
            raise StoreUnavailable(str(getattr(error, "orig", error))) from error
        try:
            async with conn.begin():
                return await conn.run_sync(_carry_out, units)
        except Exception as error:
            if is_outage(error):
                # The pool does not see the driver's own errors, and would hand a dead connection out again.
                await conn.invalidate(error)
            raise
        finally:
            await conn.close()

    async def _second_try(self, unit: Unit, error: Exception) -> tuple[Unit, Any, BaseException | None]:
        if not isinstance(error, DBAPIError) and not hasattr(error, "sqlstate"):
            return unit, None, error
        try:
            return unit, (await self._carried_out([unit]))[0], None
        except Exception as again:
            if is_outage(again):
                raise
            return unit, None, again

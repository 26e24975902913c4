"""The store on PostgreSQL, over asyncpg."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from syncd.failpoints import commits
from syncd.store.database import Location, async_engine
from syncd.store.units import (
    Outcome,
    R,
    Side,
    StoreUnavailable,
    Unit,
    answer,
    carry_out,
    functions_of,
    is_blameless,
    is_lost,
    is_outage,
    next_together,
    reason,
    refused,
    sqlstate,
)

T = TypeVar("T")

MOST_TRIES = 6
CONNECTIONS = 2
"""For each of writing, a side one, and reading."""
_PASSING = frozenset({"40001", "40P01"})
"""SQLSTATEs: serialization failure, deadlock."""
_CONFLICTS = _PASSING | {"23505"}
"""And unique violation: another side or process was first with the same row; what it wrote is seen the next time."""


class Line:
    """Units that wait for one writer. It takes all that wait, and answers them after their commit.

    `commit` returns each unit's outcome, and the outage that kept some of them from being committed.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Unit]], Awaitable[tuple[Sequence[Outcome], Exception | None]]],
        done: Callable[[int, float], None],
        failed: Callable[[BaseException, float], None],
    ) -> None:
        self._commit = commit
        self._done = done
        self._failed = failed
        self._waiting: list[Unit] = []
        self._wake = asyncio.Event()
        self._stopping = False

    def put(self, unit: Unit) -> None:
        """Let a unit wait for the next commit."""
        self._waiting.append(unit)
        self._wake.set()

    def stop(self) -> None:
        """End `run` when nothing waits any more."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Commit what waits, until `stop`. Not to be cancelled: a transaction may be open."""
        loop = asyncio.get_running_loop()
        while self._waiting or not self._stopping:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            units, self._waiting = next_together(self._waiting)
            began = loop.time()
            outcomes, outage = await self._commit(units)
            if outage is None:
                self._done(len(units), loop.time() - began)
            else:
                self._failed(outage, began)
            answer(outcomes)


class OnPostgresql:
    """Two tasks that write, one a side, each on one connection at a time."""

    def __init__(
        self, location: Location, done: Callable[[int, float], None], failed: Callable[[BaseException, float], None]
    ) -> None:
        self._location = location
        self._failed = failed
        self._writing: AsyncEngine | None = None
        self._reading: AsyncEngine | None = None
        self._done = done
        self._committed_at = 0.0
        self._lines = [Line(self._commit, self._committed, failed) for _ in Side]
        self._tasks: list[asyncio.Task[None]] = []
        self._reads: set[asyncio.Task[Any]] = set()

    def lock(self) -> None:
        """Any number of processes may share PostgreSQL."""

    async def start(self) -> None:
        """Begin to write."""
        # Apart, so that no number of readers keeps a writer waiting for a connection.
        self._writing = async_engine(self._location, size=CONNECTIONS, by_key=True)
        self._reading = async_engine(self._location, size=CONNECTIONS)
        self._tasks = [asyncio.create_task(line.run(), name="syncd-write") for line in self._lines]

    async def stop(self) -> None:
        """Commit what waits, then close."""
        for line in self._lines:
            line.stop()
        if self._tasks or self._reads:
            await asyncio.wait([*self._tasks, *self._reads])
        for engine in (self._writing, self._reading):
            if engine is not None:
                await engine.dispose()

    def put(self, unit: Unit) -> None:
        """Let a unit wait for its side's next commit."""
        self._lines[unit.side].put(unit)

    def _committed(self, units: int, seconds: float) -> None:
        self._committed_at = asyncio.get_running_loop().time()
        self._done(units, seconds)

    async def read(self, function: Callable[..., R], args: tuple[Any, ...]) -> R:
        """Run `function(conn, *args)` in a read-only transaction. Raises `StoreUnavailable`."""
        # Whoever waits may stop waiting; a connection must not be left in the middle of an answer.
        task = asyncio.create_task(self._read(function, args), name="syncd-read")
        self._reads.add(task)
        task.add_done_callback(self._forget_read)
        return await asyncio.shield(task)

    def _forget_read(self, task: asyncio.Task[Any]) -> None:
        self._reads.discard(task)
        if not task.cancelled():
            task.exception()  # It may be that nobody waits for it any more.

    async def _read(self, function: Callable[..., R], args: tuple[Any, ...]) -> R:
        async def once() -> R:
            conn = await self._connected(self._reading)
            try:
                await conn.exec_driver_sql("SET TRANSACTION READ ONLY")
                return await conn.run_sync(function, *args)
            except Exception as error:
                await self._drop(conn, error)
                raise
            finally:
                await conn.close()

        began = asyncio.get_running_loop().time()
        try:
            return await self._on_a_living_connection(once)
        except Exception as error:
            if is_blameless(error):
                # A reader may notice late what is over for the writers.
                if self._committed_at < began or not is_outage(error):
                    self._failed(error, began)
                raise StoreUnavailable(reason(error)) from error
            raise

    async def _commit(self, units: Sequence[Unit]) -> tuple[list[Outcome], Exception | None]:
        try:
            results = await self._on_a_living_connection(lambda: self._carried_out(units))
            return [(unit, result, None) for unit, result in zip(units, results, strict=True)], None
        except Exception as error:
            if is_outage(error):
                return refused(units, error), error
            if len(units) == 1:
                return await self._tried_again(units[0], error)
        # One of them is bad: each for itself, so that it fails alone (G10).
        outcomes: list[Outcome] = []
        for place, unit in enumerate(units):
            alone, outage = await self._commit([unit])
            outcomes += alone
            if outage is not None:
                # What was committed before is told so: to do it again would not be the same for everything.
                return outcomes + refused(units[place + 1 :], outage), outage
        return outcomes, None

    @commits(lambda self, units: functions_of(units))
    async def _carried_out(self, units: Sequence[Unit]) -> list[Any]:
        conn = await self._connected(self._writing)
        try:
            transaction = await conn.begin()
            results = await conn.run_sync(carry_out, units)
            try:
                await transaction.commit()
            except Exception as error:
                if is_outage(error):
                    # It may be committed: not to be done again by anybody who does not know that.
                    await self._drop(conn, error)
                    raise StoreUnavailable(f"the commit was not answered: {reason(error)}") from error
                raise
        except Exception as error:
            await self._drop(conn, error)
            raise
        else:
            return results
        finally:
            await conn.close()

    async def _on_a_living_connection(self, do: Callable[[], Awaitable[T]]) -> T:
        """Again where a connection broke: the server may be well, and if it is not, a new connection tells why.

        A restart or a firewall leaves all of them broken in the pool, and nobody need notice that.
        """
        for _ in range(CONNECTIONS):
            try:
                return await do()
            except Exception as error:
                if not is_lost(error):
                    raise
        return await do()

    async def _connected(self, engine: AsyncEngine | None) -> AsyncConnection:
        assert engine is not None
        conn = engine.connect()
        try:
            await conn.start()
        except Exception as error:
            if is_outage(error):
                raise
            # Whatever keeps a connection from coming up is an outage, and not the units' fault.
            raise StoreUnavailable(reason(error)) from error
        return conn

    async def _drop(self, conn: AsyncConnection, error: Exception) -> None:
        """After an outage: the pool does not see the driver's own errors, and would hand a dead connection out again.

        Without a roll-back, which a server that does not answer would not answer either.
        """
        if is_outage(error) and not conn.invalidated:
            await conn.invalidate(error)

    async def _tried_again(self, unit: Unit, error: Exception) -> tuple[list[Outcome], Exception | None]:
        began = asyncio.get_running_loop().time()
        for tries in range(MOST_TRIES):
            if sqlstate(error) not in _CONFLICTS:
                break
            await asyncio.sleep(random.random() * 0.01 * tries)
            try:
                return [(unit, (await self._carried_out([unit]))[0], None)], None
            except Exception as again:
                if is_outage(again):
                    return refused([unit], again), again
                error = again
        if sqlstate(error) in _PASSING:
            # Still somebody is in the way: a local fault, which is no reason to give an event or an answer up.
            return [(unit, None, StoreUnavailable("other transactions kept being first"))], None
        if is_blameless(error):
            self._failed(error, began)
            return refused([unit], error), None
        return [(unit, None, error)], None

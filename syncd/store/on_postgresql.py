"""The store on PostgreSQL, over asyncpg."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.store.database import Location, async_engine
from syncd.store.units import MOST_UNITS, Outcome, R, Side, StoreUnavailable, Unit, answer, carry_out, is_outage

MOST_TRIES = 6
_PASSING = frozenset({"40001", "40P01"})
"""SQLSTATEs: serialization failure, deadlock."""
_CONFLICTS = _PASSING | {"23505"}
"""And unique violation: another side or process was first with the same row; what it wrote is seen the next time."""


class Line:
    """Units that wait for one writer. It takes all that wait, and answers them after their commit.

    `commit` returns each unit's outcome, and raises when the database took none of them.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Unit]], Awaitable[Sequence[Outcome]]],
        done: Callable[[int, float], None],
    ) -> None:
        self._commit = commit
        self._done = done
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
            units, self._waiting = self._waiting[:MOST_UNITS], self._waiting[MOST_UNITS:]
            began = loop.time()
            outcomes: Sequence[Outcome]
            try:
                outcomes = await self._commit(units)
            except Exception as error:
                failure = StoreUnavailable(str(getattr(error, "orig", error)))
                outcomes = [(unit, None, failure) for unit in units]
            else:
                self._done(len(units), loop.time() - began)
            answer(outcomes)


class OnPostgresql:
    """Two tasks that write, one a side, each on one connection at a time."""

    def __init__(self, location: Location, done: Callable[[int, float], None]) -> None:
        self._location = location
        self._engine: AsyncEngine | None = None
        self._lines = [Line(self._commit, done) for _ in Side]
        self._tasks: list[asyncio.Task[None]] = []

    def lock(self) -> None:
        """Any number of processes may share PostgreSQL."""

    async def start(self) -> None:
        """Begin to write."""
        self._engine = async_engine(self._location)
        self._tasks = [asyncio.create_task(line.run(), name="syncd-write") for line in self._lines]

    async def stop(self) -> None:
        """Commit what waits, then close."""
        for line in self._lines:
            line.stop()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._engine is not None:
            await self._engine.dispose()

    def put(self, unit: Unit) -> None:
        """Let a unit wait for its side's next commit."""
        self._lines[unit.side].put(unit)

    async def read(self, function: Callable[..., R], args: tuple[Any, ...]) -> R:
        """Run `function(conn, *args)` in a read-only transaction. Raises `StoreUnavailable`."""
        assert self._engine is not None
        try:
            async with self._engine.connect() as conn:
                await conn.exec_driver_sql("SET TRANSACTION READ ONLY")
                return await conn.run_sync(function, *args)
        except Exception as error:
            if is_outage(error):
                raise StoreUnavailable(str(getattr(error, "orig", error))) from error
            raise

    async def _commit(self, units: Sequence[Unit]) -> list[Outcome]:
        try:
            results = await self._carried_out(units)
            return [(unit, result, None) for unit, result in zip(units, results, strict=True)]
        except Exception as error:
            if is_outage(error):
                raise
            if len(units) == 1:
                return [await self._tried_again(units[0], error)]
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
                return await conn.run_sync(carry_out, units)
        except Exception as error:
            if is_outage(error):
                # The pool does not see the driver's own errors, and would hand a dead connection out again.
                await conn.invalidate(error)
            raise
        finally:
            await conn.close()

    async def _tried_again(self, unit: Unit, error: Exception) -> Outcome:
        for tries in range(MOST_TRIES):
            if _state(error) not in _CONFLICTS:
                break
            await asyncio.sleep(random.random() * 0.01 * tries)
            try:
                return unit, (await self._carried_out([unit]))[0], None
            except Exception as again:
                if is_outage(again):
                    raise
                error = again
        if _state(error) in _PASSING:
            # Still somebody is in the way: a local fault, which is no reason to give an event or an answer up.
            return unit, None, StoreUnavailable("other transactions kept being first")
        return unit, None, error


def _state(error: Exception) -> str:
    told = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(told, "sqlstate", ""))

"""The store as the rest of syncd uses it: one writer with group commit, and readers apart (design §13).

A unit of work is a *handler* and an *item*. The writer takes all units that wait, hands the items of one handler to it
together, commits once, and only then answers all of them. There is no timer: a lone unit is committed at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from syncd.store.database import Location
from syncd.store.migrations import touch
from syncd.store.on_postgresql import OnPostgresql
from syncd.store.on_sqlite import OnSqlite
from syncd.store.outage import Outage
from syncd.store.units import Handler, I, R, Side, StoreUnavailable, Unit, call

__all__ = ["Handler", "Observer", "Side", "Store", "StoreUnavailable"]


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
        self.outage = Outage(location, self.touch)
        kind = OnSqlite if location.kind == "sqlite" else OnPostgresql
        self._backend: OnSqlite | OnPostgresql = kind(location, self.done, self.outage.failed)
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
        await self._backend.start()

    async def stop(self) -> None:
        """Commit what was submitted, then close."""
        self._stopped = True
        self.outage.close()
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
        return await self.submit(call, (function, args))

    async def touch(self) -> None:
        """Commit something that changes nothing, to see whether that works. Raises `StoreUnavailable`."""
        await self.write(touch)

    async def read(self, function: Callable[..., R], *args: Any) -> R:
        """Run `function(conn, *args)` on a reader, which cannot write.

        Raises `StoreUnavailable`, also while the database can be read and not written: nothing can come of it then.
        """
        if self.outage.reason:
            raise StoreUnavailable(self.outage.reason)
        return await self._backend.read(function, args)

    def done(self, units: int, seconds: float) -> None:
        """A batch was committed (called by the backend)."""
        self.commits += 1
        self.units += units
        if self.observer is not None:
            self.observer.committed(units, seconds)

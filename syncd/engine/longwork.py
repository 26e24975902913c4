"""Work that operators ask for and that outlives a process: on record, done by one, gone on with by the next."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from datetime import timedelta

import structlog
from sqlalchemy import Connection

from syncd.failpoints import unit
from syncd.model.operation import Asked, Done, Kind
from syncd.store import operations
from syncd.store.writer import Store, StoreUnavailable

log = structlog.get_logger("syncd.operations")

LOOK_SECONDS = 2.0
"""How often a shared database is read for work that nobody here was asked for."""


class LongWork(ABC):
    """Carries out what is on record of one kind, one at a time in each process.

    `lease`: without a word on it for so long, another process goes on.
    """

    def __init__(self, store: Store, kind: Kind, lease: timedelta) -> None:
        self._store = store
        self._kind = kind
        self._lease = lease
        self._asked = asyncio.Event()

    def wake(self) -> None:
        """One is on record."""
        self._asked.set()

    async def run(self) -> None:
        """Carry out what is asked, and what a dead process has left, until cancelled."""
        while True:
            self._asked.clear()
            try:
                # Looked for first: an idle daemon writes nothing.
                there = await self._store.read(operations.any_long, (self._kind,))
                alone = not self._store.shared
                asked = await self._store.write(_begun, self._kind, self._lease, alone) if there else None
                if asked is not None:
                    await self._whatever_happens(asked)
                    continue
            except StoreUnavailable:
                pass  # It is on record, like all else.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), LOOK_SECONDS)

    async def _whatever_happens(self, asked: Asked) -> None:
        try:
            await self._carry_out(asked)
        except StoreUnavailable:
            raise
        except Exception as error:
            # A defect must end neither the daemon nor, at its next start, that one.
            log.exception("operation.failed", operation=asked.id)
            told = f"a defect, told in the log as `operation.failed`: {type(error).__name__}"
            await self._conclude(Done(asked.id, asked.wish, asked.by, False, told))

    @abstractmethod
    async def _carry_out(self, asked: Asked) -> None:
        """Do it to its end, `_conclude` included. Raises `StoreUnavailable`: then it is gone on with."""

    @abstractmethod
    async def _conclude(self, done: Done) -> None:
        """Put its end on record."""


@unit("begin_long")
def _begun(conn: Connection, kind: Kind, lease: timedelta, alone: bool) -> Asked | None:
    return operations.take_long(conn, (kind,), lease, alone)

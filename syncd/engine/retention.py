"""Removes what was kept long enough, in small steps that live traffic does not feel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from syncd.model.clock import Clock
from syncd.store import media, retention
from syncd.store.writer import Store, StoreUnavailable

log = structlog.get_logger("syncd.retention")

EVERY = 3600.0
"""Seconds between sweeps."""
PAGE = 200
"""Rows in one step."""
PAUSE = 0.05
"""Seconds between steps."""

Remove = Callable[[Connection, datetime, str, int], str | None]


class Retention:
    """`bodies`: how long texts and files are kept; `events`: how long raw events are."""

    def __init__(self, store: Store, *, bodies: timedelta, events: timedelta, clock: Clock) -> None:
        self._store = store
        self._bodies = bodies
        self._events = events
        self._clock = clock
        self._done: dict[str, str] = {}
        """How far each table has been cleared since the start."""

    async def run(self) -> None:
        """Now and once an hour, until cancelled."""
        while True:
            try:
                await self.sweep()
            except StoreUnavailable:
                pass  # The store tells of its outages itself.
            await asyncio.sleep(EVERY)

    async def sweep(self) -> None:
        """Remove all whose time is over now. May be interrupted anywhere, and repeated. Raises `StoreUnavailable`."""
        now = self._clock()
        await self._clear("message", retention.remove_texts, now - self._bodies)
        await self._clear("event", retention.remove_events, now - self._events)
        removed = 0
        while found := await self._store.write(media.remove_older, now - self._bodies, PAGE):
            removed += found
            await asyncio.sleep(PAUSE)
        log.info("retention.swept", files=removed)

    async def _clear(self, table: str, remove: Remove, before: datetime) -> None:
        while True:
            after = await self._store.write(remove, before, self._done.get(table, ""), PAGE)
            if after is None:
                return
            self._done[table] = after
            await asyncio.sleep(PAUSE)

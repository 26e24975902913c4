"""Tells the service manager that the daemon works: its event loop turns, and its database takes what it is given."""

from __future__ import annotations

import asyncio
import os

from syncd.daemon.notify import WATCHDOG, notify
from syncd.store.writer import Store, StoreUnavailable


def interval() -> float | None:
    """Seconds within which the manager wants to hear of us (`sd_watchdog_enabled(3)`); None where it does not."""
    told, whom = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not told.isdecimal() or not int(told) or whom not in ("", str(os.getpid())):
        return None
    return int(told) / 1_000_000


class Watchdog:
    """Feeds the manager's watchdog three times in each interval, as long as a write is committed in time.

    A database that is away is an outage like any other at first; where it lasts longer than the interval, the manager
    starts the daemon anew, which then waits for the database and is not shown as active.
    """

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self._seconds = seconds

    async def run(self) -> None:
        """Feed it until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._seconds / 3):
                    await self._store.touch()
            except (StoreUnavailable, TimeoutError):
                pass
            else:
                notify(WATCHDOG)
            await asyncio.sleep(self._seconds / 3)

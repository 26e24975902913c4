"""An event loop whose time stands still while there is work, and passes only when it is told to.

What the engine does after a step of the machine does not depend on how fast this computer is: a step ends when nothing
is left to do but to wait for a time. Sockets and threads are real; whoever uses one says so by `working`.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

R = TypeVar("R")

PATIENCE = 0.03
"""Seconds without news from a database, after which short sleeps within it may pass."""
MOST_MOMENTS = 20_000
"""Moments at which something is due within one stretch of time: more is an engine that runs in a circle."""


class Stuck(Exception):
    """Somebody waits for something that nobody will do."""


class _Selector(selectors.DefaultSelector):
    loop: Clockwork

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.loop.at_work:
            ready = super().select(PATIENCE)
            if not ready:
                self.loop.elapsed += PATIENCE
            return ready
        self.loop.nothing_to_do(timeout)
        return []


class Clockwork(asyncio.SelectorEventLoop):
    """The loop. `elapsed` is its time, in seconds."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.at_work = 0
        """Requests to a database under way."""
        self._waiting_for_quiet: list[asyncio.Future[float | None]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """The time of all timers."""
        return self.elapsed

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """A task that is kept to the end: those of a dead process wait for ever."""
        task = super().create_task(coro, **options)
        self._tasks.append(task)
        return task

    @contextmanager
    def working(self) -> Iterator[None]:
        """Something outside this loop is asked for: time stands still until it has answered."""
        self.at_work += 1
        try:
            yield
        finally:
            self.at_work -= 1

    async def work(self, what: Awaitable[R]) -> R:
        """Wait for something outside this loop."""
        with self.working():
            return await what

    def nothing_to_do(self, until_next: float | None) -> None:
        """All wait for a time (called by the selector)."""
        if self._waiting_for_quiet:
            waiting, self._waiting_for_quiet = self._waiting_for_quiet, []
            for future in waiting:
                if not future.done():
                    future.set_result(until_next)
        elif until_next is None:
            raise Stuck("nothing is under way, and no time is waited for")
        else:
            self.elapsed += until_next

    async def quiet(self) -> float | None:
        """Wait until there is nothing to do; the seconds until the next thing is due, None where nothing is."""
        future: asyncio.Future[float | None] = self.create_future()
        self._waiting_for_quiet.append(future)
        return await future

    async def pass_time(self, seconds: float) -> None:
        """Let so much time pass: whatever is due meanwhile is done at its time, and to its end."""
        until = self.elapsed + seconds
        for _ in range(MOST_MOMENTS):
            wait = await self.quiet()
            if wait is None or self.elapsed + wait > until:
                self.elapsed = max(until, self.elapsed)
                await self.quiet()
                return
            self.elapsed += wait
        raise Stuck(f"{MOST_MOMENTS} things were due within {seconds} seconds")

"""Waiting for something to be so, with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable

GAP = 0.01
PATIENCE = 60.0
"""Seconds, enough for the slowest machine. Whoever means "at once" says what that is."""


async def until(
    so: Callable[[], object | Awaitable[object]],
    what: str | Callable[[], str],
    *,
    seconds: float = PATIENCE,
    gap: float = GAP,
) -> None:
    """Return as soon as `so()` is true. Fails after `seconds`, saying `what` was waited for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        found = so()
        if isawaitable(found):
            found = await found
        if found:
            return
        if loop.time() > deadline:
            raise AssertionError(f"after {seconds:g} s still not: {what() if callable(what) else what}")
        await asyncio.sleep(gap)

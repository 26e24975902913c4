"""The gate before one account: its rate, and its pauses."""

from __future__ import annotations

import asyncio

from aiolimiter import AsyncLimiter


class Gate:
    """Lets requests through at the account's rate, none while it is shut. First come, first served."""

    def __init__(self, rate: float) -> None:
        self._limiter = AsyncLimiter(rate, 1.0) if rate >= 1 else AsyncLimiter(1.0, 1.0 / rate)
        self._turn = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self._reopening: asyncio.TimerHandle | None = None
        self._held = False
        self.shut_until = 0.0
        """By the event loop's clock."""

    def hold(self, held: bool) -> None:
        """Let nothing through, whatever else happens, until `hold(False)`."""
        self._held = held
        if held:
            self._open.clear()
        elif self._reopening is None:
            self._open.set()

    async def passed(self) -> None:
        """Wait for this request's turn."""
        # One at a time: the limiter lets those who wait for it overtake each other.
        async with self._turn:
            while True:
                await self._open.wait()
                await self._limiter.acquire()
                if self._open.is_set():
                    return

    def shut(self, seconds: float) -> None:
        """Let nothing through for so long; a longer pause that runs already stays."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if until <= self.shut_until and self._reopening is not None:
            return
        self.shut_until = until
        self._open.clear()
        if self._reopening is not None:
            self._reopening.cancel()
        self._reopening = loop.call_at(until, self.open)

    def open(self) -> None:
        """End a pause."""
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        self.shut_until = 0.0
        if not self._held:
            self._open.set()

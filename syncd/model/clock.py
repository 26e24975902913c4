"""Clock and ids as values that are passed in, so that tests decide what time it is and what is drawn."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Ids:
    """Makes ids that rise within one process: 12 hex of milliseconds, 4 of count, 8 that are drawn once a process.

    Unique everywhere as far as no two processes draw the same `tag` in the same millisecond. Not secret.
    """

    def __init__(self, clock: Clock = utc_now, tag: str | None = None) -> None:
        self._clock = clock
        self._tag = tag if tag is not None else secrets.token_hex(4)
        self._last = 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            stamp = int(self._clock().timestamp() * 1000) << 16
            self._last = max(self._last + 1, stamp)
            return f"{self._last:016x}{self._tag}"

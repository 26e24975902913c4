"""Until when a request may begin: a process that was stopped for longer than a lease must not go on (G3, G4).

Whoever took its lane over in the meantime is fenced in the tables; only the process itself can keep its bytes back.
"""

from __future__ import annotations

import time
from contextvars import ContextVar


class Deadline:
    """A time that moves on while the lease is renewed."""

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at = at


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def now() -> float:
    """Seconds, by a clock that goes on while the process is stopped, and while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def put(deadline: Deadline | None) -> None:
    """Requests of this task begin before it, or not at all; None: at any time."""
    _current.set(deadline)


def is_over() -> bool:
    """Whether it is too late to begin."""
    deadline = _current.get()
    return deadline is not None and now() > deadline.at

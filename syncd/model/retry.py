"""What the end of an attempt means for its delivery and its lane (design §8.4)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from syncd.model.sending import (
    AuthFailed,
    EndRefused,
    Gone,
    MaybeSent,
    NotSent,
    RateLimited,
    Rejected,
    SendError,
    Sent,
)

FIRST_WAIT = 0.5
"""Seconds: ceiling of the wait after the first failed attempt; it doubles with each."""
LONGEST_WAIT = 60.0
"""Seconds."""
END_WAIT = 60.0
"""Seconds between attempts while an end is refused."""
MOST_ATTEMPTS = 50
"""A delivery is given up after so many attempts, if `GIVE_UP_AFTER` has passed too."""
GIVE_UP_AFTER = timedelta(hours=48)
SETTLE = timedelta(seconds=30)
"""How long a lane waits for a doubt to be settled (design §14)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is written for a delivery after an attempt."""

    state: str
    open: bool
    """Its lane may not go past it."""
    wait: float | None
    """Seconds that the lane waits; None: go on at once."""
    why: str
    counts: bool = True
    """The attempt counts."""


def backoff(attempts: int, draw: Callable[[], float]) -> float:
    """Seconds to wait after so many attempts: exponential, full jitter. `draw` gives a number in [0, 1)."""
    ceiling = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempts - 1, 20))
    return 0.05 + draw() * ceiling


def verdict(result: Sent | SendError, *, attempts: int, waited: timedelta, draw: Callable[[], float]) -> Verdict:
    """Judge one attempt, the `attempts`-th of its delivery, which was made so long ago (`waited`)."""
    match result:
        case Sent():
            return Verdict("sent", False, None, "")
        case RateLimited():
            wait = result.retry_after if result.retry_after is not None else max(1.0, backoff(attempts, draw))
            return Verdict("ready", True, wait, f"rate limited: {result.reason}", counts=False)
        case AuthFailed():
            return Verdict("ready", True, 1.0, f"account: {result.reason}", counts=False)
        case EndRefused():
            return Verdict("ready", True, END_WAIT, f"its end: {result.reason}", counts=False)
        case Rejected() | Gone():
            return Verdict("dead", False, None, result.reason)
        case MaybeSent():
            return Verdict("unknown", True, 1.0, result.reason)
        case NotSent() if result.tries is not None and attempts >= result.tries:
            return Verdict("dead", False, None, f"{result.reason} (after {attempts} tries)")
        case NotSent() if attempts >= MOST_ATTEMPTS and waited >= GIVE_UP_AFTER:
            hours = int(waited.total_seconds() // 3600)
            return Verdict("dead", False, None, f"given up after {attempts} tries in {hours} hours: {result.reason}")
        case _:
            return Verdict("ready", True, backoff(attempts, draw), result.reason)


def too_old(said_at: datetime, now: datetime, max_age: timedelta) -> Verdict | None:
    """The end of a message that was said longer ago than its link carries messages; None where it is young enough."""
    if now - said_at <= max_age:
        return None
    return Verdict("dead", False, None, f"older than max_age: said {said_at:%Y-%m-%d %H:%M} UTC")


def class_of(result: Sent | SendError) -> str:
    """The name of the result's class as it stands in `attempt.class` and in metrics, e.g. `maybe_sent`."""
    return _snake(type(result).__name__)


@cache
def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()

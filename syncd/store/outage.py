"""An outage of the database: told once when it begins and once when it ends, whoever notices it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable

import structlog

from syncd.store.database import DatabaseError, Location
from syncd.store.files import FilesChanged
from syncd.store.units import StoreUnavailable, is_outage, original, reason, sqlstate

log = structlog.get_logger("syncd.store")

CALM_SECONDS = 1.0
"""How long nothing may have failed before the outage is over: of several connections some work before the others."""
TRY_SECONDS = 0.5
"""Between tries to write, so that the end is noticed also when nobody has anything to write."""

MOST_REFUSALS = 20

_FULL = "make room on its disk"
_DENIED = "let syncd's user write to it"
_ADVICE_SQLITE = {
    3: _DENIED,
    5: "another program has it locked: end that",
    8: _DENIED,
    10: "look at its disk: it may be full or broken",
    11: "stop syncd, then restore a backup, or save what is left with `sqlite3 OLD .recover | sqlite3 NEW`",
    13: _FULL,
    1: "run `syncd migrate` with this version",
    14: "put it back, or correct database.url",
    26: "stop syncd, then restore a backup, or correct database.url",
}
_POOLER = "PgBouncer must keep prepared statements: session mode, or transaction mode of 1.21 and newer"
_ADVICE_POSTGRESQL = {
    "25006": "it is read-only: make it writable, or name the primary in database.url",
    "26000": _POOLER,
    "28": "correct user and password in database.url",
    "3D": "create it, or correct database.url",
    "42P05": _POOLER,
    "42": "run `syncd migrate` with this version, and give its user all rights on its tables",
    "53100": _FULL,
    "53300": "give it more connections",
    "55P03": "another program has it locked: end that",
    "57014": "raise its statement_timeout",
    "XX": "look at its log; it may need to be restored from a backup",
}


def advice(location: Location, error: BaseException) -> str:
    """What an administrator can do about an error of the database; may be empty."""
    told = original(error)
    if isinstance(told, FilesChanged):
        return "put it back, or restart syncd to use what is there now"
    if isinstance(told, sqlite3.Error):
        return _ADVICE_SQLITE.get(getattr(told, "sqlite_errorcode", 0) & 0xFF, "")
    state = sqlstate(told)
    for start, words in _ADVICE_POSTGRESQL.items():
        if state.startswith(start):
            return words
    return "start it, or correct database.url" if location.kind == "postgresql" and not state else ""


def passes(location: Location, error: BaseException) -> bool:
    """Whether waiting may help, before anything was opened: not where something must be corrected first."""
    if location.kind == "sqlite":
        return getattr(original(error), "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    return is_outage(error)


def unusable(location: Location, error: BaseException) -> DatabaseError:
    """What to tell where waiting does not help."""
    what_to_do = advice(location, error)
    return DatabaseError(f"{location} cannot be used: {reason(error)}" + (f": {what_to_do}" if what_to_do else ""))


class Outage:
    """Whether the database takes what it is given; by the event loop's thread only."""

    def __init__(self, location: Location, write: Callable[[], Awaitable[object]]) -> None:
        self.reason = ""
        """Why it does not, by what it said last; empty while it does."""
        self._location = location
        self._write = write
        self._failed_at = 0.0
        self._back_at = 0.0
        self._trying: asyncio.Task[None] | None = None
        self._refusals: set[str] = set()
        self._closed = False

    def failed(self, error: BaseException, began: float) -> None:
        """Something that was begun at this time could not be written or read, through no fault of its own."""
        if not is_outage(error):
            self._refused(error)
            return
        if not self.reason and began < self._back_at:
            return  # Of the outage that is over: one connection may notice the end ten seconds before another.
        loop = asyncio.get_running_loop()
        self._failed_at = loop.time()
        known, self.reason = self.reason, reason(error)
        if known:
            return
        log.warning(
            "database.away", database=str(self._location), reason=self.reason, advice=advice(self._location, error)
        )
        if not self._closed:
            self._trying = loop.create_task(self._try(), name="database-away")

    def _worked(self) -> None:
        """A write of our own was committed. Others say less: one table may be locked, and the rest not."""
        now = asyncio.get_running_loop().time()
        if self.reason and now - self._failed_at >= CALM_SECONDS:
            self.reason, self._back_at = "", now
            log.info("database.back", database=str(self._location))

    def close(self) -> None:
        """Try no more."""
        self._closed = True
        if self._trying is not None:
            self._trying.cancel()

    def _refused(self, error: BaseException) -> None:
        """The rest works: what needs this is tried again and again, and told once."""
        why = reason(error)
        if why not in self._refusals and len(self._refusals) < MOST_REFUSALS:
            self._refusals.add(why)
            log.error("database.refuses", reason=why, advice=advice(self._location, error))

    async def _try(self) -> None:
        while self.reason:
            await asyncio.sleep(TRY_SECONDS)
            try:
                await self._write()
            except StoreUnavailable:
                continue
            self._worked()

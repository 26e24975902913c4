"""Catching up with a channel by its list: the safety net behind the webhooks (page §5).

The order and the boundaries of the list are not documented, so nothing depends on them: a poll reads every page of a
span of time that overlaps the last one, and the cursor moves only after that. A span with more rows than one poll may
hold is cut at `endAt` and read piece by piece.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from syncd.engine.platform import Page, RawEvent
from syncd.model.sending import NotSent
from syncd.platforms.bird import inbound
from syncd.platforms.bird.api import Api, Pages
from syncd.platforms.bird.wire import instant, stamp, text

OVERLAP = timedelta(minutes=15)
"""How far behind the newest message known a poll begins: rows may become visible late."""
MOST_PAGES = 50
"""Pages that one poll reads: it bounds the memory of a poll (G9)."""
_HISTORY_PAGES = 20_000
_HISTORY_BYTES = 4 << 30
"""Only against a list without end: each page is let go before the next one is read."""
_SEAM = timedelta(seconds=1)
"""How far pieces of a span overlap: whether `startAt` and `endAt` include their instant is not documented."""
_SHORTEST = timedelta(seconds=4)
_NO_TIME = datetime.min.replace(tzinfo=UTC)


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a channel has been read."""

    high: datetime
    """`createdAt` of the newest message that was handed over."""
    floor: datetime
    """When reading began: what was said earlier is never imported."""
    since: datetime | None = None
    """Where the next piece of a long span begins."""
    span: float | None = None
    """Seconds of the next piece; None: up to now."""
    stuck: str | None = None
    """Hash of what was handed over from a list that looped."""

    def text(self) -> str:
        """The cursor as the engine keeps it."""
        return msgspec.json.encode(self).decode()


_CURSOR = msgspec.json.Decoder(Cursor)


async def poll(api: Api, end: str, cursor: str | None, now: datetime) -> Page:
    """All messages of contacts since `cursor`, oldest first. Raises a `SendError`; the cursor then stays.

    A list that gives a page token twice is handed over as far as it could be read, without moving on; when that brings
    nothing new, `NotSent` says so.
    """
    if cursor is None:
        return Page((), Cursor(high=now, floor=now).text())
    at = _decoded(cursor)
    start = at.since or max(at.high - OVERLAP, at.floor)
    until = start + timedelta(seconds=at.span) if at.span is not None else None
    if until is not None and until >= now:
        until = None
    params = [("direction", "incoming"), ("startAt", stamp(start))]
    if until is not None:
        params.append(("endAt", stamp(until)))
    pages = Pages(api, api.messages(end), params, most_pages=MOST_PAGES)
    rows: list[tuple[datetime, str, RawEvent]] = []
    async for page in pages.read():
        rows += [row for value in page if (row := _row(value, end, at.floor)) is not None]
    if pages.bounded:
        return Page((), _shorter(at, start, until or now).text(), complete=False)
    rows.sort(key=lambda row: row[:2])
    events = tuple(event for _, _, event in rows)
    if pages.looped:
        stuck = hashlib.sha256("\n".join(sorted({event.key for event in events})).encode()).hexdigest()[:16]
        if stuck == at.stuck or not events:
            raise NotSent("Bird's list of messages repeats its page token and does not come to an end")
        return Page(events, msgspec.structs.replace(at, stuck=stuck).text())
    # A platform's clock that runs ahead must not carry the cursor past messages that are yet to come.
    high = max(at.high, min(rows[-1][0], now + OVERLAP)) if rows else at.high
    if until is None:
        return Page(events, Cursor(high=high, floor=at.floor).text())
    seconds = (until - start).total_seconds() * (2 if pages.count * 2 <= MOST_PAGES else 1)
    return Page(
        events,
        Cursor(high=high, floor=at.floor, since=until - _SEAM, span=seconds).text(),
        complete=False,
    )


async def history(api: Api, end: str, since: datetime, until: datetime) -> AsyncIterator[tuple[RawEvent, ...]]:
    """Every row of a span of time, a page at a time, in the list's own order. Raises a `SendError`.

    `NotSent` where the list cannot be read to its end, after the pages that could be.
    """
    params = [("startAt", stamp(since)), ("endAt", stamp(until))]
    pages = Pages(api, api.messages(end), params, most_pages=_HISTORY_PAGES, most_bytes=_HISTORY_BYTES)
    async for page in pages.read():
        yield tuple(inbound.polled(row, end)[1] for row in page)
    if pages.looped or pages.bounded:
        raise NotSent("Bird's list of messages does not come to an end: ask for a shorter span of time")


def _decoded(cursor: str) -> Cursor:
    try:
        return _CURSOR.decode(cursor)
    except msgspec.MsgspecError:
        raise NotSent("the stored cursor of this channel cannot be read; remove its row from table `cursor`") from None


def _row(value: Any, end: str, floor: datetime) -> tuple[datetime, str, RawEvent] | None:
    message, event = inbound.polled(value, end)
    created = instant(message.created_at)
    if message.direction == "outgoing" or (created is not None and created < floor):
        return None
    # A row without a time cannot be known to be old: handed over, and sorted where it never moves the cursor.
    return created or _NO_TIME, text(message.id) or "", event


def _shorter(at: Cursor, start: datetime, until: datetime) -> Cursor:
    """The cursor for half the span. Raises `NotSent` where no shorter one makes sense."""
    span = until - start
    if span <= _SHORTEST:
        raise NotSent(f"Bird lists more than {MOST_PAGES} pages of messages within {span.total_seconds():.0f} seconds")
    return msgspec.structs.replace(at, since=start, span=span.total_seconds() / 2, stuck=None)

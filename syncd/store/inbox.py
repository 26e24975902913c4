"""Events: stored before they are acknowledged, once, whichever way and however often they come (G1, G2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from syncd.store.dialect import fetch, insert_new, update_rows
from syncd.store.schema import event


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event as it is stored."""

    id: str
    account: str
    key: str
    end: str
    via: str
    body: bytes
    received_at: datetime
    window: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """An event as it was stored."""

    id: str
    account: str
    key: str
    end: str
    body: bytes
    received_at: datetime
    conversation_id: str


_KEY = (event.c.account, event.c.key)
_COPY = (event.c.account, event.c.key, event.c.received_at)
_COUNTED = (event.c.id, event.c.account, event.c.key, event.c.copies)
_STORED = (
    event.c.id,
    event.c.account,
    event.c.key,
    event.c.end,
    event.c.body,
    event.c.received_at,
    event.c.conversation_id,
)
WAITS = event.c.state == text("'waiting'")
"""Written into the statement, so that both databases see that the partial index serves."""


def store(conn: Connection, arrivals: Sequence[Arrival]) -> set[str]:
    """Insert the events that are new, as `done`; the ids of those.

    Of the others the repetition is noted, unless it is a poll's: polls overlap, and find the same again and again.
    """
    known = _seen_lately(conn, [one for one in arrivals if one.window is not None])
    fresh: dict[tuple[str, str], Arrival] = {}
    repeated: list[tuple[str, str, datetime]] = []
    lately: dict[tuple[str, str], Arrival] = {}
    for one in arrivals:
        key = key_of(one)
        same = lately.get((one.account, one.key)) if one.window is not None else None
        if one.id in known:
            repeated.append((one.account, known[one.id], one.received_at))
        elif same is not None and one.window is not None and abs(one.received_at - same.received_at) < one.window:
            repeated.append((one.account, key_of(same), one.received_at))
        elif (one.account, key) in fresh:
            if one.via != "poll":
                repeated.append((one.account, key, one.received_at))
        else:
            fresh[one.account, key] = one
            lately[one.account, one.key] = one
    rows = [
        {
            "id": one.id,
            "account": one.account,
            "key": key,
            "end": one.end,
            "via": one.via,
            "body": one.body,
            "received_at": one.received_at,
            "state": "done",
            "reason": "",
            "copies": 1,
        }
        for (_, key), one in fresh.items()
    ]
    new = insert_new(conn, event, rows, ("account", "key"))
    repeated += [
        (account, key, one.received_at)
        for (account, key), one in fresh.items()
        if (account, key) not in new and one.via != "poll"
    ]
    _note_copies(conn, repeated)
    return {one.id for pair, one in fresh.items() if pair in new}


def _note_copies(conn: Connection, repeated: Sequence[tuple[str, str, datetime]]) -> None:
    times: dict[tuple[str, str], list[datetime]] = {}
    for account, key, at in repeated:
        times.setdefault((account, key), []).append(at)
    update_rows(
        conn,
        event,
        [
            {"id": row.id, "copies": row.copies + len(seen), "last_copy_at": max(seen)}
            for row in fetch(conn, _COUNTED, _KEY, times, order=(event.c.id,), lock=True)
            for seen in (times[row.account, row.key],)
        ],
    )


def key_of(arrival: Arrival) -> str:
    """The key that is unique for ever: a windowed one is told apart by the window that it falls into."""
    if arrival.window is None:
        return arrival.key
    return f"{arrival.key}@{_slot(arrival)}"


def note(conn: Connection, outcomes: Sequence[tuple[str, str, str, str | None]]) -> None:
    """Write what became of events: (id, state, reason, conversation)."""
    update_rows(
        conn,
        event,
        [
            {"id": one, "state": state, "reason": reason, "conversation_id": conversation_id}
            for one, state, reason, conversation_id in outcomes
        ],
    )


def waiting(conn: Connection, conversation_ids: set[str]) -> list[Stored]:
    """The events that wait in these conversations, in the order of arrival."""
    rows = fetch(
        conn,
        _STORED,
        (event.c.conversation_id,),
        sorted(conversation_ids),
        where=WAITS,
        order=(event.c.id,),
        lock=True,
    )
    return [Stored(*row) for row in rows]


def fail_first_waiting(conn: Connection, conversation_id: str, reason: str) -> None:
    """The first event that waits in this conversation cannot be translated: it is kept, and waits no longer."""
    first = waiting(conn, {conversation_id})[:1]
    note(conn, [(one.id, "failed", reason, conversation_id) for one in first])


def waiting_conversations(conn: Connection) -> set[str]:
    """The conversations in which an event waits."""
    return {row.conversation_id for row in conn.execute(_ALL_WAITING)}


_ALL_WAITING = event.select().with_only_columns(event.c.conversation_id).where(WAITS).distinct()


def _seen_lately(conn: Connection, arrivals: Sequence[Arrival]) -> dict[str, str]:
    """Of windowed events those that an equal one came before, within the window: id -> that one's key."""
    candidates = {(one.account, f"{one.key}@{_slot(one) - back}") for one in arrivals for back in (0, 1)}
    there = {(row.account, row.key): row.received_at for row in fetch(conn, _COPY, _KEY, candidates)}
    found = {}
    for one in arrivals:
        assert one.window is not None
        for back in (0, 1):
            key = f"{one.key}@{_slot(one) - back}"
            at = there.get((one.account, key))
            if at is not None and one.received_at - at < one.window:
                found[one.id] = key
    return found


def _slot(arrival: Arrival) -> int:
    assert arrival.window is not None
    return int(arrival.received_at.timestamp() / arrival.window.total_seconds())

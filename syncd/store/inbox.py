"""Events: stored before they are acknowledged, once, whichever way and however often they come (G1, G2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, bindparam, case, exists, func, or_, select, text, update

from syncd.failpoints import unit
from syncd.model.decide import USER
from syncd.model.outcome import Outcome
from syncd.store.dialect import fetch, insert_new, update_rows
from syncd.store.locks import apart
from syncd.store.schema import desk_user, event, mapping


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
    via: str


_KEY = (event.c.account, event.c.key)
_COPY = (event.c.account, event.c.key, event.c.received_at)
_COUNTED = (event.c.id, event.c.account, event.c.key, event.c.copies, event.c.via, event.c.received_at)
_STORED = (
    event.c.id,
    event.c.account,
    event.c.key,
    event.c.end,
    event.c.body,
    event.c.received_at,
    event.c.conversation_id,
    event.c.via,
)
Late = tuple[str, float]
"""The account of a webhook, and how many seconds before it a poll found the event."""

WAITS = event.c.state == text("'waiting'")
"""Written into the statement, so that both databases see that the partial index serves."""
_PARKED = event.c.state == text("'parked'")
_FOR_USER = event.c.parked_for.startswith(USER)
_USER_IS_KNOWN = _FOR_USER & exists().where(
    desk_user.c.account == event.c.account,
    desk_user.c.userid == func.substr(event.c.parked_for, len(USER) + 1),
)
_MESSAGE_IS_KNOWN = exists().where(mapping.c.account == event.c.account, mapping.c.messageid == event.c.parked_for)
_PARKED_AND_NO_STRANGERS = _PARKED & or_(~_FOR_USER, _USER_IS_KNOWN)

_others = event.alias("others")
_TAKE_PLACE = (
    update(event)
    .where(event.c.id == bindparam("event_id"), event.c.place.is_(None))
    .values(
        place=select(func.coalesce(func.max(_others.c.place), 0) + 1)
        .where(_others.c.conversation_id == event.c.conversation_id, _others.c.state == text("'waiting'"))
        .scalar_subquery()
    )
)
"""Behind all that wait in its conversation; an event that has a place keeps it."""


def store(conn: Connection, arrivals: Sequence[Arrival]) -> tuple[set[str], list[Late]]:
    """Insert the events that are new, as `done`; the ids of those, and the webhooks that a poll was before.

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
    return {one.id for pair, one in fresh.items() if pair in new}, _note_copies(conn, repeated)


def _note_copies(conn: Connection, repeated: Sequence[tuple[str, str, datetime]]) -> list[Late]:
    times: dict[tuple[str, str], list[datetime]] = {}
    for account, key, at in repeated:
        times.setdefault((account, key), []).append(at)
    rows = fetch(conn, _COUNTED, _KEY, times, order=(event.c.id,), lock=True)
    update_rows(
        conn,
        event,
        [
            {"id": row.id, "copies": row.copies + len(seen), "last_copy_at": max(seen)}
            for row in rows
            for seen in (times[row.account, row.key],)
        ],
    )
    # A poll's own repetitions are not counted, so the first that is comes by webhook.
    first = [row for row in rows if row.via == "poll" and row.copies == 1]
    return [
        (row.account, max(0.0, (min(times[row.account, row.key]) - row.received_at).total_seconds())) for row in first
    ]


def key_of(arrival: Arrival) -> str:
    """The key that is unique for ever: a windowed one is told apart by the window that it falls into."""
    if arrival.window is None:
        return arrival.key
    return f"{arrival.key}@{_slot(arrival)}"


def note(conn: Connection, outcomes: Mapping[str, Outcome]) -> None:
    """Write what became of events, by their ids."""
    update_rows(
        conn,
        event,
        [
            {
                "id": one,
                "state": outcome.state,
                "reason": outcome.reason,
                "conversation_id": outcome.conversation_id,
                "parked_for": outcome.parked_for,
            }
            for one, outcome in outcomes.items()
        ],
    )
    for one, outcome in outcomes.items():
        if outcome.state == "waiting":
            conn.execute(_TAKE_PLACE, {"event_id": one})


def parked(conn: Connection, names: set[tuple[str, str]]) -> list[Stored]:
    """The events that came before these messages, and those of these users, as soon as they are known.

    `names` are pairs of account and what the events are parked for: the platform's id of a message, or a user's name.
    """
    rows = fetch(
        conn,
        _STORED,
        (event.c.account, event.c.parked_for),
        names,
        where=_PARKED_AND_NO_STRANGERS,
        order=(event.c.id,),
        lock=True,
    )
    return [Stored(*row) for row in rows]


def any_parked(conn: Connection) -> bool:
    """Whether an event waits for its message, or for its author to be known."""
    return conn.execute(select(event.c.id).where(_PARKED).limit(1)).first() is not None


def accounts_with_strangers(conn: Connection) -> set[str]:
    """The accounts with an event whose author is not known."""
    return set(conn.execute(select(event.c.account).where(_PARKED, _FOR_USER).distinct()).scalars())


def parked_and_found(conn: Connection, limit: int, only: Collection[str] | None = None) -> list[Stored]:
    """Of the parked events the first whose message, or whose author, is known now; `only` of those with these ids.

    On PostgreSQL it waits for a process that has some of them in hand, and leaves those out: they are said in order.
    """
    found = _found(*_STORED).limit(limit)
    if only is not None:
        found = found.where(event.c.id.in_(only))
    return [Stored(*row) for row in conn.execute(found.with_for_update())]


def found_parked(conn: Connection, limit: int) -> list[str]:
    """The ids of the same."""
    return list(conn.execute(_found(event.c.id).limit(limit)).scalars())


def _found(*columns: Any) -> Select[Any]:
    # Not by the bare id: to spare the sorting of a few, SQLite would read all events there are in that order.
    return select(*columns).where(_PARKED, or_(_MESSAGE_IS_KNOWN, _USER_IS_KNOWN)).order_by(event.c.id.concat(""))


@apart
@unit("fail_parked")
def fail_parked(conn: Connection, event_id: str, reason: str) -> None:
    """A parked event cannot be translated: it is kept, and waits no longer."""
    conn.execute(
        update(event).where(event.c.id == event_id, _PARKED).values(state="failed", reason=reason, parked_for=None)
    )


@apart
@unit("give_up_parked")
def give_up_parked(conn: Connection, before: datetime) -> int:
    """Events whose message did not come, or whose author nobody told of, wait no longer; how many still do."""
    why = case((_FOR_USER, ": the desk told of no such user"), else_=", which never came")
    conn.execute(
        update(event)
        .where(_PARKED, event.c.received_at < before)
        .values(state="ignored", reason=event.c.reason + why, parked_for=None)
    )
    return int(conn.execute(select(func.count()).select_from(event).where(_PARKED)).scalar_one())


def waiting(conn: Connection, conversation_ids: set[str]) -> list[Stored]:
    """The events that wait in these conversations, in the order in which they were stored."""
    rows = fetch(
        conn,
        _STORED,
        (event.c.conversation_id,),
        sorted(conversation_ids),
        where=WAITS,
        order=(event.c.place, event.c.id),
        lock=True,
    )
    return [Stored(*row) for row in rows]


def add_waiting(conn: Connection, arrivals: Sequence[tuple[Arrival, str]]) -> None:
    """Insert events of syncd's own, each to be translated in its conversation; those known already are left out."""
    rows = [
        {
            "id": one.id,
            "account": one.account,
            "key": one.key,
            "end": one.end,
            "via": one.via,
            "body": one.body,
            "received_at": one.received_at,
            "state": "waiting",
            "reason": "",
            "conversation_id": conversation_id,
            "copies": 1,
        }
        for one, conversation_id in arrivals
    ]
    new = insert_new(conn, event, rows, ("account", "key"))
    for one, _ in arrivals:
        if (one.account, one.key) in new:
            conn.execute(_TAKE_PLACE, {"event_id": one.id})


@apart
@unit("fail_waiting")
def fail_first_waiting(conn: Connection, conversation_id: str, reason: str) -> None:
    """The first event that waits in this conversation cannot be translated: it is kept, and waits no longer."""
    first = waiting(conn, {conversation_id})[:1]
    note(conn, {one.id: Outcome("failed", reason, conversation_id) for one in first})


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

"""What is erased of a contact, in small transactions; each may be repeated, and whoever goes on finds what is left.

First the contact's conversations get a token in place of the number, in the transaction in which all that is to be sent
is dropped: whatever the contact says from then on makes a new conversation, which is nobody's to erase. Rows stay, so
that counts do; so do ids and keys, so that a late copy of an event is still known (G2, G5).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, delete, exists, or_, select, text, update

from syncd.failpoints import unit
from syncd.model.contact import FORGOTTEN
from syncd.model.finding import Finder, is_forgotten, words
from syncd.model.operation import Done, Kind
from syncd.store import dialect, media, operations
from syncd.store.dialect import fetch, is_postgresql
from syncd.store.inbox import WAITS
from syncd.store.locks import apart, hold
from syncd.store.schema import attempt, conversation, delivery, event, lane, mapping, message, operation
from syncd.store.schema import session as sessions

PAGE = 200
"""Rows in one step."""
MESSAGES = 30
"""Messages in one step, for each has rows in several tables."""
UNANSWERED = timedelta(seconds=60)
"""A send or an opening of which nothing was recorded for so long is a dead process's."""
REASON = "forgotten"
LEASE = timedelta(seconds=10)
"""Without a step for so long, another process goes on."""

UNSETTLED = ("ready", "sending", "unknown", "dead")
_OPEN: Any = text("open")
"""As the partial index has it."""


class Erased(msgspec.Struct):
    """What was erased so far."""

    conversations: int = 0
    messages: int = 0
    files: int = 0
    events: int = 0
    deliveries: int = 0
    """What was still to be sent, in doubt, or given up."""


class Progress(msgspec.Struct):
    """How far it has come (column `operation.progress`)."""

    erased: Erased
    began: datetime | None = None
    """The conversations are anonymous since then."""
    conversations: list[str] = []
    sessionids: list[str] = []
    spellings: list[str] = []
    """How platforms spelled the contact."""
    sending: list[str] = []
    """Deliveries that were in flight then."""
    openings: list[str] = []
    """Sessions that were being opened then."""


def progress_of(row: Any) -> Progress:
    """How far an operation on record has come."""
    return msgspec.json.decode(row.progress, type=Progress) if row.progress else Progress(Erased())


def token_of(id_: str) -> str:
    """What stands in place of a contact."""
    return f"{FORGOTTEN}{id_}"


def forgotten(conn: Connection, conversation_ids: Collection[str]) -> dict[str, str]:
    """Those of these conversations whose contact was erased, with the token in its place."""
    rows = fetch(conn, _CONTACT, (conversation.c.id,), sorted(set(conversation_ids)))
    return {row.id: row.contact for row in rows if is_forgotten(row.contact)}


_CONTACT = (conversation.c.id, conversation.c.contact)


@apart
@unit("forget_thin")
def thin_out(conn: Connection, operation_id: str, contacts: Collection[str]) -> int:
    """Drop some of what waits behind the first deliveries of the contact's lanes, so that `begin` has little to do."""
    now = _overwriting(conn)
    progress = _progress(conn, operation_id)
    if progress is None or progress.began is not None:
        return 0
    lanes = _lanes_of(conn, conversations_of(conn, contacts))
    behind: list[str] = []
    for one in lanes:
        waiting = select(delivery.c.id).where(delivery.c.lane_id == one, _OPEN)
        # Only the first of a lane can be in anybody's hands.
        behind += conn.execute(waiting.order_by(delivery.c.seq, delivery.c.part, delivery.c.id).offset(1)).scalars()
    ready = and_(delivery.c.id.in_(behind[:PAGE]), delivery.c.state == "ready")
    dropped = conn.execute(update(delivery).where(ready).values(_skipped(now))).rowcount
    progress.erased.deliveries += dropped
    _keep(conn, operation_id, progress)
    return dropped


@apart
@unit("forget_begin")
def begin(conn: Connection, operation_id: str, contacts: Collection[str]) -> Progress | None:
    """Make the contact's conversations anonymous, and let nothing more be sent in them; what there is to do then.

    What is in flight is recorded all the same, but nobody goes on from there. None where the operation was ended.
    """
    now = _overwriting(conn)
    progress = _progress(conn, operation_id)
    if progress is None or progress.began is not None:
        return progress
    ids = conversations_of(conn, contacts)
    # Whoever translates an event locks it first and then its conversation; in between one may have come to wait.
    progress.erased.events += _ignore_waiting(conn, ids)
    talks = conn.execute(
        select(conversation).where(conversation.c.contact.in_(contacts)).order_by(conversation.c.id).with_for_update()
    ).all()
    ids = [one.id for one in talks]
    progress.erased.events += _ignore_waiting(conn, ids)
    progress.conversations, progress.began = ids, now
    progress.erased.conversations += len(ids)
    for one in ids:
        nothing = {"spelling": None, "name": None, "contact_wrote_at": None}
        its = update(conversation).where(conversation.c.id == one)
        conn.execute(its.values(contact=token_of(one), **nothing))
    _stop_lanes(conn, progress, ids, now)
    theirs = conn.execute(select(sessions).where(sessions.c.contact.in_(contacts))).all()
    conn.execute(delete(sessions).where(sessions.c.contact.in_(contacts), sessions.c.state != "opening"))
    progress.openings = [one.id for one in theirs if one.state == "opening"]
    progress.sessionids = sorted({one.sessionid for one in theirs if one.sessionid is not None})
    spelled = {one.spelling for one in (*talks, *theirs) if one.spelling}
    progress.spellings = sorted(spelled | {one.contact for one in (*talks, *theirs)})
    _keep(conn, operation_id, progress)
    return progress


def _stop_lanes(conn: Connection, progress: Progress, ids: Collection[str], now: datetime) -> None:
    lanes = _lanes_of(conn, ids)
    hold(conn, lanes)
    its = and_(delivery.c.lane_id.in_(lanes), _OPEN)
    progress.sending += conn.execute(select(delivery.c.id).where(its, delivery.c.state == "sending")).scalars()
    dropped = conn.execute(update(delivery).where(its, delivery.c.state != "sending").values(_skipped(now)))
    progress.erased.deliveries += dropped.rowcount
    conn.execute(update(delivery).where(delivery.c.id.in_(progress.sending)).values(open=False))
    # With a new token: whoever has a lane in hand can record that it was sent, and nothing else.
    free = {"owner": None, "lease_until": None, "due_at": None, "why": "", "busy": False}
    conn.execute(update(lane).where(lane.c.id.in_(lanes)).values(token=lane.c.token + 1, **free))


@apart
@unit("forget_wait")
def in_flight(conn: Connection, operation_id: str) -> bool:
    """Whether an answer is still to be recorded of what was in flight when it began."""
    progress = _progress(conn, operation_id)
    if progress is None:
        return False
    _keep(conn, operation_id, progress)
    since = dialect.now(conn) - UNANSWERED
    answered = exists().where(attempt.c.delivery_id == delivery.c.id, attempt.c.at >= delivery.c.tried_at)
    sending = select(delivery.c.id).where(
        delivery.c.id.in_(progress.sending), delivery.c.state == "sending", delivery.c.tried_at > since, ~answered
    )
    opening = select(sessions.c.id).where(sessions.c.id.in_(progress.openings), sessions.c.observed_at > since)
    return any(conn.execute(one.limit(1)).first() is not None for one in (sending, opening))


@apart
@unit("forget_messages")
def erase_messages(conn: Connection, operation_id: str, conversation_id: str, after: int) -> int | None:
    """Erase what a conversation's next messages behind place `after` say; the last one's place, None at the end."""
    now = _overwriting(conn)
    progress = _progress(conn, operation_id)
    if progress is None:
        return None
    rows = conn.execute(
        select(message.c.id, message.c.seq, message.c.event_id)
        .where(message.c.conversation_id == conversation_id, message.c.seq > after)
        .order_by(message.c.seq)
        .limit(MESSAGES)
    ).all()
    ids = [one.id for one in rows]
    told = progress.erased
    told.files += media.remove_of(conn, ids)
    told.events += _erase_bodies(conn, {one.event_id for one in rows if one.event_id is not None})
    _erase_copies(conn, conversation_id, ids)
    told.deliveries += _erase_deliveries(conn, ids, now)
    its = update(message).where(message.c.id.in_(ids), or_(message.c.body.is_not(None), message.c.quote.is_not(None)))
    told.messages += conn.execute(its.values(body=None, quote=None)).rowcount
    _keep(conn, operation_id, progress)
    return rows[-1].seq if rows else None


def _erase_copies(conn: Connection, conversation_id: str, message_ids: Collection[str]) -> None:
    its = mapping.c.message.in_(message_ids)
    conn.execute(update(mapping).where(its).values(contact=token_of(conversation_id)))
    # A copy without an id is known by its session; no later message may pass for it.
    conn.execute(update(mapping).where(its, mapping.c.messageid.is_(None)).values(sessionid=None))


def _erase_deliveries(conn: Connection, message_ids: Collection[str], now: datetime) -> int:
    its = delivery.c.message.in_(message_ids)
    ids = list(conn.execute(select(delivery.c.id).where(its)).scalars())
    conn.execute(update(attempt).where(attempt.c.delivery_id.in_(ids)).values(reason="", answer=""))
    conn.execute(update(delivery).where(its, delivery.c.reason.not_in(("", REASON))).values(reason=""))
    dropped = update(delivery).where(its, delivery.c.state.in_(UNSETTLED))
    return conn.execute(dropped.values(_skipped(now))).rowcount


@apart
@unit("forget_events")
def erase_events(conn: Connection, operation_id: str, contacts: Collection[str], event_ids: Collection[str]) -> None:
    """Erase the bodies of events that speak of the contact; not of those that a new conversation came of."""
    _overwriting(conn)
    progress = _progress(conn, operation_id)
    if progress is None:
        return
    new = conversations_of(conn, contacts)
    made = select(message.c.event_id).where(message.c.conversation_id.in_(new), message.c.event_id.in_(event_ids))
    old = set(event_ids) - set(conn.execute(made).scalars()) if new else set(event_ids)
    early = and_(event.c.id.in_(old), event.c.state == "parked", event.c.received_at < progress.began)
    conn.execute(update(event).where(early).values(state="ignored", reason=REASON, parked_for=None))
    progress.erased.events += _erase_bodies(conn, old)
    _keep(conn, operation_id, progress)


def events_of(
    conn: Connection, finder: Finder, sessionids: Collection[str], after: str
) -> tuple[list[str], str | None]:
    """Of the next events behind an id those that speak of the contact, and the last id; None at the end."""
    rows = conn.execute(
        select(event.c.id, event.c.account, event.c.body)
        .where(event.c.id > after, event.c.body.is_not(None))
        .order_by(event.c.id)
        .limit(PAGE)
    ).all()
    found = {row.id for row in rows if finder.finds(row.body)}
    named = {row.id: words(bytes(row.body)) for row in rows if row.id not in found}
    # An edit, or a status, names no contact but the message that it speaks of.
    ids = {(row.account, word) for row in rows for word in named.get(row.id, ())}
    gone = {
        (row.account, row.messageid)
        for row in fetch(conn, _COPY, (mapping.c.account, mapping.c.messageid), sorted(ids))
        if is_forgotten(row.contact)
    }
    for row in rows:
        theirs = named.get(row.id, set())
        if not theirs.isdisjoint(sessionids) or any((row.account, word) in gone for word in theirs):
            found.add(row.id)
    return sorted(found), rows[-1].id if rows else None


_COPY = (mapping.c.account, mapping.c.messageid, mapping.c.contact)


@apart
@unit("forget_rest")
def erase_rest(
    conn: Connection, operation_id: str, contacts: Collection[str], finder: Finder, subject: str
) -> Progress | None:
    """Erase sessions that came late, and the contact's name in what operators asked for; last in this very operation.

    From then on the operation's subject is a token, and its progress tells numbers alone.
    """
    _overwriting(conn)
    progress = _progress(conn, operation_id)
    if progress is None:
        return None
    if not conversations_of(conn, contacts):
        conn.execute(delete(sessions).where(sessions.c.contact.in_(contacts)))
    done = Progress(progress.erased, progress.began)
    for row in conn.execute(select(operation)):
        token = token_of(row.id)
        hidden = {
            name: token
            if name == "subject" and getattr(row, name) == subject
            else finder.hide(getattr(row, name), token)
            for name in ("subject", "detail", "result", "progress")
        }
        if row.id == operation_id:
            hidden |= {"subject": token, "progress": msgspec.json.encode(done).decode()}
        if any(getattr(row, name) != value for name, value in hidden.items()):
            conn.execute(update(operation).where(operation.c.id == row.id).values(hidden))
    return done


@apart
@unit("forget_end")
def conclude(conn: Connection, done: Done, now: datetime) -> None:
    """Write what became of it."""
    operations.conclude(conn, done, now)


def _progress(conn: Connection, operation_id: str) -> Progress | None:
    """None where the operation has ended."""
    its = and_(operation.c.id == operation_id, operation.c.state == "running", operation.c.kind == Kind.FORGET)
    row = conn.execute(select(operation.c.progress).where(its).with_for_update()).one_or_none()
    return None if row is None else progress_of(row)


def _keep(conn: Connection, operation_id: str, progress: Progress) -> None:
    values = {"progress": msgspec.json.encode(progress).decode(), "lease_until": dialect.now(conn) + LEASE}
    conn.execute(update(operation).where(operation.c.id == operation_id).values(values))


def _overwriting(conn: Connection) -> datetime:
    """Have SQLite overwrite with zeros what is erased from now on, also where it was built without that; the time."""
    if not is_postgresql(conn):
        conn.exec_driver_sql("PRAGMA secure_delete=ON").fetchall()
    return dialect.now(conn)


def conversations_of(conn: Connection, contacts: Collection[str]) -> list[str]:
    """Ids of the conversations with one of these contacts."""
    its = select(conversation.c.id).where(conversation.c.contact.in_(contacts)).order_by(conversation.c.id)
    return list(conn.execute(its).scalars())


def _lanes_of(conn: Connection, conversation_ids: Collection[str]) -> list[str]:
    if is_postgresql(conn):
        its: Any = lane.c.conversation_id.in_(conversation_ids)
    else:
        # By the primary key (`lane_id`); PostgreSQL may sort texts in another way.
        its = or_(text("false"), *(lane.c.id.between(f"{one}/", f"{one}0") for one in conversation_ids))
    return list(conn.execute(select(lane.c.id).where(its).order_by(lane.c.id)).scalars())


def _ignore_waiting(conn: Connection, conversation_ids: Sequence[str]) -> int:
    its = and_(event.c.conversation_id.in_(conversation_ids), WAITS)
    gone = {"state": "ignored", "reason": REASON, "body": None}
    return conn.execute(update(event).where(its).values(gone)).rowcount


def _erase_bodies(conn: Connection, event_ids: Collection[str]) -> int:
    """What waits to be understood is somebody else's, or new."""
    its = and_(event.c.id.in_(event_ids), event.c.body.is_not(None), event.c.state.not_in(("waiting", "parked")))
    return conn.execute(update(event).where(its).values(body=None)).rowcount


def _skipped(now: datetime) -> dict[str, Any]:
    return {"state": "skipped", "open": False, "reason": REASON, "updated_at": now}

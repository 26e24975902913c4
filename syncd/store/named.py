"""What an id may mean: messages, events, sessions, operations, conversations; read only.

Each statement on an index that delivering needs anyway. The one exception is `events_named`, which reads all keys, for
ids that nothing else knows.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, exists, func, or_, select, text

from syncd.model import traced
from syncd.model.traced import Event, Operation
from syncd.model.work import Chat
from syncd.store import sessions
from syncd.store.dialect import fetch
from syncd.store.schema import conversation, delivery, event, mapping, message, operation, session

MOST = 50
"""Things that one id may mean."""
_SHORTEST = 6
"""Characters of an id that is looked for within keys."""
_TRANSLATED_WITHIN = timedelta(hours=1)
"""A message is made so long after its event at most, where the event does not name its conversation."""
_SKEW = timedelta(minutes=1)
_NAMES_MESSAGE = re.compile(r"\bmessage ([0-9a-f]{24})\b")

EVENT = (*(column for column in event.c if column.name != "body"), event.c.body.is_not(None).label("kept"))
_PARKED = event.c.state == text("'parked'")
"""Written into the statement, so that both databases see that the partial index serves."""


def messages_named(conn: Connection, given: str, accounts: Collection[str]) -> list[str]:
    """The messages that this is the id of, or that a delivery, reference or copy of this id belongs to."""
    ids: dict[str, None] = {}
    statements = (
        select(message.c.id).where(message.c.id == given),
        select(delivery.c.message).where(delivery.c.id == given),
        select(delivery.c.message).where(delivery.c.reference == given),
        select(mapping.c.message).where(mapping.c.account.in_(accounts), mapping.c.messageid == given),
    )
    for statement in statements:
        ids |= dict.fromkeys(conn.execute(statement.limit(MOST)).scalars())
    return list(ids)


def events_of(conn: Connection, given: str, accounts: Collection[str]) -> list[Event]:
    """The events of this id or key, or that wait for the message that a platform calls so."""
    statements = (
        select(*EVENT).where(event.c.id == given),
        select(*EVENT).where(event.c.account.in_(accounts), event.c.key == given),
        select(*EVENT).where(event.c.account.in_(accounts), event.c.parked_for == given, _PARKED),
    )
    rows = {row.id: row for statement in statements for row in conn.execute(statement.limit(MOST))}
    return [event_from(row, _made_by(conn, row)) for _, row in sorted(rows.items())]


def events_named(conn: Connection, given: str) -> list[Event]:
    """The events whose key holds this, or some of them where there are many. Reads all keys."""
    if len(given) < _SHORTEST:
        return []
    # From the index alone, which is small beside the table with its bodies.
    within = select(event.c.account, event.c.key).where(event.c.key.contains(given, autoescape=True)).limit(MOST)
    rows = fetch(conn, EVENT, (event.c.account, event.c.key), [tuple(row) for row in conn.execute(within)])
    return [event_from(row, _made_by(conn, row)) for row in sorted(rows, key=lambda row: str(row.id))]


def _made_by(conn: Connection, row: Any) -> str | None:
    """The message that an event made, where it made one."""
    if row.state != "done":
        return None
    its = select(message.c.id).where(message.c.event_id == row.id)
    if row.conversation_id is not None:
        its = its.where(message.c.conversation_id == row.conversation_id)
    else:
        # Ids rise with time: this is a short walk on the primary key.
        its = its.where(
            message.c.id >= _id_at(row.received_at - _SKEW), message.c.id < _id_at(row.received_at + _TRANSLATED_WITHIN)
        )
    found: str | None = conn.execute(its.limit(1)).scalar()
    return found


def _id_at(stamp: datetime) -> str:
    """What all ids made from then on are not less than (`syncd.model.clock.Ids`)."""
    return f"{int(stamp.timestamp() * 1000) << 16:016x}"


def spoken_of(one: Event) -> str | None:
    """The message that an event's reason names."""
    named = _NAMES_MESSAGE.search(one.reason)
    return None if named is None else named[1]


def operation_of(conn: Connection, given: str) -> list[Operation]:
    """The operation of this id."""
    return [operation_from(row) for row in conn.execute(select(operation).where(operation.c.id == given))]


def sessions_of(conn: Connection, given: str, accounts: Collection[str]) -> list[traced.Session]:
    """The sessions that a desk calls so."""
    return sessions_at(conn, [(account, given) for account in accounts])


def conversations_of(conn: Connection, given: str, contacts: Collection[str]) -> list[traced.Conversation]:
    """The conversation of this id, and those with one of these contacts."""
    rows = conn.execute(
        select(conversation)
        .where(or_(conversation.c.id == given, conversation.c.contact.in_(contacts)))
        .order_by(conversation.c.id)
        .limit(MOST)
    )
    return [
        traced.Conversation(row.id, row.link, row.contact, row.name, row.contact_wrote_at, row.created_at)
        for row in rows
    ]


def said_in(conn: Connection, conversation_id: str, limit: int) -> tuple[list[str], int]:
    """The latest messages of a conversation, the oldest first, and how many there are before them."""
    its = message.c.conversation_id == conversation_id
    latest = select(message.c.id).where(its).order_by(message.c.seq.desc()).limit(limit)
    ids = list(conn.execute(latest).scalars())
    count: int = conn.execute(select(func.count()).select_from(message).where(its)).scalar_one()
    return ids[::-1], count - len(ids)


def said_in_session(conn: Connection, one: traced.Session, links: Collection[str], limit: int) -> tuple[list[str], int]:
    """The same of a session, through the conversations of its contact."""
    # Never by the account's index, which SQLite would choose: that is all that there is on the account.
    here = and_(
        mapping.c.message == message.c.id,
        mapping.c.account.concat("") == one.account,
        mapping.c.sessionid == one.sessionid,
    )
    its = (
        select(message.c.id)
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .where(conversation.c.contact == one.contact, conversation.c.link.in_(links), exists().where(here))
    )
    # Ids rise with time, over all conversations.
    ids = list(conn.execute(its.order_by(message.c.id.desc()).limit(limit)).scalars())
    count: int = conn.execute(select(func.count()).select_from(its.subquery())).scalar_one()
    return ids[::-1], count - len(ids)


def sessions_at(conn: Connection, keys: Collection[tuple[str, str]]) -> list[traced.Session]:
    """The sessions of these (account, sessionid), with those that took their place."""
    rows = fetch(conn, tuple(session.c), (session.c.account, session.c.sessionid), sorted(keys))
    chats = {row.id: Chat(row.account, row.organization, row.extension, row.contact) for row in rows}
    current = sessions.current(conn, [chats[row.id] for row in rows if not row.current])
    found = []
    for row in rows:
        heir = None if row.current else current.get(chats[row.id])
        found.append(
            traced.Session(
                row.id,
                row.account,
                row.organization,
                row.extension,
                row.contact,
                row.sessionid,
                row.state,
                row.current,
                row.observed_at,
                heir.sessionid if heir is not None else None,
                heir.observed_at if heir is not None else None,
            )
        )
    return found


def event_from(row: Any, made: str | None) -> Event:
    """A row of `event` without its body; `made` is the message that it made."""
    return Event(
        id=row.id,
        account=row.account,
        key=row.key,
        via=row.via,
        state=row.state,
        reason=row.reason,
        received_at=row.received_at,
        copies=row.copies,
        last_copy_at=row.last_copy_at,
        parked_for=row.parked_for,
        kept=bool(row.kept),
        conversation_id=row.conversation_id,
        message=made,
    )


def operation_from(row: Any) -> Operation:
    """A row of `operation`."""
    return Operation(
        row.id,
        row.kind,
        row.subject,
        row.detail,
        row.asked_by,
        row.asked_at,
        row.state,
        row.result,
        row.progress,
        row.done_at,
    )

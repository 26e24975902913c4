"""What a resync compares: what the ledger knows of the channel's history, and where its messages are."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text

from syncd.model.decide import UNLINKED
from syncd.model.facts import CopyStatus
from syncd.model.resync import Carried, Entry, Known, Nameless
from syncd.model.text import from_bytes
from syncd.model.work import CHANNEL, Op
from syncd.store.dialect import fetch
from syncd.store.schema import conversation, delivery, event, lane, mapping, message

PAGE = 500
"""Messages that are read at once."""

_TEXT = (
    mapping.c.messageid,
    mapping.c.origin,
    message.c.body,
    message.c.revision,
)
_ITS_MESSAGE = message.c.id == mapping.c.message
_EVENT = (event.c.key, event.c.state, event.c.reason)
_CARRIED = (delivery.c.id, delivery.c.message, delivery.c.target, delivery.c.state, delivery.c.part)
_OPEN: Any = text("open")
"""As the partial index has it."""
_OF_A_MESSAGE = delivery.c.op == Op.MESSAGE
_COPY = (mapping.c.message, mapping.c.extension, mapping.c.origin, mapping.c.status)


def known(
    conn: Connection,
    account: str,
    link: str,
    messageids: Collection[str],
    references: Collection[str],
    keys: Collection[str],
) -> Known:
    """What the ledger knows of a page of history."""
    texts: dict[str, str | None] = {}
    its = (mapping.c.account, mapping.c.messageid)
    for row in fetch(conn, _TEXT, its, {(account, one) for one in messageids}, where=_ITS_MESSAGE):
        # Our own copies are pieces of a text, and an edit is told by a note: only what was said there compares.
        comparable = row.origin and row.body is not None and not row.revision
        texts[row.messageid] = from_bytes(row.body) if comparable else None
    there = fetch(conn, (delivery.c.reference,), (delivery.c.reference,), set(references))
    events = fetch(conn, _EVENT, (event.c.account, event.c.key), {(account, one) for one in keys})
    return Known(
        texts, {row.reference for row in there}, {row.key: _meaning(row) for row in events}, _nameless(conn, link)
    )


def _meaning(row: Any) -> str:
    match row.state:
        case "done":
            return "gone"
        case "waiting" | "parked":
            return "waits"
        case "ignored" if row.reason != UNLINKED:
            return "settled"
    return "missed"


def _nameless(conn: Connection, link: str) -> list[Nameless]:
    copies = (
        select(mapping.c.contact, message.c.body, message.c.said_at)
        .join(message, message.c.id == mapping.c.message)
        .where(mapping.c.link == link, mapping.c.messageid.is_(None), mapping.c.sessionid.is_(None))
    )
    doubts = (
        select(conversation.c.contact, message.c.body, message.c.said_at)
        .select_from(delivery)
        .join(message, message.c.id == delivery.c.message)
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .where(delivery.c.state == "unknown", delivery.c.target == CHANNEL, conversation.c.link == link)
    )
    return [
        Nameless(row.contact, from_bytes(row.body), row.said_at, in_doubt)
        for statement, in_doubt in ((copies, False), (doubts, True))
        for row in conn.execute(statement)
    ]


def conversations(conn: Connection, link: str, contact: str | None) -> list[str]:
    """Ids of a link's conversations, or of the one with this contact."""
    its = select(conversation.c.id).where(conversation.c.link == link).order_by(conversation.c.id)
    return list(conn.execute(its if contact is None else its.where(conversation.c.contact == contact)).scalars())


def entries(
    conn: Connection, conversation_id: str, since: datetime, until: datetime, after: int
) -> list[tuple[int, Entry | None]]:
    """A page of a conversation's messages behind place `after`, with their places.

    None for what nobody has said: a note to the contact or a notice to a user is nothing that others should see.
    """
    rows = conn.execute(
        select(
            message.c.id,
            message.c.seq,
            message.c.said_at,
            message.c.body,
            message.c.files,
            conversation.c.contact,
        )
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .where(
            message.c.conversation_id == conversation_id,
            message.c.seq > after,
            message.c.said_at >= since,
            message.c.said_at <= until,
        )
        .order_by(message.c.seq)
        .limit(PAGE)
    ).all()
    ids = {row.id for row in rows}
    carried: dict[str, list[Carried]] = {}
    for one in fetch(conn, _CARRIED, (delivery.c.message,), ids, where=_OF_A_MESSAGE, order=(delivery.c.id,)):
        carried.setdefault(one.message, []).append(Carried(one.id, one.target, one.state))
    chats: dict[str, set[str]] = {}
    heard, deleted = set(), set()
    for one in fetch(conn, _COPY, (mapping.c.message,), ids):
        if one.extension is not None:
            chats.setdefault(one.message, set()).add(one.extension)
        if one.origin:
            heard.add(one.message)
            if one.status == CopyStatus.DELETED:
                deleted.add(one.message)
    return [
        (
            row.seq,
            Entry(
                row.id,
                conversation_id,
                row.contact,
                row.said_at,
                row.body is not None,
                row.id in deleted,
                chats.get(row.id, set()),
                carried.get(row.id, []),
            )
            if row.id in heard
            else None,
        )
        for row in rows
    ]


def open_deliveries(conn: Connection, lane_ids: Collection[str]) -> int:
    """How many deliveries of these lanes are not settled."""
    return len(fetch(conn, (delivery.c.id,), (delivery.c.lane_id,), lane_ids, where=_OPEN))


def waiting_because(conn: Connection, lane_ids: Collection[str]) -> str:
    """Why one of these lanes waits; empty where none says so."""
    return next((row.why for row in fetch(conn, (lane.c.why,), (lane.c.id,), lane_ids) if row.why), "")

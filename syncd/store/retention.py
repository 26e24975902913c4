"""Texts and raw events whose time is over, removed a page at a time; ids, times and states stay (design §4)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, exists, select, update

from syncd.failpoints import unit
from syncd.store.locks import apart
from syncd.store.schema import delivery, event, message

_HELD = ("waiting", "parked")
"""Events that are still to be understood, and so keep their bodies."""


@apart
@unit("remove_texts")
def remove_texts(conn: Connection, before: datetime, after: str, limit: int) -> str | None:
    """Remove the texts of messages that came before then and have nothing left to deliver, beginning after an id.

    The last id that was looked at; None where there are no more. Ids rise with time (`syncd.model.clock.Ids`).
    """
    old = (
        select(message.c.id)
        .where(message.c.id > after, message.c.created_at < before)
        .order_by(message.c.id)
        .limit(limit)
    )
    ids: list[str] = list(conn.execute(old).scalars())
    if not ids:
        return None
    due = exists().where(delivery.c.message == message.c.id, delivery.c.state.in_(("ready", "sending", "unknown")))
    conn.execute(
        update(message).where(message.c.id.in_(ids), message.c.body.is_not(None), ~due).values(body=None, quote=None)
    )
    return ids[-1]


@apart
@unit("remove_events")
def remove_events(conn: Connection, before: datetime, after: str, limit: int) -> str | None:
    """The same for raw events; their keys stay, so that a late copy is still known (G2)."""
    old = select(event.c.id).where(event.c.id > after, event.c.received_at < before).order_by(event.c.id).limit(limit)
    ids: list[str] = list(conn.execute(old).scalars())
    if not ids:
        return None
    conn.execute(
        update(event)
        .where(event.c.id.in_(ids), event.c.body.is_not(None), event.c.state.not_in(_HELD))
        .values(body=None)
    )
    return ids[-1]

"""Deliveries that were given up (`dead`) or are held in doubt (`unknown`): what operators see and decide of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, select, update

from syncd.model.facts import CopyStatus
from syncd.model.picture import Picture
from syncd.model.text import from_bytes
from syncd.store import lanes, loading, saving
from syncd.store.dialect import fetch
from syncd.store.locks import hold
from syncd.store.schema import IS_HELD, attempt, conversation, delivery, lane, mapping, message

STATES = ("dead", "unknown")

_COLUMNS = (
    delivery.c.id,
    delivery.c.lane_id,
    delivery.c.target,
    delivery.c.state,
    delivery.c.open,
    delivery.c.reason,
    delivery.c.reference,
    delivery.c.attempts,
    delivery.c.tried_at,
    delivery.c.sessionid,
    delivery.c.seq,
    delivery.c.created_at,
    delivery.c.updated_at,
    delivery.c.message,
    message.c.conversation_id,
    message.c.author,
    message.c.extension,
    message.c.body,
    message.c.said_at,
    conversation.c.link,
    conversation.c.contact,
)


@dataclass(frozen=True, slots=True)
class HeldDelivery:
    """One delivery with what an operator needs to decide."""

    row: Any
    """Columns of `delivery`, its message and conversation."""

    @property
    def text(self) -> str:
        """What was to be delivered."""
        return from_bytes(self.row.body)


def listed(conn: Connection, state: str, *, link: str | None = None, limit: int | None = None) -> list[HeldDelivery]:
    """The deliveries that are `unknown` or `dead`, the oldest first."""
    statement = _select().where(IS_HELD, delivery.c.state == state)
    if link is not None:
        statement = statement.where(conversation.c.link == link)
    return [HeldDelivery(row) for row in conn.execute(statement.order_by(delivery.c.id).limit(limit))]


def one(conn: Connection, delivery_id: str) -> HeldDelivery | None:
    """A delivery, whatever its state."""
    row = conn.execute(_select().where(delivery.c.id == delivery_id)).one_or_none()
    return None if row is None else HeldDelivery(row)


def attempts(conn: Connection, delivery_id: str) -> list[Any]:
    """Every try of a delivery, the oldest first."""
    return list(conn.execute(select(attempt).where(attempt.c.delivery_id == delivery_id).order_by(attempt.c.at)))


def lock(conn: Connection, delivery_ids: Iterable[str]) -> None:
    """Lock the lanes of these deliveries: nobody else changes them until the transaction ends."""
    rows = fetch(conn, (delivery.c.lane_id,), (delivery.c.id,), sorted(set(delivery_ids)))
    hold(conn, {row.lane_id for row in rows})


def is_overtaken(conn: Connection, held: HeldDelivery) -> bool:
    """Whether later messages of its lane were sent already."""
    later = and_(message.c.conversation_id == held.row.conversation_id, message.c.seq > held.row.seq)
    # By its message, for a lane's settled deliveries are in no index.
    sent = and_(delivery.c.message == message.c.id, delivery.c.target == held.row.target, delivery.c.state == "sent")
    return conn.execute(select(delivery.c.id).where(later, sent).limit(1)).first() is not None


def revive(
    conn: Connection, held: HeldDelivery, state: str, reason: str, now: datetime, *, history: bool = False
) -> None:
    """Have it worked on again: as `ready`, or as `unknown` where its platform is to be asked first.

    With `history` it goes into the chat's history now, silently.
    """
    conn.execute(
        update(delivery)
        .where(delivery.c.id == held.row.id)
        .values(state=state, open=True, forced=True, history=history, attempts=0, reason=reason, updated_at=now)
    )
    _free(conn, held, busy=True)


def skip(conn: Connection, held: HeldDelivery, reason: str, now: datetime) -> None:
    """Have it forgotten by all lists."""
    conn.execute(
        update(delivery)
        .where(delivery.c.id == held.row.id)
        .values(state="skipped", open=False, reason=reason, updated_at=now)
    )
    _free(conn, held)


def claimed_by(conn: Connection, account: str, messageid: str) -> str | None:
    """The message that a platform's id stands for already."""
    there = select(mapping.c.message).where(mapping.c.account == account, mapping.c.messageid == messageid)
    found: str | None = conn.execute(there.limit(1)).scalar()
    return found


def mark_sent(
    conn: Connection, held: HeldDelivery, account: str, messageid: str, reason: str, picture: Picture
) -> None:
    """Write what an operator knows: it was sent, under this id."""
    for pending in loading.pending(conn, [held.row.id]):
        picture.settle(pending, account, messageid, CopyStatus.SENT)
    saving.save_copies(conn, picture)
    lanes.settle(conn, picture.settled, picture.now, reason)
    _free(conn, held)


def _free(conn: Connection, held: HeldDelivery, *, busy: bool | None = None) -> None:
    values: dict[str, Any] = {"due_at": None}
    if busy is not None:
        values["busy"] = busy
    if held.row.open:
        # With a new token: whoever has the lane in hand settles this very doubt, which is none any more. Where it was
        # not open, the lane is in hand for another delivery, whose answer must count.
        values |= {"owner": None, "lease_until": None, "token": lane.c.token + 1}
    conn.execute(update(lane).where(lane.c.id == held.row.lane_id).values(**values))


def _select() -> Any:
    return (
        select(*_COLUMNS)
        .join(message, message.c.id == delivery.c.message)
        .join(conversation, conversation.c.id == message.c.conversation_id)
    )

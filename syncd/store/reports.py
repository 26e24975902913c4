"""What administrators ask of the tables; read only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text

from syncd.store.schema import account_state, conversation, cursor, delivery, event, lane

HELD = ("unknown", "dead")


def ping(conn: Connection) -> None:
    """Raises where the database does not answer."""
    conn.execute(text("SELECT 1"))


def counts(conn: Connection) -> dict[str, int]:
    """Deliveries: `backlog` (still to be sent or being settled), `unknown` (in doubt or held), `dead` (given up)."""
    backlog = conn.execute(select(func.count()).where(delivery.c.open.is_(True))).scalar_one()
    rows = conn.execute(
        select(delivery.c.state, func.count()).where(delivery.c.state.in_(HELD)).group_by(delivery.c.state)
    )
    held: dict[str, int] = {row[0]: row[1] for row in rows}
    return {"backlog": backlog, **{state: held.get(state, 0) for state in HELD}}


def oldest(conn: Connection) -> datetime | None:
    """When the oldest delivery that still is to be sent was made."""
    # Ids rise with time.
    first = select(func.min(delivery.c.id)).where(delivery.c.open.is_(True)).scalar_subquery()
    stamp: datetime | None = conn.execute(select(delivery.c.created_at).where(delivery.c.id == first)).scalar()
    return stamp


def waiting_lanes(conn: Connection, limit: int) -> list[dict[str, Any]]:
    """Lanes with something to deliver, those that wait longest first."""
    first = (
        select(delivery.c.lane_id, func.min(delivery.c.created_at).label("since"), func.count().label("deliveries"))
        .where(delivery.c.open.is_(True))
        .group_by(delivery.c.lane_id)
        .order_by("since")
        .limit(limit)
        .subquery()
    )
    rows = conn.execute(
        select(
            lane.c.id,
            conversation.c.link,
            conversation.c.contact,
            lane.c.target,
            first.c.deliveries,
            first.c.since,
            lane.c.due_at,
            lane.c.why,
        )
        .join(first, first.c.lane_id == lane.c.id)
        .join(conversation, conversation.c.id == lane.c.conversation_id)
        .order_by(first.c.since)
    )
    return [dict(row._mapping) for row in rows]


def last_events(conn: Connection, accounts: Iterable[str]) -> dict[str, datetime]:
    """When each of the accounts last told us something."""
    # Ids rise with time: the newest are found without an index of their own, which every message would pay for.
    lately = select(event.c.account, event.c.received_at).order_by(event.c.id.desc()).limit(10_000).subquery()
    found = {
        row[0]: row[1]
        for row in conn.execute(select(lately.c.account, func.max(lately.c.received_at)).group_by(lately.c.account))
    }
    for account in set(accounts) - set(found):
        newest = conn.execute(select(func.max(event.c.received_at)).where(event.c.account == account)).scalar()
        if newest is not None:
            found[account] = newest
    return found


def cursors(conn: Connection) -> dict[tuple[str, str], datetime]:
    """When each polled end was last polled to the end, by (account, end)."""
    rows = conn.execute(select(cursor.c.account, cursor.c.end, cursor.c.updated_at).where(cursor.c.value != ""))
    return {(row.account, row.end): row.updated_at for row in rows}


def account_states(conn: Connection) -> dict[str, Any]:
    """The stored state of accounts that have one."""
    return {row.account: row for row in conn.execute(select(account_state))}


def events_waiting(conn: Connection) -> int:
    """Events that wait for a send to be settled."""
    count: int = conn.execute(select(func.count()).select_from(event).where(event.c.state == "waiting")).scalar_one()
    return count


def messages_by_link(conn: Connection) -> dict[str, tuple[int, int]]:
    """Conversations and messages of each link."""
    rows = conn.execute(
        select(conversation.c.link, func.count(), func.sum(conversation.c.next_seq - 1)).group_by(conversation.c.link)
    )
    return {row[0]: (row[1], int(row[2] or 0)) for row in rows}

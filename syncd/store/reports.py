"""What administrators ask of the tables; read only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, select, text, true

from syncd.model.work import CHANNEL
from syncd.store.schema import (
    IS_BUSY,
    IS_HELD,
    IS_OPEN,
    account_state,
    conversation,
    cursor,
    delivery,
    event,
    lane,
    media,
)

HELD = ("unknown", "dead")
MOST_HELD = 100_000
"""Events of one state that are counted."""


def ping(conn: Connection) -> None:
    """Raises where the database does not answer."""
    conn.execute(text("SELECT 1"))


def counts(conn: Connection) -> dict[str, int]:
    """Deliveries: `backlog` (still to be sent or being settled), `unknown` (in doubt or held), `dead` (given up)."""
    backlog = conn.execute(select(func.count()).select_from(delivery).where(IS_OPEN)).scalar_one()
    rows = conn.execute(select(delivery.c.state, func.count()).where(IS_HELD).group_by(delivery.c.state))
    held: dict[str, int] = {row[0]: row[1] for row in rows}
    return {"backlog": backlog, **{state: held.get(state, 0) for state in HELD}}


def oldest(conn: Connection) -> datetime | None:
    """When the oldest delivery that still is to be sent was made."""
    # Ids rise with time.
    first = select(func.min(delivery.c.id)).where(IS_OPEN).scalar_subquery()
    stamp: datetime | None = conn.execute(select(delivery.c.created_at).where(delivery.c.id == first)).scalar()
    return stamp


def waiting_lanes(conn: Connection, limit: int) -> list[dict[str, Any]]:
    """Lanes with something to deliver, those that wait longest first."""
    first = (
        select(delivery.c.lane_id, func.min(delivery.c.created_at).label("since"), func.count().label("deliveries"))
        .where(IS_OPEN)
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


@dataclass(frozen=True, slots=True)
class LanesWaiting:
    """Lanes of one link and side that wait for the same."""

    link: str
    to_channel: bool
    """Towards the channel, else towards the desk."""
    reason: str
    """`ready` (nothing in the tables keeps them), `doubt`, `unauthorised`, `rate_limited`, `refused` (their end is) or
    `retry`."""
    lanes: int
    deliveries: int
    """Not settled."""
    since: datetime
    """When the oldest of them was made."""


@dataclass(frozen=True, slots=True)
class PageOfLanes:
    """A part of the lanes that wait."""

    found: tuple[LanesWaiting, ...]
    last: str | None
    """What the next page comes after; None where there is none."""


_TO_CHANNEL = (delivery.c.target == CHANNEL).label("to_channel")


def lanes_waiting(conn: Connection, after: str, limit: int, now: datetime) -> PageOfLanes:
    """At most `limit` lanes that wait, in the order of their ids, from the first one after `after`.

    In pages, so that a backlog of a million neither fills the memory nor keeps a reader from everybody else.
    """
    ids = select(lane.c.id).where(IS_BUSY, lane.c.id > after).order_by(lane.c.id)
    last: str | None = conn.execute(ids.offset(limit - 1).limit(1)).scalar()
    its_end = delivery.c.lane_id <= last if last is not None else true()
    each = (
        select(
            delivery.c.lane_id,
            func.count().label("deliveries"),
            func.min(delivery.c.created_at).label("since"),
            func.max(case((delivery.c.state == "unknown", 1), else_=0)).label("doubts"),
        )
        .where(IS_OPEN, delivery.c.lane_id > after, its_end)
        .group_by(delivery.c.lane_id)
        .subquery()
    )
    # The beginnings are those of `model.retry.verdict`.
    reason = case(
        (each.c.doubts == 1, "doubt"),
        (lane.c.due_at.is_(None) | (lane.c.due_at <= now), "ready"),
        (lane.c.why.startswith("account: "), "unauthorised"),
        (lane.c.why.startswith("rate limited: "), "rate_limited"),
        (lane.c.why.startswith("its end: "), "refused"),
        else_="retry",
    )
    rows = conn.execute(
        select(
            conversation.c.link,
            (lane.c.target == CHANNEL).label("to_channel"),
            reason.label("reason"),
            func.count(),
            func.sum(each.c.deliveries),
            func.min(each.c.since),
        )
        .join(lane, lane.c.id == each.c.lane_id)
        .join(conversation, conversation.c.id == lane.c.conversation_id)
        # By their places: PostgreSQL does not see that two expressions with parameters are the same.
        .group_by(text("1"), text("2"), text("3"))
    )
    found = (
        LanesWaiting(link, bool(to_channel), why, lanes, int(deliveries), since)
        for link, to_channel, why, lanes, deliveries, since in rows
    )
    return PageOfLanes(tuple(found), last)


def held_by_link(conn: Connection) -> dict[tuple[str, bool, str], int]:
    """Deliveries that are `unknown` or `dead`, by link, whether they go towards the channel, and state."""
    rows = conn.execute(
        select(conversation.c.link, _TO_CHANNEL, delivery.c.state, func.count())
        .join(lane, lane.c.id == delivery.c.lane_id)
        .join(conversation, conversation.c.id == lane.c.conversation_id)
        .where(IS_HELD)
        .group_by(conversation.c.link, text("2"), delivery.c.state)
    )
    return {(row[0], bool(row[1]), row[2]): row[3] for row in rows}


def events_held(conn: Connection) -> dict[tuple[str, str], int]:
    """Events that are `waiting` or `parked`, by account and state."""
    found: dict[tuple[str, str], int] = {}
    for state in ("waiting", "parked"):
        # With a limit it is a query of its own, which goes by the partial index; grouping alone would go by `account`,
        # through all events there are.
        held = select(event.c.account).where(text(f"event.state = '{state}'")).limit(MOST_HELD).subquery()
        rows = conn.execute(select(held.c.account, func.count()).group_by(held.c.account))
        found |= {(row[0], state): row[1] for row in rows}
    return found


def media_wanted(conn: Connection) -> dict[str, int]:
    """Files that are to be fetched, by account."""
    wanted = select(media.c.account, func.count()).where(text("media.state = 'wanted'")).group_by(media.c.account)
    return {row[0]: row[1] for row in conn.execute(wanted)}

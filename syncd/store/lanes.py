"""Lanes and deliveries: claimed by lease, moved head first, completed under a fencing token (G3, G4, G7)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, exists, select, text, update

from syncd.failpoints import unit
from syncd.model.records import Pending
from syncd.model.work import Duty, LaneName, Op
from syncd.store import dialect
from syncd.store.dialect import fetch, insert_rows, is_postgresql, pack, run, update_rows, upsert_rows
from syncd.store.inbox import WAITS
from syncd.store.locks import apart, hold, locks
from syncd.store.schema import IS_BUSY, conversation, delivery, event, lane

_LANE = (lane.c.id, lane.c.owner, lane.c.lease_until, lane.c.token, lane.c.due_at, lane.c.why)
_others = delivery.alias("others")
_BEFORE = (
    delivery.c.id.label("delivery_id"),
    delivery.c.state,
    delivery.c.open,
    exists()
    .where(_others.c.lane_id == delivery.c.lane_id, text("others.open"), _others.c.id != delivery.c.id)
    .label("others_open"),
    lane.c.owner,
    lane.c.token,
    exists().where(event.c.conversation_id == lane.c.conversation_id, WAITS).label("event_waits"),
)
_ITS_LANE = lane.c.id == delivery.c.lane_id


@dataclass(frozen=True, slots=True)
class Head:
    """The first delivery of a lane that is not settled."""

    lane_id: str
    delivery_id: str
    state: str
    attempts: int
    tried_at: datetime | None
    sessionid: str | None
    forced: bool
    """An operator asked for it, however old the message is."""
    op: str
    revision: int


@dataclass(frozen=True, slots=True)
class Held:
    """A lane that this process has the lease of."""

    token: int
    head: Head
    until: datetime
    kept: bool = False
    """It was this process's before, and nobody else's since."""


@dataclass(frozen=True, slots=True)
class NotHeld:
    """A lane that cannot be worked on now. `wait`: seconds until one should look again; None: when somebody says so."""

    why: str
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What an attempt or a settlement makes of a delivery."""

    lane_id: str
    delivery_id: str
    token: int
    state: str
    open: bool
    wait: float | None
    """Seconds that the lane waits."""
    why: str
    attempts: int


@dataclass(frozen=True, slots=True)
class LaneAfter:
    """How a completion left its lane."""

    more: bool
    """Deliveries are left in it."""
    wait: float | None
    took: bool
    """The completion changed something; not so where the delivery was settled or the lane taken by another."""
    event_waits: bool
    """An event of the conversation waits for a send to be settled."""


def add(conn: Connection, duties: Sequence[Duty], now: datetime) -> None:
    """Store new deliveries and mark their lanes busy."""
    lanes = {duty.lane_id: duty for duty in duties}
    upsert_rows(
        conn,
        lane,
        [
            {
                "id": one.lane_id,
                "conversation_id": one.conversation_id,
                "target": one.target,
                "busy": True,
                "why": "",
                "token": 0,
            }
            for one in sorted(lanes.values(), key=lambda duty: duty.lane_id)
        ],
        "busy",
    )
    insert_rows(conn, delivery, [_row(duty, now) for duty in duties if not duty.history])
    history = {"history": True, "forced": True}
    insert_rows(conn, delivery, [_row(duty, now) | history for duty in duties if duty.history])


def _row(duty: Duty, now: datetime) -> dict[str, Any]:
    return {
        "id": duty.delivery_id,
        "lane_id": duty.lane_id,
        "message": duty.message,
        "target": duty.target,
        "op": duty.op,
        "part": duty.part,
        "revision": duty.revision,
        "reference": duty.reference,
        "seq": duty.seq,
        "state": "ready",
        "open": True,
        "token": 0,
        "attempts": 0,
        "reason": "",
        "created_at": now,
        "updated_at": now,
    }


def claim(
    conn: Connection, lane_ids: Iterable[str], owner: str, lease: timedelta
) -> tuple[dict[str, Held | NotHeld], datetime]:
    """Take the lease of each lane that is free and due, and tell its head; and the time by the clock of leases."""
    now = dialect.now(conn)
    found: dict[str, Held | NotHeld] = {}
    mine: dict[str, Any] = {}
    for row in fetch(conn, _LANE, (lane.c.id,), set(lane_ids), order=(lane.c.id,), lock=True):
        if row.owner not in (None, owner) and row.lease_until > now:
            found[row.id] = NotHeld("another process has it", _seconds(row.lease_until, now))
        elif row.due_at is not None and row.due_at > now:
            found[row.id] = NotHeld(row.why, _seconds(row.due_at, now))
        else:
            mine[row.id] = row
    heads = _heads(conn, mine)
    until = now + lease
    leased = []
    for one in mine.values():
        head = heads.get(one.id)
        if head is None:
            found[one.id] = NotHeld("nothing to deliver")
            continue
        token = one.token if one.owner == owner and one.lease_until > now else one.token + 1
        found[one.id] = Held(token, head, until, one.owner == owner)
        leased.append({"id": one.id, "owner": owner, "lease_until": until, "token": token, "due_at": None, "why": ""})
    update_rows(conn, lane, leased)
    idle = [{"id": one.id, "owner": None, "busy": False} for one in mine.values() if one.id not in heads]
    update_rows(conn, lane, idle)
    return found, now


def start(conn: Connection, held: Iterable[tuple[Held, str | None]], now: datetime) -> None:
    """`ready -> sending`, to be committed before the first byte is written; with the session that it goes into."""
    update_rows(
        conn,
        delivery,
        [
            {
                "id": one.head.delivery_id,
                "state": "sending",
                "token": one.token,
                "attempts": one.head.attempts + 1,
                "tried_at": now,
                "sessionid": sessionid,
                "updated_at": now,
            }
            for one, sessionid in held
        ],
    )


def complete(conn: Connection, completions: Sequence[Completion], owner: str, now: datetime) -> dict[str, LaneAfter]:
    """Write what became of deliveries, and free their lanes, which are locked already. By delivery: the lane after it.

    A completion takes while its token is the lane's; after that only the news that it was sent does, for that is the
    truth whoever holds the lane. `now` is for people; waits are measured by the clock of leases.
    """
    wanted = [one.delivery_id for one in completions]
    before = {row.delivery_id: row for row in fetch(conn, _BEFORE, (delivery.c.id,), wanted, where=_ITS_LANE)}
    rows = []
    took: dict[str, bool] = {}
    for one in completions:
        was = before[one.delivery_id]
        held = was.owner == owner and was.token == one.token
        pending = was.state in ("sending", "unknown", "ready")
        took[one.delivery_id] = pending and (held or one.state == "sent")
        if took[one.delivery_id]:
            rows.append(
                {
                    "id": one.delivery_id,
                    "state": one.state,
                    "open": one.open,
                    "attempts": one.attempts,
                    "reason": one.why,
                    "updated_at": now,
                }
            )
    update_rows(conn, delivery, rows)
    freed = []
    after: dict[str, LaneAfter] = {}
    lease_now = dialect.now(conn) if any(one.wait is not None for one in completions) else now
    for one in completions:
        was = before[one.delivery_id]
        held = was.owner == owner and was.token == one.token
        wait = one.wait if took[one.delivery_id] else None
        more = was.others_open or (one.open if took[one.delivery_id] else was.open)
        after[one.delivery_id] = LaneAfter(more, wait, took[one.delivery_id], event_waits=was.event_waits)
        if held and (not more or wait is not None):
            freed.append(
                {
                    "id": one.lane_id,
                    "owner": None,
                    "lease_until": None,
                    "busy": more,
                    "due_at": None if wait is None else lease_now + timedelta(seconds=wait),
                    "why": one.why if wait is not None else "",
                }
            )
    update_rows(conn, lane, freed)
    return after


@locks(lambda lane_ids, *_: lane_ids, by_itself=True)
@unit("renew")
def renew(conn: Connection, lane_ids: Sequence[str], owner: str, lease: timedelta) -> list[str]:
    """Keep the leases of lanes in hand: work on one may take longer than a lease, a stopped process may not keep it.

    Those that are this process's still.
    """
    until = dialect.now(conn) + lease
    rows = fetch(conn, _LANE, (lane.c.id,), lane_ids, order=(lane.c.id,), lock=True)
    ours = [row.id for row in rows if row.owner == owner]
    update_rows(conn, lane, [{"id": one, "lease_until": until} for one in ours])
    return ours


def release(conn: Connection, lane_ids: Iterable[str], owner: str) -> None:
    """Give leases back without having done anything."""
    rows = fetch(conn, _LANE, (lane.c.id,), set(lane_ids), order=(lane.c.id,), lock=True)
    update_rows(conn, lane, [{"id": row.id, "owner": None, "lease_until": None} for row in rows if row.owner == owner])


def settle(conn: Connection, pending: Sequence[Pending], now: datetime, reason: str = "told by the platform") -> None:
    """Deliveries that a platform proves to be sent, or an operator says are; their lanes wait no longer.

    These lanes are locked already.
    """
    update_rows(
        conn,
        delivery,
        [{"id": one.id, "state": "sent", "open": False, "reason": reason, "updated_at": now} for one in pending],
    )
    _go_on(conn, {one.lane_id for one in pending})


@locks(lambda lane_id, *_: (lane_id,), by_itself=True)
@unit("postpone")
def postpone(conn: Connection, lane_id: str, wait: float, why: str, owner: str) -> None:
    """Let a lane wait so many seconds and give its lease back, if it is ours."""
    due_at = dialect.now(conn) + timedelta(seconds=wait)
    conn.execute(
        update(lane)
        .where(lane.c.id == lane_id, lane.c.owner == owner)
        .values(owner=None, lease_until=None, due_at=due_at, why=why)
    )


@locks(lambda lane_ids: lane_ids)
@unit("hurry")
def hurry(conn: Connection, lane_ids: Sequence[str]) -> None:
    """Let lanes that wait go on now: whatever kept them is over."""
    _go_on(conn, lane_ids)


def hurry_link(conn: Connection, link: str) -> None:
    """The same for all busy lanes of a link."""
    its = select(conversation.c.id).where(conversation.c.link == link)
    waiting = and_(IS_BUSY, lane.c.due_at.is_not(None), lane.c.conversation_id.in_(its))
    hold(conn, conn.execute(select(lane.c.id).where(waiting)).scalars())
    conn.execute(update(lane).where(waiting).values(due_at=None))


def _go_on(conn: Connection, lane_ids: Iterable[str]) -> None:
    update_rows(conn, lane, [{"id": one, "due_at": None} for one in set(lane_ids)])


def in_flight(conn: Connection, lane_ids: Iterable[str]) -> dict[str, str]:
    """Those of the lanes whose head is a send that is not settled: whether it is `sending`, or in doubt (`unknown`)."""
    heads = _heads(conn, set(lane_ids))
    return {
        lane_id: head.state
        for lane_id, head in heads.items()
        if head.state in ("sending", "unknown") and head.op == Op.MESSAGE
    }


def of_message(conn: Connection, message_id: str) -> list[LaneName]:
    """The lanes in which a message still waits."""
    rows = conn.execute(
        select(delivery.c.lane_id, conversation.c.link, delivery.c.target)
        .join(lane, lane.c.id == delivery.c.lane_id)
        .join(conversation, conversation.c.id == lane.c.conversation_id)
        .where(delivery.c.message == message_id, delivery.c.open)
        .distinct()
    )
    return [LaneName(*row) for row in rows]


def due(conn: Connection, limit: int, *, after: str = "") -> list[tuple[LaneName, float | None]]:
    """Busy lanes that nobody holds, by id after `after`: (lane, seconds that it waits or None for now)."""
    now = dialect.now(conn)
    rows = conn.execute(
        select(lane.c.id, conversation.c.link, lane.c.target, lane.c.due_at)
        .join(conversation, conversation.c.id == lane.c.conversation_id)
        .where(IS_BUSY, lane.c.id > after, lane.c.owner.is_(None) | (lane.c.lease_until < now))
        .order_by(lane.c.id)
        .limit(limit)
    )
    return [
        (LaneName(row.id, row.link, row.target), None if row.due_at is None else _seconds(row.due_at, now))
        for row in rows
    ]


def _seconds(until: datetime, now: datetime) -> float:
    return max(0.0, (until - now).total_seconds())


@apart
@unit("release_all")
def release_all(conn: Connection, owner: str, but: Collection[str] = ()) -> None:
    """Give every lease of this owner back, but those of some lanes."""
    its = and_(lane.c.owner == owner, lane.c.id.not_in(but))
    hold(conn, conn.execute(select(lane.c.id).where(its)).scalars())
    conn.execute(update(lane).where(its).values(owner=None, lease_until=None))


@unit("disown_all")
def disown_all(conn: Connection) -> None:
    """Free every lease. Only for the one process of a SQLite database, at its start: whoever had them is dead."""
    conn.execute(update(lane).where(lane.c.owner.is_not(None)).values(owner=None, lease_until=None))


def _heads(conn: Connection, lane_ids: Iterable[str] | Mapping[str, Any]) -> dict[str, Head]:
    wanted = list(lane_ids)
    if not wanted:
        return {}
    rows = run(conn, _HEADS_POSTGRESQL if is_postgresql(conn) else _HEADS_SQLITE, pack(conn, wanted))
    return {row[0]: Head(*row) for row in rows}


def _head_statement(lanes: str) -> Any:
    # A correlated look-up a lane: a lane of ten thousand costs no more than a lane of one.
    statement = text(
        "SELECT d.lane_id, d.id, d.state, d.attempts, d.tried_at, d.sessionid, d.forced, d.op, d.revision "  # noqa: S608 — constants of this file
        f"FROM {lanes} JOIN delivery AS d ON d.id = (SELECT e.id FROM delivery AS e "
        "WHERE e.lane_id = l.id AND e.open ORDER BY e.seq, e.part, e.id LIMIT 1)"
    )
    return statement.columns(
        delivery.c.lane_id,
        delivery.c.id,
        delivery.c.state,
        delivery.c.attempts,
        delivery.c.tried_at,
        delivery.c.sessionid,
        delivery.c.forced,
        delivery.c.op,
        delivery.c.revision,
    )


_HEADS_SQLITE = _head_statement("(SELECT value AS id FROM json_each(:keys)) AS l")
_HEADS_POSTGRESQL = _head_statement("unnest(CAST(:keys_0 AS text[])) AS l (id)")

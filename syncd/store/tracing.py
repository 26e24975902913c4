"""All that was made of a message, as `syncd trace` tells it; read only.

A few statements whatever the number of messages, each on an index that delivering needs anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, select, text, tuple_

from syncd.model import traced
from syncd.model.facts import CopyStatus
from syncd.model.files import FileKind
from syncd.model.sending import Author
from syncd.model.text import from_bytes
from syncd.model.topology import Topology
from syncd.model.traced import AccountState, Around, CopyFound, FileFound, Leg, Message, Operation, Pause, Try
from syncd.model.work import CHANNEL, Chat, Op, extension_of
from syncd.store import named, operations, reports, sessions
from syncd.store.schema import (
    IS_BUSY,
    attempt,
    conversation,
    delivery,
    event,
    lane,
    mapping,
    message,
    operation,
)
from syncd.store.schema import media as file_table

_AT_ONCE = 200
"""Messages that are read together."""
_heads = delivery.alias("heads")
_mine = delivery.alias("mine")
# Written into the statement, so that both databases see that the partial index serves.
_HEAD_OPEN = text("heads.open")


def around(conn: Connection, topology: Topology, now: datetime) -> Around:
    """What keeps deliveries now."""
    states = {
        name: AccountState(row.state, row.reason, row.since, row.until)
        for name, row in reports.account_states(conn).items()
    }
    if any(state.state == "throttled" and state.until is None for state in states.values()):
        for account, until in _throttled(conn, topology, now).items():
            if account in states and states[account].state == "throttled":
                states[account] = AccountState("throttled", states[account].reason, states[account].since, until)
    pauses = {name: Pause(row.asked_by, row.since) for name, row in operations.paused(conn).items()}
    return Around(now, pauses, states)


def _throttled(conn: Connection, topology: Topology, now: datetime) -> dict[str, datetime]:
    """Until when each account is throttled, as the lanes say that found it out."""
    found: dict[str, datetime] = {}
    rows = conn.execute(
        select(lane.c.target, lane.c.due_at, conversation.c.link)
        .join(conversation, conversation.c.id == lane.c.conversation_id)
        .where(IS_BUSY, lane.c.due_at > now, lane.c.why.startswith("rate limited", autoescape=True))
    )
    for row in rows:
        account = _account(topology, row.link, row.target)
        if account is not None:
            found[account] = max(found.get(account, row.due_at), row.due_at)
    return found


def _account(topology: Topology, link_name: str, target: str) -> str | None:
    link = topology.link(link_name)
    if link is None:
        return None
    return link.channel.account if target == CHANNEL else link.desk.account


def messages(conn: Connection, ids: Sequence[str], topology: Topology) -> list[Message]:
    """These messages with all that was made of them, in this order."""
    return [
        one
        for start in range(0, len(ids), _AT_ONCE)
        for one in _messages(conn, ids[start : start + _AT_ONCE], topology)
    ]


def _messages(conn: Connection, ids: Sequence[str], topology: Topology) -> list[Message]:
    said = {
        row.id: row
        for row in conn.execute(
            select(message, conversation.c.link, conversation.c.contact)
            .join(conversation, conversation.c.id == message.c.conversation_id)
            .where(message.c.id.in_(ids))
        )
    }
    copies = _by_message(
        conn.execute(select(mapping).where(mapping.c.message.in_(ids)).order_by(mapping.c.created_at, mapping.c.part))
    )
    files = _by_message(
        conn.execute(select(file_table).where(file_table.c.message.in_(ids)).order_by(file_table.c.place))
    )
    events = {
        row.id: row
        for row in conn.execute(select(*named.EVENT).where(event.c.id.in_([row.event_id for row in said.values()])))
    }
    in_sessions = {
        (one.account, one.sessionid): one
        for one in named.sessions_at(
            conn,
            {(row.account, row.sessionid) for rows in copies.values() for row in rows if row.sessionid is not None},
        )
    }
    legs = _legs(conn, said, topology)
    found = []
    for message_id in ids:
        row = said.get(message_id)
        if row is None:
            continue
        theirs = [_copy(one) for one in copies.get(message_id, ())]
        held_in = {(one.account, one.sessionid): None for one in theirs if one.sessionid is not None}
        told = events.get(row.event_id)
        found.append(
            Message(
                id=row.id,
                link=row.link,
                contact=row.contact,
                conversation_id=row.conversation_id,
                seq=row.seq,
                author=Author(row.author),
                extension=row.extension,
                text=None if row.body is None else from_bytes(row.body),
                quote=from_bytes(row.quote),
                said_at=row.said_at,
                created_at=row.created_at,
                revision=row.revision,
                event=named.event_from(told, row.id) if told is not None else None,
                files=tuple(_file(one) for one in files.get(message_id, ())),
                copies=tuple(theirs),
                legs=tuple(legs.get(message_id, ())),
                sessions=tuple(in_sessions[key] for key in held_in if key in in_sessions),
            )
        )
    return found


def _legs(conn: Connection, said: dict[str, Any], topology: Topology) -> dict[str, list[Leg]]:
    rows = conn.execute(
        select(delivery, lane.c.due_at, lane.c.why)
        .outerjoin(lane, lane.c.id == delivery.c.lane_id)
        .where(delivery.c.message.in_(said))
        .order_by(delivery.c.id)
    ).all()
    ids = [row.id for row in rows]
    tries: dict[str, list[Try]] = {}
    for row in conn.execute(select(attempt).where(attempt.c.delivery_id.in_(ids)).order_by(attempt.c.at)):
        kind = row._mapping["class"]
        one = Try(row.at, row.number, kind, row.http_status, row.took_ms, row.reason, row.answer)
        tries.setdefault(row.delivery_id, []).append(one)
    decided: dict[str, list[Operation]] = {}
    for row in conn.execute(select(operation).where(operation.c.subject.in_(ids)).order_by(operation.c.id)):
        decided.setdefault(row.subject, []).append(named.operation_from(row))
    opened = [row for row in rows if row.open]
    ahead = _ahead(conn, [row.id for row in opened])
    opening = _opening(conn, opened, said, topology)
    legs: dict[str, list[Leg]] = {}
    for row in rows:
        leg = Leg(
            id=row.id,
            reference=row.reference,
            target=row.target,
            op=Op(row.op),
            part=row.part,
            revision=row.revision,
            state=row.state,
            open=row.open,
            reason=row.reason,
            account=_account(topology, said[row.message].link, row.target),
            created_at=row.created_at,
            updated_at=row.updated_at,
            tried_at=row.tried_at,
            sessionid=row.sessionid,
            forced=row.forced,
            history=row.history,
            due_at=row.due_at if row.open else None,
            why=(row.why or "") if row.open else "",
            ahead=ahead.get(row.id),
            opening=row.id in opening,
            tries=tuple(tries.get(row.id, ())),
            operations=tuple(decided.get(row.id, ())),
        )
        legs.setdefault(row.message, []).append(leg)
    return legs


def _ahead(conn: Connection, ids: Sequence[str]) -> dict[str, traced.Ahead]:
    """What each of these open deliveries waits behind; those that are first in their lane are left out."""
    if not ids:
        return {}
    before = and_(
        _heads.c.lane_id == _mine.c.lane_id,
        _HEAD_OPEN,
        tuple_(_heads.c.seq, _heads.c.part, _heads.c.id) < tuple_(_mine.c.seq, _mine.c.part, _mine.c.id),
    )
    counted = conn.execute(
        select(_mine.c.id, _mine.c.lane_id, func.count())
        .join(_heads, before)
        .where(_mine.c.id.in_(ids))
        .group_by(_mine.c.id, _mine.c.lane_id)
    ).all()
    first: dict[str, Any] = {}
    for lane_id in {row.lane_id for row in counted}:
        first[lane_id] = conn.execute(
            select(_heads)
            .where(_heads.c.lane_id == lane_id, _HEAD_OPEN)
            .order_by(_heads.c.seq, _heads.c.part, _heads.c.id)
            .limit(1)
        ).one()
    return {
        delivery_id: traced.Ahead(count, head.id, head.message, head.state, head.reason)
        for delivery_id, lane_id, count in counted
        for head in (first[lane_id],)
    }


def _opening(conn: Connection, opened: Iterable[Any], said: dict[str, Any], topology: Topology) -> set[str]:
    """Those of the deliveries whose session is being opened this moment."""
    chats: dict[str, Chat] = {}
    for row in opened:
        about, extension = said[row.message], extension_of(row.target)
        link = topology.link(about.link)
        if link is not None and extension is not None:
            chats[row.id] = Chat(link.desk.account, link.desk.key, extension, about.contact)
    current = sessions.current(conn, chats.values())
    return {one for one, chat in chats.items() if chat in current and current[chat].state == "opening"}


def _copy(row: Any) -> CopyFound:
    status = CopyStatus(row.status)
    return CopyFound(
        row.account,
        row.extension,
        row.sessionid,
        row.messageid,
        row.part,
        row.origin,
        status,
        row.created_at,
        row.updated_at,
    )


def _file(row: Any) -> FileFound:
    return FileFound(FileKind(row.kind), row.name, row.size, row.state, row.reason, row.attempts, row.due_at)


def _by_message(rows: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.message, []).append(row)
    return found

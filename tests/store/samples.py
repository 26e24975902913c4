"""Lanes with something to deliver."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from syncd.model.sending import Author
from syncd.model.text import to_bytes
from syncd.model.work import CHANNEL, Duty, lane_id
from syncd.store import lanes
from syncd.store.dialect import insert_rows
from syncd.store.lanes import Completion, Held
from syncd.store.schema import conversation, message
from tests.model.samples import CONTACT

LEASE = timedelta(seconds=90)


def duty(number: int, conversation_id: str = "c1", target: str = CHANNEL) -> Duty:
    """The delivery of the `number`-th message of a conversation."""
    name = f"{conversation_id}-{number:05}"
    return Duty(
        delivery_id=f"d-{name}-{target}",
        lane_id=lane_id(conversation_id, target),
        target=target,
        reference=f"syncd-{name}-{target}",
        link="sms",
        conversation_id=conversation_id,
        contact=CONTACT,
        spelling="447700900123",
        name="Ann",
        message=f"m-{name}",
        seq=number,
        author=Author.USER,
        author_extension="9003",
        text=f"text {number} \x00 \ud800",
        said_at=datetime(2026, 3, 14, 15, 9, number % 60, tzinfo=UTC),
        created_at=datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC),
    )


def put(conn: Connection, *duties: Duty) -> None:
    """Store the duties with their messages and conversations, as a translation does."""
    insert_rows(
        conn,
        conversation,
        [
            {
                "id": one,
                "link": "sms",
                "contact": f"{CONTACT}-{one}" if one != "c1" else CONTACT,
                "spelling": "447700900123",
                "name": "Ann",
                "next_seq": 1,
                "contact_wrote_at": None,
                "created_at": datetime.now(UTC),
            }
            for one in dict.fromkeys(duty.conversation_id for duty in duties)
        ],
        skip_known=True,
    )
    insert_rows(
        conn,
        message,
        [
            {
                "id": one.message,
                "conversation_id": one.conversation_id,
                "seq": one.seq,
                "author": one.author,
                "extension": one.author_extension,
                "body": to_bytes(one.text),
                "said_at": one.said_at,
                "created_at": one.created_at,
                "event_id": None,
            }
            for one in {duty.message: duty for duty in duties}.values()
        ],
        skip_known=True,
    )
    lanes.add(conn, duties, duties[0].created_at)


def claim(conn: Connection, owner: str, *lane_ids: str, lease: timedelta = LEASE) -> dict[str, Any]:
    """Claim and mark what was got as being sent, as the dispatcher does."""
    found, now = lanes.claim(conn, lane_ids, owner, lease)
    lanes.start(conn, [(one, None) for one in found.values() if isinstance(one, Held)], now)
    return found


def completion(held: Held, state: str = "sent", *, wait: float | None = None, why: str = "") -> Completion:
    """What becomes of a lane's head."""
    return Completion(
        held.head.lane_id,
        held.head.delivery_id,
        held.token,
        state,
        state in ("ready", "unknown"),
        wait,
        why,
        held.head.attempts + 1,
    )

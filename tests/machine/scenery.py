"""Who there is: links, users, contacts, and the times of a world that has nothing to do with today."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from syncd.model.topology import Link, Topology
from tests.model.samples import ORGANIZATION, link

EPOCH = datetime(2040, 1, 1, tzinfo=UTC)
"""When every example begins; a time before it in the database is one that nobody passed in."""
DESK, BIRD, ISLASH = "office", "bird", "islash"
CONTACTS = ("+447700900123", "+447700900456")
POLLED = ("sms-channel", "solo-channel")
"""The channel ends whose messages can be listed."""
FINDS_SENT = frozenset({BIRD})

Policy = Literal["hold", "resend"]

__all__ = ["BIRD", "CONTACTS", "DESK", "EPOCH", "FINDS_SENT", "ISLASH", "ORGANIZATION", "POLLED", "Policy", "topology"]


def topology(policy: Policy) -> Topology:
    """Two links share two users, so that lanes of both lead into the same chats; a third has a user of its own."""

    def one(name: str, account: str, *users: str, position: int) -> Link:
        return link(name, account, *users, position=position, on_unknown=policy, failure_notice=False, edits="ignore")

    return Topology(
        (
            one("sms", BIRD, "9003", "9004", position=0),
            one("whatsapp", ISLASH, "9003", "9004", position=1),
            one("solo", BIRD, "9005", position=2),
        )
    )

"""Failures are told: an event of syncd's own for each message that did not reach its contact, or may not have.

It is written in the commit that gives the delivery up, and translated like any other event, so that neither a crash nor
a second failure loses or doubles what the user is told.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from syncd.model import notice
from syncd.model.facts import Fact, Undelivered
from syncd.model.records import Untold
from syncd.model.sending import Author
from syncd.model.text import storable
from syncd.model.topology import Link
from syncd.model.work import CHANNEL, Duty, Op
from syncd.store.inbox import Arrival

ACCOUNT = "@syncd"
"""Account of syncd's own events; no account in a config can have this name."""


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    link: str
    contact: str
    extension: str
    text: str


def due(duty: Duty, link: Link | None, state: str, reason: str, event_id: str, now: datetime) -> Arrival | None:
    """The event for a delivery that ended in `state`, if somebody is to be told; one a message at most."""
    told = duty.target == CHANNEL and duty.author is Author.USER and duty.author_extension is not None
    told = told and duty.op is Op.MESSAGE
    if link is None or not link.failure_notice or not told or state not in ("dead", "unknown"):
        return None
    said = storable(duty.text) or ", ".join(file.name or file.kind for file in duty.files)
    text = notice.undelivered(said, reason) if state == "dead" else notice.in_doubt(said)
    return _arrival(duty.link, duty.contact, duty.author_extension or "", text, duty.message, event_id, now)


def of_failure(untold: Untold, link: Link | None, event_id: str, now: datetime) -> Arrival | None:
    """The event for a message of which the channel says afterwards that it did not arrive."""
    said = untold.said
    if link is None or not link.failure_notice or said.extension is None:
        return None
    words = storable(said.text) or ", ".join(said.kinds)
    text = notice.undelivered(words, storable(untold.reason))
    return _arrival(said.link, said.contact, said.extension, text, said.id, event_id, now)


def _arrival(link: str, contact: str, extension: str, text: str, message: str, event_id: str, now: datetime) -> Arrival:
    body = _Body(link, contact, extension, text)
    return Arrival(event_id, ACCOUNT, f"notice:{message}", "", "syncd", msgspec.json.encode(body), now)


def parse(body: bytes) -> tuple[Fact, ...]:
    """What such an event says."""
    told = msgspec.json.decode(body, type=_Body)
    return (Undelivered(told.link, told.contact, told.extension, told.text),)

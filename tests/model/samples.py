"""Links, facts and a picture for tests of decisions: two links share two users, a third has a user of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.model.decide import decide
from syncd.model.facts import ChannelSaid, ContactForm, ContactSaid, CopyStatus, Fact, StatusSeen, UserSaid
from syncd.model.outcome import Incoming, Outcome
from syncd.model.picture import Picture
from syncd.model.records import Copy, Nameless, Pending, Session
from syncd.model.sending import Author
from syncd.model.topology import ChannelEnd, DeskEnd, Link, Topology
from syncd.model.work import Chat, lane_id

NOW = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
ORGANIZATION = "17076444409917912922"
CONTACT = "+447700900123"


def link(name: str, account: str, *users: str, position: int = 0, **changes: Any) -> Link:
    """A link of the one desk to the channel of the same name on `account`."""
    settings: dict[str, Any] = {
        "region": "GB",
        "on_unknown": "hold",
        "max_age": timedelta(days=36_500),
        "edits": "note",
        "failure_notice": True,
    }
    desk = DeskEnd("office", ORGANIZATION, users)
    return Link(name, desk, ChannelEnd(account, f"{name}-channel"), position=position, **(settings | changes))


TOPOLOGY = Topology(
    (
        link("sms", "bird", "9003", "9004"),
        link("whatsapp", "islash", "9003", "9004", position=1),
        link("solo", "bird", "9005", position=2),
    )
)


def counter(prefix: str = "id") -> Callable[[], str]:
    """Ids in order, told apart by eye."""
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers):04}"


def picture() -> Picture:
    """A picture of an empty store."""
    return Picture(counter(), NOW)


def chat(extension: str = "9003", contact: str = CONTACT) -> Chat:
    """The chat of a user with a contact."""
    return Chat("office", ORGANIZATION, extension, contact)


def contact_said(messageid: str | None = "c1", text: str = "hello", **changes: Any) -> ContactSaid:
    """The contact wrote on the link `sms`."""
    fields: dict[str, Any] = {
        "end": "sms-channel",
        "contact": CONTACT,
        "form": ContactForm.INTERNATIONAL,
        "said_at": NOW - timedelta(seconds=5),
    }
    return ContactSaid(messageid=messageid, text=text, **(fields | changes))


def user_said(messageid: str | None = "u1", text: str = "good day", **changes: Any) -> UserSaid:
    """User 9003 wrote to the contact, in a session."""
    fields: dict[str, Any] = {
        "organization": ORGANIZATION,
        "extension": "9003",
        "userid": None,
        "contact": CONTACT,
        "form": ContactForm.PHONE,
        "sessionid": "s1",
        "said_at": None,
    }
    return UserSaid(messageid=messageid, text=text, **(fields | changes))


def channel_said(messageid: str = "a1", text: str = "an agent here", **changes: Any) -> ChannelSaid:
    """Somebody spoke to the contact on the channel of `sms`."""
    fields: dict[str, Any] = {
        "end": "sms-channel",
        "reference": None,
        "contact": CONTACT,
        "form": ContactForm.INTERNATIONAL,
        "said_at": NOW,
        "status": CopyStatus.SENT,
    }
    return ChannelSaid(messageid=messageid, text=text, **(fields | changes))


def status_seen(status: CopyStatus, messageid: str | None = "a1", **changes: Any) -> StatusSeen:
    """What became of a copy."""
    return StatusSeen(status, messageid=messageid, **changes)


ACCOUNTS = {ContactSaid: "bird", ChannelSaid: "bird", StatusSeen: "bird", UserSaid: "office"}


def incoming(*facts: Fact, account: str | None = None, event_id: str = "e1", at: datetime = NOW) -> Incoming:
    """An event with these facts, by default of the account whose kind it is."""
    return Incoming(event_id, account or ACCOUNTS[type(facts[0])], at, facts)


def tell(there: Picture, *facts: Fact, account: str | None = None, at: datetime = NOW) -> Outcome:
    """Decide on one event."""
    return decide(there, TOPOLOGY, incoming(*facts, account=account, at=at))


def open_session(there: Picture, sessionid: str = "s1", extension: str = "9003", contact: str = CONTACT) -> Session:
    """A chat with a current session."""
    opened = Session(f"row-{sessionid}", chat(extension, contact), sessionid, contact, "open", True, NOW)
    there.sessions["office", sessionid] = opened
    there.current[opened.chat] = opened
    return opened


def pending(there: Picture, target: str, *, number: int = 1, text: str = "hello", **changes: Any) -> Pending:
    """A send of ours to the contact on the link `sms`, that is not known to be done."""
    conversation = there.conversation("sms", CONTACT)
    fields: dict[str, Any] = {"state": "sending", "author": Author.CONTACT, "sessionid": None, "tried_at": NOW}
    return Pending(
        id=f"d{number}",
        lane_id=lane_id(conversation.id, target),
        message=f"message-{number}",
        target=target,
        part=0,
        conversation_id=conversation.id,
        link="sms",
        contact=CONTACT,
        text=text,
        **(fields | changes),
    )


def nameless(
    there: Picture, message: str = "message-1", *, text: str = "hello", ago: timedelta = timedelta(seconds=5)
) -> Copy:
    """A copy that we wrote into the session `s1` of user 9003, and whose id the desk did not tell."""
    copy = Copy(message, "sms", "office", CONTACT, "9003", "s1", None, "in", False, CopyStatus.SENT)
    there.nameless.setdefault(("office", "s1"), []).append(Nameless(copy, text, NOW - ago))
    return copy

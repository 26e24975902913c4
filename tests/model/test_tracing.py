"""The sentence that ends a trace, for everything that a message can have come to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.model.facts import CopyStatus
from syncd.model.files import FileKind
from syncd.model.sending import Author
from syncd.model.traced import (
    AccountState,
    Ahead,
    Around,
    Conversation,
    CopyFound,
    Event,
    FileFound,
    Found,
    Leg,
    Message,
    Operation,
    Pause,
    Session,
    Try,
)
from syncd.model.tracing import sentence
from syncd.model.work import CHANNEL, Op

NOW = datetime(2026, 3, 14, 14, 2, 30, tzinfo=UTC)
THEN = datetime(2026, 3, 14, 14, 2, 11, tzinfo=UTC)
LATER = datetime(2026, 3, 14, 14, 3, tzinfo=UTC)
QUIET = Around(NOW)


def leg(target: str = CHANNEL, state: str = "sent", **changes: Any) -> Leg:
    """A delivery that is as far as `state` says."""
    fields: dict[str, Any] = {
        "id": f"d-{target}",
        "reference": f"syncd-d-{target}",
        "op": Op.MESSAGE,
        "part": 0,
        "revision": 0,
        "open": state in ("ready", "sending"),
        "reason": "",
        "account": "bird" if target == CHANNEL else "office",
        "created_at": THEN,
        "updated_at": THEN,
    }
    return Leg(target=target, state=state, **(fields | changes))


def copy(extension: str | None = None, status: CopyStatus = CopyStatus.SENT, **changes: Any) -> CopyFound:
    """A copy of ours, on the channel or in a user's chat."""
    account = "bird" if extension is None else "office"
    sessionid = None if extension is None else "s1"
    found = CopyFound(account, extension, sessionid, "m1", 0, False, status, THEN, THEN)
    return replace(found, **changes)


def by_user(*legs: Leg, **changes: Any) -> Message:
    """User 9003 wrote."""
    return by_contact(*legs, **({"author": Author.USER, "extension": "9003"} | changes))


def by_contact(*legs: Leg, **changes: Any) -> Message:
    """The contact wrote."""
    fields: dict[str, Any] = {
        "id": "m",
        "link": "sms",
        "contact": "+447700900001",
        "conversation_id": "c",
        "seq": 1,
        "author": Author.CONTACT,
        "extension": None,
        "text": "hello",
        "quote": "",
        "said_at": THEN,
        "created_at": THEN,
        "revision": 0,
        "legs": legs,
    }
    return Message(**(fields | changes))


def event(state: str, reason: str = "", **changes: Any) -> Event:
    """An event that made no message."""
    return replace(
        Event("e", "office", "key", "webhook", state, reason, THEN, 1, None, None, kept=True),
        **changes,
    )


def account(state: str, reason: str = "HTTP 503", until: datetime | None = None, name: str = "bird") -> Around:
    """One account is not well."""
    return Around(NOW, accounts={name: AccountState(state, reason, THEN, until)})


READY = leg(state="ready")
BEHIND = Ahead(2, "d9", "m9", "ready", "")
REFUSED = Try(THEN, 1, "rejected", 422, 30, "no such recipient", "{}")
PHOTO = FileFound(FileKind.IMAGE, "photo.jpg", 1, "wanted", "")
CLOSED = Session("r1", "office", "org", "9003", "+447700900001", "s1", "closed", False, THEN, "s2", LATER)
RETRY = "`syncd dead retry d-channel`"
SETTLE = "`syncd unknown settle d-channel` with --sent REMOTE_ID, --resend or --drop"

MESSAGES: dict[str, tuple[Message, Around, str]] = {
    "delivered": (
        by_user(leg(), leg("desk:9004"), copies=(copy(status=CopyStatus.DELIVERED), copy("9004"))),
        QUIET,
        "On the channel and in 9004's chat since 14:02:11 UTC; delivered to the contact.",
    ),
    "read by the contact": (
        by_user(leg(), copies=(copy(status=CopyStatus.READ),)),
        QUIET,
        "On the channel since 14:02:11 UTC; read by the contact.",
    ),
    "one of two pieces is read": (
        by_user(leg(), leg(part=1), copies=(copy(status=CopyStatus.READ), copy(part=1))),
        QUIET,
        "On the channel since 14:02:11 UTC.",
    ),
    "read by one user": (
        by_contact(
            leg("desk:9003"),
            leg("desk:9004"),
            copies=(copy("9003", CopyStatus.READ), copy("9004", CopyStatus.DELIVERED)),
        ),
        QUIET,
        "In 9003's chat and in 9004's chat since 14:02:11 UTC; read by 9003; delivered to 9004.",
    ),
    "on another day": (
        by_contact(leg("desk:9003", updated_at=THEN - timedelta(days=1))),
        QUIET,
        "In 9003's chat since 2026-03-13 14:02:11 UTC.",
    ),
    "into the history": (
        by_contact(leg("desk:9003", history=True)),
        QUIET,
        "In the history of 9003's chat since 14:02:11 UTC.",
    ),
    "to nobody": (by_contact(), QUIET, "Only recorded: there was nobody to deliver it to."),
    "its turn": (by_user(READY), QUIET, "Waiting for the channel since 14:02:11 UTC: its turn has come."),
    "behind another delivery": (
        by_user(replace(READY, ahead=replace(BEHIND, count=1, state="sending"))),
        QUIET,
        "Waiting for the channel since 14:02:11 UTC behind another delivery of its lane (d9 of message m9): "
        "that one is under way.",
    ),
    "behind several and a doubt": (
        by_user(replace(READY, ahead=replace(BEHIND, state="unknown", reason="no answer"))),
        QUIET,
        "Waiting for the channel since 14:02:11 UTC behind 2 other deliveries of its lane (d9, the first of message "
        "m9): that one is in doubt (no answer).",
    ),
    "a retry": (
        by_user(replace(READY, due_at=LATER, why="HTTP 500")),
        QUIET,
        "Waiting for the channel since 14:02:11 UTC: HTTP 500, tried again at 14:03:00 UTC.",
    ),
    "throttled until": (
        by_user(READY),
        account("throttled", until=LATER),
        "Waiting for the channel since 14:02:11 UTC: account bird is throttled until 14:03:00 UTC.",
    ),
    "rate limited, as its lane says": (
        by_user(replace(READY, due_at=LATER, why="rate limited: slow down")),
        QUIET,
        "Waiting for the channel since 14:02:11 UTC: account bird is throttled until 14:03:00 UTC.",
    ),
    "unauthorised": (
        by_user(READY),
        account("unauthorised", "HTTP 401"),
        "Waiting for the channel since 14:02:11 UTC: account bird is refused (HTTP 401); correct its key, then "
        "`syncd resume bird`.",
    ),
    "failing": (
        by_user(replace(READY, due_at=LATER, why="not connected")),
        account("failing"),
        "Waiting for the channel since 14:02:11 UTC: account bird is failing since 14:02:11 UTC (HTTP 503), tried "
        "again at 14:03:00 UTC.",
    ),
    "another account is failing": (
        by_user(READY),
        account("failing", name="office"),
        "Waiting for the channel since 14:02:11 UTC: its turn has come.",
    ),
    "account paused": (
        by_user(READY, leg("desk:9004", "ready")),
        Around(NOW, {"bird": Pause("root", THEN)}),
        "Waiting for the channel since 14:02:11 UTC: account bird was paused by root at 14:02:11 UTC; `syncd resume "
        "bird`; waiting for 9004's chat since 14:02:11 UTC: its turn has come.",
    ),
    "link paused": (
        by_user(READY, leg("desk:9004", "ready")),
        Around(NOW, {"sms": Pause("root", THEN)}),
        "Waiting for the channel and 9004's chat since 14:02:11 UTC: link sms was paused by root at 14:02:11 UTC; "
        "`syncd resume sms`.",
    ),
    "its file is being fetched": (
        by_user(READY, files=(PHOTO,)),
        QUIET,
        "Waiting for the channel since 14:02:11 UTC: its file is being fetched (image photo.jpg).",
    ),
    "its file could not be had": (
        by_contact(leg("desk:9003"), files=(replace(PHOTO, state="missing", reason="HTTP 404"),)),
        QUIET,
        "In 9003's chat since 14:02:11 UTC; its image photo.jpg could not be had: HTTP 404.",
    ),
    "a session is being opened": (
        by_contact(leg("desk:9003", "ready", opening=True)),
        QUIET,
        "Waiting for 9003's chat since 14:02:11 UTC: the session is being opened.",
    ),
    "its link is gone": (
        by_user(replace(READY, account=None)),
        QUIET,
        "Waiting for the channel since 14:02:11 UTC: its link sms is not configured any more.",
    ),
    "under way": (
        by_user(leg(state="sending", tried_at=THEN)),
        QUIET,
        "Being sent to the channel since 14:02:11 UTC.",
    ),
    "dead": (
        by_user(leg(state="dead", reason="no such recipient", tries=(REFUSED,)), leg("desk:9004")),
        QUIET,
        f"Given up for the channel at 14:02:11 UTC: bird refused it: no such recipient (HTTP 422); tell {RETRY}; in "
        "9004's chat since 14:02:11 UTC.",
    ),
    "older than max_age": (
        by_user(leg(state="dead", reason="older than max_age: said 2026-03-13 01:00 UTC")),
        QUIET,
        f"Given up for the channel at 14:02:11 UTC: older than max_age: said 2026-03-13 01:00 UTC; tell {RETRY}.",
    ),
    "refused later": (
        by_user(leg(), copies=(copy(status=CopyStatus.FAILED),)),
        QUIET,
        "The channel took it, and told later that it could not be delivered; on the channel since 14:02:11 UTC.",
    ),
    "held in doubt": (
        by_user(leg(state="unknown", reason="held: its answer was lost and no news came", tried_at=THEN)),
        QUIET,
        "Unknown since 14:02:11 UTC whether it reached the channel: held: its answer was lost and no news came; look "
        f"there, then tell {SETTLE}.",
    ),
    "a doubt that is being settled": (
        by_user(leg(state="unknown", reason="not found yet", open=True)),
        QUIET,
        "Unknown since 14:02:11 UTC whether it reached the channel, which is being found out: not found yet.",
    ),
    "settled by hand": (
        by_user(leg(reason="settled as sent by root")),
        QUIET,
        "On the channel since 14:02:11 UTC, as root settled by hand.",
    ),
    "dropped": (
        by_user(leg(state="skipped", reason="dropped by root"), leg("desk:9004")),
        QUIET,
        "Dropped by root for the channel at 14:02:11 UTC; in 9004's chat since 14:02:11 UTC.",
    ),
    "withdrawn in the queue": (
        by_user(
            leg(state="skipped", reason="taken back or replaced by its author"),
            copies=(copy("9003", CopyStatus.DELETED, origin=True),),
        ),
        QUIET,
        "Not sent to the channel at 14:02:11 UTC: taken back or replaced by its author; taken back by its author.",
    ),
    "edited in the queue": (
        by_user(replace(READY, revision=1), revision=1),
        QUIET,
        "Waiting for the channel since 14:02:11 UTC: its turn has come; edited once while it waited, so that the new "
        "text goes out.",
    ),
    "an edit that waits": (
        by_user(leg("desk:9004"), leg("desk:9004", "ready", op=Op.EDIT, revision=2), revision=2),
        QUIET,
        "Waiting for the edit in 9004's chat since 14:02:11 UTC: its turn has come; in 9004's chat since 14:02:11 UTC; "
        "edited 2 times.",
    ),
    "a receipt says nothing of the message": (
        by_user(leg(), leg("desk:9003", "ready", op=Op.READ)),
        QUIET,
        "On the channel since 14:02:11 UTC.",
    ),
    "half of it": (
        by_user(leg(), replace(READY, part=1)),
        QUIET,
        "Waiting for part 2 of 2 for the channel since 14:02:11 UTC: its turn has come; part 1 of 2 on the channel "
        "since 14:02:11 UTC.",
    ),
    "its session was superseded": (
        by_contact(leg("desk:9003"), copies=(copy("9003"),), sessions=(CLOSED,)),
        QUIET,
        "In 9003's chat since 14:02:11 UTC; session s1 was closed, and 9003's chat goes on in s2 since 14:03:00 UTC.",
    ),
    "its text is gone": (
        by_contact(leg("desk:9003"), text=None),
        QUIET,
        "In 9003's chat since 14:02:11 UTC; its text was removed by retention.",
    ),
}


@pytest.mark.parametrize(("found", "around", "wanted"), MESSAGES.values(), ids=MESSAGES)
def test_a_message(found: Message, around: Around, wanted: str) -> None:
    """G13: where it is and why."""
    assert sentence(found, around) == wanted


EVENTS = {
    "echo": (
        event("ignored", "echo of message m1"),
        "Received at 14:02:11 UTC and ignored: echo of message m1, which syncd wrote there itself.",
    ),
    "duplicate": (
        event("ignored", "duplicate of message m1", copies=3, last_copy_at=NOW),
        "Received at 14:02:11 UTC (3 copies) and ignored: duplicate of message m1.",
    ),
    "a user on no link": (
        event("ignored", "no link lists this user"),
        "Received at 14:02:11 UTC and ignored: no link lists this user; to have such messages carried, add the user to "
        "a link's `users`.",
    ),
    "waiting": (
        event("waiting", "may be the echo of a send in flight"),
        "Waiting since 14:02:11 UTC: may be the echo of a send in flight.",
    ),
    "parked": (
        event("parked", "edit of a message that is not known", parked_for="m7"),
        "Parked since 14:02:11 UTC for m7, which has not come: edit of a message that is not known.",
    ),
    "parked and given up": (
        event("ignored", "edit of a message that is not known, which never came"),
        "Received at 14:02:11 UTC, parked and given up: edit of a message that is not known, which never came.",
    ),
    "failed": (
        event("failed", "KeyError in the translation"),
        "Received at 14:02:11 UTC, but it could not be translated: KeyError in the translation, a defect, told in the "
        "log as `event.failed`.",
    ),
    "done": (
        event("done", "read of message m1"),
        "Received at 14:02:11 UTC and done (read of message m1).",
    ),
}


@pytest.mark.parametrize(("found", "wanted"), EVENTS.values(), ids=EVENTS)
def test_an_event_that_made_no_message(found: Event, wanted: str) -> None:
    """G13: why nothing came of it."""
    assert sentence(found, QUIET) == wanted


def test_sessions_operations_and_conversations() -> None:
    """G13: what else has an id."""
    current = replace(CLOSED, current=True, state="open", heir=None, heir_since=None)
    asked = Operation("o1", "retry", "d1", "", "root", THEN, "done", "to be sent", done_at=NOW)
    talk = Conversation("c", "sms", "+447700900001", None, THEN, THEN)
    found: list[Found] = [CLOSED, current, replace(CLOSED, heir=None), asked, replace(asked, state="waiting"), talk]
    assert [sentence(one, QUIET) for one in found] == [
        "Superseded: 9003's chat with +447700900001 was in this session since 14:02:11 UTC, and goes on in session s2 "
        "since 14:03:00 UTC.",
        "9003's chat with +447700900001 is in this session since 14:02:11 UTC.",
        "Superseded: 9003's chat with +447700900001 has no session now.",
        "Retry of d1 was asked for by root at 14:02:11 UTC: done at 14:02:30 UTC, to be sent.",
        "Retry of d1 was asked for by root at 14:02:11 UTC, and waits for a daemon to do it.",
        "+447700900001 last wrote on link sms at 14:02:11 UTC.",
    ]
    assert sentence(replace(talk, contact_wrote_at=None), QUIET) == "+447700900001 has not written on link sms yet."

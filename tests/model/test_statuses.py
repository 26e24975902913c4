"""Decisions on what platforms tell of copies: what is taken, and whom it concerns."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from syncd.model.decide import decide
from syncd.model.facts import CopyStatus, StatusSeen
from syncd.model.outcome import Outcome
from syncd.model.picture import Picture
from syncd.model.records import Copy, Pending, Said
from syncd.model.statuses import NEWS_WITHIN
from syncd.model.topology import Topology
from syncd.model.work import CHANNEL, Duty, Op
from tests.model.samples import (
    CONTACT,
    NOW,
    channel_said,
    contact_said,
    incoming,
    open_session,
    pending,
    picture,
    user_said,
)
from tests.model.test_changes import COLLEAGUE, THREE, TWO, edit, sent, spoken, topology

SENT, DELIVERED, READ, FAILED = CopyStatus.SENT, CopyStatus.DELIVERED, CopyStatus.READ, CopyStatus.FAILED
HOME = "desk:9003"
"""Where its author wrote it."""
LINK = topology()
END = "sms-channel"


def tell(there: Picture, fact: StatusSeen, account: str = "bird", of: Topology = LINK) -> Outcome:
    return decide(there, of, incoming(fact, account=account))


def of_channel(status: CopyStatus, part: int = 0, **more: object) -> StatusSeen:
    """What Bird tells of a piece of the user's message."""
    return StatusSeen(status, messageid=f"channel-{part}", **more)  # type: ignore[arg-type]


def receipts(there: Picture) -> list[tuple[str, Op]]:
    return [(duty.target, duty.op) for duty in there.duties if duty.op.is_receipt]


def arrived(text: str = "hello", of: Topology = LINK, **how: object) -> tuple[Picture, Said]:
    """What user 9003 said is on the channel and in the colleague's chat."""
    there = picture()
    said = spoken(there, text, of, **how)
    sent(there, said, CHANNEL, COLLEAGUE)
    return there, said


# --- receipts ---


@pytest.mark.parametrize(("status", "op"), [(DELIVERED, Op.DELIVERED), (READ, Op.READ)])
def test_the_author_is_told_in_his_own_chat(status: CopyStatus, op: Op) -> None:
    there, said = arrived()
    outcome = tell(there, of_channel(status))
    assert (outcome.state, outcome.reason) == ("done", f"{status} of message {said.id}")
    assert receipts(there) == [(HOME, op)]
    duty: Duty = there.duties[-1]
    assert (duty.message, duty.part) == (said.id, 0)
    assert duty.seq > there.duties[0].seq
    assert there.copies["bird", "channel-0"].status is status


@pytest.mark.parametrize(
    ("told", "ops"),
    [
        ([DELIVERED, READ], [Op.DELIVERED, Op.READ]),
        ([READ, DELIVERED], [Op.READ]),
        ([DELIVERED, DELIVERED], [Op.DELIVERED]),
        ([SENT], []),
        ([FAILED, DELIVERED], [Op.DELIVERED]),
        ([CopyStatus.DELETED, READ], []),
    ],
    ids=["forwards", "backwards", "twice", "sent is no news", "after all", "of what is gone"],
)
def test_each_is_told_once_and_forwards(told: list[CopyStatus], ops: list[Op]) -> None:
    there, _ = arrived()
    for status in told:
        tell(there, of_channel(status))
    assert receipts(there) == [(HOME, op) for op in ops]


def test_of_several_pieces_the_last_one_counts() -> None:
    there, _ = arrived(THREE)
    for part in (2, 0):
        assert tell(there, of_channel(READ, part)).state == "done"
        assert receipts(there) == []
    tell(there, of_channel(DELIVERED, 1))
    assert receipts(there) == [(HOME, Op.DELIVERED)]
    tell(there, of_channel(READ, 1))
    assert receipts(there) == [(HOME, Op.DELIVERED), (HOME, Op.READ)]


def test_a_piece_that_is_not_sent_yet_holds_the_receipt_back() -> None:
    there = picture()
    said = spoken(there, TWO)
    said.errands[1].state = "sending"
    sent(there, said, CHANNEL)
    tell(there, of_channel(DELIVERED))
    assert receipts(there) == []


def test_a_piece_that_was_withdrawn_is_not_waited_for() -> None:
    there = picture()
    said = spoken(there, TWO)
    decide(there, LINK, incoming(edit("short"), account="office"))
    sent(there, said, CHANNEL, COLLEAGUE)
    tell(there, of_channel(DELIVERED))
    assert receipts(there) == [(HOME, Op.DELIVERED)]


def test_a_piece_that_failed_is_never_delivered() -> None:
    there, _ = arrived(TWO)
    tell(there, of_channel(FAILED, 0))
    tell(there, of_channel(DELIVERED, 1))
    assert receipts(there) == []


@pytest.mark.parametrize("status", [DELIVERED, READ, FAILED])
def test_what_the_desk_tells_of_a_colleagues_copy_concerns_nobody(status: CopyStatus) -> None:
    there, _ = arrived()
    assert tell(there, StatusSeen(status, messageid="desk:9004-0"), "office").state == "done"
    assert receipts(there) == [] and not there.untold


@pytest.mark.parametrize("status", [DELIVERED, READ, FAILED])
def test_what_is_told_of_the_original_concerns_nobody(status: CopyStatus) -> None:
    there, _ = arrived()
    assert tell(there, StatusSeen(status, messageid="u1"), "office").state == "done"
    assert receipts(there) == [] and not there.untold


@pytest.mark.parametrize("fact", [contact_said("m1"), channel_said("m1")])
@pytest.mark.parametrize("status", [DELIVERED, READ, FAILED])
def test_of_what_no_user_said_nobody_is_told(fact: object, status: CopyStatus) -> None:
    there = picture()
    decide(there, LINK, incoming(fact))  # type: ignore[arg-type]
    assert tell(there, StatusSeen(status, messageid="m1")).state == "done"
    assert receipts(there) == [] and not there.untold


def test_a_desk_without_receipts_gets_none() -> None:
    desk = replace(LINK.links[0].desk, able=replace(LINK.links[0].desk.able, receipts=False))
    of = Topology((replace(LINK.links[0], desk=desk),))
    there, _ = arrived(of=of)
    assert tell(there, of_channel(READ), of=of).state == "done"
    assert receipts(there) == []


def test_of_a_removed_message_the_status_is_kept() -> None:
    there, said = arrived()
    del there.said[said.id]
    assert tell(there, of_channel(READ)).state == "done"
    assert there.copies["bird", "channel-0"].status is READ
    assert receipts(there) == []


def test_of_a_link_that_is_gone_the_status_is_kept() -> None:
    there, _ = arrived()
    assert tell(there, of_channel(READ), of=Topology(())).state == "done"
    assert receipts(there) == []


def test_a_note_has_no_receipts() -> None:
    there, _ = arrived()
    decide(there, LINK, incoming(edit("new"), account="office"))
    note = there.said[there.new_messages[-1].id]
    there.add_copy(Copy(note.id, "sms", "bird", CONTACT, None, None, "note", "out", False, SENT))
    there.add_copy(Copy(note.id, "sms", "bird", CONTACT, None, None, "note-1", "out", False, READ, 1))
    assert tell(there, StatusSeen(READ, messageid="note")).state == "done"
    assert receipts(there) == []


# --- failures ---


def test_a_failure_is_told_once() -> None:
    there, said = arrived()
    for _ in range(2):
        tell(there, of_channel(FAILED, reason="131047"))
    assert [(one.said, one.reason) for one in there.untold] == [(said, "131047")]
    assert receipts(there) == []


@pytest.mark.parametrize("status", [DELIVERED, READ])
def test_what_was_delivered_does_not_fail_any_more(status: CopyStatus) -> None:
    there, _ = arrived()
    tell(there, of_channel(status))
    assert tell(there, of_channel(FAILED)).state == "ignored"
    assert not there.untold


def test_a_failure_without_a_reason() -> None:
    there, _ = arrived()
    tell(there, of_channel(FAILED))
    assert [one.reason for one in there.untold] == [""]


# --- of many at once ---


def lately(there: Picture, *copies: Copy, key: tuple[str, str]) -> None:
    there.lately[key] = list(copies)


def read_until(there: Picture, **of: object) -> Outcome:
    return tell(there, StatusSeen(READ, sessionid="s1", **of), "office")  # type: ignore[arg-type]


def heard(there: Picture, *seconds: float) -> list[Copy]:
    """The contact spoke so many seconds ago, and user 9003 has copies of it in session `s1`."""
    copies = []
    for number, ago in enumerate(seconds):
        at = NOW - timedelta(seconds=ago)
        decide(there, LINK, incoming(contact_said(f"c{number}", said_at=at), event_id=f"e{number}"))
        message = there.new_messages[-1].id
        copy = Copy(message, "sms", "office", CONTACT, "9003", "s1", f"m{number}", "in", False, SENT)
        there.add_copy(copy)
        copies.append(copy)
    lately(there, *copies, key=("office", "s1"))
    return copies


def test_a_session_is_read_up_to_when_it_is_told() -> None:
    there = picture()
    copies = heard(there, 10, 0, -10)
    outcome = read_until(there)
    assert (outcome.state, outcome.reason) == ("done", "read of 2 messages")
    assert [copy.status for copy in copies] == [READ, READ, SENT]
    assert read_until(there) == Outcome("ignored", "read of 0 messages")


def test_a_session_is_read_up_to_a_time() -> None:
    there = picture()
    copies = heard(there, 10, 5, 0)
    assert read_until(there, at=NOW - timedelta(seconds=5)).reason == "read of 2 messages"
    assert [copy.status for copy in copies] == [READ, READ, SENT]


def test_copies_without_an_id_or_message_are_passed_over() -> None:
    there = picture()
    copies = heard(there, 10, 5)
    copies[0].messageid = None
    del there.said[copies[1].message]
    assert read_until(there).state == "ignored"
    assert [copy.status for copy in copies] == [SENT, SENT]


def test_an_unknown_session_is_nobodys() -> None:
    assert read_until(picture()) == Outcome("ignored", "read of 0 messages")


def test_a_session_is_read_up_to_a_message() -> None:
    there = picture()
    open_session(there, "s1")
    copies = heard(there, 10, 5, 0)
    read_until(there, messageid="m1")
    assert [copy.status for copy in copies] == [READ, READ, SENT]


def test_a_watermark_counts_for_what_the_recipient_was_sent_until_then() -> None:
    there = picture()
    said = spoken(there, "one")
    sent(there, said, CHANNEL)
    lately(there, there.copies["bird", "channel-0"], key=("bird", "sms"))
    mark = StatusSeen(READ, end=END, recipient=CONTACT[1:], at=NOW - timedelta(seconds=1))
    assert tell(there, mark).state == "ignored"
    assert tell(there, replace(mark, at=NOW)).reason == "read of 1 messages"
    assert receipts(there) == [(HOME, Op.READ)]


def test_a_watermark_of_an_end_on_no_link_is_nobodys() -> None:
    there, _ = arrived()
    lately(there, there.copies["bird", "channel-0"], key=("bird", "sms"))
    assert tell(there, StatusSeen(READ, end="another", recipient=CONTACT, at=NOW)).state == "ignored"


# --- of another end, of nobody, too early ---


def test_an_end_does_not_speak_for_another() -> None:
    there, _ = arrived()
    outcome = tell(there, of_channel(READ, end="another"))
    assert outcome == Outcome("ignored", "read of a message that is another end's")
    assert there.copies["bird", "channel-0"].status is SENT
    assert tell(there, of_channel(READ, end=END)).state == "done"


def test_before_its_message_is_known_it_is_parked() -> None:
    there = picture()
    spoken(there, "hello")
    outcome = tell(there, of_channel(READ))
    assert outcome == Outcome("parked", "read of a message that is not known", parked_for="channel-0")
    assert not there.duties[2:]


def test_once_its_message_is_known_it_is_told() -> None:
    there = picture()
    said = spoken(there, "hello")
    assert tell(there, of_channel(READ)).state == "parked"
    sent(there, said, CHANNEL)
    assert tell(there, of_channel(READ)).state == "done"
    assert receipts(there) == [(HOME, Op.READ)]


def doubt(there: Picture, said: Said, ago: timedelta = timedelta(seconds=5)) -> Pending:
    """The send to the channel has no answer, and will get none."""
    said.errands[0].state = "unknown"
    made = replace(pending(there, CHANNEL, state="unknown", tried_at=NOW - ago), message=said.id, author=said.author)
    there.doubts[made.lane_id] = [made]
    there.in_flight.add(made.lane_id)
    return made


def test_it_settles_the_one_doubt_and_is_told() -> None:
    there = picture()
    said = spoken(there, "hello")
    made = doubt(there, said)
    outcome = tell(there, StatusSeen(READ, messageid="new", end=END, recipient=CONTACT))
    assert (outcome.state, outcome.reason) == ("done", f"read of message {said.id}, whose answer was lost")
    assert there.settled == [made]
    assert there.copies["bird", "new"].status is READ
    assert receipts(there) == [(HOME, Op.READ)]


def test_a_failure_settles_a_doubt_and_is_told() -> None:
    there = picture()
    said = spoken(there, "hello")
    doubt(there, said)
    tell(there, StatusSeen(FAILED, messageid="new", end=END, recipient=CONTACT, reason="no such number"))
    assert [(one.said, one.reason) for one in there.untold] == [(said, "no such number")]


@pytest.mark.parametrize(
    "changes",
    [{"end": None}, {"end": "another"}, {"recipient": None}, {"recipient": "447700900999"}],
    ids=["no end", "another end", "no recipient", "another recipient"],
)
def test_what_does_not_say_of_whom_it_speaks_settles_nothing(changes: dict[str, str | None]) -> None:
    there = picture()
    doubt(there, spoken(there, "hello"))
    news = StatusSeen(READ, messageid="new", end=END, recipient=CONTACT)
    assert tell(there, replace(news, **changes)).state == "parked"  # type: ignore[arg-type]
    assert not there.settled


def test_after_a_while_it_may_speak_of_anything_and_waits() -> None:
    there = picture()
    doubt(there, spoken(there, "hello"), NEWS_WITHIN)
    assert tell(there, StatusSeen(READ, messageid="new", end=END, recipient=CONTACT)).state == "waiting"
    assert not there.settled


def test_a_session_of_a_chat_that_was_never_spoken_in_has_no_lanes() -> None:
    there = picture()
    open_session(there, "s9", "9004", "+447700900999")
    assert tell(there, StatusSeen(READ, messageid="new", sessionid="s9"), "office").state == "parked"
    assert tell(there, StatusSeen(READ, messageid="new", sessionid="unknown"), "office").state == "parked"


def test_a_user_of_another_message_is_not_told() -> None:
    there, _ = arrived()
    decide(there, LINK, incoming(user_said("u2", "and", extension="9004", sessionid="s4"), event_id="e2"))
    tell(there, of_channel(READ))
    assert receipts(there) == [(HOME, Op.READ)]

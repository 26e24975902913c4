"""Decisions on what our side says on a channel, and on statuses."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from syncd.model.facts import CopyStatus, StatusSeen
from syncd.model.picture import Picture
from syncd.model.records import Copy, Nameless, Pending
from syncd.model.sending import Author
from syncd.model.statuses import NEWS_WITHIN
from syncd.model.work import CHANNEL, desk_target
from tests.model.samples import (
    CONTACT,
    NOW,
    channel_said,
    contact_said,
    nameless,
    open_session,
    pending,
    picture,
    status_seen,
    tell,
)

SHORTLY = timedelta(seconds=5)
RISING = [CopyStatus.SENT, CopyStatus.FAILED, CopyStatus.DELIVERED, CopyStatus.READ, CopyStatus.DELETED]


def send_of_ours(there: Picture, reference: str = "syncd-d1") -> Pending:
    ours = pending(there, CHANNEL, author=Author.USER)
    there.pending[reference] = ours
    there.in_flight.add(ours.lane_id)
    return ours


def test_somebody_on_the_channel_is_copied_to_every_user() -> None:
    there = picture()
    outcome = tell(there, channel_said(text="an agent here"))
    assert (outcome.state, outcome.reason) == ("done", "somebody answered on the channel itself")
    (message,) = there.new_messages
    assert (message.author, message.extension, message.text) == (Author.CHANNEL, "9003", "an agent here")
    assert [duty.target for duty in there.duties] == ["desk:9003", "desk:9004"]
    (copy,) = there.new_copies
    assert (copy.direction, copy.origin, copy.status, copy.messageid) == ("out", True, CopyStatus.SENT, "a1")


def test_a_channel_on_no_link_is_ignored() -> None:
    assert tell(picture(), channel_said(end="unheard of")).reason == "no link has this channel"


def test_a_reference_of_ours_settles_its_send_before_the_answer_does() -> None:
    there = picture()
    ours = send_of_ours(there)
    outcome = tell(there, channel_said("a1", reference="syncd-d1", status=CopyStatus.DELIVERED))
    assert (outcome.state, outcome.reason) == ("done", "echo of message message-1")
    assert there.settled == [ours]
    assert not there.new_messages and not there.duties
    (copy,) = there.new_copies
    assert (copy.message, copy.messageid, copy.origin, copy.status) == (
        "message-1",
        "a1",
        False,
        CopyStatus.DELIVERED,
    )


def test_a_later_report_of_our_send_raises_its_status() -> None:
    there = picture()
    send_of_ours(there)
    tell(there, channel_said("a1", reference="syncd-d1"))
    assert tell(there, channel_said("a1", reference="syncd-d1", status=CopyStatus.READ)).state == "done"
    assert there.copies["bird", "a1"].status is CopyStatus.READ
    assert len(there.settled) == 1 and len(there.new_copies) == 1


def test_a_foreign_reference_is_somebody_elses_message() -> None:
    there = picture()
    send_of_ours(there)
    outcome = tell(there, channel_said("a9", reference="a campaign"))
    assert outcome.reason == "somebody answered on the channel itself"
    assert not there.settled


def test_without_a_reference_it_waits_while_our_send_is_in_flight() -> None:
    there = picture()
    send_of_ours(there)
    assert tell(there, channel_said("a1")).reason == "may be the echo of a send in flight"
    assert not there.new_messages


def test_it_waits_behind_an_earlier_event() -> None:
    there = picture()
    there.waiting.add(there.conversation("sms", CONTACT).id)
    assert tell(there, channel_said()).state == "waiting"


def test_a_repeated_report_is_a_duplicate() -> None:
    there = picture()
    tell(there, channel_said())
    assert tell(there, channel_said()).reason == f"duplicate of message {there.new_messages[0].id}"
    assert tell(there, channel_said(status=None)).state == "ignored"
    assert len(there.new_messages) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(RISING[:4])))
def test_in_whatever_order_statuses_come_the_copy_ends_with_the_highest(order: tuple[CopyStatus, ...]) -> None:
    there = picture()
    tell(there, channel_said(status=None))
    copy = there.copies["bird", "a1"]
    seen = [copy.status]
    for status in order:
        tell(there, status_seen(status))
        seen.append(copy.status)
    assert copy.status is CopyStatus.READ
    ranks = [RISING.index(status) for status in seen]
    assert ranks == sorted(ranks)
    assert len(there.new_messages) == 1


def test_a_repeated_status_changes_nothing() -> None:
    there = picture()
    tell(there, channel_said())
    assert tell(there, status_seen(CopyStatus.DELIVERED)).state == "done"
    assert tell(there, status_seen(CopyStatus.DELIVERED)).state == "ignored"
    assert tell(there, status_seen(CopyStatus.SENT)).state == "ignored"
    assert list(there.changed_copies) == [("bird", "a1", 0)]


def test_a_contacts_message_may_be_deleted_and_then_nothing_raises_it() -> None:
    there = picture()
    tell(there, contact_said("c1"))
    assert tell(there, status_seen(CopyStatus.DELETED, "c1")).state == "done"
    assert tell(there, status_seen(CopyStatus.READ, "c1")).state == "ignored"


def test_a_status_of_an_unknown_message_says_so() -> None:
    outcome = tell(picture(), status_seen(CopyStatus.DELIVERED, "never seen"))
    assert (outcome.state, outcome.reason) == ("parked", "delivered of a message that is not known")
    assert outcome.parked_for == "never seen"


def test_a_status_of_another_account_is_of_another_message() -> None:
    there = picture()
    tell(there, channel_said("a1"))
    assert tell(there, status_seen(CopyStatus.READ, "a1"), account="islash").state == "parked"


def test_a_status_names_a_nameless_copy() -> None:
    there = picture()
    copy = nameless(there, "message-1")
    outcome = tell(there, status_seen(CopyStatus.DELIVERED, "m77", sessionid="s1"), account="office")
    assert outcome.state == "done"
    assert (copy.messageid, copy.status) == ("m77", CopyStatus.DELIVERED)
    assert there.named_copies == [copy]
    assert there.copies["office", "m77"] is copy
    assert tell(there, status_seen(CopyStatus.DELIVERED, "m77", sessionid="s1"), account="office").state == "ignored"


def test_a_copy_that_got_its_name_is_not_named_again() -> None:
    there = picture()
    copy = nameless(there)
    for messageid in ("m1", "m2"):
        tell(there, status_seen(CopyStatus.DELIVERED, messageid, sessionid="s1"), account="office")
    assert copy.messageid == "m1"
    assert there.named_copies == [copy]
    assert ("office", "m2") not in there.copies


def test_of_two_nameless_copies_a_status_names_none() -> None:
    there = picture()
    copies = [nameless(there, "message-1"), nameless(there, "message-2", text="another")]
    for messageid in ("m1", "m2", "m3"):
        outcome = tell(there, status_seen(CopyStatus.DELIVERED, messageid, sessionid="s1"), account="office")
        assert (outcome.state, outcome.reason) == ("parked", "delivered of a message that is not known")
    assert [copy.messageid for copy in copies] == [None, None]
    assert [copy.status for copy in copies] == [CopyStatus.SENT] * 2
    assert not there.named_copies and not there.copies and not there.changed_copies


@pytest.mark.parametrize(("ago", "named"), [(NEWS_WITHIN - SHORTLY, True), (NEWS_WITHIN, False)])
def test_a_status_names_a_copy_that_was_written_lately_only(ago: timedelta, named: bool) -> None:
    there = picture()
    copy = nameless(there, ago=ago)
    recent = tell(there, status_seen(CopyStatus.DELIVERED, "m1", sessionid="s1"), account="office")
    assert (copy.messageid == "m1", recent.state == "done") == (named, named)


def test_a_copy_written_long_ago_does_not_keep_a_status_from_the_one_that_fits() -> None:
    there = picture()
    old, lately = nameless(there, "message-1", ago=timedelta(hours=1)), nameless(there, "message-2")
    tell(there, status_seen(CopyStatus.DELIVERED, "m1", sessionid="s1"), account="office")
    assert (old.messageid, lately.messageid) == (None, "m1")


def test_a_status_of_another_session_names_nothing() -> None:
    there = picture()
    copy = nameless(there, "message-1")
    tell(there, status_seen(CopyStatus.DELIVERED, "m1", sessionid="s2"), account="office")
    tell(there, status_seen(CopyStatus.DELIVERED, "m1"), account="office")
    assert copy.messageid is None


def in_doubt(
    there: Picture, target: str = CHANNEL, *, ago: timedelta = timedelta(seconds=5), number: int = 1
) -> Pending:
    doubt = pending(there, target, number=number, state="unknown", tried_at=NOW - ago)
    there.doubts.setdefault(doubt.lane_id, []).append(doubt)
    there.in_flight.add(doubt.lane_id)
    return doubt


def news(messageid: str = "a1", **changes: Any) -> StatusSeen:
    """A status of an id that nobody is known to have made, with the contact that it was sent to."""
    return status_seen(CopyStatus.DELIVERED, messageid, **({"end": "sms-channel", "recipient": CONTACT[1:]} | changes))


def test_a_status_of_an_unknown_id_settles_the_one_doubt_that_fits() -> None:
    there = picture()
    doubt = in_doubt(there)
    outcome = tell(there, news())
    assert (outcome.state, outcome.reason) == ("done", "delivered of message message-1, whose answer was lost")
    assert there.settled == [doubt]
    (copy,) = there.new_copies
    assert (copy.messageid, copy.status, copy.origin, copy.message) == ("a1", CopyStatus.DELIVERED, False, "message-1")
    assert tell(there, news("a2")).state != "done"
    assert len(there.settled) == 1


def test_a_status_in_a_session_settles_the_one_doubt_of_its_chat() -> None:
    there = picture()
    open_session(there, "s1")
    doubt = in_doubt(there, desk_target("9003"))
    in_doubt(there, desk_target("9004"), number=2)
    tell(there, status_seen(CopyStatus.DELIVERED, "m1", sessionid="s1"), account="office")
    assert there.settled == [doubt]
    assert (there.new_copies[0].extension, there.new_copies[0].account) == ("9003", "office")


def test_of_two_doubts_none_is_guessed() -> None:
    there = picture()
    in_doubt(there)
    in_doubt(there, number=2)
    assert tell(there, news()).state == "waiting"
    assert not there.settled


@pytest.mark.parametrize(
    "changes", [{"recipient": "447700900777"}, {"recipient": None}, {"end": "another"}, {"end": None}]
)
def test_news_that_names_another_contact_or_none_settles_nothing(changes: dict[str, Any]) -> None:
    there = picture()
    in_doubt(there)
    assert tell(there, news(**changes)).state == "parked"
    assert not there.settled


def test_news_long_after_a_doubt_settles_nothing() -> None:
    there = picture()
    doubt = in_doubt(there, ago=timedelta(hours=1))
    there.in_flight.discard(doubt.lane_id)
    assert tell(there, news()).state == "parked"
    assert not there.settled


def test_news_waits_while_the_send_that_it_may_speak_of_is_in_flight() -> None:
    there = picture()
    there.in_flight.add(pending(there, CHANNEL).lane_id)
    assert tell(there, news()).reason == "may speak of a send in flight"


def test_news_may_be_of_a_later_send_that_has_no_answer_yet() -> None:
    there = picture()
    doubt = in_doubt(there)
    there.sending.add(doubt.lane_id)
    assert tell(there, news()).reason == "may speak of a send in flight"
    assert not there.settled
    there.sending.clear()
    there.waiting.clear()
    tell(there, news())
    assert there.settled == [doubt]


def taken_without_a_name(there: Picture, ago: timedelta = timedelta(seconds=5)) -> Nameless:
    """A copy on the channel that was taken without being named."""
    copy = Copy("message-9", "sms", "bird", CONTACT, None, None, None, "out", False, CopyStatus.SENT)
    one = Nameless(copy, "text", NOW - ago)
    there.nameless_on_channel.setdefault(("sms", CONTACT), []).append(one)
    return one


def test_news_names_the_one_copy_on_the_channel_that_lacks_its_id() -> None:
    """G3: a platform that takes a message without naming it tells its id with the first status."""
    there = picture()
    one = taken_without_a_name(there)
    outcome = tell(there, news("a7"))
    assert (outcome.state, outcome.reason) == ("done", "delivered of message message-9, whose id was not told")
    assert (one.copy.messageid, one.copy.status) == ("a7", CopyStatus.DELIVERED)
    assert there.named_copies == [one.copy]


def test_news_is_not_guessed_to_be_of_a_doubt_or_of_a_copy_without_an_id() -> None:
    """G3: never a silent guess between the two."""
    there = picture()
    doubt = in_doubt(there)
    one = taken_without_a_name(there)
    assert tell(there, news()).state != "done"
    there.in_flight.discard(doubt.lane_id)
    there.waiting.clear()
    assert tell(there, news()).state == "parked"
    assert not there.settled
    assert one.copy.messageid is None

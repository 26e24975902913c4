"""Decisions on what desk users say: duplicates, echoes, sessions, and the link that it goes out on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from syncd.model.facts import ContactForm, CopyStatus
from syncd.model.picture import Picture
from syncd.model.records import Copy
from syncd.model.sending import Author
from syncd.model.statuses import NEWS_WITHIN
from syncd.model.work import CHANNEL, desk_target, lane_id
from tests.model.samples import (
    CONTACT,
    NOW,
    chat,
    contact_said,
    nameless,
    open_session,
    pending,
    picture,
    tell,
    user_said,
)


def written_by_us(there: Picture, messageid: str, account: str = "office") -> Copy:
    copy = Copy("message-1", "sms", account, CONTACT, "9003", "s1", messageid, "in", False, CopyStatus.SENT)
    there.copies[account, messageid] = copy
    return copy


def test_it_goes_to_the_channel_and_to_the_other_users() -> None:
    there = picture()
    outcome = tell(there, user_said(text="good day"))
    assert (outcome.state, outcome.reason) == ("done", "goes out on the first link that lists the user")
    (message,) = there.new_messages
    assert (message.author, message.extension, message.text, message.said_at) == (Author.USER, "9003", "good day", NOW)
    assert [duty.target for duty in there.duties] == [CHANNEL, "desk:9004"]
    (copy,) = there.new_copies
    assert (copy.extension, copy.sessionid, copy.messageid, copy.direction, copy.origin) == (
        "9003",
        "s1",
        "u1",
        "out",
        True,
    )


def test_a_second_copy_is_a_duplicate() -> None:
    there = picture()
    tell(there, user_said())
    outcome = tell(there, user_said())
    assert (outcome.state, outcome.reason) == ("ignored", f"duplicate of message {there.new_messages[0].id}")


def test_what_we_wrote_is_an_echo_and_changes_nothing() -> None:
    there = picture()
    written_by_us(there, "m1")
    outcome = tell(there, user_said("m1", sessionid="another"))
    assert (outcome.state, outcome.reason) == ("ignored", "echo of message message-1")
    assert not there.new_messages and not there.touched_sessions


def test_an_id_of_another_account_is_no_echo() -> None:
    there = picture()
    written_by_us(there, "m1", account="another office")
    assert tell(there, user_said("m1")).state == "done"


@pytest.mark.parametrize("link", ["sms", "whatsapp"])
def test_it_waits_while_a_send_into_that_chat_is_in_flight_on_any_link(link: str) -> None:
    there = picture()
    conversation = there.conversation(link, CONTACT)
    there.in_flight.add(lane_id(conversation.id, desk_target("9003")))
    outcome = tell(there, user_said())
    assert (outcome.state, outcome.reason) == ("waiting", "may be the echo of a send in flight")
    assert not there.new_messages and not there.touched_sessions
    assert outcome.conversation_id is not None
    assert tell(there, user_said("u2", extension="9003")).reason == "an earlier event of the conversation waits"


@pytest.mark.parametrize("target", [CHANNEL, desk_target("9004")])
def test_sends_to_other_targets_do_not_hold_it(target: str) -> None:
    there = picture()
    there.in_flight.add(lane_id(there.conversation("sms", CONTACT).id, target))
    assert tell(there, user_said()).state == "done"


def test_a_known_id_does_not_wait() -> None:
    there = picture()
    written_by_us(there, "m1")
    there.in_flight.add(lane_id(there.conversation("sms", CONTACT).id, desk_target("9003")))
    assert tell(there, user_said("m1")).state == "ignored"


@pytest.mark.parametrize(("first", "last", "chosen"), [("sms", "whatsapp", "whatsapp"), ("whatsapp", "sms", "sms")])
def test_it_goes_out_where_the_contact_last_wrote(first: str, last: str, chosen: str) -> None:
    there = picture()
    accounts = {"sms": "bird", "whatsapp": "islash"}
    tell(there, contact_said("c1", end=f"{first}-channel"), account=accounts[first], at=NOW)
    tell(there, contact_said("c2", end=f"{last}-channel"), account=accounts[last], at=NOW + timedelta(seconds=1))
    outcome = tell(there, user_said(sessionid=None))
    assert outcome.reason == "goes out where the contact last wrote"
    assert there.new_copies[-1].link == chosen


def test_where_only_users_spoke_it_goes_out_on_the_first_link() -> None:
    there = picture()
    there.conversation("whatsapp", CONTACT)
    assert tell(there, user_said()).reason == "goes out on the first link that lists the user"
    assert there.new_copies[0].link == "sms"


def test_a_number_never_seen_opens_a_conversation_read_with_the_links_region() -> None:
    there = picture()
    tell(there, user_said(contact="07700 900123", sessionid=None))
    assert list(there.conversations) == [("sms", CONTACT)]
    assert there.new_copies[0].contact == CONTACT


def test_a_user_on_no_link_is_ignored_with_a_reason() -> None:
    there = picture()
    assert tell(there, user_said(extension="9999")).reason == "no link lists this user"
    assert tell(there, user_said(organization="another")).reason == "no link lists this user"
    assert not there.conversations


def test_without_author_or_known_session_it_is_ignored() -> None:
    assert tell(picture(), user_said(extension=None, userid="abc")).reason == "its author is unknown"


def test_the_session_tells_author_and_contact() -> None:
    there = picture()
    open_session(there, "s1", "9004")
    outcome = tell(there, user_said(extension=None, userid="abc", contact="opaque-id", form=ContactForm.OPAQUE))
    assert outcome.state == "done"
    (message,) = there.new_messages
    assert message.extension == "9004"
    assert there.new_copies[0].contact == CONTACT
    assert [duty.target for duty in there.duties] == [CHANNEL, "desk:9003"]


def test_an_unknown_session_becomes_current_and_the_old_one_stays_known() -> None:
    there = picture()
    old = open_session(there, "s1")
    tell(there, user_said(sessionid="s2", contact="07700 900123"))
    assert (old.current, old.state) == (False, "closed")
    new = there.current[chat()]
    assert (new.sessionid, new.current, new.state, new.spelling) == ("s2", True, "open", "07700 900123")
    assert there.sessions["office", "s1"] is old


def test_a_superseded_session_stays_superseded_by_a_webhook() -> None:
    there = picture()
    old = open_session(there, "s1")
    there.adopt(chat(), "s2", spelling=None, at=NOW)
    assert tell(there, user_said(sessionid="s1")).state == "done"
    assert there.current[chat()].sessionid == "s2"
    assert not old.current
    assert there.new_copies[0].sessionid == "s1"


def test_a_superseded_session_is_current_again_by_the_answer_to_a_send() -> None:
    there = picture()
    old = open_session(there, "s1")
    there.adopt(chat(), "s2", spelling=None, at=NOW)
    there.adopt(chat(), "s1", spelling=None, at=NOW, answer=True)
    assert there.current[chat()] is old
    assert (old.current, old.state) == (True, "open")
    assert not there.sessions["office", "s2"].current
    assert sum(one.current for one in there.sessions.values()) == 1


def test_a_session_of_another_chat_is_not_taken_over() -> None:
    there = picture()
    other = open_session(there, "s1", "9004")
    there.adopt(chat("9003"), "s1", spelling=None, at=NOW, answer=True)
    assert other.chat.extension == "9004"
    assert chat("9003") not in there.current


@pytest.mark.parametrize(
    ("text", "doubts", "state"), [("hello", 1, "done"), ("something else", 1, "waiting"), ("hello", 2, "waiting")]
)
def test_one_send_whose_answer_was_lost_is_recognised_by_its_echo(text: str, doubts: int, state: str) -> None:
    there = picture()
    made = [pending(there, desk_target("9003"), number=n, state="unknown", sessionid="s1") for n in range(doubts)]
    there.doubts[made[0].lane_id] = list(made)
    there.in_flight.add(made[0].lane_id)
    assert tell(there, user_said("m1", text)).state == state
    assert there.settled == (made if state == "done" else [])
    assert [copy.messageid for copy in there.new_copies] == (["m1"] if state == "done" else [])
    assert not there.new_messages


def test_an_echo_may_be_of_a_later_send_that_has_no_answer_yet() -> None:
    there = picture()
    doubt = pending(there, desk_target("9003"), state="unknown", sessionid="s1")
    there.doubts[doubt.lane_id] = [doubt]
    there.in_flight.add(doubt.lane_id)
    there.sending.add(doubt.lane_id)
    assert tell(there, user_said("m1", "hello")).state == "waiting"
    assert not there.settled


def test_the_one_nameless_copy_of_its_session_with_its_text_is_what_it_echoes() -> None:
    there = picture()
    copy = nameless(there, "message-1", text="hello")
    outcome = tell(there, user_said("m1", "hello", sessionid="s1"))
    assert (outcome.state, outcome.reason) == ("done", "echo of message message-1")
    assert copy.messageid == "m1"
    assert there.named_copies == [copy]
    assert there.copies["office", "m1"] is copy
    assert not there.new_messages and not there.duties and not there.new_copies
    assert tell(there, user_said("m1", "hello", sessionid="s1")).reason == "echo of message message-1"
    # Said once more it is the user's own: nothing of ours lacks a name any more.
    tell(there, user_said("m2", "hello", sessionid="s1"))
    assert [message.text for message in there.new_messages] == ["hello"]


@pytest.mark.parametrize(
    ("texts", "ago", "changes"),
    [
        (["hello"], 5, {"text": "Hello"}),
        (["hello", "another"], 5, {}),
        (["hello", "hello"], 5, {}),
        (["hello"], NEWS_WITHIN.total_seconds(), {}),
        (["hello"], 5, {"sessionid": "s2"}),
        (["hello"], 5, {"sessionid": None}),
        (["hello"], 5, {"messageid": None}),
    ],
    ids=["another text", "two copies", "two equal copies", "long ago", "another session", "no session", "no id"],
)
def test_what_does_not_certainly_echo_a_nameless_copy_was_said(
    texts: list[str], ago: float, changes: dict[str, Any]
) -> None:
    there = picture()
    copies = [nameless(there, f"message-{n}", text=text, ago=timedelta(seconds=ago)) for n, text in enumerate(texts)]
    said = user_said(**({"messageid": "m1", "text": "hello", "sessionid": "s1"} | changes))
    assert tell(there, said).state == "done"
    assert [message.text for message in there.new_messages] == [said.text]
    assert all(copy.messageid is None for copy in copies)
    assert not there.named_copies


def test_without_a_session_none_is_adopted() -> None:
    there = picture()
    tell(there, user_said(sessionid=None))
    assert not there.touched_sessions


def test_a_fact_without_an_id_is_made_once_although_a_later_one_of_its_event_waits() -> None:
    there = picture()
    conversation = there.conversation("solo", CONTACT)
    there.in_flight.add(lane_id(conversation.id, desk_target("9005")))
    facts = (user_said(None, "one"), user_said("u2", "two", extension="9005", sessionid="s5"))
    assert tell(there, *facts).state == "waiting"
    there.in_flight.clear()
    there.waiting.clear()
    tell(there, *facts)
    assert [message.text for message in there.new_messages] == ["one", "two"]

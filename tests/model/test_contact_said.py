"""Decisions on what contacts say."""

from __future__ import annotations

from datetime import timedelta

from syncd.model.facts import ContactForm, CopyStatus, Uninteresting
from syncd.model.sending import Author
from tests.model.samples import CONTACT, NOW, contact_said, incoming, picture, tell


def test_it_becomes_a_message_for_every_user_of_the_link() -> None:
    there = picture()
    outcome = tell(there, contact_said(text="hello", name="Ann"))
    assert outcome.state == "done"
    (message,) = there.new_messages
    assert (message.author, message.extension, message.text, message.seq) == (Author.CONTACT, None, "hello", 1)
    assert message.said_at == NOW - timedelta(seconds=5)
    assert [duty.target for duty in there.duties] == ["desk:9003", "desk:9004"]
    assert {(duty.message, duty.contact, duty.name, duty.seq) for duty in there.duties} == {
        (message.id, CONTACT, "Ann", 1)
    }
    assert len({duty.reference for duty in there.duties}) == 2
    (copy,) = there.new_copies
    assert (copy.account, copy.messageid, copy.direction, copy.origin, copy.status) == (
        "bird",
        "c1",
        "in",
        True,
        CopyStatus.RECEIVED,
    )
    assert (copy.extension, copy.sessionid, copy.contact, copy.link) == (None, None, CONTACT, "sms")


def test_messages_are_numbered_in_the_order_of_their_events() -> None:
    there = picture()
    for number in (1, 2, 3):
        tell(there, contact_said(f"c{number}", f"text {number}"))
    assert [(message.seq, message.text) for message in there.new_messages] == [
        (1, "text 1"),
        (2, "text 2"),
        (3, "text 3"),
    ]
    assert len(there.conversations) == 1


def test_a_second_copy_is_a_duplicate_and_names_the_message() -> None:
    there = picture()
    tell(there, contact_said())
    outcome = tell(there, contact_said(text="the same id, another way"))
    assert outcome.state == "ignored"
    assert outcome.reason == f"duplicate of message {there.new_messages[0].id}"
    assert len(there.new_messages) == 1


def test_equal_texts_are_two_messages() -> None:
    there = picture()
    tell(there, contact_said("c1", "ok"))
    tell(there, contact_said("c2", "ok"))
    assert len(there.new_messages) == 2


def test_a_message_without_an_id_is_taken() -> None:
    there = picture()
    assert tell(there, contact_said(None)).state == "done"
    assert there.new_copies[0].messageid is None
    assert there.copies == {}


def test_the_same_id_on_another_account_is_another_message() -> None:
    there = picture()
    tell(there, contact_said("m", end="sms-channel"))
    assert tell(there, contact_said("m", end="whatsapp-channel"), account="islash").state == "done"
    assert len(there.new_messages) == 2


def test_a_channel_on_no_link_is_ignored_with_a_reason() -> None:
    there = picture()
    outcome = tell(there, contact_said(end="unheard of"))
    assert (outcome.state, outcome.reason) == ("ignored", "no link has this channel")
    assert tell(there, contact_said(), account="islash").state == "ignored"
    assert not there.new_messages and not there.conversations


def test_the_time_of_receipt_stands_in_for_an_untold_one() -> None:
    there = picture()
    tell(there, contact_said(said_at=None))
    assert there.new_messages[0].said_at == NOW


def test_one_contact_spelled_in_two_ways_is_one_conversation() -> None:
    there = picture()
    tell(there, contact_said("c1", contact="447700900123"))
    tell(there, contact_said("c2", contact="+447700900123"))
    (conversation,) = there.conversations.values()
    assert (conversation.contact, conversation.spelling) == (CONTACT, "+447700900123")
    assert [duty.spelling for duty in there.duties] == ["447700900123"] * 2 + ["+447700900123"] * 2


def test_an_opaque_contact_is_named_as_it_is_spelled() -> None:
    there = picture()
    tell(there, contact_said(contact="447700900123", form=ContactForm.OPAQUE))
    assert list(there.conversations) == [("sms", "447700900123")]


def test_a_name_once_told_stays_until_another_is_told() -> None:
    there = picture()
    for number, name in enumerate(["Ann", None, "Anna"]):
        tell(there, contact_said(f"c{number}", name=name))
    assert [duty.name for duty in there.duties if duty.target == "desk:9003"] == ["Ann", "Ann", "Anna"]


def test_when_the_contact_wrote_last_never_goes_back() -> None:
    there = picture()
    tell(there, contact_said("c1"), at=NOW)
    tell(there, contact_said("c2"), at=NOW - timedelta(minutes=1))
    assert there.conversations["sms", CONTACT].contact_wrote_at == NOW


def test_it_waits_behind_an_earlier_event_of_its_conversation_only() -> None:
    there = picture()
    tell(there, contact_said("c1"))
    tell(there, contact_said("x1", contact="+447700900777"))
    there.waiting.add(there.conversations["sms", CONTACT].id)
    outcome = tell(there, contact_said("c2"))
    assert (outcome.state, outcome.conversation_id) == ("waiting", there.conversations["sms", CONTACT].id)
    assert tell(there, contact_said("x2", contact="+447700900777")).state == "done"
    assert len(there.new_messages) == 3


def test_an_event_with_nothing_in_it_is_ignored() -> None:
    there = picture()
    assert tell(there, Uninteresting("typing"), account="bird").reason == "typing"
    assert incoming(Uninteresting("typing"), account="bird").facts
    assert not there.new_messages


def test_an_event_with_several_facts_makes_them_all() -> None:
    there = picture()
    outcome = tell(there, contact_said("c1"), Uninteresting("an extra"), contact_said("c2"))
    assert outcome.state == "done"
    assert [copy.messageid for copy in there.new_copies] == ["c1", "c2"]

"""A message that was not delivered: what the event of it makes."""

from __future__ import annotations

from syncd.model.facts import Undelivered
from syncd.model.sending import Author
from tests.model.samples import CONTACT, NOW, contact_said, picture, tell

FACT = Undelivered("sms", CONTACT, "9003", "[syncd] Not delivered: “hello”")


def test_its_author_alone_is_told_in_the_chat() -> None:
    """G13: a message of its own, from the contact's side, for the one chat in which it was said."""
    there = picture()
    tell(there, contact_said())
    before = len(there.duties)
    outcome = tell(there, FACT, account="@syncd")
    assert (outcome.state, outcome.reason) == ("done", "its author is told")
    (duty,) = there.duties[before:]
    assert (duty.target, duty.author, duty.author_extension, duty.text) == (
        "desk:9003",
        Author.SYNCD,
        None,
        FACT.text,
    )
    assert (duty.message, duty.said_at, duty.seq) == (outcome.message, NOW, 2)
    assert [copy.message for copy in there.new_copies].count(duty.message) == 0, "nobody said it anywhere"
    (conversation,) = there.conversations.values()
    assert conversation.contact_wrote_at == NOW, "it is no word of the contact's: it leads no user's message there"


def test_who_is_not_there_any_more_is_not_told() -> None:
    there = picture()
    for fact in (
        Undelivered("sms", CONTACT, "9999", "text"),
        Undelivered("gone", CONTACT, "9003", "text"),
    ):
        outcome = tell(there, fact, account="@syncd")
        assert (outcome.state, outcome.reason) == ("ignored", "nobody is there to be told")
    assert there.duties == []


def test_it_stands_behind_what_waits_in_its_conversation() -> None:
    """G4."""
    there = picture()
    tell(there, contact_said())
    (conversation,) = there.conversations.values()
    there.waiting.add(conversation.id)
    outcome = tell(there, FACT, account="@syncd")
    assert (outcome.state, outcome.conversation_id) == ("waiting", conversation.id)

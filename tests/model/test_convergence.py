"""Whatever the order and however many the copies: the same messages, each once (G2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from syncd.model.facts import CopyStatus, Fact
from syncd.model.picture import Picture
from tests.model.samples import channel_said, contact_said, picture, status_seen, tell, user_said

CONTACTS = ["+447700900123", "+447700900124"]
SENT, DELIVERED, READ = CopyStatus.SENT, CopyStatus.DELIVERED, CopyStatus.READ


@st.composite
def events(draw: st.DrawFn) -> list[Fact]:
    """Different messages of all kinds of people, of two contacts on two links; nothing of it is an echo."""
    made: list[Fact] = []
    for number in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["contact", "user", "channel"]))
        contact = draw(st.sampled_from(CONTACTS))
        text = draw(st.sampled_from(["ok", "yes", f"text {number}"]))
        if kind == "contact":
            made.append(contact_said(f"m{number}", text, contact=contact))
        elif kind == "user":
            extension = draw(st.sampled_from(["9003", "9004", "9005"]))
            made.append(user_said(f"m{number}", text, contact=contact, extension=extension, sessionid=None))
        else:
            statuses = draw(st.lists(st.sampled_from([SENT, DELIVERED, READ]), min_size=1, max_size=3))
            made += [channel_said(f"m{number}", text, contact=contact, status=status) for status in statuses]
    return made


def after(told: Sequence[Fact]) -> Picture:
    there = picture()
    for fact in told:
        assert tell(there, fact).state != "waiting"
    return there


def messages(there: Picture) -> Counter[tuple[object, ...]]:
    """The messages without what depends on their order."""
    copies = {copy.message: (copy.account, copy.messageid, copy.direction, copy.status) for copy in there.new_copies}
    contacts = {one.id: one.contact for one in there.conversations.values()}
    return Counter(
        (copies[one.id], one.author, one.extension, one.text, contacts[one.conversation_id])
        for one in there.new_messages
    )


def targets(there: Picture) -> Counter[tuple[str, str]]:
    names = {copy.message: str(copy.messageid) for copy in there.new_copies}
    return Counter((names[duty.message], duty.target) for duty in there.duties)


@given(events(), st.data())
def test_shuffled_and_repeated_events_make_the_same_messages_once(told: list[Fact], data: st.DataObject) -> None:
    repeated = told + data.draw(st.lists(st.sampled_from(told), max_size=8))
    shuffled = data.draw(st.permutations(repeated))
    there = after(shuffled)
    assert messages(there) == messages(after(told))
    assert max(messages(there).values()) == 1
    named = Counter((copy.account, copy.messageid) for copy in there.new_copies)
    assert max(named.values()) == 1
    assert max(targets(there).values()) == 1
    assert targets(there) == targets(after(told))


@given(events(), st.data())
def test_within_a_conversation_numbers_have_no_gap(told: list[Fact], data: st.DataObject) -> None:
    there = after(data.draw(st.permutations(told)))
    numbers: dict[str, list[int]] = {}
    for message in there.new_messages:
        numbers.setdefault(message.conversation_id, []).append(message.seq)
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    assert all(
        conversation.next_seq == len(numbers.get(conversation.id, [])) + 1
        for conversation in there.conversations.values()
    )


@given(events())
def test_a_status_of_what_is_told_makes_no_message(told: list[Fact]) -> None:
    there = after(told)
    before = messages(there).total()
    for account, messageid in list(there.copies):
        tell(there, status_seen(READ, messageid), account=account)
    assert messages(there).total() == before

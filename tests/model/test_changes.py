"""Decisions on edits and deletions: in the queue where a message waits, else wherever it has arrived."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.model.capabilities import Capabilities
from syncd.model.changes import NOTE
from syncd.model.decide import decide
from syncd.model.facts import CopyStatus, Fact, StatusSeen, UserDeleted, UserEdited
from syncd.model.files import Attachment, FileKind
from syncd.model.outcome import Outcome
from syncd.model.picture import Picture
from syncd.model.records import Copy, Errand, Said
from syncd.model.sending import Author
from syncd.model.topology import Link, Topology
from syncd.model.work import CHANNEL, Duty, Op, extension_of
from tests.model.samples import CONTACT, incoming, link, picture, user_said

DESK = Capabilities("desk", 2.0, 10, sessions=True, edits=True, deletes=True, receipts=True)
PLAIN = Capabilities("channel", 10.0, 10)
"""Ten characters a text: `one two three four` has two pieces."""
ABLE = replace(PLAIN, edits=True, deletes=True)
TWO, THREE = "one two three four", "one two three four five six"
COLLEAGUE = "desk:9004"
BOTH = (CHANNEL, COLLEAGUE)


def topology(channel: Capabilities = PLAIN, *, desk: Capabilities = DESK, edits: str = "note") -> Topology:
    made: Link = link("sms", "bird", "9003", "9004", edits=edits)
    ends = {"desk": replace(made.desk, able=desk), "channel": replace(made.channel, able=channel)}
    return Topology((replace(made, **ends),))  # type: ignore[arg-type]


def tell(there: Picture, fact: Fact, of: Topology | None = None) -> Outcome:
    """Decide on one event of the desk, with what it adds alone in the picture."""
    for added in (there.duties, there.new_messages, there.withdrawn, there.edited_in_queue):
        added.clear()
    there.rewritten.clear()
    return decide(there, of or topology(), incoming(fact, account="office"))


def spoken(there: Picture, text: str, of: Topology | None = None, **how: object) -> Said:
    """User 9003 said it; nothing is sent yet."""
    assert tell(there, user_said("u1", text, **how), of).state == "done"
    return there.said[there.new_messages[0].id]


def sent(there: Picture, said: Said, *targets: str) -> None:
    """What is to be put on these targets is there."""
    for errand in said.errands:
        if errand.target in targets and errand.op is Op.MESSAGE and errand.state == "ready":
            errand.state = "sent"
            extension = extension_of(errand.target)
            account, session = ("bird", None) if extension is None else ("office", f"session-{extension}")
            name, part = f"{errand.target}-{errand.part}", errand.part
            there.add_copy(
                Copy(said.id, "sms", account, CONTACT, extension, session, name, "out", False, CopyStatus.SENT, part)
            )


def edit(text: str) -> UserEdited:
    return UserEdited("u1", text)


DELETION = UserDeleted("u1")


def shown(duties: list[Duty]) -> list[tuple[str, Op, int, str]]:
    return [(duty.target, duty.op, duty.part, duty.text) for duty in duties]


def places(errands: list[Errand]) -> list[tuple[str, int]]:
    return [(errand.target, errand.part) for errand in errands]


# --- both ---


@pytest.mark.parametrize(("fact", "what"), [(edit("new"), "edit"), (DELETION, "deletion")])
def test_before_its_message_it_is_parked(fact: Fact, what: str) -> None:
    outcome = tell(picture(), fact)
    assert outcome == Outcome("parked", f"{what} of a message that is not known", parked_for="u1")


@pytest.mark.parametrize(("fact", "what"), [(edit("new"), "edit"), (DELETION, "deletion")])
def test_of_a_copy_that_syncd_wrote_it_is_our_own_doing(fact: Fact, what: str) -> None:
    there = picture()
    said = spoken(there, "old")
    sent(there, said, COLLEAGUE)
    outcome = tell(there, replace(fact, messageid="desk:9004-0"))  # type: ignore[arg-type]
    assert (outcome.state, outcome.reason) == ("ignored", f"{what} of a copy of message {said.id}")
    assert not there.duties and not there.rewritten and said.text == "old"


@pytest.mark.parametrize("fact", [edit("new"), DELETION])
def test_of_a_message_that_is_removed_it_is_ignored(fact: Fact) -> None:
    there = picture()
    said = spoken(there, "old")
    del there.said[said.id]
    assert tell(there, fact).state == "ignored"
    assert not there.duties


@pytest.mark.parametrize("fact", [edit("new"), DELETION])
def test_of_a_link_that_is_gone_it_is_ignored(fact: Fact) -> None:
    there = picture()
    said = spoken(there, "old")
    assert tell(there, fact, Topology((link("other", "bird", "9003"),))).state == "ignored"
    assert not there.duties and not there.rewritten and said.text == "old"


@pytest.mark.parametrize("fact", [edit("new"), DELETION])
def test_it_waits_behind_an_earlier_event(fact: Fact) -> None:
    there = picture()
    said = spoken(there, "old")
    there.waiting.add(said.conversation_id)
    outcome = tell(there, fact)
    assert (outcome.state, outcome.conversation_id) == ("waiting", said.conversation_id)
    assert said.text == "old" and not there.changed_copies and not there.withdrawn


@pytest.mark.parametrize("fact", [edit("new"), DELETION])
def test_after_a_deletion_nothing_changes(fact: Fact) -> None:
    there = picture()
    said = spoken(there, "old")
    sent(there, said, *BOTH)
    assert tell(there, DELETION).state == "done"
    outcome = tell(there, fact)
    assert outcome.state == "ignored"
    assert not there.duties and not there.rewritten


# --- edits ---


def test_the_same_text_again_changes_nothing() -> None:
    there = picture()
    said = spoken(there, "old")
    outcome = tell(there, edit("old"))
    assert (outcome.state, outcome.reason) == ("ignored", f"edit of message {said.id} that changes nothing")
    assert said.revision == 0


def test_in_the_queue_the_new_text_stands_in_the_place_of_the_old_one() -> None:
    there = picture()
    said = spoken(there, "old")
    outcome = tell(there, edit("new"))
    assert (outcome.state, outcome.message) == ("done", said.id)
    assert (said.text, said.revision, there.rewritten) == ("new", 1, {said.id: said})
    assert places(there.edited_in_queue) == [(CHANNEL, 0), (COLLEAGUE, 0)]
    assert not there.duties and not there.withdrawn and not there.new_messages


def test_in_the_queue_it_may_have_more_pieces() -> None:
    there = picture()
    said = spoken(there, "old")
    tell(there, edit(TWO))
    assert places(there.edited_in_queue) == [(CHANNEL, 0), (COLLEAGUE, 0)]
    assert shown(there.duties) == [(target, Op.MESSAGE, 1, TWO) for target in BOTH]
    assert {duty.revision for duty in there.duties} == {1}
    assert len({(duty.lane_id, duty.seq) for duty in there.duties}) == 2
    assert len(said.errands) == 4


def test_in_the_queue_it_may_have_fewer_pieces() -> None:
    there = picture()
    said = spoken(there, THREE)
    tell(there, edit("new"))
    assert places(there.edited_in_queue) == [(CHANNEL, 0), (COLLEAGUE, 0)]
    assert places(there.withdrawn) == [(CHANNEL, 1), (CHANNEL, 2), (COLLEAGUE, 1), (COLLEAGUE, 2)]
    assert [errand.state for errand in said.errands] == ["ready", "skipped", "skipped"] * 2
    assert not there.duties


def test_in_the_queue_it_may_have_fewer_pieces_and_then_more_again() -> None:
    there = picture()
    said = spoken(there, THREE)
    tell(there, edit("new"))
    tell(there, edit(f"{THREE} "))
    live = {(one.target, one.part) for one in said.errands if one.state == "ready"}
    assert live == {(target, part) for target in BOTH for part in range(3)}


@pytest.mark.parametrize("state", ["sent", "sending", "unknown"])
def test_what_may_be_there_is_edited_where_it_can_be(state: str) -> None:
    there, of = picture(), topology(ABLE)
    said = spoken(there, "old", of)
    for errand in said.errands:
        errand.state = state
    tell(there, edit("new"), of)
    assert shown(there.duties) == [(target, Op.EDIT, 0, "new") for target in BOTH]
    assert not there.edited_in_queue and not there.new_messages


def test_what_is_there_may_have_more_pieces() -> None:
    there, of = picture(), topology(ABLE)
    said = spoken(there, "old", of)
    sent(there, said, *BOTH)
    tell(there, edit(TWO), of)
    wanted = [(target, op, part, TWO) for target in BOTH for part, op in enumerate((Op.EDIT, Op.MESSAGE))]
    assert shown(there.duties) == wanted


def test_what_is_there_may_have_fewer_pieces() -> None:
    there, of = picture(), topology(ABLE)
    said = spoken(there, THREE, of)
    sent(there, said, *BOTH)
    tell(there, edit(TWO), of)
    wanted = [
        (target, op, part, TWO) for target in BOTH for part, op in enumerate((Op.EDIT, Op.EDIT, Op.DELETE))
    ]  # fmt: skip
    assert shown(there.duties) == wanted


def test_what_is_there_may_have_fewer_pieces_and_then_more_again() -> None:
    there, of = picture(), topology(ABLE)
    said = spoken(there, TWO, of)
    sent(there, said, *BOTH)
    tell(there, edit("new"), of)
    tell(there, edit(THREE), of)
    assert (COLLEAGUE, Op.MESSAGE, 1, THREE) in shown(there.duties)


def test_what_was_given_up_is_not_edited() -> None:
    there = picture()
    said = spoken(there, "old")
    for errand in said.errands:
        errand.state = "dead"
    assert tell(there, edit("new")).state == "done"
    assert not there.duties and not there.edited_in_queue and not there.new_messages


def test_what_was_given_up_gets_no_further_pieces() -> None:
    there = picture()
    said = spoken(there, "old")
    for errand in said.errands:
        errand.state = "dead"
    tell(there, edit(TWO))
    assert not there.duties


def test_a_desk_that_cannot_edit_is_left_as_it_is() -> None:
    there, of = picture(), topology(desk=replace(DESK, edits=False))
    said = spoken(there, "old", of)
    sent(there, said, COLLEAGUE)
    tell(there, edit("new"), of)
    assert not there.duties
    assert places(there.edited_in_queue) == [(CHANNEL, 0)]


@pytest.mark.parametrize("state", ["sent", "sending", "unknown"])
def test_a_channel_without_edits_gets_one_note(state: str) -> None:
    there = picture()
    said = spoken(there, "old")
    for errand in said.errands:
        errand.state = state
    tell(there, edit("new"))
    (note,) = there.new_messages
    assert (note.text, note.author, note.extension) == (f"{NOTE}new", Author.USER, "9003")
    notes = [duty for duty in there.duties if duty.message == note.id]
    assert shown(notes) == [(CHANNEL, Op.MESSAGE, part, f"{NOTE}new") for part in range(2)]
    assert shown([duty for duty in there.duties if duty not in notes]) == [(COLLEAGUE, Op.EDIT, 0, "new")]


def test_a_note_takes_the_place_of_the_pieces_that_still_wait() -> None:
    there = picture()
    said = spoken(there, THREE)
    said.errands[0].state = "sent"
    tell(there, edit("new"))
    assert places(there.withdrawn) == [(CHANNEL, 1), (CHANNEL, 2), (COLLEAGUE, 1), (COLLEAGUE, 2)]
    assert [message.text for message in there.new_messages] == [f"{NOTE}new"]


def test_a_channel_that_wants_no_notes_gets_none() -> None:
    there, of = picture(), topology(edits="ignore")
    said = spoken(there, "old", of)
    sent(there, said, *BOTH)
    tell(there, edit("new"), of)
    assert not there.new_messages
    assert shown(there.duties) == [(COLLEAGUE, Op.EDIT, 0, "new")]


def test_each_edit_gets_its_own_revision() -> None:
    there, of = picture(), topology(ABLE)
    said = spoken(there, "old", of)
    sent(there, said, *BOTH)
    for number, text in enumerate(("new", "newer"), 1):
        tell(there, edit(text), of)
        assert {(duty.op, duty.revision) for duty in there.duties} == {(Op.EDIT, number)}


@pytest.mark.parametrize("status", [CopyStatus.DELIVERED, CopyStatus.READ])
def test_after_a_receipt_its_author_does_not_get_his_own_message(status: CopyStatus) -> None:
    there, of = picture(), topology()
    said = spoken(there, "old")
    sent(there, said, *BOTH)
    assert decide(there, of, incoming(StatusSeen(status, messageid="channel-0"))).state == "done"
    assert [duty.op for duty in there.duties] == [Op.MESSAGE, Op.MESSAGE, Op(status)]
    tell(there, edit("new"))
    assert "desk:9003" not in {duty.target for duty in there.duties}


# --- deletions ---


def test_what_waits_is_withdrawn() -> None:
    there = picture()
    said = spoken(there, TWO)
    outcome = tell(there, DELETION)
    assert (outcome.state, outcome.message) == ("done", said.id)
    assert places(there.withdrawn) == [(target, part) for target in BOTH for part in range(2)]
    assert not there.duties
    assert there.copies["office", "u1"].status is CopyStatus.DELETED


@pytest.mark.parametrize("state", ["sent", "sending", "unknown"])
def test_what_may_be_there_is_deleted_where_it_can_be(state: str) -> None:
    there = picture()
    said = spoken(there, TWO)
    for errand in said.errands:
        errand.state = state
    tell(there, DELETION)
    assert [(duty.target, duty.op, duty.part) for duty in there.duties] == [(COLLEAGUE, Op.DELETE, n) for n in (0, 1)]
    assert not there.withdrawn and not there.new_messages


def test_a_channel_that_can_delete_is_told() -> None:
    there, of = picture(), topology(ABLE)
    said = spoken(there, "old", of)
    sent(there, said, *BOTH)
    tell(there, DELETION, of)
    assert [(duty.target, duty.op) for duty in there.duties] == [(CHANNEL, Op.DELETE), (COLLEAGUE, Op.DELETE)]


@pytest.mark.parametrize("state", ["dead", "skipped"])
def test_what_was_given_up_is_not_deleted(state: str) -> None:
    there = picture()
    said = spoken(there, "old")
    for errand in said.errands:
        errand.state = state
    assert tell(there, DELETION).state == "done"
    assert not there.duties and not there.withdrawn


def test_a_deletion_withdraws_an_edit_that_waits_but_no_receipt() -> None:
    there = picture()
    said = spoken(there, "old")
    sent(there, said, *BOTH)
    tell(there, edit("new"))
    receipt = Errand("d-read", "c/desk:9003", "desk:9003", Op.READ, 0, "ready")
    said.errands.append(receipt)
    tell(there, DELETION)
    assert [(one.target, one.op) for one in there.withdrawn] == [(COLLEAGUE, Op.EDIT)]
    assert receipt.state == "ready"
    assert [(duty.target, duty.op) for duty in there.duties] == [(COLLEAGUE, Op.DELETE)]


def test_a_file_is_taken_back_like_a_text() -> None:
    there = picture()
    said = spoken(there, "", files=(Attachment(FileKind.IMAGE, "https://files.example/1"),))
    sent(there, said, COLLEAGUE)
    tell(there, DELETION)
    assert places(there.withdrawn) == [(CHANNEL, 0)]
    assert [(duty.target, duty.op, duty.part) for duty in there.duties] == [(COLLEAGUE, Op.DELETE, 0)]

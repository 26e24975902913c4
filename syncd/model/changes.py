"""A user edits a message, or takes it back: in the queue where it waits, else wherever it has arrived."""

from __future__ import annotations

from syncd.model.capabilities import Capabilities
from syncd.model.facts import CopyStatus, UserDeleted, UserEdited
from syncd.model.outcome import Incoming, Outcome
from syncd.model.parts import pieces
from syncd.model.picture import Picture
from syncd.model.records import Conversation, Copy, Errand, Said
from syncd.model.sending import Author
from syncd.model.statuses import copy_of
from syncd.model.topology import Link, Topology
from syncd.model.work import CHANNEL, Op

NOTE = "Edited: "
"""How a note begins that tells a contact the new text."""


def edited(picture: Picture, topology: Topology, incoming: Incoming, fact: UserEdited) -> Outcome:
    """The new text goes where the old one has arrived, and stands in its place where it still waits."""
    found = _spoken_of(picture, incoming, fact.messageid, "edit")
    if isinstance(found, Outcome):
        return found
    copy, said = found
    link = topology.link(copy.link)
    if copy.status is CopyStatus.DELETED or fact.text == said.text or link is None:
        return Outcome("ignored", f"edit of message {said.id} that changes nothing")
    conversation = picture.conversation(said.link, said.contact)
    if conversation.id in picture.waiting:
        return Outcome("waiting", "an earlier event of the conversation waits", conversation.id)
    picture.rewrite(said, fact.text)
    # The author's own chat holds no copy: all that goes there is receipts.
    for target in dict.fromkeys(errand.target for errand in said.errands if not errand.op.is_receipt):
        if target == CHANNEL:
            _edit_on_channel(picture, link, incoming, conversation, said)
        else:
            _edit_in(picture, conversation, said, target, link.desk.able)
    return Outcome("done", f"edit of message {said.id}", conversation.id, said.id)


def deleted(picture: Picture, topology: Topology, incoming: Incoming, fact: UserDeleted) -> Outcome:
    """What waits is withdrawn; what has arrived is deleted where the platform can. A channel is told nothing."""
    found = _spoken_of(picture, incoming, fact.messageid, "deletion")
    if isinstance(found, Outcome):
        return found
    copy, said = found
    link = topology.link(copy.link)
    conversation = picture.conversation(said.link, said.contact)
    if conversation.id in picture.waiting:
        return Outcome("waiting", "an earlier event of the conversation waits", conversation.id)
    if link is None or not picture.raise_status(copy, CopyStatus.DELETED):
        return Outcome("ignored", f"deletion of message {said.id} once more")
    picture.withdraw(_unsent(said, said.errands))
    for errand in list(said.errands):
        able = link.channel.able if errand.target == CHANNEL else link.desk.able
        if errand.op is Op.MESSAGE and errand.state not in ("skipped", "dead") and able.deletes:
            seq = picture.next_seq(conversation)
            picture.oblige(conversation, said, errand.target, Op.DELETE, seq=seq, part=errand.part)
    return Outcome("done", f"deletion of message {said.id}", conversation.id, said.id)


def _spoken_of(picture: Picture, incoming: Incoming, messageid: str, what: str) -> tuple[Copy, Said] | Outcome:
    copy = copy_of(picture, incoming.account, messageid)
    if copy is None:
        return Outcome("parked", f"{what} of a message that is not known", parked_for=messageid)
    said = picture.said.get(copy.message)
    if not copy.origin or said is None:
        # As the platform tells of what we asked it to do ourselves.
        return Outcome("ignored", f"{what} of a copy of message {copy.message}")
    return copy, said


def _unsent(said: Said, errands: list[Errand]) -> list[Errand]:
    return [one for one in errands if one.state == "ready" and not one.op.is_receipt]


def _edit_in(picture: Picture, conversation: Conversation, said: Said, target: str, able: Capabilities) -> None:
    """Piece by piece: the text may have more of them now, or fewer."""
    wanted = len(pieces(said.text, said.kinds, able))
    there = _pieces_there(said, target)
    if any(one.state == "dead" for one in there.values()):
        return  # What was refused is not made whole by its end.

    def owe(op: Op, part: int) -> None:
        picture.oblige(conversation, said, target, op, seq=picture.next_seq(conversation), part=part)

    for part in range(max(wanted, *(one + 1 for one in there), 1)):
        errand = there.get(part)
        if errand is None:
            if part < wanted:
                owe(Op.MESSAGE, part)
        elif errand.state != "ready":
            if able.edits:
                owe(Op.EDIT if part < wanted else Op.DELETE, part)
        elif part < wanted:
            picture.edited_in_queue.append(errand)
        else:
            picture.withdraw([errand])


def _pieces_there(said: Said, target: str) -> dict[int, Errand]:
    """The pieces that a target has, or is to have, after all that was decided on them."""
    there: dict[int, Errand] = {}
    for errand in said.errands:
        if errand.target != target or errand.state == "skipped":
            continue
        if errand.op is Op.MESSAGE:
            there[errand.part] = errand
        elif errand.op is Op.DELETE:
            there.pop(errand.part, None)
    return there


def _edit_on_channel(picture: Picture, link: Link, incoming: Incoming, conversation: Conversation, said: Said) -> None:
    able = link.channel.able
    theirs = [one for one in said.errands if one.target == CHANNEL and one.op is Op.MESSAGE]
    if able.edits or all(one.state in ("ready", "skipped", "dead") for one in theirs):
        _edit_in(picture, conversation, said, CHANNEL, able)
    elif link.edits == "note":
        picture.withdraw(_unsent(said, theirs))
        text = f"{NOTE}{said.text}"
        picture.say(
            conversation,
            author=Author.USER,
            extension=said.extension,
            text=text,
            said_at=incoming.received_at,
            event_id=incoming.id,
            account=incoming.account,
            targets={CHANNEL: len(pieces(text, (), able))},
        )

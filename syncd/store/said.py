"""Loads the messages that statuses, edits and deletions speak of, with their deliveries and copies."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, and_, select

from syncd.model.contact import FORGOTTEN, canonical
from syncd.model.facts import (
    ChannelSaid,
    ContactForm,
    ContactSaid,
    CopyStatus,
    Fact,
    StatusSeen,
    UserDeleted,
    UserEdited,
)
from syncd.model.outcome import Incoming
from syncd.model.picture import Picture
from syncd.model.records import Copy, Errand, Said
from syncd.model.sending import Author
from syncd.model.statuses import says_of_many
from syncd.model.text import from_bytes
from syncd.model.topology import Topology
from syncd.model.work import Op
from syncd.store.dialect import fetch
from syncd.store.locks import hold
from syncd.store.rows import COPY, copy_from, kinds_from
from syncd.store.schema import conversation, delivery, mapping, message

LATEST = 200
"""Messages of a conversation that a status of many at once is taken for: older ones were told of before."""

_SAID = (
    message.c.id,
    message.c.author,
    message.c.extension,
    message.c.body,
    message.c.said_at,
    message.c.revision,
    message.c.files,
    message.c.quote,
    conversation.c.id.label("conversation_id"),
    conversation.c.link,
    conversation.c.contact,
)
_ITS_CONVERSATION = and_(
    conversation.c.id == message.c.conversation_id, conversation.c.contact.not_like(f"{FORGOTTEN}%")
)
"""What a contact said who was erased is not spoken of any more: nothing comes of a late status, edit or deletion."""
_ERRAND = (
    delivery.c.id,
    delivery.c.lane_id,
    delivery.c.message,
    delivery.c.target,
    delivery.c.op,
    delivery.c.part,
    delivery.c.state,
)
_TOLD_ON = (CopyStatus.DELIVERED, CopyStatus.READ, CopyStatus.FAILED)


def spoken_of(picture: Picture, incoming: Sequence[Incoming]) -> list[Copy]:
    """The known copies whose messages must be known to decide on these events."""
    found = [copy for copies in picture.lately.values() for copy in copies]
    for one in incoming:
        for fact in one.facts:
            name = _named(fact)
            copy = picture.copies.get((one.account, name)) if name is not None else None
            if copy is not None and (not isinstance(fact, StatusSeen | ChannelSaid) or _is_ours_on_a_channel(copy)):
                found.append(copy)
    return found


def in_question(picture: Picture, incoming: Sequence[Incoming]) -> set[str]:
    """The messages that a status may turn out to speak of: sends in doubt, and copies without an id."""
    if not any(isinstance(fact, StatusSeen) and fact.status in _TOLD_ON for one in incoming for fact in one.facts):
        return set()
    doubts = {doubt.message for there in picture.doubts.values() for doubt in there}
    return doubts | {one.copy.message for there in picture.nameless_on_channel.values() for one in there}


def _is_ours_on_a_channel(copy: Copy) -> bool:
    """Nobody has to be told what became of any other copy."""
    return copy.extension is None and not copy.origin


def _named(fact: Fact) -> str | None:
    """The message that has to be known to decide on this."""
    match fact:
        case UserEdited() | UserDeleted():
            return fact.messageid
        case StatusSeen() | ChannelSaid():
            return fact.messageid if fact.status in _TOLD_ON else None
        case ContactSaid():
            return fact.quotes
    return None


def load_lately(conn: Connection, picture: Picture, topology: Topology, incoming: Sequence[Incoming]) -> None:
    """Read the copies that a status of a whole session, or of all that a recipient had, may speak of."""
    for one in incoming:
        for fact in one.facts:
            if not isinstance(fact, StatusSeen) or not says_of_many(fact):
                continue
            if fact.sessionid is not None:
                session = picture.sessions.get((one.account, fact.sessionid))
                if session is None:
                    continue
                where: Any = conversation.c.contact == session.chat.contact
                its: Any = mapping.c.sessionid == fact.sessionid
                name = fact.sessionid
            else:
                link = topology.by_channel(one.account, fact.end or "")
                if link is None or fact.recipient is None:
                    continue
                contact = canonical(fact.recipient, ContactForm.INTERNATIONAL, link.region)
                where = and_(conversation.c.link == link.name, conversation.c.contact == contact)
                its = mapping.c.sessionid.is_(None)
                name = link.name
            copies = picture.lately.setdefault((one.account, name), [])
            for conversation_id in list(conn.execute(select(conversation.c.id).where(where)).scalars()):
                for row in _latest(conn, conversation_id, one.account, its):
                    copy = picture.copies.setdefault((row.account, row.messageid), copy_from(row))
                    if copy not in copies:
                        copies.append(copy)


def _latest(conn: Connection, conversation_id: str, account: str, its: Any) -> list[Any]:
    latest = (
        select(message.c.id)
        .where(message.c.conversation_id == conversation_id)
        .order_by(message.c.seq.desc())
        .limit(LATEST)
    )
    found = select(*COPY).where(
        mapping.c.message.in_(latest),
        mapping.c.account == account,
        mapping.c.origin.is_(False),
        mapping.c.messageid.is_not(None),
        mapping.c.status.in_(("sent", "delivered")),
        its,
    )
    return list(conn.execute(found))


def load(
    conn: Connection,
    picture: Picture,
    incoming: Sequence[Incoming],
    ids: Iterable[str],
    *,
    beside: Collection[str] = (),
) -> None:
    """Read these messages; their lanes stand still until the transaction ends, where an event would change them.

    With them those `beside`, that other events of the batch may put something in.
    """
    for row in fetch(conn, _SAID, (message.c.id,), set(ids), where=_ITS_CONVERSATION):
        picture.said[row.id] = Said(
            row.id,
            row.link,
            row.contact,
            row.conversation_id,
            Author(row.author),
            row.extension,
            from_bytes(row.body),
            row.said_at,
            row.revision,
            kinds_from(row.files),
            from_bytes(row.quote),
        )
    wanted = set(picture.said)
    if any(isinstance(fact, UserEdited | UserDeleted) for one in incoming for fact in one.facts):
        hold(conn, {row.lane_id for row in fetch(conn, _ERRAND, (delivery.c.message,), wanted)}.union(beside))
    for row in fetch(conn, _ERRAND, (delivery.c.message,), wanted, order=(delivery.c.id,)):
        errand = Errand(row.id, row.lane_id, row.target, Op(row.op), row.part, row.state)
        picture.said[row.message].errands.append(errand)
    for row in fetch(conn, COPY, (mapping.c.message,), wanted):
        copy = copy_from(row)
        if copy.messageid is not None:
            copy = picture.copies.setdefault((copy.account, copy.messageid), copy)
        picture.said[row.message].copies.append(copy)

"""What platforms tell of copies that are there: delivered, read, failed; and whom that concerns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from syncd.model.contact import canonical
from syncd.model.facts import ContactForm, CopyStatus, StatusSeen
from syncd.model.outcome import Incoming, Outcome
from syncd.model.picture import Picture
from syncd.model.records import RANK, Copy, Nameless, Pending, Untold
from syncd.model.sending import Author
from syncd.model.topology import Topology
from syncd.model.work import CHANNEL, Chat, Op, conversation_of, desk_target, lane_id

NEWS_WITHIN = timedelta(minutes=10)
"""A status of an id that nothing claims may speak of a send whose id was not told, no longer ago than this."""
_RECEIPTS = {CopyStatus.DELIVERED: Op.DELIVERED, CopyStatus.READ: Op.READ}


def status_seen(picture: Picture, topology: Topology, incoming: Incoming, fact: StatusSeen) -> Outcome:
    """A status of one copy, or of all that somebody had before him."""
    if fact.messageid is None:
        return _status_of_many(picture, topology, incoming, fact)
    copy = copy_of(picture, incoming.account, fact.messageid)
    if copy is not None and not _speaks_for(topology, incoming.account, copy, fact.end):
        return Outcome("ignored", f"{fact.status} of a message that is another end's")
    if copy is None:
        return _status_of_unknown(picture, topology, incoming, fact)
    if says_of_many(fact) and (last := picture.said.get(copy.message)) is not None:
        return _status_of_many(picture, topology, incoming, replace(fact, at=last.said_at))
    took = take_status(picture, topology, copy, fact.status, fact.reason)
    return Outcome("done" if took else "ignored", f"{fact.status} of message {copy.message}")


def says_of_many(fact: StatusSeen) -> bool:
    """Whether it tells of all that there was before, too (Ringotel's page §11.7, iSlash's §7.4)."""
    return fact.messageid is None or (fact.status is CopyStatus.READ and fact.sessionid is not None)


def take_status(picture: Picture, topology: Topology, copy: Copy, status: CopyStatus, reason: str | None) -> bool:
    """Take a status of a copy if it says more than what is known, and have the author told. Whether it did."""
    if not picture.raise_status(copy, status):
        return False
    said = picture.said.get(copy.message)
    if said is None or said.author is not Author.USER or copy.origin or copy.extension is not None:
        return True
    if status is CopyStatus.FAILED:
        picture.untold.append(Untold(said, reason or ""))
        return True
    link, op = topology.link(said.link), _RECEIPTS.get(status)
    home = next((one for one in said.copies if one.origin), None)
    if op is None or link is None or home is None or home.extension is None or not link.desk.able.receipts:
        return True
    # Of a message in several pieces the last one counts.
    theirs = [one for one in said.copies if one.extension is None and not one.origin]
    owed = (one for one in said.errands if one.target == CHANNEL and one.op is Op.MESSAGE and one.state != "skipped")
    pieces = sum(1 for _ in owed)
    if len(theirs) < pieces or any(RANK[one.status] < RANK[status] for one in theirs):
        return True
    target = desk_target(home.extension)
    if not any(errand.op is op and errand.target == target for errand in said.errands):
        conversation = picture.conversation(said.link, said.contact)
        picture.oblige(conversation, said, target, op, seq=picture.next_seq(conversation))
    return True


def _status_of_many(picture: Picture, topology: Topology, incoming: Incoming, fact: StatusSeen) -> Outcome:
    """Everything in a session, or to a recipient, until a time."""
    link = topology.by_channel(incoming.account, fact.end or "")
    name = fact.sessionid if fact.sessionid is not None else link.name if link is not None else ""
    until = fact.at or incoming.received_at
    took = 0
    for copy in picture.lately.get((incoming.account, name), ()):
        said = picture.said.get(copy.message)
        if said is not None and said.said_at <= until and copy.messageid is not None:
            took += take_status(picture, topology, copy, fact.status, fact.reason)
    return Outcome("done" if took else "ignored", f"{fact.status} of {took} messages")


def _speaks_for(topology: Topology, account: str, copy: Copy, end: str | None) -> bool:
    """Whether an end (one that its own secret path names) may tell of this copy: not of another link's."""
    link = topology.link(copy.link)
    return not end or link is None or link.channel.account != account or link.channel.key == end


def _status_of_unknown(picture: Picture, topology: Topology, incoming: Incoming, fact: StatusSeen) -> Outcome:
    """A status of an id that nothing claims settles a doubt where exactly one fits (design §14, iSlash's page A6)."""
    lanes = lanes_of_status(picture, topology, incoming.account, fact)
    doubts = doubts_in(picture, lanes, incoming.received_at, NEWS_WITHIN)
    nameless = _nameless_of_status(picture, topology, incoming, fact)
    # A send without an answer yet may be what it speaks of, as well as an older one whose answer was lost.
    if len(doubts) + len(nameless) == 1 and not any(lane in picture.sending for lane in lanes):
        if doubts:
            settled = picture.settle(doubts[0], incoming.account, fact.messageid, CopyStatus.SENT)
            take_status(picture, topology, settled, fact.status, fact.reason)
            return Outcome("done", f"{fact.status} of message {doubts[0].message}, whose answer was lost")
        if fact.messageid is not None:
            picture.name_copy(nameless[0], fact.messageid)
            take_status(picture, topology, nameless[0].copy, fact.status, fact.reason)
            return Outcome("done", f"{fact.status} of message {nameless[0].copy.message}, whose id was not told")
    flying = next((lane for lane in lanes if lane in picture.in_flight), None)
    if flying is not None:
        return Outcome("waiting", "may speak of a send in flight", conversation_of(flying))
    return Outcome("parked", f"{fact.status} of a message that is not known", parked_for=fact.messageid)


def lanes_of_status(picture: Picture, topology: Topology, account: str, fact: StatusSeen) -> list[str]:
    """The lanes that a status may speak of: of its session's chat, or of the contact that it names."""
    if fact.sessionid is not None:
        session = picture.sessions.get((account, fact.sessionid))
        return [] if session is None else lanes_of_chat(picture, topology, session.chat)
    link = topology.by_channel(account, fact.end) if fact.end is not None else None
    if link is None or fact.recipient is None:
        return []
    there = picture.conversations.get((link.name, canonical(fact.recipient, ContactForm.INTERNATIONAL, link.region)))
    return [] if there is None else [lane_id(there.id, CHANNEL)]


def lanes_of_chat(picture: Picture, topology: Topology, chat: Chat) -> list[str]:
    """The lanes that lead into a chat: one for each link on which its user meets the contact."""
    links = topology.by_desk_user(chat.account, chat.organization, chat.extension)
    found = (picture.conversations.get((link.name, chat.contact)) for link in links)
    return [lane_id(there.id, desk_target(chat.extension)) for there in found if there is not None]


def _nameless_of_status(picture: Picture, topology: Topology, incoming: Incoming, fact: StatusSeen) -> list[Nameless]:
    if fact.sessionid is not None:
        there = picture.nameless.get((incoming.account, fact.sessionid), [])
    else:
        there = _nameless_on_channel(picture, topology, incoming, fact)
    return [one for one in there if incoming.received_at - one.written_at < NEWS_WITHIN]


def _nameless_on_channel(picture: Picture, topology: Topology, incoming: Incoming, fact: StatusSeen) -> list[Nameless]:
    link = topology.by_channel(incoming.account, fact.end) if fact.end is not None else None
    if link is None or fact.recipient is None:
        return []
    contact = canonical(fact.recipient, ContactForm.INTERNATIONAL, link.region)
    return picture.nameless_on_channel.get((link.name, contact), [])


def doubts_in(picture: Picture, lanes: Iterable[str], at: datetime, within: timedelta) -> list[Pending]:
    return [
        doubt
        for lane in lanes
        for doubt in picture.doubts.get(lane, ())
        if doubt.tried_at is None or at - doubt.tried_at < within
    ]


def copy_of(picture: Picture, account: str, messageid: str | None) -> Copy | None:
    """The copy that a platform calls so."""
    return None if messageid is None else picture.copies.get((account, messageid))

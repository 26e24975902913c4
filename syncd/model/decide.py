"""The translation: what an event means for the store. Pure: a `Picture` in, the same `Picture` with more in it out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from syncd.model.contact import canonical
from syncd.model.facts import ChannelSaid, ContactSaid, CopyStatus, Fact, StatusSeen, Uninteresting, UserSaid
from syncd.model.picture import Conversation, Copy, Picture
from syncd.model.sending import Author
from syncd.model.topology import Link, Topology
from syncd.model.work import CHANNEL, Chat, desk_target, lane_id


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event with what its platform says that it means."""

    id: str
    account: str
    received_at: datetime
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an event: `done`, `ignored` or `waiting`, and why in a stable phrase."""

    state: str
    reason: str = ""
    conversation_id: str | None = None
    """The conversation that it belongs to, or waits in."""
    message: str | None = None
    """The message that it made."""


def decide(picture: Picture, topology: Topology, incoming: Incoming) -> Outcome:
    """Decide on one event. The last fact that did something gives the outcome; one that waits makes the event wait."""
    outcome = Outcome("ignored", "nothing in it")
    for fact in incoming.facts:
        found = _decide_fact(picture, topology, incoming, fact)
        if found.state == "waiting":
            assert found.conversation_id is not None
            picture.waiting.add(found.conversation_id)
            return found
        if found.state == "done" or outcome.state != "done":
            outcome = found
    return outcome


def _decide_fact(picture: Picture, topology: Topology, incoming: Incoming, fact: Fact) -> Outcome:
    match fact:
        case ContactSaid():
            return _contact_said(picture, topology, incoming, fact)
        case UserSaid():
            return _user_said(picture, topology, incoming, fact)
        case ChannelSaid():
            return _channel_said(picture, topology, incoming, fact)
        case StatusSeen():
            return _status_seen(picture, incoming, fact)
        case Uninteresting():
            return Outcome("ignored", fact.reason)


def _contact_said(picture: Picture, topology: Topology, incoming: Incoming, fact: ContactSaid) -> Outcome:
    link = topology.by_channel(incoming.account, fact.end)
    if link is None:
        return Outcome("ignored", "no link has this channel")
    known = _known_copy(picture, incoming.account, fact.messageid)
    if known is not None:
        return Outcome("ignored", f"duplicate of message {known.message}")
    contact = canonical(fact.contact, fact.form, link.region)
    conversation = picture.conversation(link.name, contact)
    if conversation.id in picture.waiting:
        return Outcome("waiting", "an earlier event of the conversation waits", conversation.id)
    conversation.spelling = fact.contact
    conversation.name = fact.name or conversation.name
    conversation.contact_wrote_at = max(conversation.contact_wrote_at or incoming.received_at, incoming.received_at)
    message = picture.say(
        conversation,
        author=Author.CONTACT,
        extension=None,
        text=fact.text,
        said_at=fact.said_at or incoming.received_at,
        event_id=incoming.id,
        targets=[desk_target(user) for user in link.desk.users],
    )
    picture.add_copy(
        Copy(
            message=message.id,
            link=link.name,
            account=incoming.account,
            contact=contact,
            extension=None,
            sessionid=None,
            messageid=fact.messageid,
            direction="in",
            origin=True,
            status=CopyStatus.RECEIVED,
        )
    )
    return Outcome("done", "", conversation.id, message.id)


def _user_said(picture: Picture, topology: Topology, incoming: Incoming, fact: UserSaid) -> Outcome:
    known = _known_copy(picture, incoming.account, fact.messageid)
    if known is not None:
        return Outcome("ignored", f"{'duplicate' if known.origin else 'echo'} of message {known.message}")
    chat, author = chat_of(picture, incoming.account, fact)
    if chat is None or author is None:
        return Outcome("ignored", "its author is unknown")
    links = topology.by_desk_user(incoming.account, fact.organization, author)
    if not links:
        return Outcome("ignored", "no link lists this user")
    link, contact, why = _link_for(picture, links, fact, chat.contact)
    chat = Chat(incoming.account, fact.organization, chat.extension, contact)
    conversation = picture.conversation(link.name, contact)
    if conversation.id in picture.waiting:
        return Outcome("waiting", "an earlier event of the conversation waits", conversation.id)
    if any(
        lane_id(there.id, desk_target(chat.extension)) in picture.in_flight
        for there in _conversations_with(picture, links, contact)
    ):
        return Outcome("waiting", "may be the echo of a send in flight", conversation.id)
    if fact.sessionid is not None:
        picture.adopt(chat, fact.sessionid, spelling=fact.contact, at=incoming.received_at)
    message = picture.say(
        conversation,
        author=Author.USER,
        extension=author,
        text=fact.text,
        said_at=fact.said_at or incoming.received_at,
        event_id=incoming.id,
        targets=[CHANNEL, *(desk_target(user) for user in link.desk.users if user != chat.extension)],
    )
    picture.add_copy(
        Copy(
            message=message.id,
            link=link.name,
            account=incoming.account,
            contact=contact,
            extension=chat.extension,
            sessionid=fact.sessionid,
            messageid=fact.messageid,
            direction="out",
            origin=True,
            status=CopyStatus.RECEIVED,
        )
    )
    return Outcome("done", why, conversation.id, message.id)


def _channel_said(picture: Picture, topology: Topology, incoming: Incoming, fact: ChannelSaid) -> Outcome:
    link = topology.by_channel(incoming.account, fact.end)
    if link is None:
        return Outcome("ignored", "no link has this channel")
    known = _known_copy(picture, incoming.account, fact.messageid)
    if known is not None:
        if fact.status is not None and picture.raise_status(known, fact.status):
            return Outcome("done", f"{fact.status} of message {known.message}")
        return Outcome("ignored", f"{'duplicate' if known.origin else 'echo'} of message {known.message}")
    ours = picture.pending.get(fact.reference) if fact.reference else None
    if ours is not None:
        # The platform names our send before its HTTP answer did, or instead of it.
        picture.add_copy(
            Copy(
                message=ours.message,
                link=ours.link,
                account=incoming.account,
                contact=ours.contact,
                extension=None,
                sessionid=None,
                messageid=fact.messageid,
                direction="out",
                origin=False,
                status=fact.status or CopyStatus.SENT,
                part=ours.part,
            )
        )
        picture.settled.append(ours)
        return Outcome("done", f"echo of message {ours.message}")
    contact = canonical(fact.contact, fact.form, link.region)
    conversation = picture.conversation(link.name, contact)
    if conversation.id in picture.waiting:
        return Outcome("waiting", "an earlier event of the conversation waits", conversation.id)
    if fact.reference is None and lane_id(conversation.id, CHANNEL) in picture.in_flight:
        return Outcome("waiting", "may be the echo of a send in flight", conversation.id)
    message = picture.say(
        conversation,
        author=Author.CHANNEL,
        extension=link.desk.users[0],
        text=fact.text,
        said_at=fact.said_at or incoming.received_at,
        event_id=incoming.id,
        targets=[desk_target(user) for user in link.desk.users],
    )
    picture.add_copy(
        Copy(
            message=message.id,
            link=link.name,
            account=incoming.account,
            contact=contact,
            extension=None,
            sessionid=None,
            messageid=fact.messageid,
            direction="out",
            origin=True,
            status=fact.status or CopyStatus.SENT,
        )
    )
    return Outcome("done", "somebody answered on the channel itself", conversation.id, message.id)


def _status_seen(picture: Picture, incoming: Incoming, fact: StatusSeen) -> Outcome:
    if fact.messageid is None:
        return Outcome("ignored", f"{fact.status} of a whole session")
    copy = _known_copy(picture, incoming.account, fact.messageid)
    if copy is None and fact.sessionid is not None:
        nameless = picture.nameless.get((incoming.account, fact.sessionid))
        if nameless:
            copy = nameless[0]
            picture.name_copy(copy, fact.messageid)
    if copy is None:
        return Outcome("ignored", f"{fact.status} of a message that is not known")
    return Outcome(
        "done" if picture.raise_status(copy, fact.status) else "ignored", f"{fact.status} of message {copy.message}"
    )


def chat_of(picture: Picture, account: str, fact: UserSaid) -> tuple[Chat | None, str | None]:
    """Whose chat a desk event speaks of, and its author. The contact is empty where no session tells it."""
    session = picture.sessions.get((account, fact.sessionid)) if fact.sessionid is not None else None
    if session is not None:
        return session.chat, fact.extension or session.chat.extension
    if fact.extension is None:
        return None, None
    return Chat(account, fact.organization, fact.extension, ""), fact.extension


def contact_on(link: Link, fact: UserSaid, known: str) -> str:
    """The contact that a user wrote to, as this link names it; `known` is what the session tells, or empty."""
    return known or canonical(fact.contact, fact.form, link.region)


def _link_for(picture: Picture, links: tuple[Link, ...], fact: UserSaid, known: str) -> tuple[Link, str, str]:
    """Design §4: the link on which that contact last wrote, else the first in the file."""
    best: tuple[datetime, Link, str] | None = None
    for link in links:
        contact = contact_on(link, fact, known)
        there = picture.conversations.get((link.name, contact))
        if there is None or there.contact_wrote_at is None:
            continue
        if best is None or there.contact_wrote_at > best[0]:
            best = (there.contact_wrote_at, link, contact)
    if best is not None:
        return best[1], best[2], "goes out where the contact last wrote"
    return links[0], contact_on(links[0], fact, known), "goes out on the first link that lists the user"


def _conversations_with(picture: Picture, links: tuple[Link, ...], contact: str) -> list[Conversation]:
    found = (picture.conversations.get((link.name, contact)) for link in links)
    return [conversation for conversation in found if conversation is not None]


def _known_copy(picture: Picture, account: str, messageid: str | None) -> Copy | None:
    return None if messageid is None else picture.copies.get((account, messageid))

"""The translation: what an event means for the store. Pure: a `Picture` in, the same `Picture` with more in it out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.model.contact import canonical
from syncd.model.facts import (
    ChannelSaid,
    ContactForm,
    ContactSaid,
    CopyStatus,
    Fact,
    StatusSeen,
    Uninteresting,
    UserSaid,
)
from syncd.model.picture import Copy, Nameless, Pending, Picture
from syncd.model.retry import SETTLE
from syncd.model.sending import Author
from syncd.model.topology import Link, Topology
from syncd.model.work import CHANNEL, Chat, conversation_of, desk_target, lane_id

NEWS_WITHIN = timedelta(minutes=10)
"""A status of an id that nothing claims may speak of a send whose id was not told, no longer ago than this."""
ECHO_WITHIN = timedelta(seconds=10)
"""An echo of a send whose answer told no id comes within this, or is a new message (Ringotel's page §11.5)."""


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
    if len(incoming.facts) > 1:
        # All of it or nothing: an event that waits is decided again as a whole.
        trial = _decide_facts(picture.trial(), topology, incoming)
        if trial.state == "waiting":
            return _wait(picture, trial)
    outcome = _decide_facts(picture, topology, incoming)
    return _wait(picture, outcome) if outcome.state == "waiting" else outcome


def _decide_facts(picture: Picture, topology: Topology, incoming: Incoming) -> Outcome:
    outcome = Outcome("ignored", "nothing in it")
    for fact in incoming.facts:
        found = _decide_fact(picture, topology, incoming, fact)
        if found.state == "waiting":
            return found
        if found.state == "done" or outcome.state != "done":
            outcome = found
    return outcome


def _wait(picture: Picture, outcome: Outcome) -> Outcome:
    assert outcome.conversation_id is not None
    picture.waiting.add(outcome.conversation_id)
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
            return _status_seen(picture, topology, incoming, fact)
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
    picture.hear(message, conversation, incoming.account, fact.messageid, CopyStatus.RECEIVED)
    return Outcome("done", "", conversation.id, message.id)


def _user_said(picture: Picture, topology: Topology, incoming: Incoming, fact: UserSaid) -> Outcome:
    known = _known_copy(picture, incoming.account, fact.messageid)
    if known is not None:
        return Outcome("ignored", f"{'duplicate' if known.origin else 'echo'} of message {known.message}")
    nameless = _only_nameless(picture, incoming, fact.sessionid, ECHO_WITHIN)
    if nameless is not None and fact.messageid is not None and fact.text == nameless.text:
        picture.name_copy(nameless, fact.messageid)
        return Outcome("done", f"echo of message {nameless.copy.message}")
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
    lanes = lanes_of_chat(picture, topology, chat)
    doubt = _only_doubt(picture, lanes, incoming.received_at, SETTLE)
    if doubt is not None and fact.messageid is not None and fact.text == doubt.text:
        picture.settle(doubt, incoming.account, fact.messageid, CopyStatus.SENT)
        return Outcome("done", f"echo of message {doubt.message}")
    if any(lane in picture.in_flight for lane in lanes):
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
    picture.hear(
        message,
        conversation,
        incoming.account,
        fact.messageid,
        CopyStatus.RECEIVED,
        extension=chat.extension,
        sessionid=fact.sessionid,
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
        picture.settle(ours, incoming.account, fact.messageid, fact.status or CopyStatus.SENT)
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
    picture.hear(message, conversation, incoming.account, fact.messageid, fact.status or CopyStatus.SENT)
    return Outcome("done", "somebody answered on the channel itself", conversation.id, message.id)


def _status_seen(picture: Picture, topology: Topology, incoming: Incoming, fact: StatusSeen) -> Outcome:
    if fact.messageid is None:
        return Outcome("ignored", f"{fact.status} of a whole session")
    copy = _known_copy(picture, incoming.account, fact.messageid)
    if copy is None and fact.sessionid is not None:
        nameless = _only_nameless(picture, incoming, fact.sessionid, NEWS_WITHIN)
        if nameless is not None:
            copy = nameless.copy
            picture.name_copy(nameless, fact.messageid)
    if copy is None:
        return _status_of_unknown(picture, topology, incoming, fact)
    return Outcome(
        "done" if picture.raise_status(copy, fact.status) else "ignored", f"{fact.status} of message {copy.message}"
    )


def _status_of_unknown(picture: Picture, topology: Topology, incoming: Incoming, fact: StatusSeen) -> Outcome:
    """A status of an id that nothing claims settles a doubt where exactly one fits (design §14, iSlash's page A6)."""
    lanes = lanes_of_status(picture, topology, incoming.account, fact)
    doubt = _only_doubt(picture, lanes, incoming.received_at, NEWS_WITHIN)
    if doubt is not None:
        picture.settle(doubt, incoming.account, fact.messageid, fact.status)
        return Outcome("done", f"{fact.status} of message {doubt.message}, whose answer was lost")
    flying = next((lane for lane in lanes if lane in picture.in_flight), None)
    if flying is not None:
        return Outcome("waiting", "may speak of a send in flight", conversation_of(flying))
    return Outcome("ignored", f"{fact.status} of a message that is not known")


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


# The text alone never makes an echo (G5): a user may well answer with the contact's own word. But where exactly one
# copy of ours in a chat lacks its id, and a message turns up there at once whose id nobody knows, the text may rule out
# that the user wrote something else.


def _only_nameless(picture: Picture, incoming: Incoming, sessionid: str | None, within: timedelta) -> Nameless | None:
    there = picture.nameless.get((incoming.account, sessionid), []) if sessionid is not None else []
    fitting = [one for one in there if incoming.received_at - one.written_at < within]
    return fitting[0] if len(fitting) == 1 else None


def _only_doubt(picture: Picture, lanes: list[str], at: datetime, within: timedelta) -> Pending | None:
    fitting = [
        doubt
        for lane in lanes
        for doubt in picture.doubts.get(lane, ())
        if doubt.tried_at is None or at - doubt.tried_at < within
    ]
    return fitting[0] if len(fitting) == 1 else None


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


def _known_copy(picture: Picture, account: str, messageid: str | None) -> Copy | None:
    return None if messageid is None else picture.copies.get((account, messageid))

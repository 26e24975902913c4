"""The translation: what an event means for the store. Pure: a `Picture` in, the same `Picture` with more in it out."""

from __future__ import annotations

from datetime import datetime, timedelta

from syncd.model.changes import deleted, edited
from syncd.model.contact import canonical
from syncd.model.facts import (
    ChannelSaid,
    ContactSaid,
    CopyStatus,
    Fact,
    StatusSeen,
    Undelivered,
    Uninteresting,
    UserDeleted,
    UserEdited,
    UserSaid,
)
from syncd.model.outcome import Incoming, Outcome
from syncd.model.parts import pieces, quote_of, with_quote
from syncd.model.picture import Picture
from syncd.model.records import Nameless, Pending
from syncd.model.retry import SETTLE
from syncd.model.sending import Author
from syncd.model.statuses import copy_of, doubts_in, lanes_of_chat, status_seen, take_status
from syncd.model.topology import Link, Topology
from syncd.model.work import CHANNEL, Chat, desk_target, is_shared_number, lane_id

UNLINKED = "no link has this channel"
"""Why an event of a channel means nothing; once a link has the channel, a resync looks at it anew."""
ECHO_WITHIN = timedelta(seconds=10)
"""An echo of a send whose answer told no id comes within this, or is a new message (Ringotel's page §11.5)."""

USER = "user:"
"""How the name begins of what an event is parked for whose author is not known yet."""


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
            return status_seen(picture, topology, incoming, fact)
        case Undelivered():
            return _undelivered(picture, topology, incoming, fact)
        case UserEdited():
            return edited(picture, topology, incoming, fact)
        case UserDeleted():
            return deleted(picture, topology, incoming, fact)
        case Uninteresting():
            return Outcome("ignored", fact.reason)


def _contact_said(picture: Picture, topology: Topology, incoming: Incoming, fact: ContactSaid) -> Outcome:
    link = topology.by_channel(incoming.account, fact.end)
    if link is None:
        return Outcome("ignored", UNLINKED)
    known = copy_of(picture, incoming.account, fact.messageid)
    if known is not None:
        return Outcome("ignored", f"duplicate of message {known.message}")
    contact = canonical(fact.contact, fact.form, link.region)
    conversation = picture.conversation(link.name, contact)
    if conversation.id in picture.waiting:
        return Outcome("waiting", "an earlier event of the conversation waits", conversation.id)
    wrote_at = incoming.received_at
    if incoming.history:
        wrote_at = min(fact.said_at or wrote_at, wrote_at)
    if not incoming.history or conversation.contact_wrote_at is None:
        conversation.spelling = fact.contact
        conversation.name = fact.name or conversation.name
    conversation.contact_wrote_at = max(conversation.contact_wrote_at or wrote_at, wrote_at)
    quote = _quote(picture, incoming.account, fact.quotes)
    message = picture.say(
        conversation,
        author=Author.CONTACT,
        extension=None,
        text=fact.text,
        said_at=fact.said_at or incoming.received_at,
        event_id=incoming.id,
        account=incoming.account,
        targets=_parts(link, fact, quote, [desk_target(user) for user in link.desk.users]),
        files=fact.files,
        quote=quote,
        history=incoming.history,
    )
    picture.hear(message, conversation, incoming.account, fact.messageid, CopyStatus.RECEIVED)
    return Outcome("done", "", conversation.id, message.id)


def _user_said(picture: Picture, topology: Topology, incoming: Incoming, fact: UserSaid) -> Outcome:
    known = copy_of(picture, incoming.account, fact.messageid)
    if known is not None:
        return Outcome("ignored", f"{'duplicate' if known.origin else 'echo'} of message {known.message}")
    nameless = _only_nameless(picture, incoming, fact.sessionid, ECHO_WITHIN)
    if nameless is not None and fact.messageid is not None and _alike(topology, fact, nameless.copy.link, nameless):
        picture.name_copy(nameless, fact.messageid)
        return Outcome("done", f"echo of message {nameless.copy.message}")
    chat, author = chat_of(picture, topology, incoming.account, fact)
    if chat is None or author is None:
        return _by_a_stranger(picture, topology, incoming, fact)
    links = links_of(topology, incoming.account, fact, chat, author)
    if not links:
        return Outcome("ignored", "no link lists this user")
    link, contact, why = _link_for(picture, links, fact, chat.contact, incoming.waits_in)
    chat = Chat(incoming.account, fact.organization, chat.extension, contact)
    conversation = picture.conversation(link.name, contact)
    lanes = lanes_of_chat(picture, topology, chat)
    doubts = doubts_in(picture, lanes, incoming.received_at, SETTLE)
    alike = [doubt for doubt in doubts if _alike(topology, fact, doubt.link, doubt)]
    # While a send has no answer yet it may just as well be the echo of that.
    if len(alike) == 1 and fact.messageid is not None and not any(lane in picture.sending for lane in lanes):
        if fact.sessionid is not None:
            alike[0].sessionid = fact.sessionid
            picture.adopt(chat, fact.sessionid, spelling=fact.contact, at=incoming.received_at)
        picture.settle(alike[0], incoming.account, fact.messageid, CopyStatus.SENT)
        return Outcome("done", f"echo of message {alike[0].message}")
    # Only now: an earlier event may wait for the very doubt that this one settles.
    if conversation.id in picture.waiting:
        return Outcome("waiting", "an earlier event of the conversation waits", conversation.id)
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
        account=incoming.account,
        targets=_parts(
            link, fact, "", [CHANNEL, *(desk_target(user) for user in link.desk.users if user != chat.extension)]
        ),
        files=fact.files,
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


def _by_a_stranger(picture: Picture, topology: Topology, incoming: Incoming, fact: UserSaid) -> Outcome:
    """Only a `userid` tells who wrote it, and the directory does not have that one, or not yet."""
    links = [link.desk for link in topology.links]
    desk = next((one for one in links if (one.account, one.key) == (incoming.account, fact.organization)), None)
    if desk is None:
        return Outcome("ignored", "no link lists this user")
    if fact.userid is None or not desk.able.directory:
        return Outcome("ignored", "its author is unknown")
    picture.strangers.add((incoming.account, fact.organization))
    return Outcome("parked", "its author is unknown", parked_for=name_of_user(fact.userid))


def _channel_said(picture: Picture, topology: Topology, incoming: Incoming, fact: ChannelSaid) -> Outcome:
    link = topology.by_channel(incoming.account, fact.end)
    if link is None:
        return Outcome("ignored", UNLINKED)
    known = copy_of(picture, incoming.account, fact.messageid)
    if known is not None:
        if fact.status is not None and take_status(picture, topology, known, fact.status, fact.reason):
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
        account=incoming.account,
        targets=_parts(link, fact, "", [desk_target(user) for user in link.desk.users]),
        files=fact.files,
        history=incoming.history,
    )
    picture.hear(message, conversation, incoming.account, fact.messageid, fact.status or CopyStatus.SENT)
    return Outcome("done", "somebody answered on the channel itself", conversation.id, message.id)


def _undelivered(picture: Picture, topology: Topology, incoming: Incoming, fact: Undelivered) -> Outcome:
    link = topology.link(fact.link)
    chats = () if link is None else (fact.extension, *filter(is_shared_number, link.desk.users))
    told = next((one for one in chats if link is not None and one in link.desk.users), None)
    if link is None or told is None:
        return Outcome("ignored", "nobody is there to be told")
    conversation = picture.conversation(fact.link, fact.contact)
    if conversation.id in picture.waiting:
        return Outcome("waiting", "an earlier event of the conversation waits", conversation.id)
    message = picture.say(
        conversation,
        author=Author.SYNCD,
        extension=None,
        text=fact.text,
        said_at=incoming.received_at,
        event_id=incoming.id,
        account=incoming.account,
        targets={desk_target(told): 1},
    )
    return Outcome("done", "its author is told", conversation.id, message.id)


def _alike(topology: Topology, fact: UserSaid, link_name: str, ours: Nameless | Pending) -> bool:
    """Whether a user's message may be a piece of ours: the same words, or a file for a file."""
    link = topology.link(link_name)
    if link is None:
        return False
    part = ours.copy.part if isinstance(ours, Nameless) else ours.part
    planned = pieces(with_quote(ours.text, ours.quote), ours.kinds, link.desk.able)
    if part >= len(planned):
        return False
    piece = planned[part]
    return bool(fact.files) if piece.file is not None else not fact.files and fact.text == piece.text


def _parts(link: Link, fact: ContactSaid | UserSaid | ChannelSaid, quote: str, targets: list[str]) -> dict[str, int]:
    """In how many pieces each target gets it."""
    text, kinds = with_quote(fact.text, quote), [file.kind for file in fact.files]
    ends = {target: link.channel if target == CHANNEL else link.desk for target in targets}
    return {target: len(pieces(text, kinds, end.able)) for target, end in ends.items()}


def _quote(picture: Picture, account: str, messageid: str | None) -> str:
    """The first words of the message that is answered to, where it is known."""
    copy = copy_of(picture, account, messageid)
    said = picture.said.get(copy.message) if copy is not None else None
    if said is None:
        return ""
    return quote_of(said.text) or (f"[{said.kinds[0]}]" if said.kinds else "")


# The text alone never makes an echo (G5): a user may well answer with the contact's own word. But where exactly one
# copy of ours in a chat lacks its id, and a message turns up there at once whose id nobody knows, the text may rule out
# that the user wrote something else.


def _only_nameless(picture: Picture, incoming: Incoming, sessionid: str | None, within: timedelta) -> Nameless | None:
    there = picture.nameless.get((incoming.account, sessionid), []) if sessionid is not None else []
    fitting = [one for one in there if incoming.received_at - one.written_at < within]
    return fitting[0] if len(fitting) == 1 else None


def chat_of(picture: Picture, topology: Topology, account: str, fact: UserSaid) -> tuple[Chat | None, str | None]:
    """Whose chat a desk event speaks of, and its author; None where neither is known.

    The contact is empty where no session tells it.
    """
    userid = asked_for(fact)
    known = None if userid is None else picture.users.get((account, fact.organization, userid))
    author = known or fact.extension
    session = picture.sessions.get((account, fact.sessionid)) if fact.sessionid is not None else None
    if session is not None:
        return session.chat, author or session.chat.extension
    if userid is not None and not _is_listed(topology, account, fact):
        # Nobody's group chat: the number is only what the user writes from (Ringotel's page §11.12).
        return (None, None) if known is None else (Chat(account, fact.organization, known, ""), known)
    if fact.extension is None:
        return None, None
    return Chat(account, fact.organization, fact.extension, ""), author


def _is_listed(topology: Topology, account: str, fact: UserSaid) -> bool:
    return fact.extension is not None and bool(topology.by_desk_user(account, fact.organization, fact.extension))


def asked_for(fact: UserSaid) -> str | None:
    """The `userid` for whose extension the directory is to be asked; None where the event names the author itself."""
    return fact.userid if fact.extension is None or is_shared_number(fact.extension) else None


def name_of_user(userid: str) -> str:
    """What an event is parked for whose author is not known yet."""
    return f"{USER}{userid}"


def links_of(topology: Topology, account: str, fact: UserSaid, chat: Chat, author: str) -> tuple[Link, ...]:
    """The links that list the author; in a group chat rather those that list its shared number (Ringotel's page §6)."""
    by_author = topology.by_desk_user(account, fact.organization, author)
    by_chat = topology.by_desk_user(account, fact.organization, chat.extension)
    return by_chat or by_author if is_shared_number(chat.extension) else by_author or by_chat


def contact_on(link: Link, fact: UserSaid, known: str) -> str:
    """The contact that a user wrote to, as this link names it; `known` is what the session tells, or empty."""
    return known or canonical(fact.contact, fact.form, link.region)


def _link_for(
    picture: Picture, links: tuple[Link, ...], fact: UserSaid, known: str, waits_in: str | None
) -> tuple[Link, str, str]:
    """Design §4: the link on which that contact last wrote, else the first in the file."""
    best: tuple[datetime, Link, str] | None = None
    for link in links:
        contact = contact_on(link, fact, known)
        there = picture.conversations.get((link.name, contact))
        if there is not None and there.id == waits_in:
            return link, contact, "goes out on the link on which it waited"
        if there is None or there.contact_wrote_at is None:
            continue
        if best is None or there.contact_wrote_at > best[0]:
            best = (there.contact_wrote_at, link, contact)
    if best is not None:
        return best[1], best[2], "goes out where the contact last wrote"
    return links[0], contact_on(links[0], fact, known), "goes out on the first link that lists the user"

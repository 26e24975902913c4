"""Loads what a batch of events touches into a `Picture`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, and_, exists, text

from syncd.model.contact import canonical
from syncd.model.decide import asked_for, chat_of, contact_on, links_of
from syncd.model.facts import (
    ChannelSaid,
    ContactForm,
    ContactSaid,
    StatusSeen,
    Undelivered,
    UserSaid,
)
from syncd.model.outcome import Incoming
from syncd.model.picture import Picture
from syncd.model.records import Conversation, Nameless, Pending, Session
from syncd.model.sending import Author
from syncd.model.text import from_bytes
from syncd.model.topology import Topology
from syncd.model.work import CHANNEL, Chat, desk_target, lane_id
from syncd.store import directory, inbox, lanes, said
from syncd.store.dialect import fetch, is_postgresql
from syncd.store.rows import COPY, copy_from, kinds_from
from syncd.store.schema import IS_CURRENT, IS_HELD, conversation, delivery, event, mapping, message, session

_CONVERSATION = (
    conversation.c.id,
    conversation.c.link,
    conversation.c.contact,
    conversation.c.spelling,
    conversation.c.name,
    conversation.c.next_seq,
    conversation.c.contact_wrote_at,
)
_EVENT_WAITS = exists().where(event.c.conversation_id == conversation.c.id, inbox.WAITS).label("event_waits")
_SESSION = (
    session.c.id,
    session.c.account,
    session.c.organization,
    session.c.extension,
    session.c.contact,
    session.c.sessionid,
    session.c.spelling,
    session.c.state,
    session.c.current,
    session.c.observed_at,
)
_CHAT = (session.c.account, session.c.organization, session.c.extension, session.c.contact)
_PENDING = (
    delivery.c.reference,
    delivery.c.id,
    delivery.c.lane_id,
    delivery.c.message,
    delivery.c.target,
    delivery.c.part,
    delivery.c.state,
    delivery.c.sessionid,
    delivery.c.tried_at,
    message.c.author,
    message.c.body,
    message.c.quote,
    message.c.files,
    conversation.c.id.label("conversation_id"),
    conversation.c.link,
    conversation.c.contact,
)
_ITS_MESSAGE = and_(message.c.id == delivery.c.message, conversation.c.id == message.c.conversation_id)
_IN_DOUBT = and_(_ITS_MESSAGE, IS_HELD, delivery.c.state == text("'unknown'"))
_NAMELESS = and_(mapping.c.messageid.is_(None), mapping.c.origin.is_(False), message.c.id == mapping.c.message)
_NAMELESS_ON_CHANNEL = and_(_NAMELESS, mapping.c.sessionid.is_(None))


def load(conn: Connection, picture: Picture, topology: Topology, incoming: Sequence[Incoming]) -> None:
    """Read everything that `decide` may ask of these events, a statement a table; but see `load_users`."""
    load_copies(conn, picture, incoming)
    load_sessions(conn, picture, _sessions_of(picture, incoming))
    said.load_lately(conn, picture, topology, incoming)
    spoken_of = said.spoken_of(picture, incoming)
    pairs, speakers, chats = _conversations_of(picture, topology, incoming)
    pairs |= {(copy.link, copy.contact) for copy in spoken_of}
    load_current_sessions(conn, picture, chats)
    for row in fetch(
        conn,
        (*_CONVERSATION, _EVENT_WAITS),
        (conversation.c.link, conversation.c.contact),
        sorted(pairs),
        order=(conversation.c.id,),
        lock=True,
    ):
        picture.conversations[row.link, row.contact] = Conversation(*row[:-1])
        if row.event_waits:
            picture.waiting.add(row.id)
    suspects = {
        lane_id(picture.conversations[pair].id, target)
        for pair, targets in speakers.items()
        if pair in picture.conversations
        for target in targets
    }
    if suspects:
        picture.speaking |= suspects
        flying = lanes.in_flight(conn, suspects)
        picture.in_flight.update(flying)
        picture.sending.update(lane for lane, state in flying.items() if state == "sending")
        _load_doubts(conn, picture, suspects)
    _load_pending(conn, picture, incoming)
    _load_nameless(conn, picture, incoming, {pair for pair, targets in speakers.items() if CHANNEL in targets})
    wanted = {copy.message for copy in spoken_of} | said.in_question(picture, incoming)
    said.load(conn, picture, incoming, wanted, beside=_lanes_of(picture, topology))
    if is_postgresql(conn):
        # What other processes wrote until the conversations were ours; the sends in flight were looked at before.
        load_copies(conn, picture, incoming)


def _lanes_of(picture: Picture, topology: Topology) -> set[str]:
    """All lanes in which something may have to be put."""
    return {
        lane_id(one.id, target)
        for one in picture.conversations.values()
        for link in (topology.link(one.link),)
        if link is not None
        for target in (CHANNEL, *map(desk_target, link.desk.users))
    }


def load_users(conn: Connection, picture: Picture, incoming: Sequence[Incoming]) -> None:
    """Read who the authors are whom only a `userid` names, or tells apart from others in a group chat."""
    wanted = {
        (one.account, fact.organization, userid)
        for one in incoming
        for fact in one.facts
        if isinstance(fact, UserSaid) and (userid := asked_for(fact)) is not None
    }
    picture.users.update(directory.extensions(conn, wanted))


def load_conversations(conn: Connection, picture: Picture, ids: Iterable[str]) -> None:
    """Read these conversations, and let nobody else change them until the transaction ends."""
    for row in fetch(conn, _CONVERSATION, (conversation.c.id,), set(ids), order=(conversation.c.id,), lock=True):
        picture.conversations[row.link, row.contact] = Conversation(*row)


def _sessions_of(picture: Picture, incoming: Sequence[Incoming]) -> Iterator[tuple[str, str]]:
    for one in incoming:
        for fact in one.facts:
            if not isinstance(fact, UserSaid | StatusSeen) or fact.sessionid is None:
                continue
            if isinstance(fact, UserSaid) or fact.messageid is None or _is_news(picture, one.account, fact):
                yield one.account, fact.sessionid


def _is_news(picture: Picture, account: str, fact: StatusSeen) -> bool:
    """Whether a status names an id that nothing claims."""
    return fact.messageid is not None and (account, fact.messageid) not in picture.copies


def load_copies(conn: Connection, picture: Picture, incoming: Sequence[Incoming]) -> None:
    """Read the rows of `mapping` that the events name."""
    wanted = set()
    for one in incoming:
        for fact in one.facts:
            for messageid in (getattr(fact, "messageid", None), getattr(fact, "quotes", None)):
                if messageid is not None and (one.account, messageid) not in picture.copies:
                    wanted.add((one.account, messageid))
    for row in fetch(conn, COPY, (mapping.c.account, mapping.c.messageid), wanted):
        picture.copies[row.account, row.messageid] = copy_from(row)


def _load_nameless(
    conn: Connection, picture: Picture, incoming: Sequence[Incoming], spoken_of: Iterable[tuple[str, str]]
) -> None:
    columns = (*COPY, mapping.c.created_at, message.c.body, message.c.quote, message.c.files)
    for row in fetch(conn, columns, (mapping.c.link, mapping.c.contact), spoken_of, where=_NAMELESS_ON_CHANNEL):
        nameless = _nameless(row)
        picture.nameless_on_channel.setdefault((row.link, row.contact), []).append(nameless)
    wanted = set(_sessions_of(picture, incoming))
    for row in fetch(conn, columns, (mapping.c.account, mapping.c.sessionid), wanted, where=_NAMELESS):
        nameless = _nameless(row)
        picture.nameless.setdefault((row.account, row.sessionid), []).append(nameless)


def _load_pending(conn: Connection, picture: Picture, incoming: Sequence[Incoming]) -> None:
    wanted = {f.reference for one in incoming for f in one.facts if isinstance(f, ChannelSaid) and f.reference}
    for row in fetch(conn, _PENDING, (delivery.c.reference,), wanted, where=_ITS_MESSAGE):
        picture.pending[row.reference] = _pending(row)


def pending(conn: Connection, delivery_ids: Iterable[str]) -> list[Pending]:
    """These deliveries, as an event may speak of them."""
    return [_pending(row) for row in fetch(conn, _PENDING, (delivery.c.id,), set(delivery_ids), where=_ITS_MESSAGE)]


def _load_doubts(conn: Connection, picture: Picture, lane_ids: Iterable[str]) -> None:
    for row in fetch(conn, _PENDING, (delivery.c.lane_id,), set(lane_ids), where=_IN_DOUBT):
        picture.doubts.setdefault(row.lane_id, []).append(_pending(row))


def _conversations_of(
    picture: Picture, topology: Topology, incoming: Sequence[Incoming]
) -> tuple[set[tuple[str, str]], dict[tuple[str, str], set[str]], set[Chat]]:
    """What the facts may concern: (link, contact) pairs, targets whose sends in flight matter by pair, and chats."""
    pairs: set[tuple[str, str]] = set()
    speakers: dict[tuple[str, str], set[str]] = {}
    chats: set[Chat] = set()
    for one in incoming:
        for fact in one.facts:
            if isinstance(fact, UserSaid):
                chat, author = chat_of(picture, topology, one.account, fact)
                if chat is None or author is None:
                    continue
                for link in links_of(topology, one.account, fact, chat, author):
                    pair = (link.name, contact_on(link, fact, chat.contact))
                    pairs.add(pair)
                    speakers.setdefault(pair, set()).add(desk_target(chat.extension))
                    chats.add(Chat(one.account, fact.organization, chat.extension, pair[1]))
            elif isinstance(fact, StatusSeen):
                if not _is_news(picture, one.account, fact):
                    continue
                session_ = picture.sessions.get((one.account, fact.sessionid or ""))
                if session_ is not None:
                    there = session_.chat
                    for link in topology.by_desk_user(there.account, there.organization, there.extension):
                        pairs.add((link.name, there.contact))
                        speakers.setdefault((link.name, there.contact), set()).add(desk_target(there.extension))
                channel = topology.by_channel(one.account, fact.end or "")
                if channel is not None and fact.recipient is not None:
                    pair = (channel.name, canonical(fact.recipient, ContactForm.INTERNATIONAL, channel.region))
                    pairs.add(pair)
                    speakers.setdefault(pair, set()).add(CHANNEL)
            elif isinstance(fact, Undelivered):
                pairs.add((fact.link, fact.contact))
            elif isinstance(fact, ContactSaid | ChannelSaid):
                channel = topology.by_channel(one.account, fact.end)
                if channel is None:
                    continue
                pair = (channel.name, canonical(fact.contact, fact.form, channel.region))
                pairs.add(pair)
                if isinstance(fact, ChannelSaid):
                    speakers.setdefault(pair, set()).add(CHANNEL)
    return pairs, speakers, chats


def load_current_sessions(conn: Connection, picture: Picture, chats: Iterable[Chat]) -> None:
    """Read the current sessions of these chats into the picture, for `Picture.adopt`."""
    keys = {(chat.account, chat.organization, chat.extension, chat.contact) for chat in chats}
    for row in fetch(conn, _SESSION, _CHAT, keys, where=IS_CURRENT):
        known = _session(row)
        if known.chat in picture.current:
            continue
        picture.current[known.chat] = known
        if known.sessionid is not None:
            picture.sessions[known.chat.account, known.sessionid] = known


def load_sessions(conn: Connection, picture: Picture, names: Iterable[tuple[str, str]]) -> None:
    """Read the sessions with these (account, sessionid) into the picture."""
    for row in fetch(conn, _SESSION, (session.c.account, session.c.sessionid), set(names)):
        known = _session(row)
        picture.sessions[row.account, row.sessionid] = known
        if known.current:
            picture.current[known.chat] = known


def _pending(row: Any) -> Pending:
    return Pending(
        id=row.id,
        lane_id=row.lane_id,
        message=row.message,
        target=row.target,
        part=row.part,
        state=row.state,
        conversation_id=row.conversation_id,
        link=row.link,
        contact=row.contact,
        author=Author(row.author),
        text=from_bytes(row.body),
        sessionid=row.sessionid,
        tried_at=row.tried_at,
        quote=from_bytes(row.quote),
        kinds=kinds_from(row.files),
    )


def _nameless(row: Any) -> Nameless:
    return Nameless(copy_from(row), from_bytes(row.body), row.created_at, from_bytes(row.quote), kinds_from(row.files))


def _session(row: Any) -> Session:
    return Session(
        id=row.id,
        chat=Chat(row.account, row.organization, row.extension, row.contact),
        sessionid=row.sessionid,
        spelling=row.spelling,
        state=row.state,
        current=row.current,
        observed_at=row.observed_at,
    )

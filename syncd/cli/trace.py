"""`syncd trace`: every hop of a message, from any id; where it is and why. Read-only, daemon or none (G13)."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from syncd.cli.outcome import DONE, FAILED, Failure
from syncd.cli.output import Document, Output, printable, rfc3339
from syncd.config import Config
from syncd.model.contact import spellings
from syncd.model.facts import CopyStatus
from syncd.model.parts import pieces, with_quote
from syncd.model.segments import sms_segments
from syncd.model.sending import Author
from syncd.model.text import storable
from syncd.model.topology import Topology
from syncd.model.traced import (
    Around,
    Conversation,
    CopyFound,
    Event,
    Leg,
    Message,
    Operation,
    Session,
    Try,
)
from syncd.model.tracing import sentence
from syncd.model.work import CHANNEL, Op, extension_of
from syncd.store import migrations, named, reading, tracing
from syncd.store.database import Location

_COLUMNS = 80
_OWN_EVENTS = "@syncd"
"""Account of the events that syncd makes itself."""
_MOST_TEXT = 500
"""Characters of a text that are shown to people; `--json` has all of it."""
_TOLD = (CopyStatus.DELIVERED, CopyStatus.READ, CopyStatus.FAILED, CopyStatus.DELETED)


def command(config: Config, out: Output, given: str, *, limit: int) -> int:
    """Show all that an id or contact may mean; of a contact or session the latest `limit` messages."""
    location = Location.of(config.database.url.reveal())
    found = asyncio.run(reading.read(location, _report, config, storable(given.strip()), limit, datetime.now(UTC)))
    if not found:
        raise Failure(
            FAILED,
            f"nothing is known of {given}: give the id of a message, delivery, event, session or operation as syncd or "
            "a platform shows it, a reference (syncd-…), or a contact; what neither a webhook nor a poll brought is "
            "not here",
        )
    out.show({"id": given, "found": found}, lambda shown: _render(shown, out))
    return DONE


def _report(conn: Connection, config: Config, given: str, limit: int, now: datetime) -> list[Document]:
    """All of it in one transaction. Raises `DatabaseError` for a schema that is not ours."""
    migrations.check(conn)
    if not given:
        return []
    topology = config.topology
    accounts = (*config.accounts, _OWN_EVENTS)
    around = tracing.around(conn, topology, now)
    ids = named.messages_named(conn, given, accounts)
    events = named.events_of(conn, given, accounts)
    talks = named.conversations_of(conn, given, spellings(given, (link.region for link in topology.links)))
    chats = named.sessions_of(conn, given, accounts)
    asked = named.operation_of(conn, given)
    if not (ids or events or talks or chats or asked):
        events = named.events_named(conn, given)
    ids = list(dict.fromkeys([*ids, *(one.message for one in events if one.message is not None)]))
    found = [_message(one, around, topology) for one in tracing.messages(conn, ids, topology)]
    found += [_event(one) | _ending(one, around) for one in events if one.message is None]
    for talk in talks:
        latest, before = named.said_in(conn, talk.id, limit)
        found.append(_conversation(talk) | _timeline(conn, latest, before, topology, around) | _ending(talk, around))
    for chat in chats:
        links = [link.name for link in topology.by_desk_user(chat.account, chat.organization, chat.extension)]
        latest, before = named.said_in_session(conn, chat, links, limit)
        found.append(_session(chat) | _timeline(conn, latest, before, topology, around) | _ending(chat, around))
    found += [_operation(one) | {"kind": "operation", "what": one.kind} | _ending(one, around) for one in asked]
    return found


def _ending(one: Event | Session | Operation | Conversation, around: Around) -> Document:
    return {"sentence": sentence(one, around)}


def _message(one: Message, around: Around, topology: Topology) -> Document:
    return {
        "kind": "message",
        "id": one.id,
        "link": one.link,
        "contact": one.contact,
        "conversation": one.conversation_id,
        "seq": one.seq,
        "author": one.author,
        "extension": one.extension,
        "said_at": rfc3339(one.said_at),
        "text": one.text,
        "quote": one.quote or None,
        "revision": one.revision,
        "sms_segments": _segments(one, topology),
        "event": _event(one.event) if one.event is not None else None,
        "files": [
            {"id": str(place), "kind": file.kind, "name": file.name, "state": file.state, "reason": file.reason}
            for place, file in enumerate(one.files)
        ],
        "hops": [{"at": rfc3339(at), "what": what} for at, what in sorted(_hops(one), key=lambda hop: hop[0])],
        "deliveries": [_leg(leg) for leg in one.legs],
        "copies": [_copy(copy) for copy in one.copies],
        "sessions": [_session(chat) for chat in one.sessions],
        "sentence": sentence(one, around),
    }


def _segments(one: Message, topology: Topology) -> int | None:
    """The SMS that it takes on the channel; None where it does not go there, or to no phone number."""
    link = topology.link(one.link)
    goes = any(leg.target == CHANNEL and leg.op is Op.MESSAGE for leg in one.legs)
    if link is None or one.text is None or not goes or not one.contact.startswith("+"):
        return None
    kinds = [file.kind for file in one.files]
    planned = pieces(with_quote(one.text, one.quote), kinds, link.channel.able)
    return sum(sms_segments(piece.text) for piece in planned)


def _leg(leg: Leg) -> Document:
    ahead = leg.ahead
    return {
        "id": leg.id,
        "reference": leg.reference,
        "account": leg.account,
        "target": leg.target,
        "op": leg.op,
        "part": leg.part,
        "revision": leg.revision,
        "history": leg.history,
        "state": leg.state,
        "reason": leg.reason,
        "made_at": rfc3339(leg.created_at),
        "since": rfc3339(leg.updated_at),
        "due_at": rfc3339(leg.due_at),
        "why": leg.why,
        "ahead": {"count": ahead.count, "id": ahead.id, "message": ahead.message} if ahead is not None else None,
        "attempts": [_try(one) for one in leg.tries],
        "operations": [_operation(one) for one in leg.operations],
    }


def _try(one: Try) -> Document:
    return {
        "at": rfc3339(one.at),
        "number": one.number,
        "class": one.kind,
        "http_status": one.http_status,
        "took_ms": one.took_ms,
        "reason": one.reason,
        "answer": one.answer,
    }


def _operation(one: Operation) -> Document:
    return {
        "id": one.id,
        "kind": one.kind,
        "subject": one.subject,
        "detail": one.detail,
        "by": one.by,
        "at": rfc3339(one.at),
        "state": one.state,
        "result": one.result,
        "progress": one.progress or None,
    }


def _copy(one: CopyFound) -> Document:
    return {
        "id": one.messageid,
        "account": one.account,
        "extension": one.extension,
        "sessionid": one.sessionid,
        "part": one.part,
        "origin": one.origin,
        "status": one.status,
        "since": rfc3339(one.updated_at),
    }


def _event(one: Event) -> Document:
    return {
        "kind": "event",
        "id": one.id,
        "account": one.account,
        "key": one.key,
        "via": one.via,
        "received_at": rfc3339(one.received_at),
        "copies": one.copies,
        "last_copy_at": rfc3339(one.last_copy_at),
        "state": one.state,
        "reason": one.reason,
        "message": one.message or named.spoken_of(one),
        "body": "kept" if one.kept else "removed by retention",
    }


def _session(one: Session) -> Document:
    return {
        "kind": "session",
        "id": one.sessionid,
        "account": one.account,
        "extension": one.extension,
        "contact": one.contact,
        "state": one.state,
        "current": one.current,
        "observed_at": rfc3339(one.observed_at),
        "goes_on_in": one.heir,
    }


def _conversation(one: Conversation) -> Document:
    return {
        "kind": "conversation",
        "id": one.id,
        "link": one.link,
        "contact": one.contact,
        "name": one.name,
        "since": rfc3339(one.created_at),
    }


def _timeline(conn: Connection, ids: Sequence[str], before: int, topology: Topology, around: Around) -> Document:
    rows = [
        {
            "id": one.id,
            "said_at": rfc3339(one.said_at),
            "link": one.link,
            "author": one.author,
            "extension": one.extension,
            "text": one.text,
            "files": [file.words for file in one.files],
            "sentence": sentence(one, around),
        }
        for one in tracing.messages(conn, ids, topology)
    ]
    return {"left_out": before, "messages": rows}


def _hops(one: Message) -> Iterator[tuple[datetime, str]]:
    """What happened to a message, and when; those of the same moment in order."""
    told = one.event
    if told is not None:
        brought = "made by syncd itself" if told.via == "syncd" else f"received from {told.account} by {told.via}"
        yield told.received_at, f"{brought}: event {told.id}, {told.key}"
        if told.last_copy_at is not None:
            yield told.last_copy_at, f"received again, the last time; {told.copies} copies in all"
    why = f" ({told.reason})" if told is not None and told.reason else ""
    yield (
        one.created_at,
        f"translated: {_who(one.author, one.extension)} said it, at place {one.seq} of its conversation{why}",
    )
    for session in one.sessions:
        if session.observed_at >= one.created_at:
            yield session.observed_at, f"session {session.sessionid} adopted for {session.extension}'s chat"
    for leg in one.legs:
        yield from _hops_of(leg, one)
    for copy in one.copies:
        where = "the channel" if copy.extension is None else f"{copy.extension}'s chat"
        if not copy.origin:
            name = copy.messageid or "without an id"
            inside = f", session {copy.sessionid}" if copy.sessionid is not None else ""
            yield copy.created_at, f"taken for {where}: {name}{inside}"
        if copy.status in _TOLD:
            yield copy.updated_at, f"{where} tells: {copy.status}"


def _hops_of(leg: Leg, message: Message) -> Iterator[tuple[datetime, str]]:
    extension = extension_of(leg.target)
    where = "the channel" if extension is None else f"{extension}'s chat"
    what = f"{'' if leg.op is Op.MESSAGE else f'{leg.op} for '}{where}"
    yield leg.created_at, f"to be delivered: {what}, delivery {leg.id}"
    for one in leg.tries:
        status = f", HTTP {one.http_status}" if one.http_status is not None else ""
        reason = f": {one.reason}" if one.reason else ""
        answer = f"; answer: {one.answer}" if one.answer else ""
        yield one.at, f"try {one.number} for {what}: {one.kind}{status} after {one.took_ms} ms{reason}{answer}"
    for one_copy in message.copies:
        named = one_copy.sessionid
        ours = not one_copy.origin and one_copy.extension == extension and one_copy.part == leg.part
        if ours and leg.op is Op.MESSAGE and None not in (named, leg.sessionid) and named != leg.sessionid:
            yield one_copy.created_at, f"session {leg.sessionid} was closed: the answer named {named}"
    for asked in leg.operations:
        yield asked.at, f"{asked.by} asked for {asked.kind} of {leg.id}: {asked.result or asked.state}"
    if leg.reason and leg.state in ("dead", "skipped", "unknown", "sent"):
        yield leg.updated_at, f"{what} is {leg.state}: {leg.reason}"


def _who(author: str, extension: str | None) -> str:
    match author:
        case Author.CONTACT:
            return "the contact"
        case Author.USER:
            return f"user {extension}" if extension else "a user"
        case Author.CHANNEL:
            return "somebody on the channel"
        case _:
            return "syncd"


def _render(shown: Document, out: Output) -> None:
    for number, found in enumerate(shown["found"]):
        if number:
            out.line()
            out.line("-" * _COLUMNS)
        if found["kind"] == "message":
            _render_message(found, out)
        else:
            for key, value in found.items():
                if key not in ("sentence", "messages", "kind", "left_out") and value is not None:
                    _say(out, f"{found['kind'] if key == 'id' else key:12} {value}", hang=13)
        if "messages" in found:
            _render_timeline(found, out)
        out.line()
        _say(out, found["sentence"])


def _render_message(found: Document, out: Output) -> None:
    _say(out, f"message      {found['id']}", hang=13)
    _say(out, f"conversation {found['conversation']}: {found['contact']} on link {found['link']}", hang=13)
    _say(out, f"said         {found['said_at']} by {_who(found['author'], found['extension'])}", hang=13)
    _say(out, f"text         {_shortened(found['text'])}", hang=13)
    for file in found["files"]:
        reason = f": {file['reason']}" if file["reason"] else ""
        _say(out, f"file         {file['kind']} {file['name']} ({file['state']}{reason})", hang=13)
    if found["sms_segments"]:
        count = found["sms_segments"]
        _say(out, f"SMS          {count} SMS segment{'s' if count > 1 else ''} if it goes out as SMS", hang=13)
    out.line()
    out.line("What happened")
    for hop in found["hops"]:
        _say(out, f"  {hop['at']}  {hop['what']}", hang=4)
    columns = {"to": "to", "op": "what", "part": "part", "state": "state", "tries": "tries", "id": "id"}
    rows = [leg | {"to": leg["target"], "tries": len(leg["attempts"])} for leg in found["deliveries"]]
    out.table("Deliveries", columns, rows, empty="none")
    columns = {"where": "where", "sessionid": "session", "id": "id", "status": "status"}
    rows = [copy | {"where": copy["extension"] or copy["account"]} for copy in found["copies"]]
    out.table("Copies", columns, rows, empty="none")


def _render_timeline(found: Document, out: Output) -> None:
    out.line()
    if found["left_out"]:
        out.line(f"({found['left_out']} earlier messages left out: --limit)")
    for row in found["messages"]:
        words = " ".join(filter(None, [_shortened(row["text"]), *(f"[{file}]" for file in row["files"])]))
        _say(out, f"{row['said_at']}  {_who(row['author'], row['extension'])}: {words}", hang=2)
        _say(out, f"    {row['sentence']} ({row['id']})", hang=4)
    if not found["messages"]:
        out.line("(no messages)")


def _shortened(text: Any) -> str:
    if text is None:
        return "(removed by retention)"
    words = " ".join(str(text).split())
    return words if len(words) <= _MOST_TEXT else f"{words[:_MOST_TEXT]}… ({len(str(text))} characters)"


def _say(out: Output, text: str, *, hang: int = 0) -> None:
    """One line for people, on as many as it takes; those after the first are indented by so much."""
    lines = textwrap.wrap(
        printable(text), _COLUMNS, subsequent_indent=" " * hang, break_on_hyphens=False, drop_whitespace=True
    )
    for line in lines or [""]:
        out.line(line)

"""What the calls of the Messaging API do to a simulated Ringotel account."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from syncd.simulators.ringotel_desk import (
    CALL_RECORD,
    FILE,
    LINK,
    TEXT,
    Desk,
    Direction,
    Message,
    Organization,
    Refusal,
    Session,
    User,
)
from syncd.simulators.ringotel_files import StoredFile

Params = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parties:
    """Who speaks to whom, as a call names them."""

    user: str
    """The extension or shared number named; empty where the call names none."""
    contact: str
    opaque: bool
    """The contact was named by `senderid`."""
    user_speaks: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """A `message` that was carried out."""

    message: Message | None
    """None where a closed session swallowed it."""
    session: Session
    """Where it went."""
    reopened: bool


def opens(params: Params) -> bool:
    """Whether a `message` call asks for a session only."""
    return not any(name in params for name in ("content", "sessionid", "messageid", "file"))


def links(params: Params) -> str | None:
    """The address that a `message` call wants a file to be fetched from. Raises `Refusal`."""
    return _text(params) if "content" in params and _kind(params) == LINK else None


def open_session(desk: Desk, where: Organization, params: Params, *, always_new: bool) -> tuple[Session, bool]:
    """The session asked for, and whether it was made for this call. Raises `Refusal`."""
    parties = _parties(where, params)
    if parties.user_speaks or not parties.user or not parties.contact:
        raise Refusal("User not found")
    session = None if always_new else desk.open_of(where.id, parties.user, parties.contact)
    if session is not None:
        return session, False
    return desk.start(where.id, parties.user, parties.contact, "open", opaque=parties.opaque), True


def take_message(
    desk: Desk,
    where: Organization,
    params: Params,
    *,
    file: StoredFile | None = None,
    address: str = "",
    reopen_keeps: bool,
) -> Taken:
    """Put a message with content (or a copy of one) where the call says. Raises `Refusal`.

    `file`: what was uploaded or linked, and is to be had at `address` from now on.
    """
    timestamp = _timestamp(params)
    if "content" not in params and "messageid" in params:
        source = desk.message(where.id, params["messageid"])
        kind, content, file = source.type, source.content, source.file
    elif file is not None:
        kind, content = FILE, address
    else:
        kind, content = _kind(params), _content(params)
    parties = _parties(where, params)
    session, reopened = _target(desk, where, parties, params)
    if reopened and not reopen_keeps:
        return Taken(None, session, reopened)
    direction: Direction = "outgoing" if parties.user_speaks else "incoming"
    sides = (parties.user or session.extension, parties.contact or session.contact)
    sender, recipient = sides if parties.user_speaks else sides[::-1]
    message = Message(
        id=desk.short_id(),
        sessionid=session.id,
        sender=sender,
        recipient=recipient,
        content=content,
        timestamp=timestamp,
        direction=direction,
        at=time.time(),
        type=kind,
        by_api=True,
        notified=direction == "incoming" and timestamp is None,
        file=file,
    )
    desk.keep(message)
    return Taken(message, session, reopened)


def indicate(desk: Desk, where: Organization, method: str, params: Params) -> None:
    """Carry out `delivered`, `read`, `typing`, `updated` or `deleted`. Raises `Refusal`."""
    if method in ("read", "typing"):
        session = desk.session(where.id, params.get("sessionid"))
        if method == "read":
            session.read_at = time.time()
            desk.read(session, "outgoing")
        else:
            session.typing_at = time.time()
        return
    message = desk.message(where.id, params.get("messageid"))
    if method == "delivered":
        if message.direction == "outgoing":  # what the contact said, it has
            message.get_delivered()
    elif method == "deleted":
        message.deleted = True
    elif message.type != TEXT:
        raise Refusal("Message has no text")
    else:
        message.content, message.edited = _text(params), True


def _timestamp(params: Params) -> int | None:
    timestamp = params.get("timestamp")
    if timestamp is not None and type(timestamp) is not int:
        raise Refusal("timestamp must be a number")
    return timestamp


def _kind(params: Params) -> int:
    try:
        kind = int(params.get("type") or TEXT)
    except (TypeError, ValueError):
        raise Refusal("Unsupported type") from None
    if kind not in (TEXT, LINK, CALL_RECORD):
        raise Refusal("Unsupported type")
    return kind


def _content(params: Params) -> str:
    if _kind(params) == CALL_RECORD:
        if not isinstance(params.get("content"), dict):
            raise Refusal("Unsupported type")
        return str(params["content"])
    return _text(params)


def _text(params: Params) -> str:
    content = params.get("content")
    if not isinstance(content, str) or not content:
        raise Refusal("Content is required")
    return content


def _parties(where: Organization, params: Params) -> Parties:
    """Either side may be named by number or by id (`from` or `senderid`, `to` or `userid`)."""
    sender, recipient = params.get("from"), params.get("to")
    if "userid" in params:
        user = where.users_by_id.get(str(params["userid"]))
        if user is None:
            raise Refusal("User not found")
        recipient = user.extension
    if "senderid" in params:
        return Parties(_user(where, recipient), str(params["senderid"]), opaque=True, user_speaks=False)
    if sender is None and recipient is None:
        return Parties("", "", opaque=False, user_speaks=False)
    if sender is None:
        raise Refusal("from is required")
    if str(sender) in where.users or str(sender) in where.numbers:
        return Parties(str(sender), "" if recipient is None else str(recipient), opaque=False, user_speaks=True)
    return Parties(_user(where, recipient), str(sender), opaque=False, user_speaks=False)


def _user(where: Organization, extension: object) -> str:
    if str(extension) not in where.users and str(extension) not in where.numbers:
        raise Refusal("User not found")
    return str(extension)


def _target(desk: Desk, where: Organization, parties: Parties, params: Params) -> tuple[Session, bool]:
    """The session that the message goes to, and whether it had to be made because the one named is closed."""
    if "sessionid" not in params:
        if not parties.user or not parties.contact:
            raise Refusal("Recipient is required")
        found = desk.open_of(where.id, parties.user, parties.contact)
        return found or desk.start(where.id, parties.user, parties.contact, "message", opaque=parties.opaque), False
    session = desk.session(where.id, params["sessionid"])
    # One user's message may be copied into another's session; a contact speaks to the session's owner only.
    if not parties.user_speaks and parties.user not in ("", session.extension):
        raise Refusal("Session belongs to another user")
    if parties.contact and not _same(parties.contact, session.contact):
        raise Refusal("Session belongs to another contact")
    if session.open:
        return session, False
    return desk.start(where.id, session.extension, session.contact, "message", opaque=session.opaque), True


def _same(one: str, other: str) -> bool:
    """National and international spellings of a number end alike."""
    if one == other:
        return True
    short, long = sorted((one.lstrip("+0"), other.lstrip("+0")), key=len)
    return short.isdigit() and long.isdigit() and len(short) > 4 and long.endswith(short)


def told_organization(where: Organization) -> Params:
    """An item of `getOrganizations`."""
    return {"id": where.id, "domain": where.domain, "name": where.name, "region": "1", "packageid": 2, "status": 1}


def told_chat_user(user: User) -> Params:
    """An item of `getChatUsers`."""
    return {"phone": user.extension, "name": user.name, "id": user.id, "state": user.state}


def told_user(where: Organization, user: User) -> Params:
    """An item of `getUsers`, which does not say the organization's id (page §9)."""
    return {
        "id": user.id,
        "domain": where.domain,
        "name": user.name,
        "extension": user.extension,
        "username": user.extension,
        "state": user.state,
        "status": 1,
        "devs": [],
        "info": {},
    }


def told_number(number: str, users: list[str]) -> Params:
    """An item of `getSMSTrunks`."""
    return {"id": number, "number": number, "name": number, "users": users, "groupmode": True, "status": 1}

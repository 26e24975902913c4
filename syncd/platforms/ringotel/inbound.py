"""Webhooks of Ringotel: who sent them, what names them, what they say (page §5)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from syncd.engine.platform import RawEvent, Refused
from syncd.model.facts import (
    ContactForm,
    CopyStatus,
    Fact,
    StatusSeen,
    Uninteresting,
    UserDeleted,
    UserEdited,
    UserSaid,
)
from syncd.platforms import codec
from syncd.platforms.ringotel import media, wire

WINDOW = timedelta(seconds=10)
"""How long an equal event that names nothing unique counts as the same one (page §11.6)."""

TEXT, FILE = 1, 2
"""Values of a message's `type` (page §4.2)."""


def verify(body: bytes, keys: tuple[bytes, ...]) -> RawEvent:
    """The event in a webhook's body, without its key. Raises `Refused`: 400 not a JSON object, 401 wrong key.

    The key stands inside the JSON, so the body is read as JSON first, and nothing else is done with it before.
    """
    envelope = _envelope(body)
    if not _is_one_of(envelope.api_key, keys):
        raise Refused(401, "the body carries no api_key of this account")
    # Only these two members are kept, byte for byte: the key must not reach the store.
    kept = b"".join((b'{"method":', bytes(envelope.method), b',"params":', bytes(envelope.params), b"}"))
    key, window = _name(envelope, kept)
    return RawEvent(key, kept, window=window)


def parse(body: bytes) -> Fact:
    """What a stored event says. Never raises; members and methods that nobody documented are passed over."""
    try:
        event = codec.decode(body, wire.EVENT)
    except ValueError:
        return Uninteresting("malformed event")
    if not isinstance(event.method, str):
        return Uninteresting("unknown method")
    if event.method in _PASSED_OVER:
        return Uninteresting(_PASSED_OVER[event.method])
    read = _READERS.get(event.method)
    if read is None:
        return Uninteresting("unknown method")
    fact = read(event.params) if event.params is not None else None
    return fact or Uninteresting(f"malformed {event.method}")


def _envelope(body: bytes) -> wire.Envelope:
    try:
        if not body.isascii():
            body.decode()  # msgspec does not look into the members that it passes on as they are
        return wire.ENVELOPE.decode(body)
    except msgspec.ValidationError:
        raise Refused(400, "the body is not a JSON object") from None
    except RecursionError:
        raise Refused(400, "the body is nested too deep") from None
    except ValueError:
        return _slow_envelope(body)


def _slow_envelope(body: bytes) -> wire.Envelope:
    """The same for what msgspec refuses but JSON allows: lone surrogate escapes; and a byte order mark."""
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_no_constant)
        if isinstance(value, dict):
            method, params = (msgspec.Raw(json.dumps(value.get(name)).encode()) for name in ("method", "params"))
            return wire.Envelope(method, params, value.get("api_key"))
    except (ValueError, RecursionError):
        pass
    raise Refused(400, "the body is not a JSON object")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_one_of(given: Any, keys: tuple[bytes, ...]) -> bool:
    candidate = given.encode("utf-8", "surrogatepass") if isinstance(given, str) else b""
    found = False
    for key in keys:  # all of them, always: how long it takes tells nothing
        found |= hmac.compare_digest(candidate, key)
    return found


def _name(envelope: wire.Envelope, kept: bytes) -> tuple[str, timedelta | None]:
    """The event's key, and its window where the same may be said again."""
    try:
        method = codec.decode(bytes(envelope.method), wire.METHOD)
        name = _NAMES.get(method)
        key = name(codec.decode(bytes(envelope.params), wire.PARAMS)) if name is not None else None
    except ValueError:
        key = None
    if key is None:
        return f"hash:{_digest(kept)}", WINDOW
    return key, WINDOW if key.startswith(_NOT_UNIQUE) else None


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _digest_of(*values: Any) -> str:
    return _digest(json.dumps(values).encode())


def _name_message(params: wire.Params) -> str:
    messageid = wire.identifier(params.messageid)
    if messageid is not None:
        return f"message:{messageid}"
    # The variant of 2022 names neither message nor session (page §5.2).
    author = params.sender if params.userid is None else params.userid
    contact = params.recipient if params.senderid is None else params.senderid
    kind = wire.message_type(params.type)
    return f"hash:{_digest_of('message', params.orgid, author, contact, params.content, kind)}"


def _name_delivered(params: wire.Params) -> str | None:
    messageid = wire.identifier(params.messageid)
    return messageid and f"delivered:{messageid}"


def _name_read(params: wire.Params) -> str | None:
    # A session is read many times: without a message, nothing tells one time from the other.
    messageid = wire.identifier(params.messageid)
    return messageid and f"read:{wire.identifier(params.sessionid) or ''}:{messageid}"


def _name_updated(params: wire.Params) -> str | None:
    # Edits carry no number or time: that a text was there before does not make its return a repetition.
    messageid = wire.identifier(params.messageid)
    return messageid and f"updated:{messageid}:{_digest_of(params.content)}"


def _name_deleted(params: wire.Params) -> str | None:
    messageid = wire.identifier(params.messageid)
    return messageid and f"deleted:{messageid}"


_NAMES: dict[str, Callable[[wire.Params], str | None]] = {
    "message": _name_message,
    "delivered": _name_delivered,
    "read": _name_read,
    "updated": _name_updated,
    "deleted": _name_deleted,
}
_NOT_UNIQUE = ("hash:", "updated:")
"""Beginnings of the keys that only hash what is said."""


def _read_message(params: wire.Params) -> Fact | None:
    organization = wire.identifier(params.orgid)
    extension, userid = wire.identifier(params.sender), wire.identifier(params.userid)
    contact, form = wire.identifier(params.senderid), ContactForm.OPAQUE
    if contact is None:
        contact, form = wire.identifier(params.recipient), ContactForm.PHONE
    if organization is None or contact is None or (extension is None and userid is None):
        return None
    kind = wire.message_type(params.type)
    files = (media.attachment(params.content),) if kind == FILE else ()
    text = "" if files else _text(kind, params.content)
    if text is None:
        return None
    if not text and not files:
        return Uninteresting("empty message")
    return UserSaid(
        organization=organization,
        extension=extension,
        userid=userid,
        contact=contact,
        form=form,
        sessionid=wire.identifier(params.sessionid),
        messageid=wire.identifier(params.messageid),
        text=text,
        said_at=None,
        files=files,
    )


def _text(kind: int | str, content: Any) -> str | None:
    return wire.spoken(content) if kind == TEXT else f"[unsupported message type {kind}]"


def _read_delivered(params: wire.Params) -> Fact | None:
    messageid = wire.identifier(params.messageid)
    if messageid is None:
        return None
    return StatusSeen(CopyStatus.DELIVERED, messageid=messageid, sessionid=wire.identifier(params.sessionid))


def _read_read(params: wire.Params) -> Fact | None:
    messageid, sessionid = wire.identifier(params.messageid), wire.identifier(params.sessionid)
    if messageid is None and sessionid is None:
        return None
    return StatusSeen(CopyStatus.READ, messageid=messageid, sessionid=sessionid)


def _read_updated(params: wire.Params) -> Fact | None:
    messageid, text = wire.identifier(params.messageid), wire.spoken(params.content)
    return UserEdited(messageid, text) if messageid is not None and text else None


def _read_deleted(params: wire.Params) -> Fact | None:
    messageid = wire.identifier(params.messageid)
    return None if messageid is None else UserDeleted(messageid)


_READERS: dict[str, Callable[[wire.Params], Fact | None]] = {
    "message": _read_message,
    "delivered": _read_delivered,
    "read": _read_read,
    "updated": _read_updated,
    "deleted": _read_deleted,
}
_PASSED_OVER = {
    "typing": "typing",
    "unread": "unread",
}

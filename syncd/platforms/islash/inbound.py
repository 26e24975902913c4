"""Webhooks: from the raw bytes to events with keys, and from a stored event to facts (§7, A5, A7, A14)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from syncd.engine.platform import RawEvent, Refused
from syncd.model.facts import Fact, Uninteresting
from syncd.platforms import codec
from syncd.platforms.islash import envelopes, messenger, whatsapp, wire

SAME_WITHIN = timedelta(seconds=10)
"""How long an equal message without an id counts as a copy and not as the contact saying it again."""

_SHORTEST_MASKED = 6


def masks(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """The secrets as they stand in JSON. Short ones are left out: masking them would garble people's words."""
    return tuple(codec.encode(secret)[1:-1] for secret in secrets if len(secret) >= _SHORTEST_MASKED)


def events(end: str, body: bytes, hidden: tuple[bytes, ...]) -> tuple[RawEvent, ...]:
    """The events of one webhook that came through the door of `end`, in the order said.

    Should iSlash name a credential in a webhook (its pages show none), it is masked (`hidden`) before it is stored.
    Raises `Refused` with 400 for a body that is no JSON.
    """
    try:
        return tuple(_event(end, part, hidden) for part in envelopes.parts(body))
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None


def facts(event: RawEvent, media_url_template: str | None = None) -> tuple[Fact, ...]:
    """What one stored event says; the template is for WhatsApp's files (A8). Pure, and never raises."""
    try:
        part = wire.members(wire.read(event.body))
    except ValueError:
        return (Uninteresting("not JSON"),)
    item = wire.members(part.get("item"))
    match part.get("kind"):
        case envelopes.WHATSAPP_MESSAGE:
            contact = wire.members(part.get("contact"))
            return (whatsapp.message(event.end, item, contact, _own(part), media_url_template),)
        case envelopes.WHATSAPP_STATUS:
            return (whatsapp.status(event.end, item),)
        case envelopes.MESSENGER_EVENT:
            return messenger.facts(event.end, item, _own(part))
        case _:
            return (Uninteresting("unknown shape"),)


def _event(end: str, part: envelopes.Part, hidden: tuple[bytes, ...]) -> RawEvent:
    body = codec.encode(part)
    for secret in hidden:
        body = body.replace(secret, b"***")
    key, window = _key(end, part, body)
    return RawEvent(key, body, end, window)


def _key(end: str, part: envelopes.Part, body: bytes) -> tuple[str, timedelta | None]:
    item = wire.members(part["item"])
    window = None
    match part["kind"]:
        case envelopes.WHATSAPP_MESSAGE:
            if name := wire.identifier(item.get("id")):
                return f"message:{end}:{name}", None
            window = SAME_WITHIN
        case envelopes.WHATSAPP_STATUS:
            name, status = wire.identifier(item.get("id")), wire.identifier(item.get("status"))
            if name and status:
                return f"status:{end}:{name}:{status}", None
        case envelopes.MESSENGER_EVENT:
            if name := messenger.message_id(item):
                return f"message:{end}:{name}", None
            if messenger.speaks(item):
                window = SAME_WITHIN
    return f"hash:{end}:{hashlib.sha256(body).hexdigest()}", window


def _own(part: dict[str, Any]) -> frozenset[str]:
    own = part.get("own")
    return frozenset(address for address in own if isinstance(address, str)) if isinstance(own, list) else frozenset()

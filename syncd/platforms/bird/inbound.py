"""What Bird tells us: the signature over the raw bytes, the keys of events, and their meaning (page §7, §8, §9)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from syncd.engine.platform import HookRequest, RawEvent, Refused
from syncd.model.facts import ChannelSaid, ContactSaid, CopyStatus, Fact, StatusSeen, Uninteresting
from syncd.platforms import codec
from syncd.platforms.bird.addresses import spelled
from syncd.platforms.bird.bodies import content
from syncd.platforms.bird.wire import Interaction, Message, instant, text

OLDEST = 26 * 3600
"""Seconds: a webhook keeps its first timestamp through 8 hours of retries, and was seen a day late (page §7.3)."""
AHEAD = 300
"""Seconds that Bird's clock may be ahead of ours."""

_ANY = msgspec.json.Decoder(Any)
_STATUSES = {
    "sent": CopyStatus.SENT,
    "delivered": CopyStatus.DELIVERED,
    "sending_failed": CopyStatus.FAILED,
    "delivery_failed": CopyStatus.FAILED,
    "rejected": CopyStatus.FAILED,
    "skipped": CopyStatus.FAILED,
    "deleted": CopyStatus.DELETED,
}
_INTERACTIONS = {
    "clicked": "clicked",
    "conversion": "conversion",
    "delete-request": "delete request",
    "invalid": "invalid interaction",
    "reaction": "reaction",
    "reported-as-spam": "reported as spam",
    "subscribe-consent": "subscribe consent",
    "subscribe-request": "subscribe request",
    "unsubscribe-request": "unsubscribe request",
}
"""What is not carried (page §9). A click comes as a text of its own, too."""
_W = TypeVar("_W", Message, Interaction)


def check_signature(headers: Mapping[str, str], url: str, body: bytes, keys: Sequence[str], now: float) -> None:
    """Raises `Refused` unless `body` was signed for `url` with one of `keys` (page §7.4). `now` is epoch seconds.

    The age is looked at after the signature, and only against a wide ceiling: a retry is signed with its first time.
    """
    signature = headers.get("messagebird-signature")
    if not signature:
        if "webhook-id" in headers:
            raise Refused(400, "a webhook of Bird's newer platform, which is not supported")
        raise Refused(401, "no messagebird-signature: give the webhook subscription the account's signing_key")
    timestamp = headers.get("messagebird-request-timestamp", "")
    try:
        given = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(401, "messagebird-signature is not base64") from None
    # Header bytes that are no UTF-8 arrive as surrogates; encoded the same way they are the bytes that came.
    signed = _bytes(timestamp) + b"\n" + _bytes(url) + b"\n" + hashlib.sha256(body).digest()
    # Each key is tried, also when one was right already.
    right = [hmac.compare_digest(hmac.new(_bytes(key), signed, hashlib.sha256).digest(), given) for key in keys]
    if not any(right):
        raise Refused(401, "wrong signature: check signing_key and server.public_url against the webhook subscription")
    if not (timestamp.isascii() and timestamp.isdigit()):
        raise Refused(401, "messagebird-request-timestamp is not a number")
    age = now - float(timestamp)
    if age > OLDEST or age < -AHEAD:
        raise Refused(401, f"signed {age:.0f} seconds ago: too far from this machine's clock")


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def split(request: HookRequest) -> tuple[RawEvent, ...]:
    """The one event of an authentic webhook. Raises `Refused(400)` where it is not JSON."""
    try:
        envelope = codec.decode(request.body, _ANY)
    except msgspec.ValidationError:
        # JSON with a number that no float holds: kept as unknown.
        envelope = None
    except (ValueError, msgspec.DecodeError):
        raise Refused(400, "the body is not JSON") from None
    return (_raw(envelope, request.body),)


def polled(row: Any, end: str) -> tuple[Message, RawEvent]:
    """A row of a channel's list as the event that its webhook would have been: the same key, the same shape."""
    envelope = {"service": "channels", "event": "poll.inbound", "payload": row}
    event = _raw(envelope, codec.encode(envelope))
    message = _understood(envelope)
    return (
        message if isinstance(message, Message) else Message(),
        RawEvent(key=event.key, body=event.body, end=event.end or end),
    )


def parse(event: RawEvent) -> tuple[Fact, ...]:
    """What an event says (see `Platform.parse`)."""
    try:
        envelope = codec.decode(event.body, _ANY)
    except (ValueError, msgspec.MsgspecError):
        return (Uninteresting("unreadable event"),)
    match _understood(envelope):
        case Message() as message if _incoming(envelope, message):
            return (_contact_said(message, event.end),)
        case Message() as message:
            return (_channel_said(message, event.end),)
        case Interaction() as interaction:
            return (_interacted(interaction, event.end),)
    return (Uninteresting("unknown event"),)


def _understood(envelope: Any) -> Message | Interaction | None:
    if not isinstance(envelope, dict) or envelope.get("service") != "channels":
        return None
    payload = envelope.get("payload")
    kind = (text(envelope.get("event")) or "").rpartition(".")[2]
    if kind == "interaction":
        return _converted(payload, Interaction)
    if kind not in ("inbound", "outbound"):
        return None
    if isinstance(payload, dict) and "id" not in payload and isinstance(payload.get("message"), dict):
        # The shape of outbound payloads is not documented (page §15.5).
        payload = payload["message"]
    return _converted(payload, Message)


def _converted(value: Any, shape: type[_W]) -> _W | None:
    try:
        return msgspec.convert(value, shape)
    except (msgspec.ValidationError, RecursionError, UnicodeEncodeError):
        return None


def _incoming(envelope: Any, message: Message) -> bool:
    if message.direction in ("incoming", "outgoing"):
        return message.direction == "incoming"
    return (text(envelope.get("event")) or "").endswith(".inbound")


def _raw(envelope: Any, body: bytes) -> RawEvent:
    """The event with its key (page §7.4, "unique keys"); a hash of the body where it names nothing."""
    parts: tuple[str | None, ...] = (None,)
    end = None
    match _understood(envelope):
        case Message() as message:
            end = text(message.channel_id)
            identity = text(message.id)
            if _incoming(envelope, message):
                parts = ("message", identity)
            else:
                parts = ("outbound", identity, text(message.status) or "", text(message.last_status_at) or "")
        case Interaction() as interaction:
            end = text(interaction.channel_id)
            parts = ("interaction", text(interaction.id))
            if parts[1] is None:
                of, kind, at = (text(v) for v in (interaction.message_id, interaction.type, interaction.created_at))
                parts = ("interaction", of, kind, at)
    key = ":".join(part for part in parts if part is not None)
    if None in parts or len(key) > 250 or not key.isprintable():
        # A key goes into a text column: NUL, lone surrogates and endless ids do not.
        key = f"hash:{hashlib.sha256(body).hexdigest()}"
    return RawEvent(key=key, body=body, end=(end or "").lower())


def _contact_said(message: Message, end: str) -> Fact:
    person = message.sender.person if message.sender else None
    contact = spelled(person)
    if contact is None or person is None:
        return Uninteresting("no sender")
    annotations, held = person.annotations, content(message.body, message.template)
    return ContactSaid(
        end=(text(message.channel_id) or end).lower(),
        messageid=text(message.id),
        contact=contact[0],
        form=contact[1],
        text=held.text,
        said_at=instant(message.created_at),
        name=text(annotations.get("name")) if isinstance(annotations, dict) else None,
        files=held.files,
        quotes=message.answers,
    )


def _channel_said(message: Message, end: str) -> Fact:
    contact = spelled(message.receiver.person if message.receiver else None)
    messageid, reference = text(message.id), text(message.reference)
    status = _STATUSES.get(text(message.status) or "")
    reason = (message.why or text(message.status)) if status is CopyStatus.FAILED else None
    end = (text(message.channel_id) or end).lower()
    if contact is not None and messageid is not None:
        held = content(message.body, message.template)
        return ChannelSaid(
            end=end,
            messageid=messageid,
            reference=reference,
            contact=contact[0],
            form=contact[1],
            text=held.text,
            said_at=instant(message.created_at),
            status=status,
            reason=reason,
            files=held.files,
        )
    if status is None or (messageid is None and reference is None):
        return Uninteresting("outgoing message without id or recipient")
    return StatusSeen(
        status=status,
        messageid=messageid,
        reference=reference,
        end=end,
        recipient=contact[0] if contact else None,
        at=instant(message.last_status_at),
        reason=reason,
    )


def _interacted(interaction: Interaction, end: str) -> Fact:
    kind = text(interaction.type) or "unnamed"
    metadata = interaction.metadata if isinstance(interaction.metadata, dict) else {}
    if kind not in ("read", "opened"):
        return Uninteresting(_INTERACTIONS.get(kind, "unknown interaction"))
    if metadata.get("prefetched") is True:
        # A mail server fetched the pixel; nobody has read anything.
        return Uninteresting("prefetched open")
    messageid, reference = text(interaction.message_id), text(interaction.message_reference)
    if messageid is None and reference is None:
        return Uninteresting("interaction without message")
    person = interaction.receiver.person if interaction.receiver else None
    contact = spelled(person) if person is not None and text(person.identifier_value) else None
    return StatusSeen(
        status=CopyStatus.READ,
        messageid=messageid,
        reference=reference,
        end=(text(interaction.channel_id) or end).lower(),
        recipient=contact[0] if contact else None,
        at=instant(interaction.created_at),
    )

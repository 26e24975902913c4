"""WhatsApp's messages and statuses as iSlash passes them on (§7.1 to §7.3)."""

from __future__ import annotations

from typing import Any

from syncd.model.facts import ContactForm, ContactSaid, CopyStatus, Fact, StatusSeen, Uninteresting
from syncd.model.files import Attachment
from syncd.platforms.islash import media, wire

STATUSES = {
    "sent": CopyStatus.SENT,
    "delivered": CopyStatus.DELIVERED,
    "read": CopyStatus.READ,
    "failed": CopyStatus.FAILED,
    "deleted": CopyStatus.DELETED,
}
"""The statuses of §5 that change something."""

_NOT_SPEECH = {"reaction": "reaction", "system": "system", "revoked": "revoked", "request_welcome": "welcome request"}
_TYPES = ("text", *media.WHATSAPP, "location", "contacts", "button", "interactive", "reaction", "system")
_MAX_REASON = 500


def message(
    end: str,
    item: dict[str, Any],
    contact: dict[str, Any],
    own: frozenset[str],
    media_url_template: str | None = None,
) -> Fact:
    """What an inbound message says. What is neither text nor file stands in words, e.g. `[location 22.28,114.16]`."""
    sender = wire.identifier(item.get("from")) or wire.identifier(item.get("wa_id"))
    if sender is None:
        return Uninteresting("no sender")
    digits = wire.phone(sender)
    if item.get("is_echo") is True or (digits or sender) in {wire.phone(address) or address for address in own}:
        return Uninteresting("echo")
    kind = wire.text(item.get("type")) or next((name for name in _TYPES if name in item), "text")
    if kind in _NOT_SPEECH:
        return Uninteresting(_NOT_SPEECH[kind])
    said = _said(kind, item)
    files: tuple[Attachment, ...] = ()
    if kind in media.WHATSAPP:
        files = (media.whatsapp(kind, item, media_url_template),)
    if not said and not files:
        return Uninteresting("no text")
    return ContactSaid(
        end=end,
        messageid=wire.identifier(item.get("id")),
        contact=digits or sender,
        form=ContactForm.INTERNATIONAL if digits else ContactForm.OPAQUE,
        text=said,
        said_at=wire.moment(item.get("timestamp")),
        name=_name(item) or _name(contact),
        files=files,
        quotes=wire.identifier(wire.members(item.get("context")).get("id")),
    )


def status(end: str, item: dict[str, Any]) -> Fact:
    """What a status says of one of our messages (or, for `deleted`, of one of the contact's)."""
    messageid = wire.identifier(item.get("id"))
    if messageid is None:
        return Uninteresting("status without id")
    word = wire.text(item.get("status"))
    known = STATUSES.get(word.lower()) if word else None
    if known is None:
        return Uninteresting("unknown status")
    return StatusSeen(
        status=known,
        messageid=messageid,
        end=end,
        recipient=wire.identifier(item.get("recipient_id")),
        at=wire.moment(item.get("timestamp")),
        reason=_reason(item) if known is CopyStatus.FAILED else None,
    )


def _said(kind: str, item: dict[str, Any]) -> str:
    content = item.get(kind)
    fields = wire.members(content)
    if kind == "text":
        return wire.text(fields.get("body")) or wire.text(content) or ""
    if kind in media.WHATSAPP:
        return wire.text(fields.get("caption")) or ""
    if kind == "location":
        return _location(fields)
    if kind == "contacts":
        cards = filter(None, (_card(wire.members(card)) for card in wire.elements(content)))
        return f"[contact: {'; '.join(cards) or 'no name'}]"
    if kind == "button":
        return wire.text(fields.get("text")) or "[button]"
    if kind == "interactive":
        replies = (wire.members(fields.get(key)) for key in ("button_reply", "list_reply"))
        return next(filter(None, (wire.text(reply.get("title")) for reply in replies)), "[interactive]")
    return "[unsupported message]"


def _location(fields: dict[str, Any]) -> str:
    point = ",".join(str(fields[key]) for key in ("latitude", "longitude") if isinstance(fields.get(key), int | float))
    name = wire.text(fields.get("name")) or wire.text(fields.get("address"))
    return f"[{' '.join(filter(None, ('location', point, name)))}]"


def _card(card: dict[str, Any]) -> str:
    """Name and phone numbers, e.g. `Ann Lee +85200000003, +85200000004`."""
    phones = filter(None, (_card_phone(wire.members(phone)) for phone in wire.elements(card.get("phones"))))
    return " ".join(filter(None, (_card_name(card), ", ".join(dict.fromkeys(phones)))))


def _card_phone(phone: dict[str, Any]) -> str | None:
    digits = wire.phone(wire.identifier(phone.get("wa_id")) or "")
    return wire.text(phone.get("phone")) or (f"+{digits}" if digits else None)


def _card_name(card: dict[str, Any]) -> str | None:
    name = card.get("name")
    fields = wire.members(name)
    whole = (
        wire.text(name)
        or wire.text(fields.get("formatted_name"))
        or " ".join(filter(None, (wire.text(fields.get("first_name")), wire.text(fields.get("last_name")))))
    )
    return whole or None


def _name(item: dict[str, Any]) -> str | None:
    name = wire.text(wire.members(item.get("profile")).get("name"))
    return wire.well_formed(name).replace("\0", "").strip() or None if name else None


def _reason(item: dict[str, Any]) -> str | None:
    """`CODE title: message; details` of each of `errors[]`, where given (M-ERR)."""
    told = []
    for error in map(wire.members, wire.elements(item.get("errors"))):
        title, words = wire.text(error.get("title")), wire.text(error.get("message"))
        details = wire.text(wire.members(error.get("error_data")).get("details"))
        says = list(dict.fromkeys(filter(None, (title, words, details))))
        told.append(" ".join(filter(None, (wire.identifier(error.get("code")), ": ".join(says)))))
    return "; ".join(filter(None, told)).strip()[:_MAX_REASON] or None

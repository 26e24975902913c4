"""Messenger's events (and Instagram's, of the same form) as iSlash passes them on (§7.4, §7.5)."""

from __future__ import annotations

from typing import Any

from syncd.model.facts import ContactForm, ContactSaid, CopyStatus, Fact, StatusSeen, Uninteresting
from syncd.platforms.islash import media, wire

_RECEIPTS = {"delivery": CopyStatus.DELIVERED, "read": CopyStatus.READ}
_NOT_SPEECH = ("reaction", "optin", "referral")


def message_id(item: dict[str, Any]) -> str | None:
    """The id of the message or pressed button that the event tells of."""
    for key in ("message", "postback"):
        if mid := wire.identifier(wire.members(item.get(key)).get("mid")):
            return mid
    return None


def speaks(item: dict[str, Any]) -> bool:
    """Whether the event is something that a person said."""
    return isinstance(item.get("message"), dict) or isinstance(item.get("postback"), dict)


def facts(end: str, item: dict[str, Any], own: frozenset[str]) -> tuple[Fact, ...]:
    """What one event of `messaging` or `standby` says; `own` holds the Page's id."""
    sender = wire.identifier(wire.members(item.get("sender")).get("id"))
    for key, status in _RECEIPTS.items():
        if isinstance(item.get(key), dict):
            return _receipts(end, item, item[key], status, sender)
    for key in _NOT_SPEECH:
        if key in item:
            return (Uninteresting(key),)
    if not speaks(item):
        return (Uninteresting("unknown shape"),)
    if wire.members(item.get("message")).get("is_echo") is True or sender in own:
        return (Uninteresting("echo"),)
    if sender is None:
        return (Uninteresting("no sender"),)
    message = wire.members(item.get("message"))
    files, words = media.messenger(message)
    said = " ".join([*words, *filter(None, (_text(item),))])
    if not said and not files:
        return (Uninteresting("no text"),)
    return (
        ContactSaid(
            end=end,
            messageid=message_id(item),
            contact=sender,
            form=ContactForm.OPAQUE,
            text=said,
            said_at=wire.moment(item.get("timestamp")),
            files=files,
            quotes=wire.identifier(wire.members(message.get("reply_to")).get("mid")),
        ),
    )


def _receipts(
    end: str, item: dict[str, Any], receipt: dict[str, Any], status: CopyStatus, sender: str | None
) -> tuple[Fact, ...]:
    listed = receipt.get("mids")
    mids = [wire.identifier(mid) for mid in (listed if isinstance(listed, list) else [receipt.get("mid")])]
    until = wire.moment(receipt.get("watermark"))
    at = until or wire.moment(item.get("timestamp"))
    seen = [StatusSeen(status, messageid=mid, end=end, recipient=sender, at=at) for mid in mids if mid]
    if seen:
        return tuple(seen)
    if until is None or sender is None:
        return (Uninteresting("receipt for nothing"),)
    # A watermark alone means all that we sent to this person until then (§7.4).
    return (StatusSeen(status, end=end, recipient=sender, at=until),)


def _text(item: dict[str, Any]) -> str | None:
    postback = wire.members(item.get("postback"))
    return (
        wire.text(wire.members(item.get("message")).get("text"))
        or wire.text(postback.get("text"))
        or wire.text(postback.get("title"))
    )

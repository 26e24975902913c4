"""Taking a webhook's body apart, whatever layout it has, into items that each stand for themselves (A5).

A part is a plain object `{"kind": …, "item": …}` with what the item needs of its surroundings: `contact` (the entry of
`contacts` that names the sender), `own` (the addresses of our side). It is what is stored and parsed later.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

from syncd.platforms.islash import wire

Part = dict[str, Any]

WHATSAPP_MESSAGE = "whatsapp.message"
WHATSAPP_STATUS = "whatsapp.status"
MESSENGER_EVENT = "messenger.event"
UNKNOWN = "unknown"

_LAYOUTS = ("messages", "statuses", "entry")
_MAX_FIELDS = 100
_MAX_PARTS = 1000
"""Items of one webhook; Meta sends no more at a time, and a body of a megabyte could hold a hundred thousand."""


def parts(body: bytes) -> list[Part]:
    """The items of a webhook, in the order said. Raises `ValueError` for a body that holds no JSON, or too much."""
    try:
        value = wire.read(body)
    except ValueError:
        value = _form(body)
    value = wire.nested(value)
    every = (part for element in (value if isinstance(value, list) else [value]) for part in _of(element))
    found = list(islice(every, _MAX_PARTS + 1))
    if len(found) > _MAX_PARTS:
        raise ValueError(f"more than {_MAX_PARTS} items in one webhook")
    return _in_order(found)


def _form(body: bytes) -> Any:
    """The JSON in a form-encoded body."""
    fields = parse_qsl(body.decode("utf-8"), max_num_fields=_MAX_FIELDS)
    read = {name: wire.nested(text) for name, text in fields}
    read = {name: value for name, value in read.items() if not isinstance(value, str)}
    if not read:
        raise ValueError("neither JSON nor a form that holds JSON")
    if any(name in read for name in _LAYOUTS):
        return read
    return next(iter(read.values())) if len(read) == 1 else list(read.values())


def _of(value: Any, *, inside: bool = False) -> Iterator[Part]:
    if value == {} or value == []:
        return
    if not isinstance(value, dict):
        yield {"kind": UNKNOWN, "item": value}
    elif "messages" in value or "statuses" in value:
        yield from _whatsapp(value)
    elif "entry" in value:
        for entry in wire.elements(wire.nested(value["entry"])):
            yield from _entry(entry)
    elif _is_messenger(value):
        yield {"kind": MESSENGER_EVENT, "item": value}
    elif "status" in value and "from" not in value and ("id" in value or "recipient_id" in value):
        yield {"kind": WHATSAPP_STATUS, "item": value}
    elif ("from" in value or "wa_id" in value) and any(key in value for key in ("id", "type", "text", "timestamp")):
        yield {"kind": WHATSAPP_MESSAGE, "item": value}
    else:
        yield from _wrapped_in_text(value, inside)


def _wrapped_in_text(value: dict[str, Any], inside: bool) -> Iterator[Part]:
    """The JSON that a member of an object of unknown layout holds as text; looked for one level deep only."""
    read = [] if inside else [wire.nested(member) for member in value.values() if isinstance(member, str)]
    read = [member for member in read if isinstance(member, dict)]
    if not read:
        yield {"kind": UNKNOWN, "item": value}
    for member in read:
        yield from _of(member, inside=True)


def _whatsapp(value: dict[str, Any]) -> Iterator[Part]:
    messages = wire.elements(wire.nested(value.get("messages")))
    contacts = [wire.members(contact) for contact in wire.elements(wire.nested(value.get("contacts")))[:_MAX_PARTS]]
    own = wire.identifier(wire.members(value.get("metadata")).get("display_phone_number"))
    for message in messages:
        if not isinstance(message, dict):
            yield {"kind": UNKNOWN, "item": message}
            continue
        part: Part = {"kind": WHATSAPP_MESSAGE, "item": message}
        contact = _contact_of(message, contacts, alone=len(messages) == 1)
        if contact:
            part["contact"] = contact
        if own:
            part["own"] = [own]
        yield part
    for status in wire.elements(wire.nested(value.get("statuses"))):
        yield {"kind": WHATSAPP_STATUS if isinstance(status, dict) else UNKNOWN, "item": status}


def _contact_of(message: dict[str, Any], contacts: list[dict[str, Any]], *, alone: bool) -> dict[str, Any]:
    senders = {message.get(key) for key in ("from", "wa_id") if isinstance(message.get(key), str)}
    for contact in contacts:
        address = contact.get("wa_id")
        if isinstance(address, str) and address in senders:
            return contact
    return contacts[0] if alone and len(contacts) == 1 else {}


def _entry(value: Any) -> Iterator[Part]:
    entry = wire.members(value)
    known = False
    for change in wire.elements(entry.get("changes")):
        known = True
        yield from _of(wire.members(change).get("value"), inside=True)
    page = wire.identifier(entry.get("id"))
    for event in (*wire.elements(entry.get("messaging")), *wire.elements(entry.get("standby"))):
        known = True
        part: Part = {"kind": MESSENGER_EVENT if isinstance(event, dict) else UNKNOWN, "item": event}
        if page:
            part["own"] = [page]
        yield part
    if not known:
        yield {"kind": UNKNOWN, "item": value}


def _is_messenger(value: dict[str, Any]) -> bool:
    return isinstance(value.get("sender"), dict) and isinstance(value.get("recipient"), dict)


def _in_order(found: list[Part]) -> list[Part]:
    """By `(timestamp, sequence)` as §7.2 says; the order given where an item has no time to be placed by."""
    if len(found) < 2:
        return found
    placed = []
    for part in found:
        item = wire.members(part["item"])
        said_at = wire.moment(item.get("timestamp"))
        if said_at is None:
            return found
        placed.append(((said_at, wire.whole(item.get("sequence")) or 0), part))
    placed.sort(key=lambda entry: entry[0])
    return [part for _, part in placed]

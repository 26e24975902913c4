"""What the simulated Bird keeps, and the shapes that its API insists on (from Bird's documented schema)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Order = Literal["newest", "oldest", "shuffled"]

WEBHOOK_URL = re.compile(r"^https://([a-zA-Z0-9-]+\.)+[a-zA-Z]{2,}(/[^\s]*)?$")

_REQUEST_FIELDS = {
    "receiver", "body", "template", "reference", "replyTo", "sender", "notification", "scheduledFor", "validity",
    "tags", "shortLinks", "meta", "capFrequency", "ignoreQuietHours", "ignoreGlobalHoldout", "enableLinkTracking",
}  # fmt: skip
_CONTACT_FIELDS = {
    "id", "identifierKey", "identifierValue", "type", "identifiers", "platformAddress", "platformAddressSelector",
}  # fmt: skip
_BODY_TYPES = {
    "text", "html", "image", "file", "gif", "location", "carousel", "list", "section", "authentication", "template",
    "action",
}  # fmt: skip
_ITEMS: dict[str, tuple[str, set[str], tuple[str, ...]]] = {
    "image": ("images", {"mediaUrl", "altText"}, ("mediaUrl",)),
    "file": ("files", {"mediaUrl", "contentType", "filename", "altText", "metadata"}, ("mediaUrl", "contentType")),
}
"""Of a body with files: what they are called, what each may hold, and what it must."""
_SUBSCRIPTION_FIELDS = {"service", "event", "url", "eventFilters", "signingKey", "template"}
_PATCH_FIELDS = {"url", "eventFilters", "signingKey", "template", "status"}

Mistakes = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class SimFile:
    """A file that somebody sends, or got."""

    data: bytes = field(repr=False)
    content_type: str = "application/octet-stream"
    name: str | None = None
    """What the message says."""
    header_name: str | None = None
    """What `Content-Disposition` of a download says."""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    @property
    def sha256(self) -> str:
        """Of the bytes, in hex."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(slots=True)
class Record:
    """One message: the Message object as the API shows it, and what it is found by."""

    data: dict[str, Any]
    created: datetime
    address: str
    """The contact, spelled as in the actions of the simulator."""
    interactions: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Received:
    """A message of our side as the contact has it."""

    text: str
    """Or the caption."""
    files: tuple[SimFile | str, ...] = ()
    """What was uploaded; the address alone where it is not at Bird."""
    reply_to: str | None = None
    """The message that it answers to."""


@dataclass(slots=True)
class SimChannel:
    """One channel and its messages, by id, in the order that they were made."""

    id: str
    platform: str
    identifier: str
    name: str
    status: str
    connector: str
    messages: dict[str, Record] = field(default_factory=dict)
    chats: dict[str, list[Record]] = field(default_factory=dict)
    """Outgoing messages by contact address."""

    def shown(self) -> dict[str, Any]:
        """The Channel object."""
        return {
            "id": self.id,
            "platformId": self.platform,
            "name": self.name,
            "connectorId": self.connector,
            "identifier": self.identifier,
            "status": self.status,
        }


def stamp(moment: datetime) -> str:
    """RFC 3339 with as many fraction digits as are needed, as Bird writes it."""
    base = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return base + "Z"


def identified(address: str) -> dict[str, str]:
    """An address of the simulator's actions as Bird identifies a contact.

    `+1202…` is a phone number, `a@b` a mail address, `KEY:VALUE` anything else, `id:ID` a contact without identifier.
    """
    if address.startswith("id:"):
        return {}
    if re.fullmatch(r"\+?[0-9]+", address):
        return {"identifierKey": "phonenumber", "identifierValue": address}
    key, colon, value = address.partition(":")
    if colon and key:
        return {"identifierKey": key, "identifierValue": value}
    return {"identifierKey": "emailaddress" if "@" in address else "", "identifierValue": value or address}


def addressed(contact: dict[str, Any]) -> str:
    """The reverse of `identified`, for a contact named by identifier."""
    key, value = contact.get("identifierKey") or "", contact["identifierValue"]
    if key == "phonenumber" or (key == "emailaddress" and "@" in value) or not key:
        return str(value)
    return f"{key}:{value}"


def request_mistakes(request: Any, platform: str) -> Mistakes:
    """What is wrong with a request to send, by field; empty where it is right."""
    if not isinstance(request, dict):
        return {"": ["must be an object"]}
    mistakes: Mistakes = {name: ["additional property"] for name in request.keys() - _REQUEST_FIELDS}
    receiver = request.get("receiver")
    contacts = receiver.get("contacts") if isinstance(receiver, dict) else None
    if not isinstance(contacts, list) or not contacts:
        mistakes["receiver.contacts"] = ["at least one is required"]
    elif len(contacts) > 1 and platform != "email":
        mistakes["receiver.contacts"] = ["only one is supported"]
    else:
        for contact in contacts:
            mistakes |= _contact_mistakes(contact)
    if isinstance(receiver, dict) and receiver.keys() - {"contacts"}:
        mistakes["receiver"] = ["additional property"]
    if "template" not in request:
        mistakes |= _body_mistakes(request.get("body"))
    if not isinstance(request.get("reference", ""), str):
        mistakes["reference"] = ["must be a string"]
    if "replyTo" in request:
        mistakes |= _reply_mistakes(request["replyTo"])
    return mistakes


def _reply_mistakes(reply: Any) -> Mistakes:
    if not isinstance(reply, dict) or reply.keys() - {"id", "type", "order"}:
        return {"replyTo": ["additional property"]}
    if not isinstance(reply.get("id"), str) or reply.get("type") not in ("message", "click", "referrals"):
        return {"replyTo": ["id and type are required"]}
    return {}


def _contact_mistakes(contact: Any) -> Mistakes:
    if not isinstance(contact, dict) or contact.keys() - _CONTACT_FIELDS:
        return {"receiver.contacts": ["additional property"]}
    if not all(isinstance(contact.get(name, ""), str) for name in ("id", "identifierKey", "identifierValue")):
        return {"receiver.contacts": ["must be strings"]}
    if not contact.get("id") and not contact.get("identifierValue"):
        return {"receiver.contacts": ["id or identifierValue is required"]}
    return {}


def _body_mistakes(body: Any) -> Mistakes:
    if not isinstance(body, dict):
        return {"body": ["required"]}
    kind = body.get("type")
    if kind not in _BODY_TYPES:
        return {"body.type": ["unknown type"]}
    part = body.get(kind)
    if not isinstance(part, dict) or body.keys() - {"type", kind}:
        return {"body": [f"must hold {kind} and nothing else"]}
    if kind == "text" and not (isinstance(part.get("text"), str) and part["text"]):
        return {"body.text.text": ["at least 1 character"]}
    if kind in _ITEMS:
        return _item_mistakes(kind, part)
    return {}


def _item_mistakes(kind: str, part: dict[str, Any]) -> Mistakes:
    """The files of an `image` or `file` body."""
    name, allowed, required = _ITEMS[kind]
    items = part.get(name)
    if part.keys() - {name, "text", "metadata", "actions"} or not isinstance(part.get("text", ""), str):
        return {f"body.{kind}": ["additional property"]}
    if not isinstance(items, list):
        return {f"body.{kind}.{name}": ["required"]}
    for item in items:
        if not isinstance(item, dict) or item.keys() - allowed:
            return {f"body.{kind}.{name}": ["additional property"]}
        if not all(isinstance(item.get(key), str) and item[key] for key in required):
            return {f"body.{kind}.{name}": [f"required: {', '.join(required)}"]}
    return {}


def file_items(body: Any) -> list[dict[str, Any]]:
    """The files of a valid `image` or `file` body, in order."""
    kind = body.get("type") if isinstance(body, dict) else None
    items: list[dict[str, Any]] = body[kind][_ITEMS[kind][0]] if kind in _ITEMS else []
    return items


def file_body(kind: str, items: list[dict[str, Any]], text: str) -> dict[str, Any]:
    """A body of a contact's message that holds files: `image`, `file`, `gif` (one), or attachments of `text`/`html`."""
    words = {"text": text} if text else {}
    if kind == "gif":
        return {"type": kind, kind: {"mediaUrl": items[0]["mediaUrl"], **words}}
    if kind in ("text", "html"):
        mailed = [{name: item[name] for name in item if name != "contentType"} for item in items]
        return {"type": kind, kind: {**words, "attachments": mailed}}
    if kind == "image":
        items = [{"mediaUrl": item["mediaUrl"]} for item in items]
    return {"type": kind, kind: {_ITEMS[kind][0]: items, **words}}


def subscription_mistakes(request: Any, *, patch: bool = False) -> Mistakes:
    """What is wrong with a request to make or change a webhook subscription, by field."""
    if not isinstance(request, dict):
        return {"": ["must be an object"]}
    allowed = _PATCH_FIELDS if patch else _SUBSCRIPTION_FIELDS
    mistakes: Mistakes = {name: ["additional property"] for name in request.keys() - allowed}
    if not patch:
        mistakes |= {name: ["required"] for name in ("service", "event", "url") if not request.get(name)}
    if request.get("url") and not WEBHOOK_URL.match(str(request["url"])):
        mistakes["url"] = ["does not match the pattern"]
    filters = request.get("eventFilters") or []
    if sum(1 for item in filters if item.get("key") == "channelId") > 1:
        mistakes["eventFilters"] = ["only one channelId filter"]
    if request.get("status", "active") not in ("active", "inactive"):
        mistakes["status"] = ["active or inactive"]
    return mistakes


def page(records: Iterable[Record], order: Order, limit: int, token: str | None) -> tuple[list[Record], str | None]:
    """One page in `order` after the keyset cursor `token`, and the next cursor. Raises `ValueError` for a bad one."""

    def place(record: Record) -> tuple[Any, str]:
        identity = record.data["id"]
        if order == "shuffled":
            return hashlib.sha256(identity.encode()).hexdigest(), identity
        return record.created.timestamp(), identity

    newest = order == "newest"
    rows = sorted(records, key=place, reverse=newest)
    if token is not None:
        after = tuple(json.loads(base64.b64decode(token, validate=True)))
        rows = [row for row in rows if (place(row) < after if newest else place(row) > after)]
    shown, rest = rows[:limit], rows[limit:]
    return shown, base64.b64encode(json.dumps(place(shown[-1])).encode()).decode() if rest else None

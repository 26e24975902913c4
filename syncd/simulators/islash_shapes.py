"""The layouts in which iSlash's webhooks may come: its documentation shows some, Meta's the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

Item = dict[str, Any]
"""A message or status as iSlash's own samples print it."""

PAGE = "100000000000001"
OWN_NUMBER = "85200000009"


def _wrapped(key: str, item: Item) -> Any:
    return {key: [item]}


def _bare(key: str, item: Item) -> Any:
    return item


def _array(key: str, item: Item) -> Any:
    return [item]


def _onprem(key: str, item: Item) -> Any:
    """WhatsApp's own form: the name beside the messages, not in them."""
    plain = {name: value for name, value in item.items() if name not in ("profile", "wa_id")}
    if key == "statuses":
        return {"statuses": [plain]}
    return {"contacts": [{"profile": item.get("profile", {}), "wa_id": item["from"]}], "messages": [plain]}


def _cloud(key: str, item: Item) -> Any:
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": OWN_NUMBER, "phone_number_id": "106540352242922"},
        **_onprem(key, item),
    }
    changes = [{"field": "messages", "value": value}]
    return {"object": "whatsapp_business_account", "entry": [{"id": "102290129340398", "changes": changes}]}


def _nested(key: str, item: Item) -> Any:
    return json.dumps({key: [item]})


def messenger(event: Item, at_ms: int, *, kind: str = "page", channel: str = "messaging") -> Item:
    """Messenger's envelope around one event; `channel` is `messaging` or `standby`, `kind` the object it names."""
    return {"object": kind, "entry": [{"id": PAGE, "time": at_ms, channel: [event]}]}


SHAPES: dict[str, Callable[[str, Item], Any]] = {
    "wrapped": _wrapped,
    "bare": _bare,
    "array": _array,
    "onprem": _onprem,
    "cloud": _cloud,
    "nested": _nested,
    "form": _wrapped,
}
"""WhatsApp's layouts by name: a function of `messages` or `statuses` and the item."""


def encoded(shape: str, value: Any) -> tuple[bytes, str]:
    """The body's bytes and its content type."""
    if shape == "form":
        return urlencode({"payload": json.dumps(value)}).encode(), "application/x-www-form-urlencoded"
    return json.dumps(value).encode(), "application/json"

"""Ringotel's JSON: the webhook's envelope and parameters, and the answer of a call (page §2, §3, §5).

Members are `Any` because the vendor promises no types: an id may come as a number, a type as text. What a member is
worth is decided by the functions below; a strange one never spoils the others.
"""

from __future__ import annotations

from typing import Any

import msgspec

_NULL = msgspec.Raw(b"null")
MAX_ID = 128
"""Characters of the longest id that is believed (page §3); database indexes need some bound."""


class Envelope(msgspec.Struct):
    """A webhook before it is trusted: only the key is read, the rest stays the bytes it came as."""

    method: msgspec.Raw = _NULL
    params: msgspec.Raw = _NULL
    api_key: Any = None


class Params(msgspec.Struct, rename={"sender": "from", "recipient": "to"}):
    """All members of `params` that syncd looks at, of any webhook method."""

    orgid: Any = None
    userid: Any = None
    sender: Any = None
    recipient: Any = None
    senderid: Any = None
    messageid: Any = None
    sessionid: Any = None
    content: Any = None
    type: Any = None


class Event(msgspec.Struct):
    """A stored webhook."""

    method: Any = None
    params: Params | None = None


class Reply(msgspec.Struct):
    """The answer of a call."""

    result: Any = None
    error: Any = None


ENVELOPE = msgspec.json.Decoder(Envelope)
METHOD = msgspec.json.Decoder(str)
PARAMS = msgspec.json.Decoder(Params)
EVENT = msgspec.json.Decoder(Event)
REPLY = msgspec.json.Decoder(Reply)


def identifier(value: Any) -> str | None:
    """An id as text, exactly; None where there is none to rely on.

    Ids have up to 20 digits and may come as JSON numbers. A float has lost digits already, so it names nothing. NUL,
    line ends and lone surrogates are in no id, and not every database takes them.
    """
    if type(value) is int:
        value = str(value)
    if isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isprintable():
        return value
    return None


def message_type(value: Any) -> int | str:
    """The `type` of a message: absent is 1, numeric text is its number (page §4.2), anything else is a word for it."""
    if value is None:
        return 1
    if isinstance(value, str):
        text = value.strip()
        if text.isascii() and text.isdigit() and len(text) < 10:
            return int(text)
        return text if 0 < len(text) <= 32 and text.isprintable() else "?"
    if type(value) is int and abs(value) < 10**9:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**9:
        return int(value)
    return "?"


def spoken(value: Any) -> str | None:
    """Message text; a number that was meant as text is taken as text. None where it is neither."""
    if isinstance(value, str):
        return value
    return str(value) if type(value) is int else None

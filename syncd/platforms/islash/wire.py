"""Tolerant readers of iSlash's JSON: every field optional, ids and numbers in any spelling (§4, A11, A17).

The feed is other vendors' JSON passed on in several layouts, and a wrong type in one field must not cost the message:
so these readers, and no strict structs.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from syncd.platforms import codec

_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SURROGATE = re.compile("[\ud800-\udfff]")
_MILLISECONDS_FROM = 10**11

MAX_ID = 512
"""Longest id that is taken; real ones have up to 255 characters (A17)."""


def read(body: bytes) -> Any:
    """The JSON value. Raises `ValueError` where it is none, or is nested too deep."""
    try:
        return codec.decode(body, _ANYTHING)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None


def nested(value: Any) -> Any:
    """JSON that was put into a string, read once; anything else as it is (A5)."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return read(value.encode("utf-8", "surrogatepass"))
        except ValueError:
            return value
    return value


def members(value: Any) -> dict[str, Any]:
    """The object, or an empty one where it is something else (A18)."""
    return value if isinstance(value, dict) else {}


def elements(value: Any) -> list[Any]:
    """The array; a lone object counts as an array of one."""
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) else []


def text(value: Any) -> str | None:
    """A string that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def identifier(value: Any) -> str | None:
    """An id as text. None where there is none, or none that a database or header could hold."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < 4096:
        return str(value)
    name = value.strip() if isinstance(value, str) else ""
    return name if name and len(name) <= MAX_ID and name.isprintable() else None


def whole(value: Any) -> int | None:
    """A whole number, also as a string of digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 30:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def moment(value: Any) -> datetime | None:
    """A time in UTC from seconds, milliseconds (from 10^11 on), either as digits in a string, or a date and time (A11).

    A date and time without a zone is taken as UTC: the feeds passed on are Meta's, whose times are UTC.
    """
    number = whole(value)
    if number is None and isinstance(value, float) and 0 < value < 1e15:
        number = int(value)
    try:
        if number is not None:
            if number <= 0:
                return None
            return _EPOCH + (
                timedelta(milliseconds=number) if number >= _MILLISECONDS_FROM else timedelta(seconds=number)
            )
        if isinstance(value, str) and len(value) <= 40:
            said = datetime.fromisoformat(value.strip())
            return said.replace(tzinfo=UTC) if said.tzinfo is None else said.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    return None


def well_formed(value: str) -> str:
    """The text with each lone surrogate as U+FFFD: UTF-8, and so a form or a query string, cannot hold one."""
    return value if value.isascii() else _SURROGATE.sub("\ufffd", value)


def phone(address: str) -> str | None:
    """The digits that iSlash knows a WhatsApp number by, or None for an address that is no phone number (A4)."""
    digits = re.sub(r"[\s-]", "", address).removeprefix("+").removeprefix("00")
    # E.164 has at most 15 digits: longer ones are ids, such as Messenger's page-scoped ones.
    return digits if digits.isascii() and digits.isdigit() and len(digits) <= 15 else None

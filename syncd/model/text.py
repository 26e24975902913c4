"""Texts of people as stored bytes, texts of platforms as names that every database takes, and texts for people."""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def counted(number: int, one: str, many: str = "") -> str:
    """So many of something, for people; `many` where it is not `one` with an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def to_bytes(text: str) -> bytes:
    """A message's text for the database; nothing is lost, NUL and lone surrogates included."""
    return text.encode("utf-8", "surrogatepass")


def from_bytes(body: bytes | None) -> str:
    """The text of `to_bytes`; empty where retention has removed it."""
    return "" if body is None else bytes(body).decode("utf-8", "surrogatepass")


def storable(name: str) -> str:
    """An id, address or name as it can be stored: NUL and lone surrogates (no TEXT column holds them) become U+FFFD."""
    return name if name.isascii() and "\x00" not in name else _UNSTORABLE.sub("\ufffd", name)

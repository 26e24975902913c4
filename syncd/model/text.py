"""Texts of people as stored bytes, and texts of platforms as names that every database takes."""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def to_bytes(text: str) -> bytes:
    """A message's text for the database; nothing is lost, NUL and lone surrogates included."""
    return text.encode("utf-8", "surrogatepass")


def from_bytes(body: bytes | None) -> str:
    """The text of `to_bytes`; empty where retention has removed it."""
    return "" if body is None else bytes(body).decode("utf-8", "surrogatepass")


def storable(name: str) -> str:
    """An id, address or name as it can be stored: NUL and lone surrogates (no TEXT column holds them) become U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", name)

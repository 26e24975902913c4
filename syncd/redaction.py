"""Taking secrets out of text, in whatever spelling they got there (G12)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "[secret]"
SHORTEST: Final = 4
"""Characters. Anything shorter stands in too many innocent words to be replaced."""


class Redactor:
    """Replaces known secrets by `[secret]`: as they are, URL-quoted, escaped, and inside base64."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = {
            spelling
            for secret in secrets
            if len(secret) >= SHORTEST
            for spelling in _spellings(secret)
            if len(spelling) >= SHORTEST
        }
        # The longest first, or a secret that begins another would leave the other's end standing.
        ordered = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
        self._spellings = tuple(ordered)
        self._shortest = min(map(len, ordered), default=0)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def stands_in(self, text: str) -> bool:
        """Whether `redact` might change the text; quick to say no."""
        return any(spelling in text for spelling in self._spellings)

    def redact(self, text: str) -> str:
        """The text without secrets."""
        if self._pattern is None or len(text) < self._shortest:
            return text
        return self._pattern.sub(MASK, text)


def _spellings(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield from (repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)
    for plain in _base64(raw):
        yield from (plain, plain.replace("+", "-").replace("/", "_"))


def _base64(raw: bytes) -> Iterator[str]:
    """The whole in base64, and what is left of it at each of the three places it can have in something longer."""
    yield base64.b64encode(raw).decode("ascii").rstrip("=")
    for before in range(3):
        bits = 8 * (before + len(raw))
        first, last = -(-8 * before // 6), bits // 6  # characters made of the secret's bits alone
        yield base64.b64encode(b"\0" * before + raw).decode("ascii")[first:last]

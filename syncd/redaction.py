"""Taking secrets out of text, in whatever spelling they got there (G12)."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "[secret]"
SHORTEST: Final = 4
"""Characters. Anything shorter stands in too many innocent words to be replaced."""


class Redactor:
    """Replaces known secrets by `[secret]`: as they are, URL-quoted, escaped, in hex, and inside base64."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings: set[str] = set()
        signs: set[str] = set()
        for secret in secrets:
            if len(secret) >= SHORTEST:
                found = {spelling for spelling in _spellings(secret) if len(spelling) >= SHORTEST}
                spellings |= found
                signs |= _signs(secret, found)
        # The longest first, or a secret that begins another would leave the other's end standing.
        ordered = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
        self._signs = tuple(signs)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def stands_in(self, text: str) -> bool:
        """Whether `redact` might change the text; quick to say no."""
        for sign in self._signs:  # noqa: SIM110 — `any` takes twice the time, for every line of the log
            if sign in text:
                return True
        return False

    def redact(self, text: str) -> str:
        """The text without secrets."""
        if self._pattern is None or not self.stands_in(text):
            return text
        return self._pattern.sub(MASK, text)


def _signs(secret: str, spellings: set[str]) -> set[str]:
    """A few texts of which one stands wherever any of the spellings does: what no spelling changes, where it can."""
    run = max(re.findall("[A-Za-z0-9]+", secret), key=len, default="")
    # A short one stands in many texts: then there is more to look at, and no harm done.
    return {run if len(run) > 2 and run in spelling else spelling for spelling in spellings}


def _spellings(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield from (repr(secret)[1:-1], repr(raw)[2:-1], html.escape(secret), raw.hex(), raw.hex().upper())
    for ascii_only in (True, False):
        escaped = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        # Slashes may be escaped too, and JSON stand in JSON.
        yield from (escaped, escaped.replace("/", "\\/"), json.dumps(escaped, ensure_ascii=ascii_only)[1:-1])
    for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw), quote(quote(raw, safe=""))):
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

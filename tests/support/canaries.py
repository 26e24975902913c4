"""Looking for secrets wherever they might have got to, in any spelling (G12). Shares no code with what hides them."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, quote_plus

from tests.support.databases import Database

_SHORTEST = 6
"""Characters of a spelling. Fewer stand in innocent words."""


def leaks(blob: bytes | str, secrets: Iterable[str]) -> list[str]:
    """Each secret that stands in a blob, with the spelling in which it does."""
    data = blob.encode("utf-8", "surrogatepass") if isinstance(blob, str) else blob
    return [f"{secret}, {spelling}" for secret in secrets for spelling, form in spellings(secret) if form in data]


@lru_cache
def spellings(secret: str) -> tuple[tuple[str, bytes], ...]:
    """Every way in which a secret is looked for, by name; nothing is looked for twice."""
    found: dict[bytes, str] = {}
    for name, form in _spellings(secret):
        if len(form) >= min(_SHORTEST, len(secret)):
            found.setdefault(form, name)
    return tuple((name, form) for form, name in found.items())


def _spellings(secret: str) -> Iterator[tuple[str, bytes]]:
    raw = secret.encode()
    yield "as it is", raw
    for name, quoted in (
        ("quoted", quote(secret)),
        ("quoted whole", quote(secret, safe="")),
        ("quoted in a form", quote_plus(secret)),
        ("quoted twice", quote(quote(secret, safe=""), safe="")),
    ):
        yield f"URL-{name}", quoted.encode()
        yield f"URL-{name}, in small letters", re.sub("%..", lambda match: match[0].lower(), quoted).encode()
    for ascii_only in (True, False):
        escaped = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield "escaped for JSON", escaped.encode()
        yield "escaped for JSON, slashes too", escaped.replace("/", "\\/").encode()
        yield "escaped for JSON in JSON", json.dumps(escaped, ensure_ascii=ascii_only)[1:-1].encode()
    yield "escaped for Python", repr(secret)[1:-1].encode()
    yield "escaped for Python, as bytes", repr(raw)[2:-1].encode()
    yield "escaped for HTML", html.escape(secret).encode()
    yield "in hex", raw.hex().encode()
    yield "in hex, capitals", raw.hex().upper().encode()
    for before in range(3):
        # The characters at both ends depend on what stands around.
        whole = base64.b64encode(b"\0" * before + raw)
        inner = whole[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
        yield f"in base64, {before} after a boundary", inner
        yield f"in base64 for URLs, {before} after a boundary", inner.translate(bytes.maketrans(b"+/", b"-_"))


async def leaks_in_tables(database: Database, secrets: tuple[str, ...], *, but: Iterable[str] = ()) -> list[str]:
    """The secrets in any text or bytes of any table, `but` some tables."""
    return [
        f"table {table}: {leak}"
        for table in set(await _tables(database)) - set(but)
        for leak in leaks(b"\n".join(_cells(await database.rows(f'SELECT * FROM "{table}"'))), secrets)
    ]


async def _tables(database: Database) -> list[str]:
    if database.kind == "sqlite":
        if not Path(database.url.removeprefix("sqlite:///")).exists():
            return []
        statement = "SELECT name FROM sqlite_master WHERE type = 'table'"
    else:
        statement = "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'"
    return [str(row["name"]) for row in await database.rows(statement)]


def _cells(rows: Iterable[dict[str, object]]) -> Iterator[bytes]:
    for row in rows:
        for value in row.values():
            if isinstance(value, bytes | memoryview):
                yield bytes(value)
            elif isinstance(value, str):
                yield value.encode("utf-8", "surrogatepass")

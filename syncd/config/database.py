"""Which database `database.url` names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from syncd.secrets import Secret

_SQLITE = "sqlite:///"
_WANTED = 'write "sqlite:///FILE" or "postgresql://user:password@host/name"'


@dataclass(frozen=True, slots=True)
class Database:
    """Where everything is kept."""

    url: Secret
    """Whole address; for SQLite with an absolute path."""
    kind: Literal["sqlite", "postgresql"]
    path: Path | None
    """SQLite's file, absolute: take this where characters such as `?` in a folder's name would mislead a URL."""
    migrate: bool
    """Upgrade the schema at start; else refuse to start on an older one."""

    def secrets(self) -> Iterator[str]:
        """The password, and the address around it; nothing for SQLite."""
        if self.kind == "sqlite":
            return
        parts = urlsplit(self.url.reveal())
        words = [word for key, word in parse_qsl(parts.query) if key.lower() in ("password", "sslpassword")]
        if parts.password:
            words += [parts.password, unquote(parts.password)]
        if words:
            yield self.url.reveal()
            yield from dict.fromkeys(words)


def parse_database(url: Secret, folder: Path, *, migrate: bool) -> Database:
    """What the address names; a relative SQLite path is relative to `folder`.

    Raises `ValueError` saying what to do; the text holds nothing of the address.
    """
    text = url.reveal().strip()
    scheme, _, rest = text.partition("://")
    kind, _, driver = scheme.partition("+")
    if kind == "postgres":
        raise ValueError('begin the address with "postgresql://"')
    if kind not in ("sqlite", "postgresql"):
        raise ValueError(_WANTED)
    if driver:
        raise ValueError(f'leave out the driver: begin the address with "{kind}://"')
    if kind == "sqlite":
        file = rest.removeprefix("/")
        if not text.startswith(_SQLITE) or file in ("", "/", ":memory:") or "?" in file or "\0" in file:
            raise ValueError('name a file: "sqlite:///syncd.db", or with four slashes for an absolute path')
        path = Path(os.path.normpath(folder / file))
        return Database(Secret(f"{_SQLITE}{path}", source=url.source), "sqlite", path, migrate)
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(f"{_WANTED}; in the password write @ as %40, / as %2F, : as %3A, # as %23") from None
    if parts.path in ("", "/") or parts.fragment:
        raise ValueError(f"{_WANTED}: name the database, and in the password write @ as %40, / as %2F, # as %23")
    if any(key.lower() == "sslmode" for key, _ in parse_qsl(parts.query)):
        raise ValueError("write ssl= instead of sslmode=, with the same word")
    return Database(Secret(text, source=url.source), "postgresql", None, migrate)

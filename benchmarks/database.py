"""Databases for one run: made fresh, removed after it."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from wrong import Wrong

POSTGRES = os.environ.get("SYNCD_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
"""A server on which databases may be created."""


@dataclass(frozen=True, slots=True)
class Database:
    """Where a scratch database is made."""

    kind: str
    """`sqlite` or `postgresql`."""
    address: str
    """SQLite: the folder for the file. PostgreSQL: a database of the server."""

    @classmethod
    def named(cls, name: str) -> tuple[Database, ...]:
        """From the option: `sqlite`, `postgresql`, `both`, or an address. Raises `ValueError`."""
        sqlite, postgresql = cls("sqlite", _disk()), cls("postgresql", POSTGRES)
        known = {"sqlite": (sqlite,), "postgresql": (postgresql,), "both": (sqlite, postgresql)}
        if name in known:
            return known[name]
        if name.startswith("postgresql://"):
            return (cls("postgresql", name),)
        if name.startswith("sqlite:///") and Path(name.removeprefix("sqlite:///")).is_dir():
            return (cls("sqlite", name.removeprefix("sqlite:///")),)
        raise ValueError("sqlite, postgresql, both, sqlite:///FOLDER or postgresql://user:password@host/name")

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[tuple[str, Path]]:
        """A `database.url` with nothing in it, and a folder for whatever else; both are removed after use."""
        folder = Path(tempfile.mkdtemp(prefix="syncd-bench-", dir=self.address if self.kind == "sqlite" else None))
        try:
            if self.kind == "sqlite":
                yield f"sqlite:///{folder / 'syncd.db'}", folder
            else:
                name = f"syncd_bench_{secrets.token_hex(6)}"
                await _execute(self.address, f'CREATE DATABASE "{name}"')
                try:
                    yield urlunsplit(urlsplit(self.address)._replace(path=f"/{name}")), folder
                finally:
                    await _execute(self.address, f'DROP DATABASE "{name}" WITH (FORCE)')
        finally:
            shutil.rmtree(folder)

    async def place(self) -> str:
        """In words: what it is and what it lies on."""
        if self.kind == "sqlite":
            return f"SQLite on {_filesystem(Path(self.address))}"
        return f"PostgreSQL {await _execute(self.address, 'SHOW server_version')}"


async def _execute(url: str, statement: str) -> Any:
    import asyncpg

    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise Wrong(f"PostgreSQL does not answer ({type(error).__name__}): name one in SYNCD_TEST_POSTGRES") from error
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def _disk() -> str:
    """The temporary folder that survives a boot, where there is one: /tmp may be memory."""
    return "/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir()


def _filesystem(folder: Path) -> str:
    """The type of the filesystem: `ext4`, `tmpfs`, …"""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[2] == wanted:
            return line.partition(" - ")[2].split()[0]
    return "an unknown filesystem"

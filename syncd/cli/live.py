"""What `check --live` looks at: accounts, database and clock; read-only."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
from sqlalchemy import Connection

from syncd.cli.hooks import finding_rows
from syncd.cli.output import Document
from syncd.config import Config
from syncd.engine.platform import Finding
from syncd.platforms.http import Http, client_session
from syncd.store import dialect, migrations, reading
from syncd.store.database import DatabaseError, Location

MOST_SECONDS_OFF = 30.0
"""How far two clocks may be apart before it is a fault: webhooks are signed with their time."""
PROBE_SECONDS = 120.0


async def look(config: Config) -> list[Document]:
    """Everything that was found, as rows. Never raises for a fault of a platform or the database."""
    accounts = asyncio.gather(*(_account(config, name) for name in config.accounts))
    stored, probed = await asyncio.gather(_database(config), accounts)
    rows = [_own("database", finding) for finding in stored]
    for name, (findings, seconds_off) in zip(config.accounts, probed, strict=True):
        rows += finding_rows(name, findings)
        if seconds_off is not None:
            rows.append(_own(f"clock/{name}", _clock(f"clock beside {name}'s", seconds_off)))
    return rows


def _own(row_id: str, finding: Finding) -> Document:
    return finding_rows("", (finding,))[0] | {"id": row_id, "account": None}


async def _account(config: Config, name: str) -> tuple[tuple[Finding, ...], float | None]:
    """What the account's platform finds, and how many seconds our clock is ahead of its."""
    ahead: list[float] = []

    async def answered(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any) -> None:
        try:
            there = parsedate_to_datetime(params.response.headers["Date"])
        except (KeyError, ValueError):
            return
        ahead.append((datetime.now(UTC) - there.astimezone(UTC)).total_seconds())

    dates = aiohttp.TraceConfig()
    dates.on_request_end.append(answered)
    traces = [dates]
    headers = {"User-Agent": "syncd"}
    async with client_session(trace_configs=traces, headers=headers) as s:
        try:
            platform = config.accounts[name].plugin.build(config.setup(name), Http(s))
            async with asyncio.timeout(PROBE_SECONDS):
                findings = await platform.probe()
        except TimeoutError:
            findings = (Finding(False, name, f"did not answer within {PROBE_SECONDS:g} s: try again later"),)
        except Exception as error:
            # A plug-in may be anybody's: its fault is a finding, and the others are still looked at.
            findings = (Finding(False, name, f"its plug-in failed: {type(error).__name__}: {error}"),)
    return findings, min(ahead, key=abs, default=None)


async def _database(config: Config) -> list[Finding]:
    location = Location.of(config.database.url.reveal())
    try:
        revision, seconds_off = await reading.read(location, _revision_and_clock)
    except reading.NotThere:
        return [_not_made_yet(config, location)]
    except DatabaseError as error:
        return [Finding(False, "database", str(error))]
    found = [_schema(config, location, revision)]
    if location.kind == "postgresql":
        found.append(_clock("clock beside the database's", seconds_off))
    return found


def _revision_and_clock(conn: Connection) -> tuple[str | None, float]:
    return migrations.current(conn), (datetime.now(UTC) - dialect.now(conn)).total_seconds()


def _schema(config: Config, location: Location, revision: str | None) -> Finding:
    newest = migrations.newest()
    if revision == newest:
        return Finding(True, "database", f"{location} answers, with the newest schema ({newest})")
    if revision is not None and not migrations.known(revision):
        return Finding(False, "database", f"schema {revision} is of a newer syncd: run that, or restore a backup")
    if config.database.migrate:
        return Finding(True, "database", f"{location} answers; its schema becomes {newest} at start")
    return Finding(False, "database", f"schema {revision or 'none'}, this syncd needs {newest}: run `syncd migrate`")


def _not_made_yet(config: Config, location: Location) -> Finding:
    folder = location.path.parent
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        return Finding(False, "database", f"{folder} cannot be written to: give syncd the right to it")
    if not config.database.migrate:
        return Finding(False, "database", f"there is none at {location.path}: run `syncd migrate`")
    return Finding(True, "database", f"there is none yet: `syncd run` makes {location.path}")


def _clock(subject: str, seconds_ahead: float) -> Finding:
    if abs(seconds_ahead) <= MOST_SECONDS_OFF:
        return Finding(True, subject, f"within {MOST_SECONDS_OFF:g} s")
    side = "ahead" if seconds_ahead > 0 else "behind"
    return Finding(False, subject, f"this machine is {abs(seconds_ahead):.0f} s {side}: synchronise its clock (NTP)")

"""Asks the daemon that runs to change something; without one, leaves it to the next where a database can be shared."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import Connection

from syncd.cli.outcome import DONE, FAILED, UNREACHABLE, Failure
from syncd.cli.output import Document, Output
from syncd.config import Config
from syncd.daemon.control import PATH, user_name
from syncd.model.clock import Ids, utc_now
from syncd.model.operation import Asked, Kind, Wish
from syncd.store import migrations, operations, reading
from syncd.store.database import Location

ANSWER_SECONDS = 60.0
"""For a daemon to carry out what it was asked."""
MOST_AT_ONCE = 500
"""Wishes in one request."""
OTHER_HOST_SECONDS = 10.0
"""For a daemon elsewhere to find a wish in the tables that they share."""


def carry_out(config: Config, out: Output, wishes: Sequence[Wish]) -> int:
    """Have wishes carried out, and show what became of each; the exit code."""
    return show_outcome(out, asyncio.run(_ask(config, wishes)) if wishes else [])


def planned(subject: str, obstacle: str | None, kind: Kind) -> Document:
    """A row for what would be asked; `obstacle` says why that cannot be."""
    result = obstacle or f"would be asked for: {kind.replace('_', ' ')}"
    return {"id": subject, "ok": obstacle is None, "state": "planned", "result": result}


def show_outcome(out: Output, rows: list[Document]) -> int:
    """Show a row for each wish; the exit code."""
    out.show({"operations": rows}, lambda shown: _render(shown, out))
    return DONE if all(row["ok"] for row in rows) else FAILED


async def begin(config: Config, wish: Wish) -> tuple[str, bool]:
    """Have a long operation begun: its id, and whether a daemon answered that it does it."""
    location = Location.of(config.database.url.reveal())
    answered = await _answers_of_daemon(config.server.control_socket, [wish])
    if answered is not None:
        return str(answered[0]["id"]), True
    if location.kind == "sqlite":
        raise _no_daemon(config)
    return (await _put(location, [wish]))[0].id, False


def _no_daemon(config: Config) -> Failure:
    return Failure(UNREACHABLE, f"no daemon answers at {config.server.control_socket}: start it, then try again")


async def _ask(config: Config, wishes: Sequence[Wish]) -> list[Document]:
    location = Location.of(config.database.url.reveal())
    rows: list[Document] = []
    for start in range(0, len(wishes), MOST_AT_ONCE):
        some = wishes[start : start + MOST_AT_ONCE]
        answered = await _ask_daemon(config.server.control_socket, some)
        if answered is None and location.kind == "sqlite":
            raise _no_daemon(config)
        rows += await _leave(location, some) if answered is None else answered
    return rows


async def _ask_daemon(socket: Path, wishes: Sequence[Wish]) -> list[Document] | None:
    """What the daemon made of them; None where there is no daemon."""
    answered = await _answers_of_daemon(socket, wishes)
    if answered is None:
        return None
    return [
        _row(wish, "done" if one["ok"] else "failed", one["result"]) for wish, one in zip(wishes, answered, strict=True)
    ]


async def _answers_of_daemon(socket: Path, wishes: Sequence[Wish]) -> list[Document] | None:
    body = json.dumps({"wishes": [asdict(wish) for wish in wishes]}).encode()
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=timeout) as client,
            client.post(f"http://daemon{PATH}", data=body) as response,
        ):
            answer = await response.json()
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, PermissionError):
            raise Failure(UNREACHABLE, f"{socket}: run this as the user that syncd runs as") from None
        return None
    except (aiohttp.ClientError, TimeoutError):
        # It may have done it: to leave the wish in the tables besides could do it twice.
        advice = "look whether it was done, then try again"
        raise Failure(UNREACHABLE, f"the daemon was asked, and gave no answer: {advice}") from None
    if response.status != 200:
        advice = "; look whether it was done, then try again" if response.status >= 500 else ""
        raise Failure(UNREACHABLE, f"the daemon refused: {answer.get('error', response.status)}{advice}")
    answers: list[Document] = answer["done"]
    return answers


async def _leave(location: Location, wishes: Sequence[Wish]) -> list[Document]:
    """Write the wishes into the tables, and wait a little: a daemon on another machine may carry them out."""
    asked = await _put(location, wishes)
    deadline = time.monotonic() + OTHER_HOST_SECONDS
    while True:
        found: dict[str, Any] = await reading.read(location, operations.results, [one.id for one in asked])
        if all(row.state != "waiting" for row in found.values()) or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.25)
    left = "no daemon runs now: the next one does it"
    return [
        _row(one.wish, found[one.id].state, left if found[one.id].state == "waiting" else found[one.id].result)
        for one in asked
    ]


async def _put(location: Location, wishes: Sequence[Wish]) -> list[Asked]:
    ids, by, now = Ids(utc_now), user_name(os.getuid()), utc_now()
    asked = [Asked(ids(), wish, by, now) for wish in wishes]

    def add(conn: Connection) -> None:
        migrations.check(conn)
        operations.add(conn, asked)

    await migrations.with_connection(location, add)
    return asked


def _row(wish: Wish, state: str, result: str) -> Document:
    return {"id": wish.subject, "ok": state != "failed", "state": state, "result": result}


def _render(shown: Document, out: Output) -> None:
    if not shown["operations"]:
        out.line("nothing to do")
    for row in shown["operations"]:
        out.line(f"{row['id']}  {'' if row['ok'] else 'not done: '}{row['result']}")

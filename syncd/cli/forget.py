"""`syncd forget`: has a contact erased, then reads everything to see whether anything is left."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import typer
from sqlalchemy import Connection

from syncd.cli.asking import begin
from syncd.cli.outcome import DONE, FAILED, Failure
from syncd.cli.output import Document, Output
from syncd.config import Config
from syncd.model.contact import spellings
from syncd.model.finding import Finder
from syncd.model.operation import Kind, Wish
from syncd.model.text import counted, storable
from syncd.store import forgetting, migrations, operations, reading, remains
from syncd.store.database import Location

LOOK_SECONDS = 0.25
LEFT_SECONDS = 10.0
"""How long we wait whether another host's daemon begins what was put into the tables."""
SHOWN = 5
"""Ids of rows that are shown for one column."""
_CHUNK = 1 << 20


def command(config: Config, out: Output, given: str, *, dry_run: bool, yes: bool) -> int:
    """Do it, or say what would be done; the exit code."""
    contact = storable(given.strip())
    location = Location.of(config.database.url.reveal())
    regions = {link.region for link in config.topology.links}
    contacts = spellings(contact, regions)
    finder = Finder(contacts, regions)
    there = asyncio.run(reading.read(location, _known, contacts, finder, dry_run))
    if there is None:
        raise Failure(FAILED, f"nothing is known of {given}: give the number or address as `syncd trace` shows it")
    if dry_run:
        out.show({"operation": None, "dry_run": True} | there, lambda found: _render_plan(found, out))
        return DONE
    if not yes and not typer.confirm(f"Erase {given} for good: {_counted(there['found'])}?", err=True):
        raise Failure(FAILED, "nothing was changed")
    operation_id, answered = asyncio.run(begin(config, Wish(Kind.FORGET, contact)))
    try:
        with _progress(out):
            row = asyncio.run(_ended(location, operation_id, answered=answered))
    except KeyboardInterrupt:
        raise Failure(FAILED, f"the daemon goes on with it: see `syncd trace {operation_id}`") from None
    progress = forgetting.progress_of(row)
    document = {"operation": operation_id, "dry_run": False, "state": row.state, "result": row.result}
    document["erased"] = msgspec.to_builtins(progress.erased)
    if row.state == "waiting":
        out.show(document | {"result": "no daemon runs now: the next one does it"}, lambda one: out.line(one["result"]))
        return DONE
    document |= _left(location, finder, progress.began)
    out.show(document, lambda found: _render(found, out))
    return DONE if row.state == "done" and not document["left"] else FAILED


def _known(conn: Connection, contacts: Collection[str], finder: Finder, whole: bool) -> Document | None:
    """What there is of the contact; with `whole`, or where no conversation is, all tables are read for it."""
    migrations.check(conn)
    known = remains.known(conn, contacts)
    places = remains.places(conn, finder, None)[0] if whole or known is None else {}
    if known is None and not places:
        return None
    found = msgspec.to_builtins(known or forgetting.Erased())
    found["events"] = len(places.get("event.body", ()))
    return {"found": found, "places": _rows(places)}


def _left(location: Location, finder: Finder, since: datetime | None) -> Document:
    """Where the contact still stands, and how many rows are of somebody who wrote again."""
    places, new = asyncio.run(reading.read(location, remains.places, finder, since))
    if location.kind == "sqlite" and not places and not new:
        places = {path.name: [] for path in _files(location) if _holds(path, finder)}
    return {"left": _rows(places), "new": new}


def _rows(places: dict[str, list[str]]) -> list[Document]:
    return [{"id": place, "rows": len(ids), "first": ids[:SHOWN]} for place, ids in sorted(places.items())]


def _files(location: Location) -> Iterator[Path]:
    for suffix in ("", "-wal"):
        path = location.path.with_name(location.path.name + suffix)
        if path.is_file():
            yield path


def _holds(path: Path, finder: Finder) -> bool:
    """Whether the number stands in a file, also where no row is."""
    longest = max((len(one) for one in finder.plain), default=0)
    with path.open("rb") as file:
        before = b""
        while some := file.read(_CHUNK):
            if any(one in before + some for one in finder.plain):
                return True
            before = some[-longest:]
    return False


async def _ended(location: Location, operation_id: str, *, answered: bool) -> Any:
    """The operation's row when it has ended, or when nobody is there to begin it."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        row = (await reading.read(location, operations.results, [operation_id]))[operation_id]
        nobody = row.state == "waiting" and not answered and loop.time() - began > LEFT_SECONDS
        if row.state not in ("waiting", "running") or nobody:
            return row
        await asyncio.sleep(LOOK_SECONDS)


@contextmanager
def _progress(out: Output) -> Iterator[None]:
    if out.as_json or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status("the daemon erases it, a little at a time"):
        yield


def _counted(found: Document) -> str:
    return ", ".join(counted(found[f"{noun}s"], noun) for noun in ("conversation", "message", "file"))


def _render_plan(shown: Document, out: Output) -> None:
    found = shown["found"]
    out.line(f"{_counted(found)}, {found['deliveries']} deliveries not settled")
    out.table("Where it stands", {"id": "column", "rows": "rows"}, shown["places"], empty="nowhere")


def _render(shown: Document, out: Output) -> None:
    out.line(shown["result"])
    if shown["new"]:
        out.line(f"The contact is there again since then, and new: {shown['new']} rows.")
    if not shown["left"]:
        out.line("Looked through all tables: nothing is left.")
        return
    out.table("Left", {"id": "where", "rows": "rows", "first": "the first of them"}, shown["left"], empty="nothing")
    if not any(row["rows"] for row in shown["left"]):
        out.line("No row has it, only free space of the file: stop the daemon and run VACUUM on the database.")

"""`syncd dead` and `syncd unknown`: deliveries that were given up, or whose answer was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from syncd.cli.asking import carry_out, planned, show_outcome
from syncd.cli.outcome import DONE, FAILED, Failure
from syncd.cli.output import Document, Output, rfc3339
from syncd.config import Config
from syncd.model.operation import Kind, Wish
from syncd.store import held, migrations, operations, reading
from syncd.store.database import Location
from syncd.store.held import HeldDelivery

MOST_SHOWN = 1000
"""Deliveries in a list; `--all` takes all that there are."""
_WIDEST = 40
"""Characters of a reason in the table; `show` and `--json` have all of it."""


def show_list(config: Config, out: Output, state: str, *, link: str | None) -> int:
    """The deliveries in a state (`dead` or `unknown`), the oldest first."""

    def report(conn: Connection) -> Document:
        migrations.check(conn)
        found = held.listed(conn, state, link=link, limit=MOST_SHOWN + 1)
        return {"deliveries": [_row(one) for one in found[:MOST_SHOWN]], "more": len(found) > MOST_SHOWN}

    document = asyncio.run(reading.read(_location(config), report))
    out.show(document, lambda shown: _render_list(shown, out, state))
    return DONE


def show_one(config: Config, out: Output, delivery_id: str) -> int:
    """One delivery with its payload, every attempt, and what operators decided."""

    def report(conn: Connection) -> Document | None:
        migrations.check(conn)
        found = held.one(conn, delivery_id)
        if found is None:
            return None
        return _row(found) | {
            "reference": found.row.reference,
            "author": found.row.author,
            "extension": found.row.extension,
            "text": found.text,
            "attempts": [_attempt(row) for row in held.attempts(conn, delivery_id)],
            "operations": [_operation(row) for row in operations.about(conn, delivery_id)],
        }

    document = asyncio.run(reading.read(_location(config), report))
    if document is None:
        raise Failure(FAILED, f"no delivery has the id {delivery_id}: see `syncd dead list` and `syncd unknown list`")
    out.show(document, lambda shown: _render_one(shown, out))
    return DONE


def decide(
    config: Config, out: Output, kind: Kind, ids: Sequence[str], *, all_of: str | None, detail: str = "", dry_run: bool
) -> int:
    """Ask the daemon for the same for several deliveries; with `all_of` for all that are in that state."""
    subjects = list(ids) if all_of is None else _ids(config, all_of)
    if dry_run:
        return _plan(config, out, kind, subjects)
    return carry_out(config, out, [Wish(kind, one, detail) for one in subjects])


def _plan(config: Config, out: Output, kind: Kind, ids: Sequence[str]) -> int:
    """What would be asked; made of readers only."""
    wanted = "dead" if kind in (Kind.RETRY, Kind.DROP) else "unknown"

    def read(conn: Connection) -> list[Document]:
        migrations.check(conn)
        return [planned(one, _obstacle(held.one(conn, one), wanted), kind) for one in ids]

    return show_outcome(out, asyncio.run(reading.read(_location(config), read)))


def _obstacle(found: HeldDelivery | None, wanted: str) -> str | None:
    if found is None:
        return "no delivery has this id"
    return None if found.row.state == wanted else f"it is {found.row.state} now, not {wanted}"


def _ids(config: Config, state: str) -> list[str]:
    def read(conn: Connection) -> list[str]:
        migrations.check(conn)
        return [one.row.id for one in held.listed(conn, state)]

    return asyncio.run(reading.read(_location(config), read))


def _location(config: Config) -> Location:
    return Location.of(config.database.url.reveal())


def _row(one: HeldDelivery) -> Document:
    row = one.row
    return {
        "id": row.id,
        "state": row.state,
        "since": rfc3339(row.updated_at),
        "link": row.link,
        "contact": row.contact,
        "target": row.target,
        "message": row.message,
        "said_at": rfc3339(row.said_at),
        "tries": row.attempts,
        "reason": row.reason,
    }


def _attempt(row: Any) -> Document:
    return {
        "at": rfc3339(row.at),
        "number": row.number,
        "class": row._mapping["class"],
        "http_status": row.http_status,
        "took_ms": row.took_ms,
        "reason": row.reason,
        "answer": row.answer,
    }


def _operation(row: Any) -> Document:
    return {
        "id": row.id,
        "kind": row.kind,
        "detail": row.detail,
        "by": row.asked_by,
        "at": rfc3339(row.asked_at),
        "state": row.state,
        "result": row.result,
    }


def _render_list(shown: Document, out: Output, state: str) -> None:
    columns = {"id": "id", "since": "since", "link": "link", "contact": "contact", "target": "target", "why": "why"}
    rows = [
        row | {"why": row["reason"] if len(row["reason"]) <= _WIDEST else row["reason"][: _WIDEST - 1] + "…"}
        for row in shown["deliveries"]
    ]
    title = "Given up" if state == "dead" else "In doubt: the answer was lost"
    title += f" (the first {MOST_SHOWN})" if shown["more"] else ""
    out.table(title, columns, rows, empty="none")


def _render_one(shown: Document, out: Output) -> None:
    for key, value in shown.items():
        if not isinstance(value, list):
            out.line(f"{key:10} {value if value is not None else '-'}")
    columns = {"at": "at", "class": "class", "http_status": "status", "took_ms": "ms", "reason": "reason"}
    out.table("Attempts", columns, shown["attempts"], empty="none")
    columns = {"at": "at", "by": "by", "kind": "what", "state": "state", "result": "result"}
    out.table("Operators", columns, shown["operations"], empty="none")

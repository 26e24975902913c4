"""`syncd status`: what the database knows of accounts, links and lanes; read-only, daemon or none."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from syncd.cli.outcome import DONE
from syncd.cli.output import Document, Output, rfc3339
from syncd.config import Account, Config
from syncd.model.work import extension_of
from syncd.store import migrations, operations, reading, reports
from syncd.store.database import Location

WATCH_SECONDS = 2.0
MOST_LANES = 100
"""Lanes that are told of one by one; those that wait longest come first."""
_NO_REASON = "its turn has come"
_CLEAR = "\x1b[H\x1b[2J"


def command(config: Config, out: Output, *, watch: bool) -> int:
    """Show it once, or again and again until Ctrl-C."""
    location = Location.of(config.database.url.reveal())
    if not watch:
        _show(config, location, out)
        return DONE
    try:
        while True:
            if sys.stdout.isatty():
                out.write(_CLEAR)
            _show(config, location, out)
            time.sleep(WATCH_SECONDS)
            if not sys.stdout.isatty():
                out.line()
    except KeyboardInterrupt:
        return DONE


def _show(config: Config, location: Location, out: Output) -> None:
    document = asyncio.run(reading.read(location, _report, config, datetime.now(UTC)))
    out.show(document, lambda shown: _render(shown, out))


def _report(conn: Connection, config: Config, now: datetime) -> Document:
    """All of it in one transaction. Raises `DatabaseError` for a schema that is not ours."""
    migrations.check(conn)
    counts = reports.counts(conn)
    states, told, polled = (
        reports.account_states(conn),
        reports.last_events(conn, config.accounts),
        reports.cursors(conn),
    )
    carried = reports.messages_by_link(conn)
    paused = operations.paused(conn)
    lanes = reports.waiting_lanes(conn, MOST_LANES + 1)
    return {
        "at": rfc3339(now),
        "backlog": counts["backlog"],
        "oldest": rfc3339(reports.oldest(conn)),
        "dead": counts["dead"],
        "unknown": counts["unknown"],
        "events_waiting": reports.events_waiting(conn),
        "accounts": [
            _account(account, config, states.get(name), told.get(name), polled, now) | _pause(paused.get(name))
            for name, account in config.accounts.items()
        ],
        "links": [
            {
                "id": link.name,
                "conversations": carried.get(link.name, (0, 0))[0],
                "messages": carried.get(link.name, (0, 0))[1],
                "state": "up",
                "reason": "",
            }
            | _pause(paused.get(link.name))
            for link in config.topology.links
        ],
        "lanes": [_lane(row, config, paused) for row in lanes[:MOST_LANES]],
        "more_lanes": len(lanes) > MOST_LANES,
    }


def _account(
    account: Account,
    config: Config,
    state: Any,
    last_event: datetime | None,
    polled: dict[tuple[str, str], datetime],
    now: datetime,
) -> Document:
    lags = [
        (now - polled[account.name, end.key]).total_seconds()
        for end in config.ends[account.name]
        if (account.name, end.key) in polled and getattr(account.settings, "poll_interval", None)
    ]
    return {
        "id": account.name,
        "platform": account.platform,
        "state": state.state if state is not None else "up",
        "reason": state.reason if state is not None else "",
        "since": rfc3339(state.since) if state is not None else None,
        "last_event": rfc3339(last_event),
        "poll_lag": round(max(0.0, *lags), 1) if lags else None,
    }


def _pause(row: Any) -> Document:
    """What a pause changes in a row."""
    if row is None:
        return {}
    return {"state": "paused", "reason": f"by {row.asked_by}", "since": rfc3339(row.since)}


def _lane(row: dict[str, Any], config: Config, paused: Mapping[str, Any]) -> Document:
    return {
        "id": row["id"],
        "link": row["link"],
        "contact": row["contact"],
        "target": row["target"],
        "deliveries": row["deliveries"],
        "since": rfc3339(row["since"]),
        "due_at": rfc3339(row["due_at"]),
        "why": _paused(row, config, paused) or row["why"] or _NO_REASON,
    }


def _paused(row: dict[str, Any], config: Config, paused: Mapping[str, Any]) -> str | None:
    """Which pause keeps a lane."""
    link = config.topology.link(row["link"])
    if link is None:
        return None
    account = link.channel.account if extension_of(row["target"]) is None else link.desk.account
    kept = next((name for name in (link.name, account) if name in paused), None)
    return f"{kept} is paused" if kept is not None else None


def _stated(row: Document) -> str:
    return f"{row['state']}: {row['reason']}" if row["reason"] else str(row["state"])


def _render(shown: Document, out: Output) -> None:
    out.line(f"at       {shown['at']}")
    out.line(f"backlog  {shown['backlog']} (the oldest of {shown['oldest']})" if shown["backlog"] else "backlog  0")
    out.line(f"dead     {shown['dead']}")
    out.line(f"unknown  {shown['unknown']}")
    out.table(
        "Accounts",
        {"id": "id", "platform": "platform", "state": "state", "last_event": "last event", "poll_lag": "poll lag (s)"},
        [row | {"state": _stated(row)} for row in shown["accounts"]],
        empty="none",
    )
    out.table(
        "Links",
        {"id": "id", "state": "state", "conversations": "conversations", "messages": "messages"},
        [row | {"state": _stated(row)} for row in shown["links"]],
        empty="none",
    )
    out.table(
        "Lanes that wait" + (f" (the first {MOST_LANES})" if shown["more_lanes"] else ""),
        {
            "link": "link",
            "contact": "contact",
            "target": "target",
            "deliveries": "n",
            "since": "since",
            "why": "why",
        },
        shown["lanes"],
        empty="none",
    )

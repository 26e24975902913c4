"""Which statements read more and more as the tables grow, as SQLite plans them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

GROWING = ("event", "conversation", "message", "mapping", "lane", "delivery", "session", "attempt")
PARTIAL = ("ix_event_waiting", "ix_event_parked", "ix_mapping_nameless", "ix_lane_busy", "ix_delivery_head")
"""Indexes of what is unfinished: to read one from end to end is to look at that."""
NARROWS_NOTHING = ("(account=?)", "SEARCH lane USING PRIMARY KEY (id>?)")
"""What an account has, or all lanes behind one, is most of a table."""


def growing(database: Path, sent: Iterable[str]) -> dict[str, list[str]]:
    """The statements that read a table from end to end, or most of it, and their plans. `database` has the schema."""
    found = {}
    with closing(sqlite3.connect(database)) as connection:
        for statement in {" ".join(one.split()) for one in sent}:
            if not statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
                continue
            nothing = (None,) * statement.count("?")
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", nothing)]
            if any(_reads_much(step) for step in plan):
                found[statement] = plan
    return found


def _reads_much(step: str) -> bool:
    if step.startswith(tuple(f"SCAN {table}" for table in GROWING)):
        return not step.endswith(PARTIAL)
    return step.startswith(tuple(f"SEARCH {table} " for table in GROWING)) and step.endswith(NARROWS_NOTHING)

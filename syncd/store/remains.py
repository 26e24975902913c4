"""What there is of a contact before it is erased, and what is left afterwards, in rows and in SQLite's files."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, LargeBinary, Text, and_, func, select
from sqlalchemy.exc import DBAPIError

from syncd.model.finding import Finder
from syncd.store.database import Location, writing_engine
from syncd.store.forgetting import PAGE, UNSETTLED, Erased, conversations_of
from syncd.store.schema import delivery, message, metadata
from syncd.store.schema import media as files
from syncd.store.schema import session as sessions

MOST_COMPACTED = 64_000_000
"""Bytes of a SQLite file that is written anew afterwards, which takes about a second."""


def known(conn: Connection, contacts: Collection[str]) -> Erased | None:
    """What there is of a contact, so far as counting is quick (no events); None where there is nothing."""
    ids = conversations_of(conn, contacts)
    chats = conn.execute(select(sessions.c.id).where(sessions.c.contact.in_(contacts)).limit(1)).first()
    if not ids and chats is None:
        return None
    its = select(message.c.id).where(message.c.conversation_id.in_(ids))

    def count(where: Any, table: Any) -> int:
        return int(conn.execute(select(func.count()).select_from(table).where(where)).scalar_one())

    return Erased(
        conversations=len(ids),
        messages=count(and_(message.c.id.in_(its), message.c.body.is_not(None)), message),
        files=count(and_(files.c.message.in_(its), files.c.state != "missing"), files),
        deliveries=count(and_(delivery.c.message.in_(its), delivery.c.state.in_(UNSETTLED)), delivery),
    )


_TIMES = ("received_at", "asked_at", "created_at", "at", "since", "updated_at")
"""When a row was made, by the first of these columns that its table has."""


def places(conn: Connection, finder: Finder, since: datetime | None) -> tuple[dict[str, list[str]], int]:
    """Read all tables: the columns in which the contact stands, each with ids of rows; and how many rows are new.

    New is what was made after `since`: of somebody who wrote again.
    """
    found: dict[str, list[str]] = {}
    new = 0
    for table in metadata.sorted_tables:
        made = next((table.c[name] for name in _TIMES if name in table.c), None)
        columns = [one for one in table.c if isinstance(one.type, Text | LargeBinary)]
        if not columns:
            continue
        name = next(one for one in columns)
        wanted = [one for one in (*columns, made) if one is not None]
        for row in conn.execute(select(*wanted).execution_options(yield_per=PAGE)):
            here = [one.name for one, value in zip(columns, row, strict=False) if finder.finds(value)]
            if not here:
                continue
            if since is not None and made is not None and row._mapping[made] > since:
                new += 1
                continue
            for column in here:
                found.setdefault(f"{table.name}.{column}", []).append(str(row._mapping[name]))
    return found, new


def compact(location: Location) -> bool:
    """SQLite: write the file anew, for pages keep remains of what once stood in them, beside any row.

    False where that would keep the daemon's writer waiting for too long, or is not possible now. Not for PostgreSQL,
    which does so by itself (`VACUUM`).
    """
    if location.path.stat().st_size > MOST_COMPACTED:
        return False
    engine = writing_engine(location, create=False)
    try:
        with closing(engine.raw_connection()) as connection:
            # The driver's own, for it cannot be done in a transaction.
            connection.cursor().execute("VACUUM")
    except (DBAPIError, sqlite3.Error):
        return False
    finally:
        engine.dispose()
    return True


def empty_log(conn: Connection) -> bool:
    """SQLite: have what was overwritten leave the write-ahead log, too. False where a reader is in the way."""
    return not conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]

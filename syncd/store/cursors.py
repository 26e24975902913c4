"""Poll cursors: moved in the transaction that stores the page (G1); one process polls an end at a time."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from syncd.failpoints import step, unit
from syncd.store import dialect
from syncd.store.schema import cursor


@unit("cursor_take")
def take(conn: Connection, account: str, end: str, owner: str, lease: timedelta) -> tuple[bool, str | None]:
    """Become the one that polls this end: (whether we are, the cursor; None before the first poll)."""
    now = dialect.now(conn)
    dialect.insert_rows(
        conn,
        cursor,
        [{"account": account, "end": end, "value": "", "updated_at": now, "owner": None, "lease_until": None}],
        skip_known=True,
    )
    taken = conn.execute(
        update(cursor)
        .where(
            cursor.c.account == account,
            cursor.c.end == end,
            cursor.c.owner.is_(None) | (cursor.c.owner == owner) | (cursor.c.lease_until < now),
        )
        .values(owner=owner, lease_until=now + lease)
    )
    value = conn.execute(select(cursor.c.value).where(cursor.c.account == account, cursor.c.end == end)).scalar_one()
    return bool(taken.rowcount), value or None


@step("cursor_move")
def move(conn: Connection, account: str, end: str, value: str, owner: str, now: datetime) -> bool:
    """Move the cursor, if the end is still ours; whether it is."""
    moved = conn.execute(
        update(cursor)
        .where(cursor.c.account == account, cursor.c.end == end, cursor.c.owner == owner)
        .values(value=value, updated_at=now)
    )
    return bool(moved.rowcount)


@unit("disown_cursors")
def disown_all(conn: Connection) -> None:
    """Give up every end. Only for the one process of a SQLite database, at its start: whoever polled is dead."""
    conn.execute(update(cursor).where(cursor.c.owner.is_not(None)).values(owner=None, lease_until=None))


@unit("cursor_leave")
def leave(conn: Connection, owner: str) -> None:
    """Give up every end that this process polls."""
    conn.execute(update(cursor).where(cursor.c.owner == owner).values(owner=None, lease_until=None))

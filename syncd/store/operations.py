"""Operations: what operators ask for and what became of it, on record; and what they have paused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, delete, select, update

from syncd.failpoints import step, unit
from syncd.model.operation import LONG, Asked, Done, Kind, Wish
from syncd.store import dialect
from syncd.store.dialect import insert_rows, insert_unless_known
from syncd.store.schema import operation, pause


@step("ask")
def add(conn: Connection, asked: Sequence[Asked]) -> None:
    """Put wishes on record, to be carried out."""
    insert_rows(
        conn,
        operation,
        [
            {
                "id": one.id,
                "kind": one.wish.kind,
                "subject": one.wish.subject,
                "detail": one.wish.detail,
                "asked_by": one.by,
                "asked_at": one.at,
                "state": "waiting",
                "result": "",
            }
            for one in asked
        ],
    )


_WAITS = and_(operation.c.state == "waiting", operation.c.kind.in_([kind for kind in Kind if kind not in LONG]))
"""What a newer syncd can be asked for waits for a newer one."""


def take(conn: Connection, limit: int) -> list[Asked]:
    """The wishes that wait, the oldest first; on PostgreSQL those that no other process is carrying out now."""
    statement = select(operation).where(_WAITS).order_by(operation.c.id).limit(limit).with_for_update(skip_locked=True)
    return [
        Asked(row.id, Wish(Kind(row.kind), row.subject, row.detail), row.asked_by, row.asked_at)
        for row in conn.execute(statement)
    ]


def any_waiting(conn: Connection) -> bool:
    """Whether a wish waits to be carried out."""
    return conn.execute(select(operation.c.id).where(_WAITS).limit(1)).first() is not None


def conclude(conn: Connection, done: Done, now: datetime) -> None:
    """Write what became of a wish."""
    conn.execute(
        update(operation)
        .where(operation.c.id == done.id)
        .values(state="done" if done.ok else "failed", result=done.result, done_at=now)
    )


def any_long(conn: Connection, kinds: Sequence[Kind]) -> bool:
    """Whether an operation of these kinds waits, or is under way somewhere."""
    going = operation.c.state.in_(("waiting", "running"))
    return conn.execute(select(operation.c.id).where(operation.c.kind.in_(kinds), going).limit(1)).first() is not None


def take_long(conn: Connection, kinds: Sequence[Kind], lease: timedelta, alone: bool) -> Asked | None:
    """Begin the oldest operation of these kinds, or go on with one that a dead process had; None where there is none.

    `alone`: no other process can have one.
    """
    now = dialect.now(conn)
    ended = operation.c.lease_until.is_(None) | (operation.c.lease_until < now)
    begun = operation.c.state == "running" if alone else and_(operation.c.state == "running", ended)
    row = conn.execute(
        select(operation)
        .where(operation.c.kind.in_(kinds), begun | (operation.c.state == "waiting"))
        .order_by(operation.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if row is None:
        return None
    conn.execute(update(operation).where(operation.c.id == row.id).values(state="running", lease_until=now + lease))
    return Asked(row.id, Wish(Kind(row.kind), row.subject, row.detail), row.asked_by, row.asked_at)


@unit("resync_report")
def report(conn: Connection, operation_id: str, progress: str, lease: timedelta) -> bool:
    """Say how far a long operation has come, and keep it; False where somebody has stopped it."""
    its = and_(operation.c.id == operation_id, operation.c.state == "running")
    until = dialect.now(conn) + lease
    return bool(conn.execute(update(operation).where(its).values(progress=progress, lease_until=until)).rowcount)


@unit("resync_end")
def conclude_long(conn: Connection, done: Done, now: datetime) -> None:
    """Write what became of a long operation."""
    conclude(conn, done, now)


def stop(conn: Connection, operation_id: str, by: str, now: datetime) -> bool:
    """End a resync where it is; False where it has ended, or there is none."""
    going = and_(
        operation.c.id == operation_id, operation.c.kind == Kind.RESYNC, operation.c.state.in_(("waiting", "running"))
    )
    values = {"state": "stopped", "result": f"stopped by {by}", "done_at": now}
    return bool(conn.execute(update(operation).where(going).values(**values)).rowcount)


def results(conn: Connection, ids: Sequence[str]) -> dict[str, Any]:
    """The rows of these wishes, by id."""
    return {row.id: row for row in conn.execute(select(operation).where(operation.c.id.in_(ids)))}


def about(conn: Connection, subject: str) -> list[Any]:
    """All that was ever asked for a delivery, account or link, the oldest first."""
    return list(conn.execute(select(operation).where(operation.c.subject == subject).order_by(operation.c.id)))


def resumed_since(conn: Connection, since: datetime) -> dict[str, str]:
    """The accounts and links that somebody resumed after that time, by operation."""
    rows = conn.execute(
        select(operation.c.id, operation.c.subject).where(
            operation.c.kind == Kind.RESUME, operation.c.state == "done", operation.c.done_at > since
        )
    )
    return {row.id: row.subject for row in rows}


def pause_sending(conn: Connection, name: str, by: str, now: datetime) -> bool:
    """Pause an account or link; False where it was paused already."""
    return insert_unless_known(conn, pause, {"name": name, "asked_by": by, "since": now})


def resume_sending(conn: Connection, name: str) -> bool:
    """End a pause; False where there was none."""
    return bool(conn.execute(delete(pause).where(pause.c.name == name)).rowcount)


def paused(conn: Connection) -> dict[str, Any]:
    """The accounts and links that are paused, with who did it and since when."""
    return {row.name: row for row in conn.execute(select(pause))}

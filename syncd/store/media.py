"""The files of messages: told of, fetched under a lease, kept or missing, and removed when their time is over.

Whoever fetches a file has claimed it for a time, and keeps its bytes under a key that is named in its row. Every unit
names that key: what another process has claimed meanwhile is not written to any more.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, text, update

from syncd.failpoints import unit
from syncd.model.filename import plain_name
from syncd.model.files import Attachment, FileKind
from syncd.model.parts import KeptFile
from syncd.model.text import storable
from syncd.store import blobs, dialect
from syncd.store.blobs import Blob
from syncd.store.dialect import fetch, insert_rows
from syncd.store.schema import blob, media

NOT_PROVIDED = "not provided"
REMOVED = "removed by retention"
FORGOTTEN = "removed by request"
_TOKEN_BYTES = 24
_LARGEST = 2**31 - 1
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_WANTED = media.c.state == text("'wanted'")
"""Written into the statement, so that both databases see that the partial index serves."""
_KEPT_COLUMNS = (
    media.c.message,
    media.c.kind,
    media.c.name,
    media.c.content_type,
    media.c.size,
    media.c.state,
    media.c.reason,
    media.c.hash,
    media.c.token,
    media.c.place,
)
_ACCOUNTS = (media.c.id, media.c.account)
_REMOVABLE = (media.c.id, media.c.hash, media.c.state, media.c.reason)


@dataclass(frozen=True, slots=True)
class Job:
    """A file that this process has claimed, to fetch it."""

    id: str
    key: str
    """What its parts are stored under, and what its units name."""
    message: str
    url: str = field(repr=False)
    kind: FileKind
    name: str
    content_type: str | None
    sha256: str | None
    attempts: int
    """This one included."""


@dataclass(frozen=True, slots=True)
class Served:
    """A file that its address serves."""

    name: str
    content_type: str
    hash: str
    size: int
    parts: int


def add(
    conn: Connection,
    message_id: str,
    account: str,
    attachments: Sequence[Attachment],
    now: datetime,
    ids: Callable[[], str],
) -> list[str]:
    """Store the files of a new message; the ids of those that are to be fetched, for `Keeper.wanted`."""
    rows = [_row(message_id, account, place, one, now, ids()) for place, one in enumerate(attachments)]
    insert_rows(conn, media, rows)
    return [row["id"] for row in rows if row["state"] == "wanted"]


def _row(message_id: str, account: str, place: int, told: Attachment, now: datetime, media_id: str) -> dialect.Row:
    sha256 = (told.sha256 or "").lower()
    return {
        "id": media_id,
        "token": secrets.token_urlsafe(_TOKEN_BYTES),
        "message": message_id,
        "place": place,
        "account": account,
        "url": storable(told.url) if told.url else None,
        "kind": told.kind.value,
        "name": plain_name(told.name or ""),
        "content_type": storable(told.content_type) if told.content_type else None,
        "size": told.size if told.size is not None and 0 <= told.size <= _LARGEST else None,
        "sha256": sha256 if _SHA256.fullmatch(sha256) else None,
        "state": "wanted" if told.url else "missing",
        "reason": "" if told.url else NOT_PROVIDED,
        "hash": None,
        "attempts": 0,
        "due_at": now if told.url else None,
        "created_at": now,
        "expires_at": None,
    }


def of_messages(conn: Connection, message_ids: Iterable[str]) -> dict[str, tuple[KeptFile, ...]]:
    """The files of each of these messages that has any, in their order."""
    found: dict[str, tuple[KeptFile, ...]] = {}
    for row in fetch(conn, _KEPT_COLUMNS, (media.c.message,), message_ids, order=(media.c.message, media.c.place)):
        message, kind, name, content_type, size, state, reason, hash_, token, place = row
        blob_hash = hash_ if state == "kept" else None
        kept = KeptFile(place, FileKind(kind), name, content_type, size, state, reason, token, blob_hash)
        found[message] = (*found.get(message, ()), kept)
    return found


def by_token(conn: Connection, token: str, now: datetime) -> Served | None:
    """What the address with this token serves now; None where it serves nothing, whyever."""
    row = conn.execute(_BY_TOKEN, {"given": token, "moment": now}).one_or_none()
    return Served(*row) if row is not None else None


_BY_TOKEN = (
    select(media.c.name, media.c.content_type, media.c.hash, blob.c.size, blob.c.parts)
    .join(blob, blob.c.hash == media.c.hash)
    .where(
        media.c.token == bindparam("given"),
        media.c.state == text("'kept'"),
        or_(media.c.expires_at.is_(None), media.c.expires_at > bindparam("moment", type_=media.c.expires_at.type)),
    )
)


def accounts_of(conn: Connection, media_ids: Iterable[str]) -> list[tuple[str, str]]:
    """Those of these files that are to be fetched: (id, account)."""
    return [(row.id, row.account) for row in fetch(conn, _ACCOUNTS, (media.c.id,), media_ids, where=_WANTED)]


def due(conn: Connection, accounts: Iterable[str], limit: int) -> list[tuple[str, str]]:
    """The files that are to be fetched and that nobody has claimed, the oldest of each account: (id, account)."""
    now = dialect.now(conn)
    return [
        (row.id, account)
        for account in accounts
        for row in conn.execute(
            select(media.c.id)
            .where(_WANTED, media.c.account == account, media.c.due_at <= now)
            .order_by(media.c.due_at)
            .limit(limit)
        )
    ]


@unit("media_claim")
def claim(conn: Connection, media_id: str, key: str, lease: timedelta) -> Job | None:
    """Take a file that is due for so long; None where it is not, or another has it.

    Parts that an earlier attempt left are deleted.
    """
    now = dialect.now(conn)
    row = conn.execute(
        select(media).where(media.c.id == media_id, _WANTED, media.c.due_at <= now).with_for_update()
    ).one_or_none()
    if row is None:
        return None
    _drop_parts(conn, row.hash)
    values = {"hash": key, "attempts": row.attempts + 1, "due_at": now + lease}
    conn.execute(update(media).where(media.c.id == media_id).values(values))
    kind = FileKind(row.kind)
    return Job(row.id, key, row.message, row.url, kind, row.name, row.content_type, row.sha256, row.attempts + 1)


@unit("media_part")
def put_part(conn: Connection, job: Job, number: int, data: bytes) -> bool:
    """Store a part of a file that is coming. False: another process has claimed it, and nothing is stored."""
    if not _claimed(conn, job.id, job.key):
        return False
    blobs.put_part(conn, job.key, number, data)
    return True


@unit("media_keep")
def keep(conn: Connection, job: Job, made: Blob, name: str, now: datetime, expires_at: datetime) -> bool:
    """All of the file has come. False: another process has claimed it."""
    if not _claimed(conn, job.id, job.key):
        # A commit that went unanswered is asked for again.
        return _stands(conn, job, state="kept", hash=made.hash)
    blobs.finish(conn, job.key, made, now)
    kept = {"name": name, "content_type": made.content_type, "size": made.size, "expires_at": expires_at}
    _settle(conn, job, {"state": "kept", "reason": "", "hash": made.hash, **kept})
    return True


@unit("media_miss")
def miss(conn: Connection, job: Job, reason: str) -> bool:
    """The file cannot be had. False: another process has claimed it."""
    if not _claimed(conn, job.id, job.key):
        return _stands(conn, job, state="missing", reason=reason)
    blobs.drop_parts(conn, [job.key])
    _settle(conn, job, {"state": "missing", "reason": reason, "hash": None})
    return True


@unit("media_postpone")
def postpone(conn: Connection, job: Job, seconds: float) -> None:
    """The file could not be had now: it is due again after so long."""
    if _claimed(conn, job.id, job.key):
        blobs.drop_parts(conn, [job.key])
        due_at = dialect.now(conn) + timedelta(seconds=seconds)
        conn.execute(update(media).where(media.c.id == job.id).values(hash=None, due_at=due_at))


@unit("media_release")
def release(conn: Connection, claims: Sequence[tuple[str, str]]) -> list[None]:
    """Give files back that were claimed for nothing (id, key): they are due at once, and the attempt does not count."""
    for media_id, key in claims:
        if _claimed(conn, media_id, key):
            blobs.drop_parts(conn, [key])
            values = {"hash": None, "attempts": media.c.attempts - 1, "due_at": dialect.now(conn)}
            conn.execute(update(media).where(media.c.id == media_id).values(values))
    return [None] * len(claims)


@unit("disown_media")
def disown_all(conn: Connection) -> None:
    """Whoever had claimed files is dead: all of them are due at once."""
    claimed = conn.execute(select(media.c.id, media.c.hash).where(_WANTED, media.c.hash.is_not(None))).all()
    _drop_parts(conn, *(row.hash for row in claimed))
    for row in claimed:
        conn.execute(update(media).where(media.c.id == row.id).values(hash=None, due_at=dialect.now(conn)))


@unit("media_remove")
def remove_older(conn: Connection, before: datetime, limit: int) -> int:
    """Remove at most `limit` files that were told of before then, with all that is known of them; how many were.

    Their rows stay, as missing. Bytes that no other file has are deleted.
    """
    rows = conn.execute(
        select(media.c.id, media.c.hash, media.c.state)
        .where(media.c.created_at < before, media.c.reason != text(f"'{REMOVED}'"))
        .order_by(media.c.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    _remove(conn, rows, REMOVED)
    return len(rows)


def remove_of(conn: Connection, message_ids: Iterable[str]) -> int:
    """Remove the files of these messages in the same way; how many were there. Whoever fetches one stores no more."""
    there = fetch(conn, _REMOVABLE, (media.c.message,), sorted(set(message_ids)), order=(media.c.id,), lock=True)
    rows = [row for row in there if row.reason not in (REMOVED, FORGOTTEN)]
    _remove(conn, rows, FORGOTTEN)
    return len(rows)


def _remove(conn: Connection, rows: Sequence[Any], reason: str) -> None:
    nothing: dialect.Row = dict.fromkeys(("url", "content_type", "sha256", "hash", "due_at", "expires_at"))
    for row in rows:
        gone = {"state": "missing", "reason": reason, "name": "", **nothing}
        conn.execute(update(media).where(media.c.id == row.id).values(gone))
    _drop_parts(conn, *(row.hash for row in rows if row.state == "wanted"))
    blobs.drop_unused(conn, [row.hash for row in rows if row.state == "kept"])


def _claimed(conn: Connection, media_id: str, key: str) -> bool:
    """Whether this claim of the file still holds; if so, its row is locked."""
    return (
        conn.execute(
            select(media.c.id).where(media.c.id == media_id, _WANTED, media.c.hash == key).with_for_update()
        ).one_or_none()
        is not None
    )


def _stands(conn: Connection, job: Job, **as_settled: str) -> bool:
    wanted = [media.c[name] == value for name, value in as_settled.items()]
    return conn.execute(select(media.c.id).where(media.c.id == job.id, *wanted)).one_or_none() is not None


def _settle(conn: Connection, job: Job, values: dialect.Row) -> None:
    conn.execute(update(media).where(media.c.id == job.id).values(url=None, due_at=None, **values))


def _drop_parts(conn: Connection, *keys: str | None) -> None:
    """Delete what has come of files that are wanted; None: nothing has."""
    blobs.drop_parts(conn, [key for key in keys if key is not None])

"""The bytes of files, in parts: any process can serve and send them, and a backup is one thing.

A file's hash is known when its last byte has come. Until then its parts lie under a key of their own; their last
transaction names them anew and inserts the blob's row, and only with that row they are a file. Equal bytes are one
blob.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, exists, select, text, update

from syncd.store.dialect import insert_rows, insert_unless_known, run
from syncd.store.schema import blob, blob_part, media

PART_BYTES: Final = 262_144
"""Bytes of every part of a blob but its last one. Ranges are found by it, so it is the same for ever."""
_KEY_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class Blob:
    """What is known of a file's bytes."""

    hash: str
    size: int
    content_type: str
    parts: int


_FIND = select(blob.c.hash, blob.c.size, blob.c.content_type, blob.c.parts).where(blob.c.hash == bindparam("of"))
_LOCK = _FIND.with_for_update()
_PART = select(blob_part.c.data).where(
    blob_part.c.hash == bindparam("of"), blob_part.c.number == bindparam("nth", type_=blob_part.c.number.type)
)


def key_of(name: str) -> str:
    """The key of the parts of bytes whose hash is not known yet.

    As long as a hash: SQLite then writes the first page of each part anew when it is renamed, and else all of it.
    """
    return f"new-{name}".ljust(_KEY_LENGTH, "-")


def find(conn: Connection, hash_: str) -> Blob | None:
    """The blob of this hash."""
    rows = run(conn, _FIND, {"of": hash_})
    return Blob(*rows[0]) if rows else None


def part(conn: Connection, hash_: str, number: int) -> bytes | None:
    """One part of a blob's bytes; None where it is not there any more."""
    rows: list[Any] = run(conn, _PART, {"of": hash_, "nth": number})
    return bytes(rows[0].data) if rows else None


def put_part(conn: Connection, key: str, number: int, data: bytes) -> None:
    """Store a part of bytes that are coming."""
    insert_rows(conn, blob_part, [{"hash": key, "number": number, "data": data}])


def drop_parts(conn: Connection, keys: Iterable[str]) -> None:
    """Delete the parts under these keys."""
    for key in keys:
        conn.execute(delete(blob_part).where(blob_part.c.hash == key))


def finish(conn: Connection, key: str, made: Blob, now: datetime) -> None:
    """All parts under `key` have come: they are this blob, or copies of one that is there already.

    Until the end of the transaction nobody can delete that blob: who refers to it is then seen.
    """
    row = {
        "hash": made.hash,
        "size": made.size,
        "content_type": made.content_type,
        "parts": made.parts,
        "created_at": now,
    }
    while not insert_unless_known(conn, blob, row):
        if run(conn, _LOCK, {"of": made.hash}):
            drop_parts(conn, [key])
            return
        # It was deleted while its row was waited for.
    conn.execute(update(blob_part).where(blob_part.c.hash == key).values(hash=made.hash))


def drop_unused(conn: Connection, hashes: Iterable[str]) -> None:
    """Delete those of these blobs that no file refers to any more."""
    for hash_ in sorted(set(hashes)):
        # Locked before it is looked at: whoever is about to refer to it holds it, and is seen once it lets go.
        if run(conn, _LOCK, {"of": hash_}) and not conn.execute(select(_referred(hash_))).scalar_one():
            conn.execute(delete(blob).where(blob.c.hash == hash_))
            drop_parts(conn, [hash_])


def _referred(hash_: str) -> Any:
    return exists().where(media.c.hash == hash_, media.c.state == text("'kept'"))

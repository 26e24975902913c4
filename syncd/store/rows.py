"""Rows that more than one module reads, as what they are."""

from __future__ import annotations

from typing import Any

from syncd.model.facts import CopyStatus
from syncd.model.files import FileKind
from syncd.model.records import Copy
from syncd.store.schema import mapping

COPY = (
    mapping.c.message,
    mapping.c.link,
    mapping.c.account,
    mapping.c.contact,
    mapping.c.extension,
    mapping.c.sessionid,
    mapping.c.messageid,
    mapping.c.direction,
    mapping.c.origin,
    mapping.c.status,
    mapping.c.part,
)


def kinds_from(text_: str) -> tuple[FileKind, ...]:
    """The kinds of a message's files, from `message.files`."""
    return tuple(FileKind(kind) for kind in text_.split(",") if kind)


def copy_from(row: Any) -> Copy:
    """A row of `COPY`."""
    return Copy(
        message=row.message,
        link=row.link,
        account=row.account,
        contact=row.contact,
        extension=row.extension,
        sessionid=row.sessionid,
        messageid=row.messageid,
        direction=row.direction,
        origin=row.origin,
        status=CopyStatus(row.status),
        part=row.part,
    )

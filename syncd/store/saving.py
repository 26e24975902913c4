"""Writes back what the decisions on a batch of events made of its `Picture`."""

from __future__ import annotations

from dataclasses import astuple
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from syncd.model.facts import CopyStatus
from syncd.model.picture import Picture
from syncd.model.records import Copy
from syncd.model.text import to_bytes
from syncd.model.work import Duty, extension_of
from syncd.store import lanes, media
from syncd.store.dialect import insert_rows, update_rows
from syncd.store.locks import hold
from syncd.store.schema import conversation, delivery, mapping, message, session

WITHDRAWN = "taken back or replaced by its author"


def save(conn: Connection, picture: Picture) -> None:
    """Write back all that the decisions made, a statement a table."""
    now = picture.now
    _save_conversations(conn, picture)
    _hold(conn, picture)
    insert_rows(
        conn,
        message,
        [
            {
                "id": new.id,
                "conversation_id": new.conversation_id,
                "seq": new.seq,
                "author": new.author,
                "extension": new.extension,
                "body": to_bytes(new.text),
                "said_at": new.said_at,
                "created_at": now,
                "event_id": new.event_id,
                "files": ",".join(file.kind for file in new.files),
                "quote": to_bytes(new.quote) if new.quote else None,
            }
            for new in picture.new_messages
        ],
    )
    for new in picture.new_messages:
        if new.files:
            picture.wanted += media.add(conn, new.id, new.account, new.files, now, picture.new_id)
    lanes.add(conn, picture.duties, now)
    _save_changes(conn, picture)
    lanes.settle(conn, picture.settled, now)
    save_copies(conn, picture)
    save_sessions(conn, picture)


def _hold(conn: Connection, picture: Picture) -> None:
    """Lock the lanes of all that is written after this; where those of the duties are all, `lanes.add` does so."""
    wanted = {one.lane_id for one in picture.settled} | {one.lane_id for one in picture.withdrawn}
    if picture.touched_sessions:
        wanted |= picture.speaking
    if wanted:
        hold(conn, wanted | {duty.lane_id for duty in picture.duties})


def _save_changes(conn: Connection, picture: Picture) -> None:
    update_rows(
        conn,
        message,
        [
            {"id": said.id, "body": to_bytes(said.text), "revision": said.revision}
            for said in picture.rewritten.values()
        ],
    )
    # Their lanes stand still (`said.load`), so what is ready here is not under way.
    update_rows(
        conn,
        delivery,
        [
            {"id": errand.id, "revision": said.revision, "updated_at": picture.now}
            for said in picture.rewritten.values()
            for errand in said.errands
            if errand in picture.edited_in_queue
        ],
    )
    update_rows(
        conn,
        delivery,
        [
            {"id": errand.id, "state": "skipped", "open": False, "reason": WITHDRAWN, "updated_at": picture.now}
            for errand in picture.withdrawn
        ],
    )


def _save_conversations(conn: Connection, picture: Picture) -> None:
    touched = picture.touched_conversations.values()
    rows = {True: list[dict[str, Any]](), False: list[dict[str, Any]]()}
    for one in touched:
        row = {
            "id": one.id,
            "spelling": one.spelling,
            "name": one.name,
            "next_seq": one.next_seq,
            "contact_wrote_at": one.contact_wrote_at,
        }
        if one.is_new:
            row |= {"link": one.link, "contact": one.contact, "created_at": picture.now}
        rows[one.is_new].append(row)
    insert_rows(conn, conversation, sorted(rows[True], key=lambda row: (row["link"], row["contact"])))
    update_rows(conn, conversation, rows[False])


def save_copies(conn: Connection, picture: Picture) -> None:
    """Write the picture's new and changed rows of `mapping`."""
    now = picture.now
    insert_rows(
        conn,
        mapping,
        [
            {
                "message": copy.message,
                "link": copy.link,
                "account": copy.account,
                "contact": copy.contact,
                "extension": copy.extension,
                "sessionid": copy.sessionid,
                "messageid": copy.messageid,
                "part": copy.part,
                "direction": copy.direction,
                "origin": copy.origin,
                "status": copy.status,
                "created_at": now,
                "updated_at": now,
            }
            for copy in sorted(picture.new_copies, key=_name)
        ],
        skip_known=True,
    )
    for copy in picture.named_copies:
        conn.execute(
            update(mapping)
            .where(
                mapping.c.message == copy.message,
                mapping.c.account == copy.account,
                mapping.c.part == copy.part,
                mapping.c.sessionid.is_not_distinct_from(copy.sessionid),
                mapping.c.messageid.is_(None),
            )
            .values(messageid=copy.messageid, status=copy.status, updated_at=now)
        )
    for copy in sorted(picture.changed_copies.values(), key=_name):
        conn.execute(
            update(mapping)
            .where(
                mapping.c.account == copy.account, mapping.c.messageid == copy.messageid, mapping.c.part == copy.part
            )
            .values(status=copy.status, updated_at=now)
        )


def _name(copy: Copy) -> tuple[str, str, int]:
    return copy.account, copy.messageid or "", copy.part


def mark_deleted(conn: Connection, duty: Duty, now: datetime) -> None:
    """The platform took the target's copy of a piece back."""
    conn.execute(
        update(mapping)
        .where(
            mapping.c.message == duty.message,
            mapping.c.extension.is_not_distinct_from(extension_of(duty.target)),
            mapping.c.part == duty.part,
            mapping.c.origin.is_(False),
        )
        .values(status=CopyStatus.DELETED, updated_at=now)
    )


def save_sessions(conn: Connection, picture: Picture) -> None:
    """Write the picture's sessions; the superseded first, so that one is current at every moment."""
    touched = sorted(picture.touched_sessions.values(), key=lambda one: astuple(one.chat))
    for current in (False, True):
        update_rows(
            conn,
            session,
            [
                {"id": one.id, "current": one.current, "state": one.state, "spelling": one.spelling}
                for one in touched
                if not one.is_new and one.current is current
            ],
        )
    insert_rows(
        conn,
        session,
        [
            {
                "id": one.id,
                "account": one.chat.account,
                "organization": one.chat.organization,
                "extension": one.chat.extension,
                "contact": one.chat.contact,
                "spelling": one.spelling,
                "sessionid": one.sessionid,
                "state": one.state,
                "current": one.current,
                "observed_at": one.observed_at,
                "created_at": picture.now,
            }
            for one in touched
            if one.is_new
        ],
    )

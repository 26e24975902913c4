"""Writes back what the decisions on a batch of events made of its `Picture`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, update

from syncd.model.picture import Picture
from syncd.model.text import to_bytes
from syncd.store import lanes
from syncd.store.dialect import insert_rows, update_rows
from syncd.store.schema import conversation, mapping, message, session


def save(conn: Connection, picture: Picture) -> None:
    """Write back all that the decisions made, a statement a table."""
    now = picture.now
    _save_conversations(conn, picture)
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
            }
            for new in picture.new_messages
        ],
    )
    lanes.add(conn, picture.duties, now)
    save_copies(conn, picture)
    save_sessions(conn, picture)
    lanes.settle(conn, picture.settled, now)


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
    insert_rows(conn, conversation, rows[True])
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
            for copy in picture.new_copies
        ],
        skip_known=True,
    )
    for copy in picture.named_copies:
        conn.execute(
            update(mapping)
            .where(
                mapping.c.message == copy.message,
                mapping.c.account == copy.account,
                mapping.c.sessionid == copy.sessionid,
                mapping.c.messageid.is_(None),
            )
            .values(messageid=copy.messageid, status=copy.status, updated_at=now)
        )
    for copy in picture.changed_copies.values():
        conn.execute(
            update(mapping)
            .where(
                mapping.c.account == copy.account, mapping.c.messageid == copy.messageid, mapping.c.part == copy.part
            )
            .values(status=copy.status, updated_at=now)
        )


def save_sessions(conn: Connection, picture: Picture) -> None:
    """Write the picture's sessions; the superseded first, so that one is current at every moment."""
    touched = picture.touched_sessions.values()
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

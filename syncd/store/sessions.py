"""Sessions: one current for each chat, opened by one caller at a time (G6)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from syncd.failpoints import unit
from syncd.model.picture import Picture
from syncd.model.work import Chat
from syncd.store.dialect import fetch, insert_unless_known
from syncd.store.loading import load_current_sessions, load_sessions
from syncd.store.saving import save_sessions
from syncd.store.schema import IS_CURRENT, session

OPENING = timedelta(seconds=60)
"""How long an open call may take before another process may make it: longer than any HTTP answer is waited for."""

_CHAT = (session.c.account, session.c.organization, session.c.extension, session.c.contact)
_CURRENT = (*_CHAT, session.c.id, session.c.sessionid, session.c.spelling, session.c.state, session.c.observed_at)


def current(conn: Connection, chats: Iterable[Chat]) -> dict[Chat, Any]:
    """The current session's row of each chat that has one (`sessionid` is null while it is being opened)."""
    keys = {(chat.account, chat.organization, chat.extension, chat.contact) for chat in chats}
    rows = fetch(conn, _CURRENT, _CHAT, keys, where=IS_CURRENT)
    return {Chat(row.account, row.organization, row.extension, row.contact): row for row in rows}


def begin_opening(conn: Connection, chat: Chat, new_id: str, now: datetime) -> str | None:
    """Become the one that opens this chat's session: the opening's id. None: it is open, or somebody else is at it.

    An opening whose process died is taken over after `OPENING`.
    """
    row = {
        "id": new_id,
        "account": chat.account,
        "organization": chat.organization,
        "extension": chat.extension,
        "contact": chat.contact,
        "sessionid": None,
        "state": "opening",
        "current": True,
        "observed_at": now,
        "created_at": now,
    }
    there = current(conn, [chat]).get(chat)
    if there is None:
        return new_id if insert_unless_known(conn, session, row) else None
    if there.state == "opening" and now - there.observed_at > OPENING:
        # With an id of its own, so that the first one's late answer cannot pass for this one's.
        taken = conn.execute(
            update(session)
            .where(session.c.id == there.id, session.c.observed_at == there.observed_at)
            .values(id=new_id, observed_at=now)
        )
        return new_id if taken.rowcount else None
    return None


def opened(conn: Connection, opening_id: str, chat: Chat, sessionid: str, picture: Picture) -> None:
    """The open call answered. A session that an event named in the meantime stays current; this one is then known.

    A session that was known in another chat moves here: the platform's own answer says whose it is.
    """
    opening = conn.execute(select(session).where(session.c.id == opening_id)).one_or_none()
    conn.execute(session.delete().where(session.c.id == opening_id))
    load_sessions(conn, picture, [(chat.account, sessionid)])
    load_current_sessions(conn, picture, [chat])
    known = picture.sessions.get((chat.account, sessionid))
    if known is not None and known.chat != chat:
        values = {"organization": chat.organization, "extension": chat.extension, "contact": chat.contact}
        conn.execute(update(session).where(session.c.id == known.id).values(current=False, **values))
        known.chat, known.current = chat, False
    if known is None and opening is not None and not opening.current:
        row = {"current": False, "state": "closed", "sessionid": sessionid, "observed_at": picture.now}
        conn.execute(insert(session).values(**{**opening._mapping, **row}))
        return
    if opening is None or opening.current:
        picture.adopt(chat, sessionid, spelling=None, at=picture.now, answer=True)
    save_sessions(conn, picture)


@unit("session_not_opened")
def not_opened(conn: Connection, opening_id: str) -> None:
    """The open call failed: let the next one try."""
    conn.execute(session.delete().where(session.c.id == opening_id, session.c.sessionid.is_(None)))


def adopt(conn: Connection, picture: Picture, named: Iterable[tuple[Chat, str]]) -> None:
    """The answers to sends named these sessions."""
    wanted = list(named)
    load_sessions(conn, picture, [(chat.account, sessionid) for chat, sessionid in wanted])
    load_current_sessions(conn, picture, [chat for chat, _ in wanted])
    for chat, sessionid in wanted:
        picture.adopt(chat, sessionid, spelling=None, at=picture.now, answer=True)
    save_sessions(conn, picture)


@unit("disown_openings")
def disown_openings(conn: Connection) -> None:
    """Forget openings under way. Only for the one process of a SQLite database, at its start."""
    conn.execute(session.delete().where(session.c.sessionid.is_(None)))

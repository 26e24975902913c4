"""Events that came before what they speak of: the parked ones that are to be translated together with others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from sqlalchemy import Connection

from syncd.model.decide import name_of_user
from syncd.model.facts import UserSaid
from syncd.model.outcome import Incoming
from syncd.model.picture import Picture
from syncd.store import inbox, loading

PARKED_FOR = timedelta(minutes=10)
"""How long an edit, a deletion or a status waits for the message that it speaks of, and a message for its author."""
MOST_PARKED = 200
"""Of them in one transaction."""

Read = Callable[[Sequence[inbox.Stored]], list[Incoming]]
"""Says what stored events mean (`Understanding.stored`)."""


def beside(
    conn: Connection, picture: Picture, incoming: Sequence[Incoming], read: Read
) -> tuple[list[Incoming], list[Incoming]]:
    """The parked events that are to be translated with these: before them, and after them."""
    # In this order: an author who comes to be known just now must not overtake what is parked for him.
    loading.load_users(conn, picture, incoming)
    found = read(inbox.parked(conn, _names(incoming) | _users(incoming)))
    earlier = [one for one in found if _says(one)]
    loading.load_users(conn, picture, earlier)
    later = {one.id: one for one in (*found, *changes_of(conn, earlier, read)) if not _says(one)}
    return earlier, list(later.values())


def changes_of(conn: Connection, incoming: Sequence[Incoming], read: Read) -> list[Incoming]:
    """The edits and deletions that came before these messages, and are not among them."""
    ids = {one.id for one in incoming}
    return [one for one in read(inbox.parked(conn, _names(incoming))) if one.id not in ids]


def _names(incoming: Sequence[Incoming]) -> set[tuple[str, str]]:
    """The messages of which an edit or a deletion may have come before."""
    return {
        (one.account, fact.messageid)
        for one in incoming
        for fact in one.facts
        if isinstance(fact, UserSaid) and fact.messageid is not None
    }


def _users(incoming: Sequence[Incoming]) -> set[tuple[str, str]]:
    """The authors of whom something may be parked that they said before."""
    return {
        (one.account, name_of_user(fact.userid))
        for one in incoming
        for fact in one.facts
        if isinstance(fact, UserSaid) and fact.userid is not None
    }


def _says(incoming: Incoming) -> bool:
    """Whether it is a message, and no edit, deletion or status of one."""
    return any(isinstance(fact, UserSaid) for fact in incoming.facts)

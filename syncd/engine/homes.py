"""Copies that are at a desk already: to be changed, or to be put into another chat by reference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Connection

from syncd.model.facts import CopyStatus
from syncd.model.records import Copy
from syncd.model.work import Chat, Duty, Op, extension_of
from syncd.store.dialect import fetch
from syncd.store.rows import COPY, copy_from
from syncd.store.schema import mapping


@dataclass(frozen=True, slots=True)
class Home:
    """A copy that is there, by the platform's ids."""

    messageid: str | None
    sessionid: str | None


class Homes:
    """The copies that a batch of duties needs."""

    def __init__(self, copies: dict[str, list[Copy]]) -> None:
        self._copies = copies

    @classmethod
    def load(cls, conn: Connection, duties: Iterable[Duty]) -> Self:
        """Read them; nothing is read for plain messages."""
        wanted = {duty.message for duty in duties if duty.op is not Op.MESSAGE or duty.kinds}
        found: dict[str, list[Copy]] = {}
        for row in fetch(conn, COPY, (mapping.c.message,), wanted):
            found.setdefault(row.message, []).append(copy_from(row))
        return cls(found)

    def of(self, duty: Duty, chat: Chat | None, account: str) -> Home | None:
        """For a change: the copy in the target's own chat. For a file: one of it in another chat of this desk."""
        there = [copy for copy in self._copies.get(duty.message, ()) if copy.status is not CopyStatus.DELETED]
        if duty.op is not Op.MESSAGE:
            extension = extension_of(duty.target)
            for copy in there:
                mine = copy.extension == extension and copy.account == account
                # A receipt speaks of what its author wrote, a change of what we made of that.
                if mine and copy.origin is duty.op.is_receipt and (copy.origin or copy.part == duty.part):
                    return Home(copy.messageid, copy.sessionid)
            return None
        if chat is None:
            return None
        for copy in there:
            # What a user sent is one file, and has no parts; a copy of ours is the same piece of the message.
            same = copy.part == duty.part or copy.origin
            if same and copy.account == account and copy.extension is not None and copy.messageid is not None:
                return Home(copy.messageid, copy.sessionid)
        return None

"""What operators ask for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """What is asked (column `operation.kind`)."""

    SETTLE_SENT = "settle_sent"
    """A delivery in doubt was carried out; `detail` is the platform's id of the copy."""
    SETTLE_RESEND = "settle_resend"
    """A delivery in doubt was not carried out: send it again."""
    SETTLE_DROP = "settle_drop"
    """A delivery in doubt is of no interest any more."""
    RETRY = "retry"
    """Try a delivery again that was given up."""
    DROP = "drop"
    """A delivery that was given up is of no interest any more."""
    PAUSE = "pause"
    """Stop sending on an account or link; receiving goes on."""
    RESUME = "resume"
    """Go on sending; ends a pause caused by a refused key too."""
    RESYNC = "resync"
    """Put what is missing into users' chats; `subject` is a link, `detail` the rest of its scope. Takes long."""
    FORGET = "forget"
    """Erase a contact, whose name is the `subject` until that is done. Takes long."""
    STOP = "stop"
    """Let a resync end where it is; `subject` is the operation's id."""


LONG = (Kind.RESYNC, Kind.FORGET)
"""What is done step by step after it is on record; the others are done in the commit that records them."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One operation that is asked for."""

    kind: Kind
    subject: str
    """Id of a delivery, or name of an account, link or contact."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A wish on record."""

    id: str
    wish: Wish
    by: str
    """Who asked: a user of the machine."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a wish."""

    id: str
    wish: Wish
    by: str
    ok: bool
    result: str
    """One sentence: what was done, or what to do since it could not be done."""

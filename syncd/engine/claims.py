"""What a lane's visitor is told to do next, and what it brings back: the dispatcher's words with its ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from syncd.engine.homes import Home
from syncd.model.retry import Verdict
from syncd.model.sending import SendError, Sent
from syncd.model.work import Chat, Duty
from syncd.store.lanes import NotHeld


@dataclass(frozen=True, slots=True)
class ToSend:
    """Send it: `ready -> sending` is committed."""

    duty: Duty
    token: int
    number: int
    """This is the how-manieth attempt."""
    chat: Chat | None
    sessionid: str | None
    spelling: str | None
    """The contact as the target's platform last spelled it."""
    until: datetime
    """The lease ends."""
    home: Home | None = None
    """Where the copy is that is changed, or the one that is put here once more."""


@dataclass(frozen=True, slots=True)
class ToOpen:
    """Open the chat's session first."""

    duty: Duty
    token: int
    chat: Chat
    opening_id: str


@dataclass(frozen=True, slots=True)
class ToSettle:
    """An earlier attempt may have been carried out; find out."""

    duty: Duty
    token: int
    number: int
    chat: Chat | None
    sessionid: str | None
    spelling: str | None
    tried_at: datetime
    now: datetime
    looked: bool = True
    """It was found to be in doubt before, so news that waited for it has been looked at."""


@dataclass(frozen=True, slots=True)
class ToGiveUp:
    """It is not to be sent any more."""

    duty: Duty
    token: int
    number: int
    chat: Chat | None
    verdict: Verdict


Claim = ToSend | ToOpen | ToSettle | ToGiveUp | NotHeld


@dataclass(frozen=True, slots=True)
class Finished:
    """One attempt and the verdict on it; `result` is None where an old doubt was decided without asking anybody."""

    duty: Duty
    token: int
    number: int
    chat: Chat | None
    sessionid: str | None
    result: Sent | SendError | None
    verdict: Verdict
    at: datetime
    took_ms: int

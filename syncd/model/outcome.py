"""An event on its way through the translation: with what it says, and with what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from syncd.model.facts import Fact


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event with what its platform says that it means."""

    id: str
    account: str
    received_at: datetime
    facts: tuple[Fact, ...]
    history: bool = False
    """It was said long ago and is only now asked for: what it says goes into the chats' history."""
    waits_in: str | None = None
    """The conversation that it waited in: what it says goes out there, wherever the contact wrote meanwhile."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an event: `done`, `ignored`, `waiting` or `parked`, and why in a stable phrase."""

    state: str
    reason: str = ""
    conversation_id: str | None = None
    """The conversation that it belongs to, or waits in."""
    message: str | None = None
    """The message that it made."""
    parked_for: str | None = None
    """The platform's id of the message that it came before; `user:USERID` where its author is not known yet."""

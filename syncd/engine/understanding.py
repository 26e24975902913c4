"""What events say: each account's platform is asked, and nothing that it answers breaks the translation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, get_args

import structlog

from syncd.engine import notices
from syncd.engine.platform import Platform, RawEvent
from syncd.model.facts import Fact, Uninteresting
from syncd.model.outcome import Incoming
from syncd.model.text import storable
from syncd.store import inbox

log = structlog.get_logger("syncd.receive")

HISTORY = "history"
"""How an event came (`event.via`) that is put into the chats' history, silently."""


class Understanding:
    """Reads events by the platforms of their accounts; those of syncd's own by itself."""

    def __init__(self, platforms: Mapping[str, Platform]) -> None:
        self._platforms = platforms

    def facts(self, account: str, raw: RawEvent) -> tuple[Fact, ...]:
        """What an event says; one that its platform fails on says nothing, and is logged."""
        if account == notices.ACCOUNT:
            return notices.parse(raw.body)
        try:
            return tuple(map(storable_fact, self._platforms[account].parse(raw)))
        except Exception:
            log.exception("event.not_understood", account=account, key=raw.key)
            return (Uninteresting("its platform could not read it"),)

    def stored(self, events: Sequence[inbox.Stored]) -> list[Incoming]:
        """What events say that were stored before."""
        return [
            Incoming(
                one.id,
                one.account,
                one.received_at,
                self.facts(one.account, RawEvent(one.key, one.body, one.end)),
                one.via == HISTORY,
                one.conversation_id,
            )
            for one in events
        ]


def storable_fact(fact: Fact) -> Fact:
    """The fact with names that every database takes; a message's text is stored as bytes and stays as it is."""
    changes: dict[str, Any] = {}
    for name in _NAMES[type(fact)]:
        value = getattr(fact, name)
        if type(value) is str and (not value.isascii() or "\x00" in value):
            changes[name] = storable(value)
    return replace(fact, **changes) if changes else fact


_NAMES = {kind: tuple(each.name for each in fields(kind) if each.name != "text") for kind in get_args(Fact)}

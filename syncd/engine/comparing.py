"""Plans a resync. Made of readers only: nothing here can write, at a platform or in the store (G15)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from syncd.engine.platform import Platform, RawEvent
from syncd.engine.understanding import storable_fact
from syncd.model.contact import canonical
from syncd.model.facts import ChannelSaid, ContactSaid
from syncd.model.resync import Mode, Plan, Scope, Take, Told, compare_entry, compare_told
from syncd.model.sending import Author
from syncd.model.topology import Link
from syncd.store import comparison

Read = Callable[..., Awaitable[Any]]
"""`read(function, *args)`: runs `function(conn, *args)` on a connection that cannot write."""

MOST_TAKEN = 20_000
"""Messages of the channel's history that one plan holds in memory (G9)."""
MOST_STEPS = 200_000


@dataclass(slots=True)
class Planned:
    """A plan, and the events of the messages that are to be taken in."""

    plan: Plan
    events: dict[str, RawEvent] = field(default_factory=dict)
    """By key."""
    history: bool = False
    """The channel's history was looked at; not every platform has one."""

    def event_of(self, step: Take, operation: str) -> RawEvent:
        """The event to be taken. One that meant nothing before comes under a name of its own, to be looked at anew."""
        event = self.events[step.key]
        return replace(event, key=f"{event.key}#{operation}") if step.again else event


class Planner:
    """Compares the channel's history and the ledger with what each user's chat has."""

    def __init__(self, read: Read, link: Link, platform: Platform, scope: Scope, now: datetime) -> None:
        self._read = read
        self._link = link
        self._platform = platform
        self._scope = scope
        self._oldest = now - link.max_age if scope.mode is Mode.LIVE else None

    async def plan(self) -> Planned:
        """All that is missing. Raises a `SendError` where the history cannot be read, `StoreUnavailable`."""
        planned = Planned(Plan(self._scope, self._link.desk.users))
        if self._link.channel.able.history:
            await self._look_at_history(planned)
        await self._look_at_ledger(planned.plan)
        return planned

    async def ledger_only(self) -> Plan:
        """The same without the channel's history: what is left of a plan that was carried out."""
        plan = Plan(self._scope, self._link.desk.users)
        await self._look_at_ledger(plan)
        return plan

    async def _look_at_history(self, planned: Planned) -> None:
        planned.history = True
        channel = self._link.channel
        async for events in self._platform.history(channel.key, self._scope.since, self._scope.until):
            # A list that moves while it is read may give a row on two pages.
            fresh = [event for event in events if event.key not in planned.events]
            told = [one for event in fresh if (one := self._told(event)) is not None]
            ids = [one.messageid for one in told if one.messageid is not None]
            references = [one.reference for one in told if one.reference is not None]
            keys = [one.key for one in told]
            known = await self._read(comparison.known, channel.account, self._link.name, ids, references, keys)
            before = len(planned.plan.steps)
            compare_told(planned.plan, told, known)
            by_key = {event.key: event for event in fresh}
            for step in planned.plan.steps[before:]:
                if isinstance(step, Take):
                    planned.events[step.key] = by_key[step.key]
            if len(planned.events) >= MOST_TAKEN:
                planned.plan.capped = True
                return

    async def _look_at_ledger(self, plan: Plan) -> None:
        scope = self._scope
        for conversation_id in await self._read(comparison.conversations, scope.link, scope.contact):
            after = 0
            while True:
                page = await self._read(comparison.entries, conversation_id, scope.since, scope.until, after)
                for _, entry in page:
                    if entry is not None:
                        compare_entry(plan, entry, oldest=self._oldest)
                if len(plan.steps) >= MOST_STEPS:
                    plan.capped = True
                    return
                if len(page) < comparison.PAGE:
                    break
                after = page[-1][0]

    def _told(self, event: RawEvent) -> Told | None:
        for fact in map(storable_fact, self._platform.parse(event)):
            if isinstance(fact, ContactSaid | ChannelSaid) and fact.said_at is not None:
                if self._oldest is not None and fact.said_at < self._oldest:
                    return None
                contact = canonical(fact.contact, fact.form, self._link.region)
                ours = isinstance(fact, ChannelSaid)
                reference = fact.reference if isinstance(fact, ChannelSaid) else None
                author = Author.CHANNEL if ours else Author.CONTACT
                return Told(event.key, fact.messageid, reference, contact, author, fact.text, fact.said_at)
        return None


def _rfc3339(stamp: datetime) -> str:
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def shown(plan: Plan, *, examples: int = 5) -> dict[str, Any]:
    """A plan as a document: counts, and the first of each kind."""

    def some(steps: Sequence[Any], what: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:
        return [what(one) | {"contact": one.contact, "said_at": _rfc3339(one.said_at)} for one in steps[:examples]]

    ordered = sorted(plan.steps, key=lambda one: one.said_at)
    odd = {kind: [one for one in plan.odd if one.kind == kind] for kind in ("differing", "ambiguous")}
    return {
        "missing": {
            "messages": plan.messages,
            "copies": plan.copies,
            "examples": some(ordered, lambda one: {"id": one.key if isinstance(one, Take) else one.message}),
        },
        **{
            kind: {"messages": len(found), "examples": some(found, lambda one: {"id": one.id, "why": one.why})}
            for kind, found in odd.items()
        },
        "seen": dict(sorted(plan.seen.items())),
        "capped": plan.capped,
    }

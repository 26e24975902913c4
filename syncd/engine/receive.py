"""Receive and translate: an event, what it means and what is to be sent for it, in one commit (G1, G2, design §8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, get_args

import structlog
from sqlalchemy import Connection

from syncd import metrics
from syncd.engine.platform import Platform, RawEvent
from syncd.model.clock import Clock, Ids
from syncd.model.decide import Incoming, Outcome, decide
from syncd.model.facts import Fact, Uninteresting
from syncd.model.picture import Picture
from syncd.model.text import storable
from syncd.model.topology import Topology
from syncd.model.work import Duty, LaneName
from syncd.store import cursors, inbox, loading, saving
from syncd.store.inbox import Arrival
from syncd.store.writer import Side, Store, StoreUnavailable

log = structlog.get_logger("syncd.receive")

DUPLICATE = Outcome("duplicate", "known already")


@dataclass(frozen=True, slots=True)
class Move:
    """A poll cursor to be moved with the page that it stands for."""

    account: str
    end: str
    value: str
    owner: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that came together: one webhook's, or one page's."""

    arrivals: tuple[Arrival, ...]
    incoming: tuple[Incoming, ...]
    move: Move | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch, committed."""

    outcomes: tuple[Outcome, ...]
    duties: tuple[Duty, ...] = ()
    """New deliveries, for the dispatcher."""
    woken: tuple[LaneName, ...] = ()
    """Lanes that an echo set going."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Events that wait, to be translated again."""

    conversation_ids: set[str]
    first_only: bool = False
    """Only the first of them; for one conversation at a time."""


class Receiver:
    """Takes events in. `hand_on` gets the new deliveries and the woken lanes right after their commit."""

    def __init__(
        self,
        store: Store,
        topology: Topology,
        platforms: Mapping[str, Platform],
        *,
        clock: Clock,
        ids: Ids,
        hand_on: Callable[[Sequence[Duty], Sequence[LaneName]], None],
    ) -> None:
        self._store = store
        self._topology = topology
        self._platforms = platforms
        self._clock = clock
        self._ids = ids
        self._hand_on = hand_on
        self._counted = cache(metrics.events.labels)

    async def take(
        self, account: str, events: Sequence[RawEvent], via: str, *, move: Move | None = None
    ) -> tuple[Outcome, ...]:
        """Store and translate events of one account; returns after the commit.

        Idempotent by the events' keys. Raises `StoreUnavailable` when nothing was committed (or, when a connection
        dies in the commit, may not have been).
        """
        now = self._clock()
        arrivals = tuple(
            Arrival(self._ids(), account, storable(raw.key), storable(raw.end), via, raw.body, now, raw.window)
            for raw in events
        )
        incoming = tuple(
            Incoming(arrival.id, account, now, self._parse(account, raw))
            for arrival, raw in zip(arrivals, events, strict=True)
        )
        outcomes = await self._take(Batch(arrivals, incoming, move))
        for arrival, outcome in zip(arrivals, outcomes, strict=True):
            self._counted(account, via, outcome.state).inc()
            log.info(
                "event.taken",
                account=account,
                event_id=arrival.id,
                key=arrival.key,
                via=via,
                outcome=outcome.state,
                reason=outcome.reason,
                conversation=outcome.conversation_id,
                message=outcome.message,
            )
        return outcomes

    async def look_again(self, conversation_ids: Iterable[str]) -> None:
        """Translate the events that waited in these conversations; those that still must wait go on waiting."""
        wanted = set(conversation_ids)
        try:
            await self._store.submit(self._look_again, Waiting(wanted), self._committed, side=Side.IN)
        except StoreUnavailable:
            raise
        except Exception:
            # One of them is poison: each conversation for itself, and of each the first event, until it is found.
            for one in wanted:
                await self._look_again_in(one)

    async def _look_again_in(self, conversation_id: str) -> None:
        going_on = True
        while going_on:
            waiting = Waiting({conversation_id}, first_only=True)
            try:
                taken = await self._store.submit(self._look_again, waiting, self._committed, side=Side.IN)
            except StoreUnavailable:
                raise
            except Exception as error:
                log.exception("event.failed", conversation=conversation_id)
                await self._store.write(inbox.fail_first_waiting, conversation_id, _poisoned(error))
            else:
                going_on = any(outcome.state != "waiting" for outcome in taken.outcomes)

    async def look_at_all_waiting(self) -> None:
        """The same for every conversation with an event that waits: at start, and as a safety net."""
        waiting = await self._store.read(inbox.waiting_conversations)
        if waiting:
            await self.look_again(waiting)

    async def _take(self, batch: Batch) -> tuple[Outcome, ...]:
        try:
            # Handed on from the commit itself: whoever waits for the answer may be gone by then.
            return (await self._store.submit(self._take_many, batch, self._committed, side=Side.IN)).outcomes
        except StoreUnavailable:
            raise
        except Exception as error:
            if len(batch.arrivals) == 1 and batch.move is None:
                log.exception("event.failed", account=batch.arrivals[0].account, key=batch.arrivals[0].key)
                await self._store.submit(self._keep_failed, (batch, _poisoned(error)))
                return (Outcome("failed", _poisoned(error)),)
        # One of them is poison: each for itself, so that it fails alone (G10), and the cursor when all are stored.
        outcomes: list[Outcome] = []
        for arrival, incoming in zip(batch.arrivals, batch.incoming, strict=True):
            outcomes += await self._take(Batch((arrival,), (incoming,)))
        if batch.move is not None:
            await self._store.submit(self._take_many, Batch((), (), batch.move))
        return tuple(outcomes)

    def _committed(self, taken: Taken) -> None:
        if taken.duties or taken.woken:
            self._hand_on(taken.duties, taken.woken)

    def _parse(self, account: str, raw: RawEvent) -> tuple[Fact, ...]:
        try:
            return tuple(_storable(fact) for fact in self._platforms[account].parse(raw))
        except Exception:
            log.exception("event.not_understood", account=account, key=raw.key)
            return (Uninteresting("its platform could not read it"),)

    def _take_many(self, conn: Connection, batches: Sequence[Batch]) -> list[Taken]:
        new = inbox.store(conn, [arrival for batch in batches for arrival in batch.arrivals])
        outcomes, picture = self._translate(conn, [one for batch in batches for one in batch.incoming if one.id in new])
        inbox.note(
            conn,
            [
                (event_id, outcome.state, outcome.reason, outcome.conversation_id)
                for event_id, outcome in outcomes.items()
                if outcome.state != "done" or outcome.reason
            ],
        )
        taken = []
        for batch in batches:
            move = batch.move
            if move is not None:
                cursors.move(conn, move.account, move.end, move.value, move.owner, picture.now)
            taken.append(Taken(tuple(outcomes.get(one.id, DUPLICATE) for one in batch.arrivals)))
        # The batch's deliveries are handed on together, by whichever unit is answered first.
        taken[0] = replace(taken[0], duties=tuple(picture.duties), woken=_woken(picture))
        return taken

    def _look_again(self, conn: Connection, wanted: Sequence[Waiting]) -> list[Taken]:
        conversation_ids = set().union(*(one.conversation_ids for one in wanted))
        stored = inbox.waiting(conn, conversation_ids)
        if all(one.first_only for one in wanted):
            stored = list({one.conversation_id: one for one in reversed(stored)}.values())
        incoming = [
            Incoming(
                one.id, one.account, one.received_at, self._parse(one.account, RawEvent(one.key, one.body, one.end))
            )
            for one in stored
        ]
        outcomes, picture = self._translate(conn, incoming, again=conversation_ids)
        inbox.note(
            conn,
            [
                (event_id, outcome.state, outcome.reason, outcome.conversation_id)
                for event_id, outcome in outcomes.items()
            ],
        )
        first = Taken(tuple(outcomes.values()), tuple(picture.duties), _woken(picture))
        return [first, *(Taken(()) for _ in wanted[1:])]

    def _translate(
        self, conn: Connection, incoming: Sequence[Incoming], *, again: Iterable[str] = ()
    ) -> tuple[dict[str, Outcome], Picture]:
        picture = Picture(self._ids, self._clock())
        if not incoming:
            return {}, picture
        loading.load(conn, picture, self._topology, incoming)
        picture.waiting.difference_update(again)
        outcomes = {one.id: decide(picture, self._topology, one) for one in incoming}
        saving.save(conn, picture)
        return outcomes, picture

    def _keep_failed(self, conn: Connection, failed: Sequence[tuple[Batch, str]]) -> list[None]:
        for batch, reason in failed:
            new = inbox.store(conn, batch.arrivals)
            inbox.note(conn, [(event_id, "failed", reason, None) for event_id in new])
        return [None] * len(failed)


def _poisoned(error: Exception) -> str:
    return f"{type(error).__name__} in the translation"


def _woken(picture: Picture) -> tuple[LaneName, ...]:
    return tuple(LaneName(pending.lane_id, pending.link, pending.target) for pending in picture.settled)


def _storable(fact: Fact) -> Fact:
    """The fact with names that every database takes; a message's text is stored as bytes and stays as it is."""
    changes: dict[str, Any] = {}
    for name in _NAMES[type(fact)]:
        value = getattr(fact, name)
        if type(value) is str and (not value.isascii() or "\x00" in value):
            changes[name] = storable(value)
    return replace(fact, **changes) if changes else fact


_NAMES = {kind: tuple(each.name for each in fields(kind) if each.name != "text") for kind in get_args(Fact)}

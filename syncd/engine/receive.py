"""Receive and translate: an event, what it means and what is to be sent for it, in one commit (G1, G2, design §8)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import structlog
from sqlalchemy import Connection

from syncd import metrics
from syncd.engine import notices, parking
from syncd.engine.parking import MOST_PARKED, PARKED_FOR
from syncd.engine.platform import Platform, RawEvent
from syncd.engine.understanding import HISTORY, Understanding
from syncd.failpoints import step, unit
from syncd.model.clock import Clock, Ids
from syncd.model.decide import decide
from syncd.model.outcome import Incoming, Outcome
from syncd.model.picture import Picture
from syncd.model.text import storable
from syncd.model.topology import Topology
from syncd.model.work import Duty, LaneName
from syncd.store import cursors, inbox, loading, saving
from syncd.store.inbox import Arrival, Late
from syncd.store.locks import apart
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
    alone: bool = False
    """Without what is parked for them: one of those may be poison."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch, committed."""

    outcomes: tuple[Outcome, ...]
    duties: tuple[Duty, ...] = ()
    """New deliveries, for the dispatcher."""
    woken: tuple[LaneName, ...] = ()
    """Lanes that an echo set going."""
    wanted: tuple[str, ...] = ()
    """Files to be fetched."""
    told: tuple[str, ...] = ()
    """Conversations in which an event of syncd's own waits now, or one that was parked."""
    strangers: tuple[tuple[str, str], ...] = ()
    """The (account, organization) of authors who are not known."""
    late: tuple[Late, ...] = ()
    """Webhooks that a poll was before."""


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
        event_waits: Callable[[str], None],
        event_parks: Callable[[], None] = lambda: None,
        files_wanted: Callable[[Sequence[str]], None] = lambda wanted: None,
        users_wanted: Callable[[Iterable[tuple[str, str]]], None] = lambda places: None,
    ) -> None:
        self._store = store
        self._topology = topology
        self._understanding = Understanding(platforms)
        self._clock = clock
        self._ids = ids
        self._hand_on = hand_on
        self._event_waits = event_waits
        self._event_parks = event_parks
        self._files_wanted = files_wanted
        self._users_wanted = users_wanted
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
            Incoming(arrival.id, account, now, self._understanding.facts(account, raw), via == HISTORY)
            for arrival, raw in zip(arrivals, events, strict=True)
        )
        outcomes = await self._take(Batch(arrivals, incoming, move))
        for arrival, outcome in zip(arrivals, outcomes, strict=True):
            self._counted(account, via, metrics.outcome_of(outcome.state, outcome.reason)).inc()
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

    async def look_at_parked(self) -> int:
        """Translate the events whose message has come since, or whose author is known now; how many still wait."""
        if not await self._store.read(inbox.any_parked):
            return 0
        while True:
            try:
                taken = await self._store.submit(self._look_at_parked, None, self._committed, side=Side.IN)
            except StoreUnavailable:
                raise
            except Exception:
                # One of them is poison: each for itself, so that it fails alone (G10).
                for event_id in await self._store.read(inbox.found_parked, MOST_PARKED):
                    await self._look_at_one_parked(event_id)
                break
            # Those that are parked again would be found again.
            if sum(outcome.state != "parked" for outcome in taken.outcomes) < MOST_PARKED:
                break
        return await self._store.write(inbox.give_up_parked, self._clock() - PARKED_FOR)

    async def _look_at_one_parked(self, event_id: str) -> None:
        try:
            await self._store.submit(self._look_at_parked, event_id, self._committed, side=Side.IN)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.exception("event.failed", event_id=event_id)
            await self._store.write(inbox.fail_parked, event_id, _poisoned(error))

    async def look_at_all_waiting(self) -> None:
        """The same for every conversation with an event that waits: at start, and as a safety net."""
        waiting = await self._store.read(inbox.waiting_conversations)
        if waiting:
            await self.look_again(waiting)

    async def _take(self, batch: Batch) -> tuple[Outcome, ...]:
        try:
            # Handed on from the commit itself: whoever waits for the answer may be gone by then.
            return (await self._store.submit(self._take_many, batch, self._taken, side=Side.IN)).outcomes
        except StoreUnavailable:
            raise
        except Exception as error:
            if len(batch.arrivals) == 1 and batch.move is None:
                if not batch.alone:
                    return await self._take(replace(batch, alone=True))
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

    def _taken(self, taken: Taken) -> None:
        self._committed(taken)
        for outcome in taken.outcomes:
            if outcome.state == "waiting" and outcome.conversation_id is not None:
                self._event_waits(outcome.conversation_id)
            elif outcome.state == "parked":
                self._event_parks()

    def _committed(self, taken: Taken) -> None:
        if taken.duties or taken.woken:
            self._hand_on(taken.duties, taken.woken)
        if taken.wanted:
            self._files_wanted(taken.wanted)
        if taken.strangers:
            self._users_wanted(taken.strangers)
        for conversation_id in taken.told:
            self._event_waits(conversation_id)
        for account, seconds in taken.late:
            metrics.webhook_late.labels(account).observe(seconds)

    @apart
    @unit("receive")
    def _take_many(self, conn: Connection, batches: Sequence[Batch]) -> list[Taken]:
        new, late = inbox.store(conn, [arrival for batch in batches for arrival in batch.arrivals])
        incoming = [one for batch in batches for one in batch.incoming if one.id in new]
        picture = Picture(self._ids, self._clock())
        if all(batch.alone for batch in batches):
            loading.load_users(conn, picture, incoming)
            earlier, later = list[Incoming](), list[Incoming]()
        else:
            earlier, later = parking.beside(conn, picture, incoming, self._understanding.stored)
        outcomes = self._translate(conn, picture, [*earlier, *incoming, *later])
        was_parked = {one.id for one in (*earlier, *later)}
        inbox.note(
            conn,
            {
                event_id: outcome
                for event_id, outcome in outcomes.items()
                if outcome.state != "done" or outcome.reason or event_id in was_parked
            },
        )
        taken = []
        for batch in batches:
            move = batch.move
            if move is not None:
                cursors.move(conn, move.account, move.end, move.value, move.owner, picture.now)
            taken.append(Taken(tuple(outcomes.get(one.id, DUPLICATE) for one in batch.arrivals)))
        # The batch's deliveries are handed on together, by whichever unit is answered first.
        taken[0] = replace(_taken(picture, outcomes, was_parked), outcomes=taken[0].outcomes, late=tuple(late))
        return taken

    @apart
    @unit("look_again")
    def _look_again(self, conn: Connection, wanted: Sequence[Waiting]) -> list[Taken]:
        conversation_ids = set().union(*(one.conversation_ids for one in wanted))
        stored = inbox.waiting(conn, conversation_ids)
        if all(one.first_only for one in wanted):
            stored = list({one.conversation_id: one for one in reversed(stored)}.values())
        incoming = self._understanding.stored(stored)
        picture = Picture(self._ids, self._clock())
        earlier, later = parking.beside(conn, picture, incoming, self._understanding.stored)
        outcomes = self._translate(conn, picture, [*earlier, *incoming, *later], again=conversation_ids)
        inbox.note(conn, outcomes)
        was_parked = {one.id for one in (*earlier, *later)}
        first = replace(_taken(picture, outcomes, was_parked), outcomes=tuple(outcomes[one.id] for one in incoming))
        return [first, *(Taken(()) for _ in wanted[1:])]

    @apart
    @unit("look_at_parked")
    def _look_at_parked(self, conn: Connection, wanted: Sequence[str | None]) -> list[Taken]:
        only = None if None in wanted else {one for one in wanted if one is not None}
        found = self._understanding.stored(inbox.parked_and_found(conn, MOST_PARKED, only))
        picture = Picture(self._ids, self._clock())
        loading.load_users(conn, picture, found)
        outcomes = self._translate(
            conn, picture, [*found, *parking.changes_of(conn, found, self._understanding.stored)]
        )
        inbox.note(conn, outcomes)
        first = replace(_taken(picture, outcomes, outcomes), outcomes=tuple(outcomes[one.id] for one in found))
        return [first, *(Taken(()) for _ in wanted[1:])]

    @step("translate")
    def _translate(
        self, conn: Connection, picture: Picture, incoming: Sequence[Incoming], *, again: Iterable[str] = ()
    ) -> dict[str, Outcome]:
        if not incoming:
            return {}
        loading.load(conn, picture, self._topology, incoming)
        picture.waiting.difference_update(again)
        outcomes = {one.id: decide(picture, self._topology, one) for one in incoming}
        saving.save(conn, picture)
        self._tell(conn, picture)
        return outcomes

    def _tell(self, conn: Connection, picture: Picture) -> None:
        told = [
            (event, untold.said.conversation_id)
            for untold in picture.untold
            for event in (notices.of_failure(untold, self._topology.link(untold.said.link), self._ids(), picture.now),)
            if event is not None
        ]
        inbox.add_waiting(conn, told)

    @apart
    @unit("keep_failed")
    def _keep_failed(self, conn: Connection, failed: Sequence[tuple[Batch, str]]) -> list[None]:
        for batch, reason in failed:
            new, _ = inbox.store(conn, batch.arrivals)
            inbox.note(conn, {event_id: Outcome("failed", reason) for event_id in new})
        return [None] * len(failed)


def _poisoned(error: Exception) -> str:
    return f"{type(error).__name__} in the translation"


def _taken(picture: Picture, outcomes: Mapping[str, Outcome], was_parked: Collection[str]) -> Taken:
    told = tuple(untold.said.conversation_id for untold in picture.untold)
    told += tuple(
        outcome.conversation_id
        for event_id, outcome in outcomes.items()
        if outcome.state == "waiting" and outcome.conversation_id is not None and event_id in was_parked
    )
    strangers = tuple(sorted(picture.strangers))
    return Taken((), tuple(picture.duties), _woken(picture), tuple(picture.wanted), told, strangers)


def _woken(picture: Picture) -> tuple[LaneName, ...]:
    return tuple(LaneName(pending.lane_id, pending.link, pending.target) for pending in picture.settled)

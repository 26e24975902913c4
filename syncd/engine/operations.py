"""Carries out what operators ask for: in one commit with the record of who asked what, and what became of it (G13)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from syncd.failpoints import unit
from syncd.model.clock import Clock, Ids
from syncd.model.operation import LONG, Asked, Done, Kind, Wish
from syncd.model.picture import Picture
from syncd.model.text import storable
from syncd.model.topology import Topology
from syncd.model.work import LaneName, extension_of
from syncd.store import held, lanes, operations
from syncd.store.held import HeldDelivery
from syncd.store.locks import apart
from syncd.store.writer import Store, StoreUnavailable

log = structlog.get_logger("syncd.operations")

MOST_AT_ONCE = 500
LOOK_SECONDS = 2.0
"""How often the tables are read for wishes that no daemon was asked to carry out."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a carried-out wish means for what runs."""

    done: Done
    lane: LaneName | None = None
    """It has something to do again."""
    resumed: str | None = None
    """An account or link that goes on."""


class _CannotBe(Exception):
    """A wish that cannot be carried out; the text says why and what to do."""


class Operations:
    """Takes wishes. `apply` is called with the effects right after their commit."""

    def __init__(
        self,
        store: Store,
        topology: Topology,
        *,
        accounts: Collection[str],
        finds_sent: Collection[str],
        clock: Clock,
        ids: Ids,
        apply: Callable[[Sequence[Effect]], Awaitable[None]],
        long_asked: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._topology = topology
        self._accounts = accounts
        self._finds_sent = finds_sent
        self._clock = clock
        self._ids = ids
        self._apply = apply
        self._long_asked = long_asked

    async def ask(self, wishes: Sequence[Wish], by: str) -> list[Done]:
        """Carry out wishes, each for itself; what became of each is committed when this returns.

        Raises `StoreUnavailable`.
        """
        now = self._clock()
        asked = [
            Asked(self._ids(), Wish(wish.kind, storable(wish.subject), storable(wish.detail)), by, now)
            for wish in wishes
        ]
        return await self._carried_out(self._ask, asked)

    async def run(self) -> None:
        """Look for wishes that were put into the tables of a shared database, until cancelled."""
        while self._store.shared:
            try:
                await self.take_waiting()
            except StoreUnavailable:
                pass  # They wait in the tables, like all else.
            await asyncio.sleep(LOOK_SECONDS)

    async def take_waiting(self) -> None:
        """Carry out the wishes that were put into the tables without a daemon. Raises `StoreUnavailable`."""
        while await self._store.read(operations.any_waiting):
            if not await self._carried_out(self._take, MOST_AT_ONCE):
                return

    async def _carried_out(self, function: Callable[..., list[Effect]], argument: object) -> list[Done]:
        effects = await self._store.write(function, argument)
        await self._apply(effects)
        if any(effect.done.wish.kind in LONG for effect in effects):
            self._long_asked()
        for effect in effects:
            done = effect.done
            told = {
                "operation": done.id,
                "kind": str(done.wish.kind),
                # Whoever is to be forgotten is not written down anew.
                "subject": "" if done.wish.kind is Kind.FORGET else done.wish.subject,
                "by": done.by,
                "result": done.result,
            }
            if done.ok:
                log.info("operation.done", **told)
            else:
                log.warning("operation.refused", **told)
        return [effect.done for effect in effects]

    @apart
    @unit("operate")
    def _ask(self, conn: Connection, asked: Sequence[Asked]) -> list[Effect]:
        operations.add(conn, asked)
        return self._carry_out(conn, asked)

    @apart
    @unit("operate_waiting")
    def _take(self, conn: Connection, limit: int) -> list[Effect]:
        return self._carry_out(conn, operations.take(conn, limit))

    def _carry_out(self, conn: Connection, asked: Sequence[Asked]) -> list[Effect]:
        held.lock(conn, [one.wish.subject for one in asked])
        effects = []
        for one in asked:
            if one.wish.kind in LONG:
                # It stays on record as waiting, for whoever carries such things out.
                effects.append(Effect(Done(one.id, one.wish, one.by, True, "it begins")))
                continue
            try:
                effect = self._effect(conn, one)
            except _CannotBe as error:
                effect = Effect(Done(one.id, one.wish, one.by, False, str(error)))
            operations.conclude(conn, effect.done, self._clock())
            effects.append(effect)
        return effects

    def _effect(self, conn: Connection, asked: Asked) -> Effect:
        match asked.wish.kind:
            case Kind.PAUSE:
                return self._pause(conn, asked)
            case Kind.RESUME:
                return self._resume(conn, asked)
            case Kind.STOP:
                return self._stop(conn, asked)
        # Read for each wish: the one before may have been for the same delivery.
        delivery = held.one(conn, asked.wish.subject)
        if delivery is None:
            raise _CannotBe(f"no delivery has the id {asked.wish.subject}: see `syncd dead list`, `syncd unknown list`")
        wanted = "dead" if asked.wish.kind in (Kind.RETRY, Kind.DROP) else "unknown"
        if delivery.row.state != wanted:
            raise _CannotBe(f"it is {delivery.row.state} now, not {wanted}: nothing was changed")
        match asked.wish.kind:
            case Kind.RETRY | Kind.SETTLE_RESEND:
                return self._send_again(conn, asked, delivery)
            case Kind.SETTLE_SENT:
                return self._was_sent(conn, asked, delivery)
            case _:
                held.skip(conn, delivery, f"dropped by {asked.by}", self._clock())
                return self._done(asked, "dropped", self._lane(delivery))

    def _send_again(self, conn: Connection, asked: Asked, delivery: HeldDelivery) -> Effect:
        row = delivery.row
        account = self._account(delivery)
        ask_first = account in self._finds_sent and row.tried_at is not None
        overtaken = held.is_overtaken(conn, delivery)
        # Under the reference of the first try: where a platform can be asked for it, nothing is sent twice.
        held.revive(conn, delivery, "unknown" if ask_first else "ready", f"asked for by {asked.by}", self._clock())
        told = "to be sent, unless the platform has it already" if ask_first else "to be sent"
        order = "; later messages of its lane were sent before it, so it arrives out of order" if overtaken else ""
        return self._done(asked, told + order, self._lane(delivery))

    def _was_sent(self, conn: Connection, asked: Asked, delivery: HeldDelivery) -> Effect:
        account, messageid = self._account(delivery), asked.wish.detail
        if not messageid:
            raise _CannotBe("the platform's id of the copy is missing")
        other = held.claimed_by(conn, account, messageid)
        if other is not None:
            raise _CannotBe(f"{messageid} is a copy of message {other} already: look for another one")
        picture = Picture(self._ids, self._clock())
        held.mark_sent(conn, delivery, account, messageid, f"settled as sent by {asked.by}", picture)
        return self._done(asked, f"sent as {messageid}", self._lane(delivery))

    def _pause(self, conn: Connection, asked: Asked) -> Effect:
        name = self._name(asked)
        new = operations.pause_sending(conn, name, asked.by, self._clock())
        return self._done(asked, "paused: nothing is sent; receiving goes on" if new else "it was paused already")

    def _resume(self, conn: Connection, asked: Asked) -> Effect:
        name = self._name(asked)
        was = operations.resume_sending(conn, name)
        if self._topology.link(name) is not None:
            lanes.hurry_link(conn, name)
        result = "resumed" if was else "it was not paused; whatever keeps it is tried again now"
        return Effect(Done(asked.id, asked.wish, asked.by, True, result), resumed=name)

    def _stop(self, conn: Connection, asked: Asked) -> Effect:
        if not operations.stop(conn, asked.wish.subject, asked.by, self._clock()):
            raise _CannotBe(f"no resync {asked.wish.subject} is under way: nothing was changed")
        return self._done(asked, "stopped; what was begun is finished")

    def _name(self, asked: Asked) -> str:
        name = asked.wish.subject
        if name in self._accounts or self._topology.link(name) is not None:
            return name
        raise _CannotBe(f"no account or link is called {name}: see `syncd status`")

    def _account(self, delivery: HeldDelivery) -> str:
        link = self._topology.link(delivery.row.link)
        if link is None:
            raise _CannotBe(f"its link {delivery.row.link} is not configured any more: add it, or drop the delivery")
        return link.channel.account if extension_of(delivery.row.target) is None else link.desk.account

    def _lane(self, delivery: HeldDelivery) -> LaneName:
        return LaneName(delivery.row.lane_id, delivery.row.link, delivery.row.target)

    def _done(self, asked: Asked, result: str, lane: LaneName | None = None) -> Effect:
        return Effect(Done(asked.id, asked.wish, asked.by, True, result), lane)

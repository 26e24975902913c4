"""One process: an engine on a store, joined as a daemon joins it, that can be killed, stopped, frozen and drained."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from syncd.engine.dispatch import Dispatcher
from syncd.engine.ledger import Ledger
from syncd.engine.platform import RawEvent
from syncd.engine.poll import PolledEnd, Poller
from syncd.engine.receive import Move, Receiver
from syncd.engine.sender import Sender
from syncd.model.clock import Ids
from syncd.model.outcome import Outcome
from syncd.store import accounts, lanes, sessions
from syncd.store.database import Location
from syncd.store.writer import StoreUnavailable
from tests.machine.clockwork import Clockwork
from tests.machine.facade import Facade, Temper
from tests.machine.mortal import Mortal
from tests.machine.rounds import Rounds
from tests.machine.scenery import BIRD, DESK, EPOCH, FINDS_SENT, ISLASH, POLLED
from tests.machine.truth import Truth

POLL_INTERVAL = timedelta(seconds=30)


class Watched:
    """A receiver whose acknowledgements are noted."""

    def __init__(self, receiver: Receiver, truth: Truth) -> None:
        self._receiver = receiver
        self._truth = truth

    async def take(
        self, account: str, events: Sequence[RawEvent], via: str, *, move: Move | None = None
    ) -> tuple[Outcome, ...]:
        """`Receiver.take`; what is not acknowledged stays noted as tried."""
        truth = self._truth
        known = {hook.event.body: hook for hook in truth.said}
        told = [(known.get(event.body), next(truth.attempts)) for event in events]
        for hook, number in told:
            if hook is not None and hook.placed is None:
                hook.tried = number
        outcomes = await self._receiver.take(account, events, via, move=move)
        for (hook, number), outcome in zip(told, outcomes, strict=True):
            if hook is None:
                continue
            hook.waited = hook.waited or outcome.state == "waiting"
            if hook.placed is None:
                # Given up as not committed meanwhile: the process stood still, and this is a later commit.
                hook.placed = number if hook.tried == number else next(truth.attempts)
            if outcome.state == "failed":
                truth.faults.append(f"an event was given up: {outcome.reason}")
        return outcomes


class Process:
    """A daemon without HTTP."""

    def __init__(
        self, name: str, location: Location, loop: Clockwork, rounds: Rounds, truth: Truth, temper: Temper
    ) -> None:
        self.name = name
        self.skew = 0.0
        """Seconds by which this process's clock is ahead."""
        self.store = Mortal(location, loop, rounds, truth.doubt)
        self._loop = loop
        self._truth = truth
        ids = Ids(self.clock, tag=f"{name:0>8}"[-8:])
        self.ledger = Ledger(self.store, truth.topology, owner=name, clock=self.clock, ids=ids)
        self.dispatcher = Dispatcher(self.ledger, truth.topology)
        platforms = {one: Facade(one, truth, temper, self.store) for one in (DESK, BIRD, ISLASH)}
        receiver = Receiver(
            self.store,
            truth.topology,
            platforms,
            clock=self.clock,
            ids=ids,
            hand_on=self.dispatcher.hand_on,
            event_waits=self.dispatcher.event_waits,
        )
        senders = {
            account: Sender(
                account,
                platform,
                finds_sent=account in FINDS_SENT,
                rate=100_000.0,
                ledger=self.ledger,
                topology=truth.topology,
                yard=self.dispatcher,
                clock=self.clock,
            )
            for account, platform in platforms.items()
        }
        self.dispatcher.connect(senders, receiver)
        self.receiver = Watched(receiver, truth)
        ends = [PolledEnd(BIRD, end, end, platforms[BIRD], POLL_INTERVAL) for end in POLLED]
        self.poller = Poller(ends, self.receiver, self.store, owner=name, clock=self.clock)  # type: ignore[arg-type]
        self.buried = False
        self._running: list[asyncio.Task[None]] = []

    @property
    def alive(self) -> bool:
        """It has not died."""
        return not self.store.dead

    def clock(self) -> datetime:
        """This process's wall clock."""
        return EPOCH + timedelta(seconds=self._loop.elapsed + self.skew)

    async def start(self) -> None:
        """As a daemon starts (`Daemon.run`)."""
        self.store.lock()
        await self.store.start()
        if not self.store.shared:
            for forget in (lanes.disown_all, accounts.forget_states, sessions.disown_openings):
                await self.store.write(forget)
        for part in (self.dispatcher.run(), self.poller.run()):
            task = self._loop.create_task(part)
            task.add_done_callback(self._ended)
            self._running.append(task)

    async def drain(self) -> None:
        """As a daemon ends after SIGTERM."""
        for task in self._running:
            task.cancel()
        try:
            async with asyncio.timeout(25 * 0.9):
                await self.dispatcher.drain()
                await self.poller.leave()
                await self.store.write(lanes.release_all, self.name)
        except (TimeoutError, StoreUnavailable):
            pass
        await self.bury()

    async def bury(self) -> None:
        """The process is gone. What it had asked the database for happens, or has not reached it."""
        if self.buried:
            return
        self.buried = True
        self.store.die()
        self._truth.hang_up(self.store)
        self.store.thaw()
        await self.store.stop()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._truth.faults.append(f"the engine ended with {task.exception()!r}")

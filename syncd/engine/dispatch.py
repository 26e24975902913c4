"""Dispatch: brings lanes to the senders when they have something to do, from memory at once, from the tables always."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from syncd.engine.ledger import Ledger
from syncd.engine.receive import Receiver
from syncd.engine.sender import Sender
from syncd.model.topology import Topology
from syncd.model.work import Duty, LaneName, extension_of
from syncd.store.writer import StoreUnavailable

log = structlog.get_logger("syncd.dispatch")

SWEEP_SECONDS = 5.0
"""How often the tables are read for lanes that memory does not know: of dead processes, and past the limits below."""
OVERFLOW_SECONDS = 0.25
"""The same while memory is full."""
MOST_LANES = 5_000
"""Lanes of one account in memory; more wait in their table (G9)."""
MOST_TIMERS = 20_000
"""Lanes that wait for a time, in memory."""
SWEEP_PAGE = 1_000


class Dispatcher:
    """Owns the senders. `hand_on` may be called from any task of the loop."""

    def __init__(self, ledger: Ledger, topology: Topology) -> None:
        self._ledger = ledger
        self._topology = topology
        self.senders: dict[str, Sender] = {}
        self._receiver: Receiver | None = None
        self._timers: dict[str, tuple[asyncio.TimerHandle, str]] = {}
        self._hurrying: set[asyncio.Task[None]] = set()
        self._waiting_events: set[str] = set()
        self._events_wake = asyncio.Event()
        self._draining = False
        self._overflowed = False

    def connect(self, senders: Mapping[str, Sender], receiver: Receiver) -> None:
        """Give it what it works with; they in turn know it."""
        self.senders = dict(senders)
        self._receiver = receiver

    def hand_on(self, duties: Sequence[Duty], woken: Sequence[LaneName]) -> None:
        """Newly committed deliveries, and lanes that an echo set going."""
        self._ledger.remember(duties)
        names = (*(LaneName(duty.lane_id, duty.link, duty.target) for duty in duties), *woken)
        for name in names:
            account = self._account_of(name.link, name.target)
            if account is not None:
                self.wake(name.lane_id, account)

    def wake(self, lane_id: str, account: str) -> None:
        """Visit the lane as soon as its turn comes; where memory is full, the sweep brings it later."""
        sender = self.senders.get(account)
        if sender is None or self._draining:
            return
        if len(sender) < MOST_LANES:
            sender.add(lane_id)
        else:
            self._overflowed = True

    def wake_in(self, lane_id: str, account: str, seconds: float) -> None:
        """Visit the lane after so long."""
        known = self._timers.pop(lane_id, None)
        if known is not None:
            known[0].cancel()
        if self._draining or len(self._timers) >= MOST_TIMERS:
            return
        timer = asyncio.get_running_loop().call_later(seconds, self._due, lane_id, account)
        self._timers[lane_id] = (timer, account)

    def hurry(self, account: str) -> None:
        """The account works again: let its lanes go on that wait for a time."""
        waiting = [lane_id for lane_id, (_, theirs) in self._timers.items() if theirs == account]
        if waiting and not self._draining:
            task = asyncio.get_running_loop().create_task(self._hurry(waiting, account), name=f"hurry-{account}")
            self._hurrying.add(task)
            task.add_done_callback(self._hurrying.discard)

    async def _hurry(self, lane_ids: Sequence[str], account: str) -> None:
        try:
            await self._ledger.hurry(lane_ids)
        except StoreUnavailable:
            return  # Their own times still hold.
        for lane_id in lane_ids:
            timer = self._timers.pop(lane_id, None)
            if timer is not None:
                timer[0].cancel()
            self.wake(lane_id, account)

    def look_again(self, conversation_id: str) -> None:
        """Translate the events that wait in this conversation."""
        self._waiting_events.add(conversation_id)
        self._events_wake.set()

    async def run(self) -> None:
        """Sweep the tables and look again at waiting events, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep(), name="sweep")
            group.create_task(self._look_again(), name="waiting-events")

    async def drain(self) -> None:
        """No new claims; returns when the sends in flight are recorded (G8)."""
        self._draining = True
        for timer, _ in self._timers.values():
            timer.cancel()
        self._timers.clear()
        await asyncio.gather(*(sender.drain() for sender in self.senders.values()))

    def _due(self, lane_id: str, account: str) -> None:
        self._timers.pop(lane_id, None)
        self.wake(lane_id, account)

    async def _sweep(self) -> None:
        while True:
            self._overflowed = False
            try:
                await self._sweep_once()
            except StoreUnavailable as error:
                log.warning("sweep.failed", reason=str(error))
            await asyncio.sleep(OVERFLOW_SECONDS if self._overflowed else SWEEP_SECONDS)

    async def _sweep_once(self) -> None:
        after = ""
        while not self._overflowed:
            page = await self._ledger.due(SWEEP_PAGE, after)
            for name, wait in page:
                account = self._account_of(name.link, name.target)
                if account is None:
                    continue
                if wait is None:
                    self.wake(name.lane_id, account)
                elif name.lane_id not in self._timers:
                    self.wake_in(name.lane_id, account, wait)
            if len(page) < SWEEP_PAGE:
                return
            after = page[-1][0].lane_id

    async def _look_again(self) -> None:
        assert self._receiver is not None
        looked_at = -SWEEP_SECONDS
        while True:
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._events_wake.wait()
            except TimeoutError:
                pass
            now = asyncio.get_running_loop().time()
            everywhere = now - looked_at >= SWEEP_SECONDS
            looked_at = now if everywhere else looked_at
            self._events_wake.clear()
            wanted, self._waiting_events = self._waiting_events, set()
            try:
                if everywhere:
                    await self._receiver.look_at_all_waiting()
                else:
                    await self._receiver.look_again(wanted)
            except StoreUnavailable as error:
                log.warning("events.look_again_failed", reason=str(error))

    def _account_of(self, link_name: str, target: str) -> str | None:
        link = self._topology.link(link_name)
        if link is None:
            return None
        return link.channel.account if extension_of(target) is None else link.desk.account

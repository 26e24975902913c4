"""Dispatch: brings lanes to the senders when they have something to do, from memory at once, from the tables always."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from syncd.engine import deadline
from syncd.engine.ledger import LEASE, Ledger
from syncd.engine.operations import Effect
from syncd.engine.receive import Receiver
from syncd.engine.sender import Sender
from syncd.model.operation import Kind
from syncd.model.topology import Topology
from syncd.model.work import Duty, LaneName, extension_of
from syncd.store.writer import StoreUnavailable

SWEEP_SECONDS = 5.0
"""How often the tables are read for lanes that memory does not know: of dead processes, and past the limits below."""
RENEW_SECONDS = LEASE.total_seconds() / 4
"""How often the leases of lanes in hand are renewed."""
PARKED_SECONDS = 0.5
"""How often we look whether the message has come that an event speaks of."""
PARTING_SECONDS = 2.0
"""How long a pause waits for what is in hand."""
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
        # Events of an earlier run may wait already.
        self._events_wake.set()
        self._lately_waiting: tuple[set[str], set[str]] = (set(), set())
        self._parked = asyncio.Event()
        self._draining = False
        self._overflowed = False
        self._followed: frozenset[str] = frozenset()

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

    async def apply(self, effects: Sequence[Effect]) -> None:
        """Operators' wishes that were carried out: whatever they concern goes on or stands still when this returns."""
        try:
            await self.obey()
            if any(effect.done.wish.kind is Kind.PAUSE for effect in effects):
                # Who was past the gate already has begun by then.
                await asyncio.gather(*(sender.settled(PARTING_SECONDS) for sender in self.senders.values()))
        except StoreUnavailable:
            pass  # It is done, and obeyed as soon as the tables can be read.
        for effect in effects:
            if effect.lane is not None:
                account = self._account_of(effect.lane.link, effect.lane.target)
                if account is not None:
                    self.wake(effect.lane.lane_id, account)

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

    def event_waits(self, conversation_id: str) -> None:
        """A newly committed event waits for a send of its conversation, which may be settled by now, or any moment.

        Where both commit at the same time, neither sees the other: so whichever is told of last looks again.
        """
        self._lately_waiting[0].add(conversation_id)
        self.look_again(conversation_id)

    def event_parks(self) -> None:
        """A newly committed event came before its message."""
        self._parked.set()

    def message_ready(self, lanes: Sequence[LaneName]) -> None:
        """The files of a message are there, or will not be: its lanes go on."""
        for lane in lanes:
            account = self._account_of(lane.link, lane.target)
            if account is not None:
                self.wake(lane.lane_id, account)

    def send_settled(self, conversation_id: str, *, event_waits: bool) -> None:
        """A send is recorded; `event_waits`: an event was seen to wait for it."""
        newer, older = self._lately_waiting
        if event_waits or conversation_id in newer or conversation_id in older:
            self.look_again(conversation_id)

    async def run(self) -> None:
        """Sweep the tables and look again at waiting events, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep(), name="sweep")
            group.create_task(self._look_again(), name="waiting-events")
            group.create_task(self._renew(), name="renew")
            group.create_task(self._obey(), name="pauses")
            group.create_task(self._look_at_parked(), name="parked-events")

    async def drain(self) -> None:
        """No new claims; returns when the sends in flight are recorded (G8)."""
        self._draining = True
        for timer, _ in self._timers.values():
            timer.cancel()
        self._timers.clear()
        renewing = asyncio.get_running_loop().create_task(self._renew(), name="renew")
        try:
            await asyncio.gather(*(sender.drain() for sender in self.senders.values()))
        finally:
            renewing.cancel()

    def _due(self, lane_id: str, account: str) -> None:
        self._timers.pop(lane_id, None)
        self.wake(lane_id, account)

    async def _sweep(self) -> None:
        while True:
            self._overflowed = False
            try:
                await self._sweep_once()
            except StoreUnavailable:
                pass  # The store tells of its outages itself.
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

    async def _obey(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.obey()
            except StoreUnavailable:
                continue  # What was paused stays so.

    async def obey(self) -> None:
        """Follow what is paused and resumed, here or in another process. Raises `StoreUnavailable`."""
        await self._ledger.look_at_pauses()
        resumed = await self._ledger.resumed_lately()
        new = {name for operation, name in resumed.items() if operation not in self._followed}
        self._followed = frozenset(resumed)
        for account, sender in self.senders.items():
            sender.gate.hold(account in self._ledger.pauses)
            if account in new:
                sender.health.resumed()
        for link in self._topology.links:
            if link.name in new:
                for account in {link.channel.account, link.desk.account}:
                    self.hurry(account)

    async def _renew(self) -> None:
        while self._ledger.shared:
            await asyncio.sleep(RENEW_SECONDS)
            in_hand = sorted(lane for sender in self.senders.values() for lane in sender.in_hand)
            began = deadline.now()
            try:
                ours = await self._ledger.renew(in_hand) if in_hand else ()
                for sender in self.senders.values():
                    sender.renewed(ours, began)
            except StoreUnavailable:
                continue  # Nobody else can take them while the database is away; what was sent is recorded in any case.

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
            if everywhere:
                looked_at = now
                self._lately_waiting = (set(), self._lately_waiting[0])
            self._events_wake.clear()
            wanted, self._waiting_events = self._waiting_events, set()
            try:
                if everywhere:
                    await self._receiver.look_at_all_waiting()
                else:
                    await self._receiver.look_again(wanted)
            except StoreUnavailable:
                pass  # As above.

    async def _look_at_parked(self) -> None:
        assert self._receiver is not None
        left = 0
        while True:
            try:
                async with asyncio.timeout(PARKED_SECONDS if left else SWEEP_SECONDS):
                    await self._parked.wait()
                await asyncio.sleep(PARKED_SECONDS)
            except TimeoutError:
                pass
            self._parked.clear()
            try:
                left = await self._receiver.look_at_parked()
            except StoreUnavailable:
                pass  # As above.

    def _account_of(self, link_name: str, target: str) -> str | None:
        link = self._topology.link(link_name)
        if link is None:
            return None
        return link.channel.account if extension_of(target) is None else link.desk.account

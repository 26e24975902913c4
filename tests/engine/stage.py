"""An engine on a real store, with platforms in memory: what they are told to do next, they do."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from syncd.engine.dispatch import Dispatcher
from syncd.engine.ledger import Ledger
from syncd.engine.platform import Door, Finding, HookRequest, Minimal, Page, RawEvent
from syncd.engine.receive import Receiver
from syncd.engine.sender import Sender
from syncd.model.clock import Ids, utc_now
from syncd.model.facts import Fact
from syncd.model.sending import Opening, Outgoing, Sent
from syncd.model.topology import Topology
from syncd.store.writer import Store
from tests.model.samples import TOPOLOGY

Answer = Sent | Exception | Callable[[Outgoing], Awaitable[Sent]]


class FakePlatform(Minimal):
    """A platform in memory. Its events are facts under a name; its answers are queued, else everything is taken."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.facts: dict[bytes, tuple[Fact, ...]] = {}
        self.taken: list[Outgoing] = []
        """What was asked, in order, whatever was answered."""
        self.accepted: list[Outgoing] = []
        """What was answered with `Sent`."""
        self.openings: list[Opening] = []
        self.answers: list[Answer] = []
        self.opening_answers: list[str | Exception] = []
        self.found: dict[str, Sent] = {}
        """What `find_sent` finds, by reference."""
        self.pages: dict[str, list[Page | Exception]] = defaultdict(list)
        self.polled: list[tuple[str, str | None]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.delay = 0.0

    def event(self, key: str, *facts: Fact, window: timedelta | None = None, end: str = "") -> RawEvent:
        """An event that will be understood as these facts."""
        body = f"{self.name}:{key}".encode()
        self.facts[body] = facts
        return RawEvent(key, body, end, window)

    def doors(self) -> tuple[Door, ...]:
        return ()

    def verify(self, request: HookRequest) -> tuple[RawEvent, ...]:
        raise NotImplementedError

    def parse(self, event: RawEvent) -> tuple[Fact, ...]:
        return self.facts[event.body]

    async def send(self, outgoing: Outgoing) -> Sent:
        self.taken.append(outgoing)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.delay)
            answer = self.answers.pop(0) if self.answers else Sent(f"{self.name}-{len(self.taken)}")
            if isinstance(answer, Exception):
                raise answer
            sent = answer if isinstance(answer, Sent) else await answer(outgoing)
            self.accepted.append(outgoing)
            return sent
        finally:
            self.at_once -= 1

    async def open_session(self, opening: Opening) -> str:
        self.openings.append(opening)
        answer = self.opening_answers.pop(0) if self.opening_answers else f"s{len(self.openings)}"
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def find_sent(self, outgoing: Outgoing, since: datetime) -> Sent | None:
        return self.found.get(outgoing.reference)

    async def poll(self, end: str, cursor: str | None, now: datetime) -> Page:
        self.polled.append((end, cursor))
        if not self.pages[end]:
            await asyncio.sleep(0)
            return Page((), cursor or "start")
        page = self.pages[end].pop(0)
        if isinstance(page, Exception):
            raise page
        return page

    async def probe(self) -> tuple[Finding, ...]:
        return ()

    async def register_hooks(self, *, dry_run: bool) -> tuple[Finding, ...]:
        return ()

    @property
    def texts(self) -> list[str]:
        """The accepted texts, in order."""
        return [outgoing.text for outgoing in self.accepted]


@dataclass
class Stage:
    """One process's engine."""

    store: Store
    platforms: dict[str, FakePlatform]
    receiver: Receiver
    dispatcher: Dispatcher
    ledger: Ledger
    topology: Topology
    keys: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def tell(self, account: str, *facts: Fact, via: str = "webhook") -> Any:
        """One event with these facts; what became of it."""
        event = self.platforms[account].event(f"e{next(self.keys)}", *facts)
        return (await self.receiver.take(account, [event], via))[0]

    async def accepted(self, account: str, number: int, seconds: float = 30.0) -> None:
        """Wait until the platform took so many messages."""
        async with asyncio.timeout(seconds):
            while len(self.platforms[account].accepted) < number:
                await asyncio.sleep(0.005)

    async def quiet(self, seconds: float = 30.0) -> None:
        """Wait until the senders have nothing in hand and no timer runs."""
        async with asyncio.timeout(seconds):
            while self.dispatcher._timers or any(len(sender) for sender in self.dispatcher.senders.values()):
                await asyncio.sleep(0.005)


def stage(
    store: Store,
    topology: Topology = TOPOLOGY,
    *,
    owner: str = "one",
    clock: Callable[[], datetime] = utc_now,
    rate: float = 100_000.0,
    finds_sent: Iterable[str] = (),
    platforms: dict[str, FakePlatform] | None = None,
) -> Stage:
    """The parts of an engine joined as a daemon joins them; nothing runs on its own yet but what is handed on."""
    names = {link.desk.account for link in topology.links} | {link.channel.account for link in topology.links}
    made = platforms or {name: FakePlatform(name) for name in sorted(names)}
    ids = Ids(clock)
    ledger = Ledger(store, topology, owner=owner, clock=clock, ids=ids)
    dispatcher = Dispatcher(ledger, topology)
    receiver = Receiver(
        store, topology, made, clock=clock, ids=ids, hand_on=dispatcher.hand_on, event_waits=dispatcher.event_waits
    )
    senders = {
        name: Sender(
            name,
            platform,
            finds_sent=name in finds_sent,
            rate=rate,
            ledger=ledger,
            topology=topology,
            yard=dispatcher,
            clock=clock,
        )
        for name, platform in made.items()
    }
    dispatcher.connect(senders, receiver)
    return Stage(store, made, receiver, dispatcher, ledger, topology)


@asynccontextmanager
async def running(one: Stage) -> AsyncIterator[Stage]:
    """With the sweep and the look at waiting events."""
    task = asyncio.create_task(one.dispatcher.run())
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await one.dispatcher.drain()

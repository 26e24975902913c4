"""One process's way to one account: the platform interface in front of the truth, and the ways in which a call ends."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeVar

from syncd.engine import deadline
from syncd.engine.platform import Door, Finding, HookRequest, Minimal, Page, RawEvent
from syncd.model.facts import Fact
from syncd.model.sending import AuthFailed, MaybeSent, NotSent, Opening, Outgoing, RateLimited, Rejected, Sent
from tests.machine.mortal import Mortal
from tests.machine.scenery import BIRD
from tests.machine.truth import Arrival, Call, Truth

R = TypeVar("R")

End = Literal[
    "taken",
    "taken without id",
    "not sent",
    "rate limited",
    "rejected",
    "lost, done",
    "lost, not done",
    "slow",
    "slow, done",
    "dies before",
    "dies after",
]
"""How a call ends. `slow` ones end when the machine says, or as lost after a while; `dies`: the process does, before or
after the platform did what was asked."""
CLIENT_PATIENCE = 15.0
"""Seconds that a client waits for an answer."""
OPENING = "opening"
"""What `Temper` calls the desk's open calls."""
OVERLAP = 2
"""Rows that a poll finds again."""


@dataclass(eq=False)
class Slow:
    """A call that the machine will end."""

    caller: Mortal
    end: asyncio.Future[End]


@dataclass(eq=False)
class Temper:
    """How the platforms will behave towards whoever calls."""

    plans: dict[str, list[End]] = field(default_factory=lambda: defaultdict(list))
    """How the next sends of an account, and the next open calls, end; then all are taken."""
    slow: list[Slow] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Number of the key that each account takes now."""

    def next(self, call: Call) -> End:
        """How this call ends."""
        plans = self.plans[OPENING if call.kind == "open" else call.account]
        return plans.pop(0) if plans else "taken"

    def under_way(self) -> list[Slow]:
        """Slow calls whose caller waits for the answer."""
        return [one for one in self.slow if not one.caller.dead and not one.end.done()]

    def mend(self) -> None:
        """All is well from now on."""
        self.plans.clear()


class Facade(Minimal):
    """A platform of §10 without HTTP, for one process."""

    def __init__(self, account: str, truth: Truth, temper: Temper, store: Mortal) -> None:
        self._account = account
        self._truth = truth
        self._temper = temper
        self._store = store
        self._key = temper.keys[account]

    def doors(self) -> tuple[Door, ...]:
        return ()

    def verify(self, request: HookRequest) -> tuple[RawEvent, ...]:
        raise NotImplementedError

    def parse(self, event: RawEvent) -> tuple[Fact, ...]:
        return self._truth.meaning[event.body]

    async def send(self, outgoing: Outgoing) -> Sent:
        await self._enter()
        call = self._truth.begin(self._account, "send", self._truth.lane_of(outgoing), outgoing.reference, self._store)
        arrivals: list[Arrival] = []

        def do(*, named: bool = True) -> Arrival:
            if not arrivals:
                arrivals.append(self._truth.take(self._account, outgoing, call.began_at, named=named))
            arrivals[0].named = named
            return arrivals[0]

        arrival = await self._carried_out(call, do, rejected=outgoing.reference)
        return self._truth.answer(arrival)

    async def open_session(self, opening: Opening) -> str:
        await self._enter()
        where = (opening.extension, opening.contact)
        call = self._truth.begin(self._account, "open", where, "", self._store)

        def do(*, named: bool = True) -> str:
            return self._truth.open_session(opening.extension, opening.contact)

        return await self._carried_out(call, do, rejected=" ".join(where))

    async def find_sent(self, outgoing: Outgoing, since: datetime) -> Sent | None:
        await self._enter()
        found = self._truth.find(outgoing.reference)
        await self._store.awake()
        return found

    async def poll(self, end: str, cursor: str | None, now: datetime) -> Page:
        await self._enter()
        rows = self._truth.rows[end]
        known = len(rows) if cursor is None else max(0, int(cursor) - OVERLAP)
        page = Page(tuple(hook.event for hook in rows[known:]), str(len(rows)))
        await self._store.awake()
        return page

    async def probe(self) -> tuple[Finding, ...]:
        return ()

    async def register_hooks(self, *, dry_run: bool) -> tuple[Finding, ...]:
        return ()

    async def _enter(self) -> None:
        await self._store.awake()
        await asyncio.sleep(0)
        if deadline.is_over():
            raise NotSent("this process was stopped before it could begin")
        if self._key != self._temper.keys[self._account]:
            raise AuthFailed("the key was renewed")

    async def _carried_out(self, call: Call, do: Callable[..., R], *, rejected: str) -> R:
        try:
            return await self._end(call, do, self._temper.next(call), rejected)
        finally:
            if call in self._truth.calls:
                self._truth.calls.remove(call)
            if not self._store.dead:
                # Whatever happened there: a process that stands still hears of it when it goes on.
                await self._store.awake()

    async def _end(self, call: Call, do: Callable[..., R], end: End, rejected: str) -> R:
        if end == "slow" or end == "slow, done":
            return await self._slowly(call, do, rejected, done=end == "slow, done")
        if end == "taken without id" and self._account == BIRD:
            end = "taken"
        match end:
            case "taken":
                return do()
            case "taken without id":
                return do(named=False)
            case "not sent":
                raise NotSent("connection refused")
            case "rate limited":
                raise RateLimited("too many requests", retry_after=3.0)
            case "rejected":
                self._truth.rejected.add(rejected)
                raise Rejected("not a number in service")
            case "lost, done" | "lost, not done":
                if end == "lost, done":
                    do()
                self._truth.doubt(call.reference)
                raise MaybeSent("the connection broke before the answer")
            case _:
                if end == "dies after":
                    do()
                self._store.die()
                self._truth.hang_up(self._store)
                await asyncio.get_running_loop().create_future()
                raise AssertionError("dead processes do not go on")

    async def _slowly(self, call: Call, do: Callable[..., R], rejected: str, *, done: bool) -> R:
        if done:
            do()
        slow = Slow(self._store, asyncio.get_running_loop().create_future())
        self._temper.slow.append(slow)
        try:
            async with asyncio.timeout(CLIENT_PATIENCE):
                end = await slow.end
        except TimeoutError:
            end = "lost, done" if done else "lost, not done"
        finally:
            self._temper.slow.remove(slow)
        if done and end not in ("taken", "taken without id"):
            end = "lost, done"
        return await self._end(call, do, end, rejected)

"""One example's world: a loop, a database, the truth and the processes; and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from syncd.model.facts import StatusSeen
from syncd.store.database import Location
from syncd.store.dialect import is_postgresql
from syncd.store.writer import StoreUnavailable
from tests.machine import verdict
from tests.machine.clockwork import Clockwork
from tests.machine.facade import Temper
from tests.machine.look import Look
from tests.machine.process import Process
from tests.machine.rounds import Rounds
from tests.machine.scenery import BIRD, EPOCH, Policy, topology
from tests.machine.truth import NAMED_WITHIN, NEWS_WITHIN, SAME_WITHIN, TELLABLE_WITHIN, Hook, Truth

ROUNDS = 12
"""Half minutes in which everything must have settled."""


@dataclass
class Ground:
    """What examples of one database share."""

    look: Look
    errors: list[str] = field(default_factory=list)
    """Errors that the engine logged: each is a defect."""
    now: Callable[[Connection], datetime] = lambda conn: EPOCH
    """The clock of leases; the example that runs gives it."""
    seconds: Callable[[], float] = lambda: 0.0
    """The clock that goes on while a process stands still."""


class Setting:
    """One example."""

    def __init__(self, ground: Ground, policy: Policy, *, echoes: bool) -> None:
        self.ground = ground
        self.look = ground.look
        self.policy: Policy = policy
        self.loop = Clockwork()
        self._rounds = Rounds(self.loop)
        self.loop.set_exception_handler(self._uncaught)
        self.truth = Truth(self.loop, topology(policy), echoes)
        self.temper = Temper()
        self.processes: dict[str, Process] = {}
        self.routes_are_sure = True
        """Clocks agree and nothing waited, so that it is certain where the contact last wrote."""
        self._location: Location | None = None
        self._started = 0
        ground.errors.clear()
        ground.now = self._now
        ground.seconds = self.loop.time

    def do(self, what: Any) -> None:
        """Carry out one step, and all that follows from it."""
        self.loop.elapsed += 0.01
        self.loop.run_until_complete(self._do(what))

    async def _do(self, what: Any) -> None:
        await what
        await self.settle_deaths()
        if self.ground.errors:
            self.truth.faults.append(f"an error was logged: {self.ground.errors[0]}")
        assert not self.truth.faults, "\n".join(self.truth.faults)

    async def begin(self) -> None:
        """A fresh database, and all processes running."""
        self._location = await self.look.fresh(self.loop)
        for name in self.look.processes:
            await self.start(name)

    async def start(self, name: str) -> Process:
        """Start this process (again)."""
        assert self._location is not None
        self._started += 1
        skew = self.processes[name].skew if name in self.processes else 0.0
        process = Process(f"{name}{self._started}", self._location, self.loop, self._rounds, self.truth, self.temper)
        process.skew = skew
        self.processes[name] = process
        await process.start()
        await self.loop.quiet()
        return process

    async def able(self, pick: int) -> Process:
        """A process that runs; of several one of them."""
        there = [one for one in self.processes.values() if one.alive and not one.store.frozen]
        if there:
            return there[pick % len(there)]
        name = self.look.processes[pick % len(self.look.processes)]
        if self.processes[name].alive:
            self.processes[name].store.thaw()
            await self.loop.quiet()
            if self.processes[name].alive:
                return self.processes[name]
        await self.settle_deaths()
        return await self.start(name)

    async def kill(self, process: Process) -> None:
        """The process is gone, whatever it was doing."""
        process.store.die()
        await self.loop.quiet()
        await self.bury(process)

    async def deliver(self, process: Process, hook: Hook, *, times: int = 1) -> None:
        """A platform calls a process; it calls again later where it got no 2xx."""
        self.loop.elapsed += 0.001
        took = [self.loop.create_task(self._call(process, hook)) for _ in range(times)]
        await self.loop.quiet()
        await self._heard(process, hook, took)

    async def deliver_at_once(self, calls: list[tuple[Process, Hook]]) -> None:
        """Platforms call at the same moment."""
        self.loop.elapsed += 0.001
        took = [(process, hook, self.loop.create_task(self._call(process, hook))) for process, hook in calls]
        await self.loop.quiet()
        for process, hook, task in took:
            await self._heard(process, hook, [task])

    async def tellable(self, hook: Hook) -> bool:
        """Whether it is told now, or never: what only text and time can tell from news comes soon or not at all."""
        now = self.loop.elapsed
        if hook.event.window is not None and hook.placed_at is not None:
            return now - hook.placed_at < SAME_WITHIN.total_seconds() - 4
        arrival = hook.arrival
        if arrival is None or arrival.account == BIRD or await self._is_mapped(arrival.messageid):
            return True
        (fact,) = self.truth.meaning[hook.event.body]
        if isinstance(fact, StatusSeen):
            # Of what is sent again, the first copy's id is nobody's: it may pass for another's.
            return self.policy == "hold" and now - arrival.began_at < NEWS_WITHIN
        if arrival.named:
            return now - arrival.began_at < TELLABLE_WITHIN
        # Of two copies without an id neither is certain to be the one.
        alone = [one for one in self.truth.arrivals if one.sessionid == arrival.sessionid and not one.named]
        return len(alone) == 1 and now - arrival.began_at < NAMED_WITHIN

    async def settle(self) -> None:
        """Platforms and databases are well, everything is told, and time passes until nothing is left to do."""
        self.temper.mend()
        for name, process in list(self.processes.items()):
            process.store.spare()
            process.store.come_back()
            process.store.thaw()
            await self.settle_deaths()
            if not process.alive:
                await self.start(name)
        for slow in self.temper.under_way():
            slow.end.set_result("taken")
        await self._tell_all()
        for name, process in list(self.processes.items()):
            if not any(self.temper.keys.values()):
                break  # Else it may have been started with a key that is refused now.
            await process.drain()
            await self.bury(process)
            await self.start(name)
        await self._come_to_rest()
        await self._last_words()
        await self._come_to_rest()

    async def judge(self) -> None:
        """Raises `AssertionError` with everything that is wrong."""
        waited = any(hook.waited for hook in self.truth.said)
        told = await verdict.faults(
            self.look, self.truth, self.policy, routes_are_sure=self.routes_are_sure and not waited
        )
        told += await self._stale_sessions()
        assert not told, "\n".join(told)

    def end(self) -> None:
        """Nothing is left of the example."""
        try:
            self.loop.run_until_complete(self._end())
        finally:
            self.loop.close()

    async def _end(self) -> None:
        for process in self.processes.values():
            await process.bury()
        await self.look.close()
        for _ in range(20):
            left = asyncio.all_tasks() - {asyncio.current_task()}
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=0.01)

    async def _call(self, process: Process, hook: Hook) -> bool:
        try:
            await process.receiver.take(hook.account, [hook.event], "webhook")
        except StoreUnavailable:
            return False
        return True

    async def _heard(self, process: Process, hook: Hook, took: list[asyncio.Task[bool]]) -> None:
        for task in took:
            if not task.done():
                if process.alive and not process.store.frozen:
                    self.truth.faults.append(f"no answer to {hook.event.key}")
            elif task.result() and hook.placed_at is None:
                hook.placed_at = self.loop.elapsed
        if all(task.done() and task.result() for task in took) and hook in self.truth.outbox:
            self.truth.outbox.remove(hook)

    async def settle_deaths(self) -> None:
        """All is done that can be done now; who died is buried."""
        await self.loop.quiet()
        for process in self.processes.values():
            if not process.alive:
                await self.bury(process)
        await self._place_the_tried()

    async def bury(self, process: Process) -> None:
        await process.bury()
        await self._place_the_tried()

    async def _place_the_tried(self) -> None:
        """Of events whose acknowledgement was not heard: were they committed?"""
        for hook in self.truth.said:
            if hook.tried is None or hook.placed is not None:
                continue
            key = hook.event.key
            same = f"key = '{key}'" if hook.event.window is None else f"key LIKE '{key}@%'"
            if await self.look.rows(f"SELECT 1 FROM event WHERE {same}"):
                hook.placed = hook.tried
                hook.placed_at = self.loop.elapsed
            hook.tried = None

    async def _tell_all(self) -> None:
        for _ in range(50):
            if not self.truth.outbox:
                return
            hook = self.truth.outbox[0]
            if await self.tellable(hook):
                await self.deliver(await self.able(0), hook)
                await self.settle_deaths()
            else:
                self.truth.outbox.remove(hook)

    async def _come_to_rest(self) -> None:
        for number in range(ROUNDS):
            await self._tell_all()
            await self.loop.pass_time(1.0 if number == 0 else 31.0)
            await self.settle_deaths()
            if not self.truth.outbox and self._all_said() and not await verdict.left_open(self.look):
                return

    def _all_said(self) -> bool:
        return all(hook.placed is not None for hook in self.truth.said)

    async def _last_words(self) -> None:
        """Every conversation still works, and ends in the session that the desk has."""
        for name, contact in await self.look.rows("SELECT link, contact FROM conversation ORDER BY link, contact"):
            link = self.truth.topology.link(name)
            assert link is not None
            self.truth.contact_writes(link, contact, f"{name} last word")

    async def _stale_sessions(self) -> list[str]:
        statement = "SELECT extension, contact, sessionid FROM session WHERE current"
        return [
            f"the session of {extension} with {contact} is {self.truth.sessions[extension, contact][-1]}, not {known}"
            for extension, contact, known in await self.look.rows(statement)
            if known != self.truth.sessions[extension, contact][-1]
        ]

    async def _is_mapped(self, messageid: str) -> bool:
        return bool(await self.look.rows(f"SELECT 1 FROM mapping WHERE messageid = '{messageid}'"))

    def _now(self, conn: Connection) -> datetime:
        """The database's clock on PostgreSQL, the one process's on SQLite."""
        skew = 0.0 if is_postgresql(conn) else self.processes[self.look.processes[0]].skew
        return EPOCH + timedelta(seconds=self.loop.elapsed + skew)

    def _uncaught(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.truth.faults.append(f"{context.get('message')}: {context.get('exception')!r}")

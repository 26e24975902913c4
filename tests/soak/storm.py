"""All that goes wrong while people write, by chance from a seed: what, where and how long; not exactly when."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from syncd.simulators.base import Call, Fault, Simulator
from syncd.store.database import Location
from tests.soak.fleet import Fleet
from tests.soak.replica import Replica
from tests.support.outages import locked_by_another

GAP = 1.5
"""Seconds from one mischief to the next, on average."""
ACCOUNTS = {"ringotel": ("office",), "bird": ("bird", "birdpoll"), "islash": ("islash",)}
SENDS = ("message", "open", "send")
"""Calls that put something somewhere."""
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"

Mischief = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Tally:
    """What the storm has done."""

    kills: int = 0
    stops: int = 0
    restarts: int = 0
    """By SIGTERM."""
    mischief: Counter[str] = field(default_factory=Counter)
    ready_after: list[float] = field(default_factory=list)
    """Seconds that daemons took from their start until they were ready."""
    wrong: list[str] = field(default_factory=list)
    """What must not have happened."""
    rough: list[Fault] = field(default_factory=list)

    def hits(self) -> dict[str, int]:
        """How often platforms misbehaved, by kind."""
        found: Counter[str] = Counter()
        for fault in self.rough:
            kind = f"status {fault.status}" if fault.kind == "status" else fault.kind
            found[kind] += fault.hits
        return dict(sorted(found.items()))


class Storm:
    """Rages until `end()`, which heals everything."""

    def __init__(self, fleet: Fleet, dice: random.Random, *, gap: float = GAP) -> None:
        self.tally = Tally()
        self._fleet = fleet
        self._dice = dice
        self._gap = gap
        self._platforms: dict[str, Simulator] = {"ringotel": fleet.ring, "bird": fleet.bird, "islash": fleet.islash}
        self._over = asyncio.Event()
        self._raging: asyncio.Task[None] | None = None
        self._lasting: set[asyncio.Task[None]] = set()
        self._busy: set[Replica] = set()
        self._refused: set[str] = set()
        self._refused_once: set[str] = set()
        shared = fleet.database.kind == "postgresql"
        self._deck: list[tuple[str, Mischief]] = [
            *[("answer lost", self._answers_lost)] * 2,
            *[("hang-up", self._hang_ups)] * 2,
            *[("429", self._too_many)] * 2,
            *[("5xx", self._server_errors)] * 2,
            ("500 with an error", self._errors),
            *[("slow platform", self._slowness)] * 2,
            *[("closed sessions", self._closed_sessions)] * 2,
            ("refused key", self._refused_key),
            *[("kill", self._kill)] * 3,
            ("restart", self._restart),
            *([("stop", self._stop)] * 2 if shared else []),
            *([("connections cut", self._cut)] * 2 if shared else [("file locked", self._lock)]),
        ]

    def start(self) -> None:
        """Let it begin."""
        self._raging = asyncio.create_task(self._rage(), name="storm")

    @property
    def failed(self) -> bool:
        """It cannot go on."""
        return self._raging is not None and self._raging.done()

    async def end(self) -> None:
        """No more of it: all platforms and daemons work again when this returns."""
        self._over.set()
        assert self._raging is not None
        await self._raging
        while self._lasting:
            await asyncio.gather(*self._lasting)
        for simulator in self._platforms.values():
            simulator.faults.clear()
        for replica in self._fleet.replicas:
            if not replica.running:
                await self._started(replica)
        for account in sorted(self._refused):
            await self._fleet.replicas[0].command("resume", account)

    def cancel(self) -> None:
        """Leave everything as it is."""
        for task in (self._raging, *self._lasting):
            if task is not None:
                task.cancel()

    async def _rage(self) -> None:
        hand: list[tuple[str, Mischief]] = []
        while await self._calm(self._dice.expovariate(1 / self._gap)):
            if not hand:
                hand = self._dice.sample(self._deck, len(self._deck))
            name, mischief = hand.pop()
            self.tally.mischief[name] += 1
            lasting = asyncio.create_task(self._done(mischief), name=name)
            self._lasting.add(lasting)
            lasting.add_done_callback(self._lasting.discard)

    async def _done(self, mischief: Mischief) -> None:
        try:
            await mischief()
        except Exception as error:
            self.tally.wrong.append(f"{type(error).__name__}: {error}")

    async def _calm(self, seconds: float) -> bool:
        """Wait so long; False where the storm is over before that."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return True
        return False

    # --- platforms ---

    def _platform(self) -> Simulator:
        return self._platforms[self._dice.choice(sorted(self._platforms))]

    def _rough(self, simulator: Simulator, fault: Fault) -> None:
        simulator.faults[:] = [one for one in simulator.faults if one.times != 0]
        simulator.faults.append(fault)
        self.tally.rough.append(fault)

    async def _answers_lost(self) -> None:
        self._rough(self._platform(), Fault("lost", times=self._dice.randint(1, 3), match=_sends))

    async def _hang_ups(self) -> None:
        self._rough(self._platform(), Fault("hangup", times=self._dice.randint(1, 3)))

    async def _too_many(self) -> None:
        headers = {"Retry-After": str(self._dice.randint(1, 3))}
        self._rough(self._platform(), Fault("status", times=self._dice.randint(1, 4), status=429, headers=headers))

    async def _server_errors(self) -> None:
        status = self._dice.choice((500, 502, 503, 504))
        headers = {"Content-Type": "text/html"}
        fault = Fault("status", times=self._dice.randint(1, 3), status=status, body=HTML, headers=headers)
        self._rough(self._platform(), fault)

    async def _errors(self) -> None:
        """Ringotel says that it did not do it; of no message twice, for the third time would be a verdict."""

        def first(call: Call) -> bool:
            text = str(call.params.get("content"))
            if call.name != "message" or text in self._refused_once:
                return False
            self._refused_once.add(text)
            return True

        body = b'{"error": {"message": "try again"}}'
        self._rough(
            self._fleet.ring, Fault("status", times=self._dice.randint(1, 3), status=500, body=body, match=first)
        )

    async def _slowness(self) -> None:
        fault = Fault("delay", times=self._dice.randint(3, 10), seconds=self._dice.uniform(0.5, 8.0))
        self._rough(self._platform(), fault)

    async def _closed_sessions(self) -> None:
        there = [session for session in self._fleet.ring.desk.current.values() if session.open]
        for session in self._dice.sample(there, min(len(there), self._dice.randint(1, 5))):
            self._fleet.ring.close_session(session.id)

    async def _refused_key(self) -> None:
        name = self._dice.choice(sorted(ACCOUNTS))
        self._refused.update(ACCOUNTS[name])
        fault = Fault("status", times=-1, status=401, body=b"{}", headers={"Content-Type": "application/json"})
        seconds = self._dice.uniform(1.0, 4.0)
        self._rough(self._platforms[name], fault)
        await self._calm(seconds)
        fault.times = 0
        # An operator sees to it: of themselves they ask again after minutes.
        for account in ACCOUNTS[name]:
            await self._resume(account)

    async def _resume(self, account: str) -> None:
        for replica in self._fleet.replicas:
            if replica.running and not replica.paused and replica not in self._busy:
                try:
                    await replica.command("resume", account)
                except AssertionError:
                    continue  # It was killed meanwhile, or is away from its database; `end` does it again.
                return

    # --- processes ---

    def _victim(self) -> Replica | None:
        free = [replica for replica in self._fleet.replicas if replica not in self._busy and replica.running]
        return self._dice.choice(free) if free else None

    async def _kill(self) -> None:
        victim, down = self._victim(), self._dice.uniform(0.0, 3.0)
        if victim is None:
            return
        self._busy.add(victim)
        try:
            self.tally.kills += 1
            await victim.kill()
            await self._calm(down)
            await self._started(victim)
        finally:
            self._busy.discard(victim)

    async def _restart(self) -> None:
        victim = self._victim()
        if victim is None:
            return
        self._busy.add(victim)
        try:
            self.tally.restarts += 1
            status = await victim.stop(signal.SIGTERM)
            if status != 0:
                self.tally.wrong.append(f"{victim.name}: exit status {status} after SIGTERM")
            await self._started(victim)
        finally:
            self._busy.discard(victim)

    async def _stop(self) -> None:
        victim, seconds = self._victim(), self._dice.uniform(1.0, 30.0)
        if victim is None:
            return
        self._busy.add(victim)
        try:
            self.tally.stops += 1
            victim.pause()
            await self._calm(seconds)
            victim.resume()
        finally:
            self._busy.discard(victim)

    async def _started(self, replica: Replica) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await replica.start()
        self.tally.ready_after.append(loop.time() - began)

    # --- databases ---

    async def _cut(self) -> None:
        await self._fleet.database.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'syncd'"
        )

    async def _lock(self) -> None:
        seconds = self._dice.uniform(1.0, 8.0)
        async with locked_by_another(Location.of(self._fleet.database.url).path):
            await self._calm(seconds)


def _sends(call: Call) -> bool:
    return call.name in SENDS

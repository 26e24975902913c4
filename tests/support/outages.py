"""A world whose database fails, and people who go on writing."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import aiohttp

from syncd.simulators.base import Hook, Simulator
from tests.support.bridge import Bridge, Process
from tests.support.databases import Database, Row
from tests.support.figures import Figures
from tests.support.history import faults
from tests.support.proxies import Proxy, proxied
from tests.support.settings import POLLED, SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import World

__all__ = ["PidBridge", "Proxy", "StormyWorld", "locked_by_another", "proxied", "stormy"]

TALKERS = 6
PAUSE = 0.05
"""Seconds between a contact's message and the next."""
LONGEST_TRY = 11.5
"""Seconds until a webhook is answered: ten of trying, and a little for a busy machine."""

_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
connection.execute(sys.argv[2])
connection.execute("INSERT INTO cursor (account, end, value, updated_at) VALUES ('other', '', '', '')")
print("locked", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


class PidBridge(Bridge):
    """A daemon whose process can be reached from outside."""

    pid = 0
    prefix: tuple[str, ...] = ()
    """A command to run the daemon by."""

    async def launch(self, arguments: tuple[str, ...], log: IO[bytes], environ: dict[str, str]) -> Process:
        process = await asyncio.create_subprocess_exec(
            *self.prefix,
            sys.executable,
            "-m",
            "syncd",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parents[2],
            env=environ,
        )
        self.pid = process.pid
        return process

    async def refuses(self, *wanted: str) -> None:
        """Start the daemon; it must end by itself with 69 and one clear line, in which all of these stand."""
        before = len(self.lines())
        await self.spawn()
        assert await self.ended() == 69, self.tail()
        failed = [line for line in self.lines()[before:] if line["level"] == "error"]
        assert [line["event"] for line in failed] == ["daemon.failed"], self.tail()
        told = failed[0]["reason"]
        assert all(words in told for words in wanted), told
        assert "Traceback" not in self.log.read_text()


@dataclass(frozen=True, slots=True)
class Answer:
    """How one webhook was answered."""

    status: int
    retry_after: str
    seconds: float


class StormyWorld(World):
    """A world whose database fails while people go on writing: `await talk()`, the fault, `await finish(...)`."""

    bridge: PidBridge

    def __init__(self, folder: Path, database: Database) -> None:
        super().__init__(folder, database)
        self.bridge = PidBridge(folder)
        self.settings = Settings(poll_interval="1s")
        self.answers: list[Answer] = []
        self._quiet = asyncio.Event()
        self._talks: asyncio.Future[list[None]] | None = None
        for simulator in (self.ring, self.bird, self.islash):
            simulator.latency = 0.004
            simulator.post = self._witnessed(simulator)  # type: ignore[assignment, method-assign]

    def _witnessed(self, simulator: Simulator) -> Callable[[Hook], Coroutine[Any, Any, int]]:
        async def post(hook: Hook) -> int:
            began = asyncio.get_running_loop().time()
            try:
                async with self.client.post(hook.url, data=hook.body, headers=hook.headers) as response:
                    await response.read()
                    status, retry_after = response.status, response.headers.get("Retry-After", "")
            except (aiohttp.ClientError, OSError):
                status, retry_after = 0, ""
            simulator.hook_answers.append(status)
            self.answers.append(Answer(status, retry_after, asyncio.get_running_loop().time() - began))
            return status

        return post

    async def talk(self) -> None:
        """Contacts and users begin to write; returns when each of them has been answered."""
        # What was said before the first poll is old, and stays where it is.
        polled = "SELECT count(*) FROM cursor WHERE value <> ''"
        await until(lambda: self.database.value(polled), lambda: f"a first poll\n{self.bridge.tail()}")
        self._quiet.clear()
        self._talks = asyncio.gather(*(self._talk(number) for number in range(TALKERS)))
        await self.more(2 * TALKERS)

    async def more(self, webhooks: int) -> None:
        """Wait until so many more webhooks are acknowledged."""
        wanted = self.accepted() + webhooks
        await until(lambda: self.accepted() >= wanted, lambda: f"acknowledged\n{self.bridge.tail()}")

    def accepted(self) -> int:
        """Webhooks that were answered with 200."""
        return sum(answer.status == 200 for answer in self.answers)

    async def _talk(self, number: int) -> None:
        contact = f"+4477009003{number:02}"
        link = (SMS, WHATSAPP, POLLED)[number % 3]
        for count in itertools.count():
            if self._quiet.is_set():
                return
            if count % 3 == 2 and link != POLLED:
                await self.user_says("9003", f"{count} for {contact}", contact=contact, link=link)
            else:
                await self.contact_says(f"{contact} says {count}", contact=contact, link=link)
            await asyncio.sleep(PAUSE)

    async def hush(self) -> None:
        """Everybody stops writing, as soon as what they wrote is acknowledged."""
        self._quiet.set()
        if self._talks is not None:
            await asyncio.wait_for(self._talks, 30)

    async def everything(self) -> None:
        """Wait until as many copies have arrived as there should be; `check()` says which have not."""
        with suppress(AssertionError):
            await until(lambda: self.missing() <= 0, "arrived")

    async def finish(self, fault: str, *, was_down: bool = False) -> Figures:
        """Traffic after the fault; then everything must have come out right. What it cost."""
        await self.more(2 * TALKERS)
        await self.hush()
        await self.everything()
        figures = await self.count(fault)
        await self.check()
        held = [f"{row['state']}: {row['reason']}" for row in await self.deliveries("d.state <> 'sent'")]
        assert held == [], "a fault of our own database puts no message in doubt"
        assert {answer.status for answer in self.answers} <= {200, 503, *([0] if was_down else [])}
        assert all(answer.retry_after.isdigit() for answer in self.answers if answer.status == 503)
        assert max(answer.seconds for answer in self.answers) < LONGEST_TRY
        events = await self.database.value("SELECT count(*) FROM event WHERE state = 'failed'")
        assert events == 0, "nobody's message was to blame"
        return figures

    async def count(self, fault: str) -> Figures:
        """What was offered, and what became of it."""
        with suppress(AssertionError):
            await self.quiet()
        found = faults(self.said, self.arrived())
        accepted = self.accepted()
        return Figures(
            fault,
            self.database.kind,
            offered=len(self.answers),
            accepted=accepted,
            refused=len(self.answers) - accepted,
            lost=sum(one.kind == "lost" for one in found),
            doubled=sum(one.kind == "doubled" for one in found),
            unknown=len(await self.deliveries("d.state = 'unknown'")),
        )

    async def talk_in_vain(self) -> None:
        """People write, nobody is answered, and the daemon says that its database is away."""
        before = len(self.said)
        self._quiet.clear()
        self._talks = asyncio.gather(*(self._talk(number) for number in range(TALKERS)))
        await self.is_away()
        assert all(message.origin.target == POLLED for message in self.said[before:])

    async def readiness(self) -> tuple[int, Row]:
        """Status and body of `/readyz`, which answers soon whatever the database does."""
        async with (
            asyncio.timeout(5),
            self.client.get(f"{self.bridge.admin_url}/readyz") as response,
        ):
            return response.status, await response.json()

    async def is_away(self, because: str = "") -> None:
        """Wait until the daemon says that its database is away, and why."""

        async def away() -> bool:
            status, body = await self.readiness()
            told = body["checks"]["database"]
            return status == 503 and told.startswith("away") and because in told and bool(body["reasons"])

        await until(away, lambda: f"not ready\n{self.bridge.tail()}", seconds=8)

    async def is_back(self) -> None:
        """Wait until the daemon is ready again."""

        async def back() -> bool:
            return (await self.readiness())[0] == 200

        await until(back, lambda: f"ready again\n{self.bridge.tail()}")

    def outages(self) -> list[str]:
        """The log's lines on outages, in order, with the reasons of their beginnings."""
        names = {"database.away": "away", "database.back": "back", "database.refuses": "refuses"}
        return [names[line["event"]] for line in self.bridge.lines() if line["event"] in names]

    def told(self) -> str:
        """Reason and advice of the last outage."""
        line = self.bridge.events("database.away")[-1]
        return f"{line['reason']}: {line['advice']}"


@asynccontextmanager
async def stormy(folder: Path, database: Database) -> AsyncIterator[StormyWorld]:
    """Such a world, with a daemon in it and people who write."""
    world = StormyWorld(folder, database)
    async with world:
        try:
            yield world
        finally:
            if world._talks is not None:
                world._talks.cancel()


@asynccontextmanager
async def locked_by_another(path: Path, begin: str = "BEGIN IMMEDIATE") -> AsyncIterator[None]:
    """Another process is in the middle of writing to this SQLite file."""
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _LOCK,
        str(path),
        begin,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert other.stdout is not None
    assert await other.stdout.readline() == b"locked\n"
    try:
        yield
    finally:
        await other.communicate(b"")
        assert other.returncode == 0

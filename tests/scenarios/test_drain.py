"""SIGTERM in every state that a daemon can be in: it ends in time, with what it has said, and the next one goes on."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest

from syncd.simulators.base import Fault
from tests.scenarios.talking import talk
from tests.support.databases import postgresql_database, sqlite_database, why_no_postgresql
from tests.support.figures import Note
from tests.support.outages import Proxy, StormyWorld, locked_by_another, proxied, stormy
from tests.support.settings import POLLED, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World
from tests.web.outcome import note

CONTACTS = [f"+4477009004{number:02}" for number in range(24)]
PROMPT = 3.0
"""Seconds within which a daemon ends that has nothing to wait for, on a busy machine."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a daemon ended."""

    status: int
    seconds: float


async def terminated(world: World, number: signal.Signals = signal.SIGTERM) -> Ended:
    """Send a signal and wait for the end."""
    began = asyncio.get_running_loop().time()
    status = await world.bridge.stop(number)
    return Ended(status, asyncio.get_running_loop().time() - began)


def answers(world: World) -> list[int]:
    """How every webhook so far was answered; 0 where it was not."""
    return [*world.ring.hook_answers, *world.bird.hook_answers, *world.islash.hook_answers]


async def states(world: World) -> dict[str, int]:
    """Deliveries by state."""
    rows = await world.database.rows("SELECT state, count(*) AS n FROM delivery GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


async def is_draining(world: World) -> None:
    """Wait until the daemon says that it drains."""
    await until(lambda: world.bridge.events("daemon.draining"), "draining", seconds=5)


async def readiness(world: World) -> tuple[int, list[str]]:
    """Status and reasons of `/readyz`."""
    async with world.client.get(f"{world.bridge.admin_url}/readyz") as response:
        return response.status, (await response.json())["reasons"]


def in_flight(world: World) -> int:
    """Calls that the desk has got."""
    return len(world.ring.calls_of("message"))


# --- at rest, and under load ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_at_rest(world: World, number: signal.Signals) -> None:
    """G8: at once, also with connections that are kept open, idle or in the middle of a request."""
    await world.start(Settings(server={"drain_seconds": 2}))
    await world.contact_says("hello")
    await world.check()
    port = world.bridge.port
    idle = await asyncio.open_connection("127.0.0.1", port)
    begun = await asyncio.open_connection("127.0.0.1", port)
    begun[1].write(b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
    await begun[1].drain()
    ended = await terminated(world, number)
    assert ended.status == 0
    assert ended.seconds < PROMPT
    assert world.bridge.events("daemon.stopped")
    assert world.bridge.events("daemon.drain_incomplete") == []
    for _, writer in (idle, begun):
        writer.transport.abort()


@pytest.mark.timeout(120)
async def test_again_and_again_under_load(world: World, figures: Note) -> None:
    """G8, G1, G2, G3, G4: webhooks come in as fast as they are taken; what got its 2xx is there, and nothing twice."""
    dice = random.Random(8)
    world.ring.latency = world.bird.latency = world.islash.latency = 0.01
    await world.start(Settings(users=("9003", "9004"), on_unknown="hold"))
    over = asyncio.Event()

    talks = asyncio.gather(*(talk(world, over, number, contact) for number, contact in enumerate(CONTACTS)))
    try:
        for _ in range(4):
            await asyncio.sleep(0.4 + dice.random() * 0.6)
            before = len(world.said)
            ended = await terminated(world)
            assert ended.status == 0, world.bridge.tail()
            assert ended.seconds < 10
            assert "sending" not in await states(world), "every answer is recorded"
            assert not await world.database.value("SELECT count(*) FROM lane WHERE owner IS NOT NULL"), (
                "leases are left"
            )
            await world.bridge.start()
            await until(lambda before=before: len(world.said) > before + 20, "it goes on")  # type: ignore[misc]
        over.set()
        await asyncio.wait_for(talks, 30)
    finally:
        talks.cancel()
    await world.check()
    assert world.bridge.events("daemon.drain_incomplete") == []
    assert "unknown" not in await states(world), "a drain leaves no doubts"
    given = answers(world)
    assert set(given) <= {200, 503, 0}
    await note(world, figures, "SIGTERM under load, 4 times", offered=len(given), accepted=given.count(200))


# --- sends in flight ---


async def test_sends_in_flight_finish_and_no_other_begins(world: World, figures: Note) -> None:
    """G8, G1: not ready, no new claims; what is in flight is recorded, what comes in is stored for the next one."""
    await world.start()
    for contact in CONTACTS:
        await world.contact_says("first", contact=contact)
    await world.check()
    before = in_flight(world)
    world.ring.latency = 2.5
    for contact in CONTACTS:
        await world.contact_says("in flight", contact=contact)
    await until(lambda: in_flight(world) == before + 2 * len(CONTACTS), "all are in flight")
    for contact in CONTACTS:
        await world.contact_says("behind it", contact=contact)
    ending = asyncio.create_task(terminated(world))
    await is_draining(world)
    assert await readiness(world) == (503, ["stopping"])
    for contact in CONTACTS:
        await world.contact_says("while it drains", contact=contact)
    assert answers(world) == [200] * len(answers(world)), "stored to the last"
    ended = await ending
    assert (ended.status, ended.seconds < 6) == (0, True)
    assert in_flight(world) == before + 2 * len(CONTACTS), "no send began after the signal"
    assert await states(world) == {"sent": 4 * len(CONTACTS), "ready": 4 * len(CONTACTS)}
    world.ring.latency = 0.0
    await world.bridge.start()
    began = asyncio.get_running_loop().time()
    await world.check()
    assert asyncio.get_running_loop().time() - began < 15, "no lease of the dead is waited for"
    given = answers(world)
    await note(world, figures, "SIGTERM, sends in flight", offered=len(given), accepted=given.count(200))


async def test_a_platform_that_hangs(world: World, figures: Note) -> None:
    """G8, G3, G7: `drain_seconds` are kept whatever hangs; what was in flight is settled by the next one."""
    await world.start(Settings(server={"drain_seconds": 1}))
    for contact in (ALICE, BOB):
        await world.contact_says("first", contact=contact)
        await world.user_says("9003", "first answer", contact=contact)
    await world.check()
    for simulator, name in ((world.bird, "send"), (world.ring, "message")):
        simulator.faults.append(Fault("delay", times=-1, seconds=60, match=lambda call, name=name: call.name == name))  # type: ignore[misc]
    await world.contact_says("to the desk")
    await world.user_says("9004", "to the channel", contact=BOB)
    await until(lambda: "to the channel" in world.channel(contact=BOB) and len(world.desk("9003")) == 2, "carried out")
    ended = await terminated(world)
    assert ended.status == 0
    assert 0.5 < ended.seconds < 2.5
    assert world.bridge.events("daemon.drain_incomplete")
    left = await states(world)
    assert left.get("sending", 0) + left.get("unknown", 0) == 3, "neither given up nor sent"
    for simulator in (world.bird, world.ring):
        simulator.faults.clear()
    await world.database.age(120)
    await world.bridge.start()
    await world.quiet()
    left = await states(world)
    assert "sending" not in left and "ready" not in left
    # Bird is asked and knows; Ringotel cannot be, and the copies are held in doubt.
    assert {row["target"] for row in await world.deliveries("d.state = 'unknown'")} <= {"desk:9003", "desk:9004"}
    excuse(world, {row["target"] for row in await world.deliveries("d.state = 'unknown'")})
    given = answers(world)
    await note(world, figures, "SIGTERM, a platform hangs", offered=len(given), accepted=given.count(200))


def excuse(world: World, targets: set[str]) -> None:
    """Copies that are held in doubt at these targets may be there or not."""
    for place, said in enumerate(world.said):
        doubts = frozenset(lane for lane in said.targets if lane.target in targets)
        world.said[place] = replace(said, in_doubt=doubts)


async def test_a_poll_under_way(world: World, figures: Note) -> None:
    """G8, G1, G2: a poll whose answer has not come is given up; the next one brings the same rows, once."""
    await world.start(Settings(poll_interval="100ms"))
    await until(lambda: world.database.value("SELECT count(*) FROM cursor WHERE value <> ''"), "a first poll")
    world.bird.faults.append(Fault("delay", times=-1, seconds=30, match=lambda call: call.name == "list"))
    before = len(world.bird.calls_of("list"))
    await until(lambda: len(world.bird.calls_of("list")) > before, "a poll is under way")
    for count in range(5):
        await world.contact_says(f"polled {count}", link=POLLED)
    ended = await terminated(world)
    assert (ended.status, ended.seconds < PROMPT) == (0, True), ended
    world.bird.faults.clear()
    await world.bridge.start()
    await until(lambda: world.missing() <= 0, "polled", seconds=10)
    await world.check()
    await note(world, figures, "SIGTERM, a poll under way", offered=5, accepted=5)


# --- a second signal ---


@pytest.mark.parametrize("gap", [0.0, 0.2], ids=["at-once", "later"])
async def test_a_second_signal(world: World, gap: float, figures: Note) -> None:
    """G8, G7: the process ends at once, as if it were killed, and says so by its status."""
    await world.start(Settings(server={"drain_seconds": 30}))
    await world.contact_says("first")
    await world.check()
    world.ring.faults.append(Fault("delay", times=-1, seconds=60, match=lambda call: call.name == "message"))
    await world.contact_says("in flight")
    await until(lambda: len(world.desk("9003")) == len(world.desk("9004")) == 2, "carried out")
    pid = int(getattr(world.bridge._process, "pid"))  # noqa: B009 - of a process in the operating system
    os.kill(pid, signal.SIGTERM)
    if gap:
        await is_draining(world)
        await asyncio.sleep(gap)
    else:
        # Two signals that nobody has looked at yet are one.
        await until(lambda: _handled(pid), "the first one is taken")
    ended = await terminated(world)
    assert ended.status == 1
    assert ended.seconds < 1.5
    world.ring.faults.clear()
    await world.database.age(120)
    await world.bridge.start()
    await world.quiet()
    excuse(world, {row["target"] for row in await world.deliveries("d.state = 'unknown'")})
    given = answers(world)
    await note(world, figures, "a second SIGTERM", offered=len(given), accepted=given.count(200))


def _handled(pid: int) -> bool:
    """Whether no SIGTERM is pending for the process."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = next(line for line in status.splitlines() if line.startswith("ShdPnd"))
    return not int(pending.split()[1], 16) & 1 << (signal.SIGTERM - 1)


# --- a database that is away ---


@pytest.fixture(params=["sqlite", "postgresql"])
async def storm(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[StormyWorld, Callable[[], object]]]:
    """A world, and a way to take its database away for a while."""
    if request.param == "sqlite":
        (tmp_path / "data").mkdir()
        database = sqlite_database(tmp_path / "data")
        async with stormy(tmp_path, database) as world:
            yield world, lambda: locked_by_another(tmp_path / "data" / "syncd.db", "BEGIN EXCLUSIVE")
        return
    reason = await why_no_postgresql()
    if reason is not None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    async with postgresql_database() as made, proxied(made) as proxy, stormy(tmp_path, proxy.database) as world:
        yield world, lambda: closed(proxy)


@asynccontextmanager
async def closed(proxy: Proxy) -> AsyncIterator[None]:
    """The database refuses connections, and has broken those that there were."""
    await proxy.close()
    try:
        yield
    finally:
        await proxy.open()


async def test_the_database_is_away(storm: tuple[StormyWorld, Callable[[], object]], figures: Note) -> None:
    """G8, G1, G7: it ends in time; a webhook that could not be stored has no 2xx; nothing in flight is lost."""
    world, away = storm
    world.tolerated = {"database.away", "database.refuses"}
    world.settings.server = {"drain_seconds": 3}
    await world.start()
    await world.contact_says("first")
    await world.user_says("9003", "first answer")
    await world.check()
    world.ring.latency = 0.8
    calls = in_flight(world)
    await world.contact_says("in flight")
    await until(lambda: in_flight(world) > calls, "in flight", seconds=5)
    async with away():  # type: ignore[attr-defined]
        posted = [world.contact_posts(f"while it is away {count}") for count in range(6)]
        await asyncio.sleep(0.3)
        ended = await terminated(world)
        assert ended.status == 0, world.bridge.tail()
        assert ended.seconds < 4.0
        assert len(posted) == 6
    given = [answer.status for answer in world.answers[-6:]]
    assert 200 not in given, "not stored, not acknowledged"
    world.ring.latency = 0.0
    await world.database.age(120)
    await world.bridge.start()
    for count in range(6):
        world.note_contact(f"while it is away {count}")
    with suppress(AssertionError):
        await until(lambda: world.missing() <= 0, "arrived")
    await world.quiet()
    excuse(world, {row["target"] for row in await world.deliveries("d.state = 'unknown'")})
    order = {said.text: place for place, said in enumerate(world.said)}
    # The platform posts again in whatever order: what counts is the order in which they were taken.
    taken = [text for text in world.desk("9003") if text.startswith("while")]
    world.said.sort(key=lambda said: taken.index(said.text) + len(order) if said.text in taken else order[said.text])
    statuses = [answer.status for answer in world.answers]
    await note(world, figures, "SIGTERM, the database is away", offered=len(statuses), accepted=statuses.count(200))


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy before an empty PostgreSQL database."""
    reason = await why_no_postgresql()
    if reason is not None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    async with postgresql_database() as made, proxied(made) as proxy:
        yield proxy


@pytest.mark.parametrize("how", ["refuses", "silent"])
async def test_the_database_is_away_from_the_start(proxy: Proxy, tmp_path: Path, how: str) -> None:
    """G8: a daemon that still waits for its database has nothing to drain."""
    async with stormy(tmp_path, proxy.database) as world:
        world.tolerated = {"database.away"}
        world.settings.server = {"drain_seconds": 4}
        world.configure()
        if how == "refuses":
            await proxy.close()
            await world.bridge.spawn()
            await until(lambda: world.bridge.events("database.away"), "it waits", seconds=10)
            ended = await terminated(world)
            await proxy.open()
        else:
            with proxy.frozen():
                await world.bridge.spawn()
                await until(lambda: proxy._pairs, "it asks", seconds=10)
                ended = await terminated(world)
        assert ended.status == 0, world.bridge.tail()
        assert ended.seconds < 4.5
        assert world.bridge.events("daemon.ready") == []
        await world.bridge.start()
        await world.contact_says("hello")
        await world.check()


# --- in the middle of the start ---


@pytest.mark.timeout(120)
async def test_in_the_middle_of_the_start(world: World) -> None:
    """G8, G7: at whatever moment; a start that was broken off leaves nothing that the next one minds."""
    world.configure()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await world.bridge.start()
    whole = loop.time() - began
    assert (await terminated(world)).status == 0
    for tenth in range(1, 13):
        await world.bridge.spawn()
        await asyncio.sleep(whole * tenth / 10)
        ended = await terminated(world)
        # Before there is anybody to handle it, a signal does what it does to every process.
        assert ended.status in (0, -signal.SIGTERM), world.bridge.tail()
        assert ended.seconds < PROMPT
    await world.bridge.start()
    await world.contact_says("hello")
    await world.check()


async def test_callers_while_it_ends(world: World, figures: Note) -> None:
    """G8, G1: to the last moment a webhook gets its 2xx with its event stored, or none at all."""
    await world.start()
    for simulator in (world.bird, world.islash, world.ring):
        simulator.retries_hooks = False
    taken: list[int] = []
    over = asyncio.Event()

    async def post(number: int) -> None:
        async with aiohttp.ClientSession() as client:
            count = 0
            while not over.is_set():
                count += 1
                messageid = f"{number}-{count}"
                payload = {
                    "id": messageid,
                    "channelId": "2",
                    "sender": {"contact": {"identifierKey": "phonenumber", "identifierValue": "+447700900900"}},
                }
                hook = world.bird.hook("sms.inbound", payload)
                try:
                    async with client.post(hook.url, data=hook.body, headers=hook.headers) as response:
                        taken.append(response.status)
                        if response.status == 200:
                            acknowledged.add(f"message:{messageid}")
                except (aiohttp.ClientError, OSError):
                    taken.append(0)
                    await asyncio.sleep(0.01)

    acknowledged: set[str] = set()
    posting = asyncio.gather(*(post(number) for number in range(16)))
    await until(lambda: len(acknowledged) > 300, "they come in")
    ended = await terminated(world)
    over.set()
    await posting
    assert ended.status == 0
    assert ended.seconds < PROMPT
    assert set(taken) <= {200, 0}
    keys = {row["key"] for row in await world.database.rows("SELECT key FROM event")}
    assert acknowledged <= keys, "a 2xx means stored"
    await note(world, figures, "SIGTERM, callers to the last", offered=len(taken), accepted=taken.count(200))

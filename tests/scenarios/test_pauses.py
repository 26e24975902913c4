"""`syncd pause` and `syncd resume`: sending stands still, receiving goes on, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from syncd.simulators.base import Fault
from tests.cli.conftest import Shell
from tests.scenarios.operating import done, is_send, refused
from tests.support.databases import Database
from tests.support.figures import Figures, Note
from tests.support.settings import API_KEY, SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World

CONTACTS = {SMS: ALICE, WHATSAPP: BOB}


def sends(world: World) -> dict[str, int]:
    """Requests that say something, by account."""
    there = {"office": world.ring, "bird": world.bird, "islash": world.islash}
    return {name: sum(is_send(call) or call.name == "open" for call in one.calls) for name, one in there.items()}


async def test_pauses_while_traffic_flows(world: World, operator: Shell, figures: Note) -> None:
    """G1, G4, G7, G10: once the command has returned no request begins, also after `kill -9`; all else goes on."""
    world.ring.latency = world.bird.latency = world.islash.latency = 0.003
    await world.start()
    for link, contact in CONTACTS.items():
        await world.contact_says("hello", contact=contact, link=link)
    await world.quiet()
    stop = asyncio.Event()

    async def talk(link: str) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            await world.user_says("9003", f"{number} on {link}", contact=CONTACTS[link], link=link)
            await world.contact_says(f"{number} from {link}", contact=CONTACTS[link], link=link)
            await asyncio.sleep(0.02)

    talks = asyncio.gather(*map(talk, CONTACTS))
    try:
        assert await done(operator, "pause", "bird") == "paused: nothing is sent; receiving goes on"
        before = sends(world)
        told = len(world.said)
        await until(lambda: sends(world)["islash"] > before["islash"] + 3, "the other account goes on")
        await until(lambda: len(world.desk("9004")) > len(world.channel()) + 3, "and so does the desk")
        assert len(world.said) > told + 5, "receiving goes on"
        assert sends(world)["bird"] == before["bird"]

        await done(operator, "pause", WHATSAPP)
        before, chats = sends(world), len(world.desk("9003", BOB)) + len(world.desk("9004", BOB))
        told = len(world.said)
        await until(lambda: len(world.said) > told + 10, "receiving goes on")
        await until(lambda: sends(world)["office"] > before["office"] + 3, "the other link goes on")
        stop.set()
        await talks
    finally:
        stop.set()
        await talks
    assert sends(world)["islash"] == before["islash"]
    assert len(world.desk("9003", BOB)) + len(world.desk("9004", BOB)) == chats, "the link's desk side stands still too"
    status = (await operator("status", "--json")).document
    rows = {row["id"]: row for row in (*status["accounts"], *status["links"])}
    assert {name: (row["state"], row["reason"].partition(" ")[0]) for name, row in rows.items()} == {
        "office": ("up", ""),
        "bird": ("paused", "by"),
        "birdpoll": ("up", ""),
        "islash": ("up", ""),
        SMS: ("up", ""),
        WHATSAPP: ("paused", "by"),
        "polled": ("up", ""),
    }
    assert all(rows[name]["since"] for name in ("bird", WHATSAPP))
    whys = {(lane["link"], lane["target"]): lane["why"] for lane in status["lanes"]}
    assert whys[SMS, "channel"] == "bird is paused"
    assert {why for (link, _), why in whys.items() if link == WHATSAPP} == {"whatsapp is paused"}

    await until(lambda: len(world.desk("9004")) == len(world.desk("9003")) * 2 - 1, "SMS has nothing left at the desk")
    await world.bridge.kill()
    # What may have been under way is in doubt for no longer than a moment.
    await world.database.age(120)
    before = sends(world)
    await world.bridge.start()
    # The tables are swept at the start: everything that may be sent is on its way when a later message has arrived.
    await world.contact_says("after the kill")
    await until(lambda: world.desk("9004")[-1] == "after the kill", "the desk goes on")
    assert await done(operator, "pause", "bird") == "it was paused already"
    after = sends(world)
    assert (after["bird"], after["islash"]) == (before["bird"], before["islash"])
    assert await done(operator, "resume", "bird") == "resumed"
    assert await done(operator, "resume", WHATSAPP) == "resumed"
    assert await done(operator, "resume", WHATSAPP) == "it was not paused; whatever keeps it is tried again now"
    assert "no account or link is called nobody" in await refused(operator, "pause", "nobody")
    await world.check()
    figures(Figures("paused and killed", world.database.kind, len(world.said), len(world.said), 0, 0, 0))


async def test_resume_ends_the_pause_of_a_refused_key(world: World, operator: Shell) -> None:
    """G1, G4: a refused key stops one account, and nothing is lost; once it is right again `resume` sends at once."""
    await world.start()
    await world.contact_says("hello")
    await world.quiet()
    world.ring.api_key, calls = "another/key+2=$", len(world.ring.calls)
    await world.contact_says("one")
    await until(lambda: world.bridge.events("account.unauthorised"), "refused")
    await world.contact_says("two")
    assert len(world.ring.calls) <= calls + 2, "one call a lane found out"
    world.ring.api_key = API_KEY
    assert "tried again now" in await done(operator, "resume", "office")
    await world.check()
    assert world.desk("9003") == ["hello", "one", "two"]
    (line,) = world.bridge.events("account.unauthorised")
    assert line["account"] == "office"
    assert [line["was"] for line in world.bridge.events("account.up")] == ["unauthorised"]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_replicas_and_absent_daemons_obey(database: Database, world: World, operator: Shell) -> None:
    """G14: what was asked of one is obeyed by all in seconds; what was asked of none, by the next before it sends."""
    # Not one here: the one that will carry it out has its socket on another machine.
    elsewhere = world.bridge.config.parent / "elsewhere"
    elsewhere.mkdir()
    await world.start(Settings(server={"control_socket": str(elsewhere / "syncd.sock")}))
    await world.contact_says("hello")
    await world.quiet()
    world.configure(Settings())
    result = await done(operator, "pause", "bird")
    assert result == "paused: nothing is sent; receiving goes on", "a daemon that shares the database did it"
    await world.user_says("9003", "while it is paused")
    await until(lambda: len(world.desk("9004")) == 2, "the colleague has it")
    throttled = Fault("status", times=-1, status=429, headers={"Retry-After": "1"}, match=is_send)
    world.bird.faults.append(throttled)
    assert world.channel() == []
    await done(operator, "resume", "bird")
    await until(lambda: throttled.hits, "it goes on")
    await world.bridge.stop()
    throttled.times = 0

    ran = await operator("pause", SMS, "--json")
    (row,) = ran.document["operations"]
    assert (ran.code, row["state"]) == (0, "waiting")
    assert row["result"] == "no daemon runs now: the next one does it"
    await until(lambda: all_due(database), "nothing else keeps it from being sent")
    await world.bridge.start()

    async def all_done() -> bool:
        return not await database.value("SELECT count(*) FROM operation WHERE state = 'waiting'")

    await until(all_done, "the next daemon did it")
    await world.contact_says("from the contact", contact=BOB, link=WHATSAPP)
    await world.arrive(lambda: world.desk("9004", BOB), ["from the contact"])
    assert world.channel() == [], "what was asked of nobody is done before anything is sent"
    await done(operator, "resume", SMS)
    await world.check()
    assert world.channel() == ["while it is paused"]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_a_pause_reaches_the_other_daemon(database: Database, world: World, operator: Shell) -> None:
    """G14: two daemons share one database: both stand still within seconds, and both go on."""
    await world.start()
    other = World(world.bridge.config.parent / "other", database)
    other.bridge.config.parent.mkdir()
    # The same platforms, through a door of its own.
    other.ring, other.bird, other.islash = world.ring, world.bird, world.islash
    other.configure(Settings())
    await other.bridge.start()
    try:
        await world.contact_says("hello")
        await world.quiet()
        await done(operator, "pause", "bird")
        # The other looks every five seconds.
        await asyncio.sleep(6.0)
        world.ring.hook_url = world.ring.hook_url.replace(world.bridge.url, other.bridge.url)
        for number in range(5):
            await world.user_says("9003", f"number {number}")
        await world.arrive(lambda: world.desk("9004"), ["hello", *(f"number {number}" for number in range(5))])
        assert world.channel() == []
        await done(operator, "resume", "bird")
        await world.check()
        assert world.channel() == [f"number {number}" for number in range(5)]
    finally:
        await other.bridge.stop()


async def all_due(database: Database) -> bool:
    """No lane waits for a time any more."""
    return not await database.value("SELECT count(*) FROM lane WHERE busy AND due_at > now()")

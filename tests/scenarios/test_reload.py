"""SIGHUP: the daemon goes on by the config as it is now, and nobody outside notices anything but what was changed."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from syncd.simulators.base import Fault
from tests.cli.conftest import Shell
from tests.scenarios.operating import done, is_send
from tests.scenarios.talking import talk
from tests.support.bridge import free_port
from tests.support.databases import Database
from tests.support.settings import API_KEY, ISLASH_SESSION, POLLED, SECRETS, SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World

UNIT = Path(__file__).parents[2] / "deploy" / "syncd.service"
CONTACTS = [f"+4477009005{number:02}" for number in range(8)]


async def reload(world: World, settings: Settings | None = None, *, event: str = "config.reloaded") -> dict[str, Any]:
    """Write a config, send SIGHUP and wait until the daemon says what became of it; the line of its log."""
    if settings is not None:
        world.configure(settings)
    before = len(world.bridge.events(event))
    world.bridge.send_signal(signal.SIGHUP)
    await until(
        lambda: len(world.bridge.events(event)) > before,
        lambda: f"{event}\n{world.bridge.tail()}",
        seconds=10,
    )
    return world.bridge.events(event)[-1]


async def owners(database: Database) -> list[str]:
    """Whoever has the lease of a lane or a cursor."""
    rows = await database.rows(
        "SELECT owner FROM lane WHERE owner IS NOT NULL UNION SELECT owner FROM cursor WHERE owner IS NOT NULL"
    )
    return [row["owner"] for row in rows]


async def test_a_user_is_added_and_removed(world: World) -> None:
    """G1, G3: who is added gets what is said from then on, who is removed gets no more, and is not listened to."""
    await world.start(Settings(links=(SMS,), users=("9003", "9004")))
    await world.contact_says("to two")
    await world.quiet()
    line = await reload(world, Settings(links=(SMS,), users=("9003", "9004", "9005")))
    assert line["changes"] == ["link sms: user 9005 added"]
    assert line["level"] == "info"
    await world.contact_says("to three")
    await world.user_says("9005", "from the third")
    await world.quiet()
    line = await reload(world, Settings(links=(SMS,), users=("9004", "9005")))
    assert line["changes"] == ["link sms: user 9003 removed"]
    await world.contact_says("to the two others")
    world.ring.user_says("9003", ALICE, "nobody hears this")
    await world.check()
    assert world.desk("9003") == ["to two", "to three", "from the third"]
    assert world.desk("9004") == ["to two", "to three", "from the third", "to the two others"]
    assert world.desk("9005") == ["to three", "to the two others"]
    assert world.channel() == ["from the third"]
    assert await world.database.value("SELECT count(*) FROM event WHERE state = 'ignored' AND reason <> ''") >= 1


async def test_what_was_acknowledged_for_a_removed_user_is_sent(world: World) -> None:
    """G1: it is in the lane already, and the chat is there still."""
    await world.start(Settings(links=(SMS,)))
    await world.contact_says("hello")
    await world.quiet()
    throttled = Fault("status", times=-1, status=429, headers={"Retry-After": "2"}, match=is_send)
    world.ring.faults.append(throttled)
    await world.contact_says("for both")
    await until(lambda: throttled.hits, "it waits")
    await reload(world, Settings(links=(SMS,), users=("9004",)))
    world.ring.faults.clear()
    await world.contact_says("for one")
    await world.check()
    assert world.desk("9003") == ["hello", "for both"]


async def test_a_link_is_added_and_removed(world: World) -> None:
    """G1, G10: its webhooks are known from then on, or not any more; the other link is not touched."""
    await world.start(Settings(links=(SMS,)))
    await world.contact_says("by SMS")
    await world.quiet()
    line = await reload(world, Settings(links=(SMS, WHATSAPP), keys_of={SMS: {"max_age": "6h"}}))
    assert line["changes"] == ["link whatsapp added", "link sms: max_age changed"]
    assert line["links"] == 2
    await world.contact_says("by WhatsApp", contact=BOB, link=WHATSAPP)
    await world.user_says("9003", "answered", contact=BOB, link=WHATSAPP)
    await world.quiet()
    line = await reload(world, Settings(links=(SMS,), keys_of={SMS: {"max_age": "6h"}}))
    assert line["changes"] == ["link whatsapp removed"]
    before = len(world.islash.hook_answers)
    with suppress(Exception):
        world.islash.contact_says(ISLASH_SESSION, BOB.removeprefix("+"), "to nobody")
    await until(lambda: len(world.islash.hook_answers) > before, "answered")
    assert world.islash.hook_answers[before] == 404
    await world.contact_says("by SMS again")
    await until(lambda: world.desk("9004")[-1] == "by SMS again", "the other link goes on")
    assert world.desk("9004", BOB) == ["by WhatsApp", "answered"]


async def test_a_bad_file_changes_nothing(world: World) -> None:
    """G1, G12: every mistake is named at once, no secret with them; the old config holds, and a good one is taken."""
    world.tolerated = {"config.refused"}
    await world.start(Settings(links=(SMS,)))
    good = world.bridge.config.read_text()
    world.bridge.config.write_text(good.replace('on_unknown = "hold"', 'on_unknown = "never"') + "\n[surver]\na = 1\n")
    line = await reload(world, event="config.refused")
    assert line["level"] == "error"
    assert [problem.partition(":")[0] for problem in line["problems"]] == ["surver", "links.0.on_unknown"]
    assert not any(secret in str(line) for secret in SECRETS)
    world.bridge.config.write_text("[server\n")
    line = await reload(world, event="config.refused")
    assert "is not TOML" in line["problems"][0]
    world.bridge.config.unlink()
    await reload(world, event="config.refused")
    await world.contact_says("all the same")
    await world.check()
    assert world.bridge.events("config.reloaded") == []
    line = await reload(world, Settings(links=(SMS,), users=("9003", "9004", "9006")))
    assert line["changes"] == ["link sms: user 9006 added"]
    await world.contact_says("to three")
    await world.check()
    assert (await reload(world))["changes"] == [], "nothing has changed since"


async def test_what_needs_a_restart_is_said(world: World) -> None:
    """G1: sockets stay where they are, and so does the database; all else of the same file is applied."""
    await world.start(Settings(links=(SMS,)))
    text = world.bridge.config.read_text()
    other = free_port()
    text = re.sub(r"^listen = .*$", f'listen = "127.0.0.1:{other}"', text, flags=re.MULTILINE)
    text = text.replace('level = "info"', 'level = "debug"')
    text = text.replace("drain_seconds = 10", 'drain_seconds = 11\ncontrol_socket = "other.sock"\nmax_concurrent = 99')
    text = re.sub(r"^url = .*$", 'url = "sqlite:///another.db"', text, flags=re.MULTILINE)
    world.bridge.config.write_text(text.replace('["9003", "9004"]', '["9003", "9005"]'))
    line = await reload(world)
    assert line["changes"] == [
        "server.max_concurrent changed",
        "link sms: user 9005 added",
        "link sms: user 9004 removed",
    ]
    await until(lambda: len(world.bridge.events("config.needs_restart")) == 5, "all are said")
    told = world.bridge.events("config.needs_restart")
    assert {line["key"] for line in told} == {
        "server.listen",
        "server.control_socket",
        "server.drain_seconds",
        "database.url",
        "log.level",
    }
    assert all(line["level"] == "warning" and "needs a restart" in line["advice"] for line in told)
    world.settings = Settings(links=(SMS,), users=("9003", "9005"))
    await world.contact_says("where it was")
    await world.check()
    async with world.client.get(f"{world.bridge.admin_url}/metrics") as response:
        assert "syncd_webhooks_limit 99.0" in await response.text()


@pytest.mark.timeout(180)
async def test_again_and_again_under_load(world: World) -> None:
    """G1, G2, G3, G4, G8: ten reloads while everybody talks: no webhook is refused, nothing lost, doubled or moved."""
    world.ring.latency = world.bird.latency = world.islash.latency = 0.01
    configs = [Settings(poll_interval="300ms"), Settings(poll_interval="400ms", keys_of={SMS: {"max_age": "6h"}})]
    await world.start(configs[0])
    over = asyncio.Event()

    async def polled() -> None:
        count = 0
        while not over.is_set():
            count += 1
            await world.contact_says(f"polled {count}", contact=BOB, link=POLLED)
            await asyncio.sleep(0.1)

    await until(lambda: world.database.value("SELECT count(*) FROM cursor WHERE value <> ''"), "a first poll")
    talks = asyncio.gather(polled(), *(talk(world, over, number, contact) for number, contact in enumerate(CONTACTS)))
    try:
        for number in range(1, 11):
            before = len(world.said)
            await reload(world, configs[number % 2])
            if number < 10:
                await until(lambda before=before: len(world.said) > before + 10, "it goes on")  # type: ignore[misc]
        over.set()
        await asyncio.wait_for(talks, 30)
    finally:
        talks.cancel()
    await until(lambda: world.missing() <= 0, "arrived, and nobody waited for a lease to run out", seconds=8)
    await world.check()
    answers = [*world.ring.hook_answers, *world.bird.hook_answers, *world.islash.hook_answers]
    assert set(answers) == {200}
    states = await world.database.rows("SELECT DISTINCT state FROM delivery")
    assert {row["state"] for row in states} <= {"sent", "skipped"}, "a reload leaves no doubts"
    assert len({owner.rpartition(":")[2] for owner in await owners(world.database)}) <= 1, "leases are left"
    assert len(world.bridge.events("config.reloaded")) == 10


async def posted(world: World, text: str) -> bytes:
    """The request by which Bird tells of a contact's message, which nobody has got yet."""
    taken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        assert length is not None
        taken.set_result(head + await reader.readexactly(int(length[1])))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    usual, world.bird.hook_url = (
        world.bird.hook_url,
        f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks/bird",
    )
    world.contact_posts(text)
    request = await asyncio.wait_for(taken, 5)
    world.bird.hook_url = usual
    server.close()
    return request


async def test_a_webhook_in_hand(world: World) -> None:
    """G1: one that came in part when the config changed is taken as it began, and is sent at once all the same."""
    await world.start(Settings(links=(SMS,)))
    await world.contact_says("hello")
    await world.quiet()
    request = await posted(world, "in hand")
    reader, writer = await asyncio.open_connection("127.0.0.1", world.bridge.port)
    writer.write(request[:-10])
    await asyncio.sleep(0.3)
    await reload(world, Settings(links=(SMS,), users=("9003", "9004", "9005")))
    await asyncio.sleep(0.3)
    writer.write(request[-10:])
    assert b" 200 " in await asyncio.wait_for(reader.readline(), 5)
    await world.arrive(lambda: world.desk("9003"), ["hello", "in hand"], seconds=2)
    await world.arrive(lambda: world.desk("9004"), ["hello", "in hand"], seconds=2)
    writer.close()
    await world.contact_says("to three")
    await world.arrive(lambda: world.desk("9005"), ["to three"], seconds=2)


async def test_many_signals_at_once(world: World) -> None:
    """G8: whatever comes during a reload is remembered, and the last file is in force in the end."""
    await world.start(Settings(links=(SMS,)))
    for number in range(20):
        users = ("9003", "9004", *(("9005",) if number % 2 else ()))
        world.configure(Settings(links=(SMS,), users=users))
        world.bridge.send_signal(signal.SIGHUP)
        if not number % 5:
            await asyncio.sleep(0.02)
    await until(lambda: bool(world.bridge.events("config.reloaded")), "reloaded")
    await asyncio.sleep(1.0)
    await world.contact_says("to three")
    await world.check()
    assert world.desk("9005") == ["to three"]


async def test_a_send_in_flight(world: World) -> None:
    """G3, G4, G10: it ends as it began and is recorded once; its account waits for it, and no other does."""
    world.bird.outbound_hooks = "none"  # a send is settled by its answer only
    await world.start()
    for link, contact in ((SMS, ALICE), (WHATSAPP, BOB)):
        await world.contact_says("hello", contact=contact, link=link)
    await world.quiet()
    slow = Fault("delay", times=1, seconds=60, match=lambda call: call.name == "send")
    world.bird.faults.append(slow)
    await world.user_says("9003", "in flight")
    await until(lambda: slow.hits, "in flight")
    await reload(world, Settings(users=("9003", "9004", "9005")))
    await world.user_says("9004", "behind it")
    await world.user_says("9004", "by another account", contact=BOB, link=WHATSAPP)
    await until(lambda: "by another account" in world.channel(WHATSAPP, BOB), "the other account goes on")
    assert world.channel() == ["in flight"], "carried out, and not answered yet"
    # Remembered, and done when that one is.
    await until(
        lambda: world.database.value("SELECT count(*) FROM delivery WHERE state = 'sending'"), "still in flight"
    )
    world.configure(Settings(users=("9003", "9004", "9005", "9006")))
    world.bridge.send_signal(signal.SIGHUP)
    await asyncio.sleep(0.3)
    assert len(world.bridge.events("config.reloaded")) == 1
    slow.released.set()
    await until(lambda: len(world.bridge.events("config.reloaded")) == 2, "the second one")
    await world.contact_says("to four")
    await world.check()
    assert world.channel() == ["in flight", "behind it"]
    assert not await world.deliveries("d.state = 'unknown'")


async def test_a_lane_that_waits_for_a_rate_limit(world: World) -> None:
    """G3, G4: what a platform asked for is kept to by the next one too: not a single call before that time."""
    await world.start(Settings(links=(SMS,)))
    await world.contact_says("hello")
    await world.user_says("9003", "good day")
    await world.quiet()
    throttled = Fault("status", times=-1, status=429, headers={"Retry-After": "3"}, match=is_send)
    world.bird.faults.append(throttled)
    await world.user_says("9003", "one")
    await until(lambda: throttled.hits, "throttled")
    began, hits = asyncio.get_running_loop().time(), throttled.hits
    throttled.times = 0
    before = sum(map(is_send, world.bird.calls))
    await world.user_says("9004", "two")
    await reload(world, Settings(links=(SMS,), users=("9003", "9004", "9005")))
    while asyncio.get_running_loop().time() < began + 2.5:
        assert sum(map(is_send, world.bird.calls)) == before, "too early"
        await asyncio.sleep(0.05)
    assert hits == throttled.hits
    await world.arrive(lambda: world.channel(), ["good day", "one", "two"], seconds=4)
    await world.check()
    assert [line["was"] for line in world.bridge.events("account.up")] == ["throttled"]


async def test_a_key_that_was_corrected(world: World) -> None:
    """G1: an account that stood still because its key was refused goes on at once by a new key."""
    await world.start(Settings(links=(SMS,)))
    await world.contact_says("hello")
    await world.quiet()
    world.ring.api_key = "another/key+2=$"
    await world.contact_says("waits")
    await until(lambda: world.bridge.events("account.unauthorised"), "refused")
    line = await reload(world, Settings(links=(SMS,), api_keys=("another/key+2=$", API_KEY)))
    assert line["changes"] == ["account office: api_key changed"]
    began = asyncio.get_running_loop().time()
    await until(lambda: world.desk("9003") == world.desk("9004") == ["hello", "waits"], "sent", seconds=10)
    assert asyncio.get_running_loop().time() - began < 10
    await world.check()
    assert world.bridge.leaks(["another/key+2=$"]) == []


async def test_a_pause_stays(world: World, operator: Shell) -> None:
    """G1: what an operator paused stays so, and the control socket speaks for the config in force."""
    await world.start(Settings(links=(SMS,)))
    await done(operator, "pause", "bird")
    await reload(world, Settings(links=(SMS, WHATSAPP)))
    await world.user_says("9003", "later")
    assert await done(operator, "pause", WHATSAPP) == "paused: nothing is sent; receiving goes on"
    await world.contact_says("stays here", contact=BOB, link=WHATSAPP)
    await world.arrive(lambda: world.desk("9004"), ["later"])
    await asyncio.sleep(0.5)
    assert (world.channel(), world.desk("9003", BOB)) == ([], [])
    await done(operator, "resume", "bird")
    await done(operator, "resume", WHATSAPP)
    await world.check()
    assert world.channel() == ["later"]


@pytest.mark.parametrize("gap", [0.0, 0.05, 0.2])
async def test_killed_in_the_middle(world: World, gap: float) -> None:
    """G7: `kill -9` right after SIGHUP: the next one starts by the new file and goes on."""
    world.ring.latency = 0.05
    await world.start(Settings(links=(SMS,), users=("9003", "9004")))
    for contact in CONTACTS:
        await world.contact_says("hello", contact=contact)
    await world.check()
    world.configure(Settings(links=(SMS,), users=("9003", "9004", "9005")))
    world.bridge.send_signal(signal.SIGHUP)
    await asyncio.sleep(gap)
    await world.bridge.kill()
    await world.database.age(120)
    await world.bridge.start()
    for contact in CONTACTS:
        await world.contact_says("to three", contact=contact)
    await world.check()


async def test_stopped_in_the_middle(world: World) -> None:
    """G8: SIGTERM while a reload waits for a send: both its old and its new sends are drained, and no lease is left."""
    await world.start(Settings(links=(SMS, WHATSAPP)))
    await world.contact_says("hello")
    await world.quiet()
    slow = Fault("delay", times=1, seconds=3, match=lambda call: call.name == "send")
    world.bird.faults.append(slow)
    await world.user_says("9003", "in flight")
    await until(lambda: slow.hits, "in flight")
    await reload(world, Settings(links=(SMS, WHATSAPP), users=("9003", "9004", "9005")))
    await world.contact_says("to three")
    assert await world.bridge.stop() == 0
    assert await owners(world.database) == []
    assert not await world.deliveries("d.state IN ('sending', 'unknown')")
    assert world.bridge.events("daemon.drain_incomplete") == []
    await world.bridge.start()
    await world.check()


async def test_what_the_unit_says_reloads_it(world: World, tmp_path: Path) -> None:
    """The unit's `ExecReload` is what the daemon takes for a reload, and the service manager is told of both ends."""
    (command,) = re.findall(r"^ExecReload=(.+)$", UNIT.read_text(), re.MULTILINE)
    world.configure(Settings(links=(SMS,)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)

        async def told() -> str:
            return (await asyncio.to_thread(manager.recv, 200)).decode()

        await world.bridge.start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert await told() == "READY=1"
        world.configure(Settings(links=(SMS,), users=("9005",)))
        for _ in range(2):
            words = [word.replace("$MAINPID", str(world.bridge.pid)) for word in command.split()]
            await asyncio.to_thread(subprocess.run, words, check=True)
            assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", await told())
            assert await told() == "READY=1"
    await until(lambda: len(world.bridge.events("config.reloaded")) == 2, "both are in the log")
    assert [line["changes"] != [] for line in world.bridge.events("config.reloaded")] == [True, False]

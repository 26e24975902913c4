"""Three daemons on one PostgreSQL database: they share the work, and any of them may die, hang or be replaced."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from syncd.failpoints import VARIABLE
from syncd.store import migrations
from syncd.store.database import Location
from tests.soak.fleet import ASKABLE, Fleet, three
from tests.soak.replica import Replica
from tests.support.figures import Note
from tests.support.history import Lane
from tests.support.settings import POLLED, SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB

LEASE_SECONDS = 20.0
SWEEP_SECONDS = 5.0
CONTACTS = [f"+4477009004{number:02}" for number in range(20)]
EACH = 10
"""Messages of each conversation."""


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Three daemons."""
    async with three(tmp_path) as made:
        yield made


async def converse(fleet: Fleet, contact: str, link: str, count: int, pause: float) -> None:
    """A contact writes, and every third word is a user's."""
    for number in range(count):
        if number % 3 == 2:
            await fleet.user_says("9003", f"{number} for {contact}", contact=contact, link=link)
        else:
            messageid = await fleet.contact_says(f"{contact} says {number}", contact=contact, link=link)
            if link == POLLED:
                await fleet.polled(messageid)
        await asyncio.sleep(pause)


def talk(
    fleet: Fleet, *, each: int = EACH, pause: float = 0.0, links: tuple[str, ...] = (SMS, WHATSAPP)
) -> asyncio.Future[list[None]]:
    """Twenty conversations at once, of so many messages each."""
    ways = itertools.cycle(links)
    return asyncio.gather(
        *(converse(fleet, contact, link, each, pause) for contact, link in zip(CONTACTS, ways, strict=False))
    )


async def talk_until(fleet: Fleet, quiet: asyncio.Event, *, pause: float) -> None:
    """The same without an end: in rounds, until they are told to be quiet."""
    while not quiet.is_set():
        await talk(fleet, each=3, pause=pause)


async def passed(fleet: Fleet, messages: int) -> None:
    """Wait until so many messages are acknowledged."""
    await until(lambda: len(fleet.said) >= messages, lambda: f"{messages} said\n{fleet.bridge.tail()}", seconds=60)


async def in_hand(fleet: Fleet, replica: Replica) -> set[str]:
    """The deliveries that a daemon has in flight."""
    rows = await fleet.database.rows(
        "SELECT d.id FROM delivery d JOIN lane l ON l.id = d.lane_id "
        f"WHERE d.state IN ('sending', 'unknown') AND l.{replica.owner}"
    )
    return {row["id"] for row in rows}


# --- sharing the work ---


async def test_three_daemons_share_the_work(fleet: Fleet, figures: Note) -> None:
    """G2, G3, G4, G14: each of them takes and sends, one polls, and everything is done once and in order."""
    await fleet.start(Settings(poll_interval="0.3s"))
    await fleet.first_poll()
    began = asyncio.get_running_loop().time()
    await asyncio.wait_for(talk(fleet, links=(SMS, WHATSAPP, POLLED)), 60)
    doubts = await fleet.settled()
    assert doubts == []
    took = asyncio.get_running_loop().time() - began
    figures(fleet.figures("three daemons share the work", doubts))
    assert set(fleet.who("delivery.sent")) == set(fleet.replicas)
    assert set(fleet.who("event.taken", via="webhook")) == set(fleet.replicas)
    pollers = [replica for replica, count in fleet.who("event.taken", via="poll").items() if count]
    assert len(pollers) == 1
    polls = sum(call.at >= began for call in fleet.bird.calls_of("list"))
    assert polls <= took / (0.3 * 0.9) + 1, "no more than one of them would make"
    # The one that polls ends, and another goes on at once, although the lease runs for a minute more.
    (poller,) = pollers
    await poller.stop()
    messageid = await fleet.contact_says("found by another", contact=CONTACTS[2], link=POLLED)
    await fleet.polled(messageid, seconds=5)
    await fleet.settled()
    assert await fleet.database.deadlocks() == 0


async def test_a_session_is_opened_by_one(fleet: Fleet, figures: Note) -> None:
    """G6, G14: twenty new contacts write on two links at once, to different daemons; each chat is opened once."""
    fleet.ring.open_always_new = True
    fleet.ring.latency = 0.05
    await fleet.start()

    async def write(contact: str) -> None:
        await asyncio.gather(
            *(fleet.contact_says(f"{contact} on {link}", contact=contact, link=link) for link in (SMS, WHATSAPP))
        )

    await asyncio.gather(*(write(contact) for contact in CONTACTS))
    await fleet.quiet()
    # Between two links there is no order to be kept.
    assert sorted(fleet.desk("9003", CONTACTS[0])) == sorted(f"{CONTACTS[0]} on {link}" for link in (SMS, WHATSAPP))
    assert [fault for fault in fleet.judge([]) if fault.kind != "reordered"] == []
    assert await fleet.table_faults() == []
    figures(fleet.figures("sessions raced by three daemons"))
    opened = Counter((one.extension, one.contact.removeprefix("+")) for one in fleet.ring.open_calls)
    assert opened == {(user, contact[1:]): 1 for user in ("9003", "9004") for contact in CONTACTS}
    assert len(fleet.who("session.opened")) > 1
    assert await fleet.database.deadlocks() == 0


# --- one of them dies ---


@pytest.mark.timeout(180)
async def test_one_of_three_is_killed(fleet: Fleet, figures: Note) -> None:
    """G1, G3, G4, G7, G14: its lanes are taken over; only what it had in flight may be in doubt, and is listed."""
    await fleet.start()
    victim = fleet.replicas[1]
    talking = talk(fleet, pause=0.05)
    try:
        await passed(fleet, 80)
        await victim.kill()
        flying = await in_hand(fleet, victim)
        await passed(fleet, 120)
        await fleet.age(victim)
        await asyncio.wait_for(talking, 60)
    finally:
        talking.cancel()
    doubts = await fleet.settled()
    assert {doubt.id for doubt in doubts} <= flying
    assert all(doubt.reason and doubt.lane.target not in ASKABLE for doubt in doubts)
    figures(fleet.figures("one of three killed", doubts))
    assert len(fleet.said) == len(CONTACTS) * EACH


@pytest.mark.timeout(180)
async def test_a_dead_daemons_lane_is_taken_over_in_time(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    """G7, G14: nobody helps: a lane of a dead daemon goes on when its lease ends, others at once."""
    await fleet.start()
    await fleet.contact_says("alice is known")
    await fleet.contact_says("bob is known", contact=BOB)
    await fleet.settled()
    victim = fleet.replicas[1]
    await victim.stop()
    fleet.balancer.only = victim
    # It dies when it has begun to send, before the first byte.
    await victim.start(**{VARIABLE: "write_head:before=kill"})
    fleet.ring.user_says("9003", ALICE, "in the hands of the dead")
    assert await victim.ended() == -signal.SIGKILL
    died = asyncio.get_running_loop().time()
    fleet.balancer.only = None
    # Whether the webhook was answered is the platform's knowledge: unless it was, it comes again.
    assert fleet.ring.posted is not None
    await fleet.ring.posted
    fleet.note_user("9003", "in the hands of the dead")
    await fleet.user_says("9003", "bob need not wait", contact=BOB)
    await fleet.arrive(lambda: fleet.channel(SMS, BOB), ["bob need not wait"], seconds=5)
    assert fleet.channel(SMS, ALICE) == []
    # Nobody who lives knows of it but from the tables.
    wanted = ["in the hands of the dead"]
    await fleet.arrive(lambda: fleet.channel(SMS, ALICE), wanted, seconds=LEASE_SECONDS + SWEEP_SECONDS + 5)
    took = asyncio.get_running_loop().time() - died
    record_property("seconds until a dead daemon's lane went on", took)
    assert LEASE_SECONDS - 2 < took < LEASE_SECONDS + SWEEP_SECONDS + 2
    doubts = await fleet.settled()
    assert {doubt.lane for doubt in doubts} <= {Lane("desk:9004", ALICE)}, "Bird was asked; the desk cannot be"


# --- they are replaced ---


@pytest.mark.timeout(180)
async def test_a_rolling_restart(fleet: Fleet, figures: Note, record_property: Callable[[str, object], None]) -> None:
    """G1, G3, G4, G8, G14: one after the other ends by SIGTERM and starts, while people write; nobody notices much."""
    await fleet.start()
    quiet = asyncio.Event()
    talking = asyncio.create_task(talk_until(fleet, quiet, pause=0.2))
    try:
        await passed(fleet, 20)
        for replica in fleet.replicas:
            before = len(fleet.said)
            assert await replica.stop() == 0
            await passed(fleet, before + 15)
            await replica.start()
        quiet.set()
        await asyncio.wait_for(talking, 60)
    finally:
        talking.cancel()
    doubts = await fleet.settled()
    assert doubts == []
    longest = await fleet.database.value(
        "SELECT extract(epoch FROM max(p.created_at - m.created_at)) "
        "FROM mapping p JOIN message m ON m.id = p.message WHERE NOT p.origin"
    )
    record_property("seconds that the slowest copy took", float(longest))
    assert longest < SWEEP_SECONDS + 3, "what was in the hands of one that ended waits for the next sweep of another"
    figures(fleet.figures("three restarted, one after the other", doubts))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("schema", ["none", "older"])
async def test_many_start_at_once(fleet: Fleet, schema: str) -> None:
    """G7, G14: on an empty database, or one of an older version, one of them upgrades it, and all become ready."""
    if schema == "older":
        location = Location.of(fleet.database.url)
        await migrations.with_connection(location, migrations.upgrade, to="0001")
    fleet.configure()
    for replica in fleet.replicas:
        await replica.spawn(**{VARIABLE: "migrate:before=stop"})
    for replica in fleet.replicas:
        await replica.stops_itself()
    for replica in fleet.replicas:
        replica.resume()
    for replica in fleet.replicas:
        assert await replica.ready_or_ended(), replica.tail()
    assert await fleet.database.value("SELECT version_num FROM alembic_version") == migrations.newest()
    await fleet.balancer.sees(*fleet.replicas)
    await talk(fleet, each=3)
    assert await fleet.settled() == []


async def test_one_starts_beside_those_that_run(fleet: Fleet) -> None:
    """G14: a daemon that starts, and migrates what need not be, is not noticed by those that run."""
    fleet.configure()
    await fleet.replicas[0].start()
    await fleet.replicas[1].start()
    talking = talk(fleet, pause=0.05)
    for _ in range(3):
        await fleet.replicas[2].start()
        await fleet.replicas[2].stop()
    await asyncio.wait_for(talking, 60)
    assert await fleet.settled() == []
    assert not fleet.who("database.away")

"""A backlog: the process stays as small as it is, and nobody waits behind somebody else's."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.support.backlog import Backlog, add
from tests.support.settings import SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import BOB, World

DELIVERIES = int(os.environ.get("SYNCD_TEST_BACKLOG", "30000"))
"""A million has been tried, too."""
EACH = 10
GROWTH_MB = 100.0
"""SQLite's page cache (32 MB), the lanes and timers that are in memory at most, and what the collector leaves.
It does not rise with the number of deliveries."""


def memory_mb(process: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.timeout(60 + DELIVERIES / 3_000)
async def test_a_backlog_does_not_grow_the_process(world: World) -> None:
    """G9, G10: however much waits for a platform that is away, memory is flat, and others are served at once."""
    await world.start()
    await world.contact_says("hello", contact=BOB, link=WHATSAPP)
    await world.quiet()
    await asyncio.sleep(1.0)
    before = memory_mb(world.bridge.pid)
    await world.bridge.stop()
    await add(world.database, Backlog(SMS, DELIVERIES // EACH, EACH))
    await world.bird.stop()
    await world.start()
    for number in range(20):
        await world.user_says("9003", f"meanwhile {number}", contact=BOB, link=WHATSAPP)
        await asyncio.sleep(0.25)
    sent = [f"meanwhile {number}" for number in range(20)]
    await world.arrive(lambda: world.channel(WHATSAPP, BOB), sent, seconds=3)
    tried = await world.database.value("SELECT count(*) FROM delivery WHERE attempts > 0 AND state = 'ready'")
    assert tried > 100, "it is worked on"
    grown = memory_mb(world.bridge.pid) - before
    print(f"{DELIVERIES} deliveries wait: {before:.0f} MB before, {grown:+.0f} MB with them")
    assert grown < GROWTH_MB


@pytest.mark.timeout(60)
async def test_a_long_lane_and_fifty_short_ones(world: World) -> None:
    """G4, G10: one lane of ten thousand takes its turn among fifty of one, on the same account at its rate."""
    await world.start(Settings(rate=100.0))
    await world.bridge.stop()
    await add(world.database, Backlog(SMS, 1, 10_000, prefix="long"))
    await add(world.database, Backlog(SMS, 50, 1, prefix="short", first_number=447_100_000_000))
    await world.bridge.start()

    def arrived() -> list[str]:
        # References begin with the backlog they are from.
        return [call.params["reference"].split("-")[1][:4] for call in world.bird.calls if call.name == "send"]

    await until(lambda: arrived().count("shor") == 50, "the short ones are served", seconds=10)
    order = arrived()
    last = max(place for place, kind in enumerate(order) if kind == "shor")
    assert order[:last].count("long") <= 100, "the long one took no more than its turn"
    assert order.count("long") > 0

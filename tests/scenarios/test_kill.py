"""`kill -9` in the middle of traffic."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter, defaultdict
from dataclasses import replace

import pytest

from tests.scenarios.operating import excused
from tests.support.history import Lane
from tests.support.settings import SMS, WHATSAPP
from tests.support.world import World

CONTACTS = [f"+4477009002{number:02}" for number in range(16)]
KILLS = 4
AFTERWARDS = 3
"""Messages of each contact after the last kill."""


@pytest.mark.timeout(120)
async def test_killed_again_and_again(world: World) -> None:
    """G1, G3, G4, G7: nothing acknowledged is lost, nothing is doubled; what is in doubt is listed as `unknown`."""
    dice = random.Random(9)
    world.ring.latency = world.bird.latency = world.islash.latency = 0.004
    await world.start()

    killed = asyncio.Event()

    async def talk(number: int, contact: str) -> None:
        link = (SMS, WHATSAPP)[number % 2]
        left = AFTERWARDS
        for count in itertools.count():
            left -= killed.is_set()
            if left < 0:
                return
            if count % 3:
                await world.contact_says(f"{contact} says {count}", contact=contact, link=link)
            else:
                await world.contact_says(f"{contact} begins {count}", contact=contact, link=link)
                await world.user_says("9003", f"{count} for {contact}", contact=contact, link=link)

    talks = asyncio.gather(*(talk(number, contact) for number, contact in enumerate(CONTACTS)))
    try:
        for _ in range(KILLS):
            await asyncio.sleep(0.15 + dice.random() * 0.3)
            await world.bridge.restart_after_kill()
        killed.set()
        await asyncio.wait_for(talks, 60)
    finally:
        talks.cancel()
    await world.bridge.kill()
    # What was in flight is in doubt, and held by the dead: let the time pass for both.
    await world.database.age(120)
    await world.bridge.start()
    await world.quiet()
    await excuse_doubts(world)
    told = excused(world)
    assert len(set(told)) == len(told), "users are told once"
    found = [fault for fault in world.faults() if fault not in told]
    assert not found, f"{len(found)} faults:\n" + "\n".join(map(str, found[:20]))
    states = Counter(row["state"] for row in await world.deliveries())
    assert set(states) <= {"sent", "unknown"}
    doubts = await world.deliveries("d.state = 'unknown' AND d.target = 'channel'")
    assert len(told) == len(doubts), "of each doubt on a channel"
    assert states["unknown"] <= (KILLS + 1) * len(CONTACTS) * 3, "no more than one a lane and kill"


async def excuse_doubts(world: World) -> None:
    """Note which copies the daemon lists as in doubt. The n-th message of a conversation is the n-th that was said."""
    doubts: dict[tuple[str, int], set[str]] = defaultdict(set)
    for row in await world.deliveries("d.state = 'unknown'"):
        assert row["reason"]
        assert row["link"] != SMS or row["target"] != "channel", "Bird can be asked"
        doubts[row["contact"], row["seq"]].add(row["link"] if row["target"] == "channel" else row["target"])
    counts: Counter[str] = Counter()
    for place, message in enumerate(world.said):
        contact = message.origin.contact
        counts[contact] += 1
        targets = doubts.get((contact, counts[contact]))
        if targets:
            lanes = frozenset(Lane(target, contact) for target in targets)
            world.said[place] = replace(message, in_doubt=lanes)

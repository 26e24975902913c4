"""`kill -9` wherever chance will have it, in the middle of traffic as chance will have it."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Callable

import pytest

from syncd import failpoints
from tests.failpoints.killing import figures_of, killed_at, settled
from tests.failpoints.phases import import_everything
from tests.failpoints.plays import SECONDS, contact_says, polled_once, polling
from tests.support.figures import Figures
from tests.support.settings import POLLED, SMS, WHATSAPP
from tests.support.world import World

SEED = "SYNCD_TEST_SEED"
"""The variable that repeats a case which failed."""
CASES = 3
LONGEST = 20
"""The daemon is killed at one of so many turns."""
EACH = 6
"""Messages of each conversation, at least."""
CONVERSATIONS = [(f"+4477009003{n:02}", link) for n, link in enumerate((SMS, WHATSAPP, SMS, WHATSAPP, POLLED))]
STEPS = (
    *("receive", "translate", "claim", "send", "write_head", "write_body", "read_answer", "finish"),
    *("poll", "cursor_take", "cursor_move"),
)
"""Steps that every message passes, or every poll."""


async def traffic(world: World, seed: int) -> None:
    """Five conversations of six messages at once; they go on until the daemon has died once."""
    await polled_once(world)

    async def talk(contact: str, link: str) -> None:
        dice = random.Random(f"{seed} {contact}")
        count = 0
        while count < EACH or not (world.bridge.starts > 1 or not world.bridge.running):
            await asyncio.sleep(dice.random() * 0.01)
            # The first word is the contact's.
            speaker = dice.choice(("contact", "9003", "9004", "agent")) if count else "contact"
            text = f"{speaker} {count} {contact}"
            if speaker == "agent" and link == SMS:
                await world.agent_says(text, contact=contact)
            elif speaker in ("contact", "agent"):
                await contact_says(world, text, contact, link)
            else:
                await world.user_says(speaker, text, contact=contact, link=link)
            count += 1

    await asyncio.gather(*(talk(contact, link) for contact, link in CONVERSATIONS))
    await world.quiet(seconds=SECONDS)


@pytest.mark.parametrize("case", range(CASES))
@pytest.mark.timeout(150)
async def test_killed_anywhere(world: World, case: int, summed: Callable[[Figures], None]) -> None:
    """G1 to G7: as in the matrix. The output of a case that fails tells how to repeat it."""
    import_everything()
    seed = int(os.environ.get(SEED) or secrets.randbits(32))
    dice = random.Random(seed)
    point = dice.choice(sorted(one for one in failpoints.points() if one.partition(":")[0] in STEPS))
    turn = dice.randint(1, LONGEST)
    print(f"{SEED}={seed} kills at {point}@{turn}")
    await polling(world)
    in_flight = await killed_at(world, point, lambda world: traffic(world, seed), turn=turn)
    await settled(world, in_flight)
    doubts = await world.deliveries("d.state = 'unknown'")
    summed(figures_of(world, "kill -9 by chance", len(doubts)))

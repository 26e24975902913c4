"""People who write to each other while something is done to the daemon."""

from __future__ import annotations

import asyncio

from tests.support.settings import SMS, WHATSAPP
from tests.support.world import World


async def talk(world: World, over: asyncio.Event, number: int, contact: str) -> None:
    """A contact and a user write in turn, as fast as webhooks are answered, until it is over."""
    link = (SMS, WHATSAPP)[number % 2]
    count = 0
    while not over.is_set():
        count += 1
        if count % 3:
            await world.contact_says(f"{contact} says {count}", contact=contact, link=link)
        else:
            await world.user_says("9003", f"{count} for {contact}", contact=contact, link=link)

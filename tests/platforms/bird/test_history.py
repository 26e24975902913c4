"""A channel's history: everything that was said in a span of time, whoever said it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from syncd.engine.platform import Platform, RawEvent
from syncd.model.facts import ChannelSaid, ContactSaid
from syncd.model.sending import AuthFailed, NotSent
from syncd.simulators.base import Fault
from syncd.simulators.bird import BirdSimulator
from syncd.simulators.bird_records import Order
from tests.platforms.bird.harness import CHANNEL, CONTACT, NOW, connected, offline, simulator

HOUR = timedelta(hours=1)


@pytest.fixture
async def bird() -> AsyncIterator[BirdSimulator]:
    async with simulator() as started:
        yield started


async def read(platform: Platform, since: datetime = NOW - HOUR, until: datetime = NOW + HOUR) -> list[RawEvent]:
    return [event async for page in platform.history(CHANNEL, since, until) for event in page]


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
async def test_everybody_is_heard_on_every_page(bird: BirdSimulator, order: Order) -> None:
    bird.order = order
    for number in range(230):
        at = NOW + timedelta(seconds=number)
        say = bird.agent_says if number % 5 == 0 else bird.contact_says
        say(CHANNEL, CONTACT, str(number), webhook=False, at=at)
    async with connected(bird) as platform:
        events = await read(platform)
    assert len(bird.calls_of("list")) == 3
    assert all(len(call.params["query"]) >= 3 for call in bird.calls_of("list"))
    facts = [fact for event in events for fact in offline().parse(event)]
    found = {}
    for fact in facts:
        assert isinstance(fact, ContactSaid | ChannelSaid)
        assert fact.end == CHANNEL
        found[fact.text] = (fact.said_at, isinstance(fact, ChannelSaid))
    assert found == {str(n): (NOW + timedelta(seconds=n), n % 5 == 0) for n in range(230)}


async def test_keys_are_those_of_polls_and_the_span_is_asked_for(bird: BirdSimulator) -> None:
    """G2: in once, by whichever way."""
    messageid = bird.contact_says(CHANNEL, CONTACT, "hi", webhook=False, at=NOW)
    bird.contact_says(CHANNEL, CONTACT, "too early", webhook=False, at=NOW - 2 * HOUR)
    bird.contact_says(CHANNEL, CONTACT, "too late", webhook=False, at=NOW + 2 * HOUR)
    async with connected(bird) as platform:
        (event,) = await read(platform)
    assert (event.key, event.end) == (f"message:{messageid}", CHANNEL)
    assert dict(bird.calls_of("list")[0].params["query"]) == {
        "startAt": "2025-06-01T11:00:00Z",
        "endAt": "2025-06-01T13:00:00Z",
        "limit": "100",
    }


async def test_a_list_without_end_is_told(bird: BirdSimulator) -> None:
    for number in range(120):
        bird.contact_says(CHANNEL, CONTACT, str(number), webhook=False, at=NOW)
    bird.token_loop = True
    async with connected(bird) as platform:
        with pytest.raises(NotSent, match="does not come to an end"):
            await read(platform)


async def test_a_refused_key_is_told(bird: BirdSimulator) -> None:
    bird.faults.append(Fault("status", status=401))
    async with connected(bird) as platform:
        with pytest.raises(AuthFailed):
            await read(platform)

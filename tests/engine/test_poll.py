"""Polling: an end at its interval, by one process, whatever another end does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from syncd.engine.platform import Page
from syncd.engine.poll import PolledEnd, Poller
from syncd.model import retry
from syncd.model.clock import utc_now
from syncd.model.sending import NotSent, RateLimited
from syncd.store.schema import cursor, message
from syncd.store.writer import Store
from tests.engine.stage import FakePlatform, Stage, stage
from tests.model.samples import contact_said
from tests.store.databases import Database

SOON = timedelta(seconds=0.02)


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first wait after a failure is short."""
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.02)


@asynccontextmanager
async def polling(there: Stage, *ends: str, owner: str = "one", interval: timedelta = SOON) -> AsyncIterator[Poller]:
    """A poller of these ends of the account `bird`."""
    platform = there.platforms["bird"]
    polled = [PolledEnd("bird", end, f"link of {end}", platform, interval) for end in ends]
    poller = Poller(polled, there.receiver, there.store, owner=owner, clock=utc_now)
    task = asyncio.create_task(poller.run())
    try:
        yield poller
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await there.dispatcher.drain()


def page(platform: FakePlatform, cursor: str, *names: str, complete: bool = True) -> Page:
    """A page with a message a name."""
    events = tuple(platform.event(f"k-{name}", contact_said(name)) for name in names)
    return Page(events, cursor, complete)


async def until(so: object, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not so():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_pages_are_taken_and_the_cursor_goes_with_them(database: Database, store: Store) -> None:
    there = stage(store)
    bird = there.platforms["bird"]
    bird.pages["a"] = [page(bird, "c0"), page(bird, "c1", "m1", "m2"), page(bird, "c2", "m2", "m3")]
    async with polling(there, "a") as poller:
        await until(lambda: len(bird.polled) >= 4)
        assert set(poller.lag) == {("bird", "a")}
    assert bird.polled[:4] == [("a", None), ("a", "c0"), ("a", "c1"), ("a", "c2")]
    assert len(await database.rows(message)) == 3


async def test_a_page_that_is_not_complete_is_followed_at_once(store: Store) -> None:
    there = stage(store)
    bird = there.platforms["bird"]
    bird.pages["a"] = [page(bird, f"c{number}", f"m{number}", complete=number == 4) for number in range(5)]
    async with polling(there, "a", interval=timedelta(hours=1)):
        await until(lambda: len(bird.polled) >= 5)
        await asyncio.sleep(0.05)
    assert [at for _, at in bird.polled] == [None, "c0", "c1", "c2", "c3"]


async def test_an_end_that_fails_holds_back_no_other_and_keeps_its_cursor(database: Database, store: Store) -> None:
    there = stage(store)
    bird = there.platforms["bird"]
    bird.pages["a"] = [page(bird, "c0"), NotSent("away"), NotSent("away"), page(bird, "c1", "m1")]
    async with polling(there, "a", "b"):
        await until(lambda: len(there.platforms["bird"].polled) > 12 and not bird.pages["a"])
        await until(lambda: ("a", "c1") in bird.polled)
    assert [at for end, at in bird.polled if end == "a"][:4] == [None, "c0", "c0", "c0"]
    assert len(await database.rows(message)) == 1


async def test_a_rate_limit_is_waited_for_as_told(store: Store) -> None:
    there = stage(store)
    bird = there.platforms["bird"]
    bird.pages["a"] = [RateLimited("slow", retry_after=0.4)]
    async with polling(there, "a"):
        await asyncio.sleep(0.3)
        assert len(bird.polled) == 1
        await until(lambda: len(bird.polled) > 1)


async def test_a_defect_of_a_platform_holds_back_no_other_end(store: Store) -> None:
    there = stage(store)
    bird = there.platforms["bird"]
    bird.pages["a"] = [ZeroDivisionError("a defect")]
    async with polling(there, "a", "b"):
        await asyncio.sleep(0.4)
    assert len([end for end, _ in bird.polled if end == "b"]) > 2


async def test_of_two_processes_one_polls_an_end(shared: Database) -> None:
    async with shared.store() as one, shared.store() as two:
        first, second = stage(one), stage(two, owner="two")
        async with polling(first, "a", owner="one") as poller:
            await until(lambda: len(first.platforms["bird"].polled) >= 2)
            async with polling(second, "a", owner="two"):
                await asyncio.sleep(0.3)
                assert second.platforms["bird"].polled == []
                await poller.leave()
                await until(lambda: second.platforms["bird"].polled or first.platforms["bird"].polled)
        assert len(await shared.rows(cursor)) == 1


async def test_who_leaves_lets_another_poll(shared: Database) -> None:
    async with shared.store() as one, shared.store() as two:
        first, second = stage(one), stage(two, owner="two")
        async with polling(first, "a", owner="one") as poller:
            await until(lambda: first.platforms["bird"].polled)
        await poller.leave()
        async with polling(second, "a", owner="two"):
            await until(lambda: second.platforms["bird"].polled)

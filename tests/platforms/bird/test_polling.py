"""Polling a channel: every message once the cursor is past it, whatever the list's order, bounds and clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from syncd.engine.platform import Page, Platform
from syncd.model.facts import ContactSaid
from syncd.model.sending import AuthFailed, Gone, NotSent, RateLimited, SendError
from syncd.platforms.bird import polling
from syncd.simulators.base import Fault
from syncd.simulators.bird import BirdSimulator
from syncd.simulators.bird_records import Order
from tests.platforms.bird.harness import CHANNEL, CONTACT, NOW, connected, offline, signed, simulator

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def bird() -> AsyncIterator[BirdSimulator]:
    async with simulator() as started:
        yield started


async def _first(platform: Platform, at: datetime = NOW) -> str:
    page = await platform.poll(CHANNEL, None, at)
    assert page.events == () and page.complete
    return page.cursor


def _texts(page: Page) -> list[str]:
    facts = [fact for event in page.events for fact in offline().parse(event)]
    assert all(isinstance(fact, ContactSaid) and fact.end == CHANNEL for fact in facts)
    return [fact.text for fact in facts if isinstance(fact, ContactSaid)]


def _say(bird: BirdSimulator, text: str, at: datetime) -> str:
    return bird.contact_says(CHANNEL, CONTACT, text, webhook=False, at=at)


async def test_a_first_poll_imports_nothing_old(bird: BirdSimulator) -> None:
    """Neither by the first poll nor by the overlap of those after it."""
    _say(bird, "long ago", NOW - timedelta(days=9))
    _say(bird, "just before", NOW - timedelta(seconds=1))
    async with connected(bird) as platform:
        cursor = await _first(platform)
        assert bird.calls == []
        page = await platform.poll(CHANNEL, cursor, NOW + MINUTE)
        assert _texts(page) == []
        _say(bird, "after", NOW + MINUTE)
        page = await platform.poll(CHANNEL, page.cursor, NOW + 2 * MINUTE)
        assert _texts(page) == ["after"] and page.complete


async def test_the_query_is_the_documented_one(bird: BirdSimulator) -> None:
    async with connected(bird) as platform:
        cursor = await _first(platform)
        _say(bird, "a", NOW + 60 * MINUTE)
        page = await platform.poll(CHANNEL, cursor, NOW + 61 * MINUTE)
        await platform.poll(CHANNEL, page.cursor, NOW + 62 * MINUTE)
    query = dict(bird.calls_of("list")[1].params["query"])
    assert query == {"direction": "incoming", "startAt": "2025-06-01T12:45:00Z", "limit": "100"}


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
@pytest.mark.parametrize("ending", ["missing", "null", "empty"])
async def test_every_page_is_read_whatever_the_order(bird: BirdSimulator, order: Order, ending: str) -> None:
    bird.order = order
    bird.list_ending = ending  # type: ignore[assignment]
    said = [str(number) for number in range(230)]
    for number in said:
        _say(bird, number, NOW + timedelta(milliseconds=int(number)))
    bird.agent_says(CHANNEL, CONTACT, "not the contact's", webhook=False, at=NOW + MINUTE)
    async with connected(bird) as platform:
        page = await platform.poll(CHANNEL, await _first(platform), NOW + 2 * MINUTE)
    assert _texts(page) == said
    assert len(bird.calls_of("list")) == 3


async def test_a_row_that_shows_late_is_found_by_the_overlap(bird: BirdSimulator) -> None:
    async with connected(bird) as platform:
        cursor = await _first(platform)
        _say(bird, "second", NOW + 30 * MINUTE)
        page = await platform.poll(CHANNEL, cursor, NOW + 30 * MINUTE)
        _say(bird, "first", NOW + 20 * MINUTE)
        page = await platform.poll(CHANNEL, page.cursor, NOW + 31 * MINUTE)
    assert _texts(page) == ["first", "second"]


async def test_a_poll_and_a_webhook_give_the_same_key(bird: BirdSimulator) -> None:
    """G2: in once, by whichever way."""
    messageid = _say(bird, "hi", NOW)
    async with connected(bird) as platform:
        page = await platform.poll(CHANNEL, await _first(platform), NOW + MINUTE)
    hook = bird.hook("sms.inbound", bird.messages[messageid])
    (event,) = offline().verify(signed(hook.body, timestamp=hook.headers["messagebird-request-timestamp"]))
    (polled,) = page.events
    assert (polled.key, polled.end) == (event.key, event.end) == (f"message:{messageid}", CHANNEL)
    assert offline().parse(polled) == offline().parse(event)


@pytest.mark.parametrize("text", ["NUL \0", "half \ud83d", "long 99999999999999999999"])
async def test_any_text_is_polled_as_it_is(bird: BirdSimulator, text: str) -> None:
    _say(bird, text, NOW)
    async with connected(bird) as platform:
        page = await platform.poll(CHANNEL, await _first(platform), NOW + MINUTE)
    assert _texts(page) == [text]


async def test_numbers_for_ids_keep_every_digit(bird: BirdSimulator) -> None:
    body = b'{"results":[{"id":99999999999999999999,"direction":"incoming","createdAt":"2025-06-01T12:00:01Z"}]}'
    bird.faults.append(Fault("reply", status=200, body=body))
    async with connected(bird) as platform:
        page = await platform.poll(CHANNEL, await _first(platform), NOW + MINUTE)
    assert [(event.key, event.end) for event in page.events] == [("message:99999999999999999999", CHANNEL)]


@pytest.mark.parametrize(
    "row", ['{"id":"m"}', '{"id":"m","createdAt":""}', '{"id":"m","createdAt":"soon"}', "{}", "[]", "null"]
)
async def test_an_odd_row_spoils_neither_page_nor_cursor(bird: BirdSimulator, row: str) -> None:
    good = '{"id":"good","direction":"incoming","createdAt":"2025-06-01T12:00:01.5Z"}'
    bird.faults.append(Fault("reply", status=200, body=f'{{"results":[{good},{row}]}}'.encode()))
    async with connected(bird) as platform:
        page = await platform.poll(CHANNEL, await _first(platform), NOW + MINUTE)
        assert len(page.events) == 2 and page.events[-1].key == "message:good"
        await platform.poll(CHANNEL, page.cursor, NOW + 60 * MINUTE)
    assert dict(bird.calls_of("list")[1].params["query"])["startAt"] == "2025-06-01T12:00:00Z"


async def test_a_token_that_comes_twice_hands_over_and_stays(bird: BirdSimulator) -> None:
    said = [_say(bird, str(number), NOW + timedelta(seconds=number)) for number in range(120)]
    bird.token_loop = True
    async with connected(bird) as platform:
        cursor = await _first(platform)
        page = await platform.poll(CHANNEL, cursor, NOW + 60 * MINUTE)
        assert len(bird.calls_of("list")) == 2
        newest = {f"message:{one}" for one in said[20:]}
        assert {event.key for event in page.events} == newest
        with pytest.raises(NotSent, match="repeats its page token"):
            await platform.poll(CHANNEL, page.cursor, NOW + 61 * MINUTE)
        _say(bird, "new", NOW + 61 * MINUTE)
        page = await platform.poll(CHANNEL, page.cursor, NOW + 62 * MINUTE)
        assert "new" in _texts(page)
        bird.token_loop = False
        page = await platform.poll(CHANNEL, page.cursor, NOW + 63 * MINUTE)
    assert _texts(page) == [*(str(number) for number in range(120)), "new"]


async def test_a_token_that_is_refused_begins_again_next_time(bird: BirdSimulator) -> None:
    for number in range(150):
        _say(bird, str(number), NOW + timedelta(seconds=number))
    bird.faults.append(
        Fault("status", status=400, match=lambda call: "pageToken" in dict(call.params.get("query", ())))
    )
    async with connected(bird) as platform:
        cursor = await _first(platform)
        with pytest.raises(NotSent, match="page token"):
            await platform.poll(CHANNEL, cursor, NOW + 5 * MINUTE)
        page = await platform.poll(CHANNEL, cursor, NOW + 5 * MINUTE)
    assert len(page.events) == 150


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
async def test_a_long_absence_is_read_in_pieces(
    bird: BirdSimulator, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G9: a poll holds so many pages and no more, and misses nothing between them."""
    monkeypatch.setattr(polling, "MOST_PAGES", 2)
    bird.order = order
    said = [str(number) for number in range(900)]
    for number in said[:450]:
        _say(bird, number, NOW + timedelta(seconds=int(number)))
    for number in said[450:]:
        _say(bird, number, NOW + timedelta(hours=9, seconds=int(number)))
    found: dict[str, str] = {}
    async with connected(bird) as platform:
        page = Page((), await _first(platform), complete=False)
        polls = 0
        while not page.complete:
            page = await platform.poll(CHANNEL, page.cursor, NOW + timedelta(hours=10))
            assert len(page.events) <= 200
            found |= {event.key: text for event, text in zip(page.events, _texts(page), strict=True)}
            polls += 1
            assert polls < 100
        assert list(found.values()) == said
        bird.calls.clear()
        _say(bird, "now", NOW + timedelta(hours=10))
        page = await platform.poll(CHANNEL, page.cursor, NOW + timedelta(hours=10))
    # Caught up: back to the overlap behind the newest message.
    (call,) = bird.calls_of("list")[:1]
    assert dict(call.params["query"])["startAt"] == "2025-06-01T20:59:59Z"


async def test_more_than_can_be_read_in_the_shortest_piece_is_said(
    bird: BirdSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "MOST_PAGES", 2)
    for number in range(300):
        _say(bird, str(number), NOW + timedelta(milliseconds=number))
    async with connected(bird) as platform:
        cursor = await _first(platform)
        for _ in range(4):
            page = await platform.poll(CHANNEL, cursor, NOW + MINUTE)
            assert page.events == () and not page.complete
            cursor = page.cursor
        with pytest.raises(NotSent, match="more than 2 pages"):
            await platform.poll(CHANNEL, cursor, NOW + MINUTE)


async def test_a_clock_ahead_does_not_carry_the_cursor_away(bird: BirdSimulator) -> None:
    async with connected(bird) as platform:
        cursor = await _first(platform)
        _say(bird, "from the future", NOW + timedelta(days=1))
        page = await platform.poll(CHANNEL, cursor, NOW + MINUTE)
        assert _texts(page) == ["from the future"]
        _say(bird, "now", NOW + 2 * MINUTE)
        page = await platform.poll(CHANNEL, page.cursor, NOW + 3 * MINUTE)
    assert _texts(page) == ["now", "from the future"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", status=500), NotSent),
        (Fault("status", status=408), NotSent),
        (Fault("status", status=302), NotSent),
        (Fault("hangup", times=2), NotSent),  # the client asks a second time by itself
        (Fault("reply", status=200, body=b"<html>"), NotSent),
        (Fault("reply", status=200, body=b'{"results":7}'), NotSent),
        (Fault("status", status=401), AuthFailed),
        (Fault("status", status=403), AuthFailed),
        (Fault("status", status=429, headers={"Retry-After": "3"}), RateLimited),
        (Fault("status", status=404), Gone),
    ],
)
async def test_a_poll_that_fails_says_how(bird: BirdSimulator, fault: Fault, error: type[SendError]) -> None:
    bird.faults.append(fault)
    async with connected(bird) as platform:
        with pytest.raises(error):
            await platform.poll(CHANNEL, await _first(platform), NOW + MINUTE)


async def test_a_cursor_of_another_make_is_refused(bird: BirdSimulator) -> None:
    async with connected(bird) as platform:
        with pytest.raises(NotSent, match="cursor"):
            await platform.poll(CHANNEL, "17", NOW)

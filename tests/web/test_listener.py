"""The listener's limits, each on real connections (G9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web
from prometheus_client import generate_latest

from syncd import metrics
from syncd.web.limits import Limits
from syncd.web.listener import Listener, plain, read_body
from tests.support.bridge import metric
from tests.support.waiting import until
from tests.web.calling import CLOSED, calling, chunked, request

LIMITS = Limits(
    max_body_bytes=4000,
    max_head_bytes=2048,
    head_seconds=0.5,
    body_seconds=0.5,
    idle_seconds=0.5,
    max_connections=3,
)
PATIENT = replace(LIMITS, head_seconds=60, body_seconds=60, idle_seconds=60)


def reached(key: str) -> float:
    """How often a limit was reached so far."""
    return metric(generate_latest(metrics.registry).decode(), "syncd_limit_reached_total", listener="test", limit=key)


def connections() -> float:
    """How many connections are open."""
    return metric(generate_latest(metrics.registry).decode(), "syncd_connections", listener="test")


@asynccontextmanager
async def listening(limits: Limits) -> AsyncIterator[int]:
    """A listener that answers each POST with its body; its port."""

    async def answer(call: web.BaseRequest) -> web.StreamResponse:
        if call.path == "/slow":
            await asyncio.sleep(0.8)
        try:
            return web.Response(body=await read_body(call))
        except web.HTTPRequestEntityTooLarge:
            return plain(413, closing=True)
        except TimeoutError:
            return plain(408, closing=True)
        except (OSError, web.RequestPayloadError):
            return plain(400, closing=True)

    runner = web.ServerRunner(Listener(answer, limits, name="test"), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("said", "statuses"),
    [
        (request("/", b"x" * 4000), [200]),
        (request("/", b"x" * 4001), [413, CLOSED]),
        (request("/", length=10**9), [413, CLOSED]),
        (request("/", length=-1, fields=["Transfer-Encoding: chunked"]) + chunked(b"x" * 4000) + b"0\r\n\r\n", [200]),
        (request("/", length=-1, fields=["Transfer-Encoding: chunked"]) + chunked(b"x" * 4001) + b"0\r\n\r\n", [413]),
        (request("/", length=-1, fields=["Transfer-Encoding: chunked"]) + chunked(b"x" * 900_000), [413]),
        (request("/", b"more", length=2), [400, CLOSED]),
        (request("/", b"a") + request("/", b"b"), [200, 200]),
    ],
    ids=["most", "more", "said-only", "chunked-most", "chunked-more", "chunked-endless", "lie", "pipelined"],
)
async def test_bodies(said: bytes, statuses: list[int]) -> None:
    """G9: `max_body_bytes`, whatever the head says of it."""
    before = reached("max_body_bytes")
    async with listening(replace(PATIENT, body_seconds=0.5)) as port, calling(port) as caller:
        await caller.says(said)
        for status in statuses:
            assert await caller.status() == status
    assert reached("max_body_bytes") - before == statuses.count(413)


ENDLESS = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 90) for n in range(30))


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (request("/", fields=["X-A: " + "y" * 1900]), 200),
        (request("/", fields=["X-A: " + "y" * 2100]), 431),
        (request("/", fields=[f"X-{n}: " + "y" * 90 for n in range(30)]), 431),
        (request("/", fields=[f"X-{n}: " for n in range(101)]), 431),
        (request("/" + "p" * 2100), 431),
        (request("/") + request("/", fields=[f"X-{n}: " + "y" * 90 for n in range(30)]), 431),
        (ENDLESS, 431),
        (request("/", b"x" * 3000), 200),
    ],
    ids=["fits", "one-field", "all-fields", "too-many", "line", "second", "unfinished", "body-is-no-head"],
)
@pytest.mark.parametrize("piece", [10_000, 700], ids=["whole", "pieces"])
async def test_heads(said: bytes, status: int, piece: int) -> None:
    """G9: `max_head_bytes`, in one packet and in several."""
    before = reached("max_head_bytes")
    async with listening(PATIENT) as port, calling(port) as caller:
        for place in range(0, len(said), piece):
            await caller.says(said[place : place + piece])
            await asyncio.sleep(0.01)
        if said.count(b"POST") == 2:
            assert await caller.status() == 200
        answered = await caller.status()
        # Where the head is refused before it is whole, what still comes may cut the answer off.
        assert answered == status or (piece < len(said) and status == 431 and answered == CLOSED)
        if status == 431:
            assert await caller.hangs_up()
    assert reached("max_head_bytes") - before == (status == 431)


FIRST = request("/", b"first")
BEGUN = request("/")[:30]


@pytest.mark.parametrize(
    ("first", "said"), [(b"", BEGUN), (b"", b""), (FIRST, BEGUN)], ids=["drips", "says-nothing", "drips-later"]
)
async def test_a_head_that_takes_too_long(first: bytes, said: bytes) -> None:
    """G9: `head_seconds`, for the first request of a connection and for later ones."""
    limits = replace(PATIENT, head_seconds=0.5)
    before = reached("head_seconds")
    loop = asyncio.get_running_loop()
    async with listening(limits) as port, calling(port) as caller:
        if first:
            await caller.says(first)
            assert await caller.status() == 200
            await asyncio.sleep(0.7)  # being idle is no head
        began = loop.time()
        dripping = asyncio.create_task(caller.drips(said * 50, gap=0.02))
        assert await caller.hangs_up()
        assert 0.4 < loop.time() - began < 2.0
        await dripping
        await until(lambda: connections() == 0, "closed")
    assert reached("head_seconds") - before == 1


async def test_a_head_in_pieces_but_in_time() -> None:
    """G9: slowness within the limit is no fault, request after request."""
    async with listening(replace(LIMITS, head_seconds=1.0, idle_seconds=0.4)) as port, calling(port) as caller:
        for _ in range(3):
            await caller.drips(request("/", b"slow"), gap=0.008)  # longer than the connection may be idle
            assert (await caller.answer()).body == b"slow"


async def test_a_body_in_pieces_is_no_head() -> None:
    """G9: neither by its size nor by its time."""
    limits = replace(PATIENT, max_body_bytes=1_000_000, head_seconds=0.3)
    async with listening(limits) as port, calling(port) as caller:
        for body in (b"x" * 1_000_000, b"y" * 3000):
            said = request("/", body)
            for place in range(0, len(said), len(said) // 3):
                await caller.says(said[place : place + len(said) // 3])
                await asyncio.sleep(0.05)
            assert (await caller.answer()).body == body
            await asyncio.sleep(0.5)


async def test_a_request_that_takes_long_is_not_idle() -> None:
    """G9: neither idle nor late while it is being answered, also with a piece of the next one behind it."""
    async with listening(LIMITS) as port, calling(port) as caller:
        await caller.says(request("/slow", b"x") + request("/slow", b"y"))
        assert (await caller.answer()).body == b"x"
        assert (await caller.answer()).body == b"y"
    async with listening(LIMITS) as port, calling(port) as caller:
        await caller.says(request("/slow", b"x"))
        await caller.says(request("/")[:10])
        assert (await caller.answer()).body == b"x"  # what was asked first is answered
        assert await caller.hangs_up()


async def test_a_body_that_takes_too_long() -> None:
    """G9: `body_seconds`."""
    before = reached("body_seconds")
    async with listening(LIMITS) as port, calling(port) as caller:
        await caller.says(request("/", b"x", length=100))
        dripping = asyncio.create_task(caller.drips(b"y" * 90, gap=0.05))
        assert await caller.status() == 408
        assert await caller.hangs_up()
        await dripping
    assert reached("body_seconds") - before == 1


async def test_an_idle_connection() -> None:
    """G9: `idle_seconds`; until then it is kept."""
    before = reached("idle_seconds")
    loop = asyncio.get_running_loop()
    async with listening(LIMITS) as port, calling(port) as caller:
        for _ in range(4):
            await caller.says(request("/", b"again"))
            assert await caller.status() == 200
            answered = loop.time()
            await asyncio.sleep(0.2)
        assert await caller.hangs_up()
        assert 0.4 < loop.time() - answered < 2.0
    assert reached("idle_seconds") - before == 1


async def test_too_many_connections() -> None:
    """G9: `max_connections`; there is room again as soon as one is gone."""
    before = reached("max_connections")
    async with listening(PATIENT) as port:
        async with calling(port) as first, calling(port) as second, calling(port) as third:
            for caller in (first, second, third):
                await caller.says(request("/", b"in"))
                assert await caller.status() == 200
            assert connections() == 3
            for _ in range(20):
                async with calling(port) as surplus:
                    refused = await surplus.answer()
                    assert refused.status == 503
                    assert int(refused.headers["retry-after"]) > 0
                    assert await surplus.hangs_up()
            await first.says(request("/", b"still"))
            assert (await first.answer()).body == b"still"
            assert connections() == 3
        await until(lambda: connections() == 0, "room")
        async with calling(port) as caller:
            await caller.says(request("/", b"in"))
            assert await caller.status() == 200
    assert reached("max_connections") - before == 20


async def test_answers_that_nobody_reads() -> None:
    """G9: whoever asks and asks, and reads no answer, does not keep a connection for ever."""
    async with listening(LIMITS) as port, calling(port) as caller:
        asked = request("/", b"x" * 3000) * 50
        stuck = False
        while not stuck:
            caller.writer.write(asked)
            try:
                await asyncio.wait_for(caller.writer.drain(), 0.5)
            except TimeoutError:
                stuck = True
        assert connections() == 1
        await until(lambda: connections() == 0, "closed")


async def test_a_body_that_waits_to_be_asked_for() -> None:
    """`Expect: 100-continue` is answered, and only where the body will be read."""
    fields = ["Expect: 100-continue"]
    async with listening(LIMITS) as port, calling(port) as caller:
        await caller.says(request("/", length=4, fields=fields))
        assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await caller.says(b"body")
        assert (await caller.answer()).body == b"body"
        await caller.says(request("/", length=4001, fields=fields))
        assert await caller.status() == 413

"""Callers who want more than they may have, at the running daemon: it answers, stays well, and serves the others."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.bridge import metric
from tests.support.figures import Figures, Note
from tests.support.settings import (
    API_KEY,
    DESK_HOOK_SECRET,
    ISLASH_HOOK_SECRET,
    Settings,
)
from tests.support.waiting import until
from tests.support.world import World
from tests.web.calling import CLOSED, calling, chunked, request

OFFICE = f"/hooks/office/{DESK_HOOK_SECRET}"
ISLASH = f"/hooks/islash/{ISLASH_HOOK_SECRET}"
BIRD = "/hooks/bird"
CHUNKED = ["Transfer-Encoding: chunked"]

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For what happens before any database is asked."""


async def reached(world: World, key: str, listener: str = "public") -> float:
    """How often callers met a limit."""
    return metric(await world.metrics(), "syncd_limit_reached_total", listener=listener, limit=key)


async def well(world: World, before: dict[str, int]) -> None:
    """Nothing was stored of all that, nothing said of it in the log, and the daemon goes on."""
    assert await world.counts() == before
    assert [line for line in world.bridge.lines() if str(line.get("event")).startswith(("aiohttp", "asyncio"))] == []
    await world.contact_says("still there")
    await world.check()


# --- the limits of the config ---

LIMITED = {
    "max_body_bytes": 5000,
    "max_head_bytes": 1024,
    "head_seconds": 0.5,
    "body_seconds": 0.6,
    "idle_seconds": 0.7,
    "max_connections": 8,
}


@on_sqlite
async def test_each_limit_of_the_config_is_in_force(world: World) -> None:
    """G9: at both listeners, each counted and shown by `/metrics`."""
    await world.start(Settings(server=LIMITED))
    before = await world.counts()
    for port, listener in ((world.bridge.port, "public"), (world.bridge.admin_port, "admin")):
        path = OFFICE if listener == "public" else "/livez"
        async with calling(port) as late, calling(port) as idle, calling(port) as heavy:
            await idle.says(request(path, method="GET"))
            assert await idle.status() == 200
            await heavy.says(request(path, method="GET", fields=["X-Long: " + "y" * 1000]))
            assert await heavy.status() == 431
            await late.says(request(path)[:20])
            assert await late.hangs_up(seconds=3)
            assert await idle.hangs_up(seconds=3)
        for key in ("max_head_bytes", "head_seconds", "idle_seconds"):
            assert await reached(world, key, listener) >= 1, key
    for path in (OFFICE, ISLASH, BIRD):
        async with calling(world.bridge.port) as large, calling(world.bridge.port) as slow:
            await large.says(request(path, length=5001))
            assert await large.status() == 413
            await slow.says(request(path, b"{", length=100))
            assert await slow.status() == 408
    async with AsyncExitStack() as opened:
        for _ in range(8):
            await opened.enter_async_context(calling(world.bridge.port))
        async with calling(world.bridge.port) as ninth:
            assert await ninth.status() in (503, CLOSED)
    text = await world.metrics()
    for key, limit in LIMITED.items():
        assert metric(text, "syncd_limit", listener="public", limit=key) == limit
        assert metric(text, "syncd_limit_reached_total", listener="public", limit=key) >= 1, key
    await until(lambda: _has_room(world), "room")
    await well(world, before)


async def _has_room(world: World) -> bool:
    """No connections are left but those that the simulators keep."""
    return metric(await world.metrics(), "syncd_connections", listener="public") < 8


@on_sqlite
async def test_bodies_of_a_length_that_is_not_told_or_not_true(world: World) -> None:
    """G9: `max_body_bytes` counts bytes, not promises."""
    await world.start(Settings(server={"body_seconds": 1}))
    before = await world.counts()
    mib = 1024 * 1024
    right = json.dumps({"method": "typing", "params": {}, "api_key": API_KEY}).encode()
    cases: list[tuple[bytes, set[int]]] = [
        (request(OFFICE, length=-1, fields=CHUNKED) + chunked(b" " * (mib + 1)) + b"0\r\n\r\n", {413}),
        (request(OFFICE, length=-1, fields=CHUNKED) + chunked(b" " * 8 * mib, size=65536), {413}),
        (request(OFFICE, length=mib + 1), {413}),
        (request(OFFICE, length=2**63), {413}),
        (request(OFFICE, length=2**64), {400}),
        (request(OFFICE, right, length=len(right) + 1), {408}),
        (request(OFFICE, right, length=len(right) - 1), {400}),
        (request(OFFICE, right, length=-1), {400}),
        (request(OFFICE, length=-1, fields=CHUNKED) + b"ffffffffffffffff\r\n", {400, 408, 413}),
        (request(OFFICE, length=-1, fields=CHUNKED) + b"-5\r\nhello\r\n0\r\n\r\n", {400}),
        (
            request(OFFICE, length=-1, fields=CHUNKED) + b"5;" + b"x" * 50_000 + b"\r\nhello\r\n",
            {400, 408, 413, CLOSED},
        ),
    ]
    for said, statuses in cases:
        async with calling(world.bridge.port) as caller:
            await caller.says(said)
            assert await caller.status() in statuses, said[:300]
    assert await reached(world, "max_body_bytes") >= 4
    await well(world, before)


# --- many at once ---


async def test_slow_callers_do_not_keep_others_out(world: World, figures: Note) -> None:
    """G9, G10, G1: hundreds of connections that send their heads and bodies by drips; webhooks are taken as ever."""
    world.bird.retries_hooks = world.ring.retries_hooks = world.islash.retries_hooks = False
    await world.start(Settings(server={"head_seconds": 2, "body_seconds": 2}))
    stop = asyncio.Event()
    cut = 0

    async def drip(number: int) -> None:
        nonlocal cut
        said = (request(BIRD, b"{" * 500), request(OFFICE), request("/", b"x" * 500))[number % 3]
        while not stop.is_set():
            async with calling(world.bridge.port) as caller:
                begun = len(said) // 3 if number % 2 else len(said) - 400
                await caller.says(said[: max(begun, 10)])
                hung_up = await caller.hangs_up(seconds=6)
                cut += hung_up

    slow = [asyncio.create_task(drip(number)) for number in range(300)]
    try:
        for count in range(60):
            await world.contact_says(f"message {count}")
            await asyncio.sleep(0.05)
    finally:
        stop.set()
        await asyncio.gather(*slow)
    await world.check()
    assert cut >= 300
    assert set(world.bird.hook_answers) == {200}
    assert await reached(world, "head_seconds") + await reached(world, "body_seconds") >= 300
    figures(Figures("slow callers, 300 at once", world.database.kind, 60, 60, 0, lost=0, doubled=0))


@on_sqlite
async def test_there_are_never_too_few_files(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G9: where the process may open few files, connections are fewer, and sends go out while all of them are taken."""
    most = 512
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nulimit -n {most}\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    await world.start()
    (lowered,) = world.bridge.events("connections.lowered")
    assert lowered["configured"] == 1024
    assert 0 < lowered["limit"] < most
    assert metric(await world.metrics(), "syncd_limit", listener="public", limit="max_connections") == lowered["limit"]
    await world.user_says("9003", "on a connection that is kept")
    async with AsyncExitStack() as opened:
        for _ in range(most + 200):
            await opened.enter_async_context(calling(world.bridge.port))
        await world.user_says("9003", "with all connections taken")
        await world.arrive(world.channel, ["on a connection that is kept", "with all connections taken"])
        async with world.client.get(f"{world.bridge.admin_url}/readyz") as ready:
            assert ready.status == 200
        assert len(os.listdir(f"/proc/{pid_of(world)}/fd")) < most
    assert await reached(world, "max_connections") > 0
    await until(lambda: _has_room(world), "room")
    await world.contact_says("afterwards")
    await world.check()


def pid_of(world: World) -> int:
    return int(getattr(world.bridge._process, "pid"))  # noqa: B009 - of a process in the operating system


# --- what is not HTTP, or means two things ---

NOT_HTTP: dict[str, bytes] = {
    "two lengths": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "two equal lengths": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\n{}",
    "length and chunks": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nPOST /x HTTP/1.1\r\n\r\n",
    "chunks and length": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "chunks twice": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "unknown encoding": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked is not last": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "space before the colon": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nContent-Length : 2\r\n\r\n{}",
    "space before the name": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\n Content-Length: 2\r\n\r\n{}",
    "negative length": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nContent-Length: -2\r\n\r\n{}",
    "signed length": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\n{}",
    "hexadecimal length": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\n{}",
    "length in other digits": "POST /hooks/bird HTTP/1.1\r\nHost: a\r\nContent-Length: ٢\r\n\r\n{}".encode(),
    "line feeds only": b"POST /hooks/bird HTTP/1.1\nHost: a\nContent-Length: 2\n\n{}",
    "carriage return alone": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nX: a\rContent-Length: 2\r\n\r\n{}",
    "NUL in a field": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nX: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in the path": b"POST /hooks/bird\0 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
    "folded field": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "no host": b"POST /hooks/bird HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "two hosts": b"POST /hooks/bird HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}",
    "unknown method": b"HACK /hooks/bird HTTP/1.1\r\nHost: a\r\n\r\n",
    "no path": b"POST  HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /hooks/bird\r\n\r\n",
    "HTTP/9.9": b"GET /hooks/bird HTTP/9.9\r\nHost: a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    "TLS": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\xaa" * 500,
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "forged log line": b'GET /\x1b[2J\r\n{"event":"daemon.stopped","level":"error"}\r\n\r\n',
    "key in a broken line": b"GET /" + API_KEY.encode() + b" HTTP/1.1 x\r\nHost: a\r\n\r\n",
}


@on_sqlite
async def test_what_is_not_http(world: World) -> None:
    """G9, G11: heads that may be read in two ways, and other protocols: 400 and closed, and nothing behind them."""
    await world.start()
    before = await world.counts()
    for name, said in NOT_HTTP.items():
        for port in (world.bridge.port, world.bridge.admin_port):
            async with calling(port) as caller:
                await caller.says(said + request("/hooks/bird", method="GET") * 2)
                answers = [await caller.answer(), await caller.answer()]
                statuses = [answered.status for answered in answers]
                assert statuses == [400, CLOSED], f"{name}: {statuses}"
                assert answers[0].body == b"Bad Request", name
    assert metric(await world.metrics(), "syncd_malformed_requests_total", listener="public") >= len(NOT_HTTP)
    await well(world, before)


@on_sqlite
async def test_other_ways_to_ask(world: World) -> None:
    """G11: proxies' and browsers' requests are nothing special; each gets one answer."""
    await world.start()
    before = await world.counts()
    fields = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"]
    cases = {
        b"CONNECT bridge:443 HTTP/1.1\r\nHost: bridge:443\r\n\r\n": 404,
        b"POST http://elsewhere/hooks/bird HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}": 404,
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n": 404,
        b"GET //hooks/bird HTTP/1.1\r\nHost: a\r\n\r\n": 404,
        b"GET /hooks/../hooks/bird HTTP/1.1\r\nHost: a\r\n\r\n": 404,
        b"GET /hooks/bird\xff HTTP/1.1\r\nHost: a\r\n\r\n": 400,
        b"GET /hooks/bird%zz HTTP/1.1\r\nHost: a\r\n\r\n": 404,
        b"GET /hooks/bird HTTP/1.0\r\n\r\n": 200,
        request(BIRD, method="GET", fields=fields): 200,
        request(BIRD, method="GET", fields=["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"]): 200,
        request(BIRD, b"x" * 100, method="GET"): 200,
        request(BIRD, b"x" * 100, method="TRACE"): 405,
    }
    for said, status in cases.items():
        async with calling(world.bridge.port) as caller:
            await caller.says(said)
            assert await caller.status() == status, said
    await well(world, before)

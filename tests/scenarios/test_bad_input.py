"""What the public listener answers to whoever calls it (design §5)."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.settings import API_KEY, DESK_HOOK_SECRET, ISLASH_HOOK_SECRET, Settings
from tests.support.waiting import until
from tests.support.world import World

OFFICE = f"/hooks/office/{DESK_HOOK_SECRET}"
ISLASH = f"/hooks/islash/{ISLASH_HOOK_SECRET}"
BIRD = "/hooks/bird"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ask:
    """A request and the answer that it must get."""

    status: int
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def asks(world: World) -> list[Ask]:
    """One of each kind."""
    right = json.dumps({"method": "message", "params": {}, "api_key": API_KEY}).encode()
    wrong_key = json.dumps({"method": "message", "params": {}, "api_key": API_KEY[:-1]}).encode()
    good = world.bird.hook("sms.inbound", {"id": "1", "channelId": "2"})
    forged = world.bird.hook("sms.inbound", {"id": "1"}, key="another key")
    elsewhere = world.bird.hook("sms.inbound", {"id": "1"}, signed_url="https://elsewhere.example.com/hooks/bird")
    late = world.bird.hook("sms.inbound", {"id": "1"}, at=time.time() - 15 * 86400)
    nowhere = [
        "/hooks/office",
        "/hooks/office/",
        "/hooks/office/wrong",
        f"{OFFICE}x",
        f"{OFFICE}/",
        "/hooks/islash",
        "/hooks/islash/wrong",
        "/hooks/bird/secret",
        "/hooks/nobody",
        "/hooks/",
        "/hooks",
        "/",
        "/livez",
        "/readyz",
        "/metrics",
    ]
    file = "/media/none/file.jpg"
    return [
        *(Ask(404, method, path, right) for path in nowhere for method in METHODS),
        *(Ask(404 if method in ("GET", "HEAD") else 405, method, file, right) for method in METHODS),
        *(Ask(405, method, path) for path in (OFFICE, ISLASH, BIRD) for method in ("PUT", "PATCH", "DELETE")),
        *(Ask(200, method, path) for path in (OFFICE, ISLASH, BIRD) for method in ("GET", "HEAD")),
        *(Ask(400, "POST", OFFICE, body) for body in (b"", b"{", b"\xff\xfe", b"[1]", b"null", b"NaN", b"[" * 5000)),
        *(Ask(401, "POST", OFFICE, body) for body in (wrong_key, b"{}", b'{"api_key":null}', b'{"api_key":["x"]}')),
        Ask(400, "POST", ISLASH, b"not JSON"),
        Ask(401, "POST", BIRD, good.body),
        Ask(401, "POST", BIRD, forged.body, forged.headers),
        Ask(401, "POST", BIRD, elsewhere.body, elsewhere.headers),
        Ask(401, "POST", BIRD, late.body, late.headers),
        Ask(401, "POST", BIRD, good.body + b" ", good.headers),
        Ask(401, "POST", BIRD, b"not JSON", good.headers),
        *(Ask(413, "POST", path, b" " * (MIB + 1)) for path in (OFFICE, ISLASH, BIRD)),
    ]


async def test_every_answer_of_the_table(world: World) -> None:
    """G1, G9, G11: each kind of bad request gets its status, and nothing changes in the database."""
    await world.start()
    await world.contact_says("hello")
    await world.quiet()
    before = await world.counts()
    for ask in asks(world):
        status, headers, body = await asked(world, ask)
        what = f"{ask.method} {ask.path} {ask.body[:40]!r}"
        assert status == ask.status, what
        if status == 200:
            assert body == b"", what
        if status == 404 and ask.method != "HEAD":
            assert b"livez" not in body
            assert headers.get("Server", "") == "" or "syncd" not in headers["Server"]
    assert await world.counts() == before
    await world.contact_says("still there")
    await world.check()


async def test_a_challenge_is_echoed_for_islash_only(world: World) -> None:
    """Design §5: Meta's set-up check; nobody else gets back what was sent."""
    await world.start()
    for path, wanted in ((ISLASH, b"12 34<b>"), (OFFICE, b""), (BIRD, b""), ("/hooks/islash/wrong", b"Not Found")):
        _, headers, body = await asked(world, Ask(0, "GET", f"{path}?hub.mode=subscribe&hub.challenge=12%2034%3Cb%3E"))
        assert body == wanted
        assert headers["Content-Type"].startswith("text/plain")


async def test_the_admin_listener_has_no_hooks(world: World) -> None:
    """Design §5: webhooks on the public listener, health and metrics on the other."""
    await world.start()
    for path, status in (("/livez", 200), ("/readyz", 200), ("/metrics", 200), (OFFICE, 404), (BIRD, 404)):
        async with world.client.get(world.bridge.admin_url + path) as response:
            assert response.status == status, path


async def test_too_many_at_once(world: World) -> None:
    """G9: past `max_concurrent` webhooks 503 with `Retry-After`; nothing is stored; afterwards all is well."""
    await world.start(Settings(server={"max_concurrent": 2}))
    before = await world.counts()
    async with slow_body(world), slow_body(world):

        async def in_hand() -> bool:
            return "syncd_webhooks_in_hand 2.0" in await world.metrics()

        await until(in_hand, "two in hand")
        hook = world.bird.hook("sms.inbound", {"id": "1", "channelId": "2"})
        status, headers, _ = await asked(world, Ask(503, "POST", BIRD, hook.body, hook.headers))
        assert status == 503
        assert int(headers["Retry-After"]) > 0
        assert await world.counts() == before
    await world.contact_says("hello")
    await world.check()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_body_that_does_not_come(world: World) -> None:
    """G9: ten seconds for a body, then 408."""
    await world.start()
    async with slow_body(world) as reader:
        answer = await asyncio.wait_for(reader.readline(), 13)
    assert answer.startswith(b"HTTP/1.1 408")
    assert (await world.counts())["event"] == 0


async def test_no_plain_webhook_hides_a_secret(world: World) -> None:
    """G12: secrets that stand in refused requests are not in the log either."""
    await world.start()
    for path in (f"/hooks/nobody/{DESK_HOOK_SECRET}", f"/hooks/office/{DESK_HOOK_SECRET}/x"):
        await asked(world, Ask(404, "POST", path, json.dumps({"api_key": API_KEY}).encode()))
    await asked(world, Ask(400, "POST", OFFICE, b'{"api_key": "' + API_KEY.encode()))


async def asked(world: World, ask: Ask) -> tuple[int, Any, bytes]:
    """The answer's status, headers and body."""
    async with world.client.request(
        ask.method, world.bridge.url + ask.path, data=io.BytesIO(ask.body) if ask.body else None, headers=ask.headers
    ) as response:
        return response.status, response.headers, await response.read()


@asynccontextmanager
async def slow_body(world: World) -> AsyncIterator[asyncio.StreamReader]:
    """A webhook whose body does not come to its end."""
    port = urlsplit(world.bridge.url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"POST {BIRD} HTTP/1.1\r\nHost: bridge\r\nContent-Length: 100\r\n\r\n{{".encode())
        await writer.drain()
        yield reader
    finally:
        writer.close()

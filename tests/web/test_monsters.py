"""Bodies that readers fall over, through every door of the running daemon."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncd.simulators.bird import signature
from tests.scenarios.test_limits import BIRD, ISLASH, OFFICE, on_sqlite, pid_of
from tests.support.settings import API_KEY, PUBLIC_URL, SIGNING_KEY
from tests.support.waiting import until
from tests.support.world import World


def values() -> Iterator[bytes]:
    """JSON and near-JSON that readers fall over, as a value in whatever place."""
    for depth in (500, 990, 1100, 5000, 100_000):
        yield b"[" * depth + b"]" * depth
        yield b'{"a":' * depth + b"1" + b"}" * depth
    yield b"[" * 100_000
    yield from (b"1e400", b"-1e999999", b"9" * 400, b"1" * 5000, b"1" * 200_000, b"1e-999999", b"-0", b"1E5")
    yield from (b"NaN", b"-Infinity", b"01", b"+1", b"1.", b".5", b"0x10", b"tru", b"", b"'a'", b"/**/1", b"1,")
    for text in (b"\\ud800", b"\\udc00\\ud800", b"\\u0000", b"\\x", b"\\u12", b"\0", b"\x1b[2J", b"\n"):
        yield b'"' + text + b'"'
    yield from (b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"', '"\u2028\u0085"'.encode())
    yield b'"' + b"x" * 900_000 + b'"'
    yield b'{"id":1,"id":"2","id":null}'


def _ringotel(value: bytes) -> Iterator[bytes]:
    key = json.dumps(API_KEY).encode()
    yield b'{"method":"message","api_key":' + key + b',"params":' + value + b"}"
    names = (b"orgid", b"from", b"to", b"messageid", b"sessionid", b"content", b"type", b"userid", b"senderid")
    if len(value) < 100_000:
        params = b",".join(b'"' + name + b'":' + value for name in names)
        for method in (b'"message"', b'"delivered"', b'"read"', value):
            yield b'{"params":{' + params + b'},"method":' + method + b',"api_key":' + key + b"}"
    yield b'{"api_key":"x","x":' + value + b',"api_key":' + key + b"}"
    yield b'{"api_key":' + value + b',"method":"message"}'


def _bird(value: bytes) -> Iterator[bytes]:
    yield b'{"service":"channels","event":"sms.inbound","payload":' + value + b"}"
    if len(value) < 100_000:
        person = b'{"id":%b,"identifierKey":%b,"identifierValue":%b,"annotations":%b}' % ((value,) * 4)
        fields = b'"id":%b,"channelId":%b,"createdAt":%b,"reference":%b,"status":%b' % ((value,) * 5)
        body = b'{"type":"text","text":{"text":%b}}' % value
        for event in (b"sms.inbound", b"sms.outbound", b"sms.interaction"):
            yield (
                b'{"service":"channels","event":"%b","payload":{%b,"sender":{"contact":%b},"receiver":'
                b'{"contacts":[%b]},"body":%b}}' % (event, fields, person, person, body)
            )


def _islash(value: bytes) -> Iterator[bytes]:
    yield b'{"messages":' + value + b"}"
    yield b'{"entry":[{"changes":[{"value":' + value + b"}]}]}"
    if len(value) < 100_000:
        message = b'{"id":%b,"from":%b,"type":"text","timestamp":%b,"text":{"body":%b}}' % ((value,) * 4)
        yield b'{"messages":[%b,%b],"contacts":%b}' % (message, message, value)
        yield b'{"statuses":[{"id":%b,"status":%b,"timestamp":%b,"recipient_id":%b}]}' % ((value,) * 4)
        yield json.dumps({"messages": value.decode("latin-1")}).encode()


DOORS: dict[str, Callable[[bytes], Iterator[bytes]]] = {OFFICE: _ringotel, BIRD: _bird, ISLASH: _islash}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(OFFICE, id="ringotel"),
        pytest.param(BIRD, id="bird"),
        pytest.param(ISLASH, id="islash"),
    ],
)
async def test_monsters_in_json(world: World, path: str) -> None:
    """G9, G10: whatever an authentic webhook holds, it is 200, 400 or 401; no defect in the log, and no delay after."""
    await world.start()
    posted = 0
    for value in values():
        for body in (value, *DOORS[path](value)):
            if len(body) > 1024 * 1024:
                continue
            posted += 1
            async with world.client.post(world.bridge.url + path, data=body, headers=_signed(path, body)) as response:
                assert response.status in (200, 400, 401), f"{response.status} to {body[:200]!r}"
    assert posted > 100
    assert [line for line in world.bridge.lines() if line["event"] in ("event.failed", "event.not_understood")] == []
    await world.contact_says("still there")
    await world.user_says("9003", "still there too")
    await until(lambda: "still there" in world.desk("9004"), "delivered")
    await until(lambda: "still there too" in world.channel(), "delivered")


@on_sqlite
async def test_a_packed_body_is_not_unpacked(world: World) -> None:
    """G9, G11: a bomb in the body stays one: it is verified as it came, and is no JSON."""
    await world.start()
    before = await world.counts()
    bomb = gzip.compress(b" " * 600_000_000, 9)
    plain = json.dumps({"method": "typing", "params": {}, "api_key": API_KEY}).encode()
    resident = _resident(world)
    for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
        headers = {"Content-Encoding": encoding}
        for path, status in ((OFFICE, 400), (ISLASH, 400), (BIRD, 401)):
            async with world.client.post(world.bridge.url + path, data=bomb, headers=headers) as response:
                assert response.status == status
        # Signed as it comes over the wire, it is Bird's, and still no JSON.
        async with world.client.post(
            world.bridge.url + BIRD, data=bomb, headers=headers | _signed(BIRD, bomb)
        ) as response:
            assert response.status == 400
        # What says that it is packed, and is not, is read as it is.
        async with world.client.post(world.bridge.url + OFFICE, data=plain, headers=headers) as response:
            assert response.status == 200
    assert _resident(world) - resident < 60_000_000
    assert (await world.counts())["message"] == before["message"]


def _signed(path: str, body: bytes) -> dict[str, str]:
    if path != BIRD:
        return {}
    now = str(int(time.time()))
    return {
        "messagebird-signature": signature(SIGNING_KEY, now, f"{PUBLIC_URL}{BIRD}", body),
        "messagebird-request-timestamp": now,
    }


def _resident(world: World) -> int:
    pages = int(Path(f"/proc/{pid_of(world)}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

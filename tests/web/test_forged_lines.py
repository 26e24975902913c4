"""Whose words stand in the log: lines that people and platforms try to forge, and answers that no column holds."""

from __future__ import annotations

import json
import re

import pytest

from syncd.simulators.base import Fault
from tests.scenarios.test_attackers import (
    BIRD,
    ISLASH,
    OFFICE,
    desk_message,
    on_whatsapp,
    posted,
    reconfigured,
    said_on_bird,
)
from tests.support.settings import API_KEY, SECRETS, WHATSAPP
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World
from tests.web.calling import CLOSED, calling, request

MARK = "FORGED"
FORGERIES = (
    f'\n{{"ts":"2020-01-01T00:00:00.000Z","level":"error","event":"{MARK}"}}\n',
    f"\r\n2020-01-01T00:00:00.000Z error   {MARK} a=b\r\n",
    f"\x1b[2J\x1b[1;1H\x1b]0;{MARK}\x07\x9b31m",
    f"\u2028{MARK}\u2029{MARK}\u0085{MARK}\x0b\x0c\x1c\x1d",
    f"\u202e{MARK}\u2066\u200f",
    f"\x00\x08\x08\x08{MARK}",
)
_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x80-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LINE = {
    "json": re.compile(r'\{"ts":"\d{4}-.*\}'),
    "console": re.compile(r"(\d{4}-\d\d-\d\dT[0-9:.]+Z (debug|info|warning|error) |  \| ).*"),
}


async def _forge(world: World) -> int:
    """Bring the forgeries wherever words of others go; how many genuine messages they were."""
    genuine = 0
    for number, forgery in enumerate(FORGERIES):
        quoted = "".join(f"%{byte:02x}" for byte in forgery.encode())
        raw = forgery.encode().replace(b"\n", b" ").replace(b"\r", b" ").replace(b"\0", b" ")
        for path in (f"/hooks/{quoted}", f"/hooks/office/{quoted}", f"/{quoted}", f"{OFFICE}?{quoted}={quoted}"):
            await posted(world, path, forgery.encode(), {"User-Agent": "x"})
        for said in (
            request(BIRD, b"{}").replace(b"Host", b"messagebird-signature: " + raw + b"\r\nHost"),
            request(BIRD, b"{}").replace(b"Host", raw + b": x\r\nHost"),
            request(BIRD, b"{}").replace(BIRD.encode(), BIRD.encode() + raw),
            raw * 3 + b"\r\n\r\n",
        ):
            async with calling(world.bridge.port) as caller:
                await caller.says(said)
                assert await caller.status() in (400, 401, 404, CLOSED)
        await posted(world, OFFICE, json.dumps(desk_message(forgery)).encode())
        # Genuine ones, by people who try.
        contact = f"{BOB[:-2]}{number:02}"
        named = said_on_bird(world, forgery, contact)
        named["sender"]["contact"]["annotations"] = {"name": forgery}
        for event, payload in (
            ("sms.inbound", named),
            ("sms.inbound", {**named, "id": forgery, "channelId": forgery}),
            ("sms.outbound", {**named, "id": f"out{forgery}", "direction": "outgoing", "status": "rejected",
                              "reason": forgery, "reference": forgery}),
            (forgery, named),
        ):  # fmt: skip
            hook = world.bird.hook(event, payload)
            assert await posted(world, BIRD, hook.body, hook.headers) == 200
        assert await posted(world, ISLASH, on_whatsapp(forgery, messageid=forgery, type=forgery)) == 200
        for params in (
            {"messageid": forgery, "sessionid": forgery},
            {"messageid": f"7100{number}", "from": forgery},
            {"messageid": f"7200{number}", "orgid": forgery, "to": forgery, "type": forgery},
        ):
            message = desk_message(API_KEY, text=forgery)
            message["params"] |= params
            assert await posted(world, OFFICE, json.dumps(message).encode()) == 200
        assert await posted(world, OFFICE, json.dumps(desk_message(API_KEY) | {"method": forgery}).encode()) == 200
        # And platforms' answers.
        told = forgery.replace("\0", "")
        body = json.dumps({"error": told, "message": told, "code": told}).encode()
        for simulator in (world.bird, world.ring, world.islash):
            simulator.faults.append(Fault("status", status=400, body=body))
        genuine += 1
        await world.contact_says(f"plain {number}", contact=ALICE, link=WHATSAPP)
        await world.user_says("9003", f"answer {number}", contact=ALICE, link=WHATSAPP)
    return genuine


@pytest.mark.parametrize("format_", ["json", "console"])
async def test_nobody_writes_the_log_but_syncd(world: World, format_: str) -> None:
    """G12: line ends, terminal sequences and their like stay inside values, whoever sends them, wherever they stand."""
    world.bird.retries_hooks = world.ring.retries_hooks = world.islash.retries_hooks = False
    await world.start()
    await world.bridge.stop()
    reconfigured(world, 'format = "json"', f'format = "{format_}"')
    world.bridge.log.write_bytes(b"")
    await world.bridge.start()
    assert await _forge(world) == len(FORGERIES)
    await until(lambda: b"dead" in world.bridge.log.read_bytes(), "a copy was refused")
    await world.quiet()
    assert await world.bridge.stop() == 0
    text = world.bridge.log.read_bytes().decode()
    assert MARK in text
    lines = text.removesuffix("\n").split("\n")
    assert [line for line in lines if not _LINE[format_].fullmatch(line)] == []
    assert [line for line in lines if _CONTROLS.search(line)] == []
    if format_ == "json":
        assert [line for line in map(json.loads, lines) if MARK in line["event"]] == []
        assert world.bridge.faults() == []
    else:
        assert [line for line in lines if re.match(r"\S+ error ", line)] == []
        assert world.bridge.leaks(SECRETS) == []
        world.bridge.log.write_bytes(b"")  # what follows reads JSON


async def test_a_refusal_that_no_column_holds(world: World) -> None:
    """G10, G3: whatever a platform says why it refuses, the copy is dead, and its lane goes on."""
    await world.start()
    await world.contact_says("a first word")
    await world.check()
    told = "NUL \x00 and half a character \ud83d"
    world.bird.faults.append(Fault("status", status=400, body=json.dumps({"code": told, "message": told}).encode()))
    await world.user_says("9003", "refused")
    await until(lambda: world.bridge.events("delivery.dead"), "it is dead", seconds=5)
    await world.user_says("9003", "the next")
    await until(lambda: world.channel() == ["the next"], "the lane goes on", seconds=5)

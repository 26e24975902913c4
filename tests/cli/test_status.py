"""`status`: read straight from the database, beside a daemon and without one."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime

from syncd.simulators.base import Fault
from tests.cli.conftest import Bridge
from tests.support.settings import Settings
from tests.support.waiting import until
from tests.support.world import ALICE


async def test_status_tells_what_waits_and_why(bridge: Bridge) -> None:
    world = bridge.world
    bridge.configure(Settings(poll_interval="1s"))
    await bridge.run()
    quiet = (await bridge("status", "--json")).document
    assert (quiet["backlog"], quiet["oldest"], quiet["dead"], quiet["unknown"]) == (0, None, 0, 0)

    refused = Fault("status", times=-1, status=429, headers={"Retry-After": "600"})
    world.ring.faults.append(refused)
    await world.contact_says("hello")
    waiting = "SELECT count(*) FROM lane WHERE due_at IS NOT NULL"

    async def waits() -> bool:
        return bool(await world.database.value(waiting))

    await until(waits, "a lane waits")
    found = (await bridge("status", "--json")).document
    assert found["backlog"] == 2
    assert is_time(found["oldest"])
    assert is_time(found["at"])
    accounts = {row["id"]: row for row in found["accounts"]}
    assert is_time(accounts["bird"]["last_event"])
    assert accounts["islash"]["last_event"] is None
    assert 0 <= accounts["birdpoll"]["poll_lag"] < 15
    assert accounts["bird"]["poll_lag"] is None
    links = {row["id"]: row for row in found["links"]}
    assert (links["sms"]["conversations"], links["sms"]["messages"]) == (1, 1)
    assert links["whatsapp"]["messages"] == 0
    assert {lane["target"] for lane in found["lanes"]} == {"desk:9003", "desk:9004"}
    for lane in found["lanes"]:
        assert (lane["link"], lane["contact"], lane["deliveries"]) == ("sms", ALICE, 1)
        assert is_time(lane["since"])
        assert lane["why"]

    assert (await bridge("pause", "office")).code == 0
    found = (await bridge("status", "--json")).document
    rows = {row["id"]: row for row in (*found["accounts"], *found["links"])}
    assert (rows["office"]["state"], rows["office"]["reason"].partition(" ")[0]) == ("paused", "by")
    assert is_time(rows["office"]["since"])
    assert (rows["bird"]["state"], rows["sms"]["state"]) == ("up", "up")
    assert {lane["why"] for lane in found["lanes"]} == {"office is paused"}
    assert (await bridge("resume", "office")).code == 0

    bridge.daemon.terminate()
    assert await bridge.ended() == 0
    alone, piped, shown = await asyncio.gather(
        bridge("status", "--json"), bridge("status"), bridge.on_terminal("status")
    )
    assert (alone.document["backlog"], alone.document["lanes"][0]["contact"]) == (2, ALICE)
    assert ALICE in piped.out
    assert_fits(piped.out)
    assert shown.code == 0
    assert "\x1b[1m" in shown.out
    assert_fits(re.sub(r"\x1b\[[0-9;]*m", "", shown.out))


def is_time(text: str) -> bool:
    """RFC 3339, UTC."""
    return text.endswith("Z") and datetime.fromisoformat(text).utcoffset() is not None


def assert_fits(text: str) -> None:
    """80 columns."""
    assert [line for line in text.splitlines() if len(line) > 80] == []

"""`trace` beside a daemon and without one: its outputs and its exit codes."""

from __future__ import annotations

import asyncio
import re

from tests.cli.conftest import Bridge
from tests.support.settings import BIRD_CHANNEL
from tests.support.world import ALICE


async def test_trace_on_a_terminal_in_a_pipe_and_as_a_document(bridge: Bridge) -> None:
    """G13: it fits, it is coloured on a terminal only, and it needs no daemon."""
    world = bridge.world
    await bridge.run()
    said = await world.contact_says("hello there, " + "all of you " * 30)
    await world.quiet()
    await world.user_says("9003", "good day \x1b[31m")
    await world.quiet()
    (sent,) = world.bird.sent(BIRD_CHANNEL, ALICE)
    bridge.daemon.terminate()
    assert await bridge.ended() == 0

    piped, told, talk, shown, nothing, wrong = await asyncio.gather(
        bridge("trace", said),
        bridge("trace", said, "--json"),
        bridge("trace", ALICE),
        bridge.on_terminal("trace", sent["id"]),
        bridge("trace", "01a200362ed1000197202bd6", "--json"),
        bridge("trace", said, "--limit", "0"),
    )
    (found,) = told.document["found"]
    assert piped.code == told.code == talk.code == shown.code == 0
    assert piped.out.endswith("\n")
    assert " ".join(piped.out.splitlines()[-2:]).endswith(found["sentence"])
    for text in (piped.out, talk.out, re.sub(r"\x1b\[[0-9;]*m", "", shown.out)):
        assert [line for line in text.splitlines() if len(line) > 80] == []
    assert "\x1b[1m" in shown.out
    assert "\x1b[31m" not in shown.out
    assert "1 SMS segment if it goes out as SMS" in re.sub(r"\x1b\[[0-9;]*m", "", shown.out)
    assert (nothing.code, wrong.code) == (1, 64)
    assert "nothing is known of 01a200362ed1000197202bd6" in nothing.document["error"]


async def test_trace_without_a_database(bridge: Bridge) -> None:
    """No daemon has ever run: there is nothing to be read."""
    ran = await bridge("trace", "anything")
    assert ran.code == 69

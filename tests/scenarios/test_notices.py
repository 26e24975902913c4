"""Notices: a user learns in the chat that a message did not arrive, once, whatever dies on the way."""

from __future__ import annotations

import json
import signal

import pytest

from syncd.simulators.base import Call, Fault
from tests.cli.conftest import Shell
from tests.scenarios.operating import excused, listed, notices, rejecting
from tests.support.figures import Figures, Note
from tests.support.settings import SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World

TOLD = ["[syncd] Not delivered: “refused” (the service refused it)"]


@pytest.mark.parametrize("point", ["finish:committed", "look_again:before", "look_again:committed"])
async def test_a_notice_outlives_the_process(world: World, figures: Note, point: str) -> None:
    """G3, G7: given up and told of are one commit; killed right after it, or while telling, the user is told once."""
    # One user only: a colleague's copy would be recorded in a commit of the same name.
    world.configure(Settings(users=("9003",)))
    world.bird.faults.append(rejecting(SMS))
    await world.bridge.start(SYNCD_FAILPOINTS=f"{point}=kill")
    await world.user_says("9003", "refused")
    assert await world.bridge.ended() == -signal.SIGKILL
    (row,) = await world.deliveries("d.target = 'channel'")
    assert row["state"] == "dead"
    assert notices(world, "9003", ALICE) == []
    await world.bridge.start()
    await until(lambda: notices(world, "9003", ALICE), "told")
    await world.quiet()
    assert notices(world, "9003", ALICE) == TOLD
    assert world.channel() == []
    figures(Figures(f"killed at {point} of a notice", world.database.kind, 1, 1, 0, 0, 0))


async def test_a_notice_is_for_its_author_alone_and_about_no_notice(world: World, operator: Shell) -> None:
    """G3, G5: not bridged, not told to colleagues, not looping; what cannot be told is listed, and no more."""
    world.ring.echo = "before"
    await world.start(Settings(keys_of={WHATSAPP: {"failure_notice": False}}))
    await world.contact_says("hello")
    await world.contact_says("hello", contact=BOB, link=WHATSAPP)
    await world.quiet()

    def is_notice(call: Call) -> bool:
        return str(call.params.get("content", "")).startswith("[syncd]")

    body = json.dumps({"error": {"message": "no"}}).encode()
    world.ring.faults.append(Fault("status", status=400, body=body, match=is_notice))
    world.bird.faults.append(rejecting(SMS, times=2))
    world.islash.faults.append(rejecting(WHATSAPP))
    await world.user_says("9003", "refused", contact=BOB, link=WHATSAPP)
    await world.user_says("9003", "refused, and its notice too")
    await world.quiet()
    assert notices(world, "9003", ALICE) == []
    await world.user_says("9004", "refused")
    await world.user_says("9003", "taken")
    await world.quiet()
    assert notices(world, "9004", ALICE) == TOLD
    assert notices(world, "9003", ALICE) == notices(world, "9003", BOB) == notices(world, "9004", BOB) == []
    assert world.channel() == ["taken"]
    assert world.channel(WHATSAPP, BOB) == []
    assert [(row["link"], row["target"]) for row in await listed(operator, "dead")] == [
        (WHATSAPP, "channel"),
        (SMS, "channel"),
        (SMS, "desk:9003"),
        (SMS, "channel"),
    ]
    assert {fault.kind for fault in world.faults() if fault not in excused(world)} == {"lost"}
    events = await world.database.rows("SELECT account, via, state FROM event WHERE account = '@syncd'")
    assert events == [{"account": "@syncd", "via": "syncd", "state": "done"}] * 2

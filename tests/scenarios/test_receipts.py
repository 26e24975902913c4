"""What became of a user's message, as its author sees it; and what the desk tells of the contact's."""

from __future__ import annotations

import asyncio

from syncd.simulators.ringotel_desk import Shown
from tests.support.settings import BIRD_CHANNEL, ISLASH_SESSION, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, World

NOTICE = "[syncd]"


def line(world: World, extension: str, text: str) -> Shown:
    """The line of a chat that shows this text."""
    (found,) = [one for one in world.ring.shown(extension, ALICE) if one.text == text]
    return found


async def status_of(world: World, messageid: str) -> str:
    (row,) = [row for row in await world.mapping() if row["messageid"] == messageid]
    return str(row["status"])


async def test_the_author_sees_delivered_and_read(world: World) -> None:
    """G2, G14: statuses of Bird and iSlash are ticks in the author's own chat, and in nobody else's; once, forwards."""
    world.bird.outbound_hooks = "none"
    await world.start()
    await world.user_says("9003", "by Bird")
    await world.quiet()
    (sent,) = world.bird.sent(BIRD_CHANNEL, ALICE)
    for status in ("accepted", "delivered", "sent", "delivered"):
        world.bird.set_status(sent["id"], status)
    await until(lambda: line(world, "9003", "by Bird").tick == "delivered", "delivered")
    world.bird.interact(sent["id"], "read")
    world.bird.interact(sent["id"], "clicked")
    await until(lambda: line(world, "9003", "by Bird").tick == "read", "read")
    world.bird.set_status(sent["id"], "delivered")
    await world.check()
    assert await status_of(world, sent["id"]) == "read"
    assert line(world, "9003", "by Bird").tick == "read"
    assert len(world.ring.calls_of("delivered")) == len(world.ring.calls_of("read")) == 1
    assert line(world, "9004", "by Bird").tick == "sent"


async def test_statuses_of_whatsapp(world: World) -> None:
    """G2: iSlash tells of WhatsApp's statuses by the network's id."""
    await world.start(Settings(links=(WHATSAPP,)))
    await world.contact_says("hello", link=WHATSAPP)
    await world.user_says("9003", "good day", link=WHATSAPP)
    await world.quiet()
    (sent,) = world.islash.sent(ISLASH_SESSION, ALICE.removeprefix("+"))
    world.islash.status(sent.sid, "read", copies=2)
    await until(lambda: line(world, "9003", "good day").tick == "read", "read")
    world.islash.status(sent.sid, "delivered")
    await world.check()
    assert world.ring.calls_of("delivered") == []


async def test_a_status_that_comes_before_the_answer(world: World) -> None:
    """Design §8.2: it is parked until the message is known, and then told."""
    await world.start()
    await world.user_says("9003", "slow answer")
    await world.quiet()
    (sent,) = world.bird.sent(BIRD_CHANNEL, ALICE)
    await world.database.change(f"UPDATE mapping SET messageid = 'not-yet' WHERE messageid = '{sent['id']}'")
    world.bird.interact(sent["id"], "read")
    await until(lambda: world.database.value("SELECT count(*) FROM event WHERE state = 'parked'"), "parked", seconds=5)
    await world.bridge.restart_after_kill()
    await world.database.change(f"UPDATE mapping SET messageid = '{sent['id']}' WHERE messageid = 'not-yet'")
    await until(lambda: line(world, "9003", "slow answer").tick == "read", "read")
    await world.check()


async def test_what_the_desk_tells_is_recorded(world: World) -> None:
    """Design §14: `delivered` by message, `read` for all that the session had until then."""
    await world.start()
    for text in ("one", "two"):
        await world.contact_says(text)
    await world.quiet()
    first, second = (one for one in world.ring.chat("9003", ALICE) if one.by_api)
    world.ring.app_delivered(first.id)
    await until(lambda: _is(world, first.id, "delivered"), "delivered")
    world.ring.app_read(second.sessionid)
    await until(lambda: _is(world, second.id, "read"), "read")
    assert await status_of(world, first.id) == "read"
    await world.contact_says("three")
    await world.check()
    assert await status_of(world, world.ring.chat("9003", ALICE)[-1].id) == "sent"
    others = [row["status"] for row in await world.mapping() if row["extension"] == "9004"]
    assert others == ["sent"] * 3


async def _is(world: World, messageid: str, status: str) -> bool:
    return await status_of(world, messageid) == status


async def test_a_failure_that_is_told_later(world: World) -> None:
    """G2: an asynchronous failure is told in its author's chat, once, in plain words, and never to the contact."""
    world.bird.outbound_hooks = "none"
    await world.start()
    await world.user_says("9004", "never arrives")
    await world.quiet()
    (sent,) = world.bird.sent(BIRD_CHANNEL, ALICE)
    for _ in range(2):
        world.bird.set_status(sent["id"], "delivery_failed", reason="131047 Re-engagement message")
    await until(lambda: any(text.startswith(NOTICE) for text in world.desk("9004")), "told")
    await world.quiet()
    await world.bridge.restart_after_kill()
    world.bird.set_status(sent["id"], "delivery_failed", reason="once more")
    await world.quiet()
    await asyncio.sleep(0.2)
    (notice,) = [text for text in world.desk("9004") if text.startswith(NOTICE)]
    assert "never arrives" in notice
    assert "the contact must write first" in notice
    assert not any(text.startswith(NOTICE) for text in (*world.desk("9003"), *world.channel()))
    assert await status_of(world, sent["id"]) == "failed"

"""The same thing told many times, in many ways."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tests.support.settings import BIRD_CHANNEL, POLLED, POLLED_CHANNEL, PUBLIC_URL, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World


async def test_webhooks_that_come_many_times(world: World) -> None:
    """G2, G3: copies at once, later, and after a restart make one message, on every platform."""
    await world.start()
    on_bird = await world.contact_says("by Bird", copies=5)
    await world.contact_says("by iSlash", contact=BOB, link=WHATSAPP, copies=5)
    by_user = await world.user_says("9003", "by a user", copies=5)
    again = world.ring.desk.messages[by_user]
    session = world.ring.desk.sessions[again.sessionid]
    for _ in range(2):
        world.bird.tell_again(on_bird)
        world.ring.emit(world.ring.hook("message", world.ring.told(again, session)), copies=3)
        await world.check()
        await world.bridge.restart_after_kill()
    await world.check()
    assert await world.database.value("SELECT count(*) FROM message") == 3
    copies = await world.database.rows("SELECT copies FROM event WHERE via = 'webhook' ORDER BY id")
    assert max(row["copies"] for row in copies) >= 11


async def test_equal_texts_are_not_duplicates(world: World) -> None:
    """G2: what is told apart by its id is two messages, whatever its text."""
    await world.start()
    for _ in range(3):
        await world.contact_says("ok")
    for _ in range(3):
        await world.user_says("9003", "ok")
    await world.check()
    assert world.desk("9004") == ["ok"] * 6


async def test_webhook_and_poll_tell_the_same(world: World) -> None:
    """G2: a message that a poll and webhooks tell, before and after each other, weeks old by its time, is one."""
    world.bird.hook_url = f"{world.bridge.url}/hooks/birdpoll"
    world.bird.public_hook_url = f"{PUBLIC_URL}/hooks/birdpoll"
    await world.start(Settings(poll_interval="100ms", keys_of={POLLED: {"max_age": "90d"}}))
    await until(lambda: world.database.value("SELECT count(*) FROM cursor WHERE value <> ''"), "the first poll")
    told = []
    for number in range(6):
        told.append(world.bird.contact_says(POLLED_CHANNEL, ALICE, f"message {number}", webhook=number % 2 == 0))
        await until(lambda: len(world.desk("9003")) >= len(told), "carried")
        world.note_contact(f"message {number}", link=POLLED)
    polls = len(world.bird.calls_of("list"))
    await until(lambda: len(world.bird.calls_of("list")) > polls + 2, "two more polls")
    for messageid in told:
        world.bird.tell_again(messageid)
        world.bird.tell_again(messageid)
    await world.check()
    old = datetime.now(UTC) - timedelta(days=21)
    messageid = world.bird.contact_says(POLLED_CHANNEL, ALICE, "three weeks late", at=old)
    world.note_contact("three weeks late", link=POLLED)
    await world.quiet()
    world.bird.tell_again(messageid)
    await world.bridge.restart_after_kill()
    world.bird.tell_again(messageid)
    await world.check()
    assert await world.database.value("SELECT count(*) FROM message") == 7


async def test_the_first_poll_imports_nothing_old(world: World) -> None:
    """Design §8: what was said before the daemon first polled stays where it is."""
    world.bird.contact_says(POLLED_CHANNEL, ALICE, "long ago", webhook=False)
    await world.start(Settings(poll_interval="100ms"))
    await until(lambda: len(world.bird.calls_of("list")) > 1, "two polls")
    await world.contact_says("now", link=POLLED)
    await until(lambda: world.desk("9003"), "carried")
    await world.check()


async def test_statuses_again_and_backwards(world: World) -> None:
    """G2: a status that comes late or twice never lowers what is known."""
    world.bird.outbound_hooks = "none"
    await world.start()
    await world.user_says("9003", "hello")
    await world.quiet()
    (sent,) = world.bird.sent(BIRD_CHANNEL, ALICE)
    for status in ("delivered", "sent", "delivered", "accepted"):
        world.bird.set_status(sent["id"], status)
        assert world.bird.posted is not None
        await asyncio.wait_for(world.bird.posted, 5)
    await world.check()
    (row,) = [row for row in await world.mapping() if row["messageid"] == sent["id"]]
    assert row["status"] == "delivered"

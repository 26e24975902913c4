"""What the daemon wrote comes back from the platforms, early, late, and after a restart: nothing new may appear."""

from __future__ import annotations

from typing import Literal

import pytest

from tests.support.settings import SMS, WHATSAPP
from tests.support.world import World


@pytest.mark.parametrize("when", ["before", "after"])
async def test_our_own_sends_come_back_by_webhook(world: World, when: Literal["before", "after"]) -> None:
    """G5: echoes of every platform, before and after the HTTP answer, make nothing new."""
    world.ring.echo = when
    world.bird.outbound_hooks = when
    world.bird.statuses = ("accepted", "sent", "delivered")
    world.islash.auto_statuses = ("sent", "delivered", "read")
    world.islash.statuses_first = when == "before"
    await world.start()
    for number in range(3):
        await world.contact_says(f"from the contact {number}")
        await world.user_says("9003", f"from a user {number}")
        await world.contact_says(f"by WhatsApp {number}", contact="+447700900003", link=WHATSAPP)
        await world.user_says("9004", f"to WhatsApp {number}", contact="+447700900003", link=WHATSAPP)
    await world.check()
    assert await world.database.value("SELECT count(*) FROM message") == 12
    rows = await world.mapping()
    assert len(rows) == 12 * 3, "a channel row and a row a user's chat, for each message"
    on_bird = [row["status"] for row in rows if row["account"] == "bird" and not row["origin"]]
    assert on_bird == ["delivered"] * 3


async def test_echoes_after_a_restart(world: World) -> None:
    """G5, G7: an echo that comes when the process that sent is dead is still known."""
    world.bird.outbound_hooks = "none"
    await world.start()
    await world.contact_says("hello")
    await world.user_says("9003", "hello back")
    await world.check()
    before = await world.counts()
    await world.bridge.restart_after_kill()
    for message in world.ring.desk.messages.values():
        if message.by_api:
            session = world.ring.desk.sessions[message.sessionid]
            world.ring.emit(world.ring.hook("message", world.ring.told(message, session)))
    for sent in world.bird.sent("cb4b1ebc-34e6-5a7a-a375-f6f2f131d88f", "+447700900001"):
        world.bird.tell_again(sent["id"])
    await world.check()
    after = await world.counts()
    assert after | {"event": before["event"]} == before, "only events were added"


async def test_somebody_answers_on_the_channel_itself(world: World) -> None:
    """G2, G5: an agent's answer is copied once to every user, as outgoing, of the link's first user, with its time."""
    world.bird.hook_copies = 3
    world.bird.statuses = ("accepted", "sent", "delivered")
    await world.start()
    await world.contact_says("is anybody there?")
    await world.agent_says("an agent is")
    await world.contact_says("thank you")
    await world.check()
    for extension in ("9003", "9004"):
        (copy,) = [one for one in world.ring.chat(extension, "+447700900001") if one.content == "an agent is"]
        assert copy.direction == "outgoing"
        assert copy.sender == "9003"
        assert copy.timestamp is not None
    assert world.channel(SMS) == []

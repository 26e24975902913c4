"""One slow or broken target, and everybody else."""

from __future__ import annotations

import asyncio

from syncd.simulators.base import Call, Fault
from tests.support.settings import SMS, WHATSAPP
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World

_OTHERS_DONE = "SELECT count(*) = 0 FROM delivery WHERE open AND target <> 'channel'"


async def test_a_slow_target_holds_back_its_own_lane_only(world: World) -> None:
    """G4, G10: a chat that takes two seconds an answer delays neither its contact's other chats nor other contacts."""

    def slow(call: Call) -> bool:
        return (call.params.get("from"), call.params.get("to")) == (ALICE, "9003")

    await world.start()
    await world.contact_says("one")
    await world.quiet()
    world.ring.faults.append(Fault("delay", times=-1, seconds=2.0, match=slow))
    began = asyncio.get_running_loop().time()
    await world.contact_says("two")
    await world.contact_says("three")
    for number in range(20):
        await world.contact_says(f"message {number}", contact=BOB)
    await world.arrive(lambda: world.desk("9004"), ["one", "two", "three"])
    await world.arrive(lambda: world.desk("9003", BOB), [f"message {number}" for number in range(20)])
    assert asyncio.get_running_loop().time() - began < 2.0, "the others waited"
    assert world.desk("9003") == ["one", "two"], "in order, one at a time"
    await world.check()


async def test_a_platform_that_refuses_connections(world: World) -> None:
    """G4, G7, G10: others are not delayed; the back-off outlives a `kill -9`; recovery delivers once, in order."""
    await world.start()
    for link, contact in ((SMS, ALICE), (WHATSAPP, BOB)):
        await world.contact_says("hello", contact=contact, link=link)
    await world.quiet()
    port = int(world.islash.url.rpartition(":")[2])
    await world.islash.stop()
    for number in range(5):
        await world.user_says("9003", f"to WhatsApp {number}", contact=BOB, link=WHATSAPP)
        await world.user_says("9003", f"to SMS {number}", contact=ALICE, link=SMS)
    sent = [f"to SMS {number}" for number in range(5)]
    await world.arrive(world.channel, sent, seconds=3)
    await until(lambda: len(world.desk("9004", BOB)) == 6, "the colleague has them", seconds=3)

    async def tried(times: int) -> bool:
        (head, *_) = await world.deliveries("d.target = 'channel' AND d.open")
        return int(head["attempts"]) >= times and head["state"] == "ready"

    await until(lambda: tried(3), "tried three times")
    await world.bridge.kill()
    (lane,) = await world.database.rows("SELECT * FROM lane WHERE busy")
    (head, *rest) = await world.deliveries("d.target = 'channel' AND d.open")
    assert lane["due_at"] is not None
    assert lane["why"]
    assert head["attempts"] >= 3
    assert [row["attempts"] for row in rest] == [0] * 4, "the others stand behind the head"
    await world.bridge.start()
    await until(lambda: tried(head["attempts"] + 1), "tries go on from where they were")
    await world.islash.start(port)
    await world.check()
    assert world.channel(WHATSAPP, BOB) == [f"to WhatsApp {number}" for number in range(5)]
    (first, *_) = await world.deliveries("d.target = 'channel' AND c.link = 'whatsapp'")
    assert first["state"] == "sent"


async def test_an_answer_lost_by_bird_is_asked_for(world: World) -> None:
    """G3: Bird is asked by our reference: found and adopted, not sent again; what it does not have is sent again."""
    world.bird.outbound_hooks = "none"
    await world.start()
    await world.contact_says("hello")
    for text, kind in (("carried out", "lost"), ("not carried out", "hangup")):
        fault = Fault(kind, match=lambda call: call.name == "send")
        world.bird.faults.append(fault)
        await world.user_says("9003", text)
        await until(lambda: fault.hits, "the call was made")  # noqa: B023 - awaited at once
        await until(lambda: world.bird.calls_of("list"), "asked")
        # Only the channel's copy is to be in flight when the process dies.
        await until(lambda: world.database.value(_OTHERS_DONE), "the colleague's copy is recorded")
        if kind == "hangup":
            await world.bridge.kill()
            await world.database.age(120)
            await world.bridge.start()
        await world.user_says("9003", f"after {text}")
        await world.check()
    assert [call.params["text"] for call in world.bird.calls_of("send")] == [
        "carried out",
        "after carried out",
        "not carried out",
        "not carried out",
        "after not carried out",
    ]
    unsettled = await world.deliveries("d.state <> 'sent'")
    assert unsettled == []

"""A user changes a message, or takes it back."""

from __future__ import annotations

from syncd.simulators.base import Fault
from tests.support.settings import BIRD_CHANNEL, SMS, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, World


def texts(world: World, extension: str) -> list[str]:
    """What the chat shows of what was not deleted."""
    return [one.text for one in world.ring.shown(extension, ALICE) if not one.deleted]


async def told(world: World) -> None:
    """The webhooks that were posted last are acknowledged."""
    await world.ring.hooks_taken()
    await world.quiet()


async def test_an_edit(world: World) -> None:
    """Design §9: the colleague's copy changes; the channel, which has no edits, is told once by a note."""
    await world.start()
    said = await world.user_says("9003", "we open at nine")
    await world.quiet()
    (sent,) = world.bird.sent(BIRD_CHANNEL, ALICE)
    world.bird.set_status(sent["id"], "delivered")
    await until(lambda: world.ring.calls_of("delivered"), "its author was told, which makes no copy of it")
    world.ring.user_edits(said, "we open at ten", copies=3)
    await told(world)
    assert texts(world, "9004") == texts(world, "9003") == ["we open at ten"]
    assert world.channel() == ["we open at nine", "Edited: we open at ten"]
    await world.bridge.restart_after_kill()
    world.ring.user_edits(said, "we open at ten")
    await told(world)
    assert world.channel() == ["we open at nine", "Edited: we open at ten"]
    assert len(world.ring.calls_of("updated")) == 1
    world.ring.user_edits(said, "we open at eleven")
    await told(world)
    assert texts(world, "9004") == ["we open at eleven"]
    assert world.channel()[-1] == "Edited: we open at eleven"


async def test_edits_that_the_channel_does_not_want(world: World) -> None:
    """Design §4: `edits = "ignore"`."""
    await world.start(Settings(keys_of={SMS: {"edits": "ignore"}}))
    said = await world.user_says("9003", "first")
    await world.quiet()
    world.ring.user_edits(said, "second")
    await told(world)
    assert texts(world, "9004") == ["second"]
    assert world.channel() == ["first"]


async def test_a_deletion(world: World) -> None:
    """Design §9, §14: deleted in the colleague's chat, once; the channel is told nothing."""
    await world.start()
    said = await world.user_says("9003", "a mistake")
    await world.quiet()
    world.ring.user_deletes(said, copies=2)
    await told(world)
    assert texts(world, "9004") == []
    assert world.channel() == ["a mistake"]
    assert len(world.ring.calls_of("deleted")) == 1
    (row,) = [row for row in await world.mapping() if row["messageid"] == said]
    assert row["status"] == "deleted"


async def test_in_the_queue(world: World) -> None:
    """G4: what waits is sent as it was edited last, or not at all; an edit is no second message."""

    async def refused() -> bool:
        heads = await world.deliveries("d.open AND d.tried_at IS NOT NULL")
        return len(heads) == 2 and {row["state"] for row in heads} == {"ready"}

    world.bird.faults.append(Fault("status", status=429, times=1000))
    world.ring.faults.append(Fault("status", status=429, times=1000, match=lambda call: call.name == "message"))
    await world.start()
    edited = await world.user_says("9003", "draft")
    deleted = await world.user_says("9003", "never mind")
    await world.user_says("9003", "last")
    await until(refused, "refused, and not under way", seconds=5)
    world.ring.user_edits(edited, "final")
    world.ring.user_deletes(deleted)
    await world.ring.hooks_taken()
    await until(
        lambda: world.database.value("SELECT count(*) FROM delivery WHERE state = 'skipped'"), "withdrawn", seconds=5
    )
    world.bird.faults.clear()
    world.ring.faults.clear()
    await world.bridge.restart_after_kill()
    await world.database.change("UPDATE lane SET due_at = NULL")
    await until(lambda: len(world.channel()) >= 2 and len(texts(world, "9004")) >= 2, "sent")
    await world.quiet()
    assert world.channel() == ["final", "last"]
    assert texts(world, "9004") == ["final", "last"]
    assert world.ring.calls_of("updated") == world.ring.calls_of("deleted") == []


async def test_before_the_message(world: World) -> None:
    """Design §8.2: an edit or a deletion that overtakes its message is parked, and applied before anything is sent."""
    await world.start()
    url, world.ring.hook_url = world.ring.hook_url, ""
    edited = world.ring.user_says("9003", ALICE, "as it was")
    deleted = world.ring.user_says("9003", ALICE, "gone already")
    sessions = world.ring.desk.sessions
    kept = [world.ring.desk.messages[one] for one in (edited, deleted)]
    hooks = [world.ring.told(one, sessions[one.sessionid]) for one in kept]
    world.ring.hook_url = url
    world.ring.user_edits(edited, "as it is")
    world.ring.user_deletes(deleted)
    await world.ring.hooks_taken()
    await world.bridge.restart_after_kill()
    for params, text in zip(hooks, ("as it was", "gone already"), strict=True):
        world.ring.emit_event("message", params | {"content": text})
    await told(world)
    assert world.channel() == ["as it is"]
    assert texts(world, "9004") == ["as it is"]
    assert await world.database.value("SELECT count(*) FROM event WHERE state = 'parked'") == 0

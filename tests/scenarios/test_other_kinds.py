"""What is not carried is counted and harms nothing; contacts without a phone number are contacts like all others."""

from __future__ import annotations

import asyncio

from tests.support.bridge import metric
from tests.support.settings import BIRD_CHANNEL, ISLASH_SESSION, WHATSAPP
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World

PAGE_SCOPED = "facebookid-1029384756:998877665544332211"
"""A contact of Messenger by way of Bird: a key and a value (Bird's page §4)."""


async def test_what_is_not_carried_is_counted_and_harms_nothing(world: World) -> None:
    """G1, G10: reactions, typing, clicks, kinds that nobody has seen: each is stored with a reason, none is sent."""
    await world.start()
    await world.contact_says("hello")
    await world.contact_says("hello", contact=BOB, link=WHATSAPP)
    await world.user_says("9003", "good morning")
    await world.quiet()
    before = await world.counts()
    sent = world.bird.sent(BIRD_CHANNEL, ALICE)[-1]["id"]
    sessionid = world.ring.sessions_of("9003", ALICE)[0].id
    for kind in ("reaction", "clicked", "unsubscribe-request", "never-seen"):
        world.bird.interact(sent, kind)
    for state in ("on", "off"):
        world.ring.app_typing(sessionid, state)
    world.ring.emit_event("unread", {"sessionid": sessionid})
    world.ring.emit_event("neverSeen", {"sessionid": sessionid, "content": ["odd", {"deep": None}]})
    reaction = {"type": "reaction", "reaction": {"message_id": "wamid.1", "emoji": "\N{THUMBS UP SIGN}"}}
    for content in (reaction, {"type": "system", "system": {"body": "changed the number"}}):
        world.islash.contact_says(ISLASH_SESSION, BOB.removeprefix("+"), "", content=content)
    await asyncio.gather(*(one.hooks_taken() for one in (world.ring, world.bird, world.islash)))
    await world.quiet()
    assert all(answer == 200 for one in (world.ring, world.bird, world.islash) for answer in one.hook_answers)
    after = await world.counts()
    assert after["event"] == before["event"] + 10
    assert after | {"event": 0} == before | {"event": 0}
    reasons = {row["reason"] for row in await world.database.rows("SELECT reason FROM event WHERE state = 'ignored'")}
    assert {"reaction", "clicked", "unknown interaction", "typing", "unknown method", "system"} <= reasons
    shown = await world.metrics()
    assert metric(shown, "syncd_events_total", account="office", outcome="ignored") >= 4
    await world.contact_says("and on it goes")
    await world.check()


async def test_a_contact_without_a_number(world: World) -> None:
    """Design §9: the desk knows him by `senderid`, users answer to that, and the channel gets its own spelling."""
    await world.start()
    await world.contact_says("hello", contact=PAGE_SCOPED, name="Contact A")
    await world.quiet()
    for user in ("9003", "9004"):
        (call,) = [one for one in world.ring.calls_of("message") if one.params.get("to") == user]
        assert "from" not in call.params
        assert (call.params["senderid"], call.params["sendername"]) == (PAGE_SCOPED, "Contact A")
    await world.user_says("9003", "good morning", contact=PAGE_SCOPED)
    await world.user_says("9004", "in the form of 2022", contact=PAGE_SCOPED, form="senderid")
    await world.check()
    assert world.channel(contact=PAGE_SCOPED) == ["good morning", "in the form of 2022"]
    receivers = [one["receiver"]["contacts"][0] for one in world.bird.sent(BIRD_CHANNEL, PAGE_SCOPED)]
    key, _, value = PAGE_SCOPED.partition(":")
    assert {(one["identifierKey"], one["identifierValue"]) for one in receivers} == {(key, value)}
    assert {row["contact"] for row in await world.mapping()} == {PAGE_SCOPED}


async def test_the_desk_is_called_with_its_own_spelling(world: World) -> None:
    """Ringotel's page §9, §11.17: a number goes back as the desk wrote it in that chat, to the channel as E.164."""
    await world.start()
    world.ring.user_says("9003", "07700900001", "good morning")
    await until(lambda: world.channel() == ["good morning"], "on the channel")
    await world.quiet()
    await world.contact_says("how are you")
    await world.quiet()
    calls = [one for one in world.ring.calls_of("message") if one.params.get("content") == "how are you"]
    assert {one.params["to"]: one.params["from"] for one in calls} == {"9003": "07700900001", "9004": ALICE}
    (sent,) = world.bird.sent(BIRD_CHANNEL, ALICE)
    assert sent["receiver"]["contacts"][0]["identifierValue"] == ALICE
    assert {row["contact"] for row in await world.mapping()} == {ALICE}

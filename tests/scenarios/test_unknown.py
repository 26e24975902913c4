"""Sends whose answer was lost: held, shown, told to their author, and settled by hand or by late news."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from syncd.simulators.base import Fault
from tests.cli.conftest import Shell
from tests.scenarios.operating import (
    done,
    everything,
    excused,
    is_send,
    listed,
    lose_the_time,
    losing,
    notices,
    refused,
    shown,
)
from tests.support.figures import Figures, Note
from tests.support.settings import ISLASH_SESSION, SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, World

SENT, RESENT, DROPPED, NEWS = (f"+44770090030{number}" for number in range(4))
"""Contacts on WhatsApp, by what becomes of the message to them that is in doubt."""
WHATSAPP_CONTACTS = (SENT, RESENT, DROPPED, NEWS)


async def test_doubts_are_held_told_and_settled_by_hand_or_news(world: World, operator: Shell, figures: Note) -> None:
    """G3, G4, G13: the lane waits, then goes on; nothing is guessed; each doubt is settled once, on record."""
    await world.start()
    await world.contact_says("hello")
    for contact in WHATSAPP_CONTACTS:
        await world.contact_says("hello", contact=contact, link=WHATSAPP)
    await world.quiet()
    for contact in WHATSAPP_CONTACTS:
        lost = losing(WHATSAPP, carried_out=contact != RESENT)
        world.islash.faults.append(lost)
        await world.user_says("9003", "in doubt", contact=contact, link=WHATSAPP)
        await until(lambda: lost.hits, "sent")  # noqa: B023 - awaited at once
        await world.user_says("9003", "after it", contact=contact, link=WHATSAPP)
    to_colleague = Fault("lost", match=lambda call: is_send(call) and call.params.get("to") == "9004")
    world.ring.faults.append(to_colleague)
    await world.contact_says("seen by 9004, perhaps")
    await until(lambda: doubts(world, 5), "five doubts")
    await world.contact_says("after that")
    await until(lambda: world.desk("9003")[1:] == ["seen by 9004, perhaps", "after that"], "9003 has all")
    for row in await world.database.rows(
        "SELECT l.due_at, d.tried_at FROM lane l JOIN delivery d ON d.lane_id = l.id WHERE d.state = 'unknown'"
    ):
        waits = instant(row["due_at"]) - instant(row["tried_at"])
        assert waits < timedelta(seconds=30.5), "no lane waits longer"
    waiting = await listed(operator, "unknown")
    assert {(row["contact"], row["target"]) for row in waiting} == {
        (ALICE, "desk:9004"),
        *((contact, "channel") for contact in WHATSAPP_CONTACTS),
    }
    assert not [contact for contact in WHATSAPP_CONTACTS if "after it" in world.channel(WHATSAPP, contact)]
    assert world.desk("9004") == ["hello", "seen by 9004, perhaps"], "what was said after it waits"

    await lose_the_time(world)
    await world.quiet()
    before = {contact: world.channel(WHATSAPP, contact) for contact in WHATSAPP_CONTACTS}
    assert before == {contact: ["in doubt", "after it"] for contact in WHATSAPP_CONTACTS} | {RESENT: ["after it"]}
    told = ["[syncd] It is not certain that this was delivered: “in doubt”. Ask before you repeat it."]
    assert [notices(world, "9003", contact) for contact in WHATSAPP_CONTACTS] == [told] * 4
    assert notices(world, "9003", ALICE) == notices(world, "9004", ALICE) == notices(world, "9004", SENT) == []
    rows = {row["contact"]: row["id"] for row in await listed(operator, "unknown", "--link", WHATSAPP)}
    rows[ALICE] = next(row["id"] for row in waiting if row["contact"] == ALICE)
    found = await shown(operator, rows[SENT])
    assert found["reason"] == "held: its answer was lost and no news came"
    assert [attempt["class"] for attempt in found["attempts"]] == ["maybe_sent"]

    ids = {contact: [one.sid for one in sent_to(world, contact)] for contact in WHATSAPP_CONTACTS}
    untouched = await everything(world)
    ran = await operator("unknown", "settle", rows[SENT], "--sent", ids[SENT][0], "--dry-run", "--json")
    assert (ran.code, ran.document["operations"][0]["state"]) == (0, "planned")
    assert await everything(world) == untouched, "a dry run changed something"
    (after,) = [m for m in await world.mapping() if m["messageid"] == ids[SENT][1]]
    why = await refused(operator, "unknown", "settle", rows[SENT], "--sent", ids[SENT][1])
    assert f"{ids[SENT][1]} is a copy of message {after['message']} already" in why

    assert await done(operator, "unknown", "settle", rows[SENT], "--sent", ids[SENT][0]) == f"sent as {ids[SENT][0]}"
    assert await status_of(world, ids[SENT][0]) == "sent"
    for contact in (SENT, NEWS):
        news = world.islash.status(ids[contact][0], "delivered")
        assert news is not None
        await news
        assert await status_of(world, ids[contact][0]) == "delivered"
    by_hand, late = await asyncio.gather(
        done(operator, "unknown", "settle", rows[RESENT], "--resend"),
        refused(operator, "unknown", "settle", rows[NEWS], "--drop"),
    )
    assert "out of order" in by_hand
    assert late == "it is sent now, not unknown: nothing was changed"
    assert await done(operator, "unknown", "settle", rows[DROPPED], "--drop") == "dropped"
    seen = world.ring.chat("9004", ALICE)[1]
    await done(operator, "unknown", "settle", rows[ALICE], "--sent", seen.id)
    (mapped,) = [m for m in await world.mapping() if m["messageid"] == seen.id]
    assert (mapped["extension"], mapped["sessionid"], mapped["direction"]) == ("9004", seen.sessionid, "in")
    await world.quiet()
    assert await listed(operator, "unknown") == []
    before[RESENT].append("in doubt")
    assert {contact: world.channel(WHATSAPP, contact) for contact in WHATSAPP_CONTACTS} == before
    states = {row["id"]: row["state"] for row in await world.deliveries()}
    assert {contact: states[rows[contact]] for contact in rows} == {
        ALICE: "sent",
        SENT: "sent",
        RESENT: "sent",
        NEWS: "sent",
        DROPPED: "skipped",
    }
    decided = (await shown(operator, rows[SENT]))["operations"]
    assert [(row["kind"], row["detail"], row["state"]) for row in decided] == [
        ("settle_sent", ids[SENT][1], "failed"),
        ("settle_sent", ids[SENT][0], "done"),
    ]
    stored = await world.database.rows("SELECT asked_by, asked_at, done_at FROM operation")
    assert all(row["asked_by"] and row["asked_at"] <= row["done_at"] for row in stored)
    assert {row["by"] for row in decided} == {row["asked_by"] for row in stored}
    assert {fault.kind for fault in world.faults() if fault not in excused(world)} == {"reordered"}
    figures(Figures("answer lost, settled by hand", world.database.kind, 15, 15, 0, 0, 0, 5))


async def test_a_link_may_have_doubts_sent_again(world: World) -> None:
    """G3: `on_unknown = "resend"`: after the wait it is sent once more, and nobody is told."""
    await world.start(Settings(on_unknown="resend"))
    await world.contact_says("hello", contact=SENT, link=WHATSAPP)
    await world.quiet()
    lost = losing(WHATSAPP, carried_out=False)
    world.islash.faults.append(lost)
    await world.user_says("9003", "in doubt", contact=SENT, link=WHATSAPP)
    await world.user_says("9003", "after it", contact=SENT, link=WHATSAPP)
    await until(lambda: doubts(world, 1), "in doubt")
    await lose_the_time(world)
    await world.check()
    assert notices(world, "9003", SENT) == []
    assert len(world.islash.calls_of("send")) == 3


async def test_a_doubt_that_bird_cannot_be_asked_about_waits(world: World, operator: Shell) -> None:
    """G3, G4, G7: the lane waits until Bird can be asked; an operator decides even while it is being asked."""
    world.bird.outbound_hooks = "none"
    await world.start()
    await world.contact_says("hello")
    await world.quiet()
    cannot = Fault("status", times=-1, status=500, match=lambda call: call.name == "list")
    world.bird.faults += [losing(SMS), cannot]
    await world.user_says("9003", "carried out")
    await world.user_says("9003", "after it")
    await until(lambda: cannot.hits > 1, "asked again and again")
    await lose_the_time(world)
    asked = cannot.hits
    await until(lambda: cannot.hits > asked + 1, "asked again and again")
    (row,) = await listed(operator, "unknown")
    assert row["reason"].startswith("cannot ask whether it was sent: ")
    assert world.channel() == ["carried out"], "the other one waits"
    assert notices(world, "9003", ALICE) == []
    cannot.times = 0
    await world.check()
    assert [call.params["text"] for call in world.bird.calls_of("send")] == ["carried out", "after it"]

    answered = asyncio.Event()
    slow = Fault("delay", times=1, seconds=3.0, match=lambda call: call.name == "list" and not answered.is_set())
    world.bird.faults += [losing(SMS, carried_out=False), slow]
    await world.user_says("9003", "not carried out")
    await world.user_says("9003", "after that")
    await until(lambda: slow.hits, "being asked")
    (row,) = await listed(operator, "unknown")
    assert await done(operator, "unknown", "settle", row["id"], "--drop") == "dropped"
    await world.arrive(world.channel, ["carried out", "after it", "after that"])
    await world.quiet()
    assert (await shown(operator, row["id"]))["state"] == "skipped"
    assert len(world.bird.calls_of("send")) == 4


async def doubts(world: World, count: int) -> bool:
    """So many deliveries are in doubt, and nothing else is to be done but what stands behind them."""
    rows = await world.deliveries("d.open")
    lanes = [row["lane_id"] for row in rows if row["state"] == "unknown"]
    return len(lanes) == count and all(row["lane_id"] in lanes and row["state"] != "sending" for row in rows)


async def status_of(world: World, messageid: str) -> str:
    """What `mapping` knows of a copy."""
    (row,) = [row for row in await world.mapping() if row["messageid"] == messageid]
    return str(row["status"])


def sent_to(world: World, contact: str) -> list[Any]:
    """Our messages that a contact on WhatsApp has."""
    return world.islash.sent(ISLASH_SESSION, contact.removeprefix("+"))


def instant(stored: Any) -> datetime:
    """A time as either database gives it."""
    return datetime.fromisoformat(stored) if isinstance(stored, str) else stored

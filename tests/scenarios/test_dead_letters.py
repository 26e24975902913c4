"""Messages that are given up: kept, told to their author, listed, and tried again or dropped by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from syncd.simulators.base import Call, Fault
from tests.cli.conftest import Shell
from tests.scenarios.operating import (
    done,
    everything,
    excused,
    is_send,
    let_time_pass,
    listed,
    lose_the_time,
    notices,
    rejecting,
    shown,
)
from tests.support.figures import Figures, Note
from tests.support.settings import SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World

CONTACTS = {SMS: ALICE, WHATSAPP: BOB}


async def test_what_is_rejected_is_kept_told_and_sent_by_hand(world: World, operator: Shell, figures: Note) -> None:
    """G3, G4, G5, G13: dead at once with every try on record; its author is told once; later ones go on; `retry`."""
    world.ring.echo = "after"
    await world.start()
    for link, contact in CONTACTS.items():
        await world.contact_says("hello", contact=contact, link=link)
    await world.quiet()
    first = "the   first\nof two, and longer than what a notice quotes of it, which is sixty characters"
    for link, contact in CONTACTS.items():
        world.poster(link).faults.append(rejecting(link))
        await world.user_says("9003", first, contact=contact, link=link)
        await world.user_says("9003", "the second", contact=contact, link=link)
        await world.arrive(lambda: world.channel(link, contact), ["the second"])  # noqa: B023 - awaited at once
    # What a contact says is nobody's to be told of.
    world.ring.faults.append(
        Fault("status", status=400, body=b'{"error": {"message": "no"}}', match=lambda call: to(call, "9004"))
    )
    await world.contact_says("not for 9004")
    await world.quiet()
    quoted = "“the first of two, and longer than what a notice quotes of i…”"
    told = [f"[syncd] Not delivered: {quoted} (the service refused it)"]
    for contact in CONTACTS.values():
        assert notices(world, "9003", contact) == told
        assert notices(world, "9004", contact) == []
        assert world.desk("9004", contact)[:3] == ["hello", first, "the second"]

    rows = await listed(operator, "dead")
    assert [(row["link"], row["contact"], row["target"], row["tries"]) for row in rows] == [
        (SMS, ALICE, "channel", 1),
        (WHATSAPP, BOB, "channel", 1),
        (SMS, ALICE, "desk:9004", 1),
    ]
    assert [row["id"] for row in await listed(operator, "dead", "--link", WHATSAPP)] == [rows[1]["id"]]
    for row in rows[:2]:
        found = await shown(operator, row["id"])
        assert (found["text"], found["author"], found["extension"]) == (first, "user", "9003")
        assert "no such recipient" in found["reason"]
        (attempt,) = found["attempts"]
        assert (attempt["class"], attempt["http_status"]) == ("rejected", 422)
        assert "no such recipient" in attempt["answer"] and first not in attempt["answer"]
        assert found["operations"] == []
    # A notice is a message like others: with a row in `mapping`, so that its echo is known.
    told_ids = [m.id for c in CONTACTS.values() for m in world.ring.chat("9003", c) if m.content in told]
    mapped = [row for row in await world.mapping() if row["messageid"] in told_ids]
    assert [(row["extension"], bool(row["origin"])) for row in mapped] == [("9003", False)] * 2

    # Bird lists a message some seconds after it took it: before that it is not asked whether it has it.
    await lose_the_time(world)
    before = await everything(world)
    ran = await operator("dead", "retry", "--all", "--dry-run", "--json")
    assert (ran.code, [row["state"] for row in ran.document["operations"]]) == (0, ["planned"] * 3)
    assert await everything(world) == before, "a dry run changed something"

    world.islash.faults.append(rejecting(WHATSAPP))
    assert "out of order" in await done(operator, "dead", "retry", rows[1]["id"])
    await until(lambda: world.islash.faults[-1].hits, "refused once more")
    await world.quiet()
    assert notices(world, "9003", BOB) == told, "a second failure is not told"
    ran = await operator("dead", "retry", "--all")
    assert ran.code == 0
    assert ran.out.count("out of order") == 2, "the last one said is not overtaken"
    await world.arrive(lambda: world.channel(SMS, ALICE), ["the second", first])
    await world.arrive(lambda: world.channel(WHATSAPP, BOB), ["the second", first])
    await world.arrive(lambda: world.desk("9004", ALICE), ["hello", first, "the second", "not for 9004"])
    await world.quiet()
    assert await listed(operator, "dead") == []
    found = await shown(operator, rows[1]["id"])
    assert [row["class"] for row in found["attempts"]] == ["rejected", "rejected", "sent"]
    assert [(row["kind"], row["state"]) for row in found["operations"]] == [("retry", "done")] * 2
    references = [call.params["reference"] for call in world.bird.calls_of("send") if call.params["text"] == first]
    assert len(references) == 2 and len(set(references)) == 1, "one reference, whatever number of tries"
    assert {fault.kind for fault in world.faults() if fault not in excused(world)} == {"reordered"}
    figures(Figures("rejected, tried again by hand", world.database.kind, 7, 7, 0, 0, 0))


async def test_a_rejection_that_was_none_is_not_sent_again(world: World, operator: Shell) -> None:
    """G3: Bird is asked for the first try's reference before a second one; what it has is adopted, never doubled."""
    world.bird.outbound_hooks = "none"
    await world.start()
    await world.contact_says("hello")
    await world.quiet()
    world.bird.faults.append(rejecting(SMS, carried_out=True))
    await world.user_says("9003", "refused, and carried out")
    await until(lambda: listed_once(world), "dead")
    (row,) = await listed(operator, "dead")
    assert "unless the platform has it already" in await done(operator, "dead", "retry", row["id"])
    await world.quiet()
    assert len(world.bird.calls_of("send")) == 1
    found = await shown(operator, row["id"])
    assert (found["state"], found["reason"]) == ("sent", "found at the platform by its reference")
    (sent,) = world.bird.sent("cb4b1ebc-34e6-5a7a-a375-f6f2f131d88f", ALICE)
    assert sent["id"] in [row["messageid"] for row in await world.mapping()]
    await world.check(excused=excused(world))


async def test_mistakes_and_two_operators_at_once(world: World, operator: Shell) -> None:
    """G3: each delivery is decided once; whoever comes second, or errs, is told and changes nothing."""
    await world.start()
    await world.contact_says("hello", contact=BOB, link=WHATSAPP)
    await world.quiet()
    world.islash.faults.append(rejecting(WHATSAPP, times=3))
    for number in range(3):
        await world.user_says("9003", f"number {number}", contact=BOB, link=WHATSAPP)
    await world.user_says("9003", "taken", contact=BOB, link=WHATSAPP)
    await world.quiet()
    one, two, three = [row["id"] for row in await listed(operator, "dead")]
    (sent,) = await world.deliveries("d.target = 'channel' AND d.state = 'sent'")
    ran, by_dry_run, unsettled, unseen = await asyncio.gather(
        operator("dead", "drop", "nonsense", sent["id"], three, "--json"),
        operator("dead", "retry", "nonsense", sent["id"], "--json", "--dry-run"),
        operator("unknown", "settle", one, "--resend", "--json"),
        operator("dead", "show", "nonsense", "--json"),
    )
    told = [row["result"] for row in ran.document["operations"]]
    assert "no delivery has the id nonsense" in told[0]
    assert told[1] == "it is sent now, not dead: nothing was changed"
    assert told[2] == "dropped", "each for itself"
    assert [row["ok"] for row in by_dry_run.document["operations"]] == [False, False]
    assert "it is dead now, not unknown" in unsettled.document["operations"][0]["result"]
    assert "no delivery has the id" in unseen.document["error"]
    assert {ran.code, by_dry_run.code, unsettled.code, unseen.code} == {1}

    both = await asyncio.gather(*(operator("dead", verb, one, "--json") for verb in ("retry", "drop")))
    assert sorted(ran.code for ran in both) == [0, 1]
    (late,) = [ran.document["operations"][0]["result"] for ran in both if ran.code]
    assert "not dead: nothing was changed" in late
    # The same twice in one breath.
    ran = await operator("dead", "retry", two, two, "--json")
    assert (ran.code, [row["ok"] for row in ran.document["operations"]]) == (1, [True, False])
    assert "it is ready now, not dead" in ran.document["operations"][1]["result"]
    await world.quiet()
    assert await listed(operator, "dead") == []
    retried = ["number 0"] if both[0].code == 0 else []
    assert world.channel(WHATSAPP, BOB) == ["taken", *retried, "number 1"]
    assert (await shown(operator, three))["state"] == "skipped"
    asked = await world.database.rows("SELECT kind, asked_by, state FROM operation ORDER BY id")
    assert {row["asked_by"] for row in asked} == {asked[0]["asked_by"]}
    assert sum(row["state"] == "failed" for row in asked) == 5
    assert len(world.bridge.events("operation.refused")) == 5
    assert len(world.bridge.events("operation.done")) == 3


async def test_what_is_too_old_is_given_up_and_sent_by_hand_all_the_same(world: World, operator: Shell) -> None:
    """G13: past `max_age` a message is not sent but listed; its author is told, unless the link says not to."""
    settings = Settings(keys_of={WHATSAPP: {"failure_notice": False}, SMS: {"max_age": "6h"}})
    await world.start(settings)
    for link, contact in CONTACTS.items():
        await world.contact_says("hello", contact=contact, link=link)
    await world.quiet()
    await asyncio.gather(*(done(operator, "pause", account) for account in ("bird", "islash")))
    for link, contact in CONTACTS.items():
        await world.user_says("9003", "too late", contact=contact, link=link)
    assert await world.bridge.stop() == 0
    # More than the one link's limit, and the other's default.
    await let_time_pass(world, 13)
    await world.bridge.start()
    await asyncio.gather(*(done(operator, "resume", account) for account in ("bird", "islash")))
    # Bird has kept a contact's message to itself for hours.
    late = world.contact_posts("from hours ago", at=datetime.now(UTC) - timedelta(hours=7))
    await world.quiet()
    rows = await listed(operator, "dead")
    assert [(row["link"], row["target"], row["tries"]) for row in rows] == [
        (SMS, "channel", 0),
        (WHATSAPP, "channel", 0),
        (SMS, "desk:9003", 0),
        (SMS, "desk:9004", 0),
    ]
    assert all(row["reason"].startswith("older than max_age: said 20") for row in rows)
    assert (world.channel(SMS, ALICE), world.channel(WHATSAPP, BOB)) == ([], [])
    assert late in [row["messageid"] for row in await world.mapping()]
    assert notices(world, "9003", ALICE) == ["[syncd] Not delivered: “too late” (it waited too long)"]
    assert notices(world, "9003", BOB) == notices(world, "9004", ALICE) == []
    assert (await operator("dead", "retry", "--all")).code == 0
    await world.quiet()
    assert (world.channel(SMS, ALICE), world.channel(WHATSAPP, BOB)) == (["too late"], ["too late"])
    assert world.desk("9004") == ["hello", "too late", "from hours ago"]
    assert await listed(operator, "dead") == []


def to(call: Call, extension: str) -> bool:
    """Whether a call puts a message into this user's chat."""
    return is_send(call) and call.params.get("to") == extension


async def listed_once(world: World) -> bool:
    """One delivery is given up."""
    return bool(await world.database.value("SELECT count(*) = 1 FROM delivery WHERE state = 'dead'"))

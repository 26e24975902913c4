"""`syncd trace`: from any id of either side to what became of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from syncd.simulators.base import Fault
from tests.cli.conftest import Shell
from tests.scenarios.operating import done, is_send, listed, lose_the_time, losing, rejecting
from tests.support.settings import BIRD_CHANNEL, SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World


async def traced(operator: Shell, given: str, *options: str) -> list[dict[str, Any]]:
    """All that an id means."""
    ran = await operator("trace", given, *options, "--json")
    assert ran.code == 0, ran.err
    found: list[dict[str, Any]] = ran.document["found"]
    return found


async def one(operator: Shell, given: str) -> dict[str, Any]:
    """The one thing that an id means."""
    (found,) = await traced(operator, given)
    return found


async def ends(operator: Shell, given: str) -> str:
    """The last sentence."""
    return str((await one(operator, given))["sentence"])


async def test_every_id_leads_to_the_message(world: World, operator: Shell) -> None:
    """G13: ids of both sides, ours, references, sessions and every spelling of the contact."""
    world.bird.outbound_hooks = "none"
    await world.start()
    heard = await world.contact_says("hello", copies=3)
    await world.quiet()
    said = await world.user_says("9003", "good day")
    await world.quiet()
    (sent,) = world.bird.sent(BIRD_CHANNEL, ALICE)
    world.bird.interact(sent["id"], "read")
    await until(lambda: world.ring.calls_of("read"), "its author is told")
    await world.quiet()
    rows = {row["messageid"]: row for row in await world.mapping()}
    message = str(rows[said]["message"])
    (delivery,) = await world.deliveries(f"d.message = '{message}' AND d.target = 'channel'")
    (event,) = await world.database.rows(f"SELECT id, key FROM event WHERE key LIKE '%{said}%'")
    given = [message, said, sent["id"], delivery["id"], delivery["reference"], event["id"], event["key"]]
    found = await asyncio.gather(*(one(operator, each) for each in given))
    assert {(each["kind"], each["id"]) for each in found} == {("message", message)}
    told = found[0]
    assert told["sentence"].startswith("On the channel and in 9004's chat since ")
    assert told["sentence"].endswith(" UTC; read by the contact.")
    assert (told["text"], told["author"], told["extension"], told["sms_segments"]) == ("good day", "user", "9003", 1)
    assert [hop["at"] for hop in told["hops"]] == sorted(hop["at"] for hop in told["hops"])
    whats = "\n".join(hop["what"] for hop in told["hops"])
    for hop in (
        f"received from office by webhook: event {event['id']}",
        "user 9003 said it",
        "goes out where the contact last wrote",
        f"to be delivered: the channel, delivery {delivery['id']}",
        "try 1 for the channel: sent, HTTP 202",
        f"taken for the channel: {sent['id']}",
        "the channel tells: read",
        "read for 9003's chat",
    ):
        assert hop in whats, whats

    copied = await one(operator, heard)
    assert (copied["event"]["copies"], copied["author"]) == (3, "contact")
    assert "received again, the last time; 3 copies in all" in [hop["what"] for hop in copied["hops"]]
    for spelling in (ALICE, ALICE.removeprefix("+"), "07700 900001"):
        (talk,) = await traced(operator, spelling)
        assert (talk["kind"], talk["link"], talk["contact"], talk["left_out"]) == ("conversation", SMS, ALICE, 0)
        assert [row["text"] for row in talk["messages"]] == ["hello", "good day"]
    assert (await one(operator, talk["id"]))["id"] == talk["id"]
    (latest,) = await traced(operator, ALICE, "--limit", "1")
    assert ([row["text"] for row in latest["messages"]], latest["left_out"]) == (["good day"], 1)
    sessionid = str(rows[said]["sessionid"])
    chat = await one(operator, sessionid)
    assert (chat["kind"], chat["current"], len(chat["messages"])) == ("session", True, 2)
    assert chat["sentence"].startswith(f"9003's chat with {ALICE} is in this session since ")
    unknown = await operator("trace", "nothing-of-the-kind")
    assert unknown.code == 1
    assert "nothing is known of nothing-of-the-kind" in unknown.err


async def test_what_waits_and_what_was_given_up(world: World, operator: Shell) -> None:
    """G13: paused, throttled, behind another, dead, dropped, in doubt, settled by hand."""
    await world.start()
    for link, contact in ((SMS, ALICE), (WHATSAPP, BOB)):
        await world.contact_says("hello", contact=contact, link=link)
    await world.quiet()
    world.bird.faults.append(rejecting(SMS))
    dead = await world.user_says("9003", "refused")
    await world.quiet()
    (row,) = await listed(operator, "dead")
    sentence = await ends(operator, dead)
    assert sentence.startswith("Given up for the channel at ")
    assert ": bird refused it: HTTP 422 InvalidPayload: no such recipient; tell " in sentence
    assert f"; tell `syncd dead retry {row['id']}`; in 9004's chat since " in sentence
    retried = await done(operator, "dead", "drop", row["id"])
    assert retried == "dropped"
    found = await one(operator, dead)
    assert found["sentence"].startswith("Dropped by ")
    (asked,) = [leg["operations"][0] for leg in found["deliveries"] if leg["operations"]]
    operation = await one(operator, asked["id"])
    assert operation["sentence"].startswith(f"Drop of {row['id']} was asked for by ")

    lost = losing(WHATSAPP)
    world.islash.faults.append(lost)
    doubtful = await world.user_says("9003", "in doubt", contact=BOB, link=WHATSAPP)
    await until(lambda: lost.hits, "sent")
    behind = await world.user_says("9003", "behind it", contact=BOB, link=WHATSAPP)

    async def doubted() -> bool:
        return bool(await world.database.value("SELECT count(*) FROM delivery WHERE state = 'unknown'"))

    await until(doubted, "in doubt")
    (unsure,) = await world.deliveries("d.state = 'unknown'")
    assert "which is being found out" in await ends(operator, doubtful)
    waiting = await ends(operator, behind)
    assert f" behind another delivery of its lane ({unsure['id']} of message {unsure['message']}): " in waiting
    assert "that one is in doubt" in waiting
    await lose_the_time(world)
    await until(lambda: listed_unknown(world), "held")
    assert f"tell `syncd unknown settle {unsure['id']}` with --sent" in await ends(operator, doubtful)
    await done(operator, "unknown", "settle", unsure["id"], "--sent", "as-the-platform-calls-it")
    await world.quiet()
    assert " settled by hand" in await ends(operator, doubtful)
    assert (await one(operator, "as-the-platform-calls-it"))["id"] == unsure["message"]

    await done(operator, "pause", "bird")
    paused = await world.user_says("9003", "paused")
    assert "account bird was paused by " in await ends(operator, paused)
    await done(operator, "resume", "bird")
    await world.quiet()
    limited = Fault("status", times=-1, status=429, headers={"Retry-After": "600"}, match=is_send)
    world.bird.faults.append(limited)
    first = await world.user_says("9003", "too many")
    second = await world.user_says("9003", "far too many")

    async def throttled() -> bool:
        return bool(await world.database.value("SELECT count(*) FROM account_state WHERE state = 'throttled'"))

    await until(throttled, "throttled")
    elsewhere = await world.user_says("9003", "to somebody else", contact="+447700900003")
    for given in (first, second, elsewhere):
        sentence = await ends(operator, given)
        assert "account bird is throttled until " in sentence, sentence
    assert " behind another delivery of its lane (" in await ends(operator, second)
    world.ring.user_edits(second, "too many by far")
    world.ring.user_deletes(first)
    await world.ring.hooks_taken()

    async def withdrawn() -> bool:
        return bool(await world.database.value("SELECT count(*) FROM delivery WHERE reason LIKE 'taken back%'"))

    await until(withdrawn, "withdrawn")
    assert (await ends(operator, first)).startswith("Not sent to the channel at ")
    sentence = await ends(operator, second)
    assert " behind " not in sentence
    assert "; edited once while it waited, so that the new text goes out." in sentence
    assert (await one(operator, second))["text"] == "too many by far"


async def test_events_that_made_no_message(world: World, operator: Shell) -> None:
    """G13: an echo, an edit that came too early, a user on no link."""
    await world.start()
    await world.contact_says("hello")
    await world.quiet()
    stranger = world.ring.user_says("9100", ALICE, "who am I?")
    await world.ring.hooks_taken()
    found = await one(operator, stranger)
    assert found["kind"] == "event"
    assert "ignored: no link lists this user; to have such messages carried" in found["sentence"]
    url, world.ring.hook_url = world.ring.hook_url, ""
    untold = world.ring.user_says("9003", ALICE, "nobody is told")
    world.ring.hook_url = url
    world.ring.user_edits(untold, "nobody is told yet")
    await world.ring.hooks_taken()
    assert (await ends(operator, untold)).startswith("Parked since ")

    await world.user_says("9003", "to be echoed")
    await world.quiet()
    echoes = await world.database.rows("SELECT id, reason FROM event WHERE reason LIKE 'echo of message%'")
    assert echoes
    echo = await one(operator, echoes[0]["id"])
    assert (echo["kind"], echo["reason"]) == ("event", echoes[0]["reason"])
    assert echo["message"] == echoes[0]["reason"].removeprefix("echo of message ")


async def test_a_session_that_was_superseded(world: World, operator: Shell) -> None:
    """G13, G6: the old id stays known, and tells where the chat goes on."""
    await world.start()
    await world.contact_says("one")
    await world.quiet()
    old = str((await world.database.rows("SELECT sessionid FROM session WHERE extension = '9003'"))[0]["sessionid"])
    world.ring.close_session(old)
    said = await world.contact_says("two")
    await world.quiet()
    where = "SELECT sessionid FROM session WHERE extension = '9003' AND current"
    new = str(await world.database.value(where))
    assert new != old
    was = await one(operator, old)
    assert not was["current"]
    assert f"goes on in session {new} since " in was["sentence"]
    assert [row["text"] for row in was["messages"]] == ["one"]
    found = await one(operator, said)
    whats = [hop["what"] for hop in found["hops"]]
    assert f"session {old} was closed: the answer named {new}" in whats
    assert f"session {new} adopted for 9003's chat" in whats


async def test_what_is_old(world: World, operator: Shell) -> None:
    """G13: what retention has removed still has its story."""
    await world.start(Settings(keys_of={SMS: {"max_age": "6h"}}))
    said = await world.contact_says("secretly")
    await world.quiet()
    assert await world.bridge.stop() == 0
    await world.database.change("UPDATE message SET body = NULL")
    await world.database.change("UPDATE event SET body = NULL")
    found = await one(operator, said)
    assert (found["text"], found["event"]["body"]) == (None, "removed by retention")
    assert found["sentence"].startswith("In 9003's chat and in 9004's chat since ")
    assert found["sentence"].endswith("; its text was removed by retention.")
    assert "(removed by retention)" in (await operator("trace", said)).out
    assert datetime.now(UTC) >= datetime.fromisoformat(found["said_at"])


async def listed_unknown(world: World) -> bool:
    """A doubt is held: its lane goes on."""
    return bool(await world.database.value("SELECT count(*) FROM delivery WHERE state = 'unknown' AND NOT open"))

"""`syncd forget`: what is erased of a contact, what stays, and what comes of it when the contact writes again."""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncd.model.contact import FORGOTTEN
from syncd.simulators.base import Fault
from syncd.simulators.bird_records import SimFile
from tests.cli.conftest import Shell
from tests.scenarios.operating import everything, listed, losing, rejecting
from tests.support.databases import Row
from tests.support.files import JPEG, PNG
from tests.support.settings import BIRD_CHANNEL, ISLASH_SESSION, SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World

SPELLED = (ALICE.removeprefix("+"), "07700900001", "07700 900001", "7700900001")
SECRET = "xylophone"
"""A word that stands in all that the contact and users of it say."""


def settings(world: World, **keys: Any) -> Settings:
    """Files may come from the simulators, and links lead to the daemon itself."""
    world.bird.public_hook_url = f"{world.bridge.url}/hooks/bird"
    hosts = [world.bird.media_host, world.bird.bucket_host, world.ring.url.partition("//")[2]]
    bird = {"media_hosts": [world.bird.media_host]}
    return Settings(
        server={"public_url": world.bridge.url},
        media={"private_hosts": hosts},
        keys_of_account={"bird": bird, "birdpoll": bird},
        **keys,
    )


async def forget(operator: Shell, *options: str, contact: str = "07700 900001", code: int = 0) -> dict[str, Any]:
    """Run the command to its end; its document."""
    ran = await operator("forget", contact, "--yes", "--json", *options)
    assert ran.code == code, ran.out + ran.err
    document: dict[str, Any] = ran.document
    return document


def stands(value: object, wanted: str) -> bool:
    """Whether a column's value holds a text, as it is or as a database shows bytes."""
    if isinstance(value, str):
        return wanted in value
    return isinstance(value, bytes | memoryview) and wanted.encode() in bytes(value)


async def left(world: World, *wanted: str) -> list[str]:
    """The columns in which one of these texts stands; with SQLite also the files."""
    found = [
        f"{table}.{column}: {value!r}"
        for table, rows in (await everything(world)).items()
        for row in rows
        for column, value in row.items()
        if any(stands(value, one) for one in wanted)
    ]
    if world.database.kind == "sqlite":
        path = Path(world.database.url.removeprefix("sqlite:///"))
        for file in (path, path.with_name(path.name + "-wal")):
            content = file.read_bytes() if file.exists() else b""
            found += [f"{file.name}: {one}" for one in wanted if one.encode() in content]
    return found


async def counts(world: World) -> dict[str, int]:
    """Rows of the tables that must not shrink."""
    tables = ("event", "message", "mapping", "delivery", "conversation", "lane", "media", "operation")
    return {table: await world.database.value(f"SELECT count(*) FROM {table}") for table in tables}


async def said(world: World) -> dict[str, list[Row]]:
    """What does not change while nobody says anything."""
    tables = ("conversation", "message", "mapping", "session", "media", "operation")
    return {table: rows for table, rows in (await everything(world)).items() if table in tables}


async def of_bob(world: World) -> list[list[Row]]:
    """All that is stored of the other contact's conversation."""
    its = f"(SELECT id FROM conversation WHERE contact = '{BOB}')"
    said = f"(SELECT id FROM message WHERE conversation_id IN {its})"
    return [
        await world.database.rows(statement)
        for statement in (
            f"SELECT * FROM conversation WHERE id IN {its}",
            f"SELECT * FROM message WHERE conversation_id IN {its} ORDER BY id",
            f"SELECT * FROM mapping WHERE message IN {said} ORDER BY message, account, extension",
            f"SELECT * FROM delivery WHERE message IN {said} ORDER BY id",
            f"SELECT * FROM media WHERE message IN {said} ORDER BY id",
            f"SELECT * FROM session WHERE contact = '{BOB}' ORDER BY id",
            f"SELECT * FROM event WHERE id IN (SELECT event_id FROM message WHERE id IN {said}) ORDER BY id",
        )
    ]


async def everything_happened(world: World, operator: Shell) -> None:
    """Two links, texts and files both ways, receipts, a dead letter, a doubt, an early status, a resync, a queue."""
    await world.start(settings(world))
    for contact, link in ((ALICE, SMS), (ALICE, WHATSAPP), (BOB, SMS)):
        await world.contact_says(f"{SECRET} from {contact} on {link}", contact=contact, link=link)
        await world.quiet()
        said = await world.user_says("9003", f"{SECRET} to {contact}", contact=contact, link=link)
        await world.quiet()
        world.ring.user_edits(said, f"{SECRET} as edited")
        await world.ring.hooks_taken()
        file = SimFile(JPEG.content + contact.encode(), JPEG.content_type, f"{SECRET}.jpg")
        world.bird.contact_says(BIRD_CHANNEL, contact, "", files=[file])
        world.ring.user_sends_file("9004", contact, PNG.content + contact.encode(), f"{SECRET}.png")
        await world.quiet()
        world.bird.set_status(world.bird.sent(BIRD_CHANNEL, contact)[-1]["id"], "delivered")
        await world.quiet()
    ran = await operator("resync", SMS, "--contact", ALICE, "--json")
    assert ran.code == 0, ran.err
    (sent, *_) = world.islash.sent(ISLASH_SESSION, ALICE.removeprefix("+"))
    world.islash.messages["never"] = replace(sent, sid="never", statuses=[])
    world.islash.status("never", "read")
    await until(lambda: world.database.value("SELECT count(*) FROM event WHERE state = 'parked'"), "one is parked")
    await world.contact_says(f"{SECRET} once more", link=WHATSAPP)
    await world.quiet()
    world.islash.faults.append(losing(WHATSAPP, carried_out=False))
    await world.user_says("9003", f"{SECRET} in doubt", link=WHATSAPP)
    await until(lambda: world.database.value("SELECT count(*) FROM delivery WHERE state = 'unknown'"), "a doubt")
    await world.contact_says(f"{SECRET} once more", link=SMS)
    await until(lambda: f"{SECRET} once more" in world.desk("9004")[-1:], "it is there")
    world.bird.faults.append(rejecting(SMS))
    await world.user_says("9003", f"{SECRET} that is refused")
    await until(lambda: world.database.value("SELECT count(*) FROM delivery WHERE state = 'dead'"), "a dead letter")
    assert (await operator("pause", SMS)).code == 0
    for number in range(3):
        await world.user_says("9003", f"{SECRET} queued {number}")
        await world.contact_says(f"{SECRET} queued too {number}")


async def test_a_person_is_erased(world: World, operator: Shell) -> None:
    """Design §14: no text, file or number is left anywhere, counts stay, and others are untouched."""
    await everything_happened(world, operator)
    before, bob = await counts(world), await of_bob(world)
    sent = len(world.bird.sent(BIRD_CHANNEL, ALICE)), len(world.channel(WHATSAPP))
    assert await left(world, *SPELLED)
    content = await said(world)
    ran = await operator("forget", ALICE, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    plan = ran.document
    assert await said(world) == content, "a dry run writes nothing"
    assert (plan["dry_run"], plan["found"]["conversations"]) == (True, 2)
    assert {"conversation.contact", "event.body", "mapping.contact", "operation.detail"} <= {
        row["id"] for row in plan["places"]
    }

    document = await forget(operator)
    assert (document["state"], document["left"], document["new"]) == ("done", [], 0)
    assert document["erased"]["conversations"] == 2
    assert document["erased"]["messages"] == plan["found"]["messages"]
    assert document["erased"]["deliveries"] >= 9
    assert document["erased"]["files"] >= 3
    assert await left(world, *SPELLED) == []
    after = await counts(world)
    assert after.pop("operation") == before.pop("operation") + 1
    assert after == before
    assert await of_bob(world) == bob
    texts = await world.database.rows(
        "SELECT m.id FROM message m JOIN conversation c ON c.id = m.conversation_id "
        f"WHERE c.contact LIKE '{FORGOTTEN}%' AND (m.body IS NOT NULL OR m.quote IS NOT NULL)"
    )
    assert texts == []
    assert await world.database.value("SELECT count(*) FROM blob") == 2, "the other one's"
    named = "name <> '' OR url IS NOT NULL OR hash IS NOT NULL OR state <> 'missing'"
    assert await world.database.value(f"SELECT count(*) FROM media WHERE {named}") == 2
    assert await world.database.value("SELECT count(*) FROM event WHERE state IN ('waiting', 'parked')") == 0
    assert await listed(operator, "dead") == []
    told = [line for line in world.bridge.lines() if any(one in json.dumps(line) for one in SPELLED)]
    assert told == []

    assert (await operator("resume", SMS)).code == 0
    await world.quiet()
    assert (len(world.bird.sent(BIRD_CHANNEL, ALICE)), len(world.channel(WHATSAPP))) == sent, "what waited is not sent"
    assert (await operator("forget", ALICE, "--yes")).code == 1, "nobody is known by that name any more"


async def test_who_writes_again_is_new(world: World, operator: Shell) -> None:
    """Design §14: all works as with somebody new; late news of what was said before changes nothing."""
    await world.start()
    await world.contact_says("long ago")
    said = await world.user_says("9003", "as it was")
    await world.quiet()
    (copy,) = world.bird.sent(BIRD_CHANNEL, ALICE)
    await forget(operator)
    calls = len(world.ring.calls)
    world.bird.set_status(copy["id"], "delivered")
    world.ring.user_edits(said, "as it is now")
    world.bird.tell_again(copy["id"])
    await world.quiet()
    assert len(world.ring.calls) == calls, "nobody is told of it"
    assert await world.database.value("SELECT count(*) FROM message WHERE body IS NOT NULL") == 0
    await world.contact_says("hello again")
    await world.user_says("9004", "who are you?")
    await world.quiet()
    await world.contact_says("somebody new", link=WHATSAPP)
    await world.check()
    talks = await world.database.rows("SELECT link, contact FROM conversation ORDER BY id")
    assert [(row["link"], row["contact"]) for row in talks[1:]] == [(SMS, ALICE), (WHATSAPP, ALICE)]
    assert talks[0]["contact"].startswith(FORGOTTEN)
    ran = await operator("trace", ALICE, "--json")
    texts = {row["text"] for one in ran.document["found"] for row in one.get("messages", ())}
    assert texts == {"hello again", "who are you?", "somebody new"}


@pytest.mark.parametrize("ends", ["sent", "refused"])
async def test_a_send_in_flight(world: World, operator: Shell, ends: str) -> None:
    """G3: its answer is waited for and recorded; the number does not come back, and nothing is tried again."""
    await world.start()
    await world.contact_says("hello")
    await world.quiet()
    world.bird.outbound_hooks = "none"
    world.bird.latency = 1.5
    if ends == "refused":
        world.bird.faults.append(Fault("status", status=503, match=lambda call: call.name == "send"))
    await world.user_says("9003", "in flight")
    await until(lambda: world.database.value("SELECT count(*) FROM delivery WHERE state = 'sending'"), "in flight")
    document = await forget(operator)
    assert document["left"] == []
    states = await world.database.rows("SELECT state, open FROM delivery WHERE target = 'channel'")
    assert [(row["state"], bool(row["open"])) for row in states] == [("sent" if ends == "sent" else "skipped", False)]
    copies = await world.database.rows("SELECT contact FROM mapping WHERE account = 'bird' AND direction = 'out'")
    assert [row["contact"].startswith(FORGOTTEN) for row in copies] == ([True] if ends == "sent" else [])
    await world.quiet()
    assert world.channel(SMS) == (["in flight"] if ends == "sent" else [])
    assert await left(world, *SPELLED) == []


async def test_a_doubt_is_being_settled(world: World, operator: Shell) -> None:
    """An answer that comes after its delivery was dropped does not bring the number back."""
    await world.start()
    await world.contact_says("hello")
    await world.quiet()
    world.bird.outbound_hooks = "none"
    world.bird.faults.append(losing(SMS))
    asked = Fault("delay", times=-1, seconds=2.0, match=lambda call: call.name == "list")
    world.bird.faults.append(asked)
    await world.user_says("9003", "in doubt")
    await until(lambda: world.bird.calls_of("list"), "it is asked for")
    assert (await forget(operator))["left"] == []
    account = "SELECT count(*) FROM mapping WHERE account = 'bird' AND direction = 'out'"
    await until(lambda: world.database.value(account), "the answer is recorded")
    await world.quiet()
    assert await left(world, *SPELLED) == []


@pytest.mark.timeout(120)
async def test_killed_in_the_middle(world: World, operator: Shell) -> None:
    """G7: the next daemon goes on by itself, the command waits for that; what is said meanwhile is new, and kept."""
    await world.start(Settings(users=("9003",)))
    for number in range(150):
        await world.contact_says(f"{SECRET} {number}")
    await world.contact_says("another one", contact=BOB)
    await world.quiet()
    erased = f"SELECT count(*) FROM conversation WHERE contact LIKE '{FORGOTTEN}%'"
    process = await operator.start("forget", ALICE, "--yes", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    await until(lambda: world.database.value(erased), "it has begun", gap=0.002)
    await world.contact_says("new and kept")
    await world.bridge.kill()
    assert await world.database.value("SELECT count(*) FROM operation WHERE state = 'running'") == 1
    await world.database.age(120)
    await world.bridge.start()
    await world.contact_says("new and kept too")
    said, complained = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, said + complained
    document = json.loads(said)
    assert (document["erased"]["messages"], document["left"]) == (150, [])
    await world.quiet()
    assert await left(world, SECRET) == []
    bodies = await world.database.rows("SELECT body FROM message WHERE body IS NOT NULL ORDER BY id")
    assert [bytes(row["body"]).decode() for row in bodies] == ["another one", "new and kept", "new and kept too"]
    assert world.desk("9003")[-2:] == ["new and kept", "new and kept too"]


async def test_it_is_not_done_by_mistake(world: World, operator: Shell) -> None:
    """Without a terminal only with `--yes`; an unknown contact is told; without a daemon as other changes."""
    await world.start()
    await world.contact_says("hello")
    await world.quiet()
    before = await everything(world)
    assert (await operator("forget", ALICE)).code == 64
    assert (await operator("forget", "+447700900099", "--yes")).code == 1
    assert (await operator("forget", "+447700900099", "--dry-run")).code == 1
    assert await everything(world) == before
    await world.bridge.stop()
    before = await everything(world)
    assert (await operator("forget", ALICE, "--dry-run")).code == 0
    assert await everything(world) == before
    if world.database.kind == "sqlite":
        assert (await operator("forget", ALICE, "--yes")).code == 69
        assert await everything(world) == before
        return
    process = await operator.start("forget", ALICE, "--yes", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    await until(lambda: world.database.value("SELECT count(*) FROM operation"), "it is on record")
    await world.bridge.start()
    said, complained = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, complained + said
    assert await left(world, *SPELLED) == []


async def test_what_others_say_of_the_contact_is_told(world: World, operator: Shell) -> None:
    """The words of another person are not erased, and not passed over."""
    await world.start()
    await world.contact_says("hello")
    await world.contact_says("call +44 (0)7700 900001 then", contact=BOB)
    await world.quiet()
    document = await forget(operator, code=1)
    assert [(row["id"], row["rows"]) for row in document["left"]] == [("message.body", 1)]

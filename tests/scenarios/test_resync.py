"""Resync: what the channel's history and the ledger have, and a user's chat has not (G15)."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.simulators.base import Fault
from syncd.simulators.ringotel_desk import Message
from tests.cli.conftest import Shell
from tests.scenarios.operating import everything, is_send, listed, rejecting
from tests.support.databases import Row
from tests.support.settings import POLLED, SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, CHANNELS, World

CAROL = "+447700900003"
CONTACTS = (ALICE, BOB, CAROL)
ONE = Settings(users=("9003",))
BEGAN = (datetime.now(UTC) - timedelta(hours=3)).replace(microsecond=0)


def said_at(number: int) -> datetime:
    """When the message of that number was said."""
    return BEGAN + timedelta(seconds=number)


def place(world: World, numbers: range, *, link: str = SMS) -> None:
    """Put messages on the channel that no webhook tells of, the later ones first: a list has its own order."""
    for number in reversed(numbers):
        contact = CONTACTS[number % len(CONTACTS)]
        world.bird.contact_says(CHANNELS[link], contact, f"message {number}", webhook=False, at=said_at(number))


def chat(world: World, extension: str, contact: str) -> list[Message]:
    """What the daemon wrote into a chat, as it is shown: by time."""
    return sorted((one for one in world.ring.chat(extension, contact) if one.by_api), key=lambda one: one.shown_at)


def missed(world: World, extension: str) -> list[tuple[str, str, float, bool]]:
    """Copies that are history in all chats of a user: contact, text, time and whether anybody was told."""
    return [
        (contact, one.content, one.shown_at, one.notified)
        for contact in CONTACTS
        for one in world.ring.chat(extension, contact)
        if one.by_api and one.timestamp is not None
    ]


def wanted(numbers: range) -> list[tuple[str, str, float, bool]]:
    """The same as it must be, in the order of arrival in each chat."""
    return [
        (contact, f"message {number}", said_at(number).timestamp(), False)
        for contact in CONTACTS
        for number in numbers
        if CONTACTS[number % len(CONTACTS)] == contact
    ]


async def resync(operator: Shell, *options: str, link: str = SMS, code: int = 0) -> dict[str, Any]:
    """Run the command to its end; its document."""
    ran = await operator("resync", link, *options, "--json")
    assert ran.code == code, ran.out + ran.err
    document: dict[str, Any] = ran.document
    return document


async def plan(operator: Shell, *options: str, link: str = SMS) -> tuple[int, int]:
    """Messages and copies that a dry run says are missing."""
    document = await resync(operator, *options, "--dry-run", link=link)
    assert document["dry_run"] is True
    missing = document["plan"]["missing"]
    return missing["messages"], missing["copies"]


async def operation(world: World) -> Row:
    """The last operation on record."""
    (row,) = await world.database.rows("SELECT * FROM operation WHERE kind = 'resync' ORDER BY id DESC LIMIT 1")
    return row


@pytest.mark.timeout(120)
async def test_five_hundred_messages_that_nobody_told_of(world: World, operator: Shell) -> None:
    """G2, G15: 40 of 500 are known: 460 are planned and arrive in order with their times; a new user gets all 500."""
    await world.start(ONE)
    for number in range(40):
        contact = CONTACTS[number % len(CONTACTS)]
        world.bird.contact_says(CHANNELS[SMS], contact, f"message {number}", at=said_at(number))
    await world.quiet()
    await world.bridge.stop()
    place(world, range(40, 500))
    before = await everything(world)
    assert await plan(operator) == (460, 460)
    assert await everything(world) == before, "a dry run writes nothing"
    await world.bridge.start()
    assert await plan(operator) == (460, 460)

    document = await resync(operator)
    assert (document["state"], document["done"], document["of"]) == ("done", 460, 460)
    assert document["result"] == "460 messages were missing, in 460 copies; nothing is missing now"
    assert missed(world, "9003") == wanted(range(40, 500))
    document = await resync(operator)
    assert (document["state"], document["result"]) == ("done", "nothing was missing")
    assert await world.database.value("SELECT count(*) FROM mapping WHERE direction = 'in'") == 1000
    assert len(missed(world, "9003")) == 460

    await world.bridge.stop()
    await world.start(Settings(users=("9003", "9004")))
    assert await plan(operator, "--user", "9004") == (500, 500)
    assert (await resync(operator, "--user", "9004"))["done"] == 500
    assert missed(world, "9004") == wanted(range(500)), "as it was said, also what 9003 got late"
    assert await plan(operator) == (0, 0)


@pytest.mark.timeout(120)
async def test_killed_in_the_middle(world: World, operator: Shell) -> None:
    """G3, G7, G15: the next daemon goes on by itself, the command waits for that; what was in flight is in doubt."""
    await world.start(Settings(users=("9003",), rate=60.0))
    place(world, range(240))
    process = await operator.start("resync", SMS, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    await until(lambda: len(missed(world, "9003")) > 20, "some have arrived")
    await world.bridge.kill()
    in_flight = await world.database.rows("SELECT message FROM delivery WHERE state = 'sending'")
    here = len(missed(world, "9003"))
    assert here < 240
    await world.database.age(120)
    await world.bridge.start()
    said, complained = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode in (0, 1), complained
    await world.quiet()
    arrived = missed(world, "9003")
    assert len(set(arrived)) == len(arrived), "twice"
    doubts = await world.database.value("SELECT count(*) FROM delivery WHERE state = 'unknown'")
    assert doubts <= len(in_flight)
    lost = set(wanted(range(240))) - set(arrived)
    assert len(lost) <= doubts, said
    for contact in CONTACTS:
        times = [one[2] for one in arrived if one[0] == contact]
        assert times == sorted(times)
    assert await plan(operator) == (0, 0)


async def test_a_user_added_to_a_link(world: World, operator: Shell) -> None:
    """G15: all that was said comes into the new user's chats, in order, with its times, silently; notices do not."""
    await world.start(ONE)
    for contact in (ALICE, BOB):
        await world.contact_says(f"hello from {contact}", contact=contact)
        await world.user_says("9003", "good morning", contact=contact)
        await world.agent_says("an agent answers", contact=contact)
        world.poster(SMS).faults.append(rejecting(SMS))
        await world.user_says("9003", "the service refuses this", contact=contact)
        taken_back = await world.user_says("9003", "said by mistake", contact=contact)
        await world.quiet()
        world.ring.user_deletes(taken_back)
        await world.quiet()
    await world.bridge.stop()
    await world.start(Settings(users=("9003", "9004")))
    assert world.ring.chat("9004", ALICE) == []
    assert await plan(operator, "--user", "9004", "--contact", "07700 900001") == (4, 4)
    assert await plan(operator, "--user", "9003") == (0, 0)
    await resync(operator, "--user", "9004", "--contact", ALICE)
    texts = [f"hello from {ALICE}", "good morning", "an agent answers", "the service refuses this"]
    assert [one.content for one in chat(world, "9004", ALICE)] == texts
    assert [one.direction for one in chat(world, "9004", ALICE)] == ["incoming", "outgoing", "outgoing", "outgoing"]
    assert not any(one.notified for one in world.ring.chat("9004", ALICE))
    assert world.ring.chat("9004", BOB) == []
    of_alice = f"SELECT m.* FROM message m JOIN conversation c ON c.id = m.conversation_id WHERE c.contact = '{ALICE}'"
    times = {bytes(row["body"]).decode(): row["said_at"] for row in await world.database.rows(of_alice)}
    for one in chat(world, "9004", ALICE):
        at = times[one.content]
        stamp = at if isinstance(at, datetime) else datetime.fromisoformat(at)
        assert abs(one.shown_at - stamp.timestamp()) < 0.001
    assert await plan(operator) == (4, 4)
    await resync(operator)
    assert [one.content for one in chat(world, "9004", BOB)][1:] == texts[1:]
    assert await plan(operator) == (0, 0)


async def test_live_notifies_and_leaves_what_is_too_old(world: World, operator: Shell) -> None:
    """G15: with `--mode live` users are told; `max_age` holds then, and for history it does not."""
    await world.start(Settings(users=("9003",), keys_of={SMS: {"max_age": "1h"}}))
    place(world, range(3))
    world.bird.contact_says(CHANNELS[SMS], ALICE, "just now", webhook=False)
    assert await plan(operator, "--mode", "live") == (1, 1)
    await resync(operator, "--mode", "live")
    (message,) = world.ring.chat("9003", ALICE)
    assert (message.content, message.notified, message.timestamp) == ("just now", True, None)
    assert await plan(operator) == (3, 3)
    await resync(operator)
    assert missed(world, "9003") == wanted(range(3))


async def test_a_link_that_was_added_later(world: World, operator: Shell) -> None:
    """G2, G15: what meant nothing when it came is looked at anew, once."""
    await world.start(Settings(users=("9003",), links=(WHATSAPP,)))
    await world.contact_says("too early", link=SMS)
    await world.quiet()
    assert await world.database.value("SELECT state FROM event") == "ignored"
    await world.bridge.stop()
    await world.start(ONE)
    assert await plan(operator) == (1, 1)
    for _ in range(2):
        await resync(operator)
    await world.check()
    assert await plan(operator) == (0, 0)


async def test_what_was_given_up_dropped_or_differs(world: World, operator: Shell) -> None:
    """G15: dead copies are tried again, what an operator dropped is not; other words are shown and left alone."""
    await world.start(ONE)
    refusal = b'{"error": {"message": "no"}}'
    for text in ("given up", "dropped"):
        world.ring.faults.append(Fault("status", status=400, body=refusal, match=is_send))
        await world.contact_says(text)
        await world.quiet()
    await world.contact_says("as it was")
    await world.quiet()
    first, second = await listed(operator, "dead")
    assert (await operator("dead", "drop", second["id"])).code == 0
    record = next(iter(reversed(world.bird.channels[CHANNELS[SMS]].messages.values())))
    record.data["body"]["text"]["text"] = "as it was changed"
    document = await resync(operator, "--dry-run")
    assert document["plan"]["missing"]["messages"] == 1
    assert document["plan"]["differing"]["examples"][0]["id"] == record.data["id"]
    assert document["plan"]["seen"]["dropped"] == 1
    document = await resync(operator)
    assert document["result"] == "1 messages were missing, in 1 copies; nothing is missing now"
    assert sorted(world.desk("9003")) == ["as it was", "given up"]
    assert await world.database.value(f"SELECT state FROM delivery WHERE id = '{first['id']}'") == "sent"


async def test_it_makes_room_for_what_is_said_now(world: World, operator: Shell) -> None:
    """G10: a live message waits behind a few copies of history, not behind all of it; Ctrl-C ends it, and a repetition
    goes on from there."""
    await world.start(Settings(users=("9003",), rate=40.0))
    place(world, range(900))
    process = await operator.start("resync", SMS, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    await until(lambda: len(missed(world, "9003")) > 5, "it has begun")
    world.bird.contact_says(CHANNELS[SMS], ALICE, "live")

    def live() -> bool:
        return any(one.content == "live" and one.notified for one in world.ring.chat("9003", ALICE))

    await until(live, "the live message is there")
    assert len(missed(world, "9003")) < 900
    process.send_signal(signal.SIGINT)
    said, complained = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1, said
    assert b"missing    900 messages, in 900 copies" in said
    assert b"it is being stopped" in complained
    assert (await operation(world))["state"] == "stopped"
    await world.quiet()
    there = len(missed(world, "9003"))
    assert 5 < there < 900
    assert await plan(operator) == (900 - there, 900 - there)


async def test_a_channel_without_history(world: World, operator: Shell) -> None:
    """G15: what syncd has itself is compared; mistakes in what is asked are told."""
    await world.start(ONE)
    await world.contact_says("hello", contact=BOB, link=WHATSAPP)
    await world.quiet()
    await world.bridge.stop()
    await world.start(Settings(users=("9003", "9004")))
    document = await resync(operator, link=WHATSAPP)
    assert (document["state"], document["plan"]["history"]) == ("done", False)
    assert [one.content for one in chat(world, "9004", BOB)] == ["hello"]
    mistakes: tuple[tuple[tuple[str, ...], str], ...] = (
        (("nowhere",), "no link is called nowhere"),
        ((SMS, "--user", "1"), "link sms has no user 1"),
        ((SMS, "--since", "2026-01-02", "--until", "2026-01-01"), "the span of time is empty"),
    )
    for options, complaint in mistakes:
        ran = await operator("resync", *options)
        assert (ran.code, complaint in ran.err) == (1, True), ran.err
    for unusable in ((SMS, "--since", "yesterday"), (SMS, "--mode", "loud"), ()):
        assert (await operator("resync", *unusable)).code == 64


async def test_a_history_that_cannot_be_read(world: World, operator: Shell) -> None:
    """G15: nothing is done then, and why is said."""
    await world.start(ONE)
    place(world, range(3))
    world.bird.faults.append(Fault("status", times=-1, status=401, match=lambda call: call.name == "list"))
    for options in ((), ("--dry-run",)):
        ran = await operator("resync", SMS, *options)
        assert ran.code == 1
        assert "401" in ran.out + ran.err
    assert missed(world, "9003") == []


async def test_without_a_daemon(world: World, operator: Shell) -> None:
    """On SQLite nothing but the daemon writes; on PostgreSQL the next one does what was asked."""
    await world.start(ONE)
    await world.bridge.stop()
    place(world, range(3))
    assert await plan(operator) == (3, 3)
    if world.database.kind == "sqlite":
        assert (await operator("resync", SMS)).code == 69
        assert await world.database.value("SELECT count(*) FROM operation") == 0
        return
    process = await operator.start("resync", SMS, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    await until(lambda: world.database.value("SELECT count(*) FROM operation"), "it is on record")
    await world.bridge.start()
    said, complained = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, complained + said
    assert missed(world, "9003") == wanted(range(3))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_on_a_terminal(world: World, operator: Shell) -> None:
    """A bar while it lasts, and the plan and the result as lines of 80 columns."""
    await world.start(Settings(users=("9003",), rate=100.0))
    place(world, range(120))
    ran = await operator.on_terminal("resync", SMS)
    assert ran.code == 0
    assert "missing    120 messages, in 120 copies" in ran.out
    assert "120 messages were missing, in 120 copies; nothing is missing now" in ran.out
    assert "/s" in ran.out
    assert "120/120" in ran.out or "/120" in ran.out


async def test_a_polled_channel(world: World, operator: Shell) -> None:
    """G2, G15: polls and a resync of the same span of time make each message once."""
    await world.start(Settings(users=("9003",), poll_interval="0.2s"))
    await until(lambda: world.database.value("SELECT count(*) FROM cursor WHERE value <> ''"), "the first poll")
    numbers = range(30)
    ran = asyncio.create_task(resync(operator, link=POLLED))
    for number in numbers:
        world.bird.contact_says(CHANNELS[POLLED], CONTACTS[number % 3], f"message {number}", webhook=False)
        await asyncio.sleep(0.02)
    await ran
    await resync(operator, link=POLLED)
    await until(lambda: sum(len(world.desk("9003", one)) for one in CONTACTS) >= 30, "all are there")
    await world.quiet()
    texts = [text for contact in CONTACTS for text in world.desk("9003", contact)]
    assert sorted(texts) == sorted(f"message {number}" for number in numbers)

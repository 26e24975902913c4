"""Taking events in: one commit with what they mean, poison apart, and events that wait."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from syncd import metrics
from syncd.engine.receive import Move
from syncd.model.facts import CopyStatus, Fact, StatusSeen
from syncd.model.sending import Sent
from syncd.model.topology import Topology
from syncd.model.work import CHANNEL, lane_id
from syncd.store import cursors, lanes
from syncd.store.schema import conversation, cursor, delivery, event, mapping, message
from syncd.store.writer import Store, StoreUnavailable
from tests.engine.stage import Stage, running, stage
from tests.model.samples import CONTACT, channel_said, contact_said, link, status_seen, user_said
from tests.store.databases import Database

POISON = replace(contact_said("poison"), text=None)  # type: ignore[arg-type]
"""A fact that breaks the translation: the defect of a plug-in."""


@pytest.fixture
async def there(store: Store) -> AsyncIterator[Stage]:
    """An engine whose senders are shut: nothing is sent."""
    made = stage(store)
    for sender in made.dispatcher.senders.values():
        sender.gate.shut(3600)
    yield made
    await made.dispatcher.drain()


async def outcomes(database: Database) -> list[tuple[str, str]]:
    return await database.rows(event, "key", "state")


async def test_a_taken_event_is_committed_with_all_that_it_means(database: Database, there: Stage) -> None:
    outcome = await there.tell("bird", contact_said("c1", "hello \x00 \ud800"))
    assert outcome.state == "done"
    assert await outcomes(database) == [("e1", "done")]
    assert await database.rows(message, "seq", "author", "body") == [
        (1, "contact", "hello \x00 \ud800".encode("utf-8", "surrogatepass"))
    ]
    assert await database.rows(delivery, "target", "state") == [("desk:9003", "ready"), ("desk:9004", "ready")]
    assert await database.rows(mapping, "account", "messageid", "contact") == [("bird", "c1", CONTACT)]


async def test_what_a_poll_found_first_counts_as_a_late_webhook(there: Stage) -> None:
    def late() -> float:
        return metrics.registry.get_sample_value("syncd_webhook_late_seconds_count", {"account": "bird"}) or 0.0

    one, other = (there.platforms["bird"].event(f"k{number}", contact_said(f"c{number}")) for number in (1, 2))
    before = late()
    await there.receiver.take("bird", [one], "poll")
    await there.receiver.take("bird", [other], "webhook")
    assert late() == before
    for _ in range(2):
        await there.receiver.take("bird", [one, other], "webhook")
    assert late() == before + 1


async def test_copies_of_an_event_make_one_message(database: Database, there: Stage) -> None:
    one = there.platforms["bird"].event("k1", contact_said("c1"))
    taken = await asyncio.gather(
        *(there.receiver.take("bird", [one, one], "webhook") for _ in range(3)),
        there.receiver.take("bird", [one], "poll"),
    )
    states = [outcome.state for part in taken for outcome in part]
    assert sorted(states) == ["done"] + ["duplicate"] * 6
    assert len(await database.rows(message)) == 1
    ((copies,),) = await database.rows(event, "copies")
    # The poll's counts only where it is committed with the others.
    assert copies in (6, 7)


async def test_one_message_under_several_keys_is_one_message(database: Database, there: Stage) -> None:
    for number in range(3):
        await there.tell("bird", channel_said("a1", status=[CopyStatus.SENT, CopyStatus.DELIVERED, None][number]))
    assert len(await database.rows(message)) == 1
    assert await database.rows(mapping, "status") == [("delivered",)]


async def test_events_of_a_page_are_numbered_in_its_order(database: Database, there: Stage) -> None:
    bird = there.platforms["bird"]
    page = [bird.event(f"k{number:02}", contact_said(f"c{number:02}", f"{number:02}")) for number in range(30)]
    await there.receiver.take("bird", page, "poll")
    rows = await database.rows(message, "seq", "body")
    assert sorted((seq, int(body)) for seq, body in rows) == [(number + 1, number) for number in range(30)]


async def test_an_odd_name_is_stored_with_what_no_database_takes_replaced(database: Database, there: Stage) -> None:
    outcome = await there.tell("bird", contact_said("c\x00\ud800", name="A\x00"))
    assert outcome.state == "done"
    assert await database.rows(mapping, "messageid") == [("c\ufffd\ufffd",)]
    assert await database.rows(conversation, "name") == [("A\ufffd",)]


async def test_an_event_that_its_platform_cannot_read_is_kept_and_ignored(database: Database, there: Stage) -> None:
    bird = there.platforms["bird"]
    broken = bird.event("k1")
    del bird.facts[broken.body]
    (outcome,) = await there.receiver.take("bird", [broken], "webhook")
    assert outcome.reason == "its platform could not read it"
    assert await outcomes(database) == [("k1", "ignored")]


async def test_poison_is_stored_as_failed_and_other_webhooks_pass(database: Database, there: Stage) -> None:
    taken = await asyncio.gather(
        there.tell("bird", contact_said("c1")), there.tell("bird", POISON), there.tell("bird", contact_said("c2"))
    )
    assert [outcome.state for outcome in taken] == ["done", "failed", "done"]
    assert await outcomes(database) == [("e1", "done"), ("e2", "failed"), ("e3", "done")]
    assert await database.rows(mapping, "messageid") == [("c1",), ("c2",)]
    assert (await there.tell("bird", contact_said("c4"))).state == "done"


async def test_poison_in_a_page_fails_alone(database: Database, there: Stage) -> None:
    bird = there.platforms["bird"]
    facts: list[Fact] = [contact_said("c1"), POISON, contact_said("c3")]
    page = [bird.event(f"k{number}", fact) for number, fact in enumerate(facts)]
    taken = await there.receiver.take("bird", page, "poll")
    assert [outcome.state for outcome in taken] == ["done", "failed", "done"]
    assert await database.rows(mapping, "messageid") == [("c1",), ("c3",)]


async def test_poison_does_not_hold_the_cursor_back(database: Database, there: Stage) -> None:
    await database.run(cursors.take, "bird", "end", "one", timedelta(minutes=1))
    page = [there.platforms["bird"].event("k1", POISON)]
    await there.receiver.take("bird", page, "poll", move=Move("bird", "end", "c1", "one"))
    assert await database.rows(cursor, "value") == [("c1",)]
    assert await outcomes(database) == [("k1", "failed")]


async def test_the_cursor_moves_with_its_page_and_only_for_its_owner(database: Database, there: Stage) -> None:
    await database.run(cursors.take, "bird", "end", "one", timedelta(minutes=1))
    bird = there.platforms["bird"]
    page = [bird.event("k1", contact_said("c1"))]
    await there.receiver.take("bird", page, "poll", move=Move("bird", "end", "c1", "one"))
    assert await database.rows(cursor, "value") == [("c1",)]
    await there.receiver.take(
        "bird", [bird.event("k2", contact_said("c2"))], "poll", move=Move("bird", "end", "x", "two")
    )
    assert await database.rows(cursor, "value") == [("c1",)]
    assert len(await database.rows(message)) == 2
    await there.receiver.take("bird", [], "poll", move=Move("bird", "end", "c2", "one"))
    assert await database.rows(cursor, "value") == [("c2",)]


async def test_what_is_not_committed_is_told_and_nothing_is_handed_on(
    local: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with local.store() as store:
        made = stage(store)

        def away(conn: Any, *_: Any) -> Any:
            raise OperationalError("BEGIN", {}, sqlite3.OperationalError("database is locked"))

        monkeypatch.setattr(cursors, "move", away)
        page = [made.platforms["bird"].event("k1", contact_said("c1"))]
        with pytest.raises(StoreUnavailable):
            await made.receiver.take("bird", page, "poll", move=Move("bird", "end", "c1", "one"))
        assert await outcomes(local) == []
        assert len(made.dispatcher.senders["office"]) == 0
        monkeypatch.undo()
        (outcome,) = await made.receiver.take("bird", page, "webhook")
        assert outcome.state == "done"
        await made.quiet()


async def test_who_stops_waiting_does_not_stop_the_delivery(database: Database, store: Store) -> None:
    made = stage(store)
    bird = made.platforms["bird"]
    waiting = asyncio.create_task(made.receiver.take("bird", [bird.event("k1", contact_said("c1"))], "webhook"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(5):
        while len(made.platforms["office"].texts) < 2:
            await asyncio.sleep(0.005)
    await made.quiet()


async def in_flight(database: Database, there: Stage, contact: str = CONTACT) -> str:
    """The link's first user said something to a contact that is being sent to the channel; its lane."""
    told = await there.tell("office", user_said(f"u-{contact}", "asked", contact=contact, sessionid=None))
    name = lane_id(told.conversation_id, CHANNEL)

    def send(conn: Any) -> None:
        found, now = lanes.claim(conn, [name], "another", timedelta(minutes=1))
        lanes.start(conn, [(one, None) for one in found.values() if isinstance(one, lanes.Held)], now)

    await database.run(send)
    return name


def settle(conn: Any) -> None:
    conn.execute(delivery.update().where(delivery.c.target == CHANNEL).values(state="sent", open=False))


async def test_what_may_be_an_echo_waits_and_what_comes_after_it_too(database: Database, there: Stage) -> None:
    await in_flight(database, there)
    told = [
        await there.tell("bird", channel_said("a1", "maybe an echo")),
        await there.tell("bird", contact_said("c1", "after it")),
        await there.tell("bird", contact_said("x1", "of somebody else", contact="+447700900777")),
        await there.tell("bird", channel_said("a1", "maybe an echo")),
    ]
    assert [outcome.state for outcome in told] == ["waiting", "waiting", "done", "waiting"]
    ((conversation_id,),) = [row[:1] for row in await database.rows(conversation, "id", "contact") if row[1] == CONTACT]
    await there.receiver.look_again([conversation_id])
    assert [state for _, state in await outcomes(database)] == ["done", "waiting", "waiting", "done", "waiting"]
    await database.run(settle)
    await there.receiver.look_again([conversation_id])
    assert [state for _, state in await outcomes(database)] == ["done", "done", "done", "done", "ignored"]
    rows = await database.rows(message, "conversation_id", "seq", "body")
    assert [body for one, _, body in sorted(rows) if one == conversation_id] == [
        b"asked",
        b"maybe an echo",
        b"after it",
    ]


async def test_what_was_an_echo_is_not_said_again(database: Database, there: Stage) -> None:
    await in_flight(database, there)
    await there.tell("bird", channel_said("a1", "asked"))
    await there.tell("bird", contact_said("c1", "answered"))

    def answered(conn: Any) -> None:
        settle(conn)
        row = {
            "message": "m",
            "link": "sms",
            "account": "bird",
            "contact": CONTACT,
            "messageid": "a1",
            "part": 0,
            "direction": "out",
            "origin": False,
            "status": "sent",
            "created_at": datetime.now(UTC),
            "updated_at": datetime.now(UTC),
        }
        conn.execute(mapping.insert(), row)

    await database.run(answered)
    await there.receiver.look_at_all_waiting()
    assert [state for _, state in await outcomes(database)] == ["done", "ignored", "done"]
    assert sorted(body for (body,) in await database.rows(message, "body")) == [b"answered", b"asked"]


async def test_news_with_our_reference_does_not_wait_and_settles_the_send(database: Database, there: Stage) -> None:
    await in_flight(database, there)
    ((reference,),) = [row[:1] for row in await database.rows(delivery, "reference", "target") if row[1] == CHANNEL]
    outcome = await there.tell("bird", channel_said("a1", reference=reference, status=CopyStatus.DELIVERED))
    assert outcome.reason.startswith("echo of message")
    assert ("sent", False, "told by the platform") in await database.rows(delivery, "state", "open", "reason")
    assert ("bird", "a1", False, "delivered") in await database.rows(
        mapping, "account", "messageid", "origin", "status"
    )
    assert (await there.tell("bird", status_seen(CopyStatus.READ, "a1"))).state == "done"
    assert ("read",) in await database.rows(mapping, "status")


async def test_poison_that_waited_fails_alone(database: Database, there: Stage) -> None:
    await in_flight(database, there)
    await there.tell("bird", channel_said("a1", "maybe an echo"))
    await there.tell("bird", POISON)
    await there.tell("bird", contact_said("c2", "after it"))
    await database.run(settle)
    await there.receiver.look_at_all_waiting()
    assert [state for _, state in await outcomes(database)] == ["done", "done", "failed", "done"]
    assert ("failed", "TypeError in the translation") in await database.rows(event, "state", "reason")
    assert sorted(body for (body,) in await database.rows(message, "body")) == [b"after it", b"asked", b"maybe an echo"]


@pytest.mark.parametrize("poisoned", [{0}, {2}, {0, 1}, {0, 1, 2}])
async def test_poison_that_waited_fails_alone_wherever_it_stands(
    database: Database, there: Stage, poisoned: set[int]
) -> None:
    """In each of two conversations that are looked at together, and of both what is sound goes on, in order."""
    contacts = (CONTACT, "+447700900777")
    lane_ids = [await in_flight(database, there, contact) for contact in contacts]
    sound: dict[str, list[bytes]] = {}
    for contact in contacts:
        await there.tell("bird", channel_said(f"a-{contact}", "waits", contact=contact))
        for place in range(3):
            text: Any = None if place in poisoned else f"text {place}"
            outcome = await there.tell("bird", contact_said(f"c-{contact}-{place}", text, contact=contact))
            assert outcome.state == "waiting"
        sound[contact] = [b"asked", b"waits", *(b"text %d" % place for place in range(3) if place not in poisoned)]
    await database.run(settle)
    await there.receiver.look_again(name.partition("/")[0] for name in lane_ids)
    states = [state for (state,) in await database.rows(event, "state")]
    assert (states.count("failed"), states.count("waiting")) == (2 * len(poisoned), 0)
    of = dict(await database.rows(conversation, "id", "contact"))
    said = sorted(await database.rows(message, "conversation_id", "seq", "body"))
    for contact in contacts:
        assert [body for one, _, body in said if of[one] == contact] == sound[contact]


async def test_poison_behind_what_still_waits_fails_when_its_turn_comes(database: Database, there: Stage) -> None:
    name = await in_flight(database, there)
    await there.tell("bird", channel_said("a1", "maybe an echo"))
    await there.tell("bird", POISON)
    await there.tell("bird", contact_said("c2", "after it"))
    await there.receiver.look_again([name.partition("/")[0]])
    assert [state for _, state in await outcomes(database)] == ["done", "waiting", "waiting", "waiting"]
    await database.run(settle)
    await there.receiver.look_again([name.partition("/")[0]])
    assert [state for _, state in await outcomes(database)] == ["done", "done", "failed", "done"]


async def test_poison_that_waited_does_not_end_the_dispatcher(database: Database, there: Stage) -> None:
    await in_flight(database, there)
    await there.tell("bird", channel_said("a1", "maybe an echo"))
    await there.tell("bird", POISON)
    await database.run(settle)
    task = asyncio.create_task(there.dispatcher.run())
    there.dispatcher.look_again((await database.rows(conversation, "id"))[0][0])
    done, _ = await asyncio.wait([task], timeout=0.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not done


async def test_the_dispatcher_looks_again_when_a_send_is_settled(database: Database, store: Store) -> None:
    made = stage(store)
    bird = made.platforms["bird"]
    bird.delay = 0.15
    async with running(made):
        await made.tell("office", user_said("u1", "asked", sessionid=None))
        while not bird.taken:
            await asyncio.sleep(0.005)
        assert (await made.tell("bird", channel_said("bird-1", "asked"))).state == "waiting"
        assert (await made.tell("bird", contact_said("c1", "answered"))).state == "waiting"
        async with asyncio.timeout(3):
            while await outcomes(database) != [("e1", "done"), ("e2", "ignored"), ("e3", "done")]:
                await asyncio.sleep(0.01)
        await made.accepted("office", 3)
        await made.quiet()
    office = made.platforms["office"]
    assert sorted((one.extension, one.text) for one in office.accepted) == [
        ("9003", "answered"),
        ("9004", "answered"),
        ("9004", "asked"),
    ]


async def test_the_echo_of_a_copy_without_an_id_is_not_said_again(database: Database, store: Store) -> None:
    """A desk may answer a message with its session only, and may report it by webhook."""
    made = stage(store)
    office = made.platforms["office"]
    office.answers = [Sent(None, sessionid="s1"), Sent(None, sessionid="s2")]
    office.opening_answers = ["s1", "s2"]
    await made.tell("bird", contact_said("c1", "hello"))
    await made.quiet()
    there = office.accepted[0]
    await made.tell(
        "office",
        user_said("m77", "hello", extension=there.extension, sessionid=there.sessionid),
    )
    await made.quiet()
    assert made.platforms["bird"].texts == []


async def test_a_status_on_a_channel_names_a_copy_without_an_id(database: Database, store: Store) -> None:
    """G3: and it is no word on an older send whose answer was lost."""
    made = stage(store, Topology((link("whatsapp", "islash", "9003", failure_notice=False),)))
    made.platforms["islash"].answers = [Sent(None)]
    await made.tell("office", user_said("u1", "hello", sessionid=None))
    await made.quiet()
    news = StatusSeen(CopyStatus.DELIVERED, "wamid.1", end="whatsapp-channel", recipient=CONTACT[1:])
    assert (await made.tell("islash", news)).state == "done"
    rows = await database.rows(mapping, "account", "messageid", "status")
    assert ("islash", "wamid.1", "delivered") in rows
    assert len(rows) == 2


@pytest.mark.parametrize("copies", [1, 2])
async def test_a_status_names_a_copy_without_an_id_where_one_fits_only(
    database: Database, store: Store, copies: int
) -> None:
    made = stage(store, Topology((link("sms", "bird", "9003"),)))
    made.platforms["office"].answers = [Sent(None)] * copies
    made.platforms["office"].opening_answers = ["s1"]
    for number in range(copies):
        await made.tell("bird", contact_said(f"c{number}", f"text {number}"))
    await made.quiet()
    outcome = await made.tell("office", status_seen(CopyStatus.DELIVERED, "m77", sessionid="s1"))
    rows = [row[1:] for row in await database.rows(mapping, "account", "messageid", "status") if row[0] == "office"]
    if copies == 1:
        assert outcome.state == "done"
        assert rows == [("m77", "delivered")]
        # By its name it is known from now on.
        assert (await made.tell("office", status_seen(CopyStatus.READ, "m77"))).state == "done"
        assert ("office", "m77", "read") in await database.rows(mapping, "account", "messageid", "status")
    else:
        assert outcome.reason == "delivered of a message that is not known"
        assert rows == [(None, "sent")] * 2

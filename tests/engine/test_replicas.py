"""Two processes on one PostgreSQL database: the work is shared, and everything is done once (G14)."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.util import await_only

from syncd.model.facts import CopyStatus
from syncd.model.sending import Outgoing, Sent
from syncd.model.topology import Topology
from syncd.store import lanes, loading
from syncd.store.schema import conversation, delivery, event, lane, mapping, message, session
from tests.engine.stage import Stage, running, stage
from tests.model.samples import CONTACT, channel_said, contact_said, link, user_said
from tests.store.databases import Database

ONE_USER = Topology((link("sms", "bird", "9003"),))


def pair(one: Any, two: Any, topology: Topology = ONE_USER) -> tuple[Stage, Stage]:
    """Two engines, and one world that both talk to."""
    first = stage(one, topology)
    return first, stage(two, topology, owner="two", platforms=first.platforms)


async def test_the_same_events_taken_by_both_at_once_make_each_message_once(shared: Database) -> None:
    async with shared.store() as one, shared.store() as two:
        first, second = pair(one, two)
        bird = first.platforms["bird"]
        events = [bird.event(f"k{number}", contact_said(f"c{number}")) for number in range(40)]
        taken = await asyncio.gather(
            *(there.receiver.take("bird", [one_event], "webhook") for one_event in events for there in (first, second))
        )
        assert Counter(outcome.state for (outcome,) in taken) == {"done": 40, "duplicate": 40}
        assert len(await shared.rows(message)) == 40
        assert len(await shared.rows(event)) == 40
        assert len(await shared.rows(conversation)) == 1
        numbers = sorted(seq for (seq,) in await shared.rows(message, "seq"))
        assert numbers == list(range(1, 41))
        await first.accepted("office", 40)
        texts = Counter(outgoing.reference for outgoing in first.platforms["office"].accepted)
        assert len(texts) == 40
        assert set(texts.values()) == {1}
        assert len(first.platforms["office"].openings) == 1
        await asyncio.gather(first.dispatcher.drain(), second.dispatcher.drain())


async def test_a_conversation_that_both_make_at_once_is_one(shared: Database) -> None:
    async with shared.store() as one, shared.store() as two:
        first, second = pair(one, two)
        for number in range(8):
            contact = f"+44770090010{number}"
            told = await asyncio.gather(
                first.tell("bird", contact_said(f"a{number}", contact=contact)),
                second.receiver.take(
                    "bird",
                    [first.platforms["bird"].event(f"x{number}", contact_said(f"b{number}", contact=contact))],
                    "poll",
                ),
            )
            assert told[0].state == told[1][0].state == "done"
        assert len(await shared.rows(conversation)) == 8
        assert len(await shared.rows(message)) == 16
        assert len(await shared.rows(session)) <= 8
        await first.accepted("office", 16)
        assert len(first.platforms["office"].openings) == 8
        await asyncio.gather(first.dispatcher.drain(), second.dispatcher.drain())


async def test_each_message_is_sent_once_and_in_order_whoever_sends_it(shared: Database) -> None:
    async with shared.store() as one, shared.store() as two:
        first, second = pair(one, two)
        bird = first.platforms["bird"]
        bird.delay = 0.002
        contacts = [f"+44770090020{number}" for number in range(5)]
        async with running(first), running(second):
            for number in range(12):
                there = (first, second)[number % 2]
                events = [
                    bird.event(
                        f"k{number}{contact}",
                        user_said(f"u{number}{contact}", f"{number:02}", contact=contact, sessionid=None),
                    )
                    for contact in contacts
                ]
                first.platforms["office"].facts.update(bird.facts)
                await there.receiver.take("office", events, "webhook")
            async with asyncio.timeout(20):
                while len(bird.accepted) < 60:
                    # What a lease of the other kept back comes when the lane is looked at again.
                    for process in (first, second):
                        for name, _ in await process.ledger.due(100, ""):
                            process.dispatcher.hand_on([], [name])
                    await asyncio.sleep(0.02)
        assert len(bird.accepted) == 60
        for contact in contacts:
            texts = [outgoing.text for outgoing in bird.accepted if outgoing.contact == contact]
            assert texts == [f"{number:02}" for number in range(12)]
        assert {state for (state,) in await shared.rows(delivery, "state")} == {"sent"}


async def test_a_dead_processs_lane_is_taken_over_when_its_lease_ends(shared: Database) -> None:
    async with shared.store() as one, shared.store() as two:
        first, second = pair(one, two)
        bird = first.platforms["bird"]

        async def never(outgoing: Outgoing) -> Sent:
            await asyncio.sleep(3600)
            return Sent(None)

        bird.answers = [never]
        await first.tell("office", user_said("u1", "in doubt", sessionid=None))
        while not bird.taken:
            await asyncio.sleep(0.005)
        await first.tell("office", user_said("u2", "behind it", sessionid=None))
        ((name,),) = await shared.rows(lane, "id")
        second.dispatcher.senders["bird"].add(name)
        await asyncio.sleep(0.1)
        assert len(bird.taken) == 1
        earlier = datetime.now(UTC) - timedelta(minutes=2)

        def die(conn: Any) -> None:
            conn.execute(lane.update().values(lease_until=earlier))
            conn.execute(delivery.update().values(tried_at=earlier))

        await shared.run(die)
        second.dispatcher.senders["bird"].add(name)
        async with asyncio.timeout(5):
            while bird.texts != ["behind it"]:
                await asyncio.sleep(0.01)
        assert ("unknown", 1) in await shared.rows(delivery, "state", "seq")
        for worker in first.dispatcher.senders["bird"]._workers:
            worker.cancel()
        await second.dispatcher.drain()


async def test_two_reports_of_one_message_taken_by_two_processes_make_one_message(
    shared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shared.store() as one, shared.store() as two:
        first, second = pair(one, two)
        await first.tell("bird", contact_said("c0"))
        await first.quiet()
        bird = first.platforms["bird"]
        reports = [
            bird.event("k-sent", channel_said("a1", status=CopyStatus.SENT)),
            bird.event("k-delivered", channel_said("a1", status=CopyStatus.DELIVERED)),
        ]
        load_copies = loading.load_copies
        others: list[Any] = []

        def meanwhile(conn: Any, *args: Any) -> None:
            load_copies(conn, *args)
            if not others:
                others.append(None)
                await_only(second.receiver.take("bird", [reports[1]], "webhook"))

        monkeypatch.setattr(loading, "load_copies", meanwhile)
        await first.receiver.take("bird", [reports[0]], "webhook")
        assert others
        await first.dispatcher.drain()
        await second.dispatcher.drain()
        assert len(await shared.rows(message)) == 2


async def test_an_answer_recorded_while_its_echo_is_translated_elsewhere_makes_no_message(
    shared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shared.store() as one, shared.store() as two:
        first, second = pair(one, two)
        bird = first.platforms["bird"]
        answer = asyncio.Event()

        async def slow(outgoing: Outgoing) -> Sent:
            await answer.wait()
            return Sent("a1")

        bird.answers = [slow]
        await first.tell("office", user_said("u1", "asked", sessionid=None))
        while not bird.taken:
            await asyncio.sleep(0.005)
        in_flight = lanes.in_flight

        async def recorded() -> None:
            answer.set()
            await first.quiet()

        def meanwhile(conn: Any, lane_ids: Any) -> dict[str, str]:
            await_only(recorded())
            return in_flight(conn, lane_ids)

        monkeypatch.setattr(lanes, "in_flight", meanwhile)
        await second.receiver.take("bird", [bird.event("k1", channel_said("a1", "asked"))], "webhook")
        assert answer.is_set()
        await second.dispatcher.drain()
        assert len(await shared.rows(message)) == 1
        assert ("bird", "a1", False) in await shared.rows(mapping, "account", "messageid", "origin")
        assert CONTACT in {contact for (contact,) in await shared.rows(mapping, "contact")}

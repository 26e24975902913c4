"""Operations on an engine: what a wish does to lanes that are in hand, and when a message is given up by itself."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from syncd.engine.operations import Operations
from syncd.model import retry
from syncd.model.clock import Ids, utc_now
from syncd.model.operation import Asked, Done, Kind, Wish
from syncd.model.sending import EndRefused, MaybeSent, NotSent, Outgoing, RateLimited, Rejected, Sent
from syncd.model.topology import Topology
from syncd.store import accounts, operations
from syncd.store.schema import account_state, delivery, event, lane, message, operation, pause
from syncd.store.writer import Store
from tests.engine.stage import Stage, running, stage
from tests.model.samples import CONTACT, link, user_said
from tests.store.databases import Database

SOLO = Topology((link("sms", "bird", "9003"),))
SILENT = Topology((link("sms", "bird", "9003", failure_notice=False),))


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first wait after a failure is short."""
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.02)


def operator(there: Stage, *, finds_sent: tuple[str, ...] = ()) -> Operations:
    """What carries wishes out, joined to an engine as a daemon joins it."""
    return Operations(
        there.store,
        there.topology,
        accounts=there.platforms,
        finds_sent=finds_sent,
        clock=utc_now,
        ids=Ids(utc_now),
        apply=there.dispatcher.apply,
    )


async def speak(there: Stage, *texts: str) -> None:
    """The user says something, to be sent on the channel."""
    for text in texts:
        await there.tell("office", user_said(f"u-{text}", text, contact=CONTACT))


async def by_text(database: Database) -> dict[str, Any]:
    """The deliveries to the channel, by what was said."""

    def read(conn: Connection) -> dict[str, Any]:
        statement = select(delivery, message.c.body).join(message, message.c.id == delivery.c.message)
        return {bytes(row.body).decode(): row for row in conn.execute(statement) if row.target == "channel"}

    return await database.run(read)


async def test_a_retry_throws_no_answer_away_that_is_under_way(database: Database, store: Store) -> None:
    """G3: a decision on a delivery that nobody works on leaves alone what its lane is in hand for."""
    there = stage(store, SILENT)
    answered = asyncio.Event()

    async def refuse(outgoing: Outgoing) -> Sent:
        await answered.wait()
        raise RateLimited("slow", retry_after=0.01)

    there.platforms["bird"].answers = [Rejected("no"), refuse]
    await speak(there, "first", "second")
    async with asyncio.timeout(5):
        while len(there.platforms["bird"].taken) < 2:
            await asyncio.sleep(0.005)
    first = (await by_text(database))["first"]
    (done,) = await operator(there).ask([Wish(Kind.RETRY, first.id)], "me")
    assert (done.ok, done.result) == (True, "to be sent")
    answered.set()
    await there.quiet()
    assert there.platforms["bird"].texts == ["first", "second"]
    states = {text: (row.state, row.attempts) for text, row in (await by_text(database)).items()}
    assert states == {"first": ("sent", 1), "second": ("sent", 1)}, "the 429 counted for nothing, and left no doubt"


async def test_a_decision_is_stronger_than_the_settling_that_is_under_way(database: Database, store: Store) -> None:
    """G3: whoever had the doubt in hand meets another token; a lane that went on is not set back."""
    there = stage(store, SILENT, finds_sent=("bird",))
    bird = there.platforms["bird"]
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slowly(outgoing: Outgoing, since: datetime) -> Sent | None:
        asked.set()
        await answer.wait()
        return None

    bird.find_sent = slowly  # type: ignore[method-assign]
    bird.answers = [MaybeSent("lost")]
    await speak(there, "in doubt", "behind it")
    await asyncio.wait_for(asked.wait(), 5)
    one = (await by_text(database))["in doubt"]
    (done,) = await operator(there, finds_sent=("bird",)).ask([Wish(Kind.SETTLE_DROP, one.id)], "me")
    assert done.ok
    answer.set()
    await there.accepted("bird", 1)
    await there.quiet()
    assert bird.texts == ["behind it"]
    assert {text: row.state for text, row in (await by_text(database)).items()} == {
        "in doubt": "skipped",
        "behind it": "sent",
    }


async def test_it_is_given_up_after_fifty_tries_and_two_days(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G3, G13: neither many tries nor a long time alone give a message up; then its author is told, once."""
    monkeypatch.setattr(retry, "LONGEST_WAIT", 0.002)
    ahead = timedelta()
    there = stage(store, SOLO, clock=lambda: datetime.now(UTC) + ahead)
    bird = there.platforms["bird"]
    bird.answers = [NotSent("refused")] * 60
    async with running(there):
        await speak(there, "hello")
        async with asyncio.timeout(20):
            while len(bird.taken) < 55:
                await asyncio.sleep(0.005)
        assert (await by_text(database))["hello"].state in ("ready", "sending"), "not for the number of tries alone"
        ahead = timedelta(hours=49)
        async with asyncio.timeout(5):
            while not there.platforms["office"].accepted:
                await asyncio.sleep(0.005)
        bird.answers = [NotSent("refused")] * 3
        await speak(there, "later")
        await database.run(_made_earlier, 49)
        await there.accepted("bird", 1)
    # A long time with few tries does not either.
    assert bird.texts == ["later"]
    row = (await by_text(database))["hello"]
    assert row.state == "dead"
    assert row.reason == f"given up after {row.attempts} tries in 49 hours: refused"
    assert 55 <= row.attempts <= 60
    assert there.platforms["office"].texts == [
        "[syncd] Not delivered: “hello” (the service could not be reached)",
    ]


def _made_earlier(conn: Connection, hours: int) -> None:
    earlier = datetime.now(UTC) - timedelta(hours=hours)
    conn.execute(update(delivery).where(delivery.c.open).values(created_at=earlier))


@pytest.mark.parametrize("error", [Rejected("no"), MaybeSent("lost")])
async def test_one_notice_a_message_whatever_becomes_of_it(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """G3: a second failure, of whatever kind, tells the user nothing new."""
    monkeypatch.setattr("syncd.engine.reconcile.SETTLE", timedelta())
    there = stage(store, SOLO)
    async with running(there):
        there.platforms["bird"].answers = [error]
        await speak(there, "hello")
        await there.accepted("office", 1)
        for again in (Rejected("no"), MaybeSent("lost")):
            row = (await by_text(database))["hello"]
            kind = Kind.RETRY if row.state == "dead" else Kind.SETTLE_RESEND
            there.platforms["bird"].answers = [again]
            (done,) = await operator(there).ask([Wish(kind, row.id)], "me")
            assert done.ok
            async with asyncio.timeout(5):
                while (await by_text(database))["hello"].open:
                    await asyncio.sleep(0.005)
    assert len(there.platforms["bird"].taken) == 3
    assert len(there.platforms["office"].accepted) == 1
    assert len([key for (key,) in await database.rows(event, "key") if key.startswith("notice:")]) == 1


async def test_what_is_left_for_a_daemon_is_done_by_one_of_them(shared: Database) -> None:
    """G3, G14: wishes left in the tables are taken by one process each, with the record of who asked and when."""
    async with shared.store() as one, shared.store() as two:
        first = stage(one, SOLO)
        second = stage(two, SOLO, owner="two", platforms=first.platforms)
        ids = Ids(utc_now)
        asked_at = utc_now()
        kinds = [Kind.PAUSE, Kind.RESUME] * 20
        asked = [Asked(ids(), Wish(kind, "bird"), "somebody", asked_at) for kind in kinds]
        await shared.run(operations.add, asked)
        await asyncio.gather(*(operator(there).take_waiting() for there in (first, second)))
        rows = await shared.rows(operation, "state", "asked_by", "asked_at", "result")
        assert {row[:3] for row in rows} == {("done", "somebody", asked_at)}
        assert sum(row[3] == "resumed" for row in rows) == sum("paused: nothing" in row[3] for row in rows)
        assert await shared.rows(pause) == []
        await asyncio.gather(first.dispatcher.drain(), second.dispatcher.drain())


async def test_a_pause_and_a_retry_in_one_breath_send_nothing(database: Database, store: Store) -> None:
    """G3: what a pause concerns stands still before anything is woken."""
    there = stage(store, SOLO)
    there.platforms["bird"].answers = [Rejected("no")]
    await speak(there, "hello")
    async with asyncio.timeout(5):
        while (await by_text(database))["hello"].state != "dead":
            await asyncio.sleep(0.005)
    there.platforms["bird"].taken.clear()
    row = (await by_text(database))["hello"]
    done: list[Done] = await operator(there).ask([Wish(Kind.RETRY, row.id), Wish(Kind.PAUSE, "bird")], "me")
    assert all(one.ok for one in done)
    for _ in range(20):
        await there.store.read(operations.paused)
    assert there.platforms["bird"].taken == []
    await operator(there).ask([Wish(Kind.RESUME, "bird")], "me")
    await there.accepted("bird", 1)
    await there.dispatcher.drain()


async def test_a_refused_end_is_tried_again_when_its_link_is_resumed(database: Database, store: Store) -> None:
    """G10: one link's refused session waits a minute; `resume` of the link ends that at once."""
    there = stage(store, SOLO)
    there.platforms["bird"].answers = [EndRefused("no such session")]
    await speak(there, "hello")
    async with asyncio.timeout(5):
        while not there.dispatcher._timers:
            await asyncio.sleep(0.005)
    (due,) = [due for target, due in await database.rows(lane, "target", "due_at") if target == "channel"]
    assert timedelta(seconds=50) < due - utc_now() < timedelta(seconds=61)
    (done,) = await operator(there).ask([Wish(Kind.RESUME, "sms")], "me")
    assert done.result == "it was not paused; whatever keeps it is tried again now"
    await there.accepted("bird", 1)
    await there.quiet()
    assert (await by_text(database))["hello"].attempts == 1, "a refused end costs no attempt"


async def test_replicas_may_write_an_accounts_state_at_once(shared: Database) -> None:
    """G14: the last word stands, and nobody fails over another's."""
    async with shared.store() as one, shared.store() as two:
        await asyncio.gather(
            *(
                store.write(accounts.set_state, "bird", state, "", utc_now())
                for _ in range(20)
                for store, state in ((one, "failing"), (two, "throttled"))
            )
        )
        ((account, state),) = await shared.rows(account_state, "account", "state")
        assert account == "bird" and state in ("failing", "throttled")

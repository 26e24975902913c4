"""Events: in once, whichever way and however often they come (G2)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection

from syncd.model.outcome import Outcome
from syncd.store import inbox
from syncd.store.inbox import Arrival, Stored
from syncd.store.schema import event
from tests.store.databases import Database, statements

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def arrival(name: str, key: str, at: datetime = NOW, account: str = "bird", window: timedelta | None = None) -> Arrival:
    return Arrival(name, account, key, "", "webhook", b"\x00\xff{}", at, window)


def kept(conn: Connection, arrivals: Sequence[Arrival]) -> set[str]:
    """The ids of those that are new."""
    return inbox.store(conn, arrivals)[0]


async def test_a_new_event_is_stored_as_it_came(database: Database) -> None:
    assert await database.run(kept, [arrival("e1", "k1")]) == {"e1"}
    rows = await database.rows(event, "id", "account", "key", "body", "received_at", "state", "copies")
    assert rows == [("e1", "bird", "k1", b"\x00\xff{}", NOW, "done", 1)]


async def test_a_copy_is_counted_and_not_stored(database: Database) -> None:
    await database.run(kept, [arrival("e1", "k1")])
    later = NOW + timedelta(weeks=5)
    assert await database.run(kept, [arrival("e2", "k1", later), arrival("e3", "k2", later)]) == {"e3"}
    rows = await database.rows(event, "id", "copies", "last_copy_at")
    assert rows == [("e1", 2, later), ("e3", 1, None)]


async def test_a_poll_that_finds_an_event_again_is_not_noted(database: Database) -> None:
    await database.run(kept, [arrival("e1", "k1")])
    polled = replace(arrival("e2", "k1", NOW + MINUTE), via="poll")
    assert await database.run(kept, [polled, replace(polled, id="e3", key="k2")]) == {"e3"}
    assert await database.rows(event, "id", "copies", "last_copy_at") == [("e1", 1, None), ("e3", 1, None)]


async def test_a_webhook_after_the_poll_is_late_once(database: Database) -> None:
    polled = [replace(arrival(f"p{number}", f"k{number}"), via="poll") for number in range(3)]
    assert await database.run(inbox.store, polled) == ({"p0", "p1", "p2"}, [])
    batch = [arrival("e1", "k1", NOW + MINUTE), arrival("e2", "k2", NOW - MINUTE), arrival("e3", "k3")]
    new, late = await database.run(inbox.store, batch)
    # By a clock that went back it is not late by less than nothing.
    assert (new, sorted(late)) == ({"e3"}, [("bird", 0.0), ("bird", 60.0)])
    again = [arrival("e4", "k1", NOW + 2 * MINUTE), arrival("e5", "k3", NOW + 2 * MINUTE)]
    assert await database.run(inbox.store, again) == (set(), [])


async def test_copies_within_a_batch_are_one(database: Database) -> None:
    batch = [arrival("e1", "k1"), arrival("e2", "k2"), arrival("e3", "k1"), arrival("e4", "k1")]
    assert await database.run(kept, batch) == {"e1", "e2"}
    assert await database.rows(event, "key", "copies") == [("k1", 3), ("k2", 1)]


async def test_the_same_key_on_another_account_is_another_event(database: Database) -> None:
    batch = [arrival("e1", "k1"), arrival("e2", "k1", account="islash")]
    assert await database.run(kept, batch) == {"e1", "e2"}


async def test_nothing_is_nothing(database: Database) -> None:
    assert await database.run(kept, []) == set()


async def test_a_batch_is_stored_in_few_statements(database: Database) -> None:
    batch = [arrival(f"e{number}", f"k{number}") for number in range(300)]
    with statements() as sent:
        await database.run(kept, batch)
    assert len(sent) <= 16


@pytest.mark.parametrize("offset", [0, 1, 29, 30, 31, 59])
async def test_a_windowed_event_counts_once_within_its_window_wherever_that_lies(
    database: Database, offset: int
) -> None:
    start = NOW.replace(second=0) + timedelta(seconds=offset)

    async def again(name: str, after: float) -> bool:
        one = arrival(name, "hash:1", start + timedelta(seconds=after), window=MINUTE)
        return await database.run(kept, [one]) == {name}

    assert await again("first", 0)
    assert not await again("soon", 1)
    assert not await again("later", 59)
    assert await again("another", 61)
    assert not await again("its copy", 100)


async def test_windowed_copies_within_a_batch_are_one(database: Database) -> None:
    batch = [arrival("e1", "hash:1", window=MINUTE), arrival("e2", "hash:1", NOW + timedelta(seconds=1), window=MINUTE)]
    assert await database.run(kept, batch) == {"e1"}


async def test_windowed_copies_within_a_batch_on_the_edge_of_a_window_are_one(database: Database) -> None:
    edge = NOW.replace(second=0)
    batch = [
        arrival("e1", "hash:1", edge - timedelta(milliseconds=1), window=MINUTE),
        arrival("e2", "hash:1", edge + timedelta(milliseconds=1), window=MINUTE),
    ]
    assert await database.run(kept, batch) == {"e1"}


async def test_outcomes_are_noted(database: Database) -> None:
    await database.run(kept, [arrival("e1", "k1"), arrival("e2", "k2")])
    outcomes = {"e1": Outcome("waiting", "may be an echo", "c1"), "e2": Outcome("ignored", "typing")}
    await database.run(inbox.note, outcomes)
    assert await database.rows(event, "id", "state", "reason", "conversation_id") == [
        ("e1", "waiting", "may be an echo", "c1"),
        ("e2", "ignored", "typing", None),
    ]


async def test_waiting_events_are_found_in_the_order_of_arrival(database: Database) -> None:
    names = ["e1", "e2", "e3", "e4"]
    await database.run(kept, [arrival(name, f"k-{name}") for name in reversed(names)])
    await database.run(
        inbox.note,
        {name: Outcome("waiting" if name != "e2" else "done", "", "c1" if name != "e4" else "c2") for name in names},
    )
    found = await database.run(inbox.waiting, {"c1"})
    assert found == [Stored(n, "bird", f"k-{n}", "", b"\x00\xff{}", NOW, "c1", "webhook") for n in ("e1", "e3")]
    assert await database.run(inbox.waiting_conversations) == {"c1", "c2"}
    await database.run(inbox.note, {"e4": Outcome("done", "", "c2")})
    assert await database.run(inbox.waiting_conversations) == {"c1"}


async def test_the_first_that_waits_fails_alone(database: Database) -> None:
    await database.run(kept, [arrival(name, f"k-{name}") for name in ("e1", "e2", "e3", "e4")])
    waits = {name: Outcome("waiting", "", "c1") for name in ("e2", "e3")}
    outcomes = {"e1": Outcome("done", "", "c1"), **waits, "e4": Outcome("waiting", "", "c2")}
    await database.run(inbox.note, outcomes)
    await database.run(inbox.fail_first_waiting, "c1", "a defect")
    rows = await database.rows(event, "id", "state", "reason")
    assert rows == [("e1", "done", ""), ("e2", "failed", "a defect"), ("e3", "waiting", ""), ("e4", "waiting", "")]
    for _ in range(2):
        await database.run(inbox.fail_first_waiting, "c1", "a defect")
    assert [state for _, state in await database.rows(event, "id", "state")] == ["done", "failed", "failed", "waiting"]


async def test_two_processes_storing_the_same_events_at_once_store_each_once(shared: Database) -> None:
    batch = [arrival(f"e{number}", f"k{number}") for number in range(50)]
    again = [arrival(f"f{number}", f"k{number}") for number in reversed(range(50))]
    async with shared.store() as one, shared.store() as other:
        mine, theirs = await asyncio.gather(one.write(kept, batch), other.write(kept, again))
        assert len(mine) + len(theirs) == 50
        # Known to both now: only their counts go up, in opposite orders.
        await asyncio.gather(
            *(store.write(kept, part) for _ in range(5) for store, part in ((one, batch), (other, again)))
        )
    rows = await shared.rows(event, "key", "copies")
    assert len(rows) == 50
    assert {copies for _, copies in rows} == {12}

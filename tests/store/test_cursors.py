"""Poll cursors, and the figures of the operators."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from syncd.store import cursors, reports
from syncd.store.schema import cursor
from tests.store.databases import Database
from tests.store.samples import claim, duty, put

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def take(database: Database, owner: str, lease: timedelta = MINUTE) -> tuple[bool, str | None]:
    return await database.run(cursors.take, "bird", "end", owner, lease)


async def move(database: Database, value: str, owner: str) -> bool:
    return await database.run(cursors.move, "bird", "end", value, owner, NOW)


async def test_one_owner_polls_and_moves_the_cursor(database: Database) -> None:
    assert await take(database, "one") == (True, None)
    assert await take(database, "two") == (False, None)
    assert await move(database, "c1", "one")
    assert not await move(database, "c9", "two")
    assert await take(database, "one") == (True, "c1")
    assert await database.rows(cursor, "value", "updated_at", "owner") == [("c1", NOW, "one")]


async def test_an_owner_whose_lease_ended_is_replaced_and_moves_nothing_more(database: Database) -> None:
    await take(database, "one", timedelta(seconds=-1))
    assert await take(database, "two") == (True, None)
    assert not await move(database, "c1", "one")
    assert await move(database, "c2", "two")


async def test_who_leaves_lets_others_poll_at_once(database: Database) -> None:
    await take(database, "one")
    await database.run(cursors.leave, "two")
    assert not (await take(database, "two"))[0]
    await database.run(cursors.leave, "one")
    assert (await take(database, "two"))[0]


async def test_ends_are_polled_each_for_itself(database: Database) -> None:
    await take(database, "one")
    assert (await database.run(cursors.take, "bird", "another end", "two", MINUTE))[0]
    assert (await database.run(cursors.take, "another account", "end", "two", MINUTE))[0]


async def test_of_many_processes_one_polls(shared: Database) -> None:
    async with shared.store() as one, shared.store() as other:
        got = await asyncio.gather(
            *(
                store.write(cursors.take, "bird", "end", owner, MINUTE)
                for store, owner in ((one, "one"), (other, "two"))
            )
        )
    assert sorted(ours for ours, _ in got) == [False, True]


async def test_figures_of_what_is_to_be_delivered(database: Database) -> None:
    await database.run(reports.ping)
    assert await database.run(reports.counts) == {"backlog": 0, "unknown": 0, "dead": 0}
    assert await database.run(reports.oldest) is None
    await database.run(put, duty(1), duty(2), duty(1, "c2"))
    await database.run(claim, "one", "c1/channel")
    assert await database.run(reports.counts) == {"backlog": 3, "unknown": 0, "dead": 0}
    assert await database.run(reports.oldest) == duty(1).created_at
    found = await database.run(reports.waiting_lanes, 10)
    assert {(row["id"], row["deliveries"]) for row in found} == {("c1/channel", 2), ("c2/channel", 1)}
    assert len(await database.run(reports.waiting_lanes, 1)) == 1


async def test_figures_of_events_cursors_and_links(database: Database) -> None:
    assert await database.run(reports.last_events, ["bird"]) == {}
    assert await database.run(reports.events_waiting) == 0
    assert await database.run(reports.messages_by_link) == {}
    await take(database, "one")
    await move(database, "c1", "one")
    assert await database.run(reports.cursors) == {("bird", "end"): NOW}
    await database.run(put, duty(1))
    assert await database.run(reports.messages_by_link) == {"sms": (1, 0)}

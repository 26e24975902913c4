"""Lanes: claimed by one, head first, and what a stale owner may still say."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.util import await_only

from syncd.model.picture import Picture
from syncd.model.records import Pending
from syncd.model.sending import Author
from syncd.model.work import LaneName
from syncd.store import duties, lanes
from syncd.store.dialect import fetch
from syncd.store.lanes import Held, NotHeld
from syncd.store.locks import hold
from syncd.store.schema import delivery, lane
from tests.model.samples import pending
from tests.store.databases import Database, statements
from tests.store.samples import LEASE, claim, completion, duty, put

LANE = "c1/channel"
NO_TIME = timedelta(0)


async def held(database: Database, owner: str = "one", lane_id: str = LANE, **lease: timedelta) -> Held:
    def take(conn: Connection) -> Any:
        return claim(conn, owner, lane_id, **lease)[lane_id]

    found = await database.run(take)
    assert isinstance(found, Held), found
    return found


async def not_held(database: Database, owner: str = "two", lane_id: str = LANE) -> NotHeld:
    found = (await database.run(claim, owner, lane_id))[lane_id]
    assert isinstance(found, NotHeld)
    return found


async def finish(database: Database, one: Held, state: str = "sent", owner: str = "one", **more: Any) -> Any:
    def complete(conn: Connection) -> Any:
        hold(conn, [one.head.lane_id])
        return lanes.complete(conn, [completion(one, state, **more)], owner, datetime.now(UTC))

    return (await database.run(complete))[one.head.delivery_id]


def told_of(one: Held) -> Pending:
    """The platform speaks of a lane's head."""
    there = Picture(lambda: "c1", datetime.now(UTC))
    return replace(pending(there, "channel"), id=one.head.delivery_id, lane_id=one.head.lane_id)


def still_waits(wait: float | None) -> bool:
    """What is left of forty seconds; the clock is the database's, so it may only have run on."""
    return wait is not None and 35.0 < wait <= 40.0


async def states(database: Database) -> list[str]:
    return [state for _, state in await database.rows(delivery, "id", "state")]


async def test_a_claim_takes_the_head_and_keeps_others_away(database: Database) -> None:
    await database.run(put, duty(2), duty(1), duty(3))
    one = await held(database)
    assert (one.head.delivery_id, one.head.state, one.head.attempts) == (duty(1).delivery_id, "ready", 0)
    assert await states(database) == ["sending", "ready", "ready"]
    other = await not_held(database)
    assert other.wait is not None
    # The rest of the lease, by the same clock.
    assert LEASE.total_seconds() - 5 < other.wait <= LEASE.total_seconds()


async def test_a_lane_goes_on_with_the_next_when_its_head_is_settled(database: Database) -> None:
    await database.run(put, *(duty(number) for number in range(1, 4)))
    for number in range(1, 4):
        one = await held(database)
        assert one.head.delivery_id == duty(number).delivery_id
        after = await finish(database, one, ["sent", "dead", "sent"][number - 1])
        assert (after.more, after.wait) == (number < 3, None)
    assert await states(database) == ["sent", "dead", "sent"]
    assert await database.rows(lane, "busy", "owner", "lease_until") == [(False, None, None)]
    assert (await not_held(database)).why == "nothing to deliver"


async def test_the_same_owner_claims_its_lane_again_under_the_same_token(database: Database) -> None:
    await database.run(put, duty(1), duty(2))
    first = await held(database)
    await finish(database, first)
    assert (await held(database)).token == first.token


async def test_a_lane_that_waits_is_not_claimed_before_its_time(database: Database) -> None:
    await database.run(put, duty(1))
    after = await finish(database, await held(database), "ready", wait=40.0, why="refused")
    assert (after.more, after.wait, after.took) == (True, 40.0, True)
    for owner in ("one", "two"):
        found = await not_held(database, owner)
        assert still_waits(found.wait)
        assert found.why == "refused"
    await database.run(lanes.hurry, [LANE])
    again = await held(database, "two")
    assert (again.head.attempts, again.head.state) == (1, "ready")


async def test_a_lane_whose_time_has_come_is_claimed(database: Database) -> None:
    await database.run(put, duty(1))
    await finish(database, await held(database), "ready", wait=0.0)
    await held(database, "two")


async def test_a_lease_that_ended_is_taken_over_under_a_new_token(database: Database) -> None:
    await database.run(put, duty(1))
    first = await held(database, "one", lease=NO_TIME)
    second = await held(database, "two")
    assert second.token > first.token
    assert (second.head.state, second.head.attempts) == ("sending", 1)
    assert second.head.tried_at is not None


async def test_who_lost_the_lease_and_takes_it_back_has_a_new_token(database: Database) -> None:
    await database.run(put, duty(1))
    first = await held(database, "one", lease=NO_TIME)
    assert (await held(database, "one")).token > first.token


@pytest.mark.parametrize("state", ["ready", "dead", "unknown"])
async def test_a_stale_completion_changes_nothing(database: Database, state: str) -> None:
    await database.run(put, duty(1), duty(2))
    first = await held(database, "one", lease=NO_TIME)
    second = await held(database, "two")
    after = await finish(database, first, state, "one", wait=3600.0, why="late")
    assert (after.wait, after.took) == (None, False)
    assert await states(database) == ["sending", "ready"]
    assert await database.rows(lane, "owner", "token", "due_at") == [("two", second.token, None)]


async def test_a_stale_completion_that_tells_of_a_send_is_the_truth(database: Database) -> None:
    await database.run(put, duty(1), duty(2))
    first = await held(database, "one", lease=NO_TIME)
    second = await held(database, "two")
    assert (await finish(database, first, "sent", "one")).took
    assert await states(database) == ["sent", "ready"]
    assert await database.rows(lane, "owner", "token") == [("two", second.token)]
    assert not (await finish(database, second, "dead", "two")).took
    assert await states(database) == ["sent", "ready"]
    assert (await held(database, "two")).head.delivery_id == duty(2).delivery_id


async def test_a_release_gives_back_what_is_ours_only(database: Database) -> None:
    await database.run(put, duty(1))
    await held(database)
    await database.run(lanes.release, [LANE], "two")
    await not_held(database)
    await database.run(lanes.release, [LANE], "one")
    await held(database, "two")


async def test_release_all_and_disown_all(database: Database) -> None:
    await database.run(put, duty(1), duty(1, "c2"))
    await held(database, "one")
    await held(database, "two", "c2/channel")
    await database.run(lanes.release_all, "one")
    assert await database.rows(lane, "id", "owner") == [("c1/channel", None), ("c2/channel", "two")]
    await database.run(lanes.disown_all)
    assert await database.rows(lane, "id", "owner") == [("c1/channel", None), ("c2/channel", None)]


async def test_postponing_is_for_the_owner(database: Database) -> None:
    await database.run(put, duty(1))
    await held(database)
    await database.run(lanes.postpone, LANE, 40.0, "another time", "two")
    assert await database.rows(lane, "owner", "due_at") == [("one", None)]
    await database.run(lanes.postpone, LANE, 40.0, "another time", "one")
    assert await database.rows(lane, "owner", "why") == [(None, "another time")]
    assert still_waits((await not_held(database)).wait)


async def test_a_new_delivery_makes_an_idle_lane_busy_again_and_keeps_its_token(database: Database) -> None:
    await database.run(put, duty(1))
    one = await held(database)
    await finish(database, one)
    assert await database.rows(lane, "busy") == [(False,)]
    await database.run(put, duty(2))
    assert await database.rows(lane, "busy", "token") == [(True, one.token)]
    assert (await held(database)).token > one.token


async def test_a_new_delivery_does_not_cut_a_wait_short(database: Database) -> None:
    await database.run(put, duty(1))
    await finish(database, await held(database), "ready", wait=40.0)
    before = await database.rows(lane, "due_at")
    await database.run(put, duty(2))
    assert await database.rows(lane, "due_at") == before
    assert still_waits((await not_held(database)).wait)


async def test_lanes_do_not_touch_each_other(database: Database) -> None:
    await database.run(put, *(duty(1, f"c{number}") for number in range(5)))
    await held(database, "one", "c2/channel")
    found = await database.run(claim, "two", *(f"c{number}/channel" for number in range(5)))
    assert sorted(name for name, one in found.items() if isinstance(one, Held)) == [
        "c0/channel",
        "c1/channel",
        "c3/channel",
        "c4/channel",
    ]


async def test_an_unknown_lane_is_not_held(database: Database) -> None:
    assert await database.run(claim, "one", "no such lane") == {}


async def test_a_lane_of_ten_thousand_costs_as_few_statements_as_a_lane_of_two(database: Database) -> None:
    counts = []
    for name, length in (("short", 2), ("long", 10_000)):
        await database.run(put, *(duty(number, name) for number in range(length)))
        with statements() as sent:
            one = await held(database, "one", f"{name}/channel")
            await finish(database, one)
        counts.append(len(sent))
    assert counts[0] == counts[1] <= 12


async def test_a_hundred_lanes_are_claimed_in_as_few_statements_as_one(database: Database) -> None:
    await database.run(put, *(duty(1, f"c{number:03}") for number in range(101)))
    with statements() as single:
        await database.run(claim, "one", "c100/channel")
    with statements() as many:
        found = await database.run(claim, "one", *(f"c{number:03}/channel" for number in range(100)))
    assert sum(isinstance(one, Held) for one in found.values()) == 100
    assert len(many) <= len(single) + 12


async def test_the_head_is_found_by_its_index(database: Database) -> None:
    await database.run(put, *(duty(number) for number in range(2000)))

    def plan(conn: Connection) -> str:
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("ANALYZE delivery")
        explain = "EXPLAIN " if conn.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
        statement = (
            explain + "SELECT e.id FROM delivery AS e WHERE e.lane_id = 'c1/channel' AND e.open "
            "ORDER BY e.seq, e.part, e.id LIMIT 1"
        )
        return "\n".join(str(tuple(row)) for row in conn.exec_driver_sql(statement))

    assert "ix_delivery_head" in await database.run(plan)


async def test_in_flight_are_the_lanes_whose_head_is_not_settled(database: Database) -> None:
    await database.run(put, *(duty(1, f"c{number}") for number in range(4)))
    await held(database, "one", "c1/channel")
    await finish(database, await held(database, "one", "c2/channel"), "unknown", wait=0.0)
    await finish(database, await held(database, "one", "c3/channel"), "sent")
    names = [f"c{number}/channel" for number in range(4)]
    assert await database.run(lanes.in_flight, names) == {"c1/channel": "sending", "c2/channel": "unknown"}
    assert await database.run(lanes.in_flight, []) == {}


async def test_settled_by_news_a_delivery_is_not_sent_again(database: Database) -> None:
    await database.run(put, duty(1), duty(2))
    one = await held(database)
    await database.run(lanes.settle, [told_of(one)], datetime.now(UTC))
    after = await finish(database, one, "unknown", wait=30.0)
    assert (after.more, after.wait, after.took) == (True, None, False)
    assert await states(database) == ["sent", "ready"]
    assert (await held(database)).head.delivery_id == duty(2).delivery_id


async def test_a_lane_does_not_go_on_waiting_for_a_doubt_that_is_settled(database: Database) -> None:
    await database.run(put, duty(1), duty(2))
    one = await held(database)
    await finish(database, one, "unknown", wait=30.0)
    await not_held(database)
    await database.run(lanes.settle, [told_of(one)], datetime.now(UTC))
    assert (await held(database)).head.delivery_id == duty(2).delivery_id


async def test_duties_come_back_whole(database: Database) -> None:
    wanted = [duty(1), duty(2, target="desk:9004")]
    await database.run(put, *wanted)
    found = await database.run(duties.load, [one.delivery_id for one in wanted])
    assert found == {one.delivery_id: one for one in wanted}
    assert found[wanted[0].delivery_id].author is Author.USER


async def test_due_lists_what_nobody_holds_page_by_page(database: Database) -> None:
    await database.run(put, *(duty(1, f"c{number}") for number in range(6)))
    await held(database, "one", "c0/channel")
    await held(database, "one", "c1/channel", lease=NO_TIME)
    await finish(database, await held(database, "one", "c2/channel"))
    await finish(database, await held(database, "one", "c3/channel"), "ready", wait=40.0)

    def pages(conn: Connection) -> list[Any]:
        first = lanes.due(conn, 2)
        return [first, lanes.due(conn, 2, after=first[-1][0].lane_id)]

    first, second = await database.run(pages)
    ended, waits = first
    assert ended == (LaneName("c1/channel", "sms", "channel"), None)
    assert waits[0] == LaneName("c3/channel", "sms", "channel")
    assert still_waits(waits[1])
    assert second == [(LaneName(f"c{number}/channel", "sms", "channel"), None) for number in (4, 5)]


async def test_two_processes_never_hold_one_lane(shared: Database) -> None:
    names = [f"c{number:02}/channel" for number in range(40)]
    await shared.run(put, *(duty(1, name.partition("/")[0]) for name in names))
    async with shared.store() as one, shared.store() as other:
        got = await asyncio.gather(
            *(
                store.write(claim, owner, *(names if owner == "one" else reversed(names)))
                for store, owner in ((one, "one"), (other, "two"))
            )
        )
    mine, theirs = ({name for name, found in part.items() if isinstance(found, Held)} for part in got)
    assert mine.isdisjoint(theirs)
    assert mine | theirs == set(names)


async def test_a_delivery_added_while_its_lane_goes_idle_is_not_forgotten(
    shared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shared.run(put, duty(1))
    one = await held(shared)
    adding: list[asyncio.Task[None]] = []

    def meanwhile(*args: Any, **more: Any) -> Any:
        found = fetch(*args, **more)
        adding.append(asyncio.get_running_loop().create_task(shared.run(put, duty(2))))
        # As far as it gets: it waits for the lane, if the lane is kept for this transaction.
        await_only(asyncio.wait(adding, timeout=0.3))
        return found

    monkeypatch.setattr("syncd.store.lanes.fetch", meanwhile)
    after = await finish(shared, one)
    monkeypatch.undo()
    await adding[0]
    assert await states(shared) == ["sent", "ready"]
    assert not after.more
    assert await shared.rows(lane, "busy") == [(True,)]
    assert await shared.run(lanes.due, 10) == [(LaneName(LANE, "sms", "channel"), None)]


async def test_a_delivery_added_while_its_lane_is_found_empty_is_not_forgotten(
    shared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shared.run(put, duty(1))
    await finish(shared, await held(shared))
    adding: list[asyncio.Task[None]] = []
    heads = lanes._heads

    def meanwhile(conn: Connection, lane_ids: Any) -> Any:
        found = heads(conn, lane_ids)
        adding.append(asyncio.get_running_loop().create_task(shared.run(put, duty(2))))
        await_only(asyncio.wait(adding, timeout=0.3))
        return found

    monkeypatch.setattr(lanes, "_heads", meanwhile)
    await not_held(shared)
    monkeypatch.undo()
    await adding[0]
    assert await shared.rows(lane, "busy") == [(True,)]

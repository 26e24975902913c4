"""No two transactions wait for each other: whatever a transaction locks, it locks first and in one order."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import Connection, select, text
from sqlalchemy.util import await_only

from syncd.engine.ledger import Ledger
from syncd.store import lanes
from syncd.store.locks import lanes_of
from syncd.store.schema import lane
from syncd.store.writer import Store
from tests.store.databases import Database
from tests.store.samples import duty, put

FIRST, SECOND = "c1/channel", "c2/channel"


def lock(conn: Connection, lane_id: str) -> None:
    conn.execute(select(lane.c.id).where(lane.c.id == lane_id).with_for_update())


def waiting(conn: Connection) -> int:
    return int(conn.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())


async def until_it_waits(shared: Database) -> None:
    async with asyncio.timeout(10):
        while not await shared.run(waiting):
            await asyncio.sleep(0.01)


async def test_functions_that_share_a_transaction_lock_their_lanes_together(shared: Database) -> None:
    await shared.run(put, duty(1, "c1"), duty(1, "c2"))
    work: list[asyncio.Future[object]] = []

    async def begin(store: Store) -> None:
        # The first to run wants the second lane: locked each in its turn, the two orders would cross.
        work.append(asyncio.ensure_future(store.write(lanes.hurry, [SECOND])))
        work.append(asyncio.ensure_future(store.write(lanes.renew, [FIRST], "one", timedelta(seconds=20))))
        await until_it_waits(shared)

    def in_order(conn: Connection, store: Store) -> str:
        lock(conn, FIRST)
        await_only(begin(store))
        conn.execute(text("SET LOCAL lock_timeout = '500ms'"))
        lock(conn, SECOND)
        return "got both"

    async with shared.store() as store:
        assert await shared.run(in_order, store) == "got both"
        await asyncio.gather(*work)
        assert store.commits == 1


async def test_lanes_are_locked_by_the_order_of_bytes_whatever_the_databases_own_is(shared: Database) -> None:
    names = ["a-b", "aB", "aa", "a:b", "ab"]
    await shared.run(put, *(duty(1, name) for name in names))

    def order(conn: Connection) -> list[str]:
        return list(lanes.claim(conn, [f"{name}/channel" for name in names], "one", timedelta(seconds=20))[0])

    assert await shared.run(order) == sorted(f"{name}/channel" for name in names)


def test_claims_and_answers_name_the_lanes_that_they_lock() -> None:
    class Answer:
        class duty:
            lane_id = SECOND

    assert set(lanes_of(Ledger._claim_many, FIRST)) == {FIRST}
    assert set(lanes_of(Ledger._finish_many, Answer)) == {SECOND}

"""No two transactions wait for each other: whatever a transaction locks, it locks first and in one order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, select, text, update
from sqlalchemy.util import await_only

from syncd.engine.ledger import Ledger
from syncd.engine.receive import Receiver
from syncd.model.picture import Picture
from syncd.store import inbox, lanes, loading, saving
from syncd.store.lanes import Completion
from syncd.store.locks import lanes_of, locks, locks_by_itself
from syncd.store.schema import delivery, lane
from syncd.store.units import MOST_UNITS, Side, Unit, call, next_together
from syncd.store.writer import Store
from tests.store.databases import Database
from tests.store.samples import duty, put

FIRST, SECOND = "c1/channel", "c2/channel"
Step = Callable[[Connection], None]


def lock(conn: Connection, lane_id: str) -> None:
    conn.execute(select(lane.c.id).where(lane.c.id == lane_id).with_for_update())


def waiting(conn: Connection) -> int:
    return int(conn.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())


async def until_it_waits(shared: Database) -> None:
    async with asyncio.timeout(10):
        while not await shared.run(waiting):
            await asyncio.sleep(0.01)


async def beside(shared: Database, begin: Callable[[Store], Sequence[Awaitable[object]]], then: Step) -> int:
    """Lock the first lane, begin work that comes to wait for it, and do something else; in how many commits it ended.

    Raises where the work has locked what is done `then`: the two would wait for each other.
    """
    work: list[asyncio.Future[object]] = []

    async def wait_for_it(store: Store) -> None:
        work.extend(asyncio.ensure_future(one) for one in begin(store))
        await until_it_waits(shared)

    def in_order(conn: Connection, store: Store) -> None:
        lock(conn, FIRST)
        await_only(wait_for_it(store))
        conn.execute(text("SET LOCAL lock_timeout = '500ms'"))
        then(conn)

    async with shared.store() as store:
        await shared.run(in_order, store)
        await asyncio.gather(*work)
        return store.commits


def lock_second(conn: Connection) -> None:
    lock(conn, SECOND)


async def test_functions_that_share_a_transaction_lock_their_lanes_together(shared: Database) -> None:
    await shared.run(put, duty(1, "c1"), duty(1, "c2"))

    def begin(store: Store) -> Sequence[Awaitable[object]]:
        # The first to run wants the second lane: locked each in its turn, the two orders would cross.
        return (
            store.write(lanes.hurry, [SECOND]),
            store.write(lanes.renew, [FIRST], "one", timedelta(seconds=20)),
        )

    assert await beside(shared, begin, lock_second) == 1


async def test_an_event_that_settles_one_lane_and_puts_into_another_locks_them_together(shared: Database) -> None:
    await shared.run(put, duty(1, "c1"), duty(1, "c2"))

    def save(conn: Connection) -> None:
        picture = Picture(lambda: "new", datetime.now(UTC))
        picture.duties.append(duty(2, "c2"))
        picture.settled += loading.pending(conn, [duty(1, "c1").delivery_id])
        saving.save(conn, picture)

    await beside(shared, lambda store: [store.write(save)], lock_second)
    assert (await shared.rows(delivery, "id", "state"))[:1] == [(duty(1, "c1").delivery_id, "sent")]


async def test_an_answer_is_recorded_under_its_lanes_lock_and_takes_none_before(shared: Database) -> None:
    await shared.run(put, duty(1, "c1"))
    one = duty(1, "c1").delivery_id

    @locks(lambda done: (done.lane_id,))
    def finish(conn: Connection, batch: Sequence[Completion]) -> list[bool]:
        return [after.took for after in lanes.complete(conn, batch, "one", datetime.now(UTC)).values()]

    def settle(conn: Connection) -> None:
        conn.execute(update(delivery).where(delivery.c.id == one).values(state="skipped", open=False))

    done = Completion(FIRST, one, 0, "sent", False, None, "", 1)
    took: list[asyncio.Future[bool]] = []

    def begin(store: Store) -> Sequence[Awaitable[object]]:
        took.append(store.submit(finish, done))
        return took

    await beside(shared, begin, settle)
    assert not took[0].result(), "it saw what was so before it had the lane"
    assert not locks_by_itself(Ledger._finish_many)


def test_what_locks_by_and_by_shares_no_transaction() -> None:
    def unit(function: Callable[..., Any]) -> Unit:
        return Unit(function, None, cast("asyncio.Future[object]", None), None, Side.IN)

    claim, finish = unit(Ledger._claim_many), unit(Ledger._finish_many)
    take, again = unit(Receiver._take_many), unit(Receiver._look_again)
    assert next_together([claim, take, finish]) == ([claim, finish], [take])
    assert next_together([take, again, claim, take]) == ([take, take], [again, claim])
    written = Unit(call, (inbox.give_up_parked, ()), take.future, None, Side.OUT)
    assert next_together([claim, written, finish]) == ([claim, finish], [written])
    assert len(next_together([claim] * (MOST_UNITS + 1))[0]) == MOST_UNITS


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

"""What the store makes of a database that fails: who is told what, and who is to blame."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, text

from syncd.store.writer import Store, StoreUnavailable
from tests.store.databases import Database
from tests.store.test_writer import Refused, count, outcome, put, stored, until_it_works
from tests.support.waiting import until


def broken(conn: Connection) -> None:
    """The database goes away in the middle of the transaction: really, by its own doing."""
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql("PRAGMA query_only=ON")
        put(conn, ["never"])
    else:
        conn.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def put_or_break(conn: Connection, names: Sequence[str]) -> list[str]:
    """Store a row a name; with `away` the database breaks."""
    done = []
    for name in names:
        if name == "away":
            broken(conn)
        done += put(conn, [name])
    return done


async def test_what_was_committed_before_an_outage_is_told_so(database: Database, store: Store) -> None:
    """G1, G3: units that are done one by one, as one of them is bad, when the database goes away."""
    names = ["n1", "bad", "n2", "away", "n3"]
    answers = await asyncio.gather(*(store.submit(put_or_break, name) for name in names), return_exceptions=True)
    assert [answers[0], answers[2]] == ["stored n1", "stored n2"]
    assert isinstance(answers[1], Refused)
    assert [type(answers[3]), type(answers[4])] == [StoreUnavailable] * 2
    assert await stored(database) == ["n1", "n2"]
    assert await until_it_works(store, "n4") == "stored n4"


async def test_an_outage_is_known_until_a_write_works_again(store: Store) -> None:
    """G1: while nothing can be written nothing is read either; the end is noticed without anybody's writing."""
    assert await outcome(store.submit(put_or_break, "away")) != "stored away"
    assert store.outage.reason
    with pytest.raises(StoreUnavailable):
        await store.read(count)
    await until(lambda: not store.outage.reason, "the end is noticed", seconds=5)
    assert await store.read(count) == 0


async def test_what_fails_late_of_an_outage_that_is_over_begins_no_other(store: Store) -> None:
    """G14: of two connections one may notice ten seconds after the other that nothing answered."""
    began = asyncio.get_running_loop().time()
    assert await outcome(store.submit(put_or_break, "away")) != "stored away"
    await until(lambda: not store.outage.reason, "the end is noticed", seconds=5)
    store.outage.failed(ConnectionResetError(), began)
    assert not store.outage.reason
    store.outage.failed(ConnectionResetError(), asyncio.get_running_loop().time())
    assert store.outage.reason


def missing(conn: Connection, names: Sequence[str]) -> list[str]:
    conn.execute(text("SELECT * FROM no_such_table"))
    return list(names)


async def test_what_the_database_refuses_is_nobodys_fault_and_holds_back_nobody(
    database: Database, store: Store
) -> None:
    """G1, G10: a table that is missing makes a unit wait; the others of its transaction are committed."""
    units = [store.submit(put, "n1"), store.submit(missing, "n2"), store.submit(put, "n3")]
    answers = await asyncio.gather(*units, return_exceptions=True)
    assert [answers[0], answers[2]] == ["stored n1", "stored n3"]
    assert isinstance(answers[1], StoreUnavailable)
    assert "no_such_table" in str(answers[1])
    assert await stored(database) == ["n1", "n3"]
    assert store.outage.reason == ""


def raising(conn: Connection, states: Sequence[str]) -> list[str]:
    """The server refuses with this SQLSTATE."""
    for state in states:
        conn.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'as if' USING ERRCODE = '{state}'; END $$"))
    return list(states)


OUTAGES = ["08006", "25006", "53100", "53200", "53300", "55P03", "57014", "57P03", "58030", "58P01", "XX001", "XX002"]
NOBODYS = ["0A000", "28000", "42501", "42703", "42P01", "XX000"]
OWN = ["21000", "22001", "22021", "23502", "23514", "54000"]


@pytest.mark.parametrize("state", [*OUTAGES, *NOBODYS, *OWN])
async def test_who_is_to_blame(shared: Database, state: str) -> None:
    """G1, G10: only what an event's own values bring about may be held against it."""
    async with shared.store() as store:
        answer = await outcome(store.submit(raising, state))
        assert isinstance(answer, StoreUnavailable) == (state not in OWN), repr(answer)
        assert bool(store.outage.reason) == (state in OUTAGES)


async def test_who_stops_reading_leaves_no_half_read_connection(shared: Database) -> None:
    async with shared.store() as store:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await store.read(lambda conn: conn.execute(text("SELECT pg_sleep(0.5)")).all())
        assert await store.read(count) == 0
        assert store.outage.reason == ""

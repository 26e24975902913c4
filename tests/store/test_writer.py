"""The group-commit writer: one commit for all that waits, answers after it, and outages that pass."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, select, text
from sqlalchemy.exc import IntegrityError

from syncd.store import on_sqlite
from syncd.store.database import Location, writing_engine
from syncd.store.schema import conversation
from syncd.store.writer import Store, StoreUnavailable
from tests.store.databases import Database, in_order, on_server, statements

NOW = datetime(2026, 3, 14, tzinfo=UTC)


class Refused(Exception):
    """What a handler raises for a bad unit."""


def put(conn: Connection, names: Sequence[str]) -> list[str]:
    """Store a row a name; `bad` fails in the program, a name that is there already in the database."""
    for name in names:
        if name.startswith("bad"):
            raise Refused(name)
        row = {"id": name, "link": "sms", "contact": name, "next_seq": 1, "created_at": NOW}
        conn.execute(insert(conversation), row)
    return [f"stored {name}" for name in names]


def count(conn: Connection) -> int:
    return len(conn.execute(select(conversation.c.id)).all())


async def stored(database: Database) -> list[str]:
    return in_order(await database.rows(conversation, "id"))


@contextmanager
def impatient() -> Iterator[None]:
    """SQLite's writer waits a tenth of a second for a lock, not five seconds."""
    from unittest.mock import patch

    from sqlalchemy import event

    def engine(location: Location, *, create: bool) -> Engine:
        made = writing_engine(location, create=create)

        @event.listens_for(made, "connect")
        def connected(connection: Any, record: Any) -> None:
            connection.execute("PRAGMA busy_timeout=100")

        return made

    with patch.object(on_sqlite, "writing_engine", engine):
        yield


@pytest.fixture
async def hurried(local: Database) -> AsyncIterator[Store]:
    """A store on SQLite that does not wait long for locks."""
    with impatient():
        async with local.store() as one:
            yield one


async def test_units_that_wait_share_a_commit_and_get_their_own_results_in_order(
    database: Database, store: Store
) -> None:
    await store.write(count)
    commits = store.commits
    futures = [store.submit(put, f"n{number:03}") for number in range(500)]
    assert await asyncio.gather(*futures) == [f"stored n{number:03}" for number in range(500)]
    await store.write(count)
    # The writer may have begun with the first few that it found.
    assert store.commits - commits <= 4
    assert store.units == 502
    assert len(await stored(database)) == 500


async def test_what_is_answered_is_committed(database: Database, store: Store) -> None:
    for number in range(5):
        await store.submit(put, f"n{number}")
        assert len(await stored(database)) == number + 1


async def test_units_of_several_handlers_are_answered_each_with_its_own(store: Store) -> None:
    def twice(conn: Connection, items: Sequence[int]) -> list[int]:
        return [2 * item for item in items]

    futures: list[asyncio.Future[Any]] = []
    for number in range(20):
        futures += [store.submit(put, f"n{number}"), store.submit(twice, number)]
    answers = await asyncio.gather(*futures)
    assert answers == [answer for number in range(20) for answer in (f"stored n{number}", 2 * number)]


@pytest.mark.parametrize("bad", ["bad", "n1"])
async def test_a_bad_unit_fails_alone(database: Database, store: Store, bad: str) -> None:
    names = ["n1", "n2", bad, "n3", "n4"]
    answers = await asyncio.gather(*(store.submit(put, name) for name in names), return_exceptions=True)
    assert isinstance(answers[2], Refused if bad == "bad" else IntegrityError)
    assert [answer for answer in answers if isinstance(answer, str)] == [f"stored n{number}" for number in range(1, 5)]
    assert await stored(database) == ["n1", "n2", "n3", "n4"]


async def test_a_bad_units_own_writes_are_taken_back(database: Database, store: Store) -> None:
    def half(conn: Connection) -> None:
        put(conn, ["half"])
        raise Refused

    with pytest.raises(Refused):
        await store.write(half)
    assert await stored(database) == []


async def test_a_handler_with_too_few_results_is_an_error_and_commits_nothing(database: Database, store: Store) -> None:
    def forgetful(conn: Connection, items: Sequence[str]) -> list[str]:
        put(conn, items)
        return []

    with pytest.raises(ValueError):
        await store.submit(forgetful, "n1")
    assert await stored(database) == []


async def test_who_stops_waiting_does_not_stop_the_unit(database: Database, store: Store) -> None:
    store.submit(put, "n1").cancel()
    await store.submit(put, "n2")
    assert await stored(database) == ["n1", "n2"]


async def test_stop_commits_what_was_submitted(database: Database) -> None:
    store = Store(database.location)
    await store.start()
    futures = [store.submit(put, f"n{number}") for number in range(200)]
    await store.stop()
    assert len(await stored(database)) == 200
    assert [await future for future in futures] == [f"stored n{number}" for number in range(200)]


async def test_a_unit_after_stop_is_answered(database: Database) -> None:
    store = Store(database.location)
    await store.start()
    await store.stop()
    async with asyncio.timeout(0.3):
        with pytest.raises(StoreUnavailable):
            await store.submit(put, "late")


async def test_readers_read_what_is_committed_and_cannot_write(database: Database, store: Store) -> None:
    await store.submit(put, "n1")
    assert await store.read(count) == 1
    with pytest.raises(Exception, match=r"(?i)read-?only"):
        await store.read(put, ["n2"])
    assert await stored(database) == ["n1"]
    assert await store.submit(put, "n3") == "stored n3"


async def test_readers_do_not_wait_for_the_writer(database: Database, store: Store) -> None:
    def read_inside(conn: Connection) -> None:
        put(conn, ["n1"])
        future = asyncio.run_coroutine_threadsafe(store.read(count), loop)
        assert future.result(5) == 0

    loop = asyncio.get_running_loop()
    if database.kind == "postgresql":
        pytest.skip("its writer runs on the loop")
    await store.write(read_inside)
    assert await store.read(count) == 1


async def test_the_observer_is_told_of_every_commit(store: Store) -> None:
    told: list[int] = []

    class Watching:
        def committed(self, units: int, seconds: float) -> None:
            assert seconds >= 0
            told.append(units)

    store.observer = Watching()
    await asyncio.gather(*(store.submit(put, f"n{number}") for number in range(50)))
    await store.write(count)
    await asyncio.sleep(0)
    assert sum(told) == 51
    assert len(told) == store.commits


async def test_sqlite_is_durable_and_its_writer_takes_the_lock_first(local: Database) -> None:
    def pragmas(conn: Connection) -> list[Any]:
        return [
            conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "query_only")
        ]

    with statements() as sent:
        async with local.store() as store:
            assert await store.write(pragmas) == ["wal", 2, 0]
            assert (await store.read(pragmas))[2] == 1
    assert "BEGIN IMMEDIATE" in sent


async def test_sqlite_locked_for_long_is_an_outage_and_then_works_again(local: Database, hurried: Store) -> None:
    other = sqlite3.connect(local.location.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    answers = await asyncio.gather(*(hurried.submit(put, f"n{n}") for n in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    other.execute("ROLLBACK")
    other.close()
    assert await stored(local) == []
    assert await hurried.submit(put, "after") == "stored after"
    assert await stored(local) == ["after"]


async def test_a_short_lock_is_waited_for(local: Database) -> None:
    async with local.store() as store:
        await store.write(count)
        other = sqlite3.connect(local.location.path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        future = store.submit(put, "n1")
        await asyncio.sleep(0.3)
        assert not future.done()
        other.execute("ROLLBACK")
        other.close()
        assert await future == "stored n1"


def _terminate(conn: Connection) -> int:
    return len(
        conn.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).all()
    )


async def test_an_idle_connection_that_dies_is_an_outage_at_most_and_then_works_again(shared: Database) -> None:
    async with shared.store() as store:
        await store.submit(put, "n1")
        assert await shared.run(_terminate) >= 1
        await asyncio.sleep(0.05)
        answers = await asyncio.gather(*(store.submit(put, f"m{n}") for n in range(3)), return_exceptions=True)
        assert {type(answer) for answer in answers} <= {StoreUnavailable, str}
        assert await until_it_works(store, "after") == "stored after"
        assert await store.read(count) >= 2, "and nobody has noticed"
    there = await stored(shared)
    assert all((f"m{n}" in there) == isinstance(answers[n], str) for n in range(3))


async def test_a_connection_that_dies_in_the_transaction_is_replaced(shared: Database) -> None:
    """G1, G2: what had been done in it is taken back, and done once on the next one."""
    slow = asyncio.Event()

    def held(conn: Connection, names: Sequence[str]) -> list[str]:
        done = put(conn, names)
        if not slow.is_set():
            slow.set()
            conn.execute(text("SELECT pg_sleep(5)"))
        return done

    async with shared.store() as store:
        futures = [store.submit(held, f"n{number}") for number in range(3)]
        await slow.wait()
        await asyncio.sleep(0.1)
        await shared.run(_terminate)
        assert await asyncio.gather(*futures) == [f"stored n{number}" for number in range(3)]
        assert store.outage.reason == ""
    assert await stored(shared) == ["n0", "n1", "n2"]


async def test_a_reader_whose_connection_dies_reads_on_the_next_one(shared: Database) -> None:
    slow = asyncio.Event()

    def held(conn: Connection) -> int:
        if not slow.is_set():
            slow.set()
            conn.execute(text("SELECT pg_sleep(5)"))
        return count(conn)

    async with shared.store() as store:
        future = asyncio.ensure_future(store.read(held))
        await slow.wait()
        await asyncio.sleep(0.1)
        await shared.run(_terminate)
        assert await future == 0


async def test_a_database_that_takes_no_connections_is_an_outage(shared: Database) -> None:
    """As it is while PostgreSQL starts, stops, or has too many clients."""
    name = shared.location.url.rpartition("/")[2]
    async with shared.store() as store:
        await store.submit(put, "n1")
        await on_server(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            await on_server(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
            await asyncio.sleep(0.05)
            writes = [await outcome(store.submit(put, f"m{n}")) for n in range(3)]
            reads = [await outcome(store.read(count)) for _ in range(3)]
        finally:
            await on_server(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert {type(answer) for answer in writes} == {StoreUnavailable}
        assert {type(answer) for answer in reads} == {StoreUnavailable}
        assert await until_it_works(store, "after") == "stored after"


async def test_a_server_that_is_not_there_is_an_outage() -> None:
    store = Store(Location.of("postgresql://postgres@127.0.0.1:1/nowhere"))
    await store.start()
    answers = [await outcome(store.submit(put, "n1")), await outcome(store.read(count))]
    await store.stop()
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2


async def test_two_transactions_that_wait_for_each_other_do_not_surface(shared: Database) -> None:
    for name in ("a", "b"):
        await shared.run(put, [name])
    there = [asyncio.Event(), asyncio.Event()]

    async def wait_for_both() -> None:
        async with asyncio.timeout(1):
            await asyncio.gather(*(one.wait() for one in there))

    def crosswise(conn: Connection, first: str, second: str, number: int) -> str:
        from sqlalchemy.util import await_only

        for name in (first, second):
            conn.execute(conversation.update().where(conversation.c.id == name).values(next_seq=number))
            there[number].set()
            await_only(wait_for_both())
        return first

    async with shared.store() as one, shared.store() as other:
        done = await asyncio.gather(one.write(crosswise, "a", "b", 0), other.write(crosswise, "b", "a", 1))
    assert list(done) == ["a", "b"]


async def outcome(unit: Any) -> Any:
    try:
        return await unit
    except Exception as error:
        return error


async def until_it_works(store: Store, name: str) -> str:
    for _ in range(10):
        try:
            return await store.submit(put, name)
        except StoreUnavailable:
            await asyncio.sleep(0.02)
    raise AssertionError("it does not work again")

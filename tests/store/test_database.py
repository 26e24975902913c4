"""Where the database is, how it is opened, and who may write."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import OperationalError

from syncd.store.database import DatabaseError, Location, lock_file, reading_engine, writing_engine
from syncd.store.schema import cursor, event
from syncd.store.writer import Store, StoreUnavailable
from tests.store.databases import Database, in_order
from tests.support.waiting import until

LOCK = """
import sys
from syncd.store.database import Location, lock_file
held = lock_file(Location.of(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_location_shows_no_password() -> None:
    location = Location.of("postgresql://syncd:hunter2@db.example/syncd")
    assert location.kind == "postgresql"
    assert "hunter2" not in f"{location} {location!r}"
    assert Location.of("sqlite:///a/b.db").path == Path("a/b.db")


def test_a_second_process_may_not_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new folder' / 'syncd.db'}"
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(DatabaseError, match=r"another syncd writes to .*stop it first"):
            lock_file(Location.of(url))
        other.kill()
        other.wait()
        # The lock dies with its process, however that died.
        lock_file(Location.of(url))()


def test_the_lock_is_given_back(tmp_path: Path) -> None:
    location = Location.of(f"sqlite:///{tmp_path / 'syncd.db'}")
    unlock = lock_file(location)
    with pytest.raises(DatabaseError):
        lock_file(location)
    unlock()
    lock_file(location)()


async def test_a_store_gives_its_lock_back_when_it_stops(local: Database) -> None:
    store = Store(local.location)
    store.lock()
    await store.start()
    with pytest.raises(DatabaseError):
        Store(local.location).lock()
    await store.stop()
    lock_file(local.location)()


async def test_postgresql_may_be_shared(shared: Database) -> None:
    one, other = Store(shared.location), Store(shared.location)
    one.lock()
    other.lock()
    assert one.shared
    await asyncio.gather(one.start(), other.start())
    await asyncio.gather(one.stop(), other.stop())


def test_a_reader_of_sqlite_cannot_write(migrated_sqlite: Path) -> None:
    engine = reading_engine(Location.of(f"sqlite:///{migrated_sqlite}"))
    try:
        with engine.begin() as conn, pytest.raises(Exception, match=r"readonly"):
            conn.execute(event.delete())
    finally:
        engine.dispose()


def put(conn: Connection, key: str) -> None:
    row = {"account": key, "end": "", "value": "", "updated_at": datetime(2026, 3, 14, tzinfo=UTC)}
    conn.execute(cursor.insert().values(**row, owner=None, lease_until=None))


async def keys(database: Database) -> list[object]:
    return in_order(await database.rows(cursor, "account"))


async def test_a_file_that_is_gone_is_not_made_anew(local: Database) -> None:
    """G1: neither by the writer nor by a reader."""
    async with local.store() as store:
        await store.write(put, "one")
        away = local.location.path.rename(local.location.path.with_name("away.db"))
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"was removed while syncd had it open"):
                await store.write(put, "two")
        assert not local.location.path.exists()
        away.rename(local.location.path)
        await until(lambda: not store.outage.reason, "it is found again")
        await store.write(put, "three")
    assert await keys(local) == ["one", "three"]


@pytest.mark.parametrize("what", ["database", "log", "cut"])
async def test_files_that_go_while_it_commits(local: Database, what: str) -> None:
    """G1: what is committed into a file that nobody finds again is not acknowledged."""
    path = local.location.path

    def take_away(conn: Connection) -> None:
        put(conn, "two")
        if what == "cut":
            os.truncate(log_of(path), 0)
        else:
            gone = path if what == "database" else log_of(path)
            gone.rename(gone.with_name("gone"))

    async with local.store() as store:
        await store.write(put, "one")
        with pytest.raises(StoreUnavailable, match=r"while syncd had it open"):
            await store.write(take_away)


def test_a_missing_file_is_made_only_where_that_is_wanted(tmp_path: Path) -> None:
    location = Location.of(f"sqlite:///{tmp_path / 'new.db'}")
    for engine in (writing_engine(location, create=False), reading_engine(location)):
        with pytest.raises(OperationalError, match=r"unable to open"):
            engine.connect()
        engine.dispose()
    assert list(tmp_path.iterdir()) == []


async def test_another_program_may_empty_the_log(local: Database) -> None:
    """A program that makes backups while syncd runs does so, by SQLite's own means."""
    async with local.store() as store:
        for number in range(5):
            await store.write(put, f"{number}")
            with closing(sqlite3.connect(local.location.path)) as other:
                assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
            assert log_of(local.location.path).stat().st_size == 0
    assert await keys(local) == [f"{number}" for number in range(5)]


@pytest.mark.parametrize("left", [0, 5000])
async def test_a_log_that_is_cut_off_is_noticed_before_anything_is_lost_in_it(local: Database, left: int) -> None:
    """G1: SQLite itself would go on writing behind the hole, where nobody finds it again."""
    async with local.store() as store:
        await store.write(put, "one")
        await store.write(put, "two")
        os.truncate(log_of(local.location.path), left)
        with pytest.raises(StoreUnavailable, match=r"was cut off|disk I/O error"):
            await store.write(put, "three")
        await until(lambda: not store.outage.reason, "what is left is well")
        await store.write(put, "four")
    there = await keys(local)
    assert "four" in there
    assert "three" not in there


async def test_a_link_to_the_database(migrated_sqlite: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    path = Path(shutil.copy(migrated_sqlite, tmp_path / "there" / "syncd.db"))
    link = tmp_path / "here" / "link.db"
    link.symlink_to(path)
    store = Store(Location.of(f"sqlite:///{link}"))
    await store.start()
    await store.write(put, "one")
    assert log_of(path).stat().st_size > 0
    await store.stop()


async def test_a_corrupt_database_is_looked_at_before_it_is_used_again(local: Database) -> None:
    """G1, G7: nothing is taken into it, though its other tables are well; mended in place it works again."""
    path = local.location.path
    async with local.store() as store:
        await store.write(put, "one")
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            page = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'event'").fetchone()[0]
        good = path.read_bytes()
        with path.open("r+b") as file:
            file.seek(4096 * (page - 1))
            file.write(b"\xa5" * 4096)
        with pytest.raises(StoreUnavailable, match=r"malformed"):
            await store.read(lambda conn: conn.execute(select(event)).all())
        for _ in range(20):
            with pytest.raises(StoreUnavailable, match=r"malformed"):
                await store.write(put, "two")
            await asyncio.sleep(0.1)
        assert store.outage.reason
        path.write_bytes(good)
        await until(lambda: not store.outage.reason, "looked at again", seconds=10)
        await store.write(put, "three")
    assert await keys(local) == ["one", "three"]


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")

"""Where the database is, how it is opened, and who may write."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.store.database import DatabaseError, Location, lock_file, reading_engine
from syncd.store.schema import event
from syncd.store.writer import Store
from tests.store.databases import Database

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

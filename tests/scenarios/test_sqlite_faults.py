"""A SQLite database that fails under a running daemon, with people who go on writing."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from syncd.store import migrations
from tests.support.databases import sqlite_database
from tests.support.figures import Note
from tests.support.outages import StormyWorld, locked_by_another, stormy
from tests.support.waiting import until


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[StormyWorld]:
    """A world on a SQLite file."""
    (tmp_path / "data").mkdir()
    async with stormy(tmp_path, sqlite_database(tmp_path / "data")) as made:
        yield made


def file_of(world: StormyWorld) -> Path:
    return Path(world.database.url.removeprefix("sqlite:///"))


def beside(path: Path) -> list[Path]:
    """The database and its companions."""
    return [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]


async def test_locked_by_another_process_for_three_seconds(world: StormyWorld, figures: Note) -> None:
    """G1, G7, G14: a short lock is waited for; nobody is refused."""
    await world.start()
    await world.talk()
    async with locked_by_another(file_of(world)):
        refused = len(world.answers)
        await asyncio.sleep(3)
    found = await world.finish("locked for 3 s")
    figures(found)
    assert found.refused == 0
    assert max(answer.seconds for answer in world.answers[refused:]) > 2, "they waited for it"
    assert world.outages() == []


async def test_locked_by_another_process_for_longer_than_a_webhook_is_tried(world: StormyWorld, figures: Note) -> None:
    """G1, G7, G14: 503 with `Retry-After` after ten seconds; then it recovers by itself."""
    await world.start()
    await world.talk()
    async with locked_by_another(file_of(world), "BEGIN EXCLUSIVE"):
        before = len(world.said)
        await world.is_away()
        await until(lambda: any(answer.status == 503 for answer in world.answers), "refused", seconds=8)
        polled = sum(message.origin.target == "polled" for message in world.said[before:])
        assert len(world.said) - before - polled <= 6, "what was being answered when the lock came"
    await world.is_back()
    found = await world.finish("locked for 11 s")
    figures(found)
    assert found.refused > 0
    assert world.outages() == ["away", "back"]
    assert world.told() == "database is locked: another program has it locked: end that"


async def test_full_disk(world: StormyWorld, figures: Note) -> None:
    """G1, G7, G14: files that cannot grow; when they can again, everything goes on."""
    await world.start()
    await world.talk()
    log = beside(file_of(world))[1]
    await until(lambda: log.stat().st_size > 1_000_000, "a log longer than the daemon's own log lines")
    _, most = resource.prlimit(world.bridge.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(world.bridge.pid, resource.RLIMIT_FSIZE, (log.stat().st_size + 10_000, most))
    await world.is_away()
    resource.prlimit(world.bridge.pid, resource.RLIMIT_FSIZE, (most, most))
    await world.is_back()
    figures(await world.finish("full disk"))
    assert world.outages() == ["away", "back"]
    assert "disk" in world.told()


async def test_corrupt_while_running(world: StormyWorld, figures: Note) -> None:
    """G1, G7, G14: nothing is taken into a broken file; no message is blamed; a backup makes it work again."""
    await world.start()
    await world.talk()
    await world.hush()
    await world.everything()
    await world.check()
    path = file_of(world)
    backup = path.with_name("backup.db")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as live, closing(sqlite3.connect(backup)) as copy:
        live.backup(copy)
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        for page in range(1, pages):
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
    os.truncate(beside(path)[1], 0)
    accepted = world.accepted()
    await world.talk_in_vain()
    await until(lambda: any(answer.status == 503 for answer in world.answers), "refused", seconds=12)
    assert world.accepted() == accepted
    (line,) = world.bridge.events("database.away")
    assert any(words in line["reason"] for words in ("malformed", "disk I/O error", "was cut off")), line
    # What an administrator does then.
    assert await world.bridge.stop() == 0
    for each in beside(path):
        each.unlink(missing_ok=True)
    backup.rename(path)
    await world.database.age(120)
    await world.bridge.start()
    figures(await world.finish("corrupt, then a backup", was_down=True))


@pytest.mark.parametrize("what", ["database", "log"])
async def test_files_taken_away(world: StormyWorld, figures: Note, what: str) -> None:
    """G1, G7, G14: nothing is acknowledged into a file that is gone; put back, everything goes on."""
    await world.start()
    await world.talk()
    path = file_of(world)
    taken = path if what == "database" else beside(path)[1]
    away = taken.rename(path.parent.parent / taken.name)
    if what == "log":
        # What was in it is in the hands of the daemon, which makes another.
        await until(lambda: world.outages() == ["away", "back"], "noticed and mended")
    else:
        await world.is_away()
        before = [answer.status for answer in world.answers]
        await asyncio.sleep(1)
        assert [answer.status for answer in world.answers] == before, "nobody is answered meanwhile"
        assert not path.exists(), "no new database in its place"
        away.rename(taken)
        await world.is_back()
    figures(await world.finish(f"files taken away: {what}"))
    assert world.outages() == ["away", "back"]
    assert "was removed while syncd had it open" in world.told()


async def test_another_database_put_in_its_place(world: StormyWorld, tmp_path: Path) -> None:
    """G1: nothing is acknowledged into either; after a restart the new one is used."""
    await world.start()
    await world.talk()
    await world.hush()
    await world.everything()
    await world.check()
    path = file_of(world)
    backup = tmp_path / "backup.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as live, closing(sqlite3.connect(backup)) as copy:
        live.backup(copy)
    identical = backup.read_bytes()
    for each in beside(path):
        each.unlink()
    shutil.copy(backup, path)
    await world.talk_in_vain()
    assert "was replaced while syncd had it open" in world.told()
    assert path.read_bytes() == identical
    await world.bridge.stop()
    await world.database.age(120)
    await world.bridge.start()
    await world.finish("another database in its place", was_down=True)


async def test_locked_at_start_is_waited_for(world: StormyWorld) -> None:
    """G7: a backup that holds the file when the daemon starts delays it, and no more."""
    await world.start()
    await world.bridge.stop()
    async with locked_by_another(file_of(world)):
        await world.bridge.spawn()
        await until(lambda: world.outages() == ["away"], "it is told")
    assert await world.bridge.ready_or_ended()
    assert world.outages() == ["away", "back"]
    await world.contact_says("hello")
    await world.check()


async def test_refusals_to_start(world: StormyWorld) -> None:
    """G7: one clear line and 69 for a file that is corrupt, read-only, too new, too old, or somebody else's."""
    await world.start()
    world.tolerated.add("daemon.failed")
    path = file_of(world)
    second = type(world.bridge)(path.parent)
    second.config = world.bridge.config
    second.log.touch()
    await second.refuses("another syncd writes to", "stop it first")
    await world.bridge.stop()
    good = path.read_bytes()

    path.write_bytes(b"This is no database at all. " * 500)
    await world.bridge.refuses("file is not a database", "restore a backup")
    path.write_bytes(good[:4096] + b"\xa5" * (len(good) - 4096))
    await world.bridge.refuses("malformed", "restore a backup")

    path.write_bytes(good)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffff'")
    await world.bridge.refuses("ffff", "newer syncd")

    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")
    config = world.bridge.config.read_text()
    world.bridge.config.write_text(config.replace("[database]\n", "[database]\nmigrate = false\n"))
    await world.bridge.refuses("schema none", migrations.newest(), "syncd migrate")
    world.bridge.config.write_text(config)

    path.write_bytes(good)
    path.chmod(0o444)
    if os.geteuid() == 0:
        world.bridge.prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    await world.bridge.refuses(f"{path}: Permission denied", "give syncd the right to it")
    path.with_name(path.name + ".lock").chmod(0o444)
    await world.bridge.refuses(f"{path}.lock: Permission denied", "give syncd the right to it")

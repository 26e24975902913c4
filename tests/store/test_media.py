"""Files and their bytes in the store: once by hash, whole or not there, and under one claim at a time (G2, G7, G9)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.model.clock import Ids
from syncd.model.files import Attachment, FileKind
from syncd.store import blobs, media
from syncd.store.blobs import PART_BYTES, Blob
from syncd.store.media import Job
from syncd.store.schema import blob, blob_part
from syncd.store.schema import media as media_table
from syncd.store.writer import Store
from tests.store.databases import Database

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
LEASE = timedelta(seconds=120)
FAR = NOW + timedelta(days=3650)
IMAGE = Attachment(FileKind.IMAGE, "https://files.example.com/a?sig=1", "image/jpeg", "photo.jpg", 123, "a" * 64)
IDS = Ids()


def key() -> str:
    return blobs.key_of(IDS())


async def told(database: Database, message: str = "m1", *files: Attachment) -> list[str]:
    """Store a message's files; the ids of those that are wanted."""
    return await database.run(media.add, message, "bird", files or (IMAGE,), NOW, IDS)


async def claimed(store: Store, media_id: str) -> Job:
    job = await store.write(media.claim, media_id, key(), LEASE)
    assert job is not None
    return job


async def kept(store: Store, job: Job, data: bytes, *, at: datetime = NOW) -> str:
    """Store the bytes of a claimed file as the keeper does; their hash."""
    parts = [data[place : place + PART_BYTES] for place in range(0, len(data), PART_BYTES)]
    for number, part in enumerate(parts):
        assert await store.write(media.put_part, job, number, part)
    made = Blob(sha256(data).hexdigest(), len(data), "image/jpeg", len(parts))
    assert await store.write(media.keep, job, made, "photo.jpg", at, FAR)
    return made.hash


async def bytes_of(store: Store, hash_: str) -> bytes | None:
    found = await store.read(blobs.find, hash_)
    if found is None:
        return None
    parts = [await store.read(blobs.part, hash_, number) for number in range(found.parts)]
    return b"".join(part or b"" for part in parts)


async def test_files_are_told_of_in_their_order(database: Database, store: Store) -> None:
    nowhere = Attachment(FileKind.VOICE, None)
    odd = Attachment(FileKind.FILE, "https://x/\x00", "a\x00/b", "../\x00\u202e\ud800é.pdf", 2**40, "not a hash")
    (first, third) = await told(database, "m1", IMAGE, nowhere, odd)
    assert await told(database, "m2", nowhere) == []
    found = await store.read(media.of_messages, ["m1", "m2", "m3"])
    assert set(found) == {"m1", "m2"}
    image, voice, file = found["m1"]
    assert (image.kind, image.name, image.size, image.state) == (FileKind.IMAGE, "photo.jpg", 123, "wanted")
    assert (voice.kind, voice.name, voice.state, voice.reason) == (FileKind.VOICE, "", "missing", "not provided")
    assert (file.name, file.size, file.content_type, file.hash) == ("é.pdf", None, "a\ufffd/b", None)
    assert [one.place for one in found["m1"]] == [0, 1, 2]
    assert await store.read(media.accounts_of, [first, third, "none"]) == [(first, "bird"), (third, "bird")]
    assert await store.read(media.due, ["bird", "islash"], 10) == [(first, "bird"), (third, "bird")]
    assert await store.read(media.due, ["islash"], 10) == []


async def test_tokens_cannot_be_guessed(database: Database) -> None:
    """G12: 192 bits of chance each."""
    await told(database, "m1", *[IMAGE] * 50)
    tokens = [row[0] for row in await database.rows(media_table, "token")]
    assert len(set(tokens)) == 50
    assert {len(token) for token in tokens} == {32}
    for place in range(32):
        assert len({token[place] for token in tokens}) > 10, "a part of it is the same in all"


async def test_bytes_come_back_and_nothing_but_them_is_kept(database: Database, store: Store) -> None:
    (one,) = await told(database)
    data = b"x" * PART_BYTES + b"y" * PART_BYTES + b"z"
    hash_ = await kept(store, await claimed(store, one), data)
    assert await bytes_of(store, hash_) == data
    assert await database.rows(blob, "hash", "size", "parts") == [(hash_, len(data), 3)]
    assert await database.rows(blob_part, "hash", "number") == [(hash_, 0), (hash_, 1), (hash_, 2)]
    ((url, due_at, state),) = await database.rows(media_table, "url", "due_at", "state")
    assert (url, due_at, state) == (None, None, "kept")
    (file,) = (await store.read(media.of_messages, ["m1"]))["m1"]
    assert (file.hash, file.size, file.content_type) == (hash_, len(data), "image/jpeg")
    assert await store.write(media.claim, one, key(), LEASE) is None


async def test_equal_bytes_are_stored_once(database: Database, store: Store) -> None:
    """G2: two messages carry the same file."""
    (one,) = await told(database, "m1")
    (two,) = await told(database, "m2")
    jobs = [await claimed(store, one), await claimed(store, two)]
    hashes = await asyncio.gather(*(kept(store, job, b"same" * 100_000) for job in jobs))
    assert hashes[0] == hashes[1]
    assert await database.rows(blob, "parts") == [(2,)]
    assert await database.rows(blob_part, "hash", "number") == [(hashes[0], 0), (hashes[0], 1)]


async def test_a_renamed_part_is_not_written_anew(local: Database) -> None:
    """SQLite: the last transaction of a large file writes little, or it would hold up all others."""
    async with local.store() as store:
        (one,) = await told(local)
        job = await claimed(store, one)
        for number in range(40):
            await store.write(media.put_part, job, number, bytes([number]) * PART_BYTES)
        log = local.location.path.with_name("syncd.db-wal")
        before = log.stat().st_size
        await store.write(media.keep, job, Blob("f" * 64, 40 * PART_BYTES, "a/b", 40), "a", NOW, FAR)
        assert log.stat().st_size - before < PART_BYTES * 4


async def test_one_process_fetches_a_file(database: Database, store: Store) -> None:
    (one,) = await told(database)
    async with database.store() as other:
        found = await asyncio.gather(
            *(where.write(media.claim, one, key(), LEASE) for where in (store, other, store, other))
        )
    assert len([job for job in found if job is not None]) == 1
    assert await store.read(media.due, ["bird"], 10) == []


async def test_whoever_lost_its_claim_writes_nothing(database: Database, store: Store) -> None:
    """G7: a process that was stopped for longer than its lease neither mixes its bytes in nor leaves any."""
    (one,) = await told(database)
    old = await store.write(media.claim, one, key(), timedelta(0))
    assert old is not None
    assert await store.write(media.put_part, old, 0, b"old")
    new = await claimed(store, one)
    assert new.attempts == 2
    assert await database.rows(blob_part) == []
    assert not await store.write(media.put_part, old, 1, b"old")
    assert not await store.write(media.keep, old, Blob("f" * 64, 3, "a/b", 1), "a", NOW, FAR)
    assert not await store.write(media.miss, old, "gone")
    await store.write(media.postpone, old, 0.0)
    await store.submit(media.release, (old.id, old.key))
    hash_ = await kept(store, new, b"new")
    assert await bytes_of(store, hash_) == b"new"
    assert await database.rows(blob_part, "data") == [(b"new",)]


async def test_what_is_settled_may_be_settled_again(database: Database, store: Store) -> None:
    """A commit whose answer was lost is asked for again."""
    one, two = await told(database, "m1", IMAGE, IMAGE)
    job = await claimed(store, one)
    await kept(store, job, b"bytes")
    made = Blob(sha256(b"bytes").hexdigest(), 5, "image/jpeg", 1)
    assert await store.write(media.keep, job, made, "photo.jpg", NOW, FAR)
    assert not await store.write(media.miss, job, "gone")
    job = await claimed(store, two)
    assert await store.write(media.miss, job, "gone")
    assert await store.write(media.miss, job, "gone")
    assert await bytes_of(store, made.hash) == b"bytes"


async def test_a_missing_file_leaves_no_bytes_and_no_url(database: Database, store: Store) -> None:
    (one,) = await told(database)
    job = await claimed(store, one)
    await store.write(media.put_part, job, 0, b"begun")
    assert await store.write(media.miss, job, "gone")
    assert await database.rows(blob_part) == []
    assert await database.rows(media_table, "state", "reason", "url", "hash") == [("missing", "gone", None, None)]


async def test_what_is_given_back_is_due_and_costs_no_attempt(database: Database, store: Store) -> None:
    (one,) = await told(database)
    job = await claimed(store, one)
    await store.write(media.put_part, job, 0, b"begun")
    await asyncio.gather(*(store.submit(media.release, (job.id, job.key)) for _ in range(2)))
    assert await database.rows(blob_part) == []
    assert (await claimed(store, one)).attempts == 1


async def test_what_is_postponed_waits(database: Database, store: Store) -> None:
    one, two = await told(database, "m1", IMAGE, IMAGE)
    for media_id, seconds in ((one, 60.0), (two, 0.0)):
        job = await claimed(store, media_id)
        await store.write(media.put_part, job, 0, b"begun")
        await store.write(media.postpone, job, seconds)
    assert await database.rows(blob_part) == []
    assert await store.read(media.due, ["bird"], 10) == [(two, "bird")]
    assert (await claimed(store, two)).attempts == 2


async def test_after_a_death_everything_is_due(database: Database, store: Store) -> None:
    """G7."""
    one, two = await told(database, "m1", IMAGE, IMAGE)
    await kept(store, await claimed(store, two), b"whole")
    job = await claimed(store, one)
    await store.write(media.put_part, job, 0, b"begun")
    await store.write(media.disown_all)
    assert await database.rows(blob_part, "data") == [(b"whole",)]
    assert await store.read(media.due, ["bird"], 10) == [(one, "bird")]
    assert (await claimed(store, one)).attempts == 2


async def test_an_account_with_many_files_hides_no_other(database: Database, store: Store) -> None:
    """G10."""
    await told(database, "m1", *[IMAGE] * 20)
    (other,) = await database.run(media.add, "m2", "islash", [IMAGE], NOW + timedelta(seconds=1), IDS)
    found = await store.read(media.due, ["bird", "islash"], 5)
    assert [account for _, account in found] == ["bird"] * 5 + ["islash"]
    assert found[-1][0] == other


async def test_the_table_is_read_by_its_indexes(local: Database, store: Store) -> None:
    def plan(conn: object, sql: str) -> str:
        return " ".join(row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}"))  # type: ignore[attr-defined]

    wanted = "SELECT id FROM media WHERE state = 'wanted' AND account = 'a' AND due_at <= 'b' ORDER BY due_at LIMIT 5"
    assert "ix_media_wanted" in await local.run(plan, wanted)
    old = "SELECT id FROM media WHERE created_at < 'a' AND reason <> 'removed by retention' ORDER BY created_at"
    assert "ix_media_age" in await local.run(plan, old)


@pytest.mark.parametrize("after", [timedelta(0), timedelta(days=1)])
async def test_an_address_serves_until_it_expires(database: Database, store: Store, after: timedelta) -> None:
    (one,) = await told(database)
    ((token,),) = await database.rows(media_table, "token")
    assert await store.read(media.by_token, token, NOW) is None
    await kept(store, await claimed(store, one), b"bytes")
    served = await store.read(media.by_token, token, FAR - timedelta(seconds=1))
    assert served is not None and (served.name, served.size, served.parts) == ("photo.jpg", 5, 1)
    assert await store.read(media.by_token, token, FAR + after) is None
    assert await store.read(media.by_token, token[:-1], NOW) is None


async def test_retention_removes_old_files_and_all_that_is_known_of_them(database: Database, store: Store) -> None:
    nowhere = Attachment(FileKind.FILE, None, "a/b", "secret.pdf", 1)
    one, two = await told(database, "m1", IMAGE, IMAGE, nowhere)
    hash_ = await kept(store, await claimed(store, one), b"bytes")
    job = await claimed(store, two)
    await store.write(media.put_part, job, 0, b"begun")
    assert await store.write(media.remove_older, NOW, 10) == 0
    assert await store.write(media.remove_older, NOW + timedelta(seconds=1), 2) == 2
    assert await store.write(media.remove_older, NOW + timedelta(seconds=1), 2) == 1
    assert await store.write(media.remove_older, NOW + timedelta(seconds=1), 2) == 0
    assert await bytes_of(store, hash_) is None
    assert await database.rows(blob) == await database.rows(blob_part) == []
    rows = await database.rows(media_table, "state", "reason", "name", "url", "hash", "sha256", "content_type")
    assert rows == [("missing", "removed by retention", "", None, None, None, None)] * 3
    assert not await store.write(media.put_part, job, 1, b"more")


async def test_retention_leaves_bytes_that_a_newer_file_has(database: Database, store: Store) -> None:
    (old,) = await told(database, "m1")
    (new,) = await database.run(media.add, "m2", "bird", [IMAGE], NOW + timedelta(days=1), IDS)
    for media_id in (old, new):
        hash_ = await kept(store, await claimed(store, media_id), b"bytes")
    assert await store.write(media.remove_older, NOW + timedelta(hours=1), 10) == 1
    assert await bytes_of(store, hash_) == b"bytes"
    assert await store.write(media.remove_older, NOW + timedelta(days=2), 10) == 1
    assert await bytes_of(store, hash_) is None


async def test_retention_and_a_new_file_of_the_same_bytes_at_once(database: Database, store: Store) -> None:
    """G14: whichever comes first, a file that is kept has its bytes."""
    async with database.store() as other:
        for turn in range(15):
            (old,) = await told(database, f"old{turn}")
            await kept(store, await claimed(store, old), b"bytes")
            (new,) = await database.run(media.add, f"new{turn}", "bird", [IMAGE], NOW + timedelta(days=1), IDS)
            job = await claimed(store, new)
            await asyncio.gather(
                kept(store, job, b"bytes"), other.write(media.remove_older, NOW + timedelta(hours=1), 10)
            )
            assert await bytes_of(store, sha256(b"bytes").hexdigest()) == b"bytes"
            assert await database.rows(blob_part, "number") == [(0,)]
            assert await store.write(media.remove_older, NOW + timedelta(days=2), 10) == 1


async def test_retention_waits_for_a_file_that_is_about_to_have_the_same_bytes(shared: Database) -> None:
    """G14: it sees that file then, and leaves the bytes."""
    assert isinstance(shared.engine, AsyncEngine)
    async with shared.store() as store:
        (old,) = await told(shared, "old")
        hash_ = await kept(store, await claimed(store, old), b"bytes")
        (new,) = await shared.run(media.add, "new", "bird", [IMAGE], NOW + timedelta(days=1), IDS)
        job = await claimed(store, new)
        async with shared.engine.begin() as other:
            assert await other.run_sync(media.keep, job, Blob(hash_, 5, "image/jpeg", 1), "photo.jpg", NOW, FAR)
            removing = asyncio.create_task(store.write(media.remove_older, NOW + timedelta(hours=1), 10))
            await asyncio.sleep(0.3)
            assert not removing.done()
        assert await removing == 1
        assert await bytes_of(store, hash_) == b"bytes"


async def test_a_file_waits_for_retention_that_removes_the_same_bytes(shared: Database) -> None:
    """G14: and stores its own then."""
    assert isinstance(shared.engine, AsyncEngine)
    async with shared.store() as store:
        (old,) = await told(shared, "old")
        await kept(store, await claimed(store, old), b"bytes")
        (new,) = await shared.run(media.add, "new", "bird", [IMAGE], NOW + timedelta(days=1), IDS)
        job = await claimed(store, new)
        async with shared.engine.begin() as other:
            assert await other.run_sync(media.remove_older, NOW + timedelta(hours=1), 10) == 1
            keeping = asyncio.create_task(kept(store, job, b"bytes"))
            await asyncio.sleep(0.3)
            assert not keeping.done()
        assert await bytes_of(store, await keeping) == b"bytes"

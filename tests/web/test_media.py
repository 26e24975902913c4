"""`/media/TOKEN/NAME` over real sockets: who knows an address gets the file, whole or a range of it (G9, G12)."""

from __future__ import annotations

import asyncio
import secrets
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import unquote

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from syncd import metrics
from syncd.model.clock import Ids
from syncd.model.files import Attachment, FileKind
from syncd.store import blobs, media
from syncd.store.blobs import PART_BYTES, Blob
from syncd.store.schema import blob_part
from syncd.store.schema import media as media_table
from syncd.store.writer import Store
from syncd.web import media as served
from syncd.web.limits import Limits
from syncd.web.listener import Listener, plain
from syncd.web.media import Media, link, routes
from tests.store.databases import (
    Database,
    database,
    local,
    migrated_postgresql,
    migrated_sqlite,
    no_postgresql,
    store,
)
from tests.web.calling import CLOSED, calling, request

__all__ = ["database", "local", "migrated_postgresql", "migrated_sqlite", "no_postgresql", "store"]

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
DATA = b"".join(number.to_bytes(4, "big") for number in range(150_000))
"""Three parts."""
LIMITS = Limits(1_000_000, 16_384, 10.0, 10.0, 30.0, 200)
IDS = Ids()
Answered = tuple[int, dict[str, str], bytes]


class Served:
    """A listener, its clock, and its store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = NOW
        self.port = 0

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def put(self, data: bytes = DATA, *, name: str = "photo.jpg", content_type: str = "image/jpeg") -> str:
        """Keep a file for an hour; its address."""
        attachment = Attachment(FileKind.IMAGE, "https://files.example.com/a")
        message = IDS()
        (one,) = await self.store.write(media.add, message, "bird", [attachment], NOW, IDS)
        job = await self.store.write(media.claim, one, blobs.key_of(IDS()), timedelta(seconds=60))
        assert job is not None
        parts = [data[place : place + PART_BYTES] for place in range(0, len(data), PART_BYTES)]
        for number, part in enumerate(parts):
            await self.store.write(media.put_part, job, number, part)
        made = Blob(sha256(data).hexdigest(), len(data), content_type, len(parts))
        assert await self.store.write(media.keep, job, made, name, NOW, NOW + timedelta(hours=1))
        (file,) = (await self.store.read(media.of_messages, [message]))[message]
        return link(self.public_url, file.token, file.name)

    async def asked(self, url: str, method: str = "GET", **headers: str) -> Answered:
        """An answer, without its time."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession() as client,
            client.request(method, URL(url, encoded=True), headers=fields) as response,
        ):
            told = {name.lower(): value for name, value in response.headers.items() if name != "Date"}
            return response.status, told, await response.read()


def open_connections() -> float:
    """As the metric tells it."""
    return float(metrics.connections.labels("public")._value.get())


@asynccontextmanager
async def listening(store: Store) -> AsyncIterator[Served]:
    made = Served(store)

    async def others(request: web.BaseRequest) -> web.StreamResponse:
        return plain(404)

    runner = web.ServerRunner(Listener(routes(Media(store, clock=lambda: made.now), others), LIMITS, name="public"))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = int(runner.addresses[0][1])
    try:
        yield made
    finally:
        await runner.cleanup()


@pytest.fixture
async def here(store: Store) -> AsyncIterator[Served]:
    """On each kind of database in turn."""
    async with listening(store) as made:
        yield made


@pytest.fixture
async def on_sqlite(local: Database) -> AsyncIterator[Served]:
    """Where the database makes no difference."""
    async with local.store() as store, listening(store) as made:
        yield made


async def test_a_file_comes_as_it_was_stored(here: Served) -> None:
    url = await here.put()
    status, headers, body = await here.asked(url)
    assert (status, body) == (200, DATA)
    assert headers == {
        "accept-ranges": "bytes",
        "cache-control": "private",
        "content-disposition": "inline; filename*=UTF-8''photo.jpg",
        "content-length": str(len(DATA)),
        "content-security-policy": "sandbox",
        "content-type": "image/jpeg",
        "etag": f'"{sha256(DATA).hexdigest()}"',
        "referrer-policy": "no-referrer",
        "server": headers["server"],
        "x-content-type-options": "nosniff",
    }
    assert await here.asked(url, "HEAD") == (200, headers, b"")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, len(DATA)),
        ("bytes=5-9", 5, 10),
        (f"bytes={PART_BYTES - 1}-{PART_BYTES}", PART_BYTES - 1, PART_BYTES + 1),
        (f"bytes={PART_BYTES}-{2 * PART_BYTES - 1}", PART_BYTES, 2 * PART_BYTES),
        (f"bytes=10-{len(DATA) + 999}", 10, len(DATA)),
        ("bytes=-7", len(DATA) - 7, len(DATA)),
        (f"bytes=-{len(DATA) * 9}", 0, len(DATA)),
        (f"bytes={len(DATA) - 1}-", len(DATA) - 1, len(DATA)),
    ],
)
async def test_a_range_of_it(on_sqlite: Served, asked: str, start: int, end: int) -> None:
    url = await on_sqlite.put()
    status, headers, body = await on_sqlite.asked(url, Range=asked)
    assert (status, body) == (206, DATA[start:end])
    assert headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert headers["content-length"] == str(end - start)


async def test_ranges_that_are_not_one_plain_range_are_not_heeded(on_sqlite: Served) -> None:
    url = await on_sqlite.put(b"0123456789")
    for odd in ("bytes=0-1,3-4", "bytes=-", "bytes=5-2", "bytes=x-", "lines=1-2", "bytes=1-" + "9" * 500, "", "bytes"):
        status, headers, body = await on_sqlite.asked(url, Range=odd)
        assert (status, body) == (200, b"0123456789"), odd
        assert "content-range" not in headers


async def test_a_range_that_is_not_there(on_sqlite: Served) -> None:
    url = await on_sqlite.put(b"0123456789")
    for beyond in ("bytes=10-", "bytes=10-20", "bytes=-0"):
        status, headers, _ = await on_sqlite.asked(url, Range=beyond)
        assert (status, headers["content-range"]) == (416, "bytes */10"), beyond


async def test_who_has_it_is_told_so(on_sqlite: Served) -> None:
    url = await on_sqlite.put(b"0123456789")
    etag = f'"{sha256(b"0123456789").hexdigest()}"'
    for tag in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        status, headers, body = await on_sqlite.asked(url, If_None_Match=tag)
        assert (status, headers["etag"], body) == (304, etag, b""), tag
    assert (await on_sqlite.asked(url, If_None_Match='"other"'))[0] == 200
    assert (await on_sqlite.asked(url, Range="bytes=0-1", If_Range=etag))[0] == 206
    for other in ('"other"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert (await on_sqlite.asked(url, Range="bytes=0-1", If_Range=other))[0] == 200


async def test_whatever_is_not_there_is_answered_alike(here: Served, database: Database) -> None:
    """G12: unknown, another name, not kept, expired, and no address at all."""
    url = await here.put()
    base, _, name = url.rpartition("/")
    wanted = Attachment(FileKind.IMAGE, "https://files.example.com/a", name="photo.jpg")
    await here.store.write(
        media.add, "m", "bird", [wanted, Attachment(FileKind.IMAGE, None, name="photo.jpg")], NOW, IDS
    )
    rows = await database.rows(media_table, "state", "token")
    tokens = [token for state, token in rows if state != "kept"]
    assert len(tokens) == 2
    wrong = [
        f"{base}/other.jpg",
        f"{base}/photo.JPG",
        f"{base}/photo.jpg/",
        f"{base}/",
        base,
        f"{base[:-1]}/{name}",
        f"{base}x/{name}",
        f"{base}%00/{name}",
        f"{here.public_url}/media/{secrets.token_urlsafe(24)}/{name}",
        f"{here.public_url}/media//{name}",
        f"{here.public_url}/media/é/{name}".replace("é", "%C3%A9"),
        f"{here.public_url}/media/",
        f"{here.public_url}/media",
        f"{here.public_url}/other",
        *(f"{here.public_url}/media/{token}/{name}" for token in tokens),
    ]
    answers = [await here.asked(one) for one in wrong]
    here.now += timedelta(hours=2)
    answers.append(await here.asked(url))
    assert answers[0][0] == 404
    assert answers == answers[:1] * len(answers)
    assert [await here.asked(one, "HEAD", Range="bytes=0-1") for one in (*wrong[:3], url)] == [
        (404, answers[0][1], b"")
    ] * 4


async def test_only_reading(on_sqlite: Served) -> None:
    url = await on_sqlite.put()
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        for one in (url, f"{on_sqlite.public_url}/media/x/y"):
            status, headers, _ = await on_sqlite.asked(one, method)
            assert (status, headers["allow"]) == (405, "GET, HEAD")


NAMES = (
    "фото.jpg",
    "写真 1.png",
    "صورة‌ها.jpg",
    "👩‍👩‍👧.webp",
    "a;b=c\"d'e.jpg",
    "100% #1?.jpg",
    "a&b+c@d:e~.jpg",
    "..x",
)


@pytest.mark.parametrize("name", NAMES)
async def test_names_of_every_script(on_sqlite: Served, name: str) -> None:
    url = await on_sqlite.put(b"bytes", name=name)
    assert url.isascii() and url.count("/") == 5
    status, headers, body = await on_sqlite.asked(url)
    assert (status, body) == (200, b"bytes")
    disposition = headers["content-disposition"]
    assert unquote(disposition.removeprefix("inline; filename*=UTF-8''")) == name
    # A proxy may quote more, or less, than it came with.
    quoted = "".join(f"%{byte:02x}" for byte in name.encode())
    assert (await on_sqlite.asked(f"{url.rpartition('/')[0]}/{quoted}"))[0] == 200


@pytest.mark.parametrize(
    ("content_type", "shown"),
    [
        ("image/png", "inline"),
        ("audio/ogg", "inline"),
        ("video/mp4", "inline"),
        ("image/svg+xml", "attachment"),
        ("text/html", "attachment"),
        ("application/pdf", "attachment"),
        ("application/octet-stream", "attachment"),
    ],
)
async def test_only_what_cannot_be_run_is_shown_in_a_browser(on_sqlite: Served, content_type: str, shown: str) -> None:
    url = await on_sqlite.put(b"<script>", content_type=content_type)
    _, headers, _ = await on_sqlite.asked(url)
    assert headers["content-type"] == content_type
    assert headers["content-disposition"].partition(";")[0] == shown
    assert headers["content-security-policy"] == "sandbox"
    assert headers["x-content-type-options"] == "nosniff"


async def test_a_database_that_is_away(here: Served) -> None:
    url = await here.put()
    here.store.outage.reason = "away"
    status, headers, _ = await here.asked(url)
    assert (status, headers["retry-after"]) == (503, "5")
    here.store.outage.reason = ""
    assert (await here.asked(url))[0] == 200


async def test_what_is_removed_before_the_answer_begins_is_no_answer(on_sqlite: Served, local: Database) -> None:
    url = await on_sqlite.put()
    await local.run(lambda conn: conn.execute(blob_part.delete()))
    assert (await on_sqlite.asked(url))[0] == 503


async def test_what_is_removed_meanwhile_is_broken_off(on_sqlite: Served, local: Database) -> None:
    """Never an end that looks like one."""
    url = await on_sqlite.put()
    await local.run(lambda conn: conn.execute(blob_part.delete().where(blob_part.c.number == 2)))
    with pytest.raises(aiohttp.ClientPayloadError):
        await on_sqlite.asked(url)
    assert (await on_sqlite.asked(url, Range="bytes=0-9"))[0] == 206


async def test_a_large_file_is_never_in_memory(on_sqlite: Served) -> None:
    """G9: also for somebody who reads slowly."""
    await on_sqlite.asked(await on_sqlite.put(b"warm"))
    url = await on_sqlite.put(bytes(20_000_000))
    size = 0
    async with aiohttp.ClientSession() as client:
        tracemalloc.start()
        async with client.get(URL(url, encoded=True)) as response:
            await asyncio.sleep(0.3)
            async for chunk in response.content.iter_chunked(65_536):
                size += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert size == 20_000_000
    assert peak < 8_000_000


async def test_who_takes_nothing_is_hung_up_on(on_sqlite: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """G9: its connection ends, although it never reads what has been sent."""
    monkeypatch.setattr(served, "PART_SECONDS", 0.2)
    path = (await on_sqlite.put(bytes(20_000_000))).removeprefix(on_sqlite.public_url)
    async with calling(on_sqlite.port) as caller:
        await caller.says(request(path, method="GET"))
        await asyncio.sleep(0.1)
        assert open_connections() == 1
        async with asyncio.timeout(5):
            while open_connections():
                await asyncio.sleep(0.02)
        assert (await caller.answer(method="GET")).status == CLOSED


async def test_only_so_many_at_once(on_sqlite: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """G9: and the next is served when one has ended."""
    monkeypatch.setattr(served, "AT_ONCE", 2)
    url = await on_sqlite.put(bytes(20_000_000))
    path = url.removeprefix(on_sqlite.public_url)
    async with calling(on_sqlite.port) as one, calling(on_sqlite.port) as two:
        for caller in (one, two):
            await caller.says(request(path, method="GET"))
        await asyncio.sleep(0.2)
        status, headers, _ = await on_sqlite.asked(url)
        assert (status, headers["retry-after"]) == (503, "1")
    async with asyncio.timeout(5):
        while (await on_sqlite.asked(url, "HEAD"))[0] != 200:
            await asyncio.sleep(0.05)

"""The keeper: files are fetched from real servers and stored, whatever happens in between (G7, G9, G10)."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from syncd.daemon.fetching import Fetching
from syncd.engine import media as engine
from syncd.engine.lending import lend
from syncd.engine.media import Keeper
from syncd.engine.platform import Credential
from syncd.model.clock import Ids, utc_now
from syncd.model.files import Attachment, FileKind
from syncd.model.parts import KeptFile
from syncd.model.sending import NotSent, Rejected
from syncd.platforms.fetch import Fetcher
from syncd.store import blobs, media
from syncd.store.blobs import PART_BYTES
from syncd.store.schema import blob, blob_part
from syncd.store.schema import media as media_table
from syncd.store.writer import Store, StoreUnavailable
from tests.store.databases import Database

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000") + b"picture"
MOST = 1_000_000
IDS = Ids()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "backoff", lambda attempts, draw: 0.02)
    monkeypatch.setattr(engine, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(engine, "TRY_AGAIN_SECONDS", 0.02)


class Files:
    """A server of files; by default everything is a small picture."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.answers: dict[str, Handler] = {}

    def url(self, name: str = "a") -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name = request.path.removeprefix("/")
        self.asked.append(name)
        self.headers.append({key.lower(): value for key, value in request.headers.items()})
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            special = self.answers.get(name)
            if special is not None:
                return await special(request)
            return web.Response(body=JPEG, content_type="image/jpeg")
        finally:
            self.at_once -= 1


@pytest.fixture
async def files() -> AsyncIterator[Files]:
    made = Files()
    runner = web.ServerRunner(web.Server(made.answer), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = int(runner.addresses[0][1])
    yield made
    await runner.cleanup()


class Running:
    """A keeper at work, and what it told."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.done: list[str] = []
        self.keeper: Keeper
        self.task: asyncio.Task[None]

    async def settled(self, *messages: str, seconds: float = 30.0) -> tuple[KeptFile, ...]:
        """The first files of these messages, once all are settled."""
        async with asyncio.timeout(seconds):
            while not set(messages) <= set(self.done):
                assert not self.task.done()
                await asyncio.sleep(0.005)
        found = await self.store.read(media.of_messages, messages)
        return tuple(found[message][0] for message in messages)


@asynccontextmanager
async def keeping(
    store: Store, *accounts: str, max_bytes: int = MOST, seconds: float = 5.0, credential: Credential | None = None
) -> AsyncIterator[Running]:
    """A keeper that runs, with a fetcher an account."""
    running = Running(store)
    names = accounts or ("bird",)
    async with AsyncExitStack() as opened:
        fetchers = {
            name: Fetching(
                await opened.enter_async_context(Fetcher(private_hosts=("127.0.0.1",), max_bytes=1, seconds=seconds))
            )
            for name in names
        }
        running.keeper = Keeper(
            store,
            fetchers,
            dict.fromkeys(names, credential),
            max_bytes=max_bytes,
            clock=utc_now,
            ids=IDS,
            done=running.done.append,
        )
        running.task = asyncio.create_task(running.keeper.run())
        try:
            yield running
        finally:
            running.task.cancel()
            await asyncio.gather(running.task, return_exceptions=True)


async def told(store: Store, message: str, *attachments: Attachment, account: str = "bird") -> list[str]:
    """A message with files is committed."""
    return await store.write(media.add, message, account, attachments, utc_now(), IDS)


def image(url: str | None, **said: Any) -> Attachment:
    return replace(Attachment(FileKind.IMAGE, url), **said)


async def bytes_of(store: Store, file: KeptFile) -> bytes:
    assert file.hash is not None
    async with lend(store, file.hash) as lent:
        assert lent.tell() == 0
        return lent.read()


# --- what works ---


async def test_a_file_is_fetched_right_after_its_commit(
    store: Store, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And told of after the commit of its bytes; its address is forgotten, for it may be signed."""
    monkeypatch.setattr(engine, "SWEEP_SECONDS", 60.0)
    credential = Credential("Authorization", "AccessKey k3y", ("127.0.0.1",))
    async with keeping(store, credential=credential) as running:
        await asyncio.sleep(0.1)  # the first sweep is over
        attachment = image(files.url(), name="Ferien am Meer", size=99)
        running.keeper.wanted(await told(store, "m1", attachment))
        (file,) = await running.settled("m1")
    assert (file.state, file.size, file.content_type, file.name) == (
        "kept",
        len(JPEG),
        "image/jpeg",
        "Ferien am Meer.jpg",
    )
    assert file.hash == sha256(JPEG).hexdigest()
    assert await bytes_of(store, file) == JPEG
    assert files.headers[0]["authorization"] == "AccessKey k3y"


async def test_two_messages_with_the_same_bytes_share_them(database: Database, store: Store, files: Files) -> None:
    """G2."""
    async with keeping(store) as running:
        for message in ("m1", "m2", "m3"):
            running.keeper.wanted(await told(store, message, image(files.url(message))))
        found = await running.settled("m1", "m2", "m3")
    assert len({file.hash for file in found}) == 1
    assert await database.rows(blob, "size") == [(len(JPEG),)]
    assert await database.rows(blob_part, "number") == [(0,)]


async def test_all_files_of_a_message_are_told_of(store: Store, files: Files) -> None:
    async with keeping(store) as running:
        running.keeper.wanted(await told(store, "m1", *(image(files.url(str(number))) for number in range(9))))
        async with asyncio.timeout(8):
            while len(running.done) < 9:
                await asyncio.sleep(0.005)
    assert running.done == ["m1"] * 9
    kept = (await store.read(media.of_messages, ["m1"]))["m1"]
    assert {file.state for file in kept} == {"kept"}
    assert files.most_at_once <= engine.AT_ONCE


async def test_what_nobody_handed_on_is_swept_up(store: Store, files: Files) -> None:
    """G7: the process that took the message died before it could."""
    await told(store, "m1", image(files.url()))
    async with keeping(store) as running:
        assert (await running.settled("m1"))[0].state == "kept"


async def test_past_the_limit_of_memory_the_table_brings_them(
    store: Store, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G9."""
    monkeypatch.setattr(engine, "MOST_WAITING", 2)
    async with keeping(store) as running:
        names = [f"m{number}" for number in range(12)]
        for name in names:
            running.keeper.wanted(await told(store, name, image(files.url(name))))
        assert {file.state for file in await running.settled(*names)} == {"kept"}
    assert sorted(files.asked) == sorted(names), "each once"


async def test_a_large_file_is_never_in_memory(store: Store, files: Files) -> None:
    """G9: neither when it comes nor when it is lent."""
    size = 20_000_000

    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = size
        await response.prepare(request)
        for number in range(400):
            await response.write(number.to_bytes(2, "big") * 25_000)
        return response

    files.answers["large"] = large
    async with keeping(store, max_bytes=size, seconds=60.0) as running:
        running.keeper.wanted(await told(store, "warm", image(files.url())))
        await running.settled("warm")
        tracemalloc.start()
        running.keeper.wanted(await told(store, "m1", image(files.url("large"))))
        (file,) = await running.settled("m1", seconds=60)
        assert file.hash is not None
        async with lend(store, file.hash) as lent:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            digest = sha256()
            while chunk := lent.read(1_000_000):
                digest.update(chunk)
    assert (file.state, file.size, digest.hexdigest()) == ("kept", size, file.hash)
    assert peak < 8_000_000


NAMES = [
    ("photo.jpg", "photo.jpg"),
    ("/etc/../фото.jpeg", "фото.jpeg"),
    ("C:\\temp\\写真.png", "写真.png"),
    ("صورة‌ها.jpg", "صورة‌ها.jpg"),
    ("नमस्ते 👩‍👩‍👧.jpg", "नमस्ते 👩‍👩‍👧.jpg"),
    ("invoice\u202egpj.exe", "invoicegpj.exe"),
    ("a\r\nSet-Cookie: x.jpg", "a Set-Cookie: x.jpg"),
    ("..", "image.jpg"),
    ("\x00\ud800", "image.jpg"),
    (None, "image.jpg"),
    ("Bildschirmfoto 10\u202f30", "Bildschirmfoto 10 30.jpg"),
    ("x" * 500 + ".jpeg", "x" * 115 + ".jpeg"),
    ("é" * 500, "é" * 116 + ".jpg"),
    ("Dr. Smith", "Dr. Smith.jpg"),
    ("v1.2 report", "v1.2 report.jpg"),
    (".jpg", "jpg.jpg"),
]


async def test_names_of_every_script_are_kept_and_odd_ones_made_plain(local: Database, files: Files) -> None:
    async with local.store() as store, keeping(store) as running:
        for number, (name, _) in enumerate(NAMES):
            running.keeper.wanted(await told(store, f"m{number}", image(files.url(), name=name)))
        found = await running.settled(*(f"m{number}" for number in range(len(NAMES))))
    assert [file.name for file in found] == [name for _, name in NAMES]


async def test_the_servers_name_and_type_fill_in(store: Store, files: Files) -> None:
    async def named(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Disposition": "attachment; filename*=UTF-8''%E5%86%99%E7%9C%9F.pdf"}
        return web.Response(body=b"%PDF-1.7\n%bytes", content_type="application/pdf", headers=headers)

    files.answers["named"] = named
    async with keeping(store) as running:
        odd = replace(image(files.url("named")), kind=FileKind.FILE, name="other", content_type="not a type")
        running.keeper.wanted(await told(store, "m1", odd))
        (file,) = await running.settled("m1")
    assert (file.name, file.content_type) == ("写真.pdf", "application/pdf")


# --- what fails ---


def status(code: int) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=code)

    return answer


async def cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = 1000
    await response.prepare(request)
    await response.write(b"x" * 500)
    assert request.transport is not None
    request.transport.abort()
    return response


async def too_long(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"x" * (MOST + 1))


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 100_000)


async def nothing(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"")


async def hanging(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


FAILURES: list[tuple[Handler, str, int]] = [
    (status(404), "gone", 1),
    (status(410), "gone", 1),
    (status(403), "gone", 1),
    (status(401), "gone", 1),
    (too_long, "larger than 1 MB", 1),
    (endless, "larger than 1 MB", 1),
    (nothing, "empty", 1),
    (status(503), "not available", 5),
    (cut_off, "not available", 5),
    (hanging, "not available", 5),
]


@pytest.mark.parametrize(("answer", "reason", "tries"), FAILURES)
async def test_a_file_that_cannot_be_had_is_missing(
    database: Database, store: Store, files: Files, answer: Handler, reason: str, tries: int
) -> None:
    files.answers["bad"] = answer
    async with keeping(store, seconds=0.2) as running:
        running.keeper.wanted(await told(store, "m1", image(files.url("bad"))))
        (file,) = await running.settled("m1")
    assert (file.state, file.reason, file.hash) == ("missing", reason, None)
    assert files.asked == ["bad"] * tries
    assert await database.rows(blob_part) == []
    assert await database.rows(media_table, "url", "due_at") == [(None, None)]


async def test_bytes_that_are_not_those_told_of_are_not_kept(database: Database, store: Store, files: Files) -> None:
    async with keeping(store) as running:
        right, wrong = (image(files.url(), sha256=sha256(data).hexdigest()) for data in (JPEG, b"other"))
        running.keeper.wanted(await told(store, "m1", right))
        running.keeper.wanted(await told(store, "m2", wrong))
        first, second = await running.settled("m1", "m2")
    assert (first.state, second.state, second.reason) == ("kept", "missing", "damaged")
    assert len(await database.rows(blob_part, "hash")) == 1


@pytest.mark.parametrize("url", ["http://example.com/a", "https://10.0.0.1/a", "ftp://x/a", "no url at all"])
async def test_what_may_not_be_fetched_is_missing(store: Store, url: str) -> None:
    """G12."""
    async with keeping(store) as running:
        running.keeper.wanted(await told(store, "m1", image(url)))
        (file,) = await running.settled("m1")
    assert (file.state, file.reason) == ("missing", "not allowed")


async def test_it_works_in_the_end(store: Store, files: Files) -> None:
    async def at_last(request: web.Request) -> web.StreamResponse:
        if len(files.asked) < engine.MOST_TRIES:
            return web.Response(status=503)
        return web.Response(body=JPEG)

    files.answers["a"] = at_last
    async with keeping(store) as running:
        running.keeper.wanted(await told(store, "m1", image(files.url())))
        assert (await running.settled("m1"))[0].state == "kept"
    assert len(files.asked) == engine.MOST_TRIES


async def test_a_slow_server_of_one_account_holds_up_no_other(store: Store, files: Files) -> None:
    """G10."""
    files.answers["slow"] = hanging
    async with keeping(store, "bird", "islash", seconds=30.0) as running:
        slow = [image(files.url("slow"))] * (engine.AT_ONCE * 3)
        running.keeper.wanted(await told(store, "m1", *slow))
        async with asyncio.timeout(5):
            while files.at_once < engine.AT_ONCE:
                await asyncio.sleep(0.005)
        running.keeper.wanted(await told(store, "m2", image(files.url()), account="islash"))
        assert (await running.settled("m2", seconds=2.0))[0].state == "kept"
        assert files.most_at_once <= engine.AT_ONCE + 1
        assert "m1" not in running.done


async def test_an_unforeseen_failure_ends_nothing_else(
    store: Store, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G10: and its file is tried again once its lease is over."""
    monkeypatch.setattr(engine, "LEASE", timedelta(seconds=0.2))
    once = [True]

    def odd(*_: object) -> str:
        if once:
            once.clear()
            raise RuntimeError("odd")
        return "image/jpeg"

    monkeypatch.setattr(engine, "content_type", odd)
    async with keeping(store) as running:
        running.keeper.wanted(await told(store, "m1", image(files.url())))
        running.keeper.wanted(await told(store, "m2", image(files.url())))
        assert {file.state for file in await running.settled("m1", "m2")} == {"kept"}


async def test_a_file_in_which_processes_die_is_given_up(
    store: Store, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G10."""
    (one,) = await told(store, "m1", image(files.url()))
    for number in range(engine.MOST_CLAIMS):
        assert await store.write(media.claim, one, blobs.key_of(str(number)), timedelta(0)) is not None
    async with keeping(store) as running:
        (file,) = await running.settled("m1")
    assert (file.state, file.reason, files.asked) == ("missing", "not available", [])


# --- what is interrupted ---


async def begun(database: Database, seconds: float = 30.0) -> None:
    """Wait until a part of a file is stored."""
    async with asyncio.timeout(seconds):
        while not await database.rows(blob_part, "number"):
            await asyncio.sleep(0.01)


def halting(files: Files, name: str, data: bytes) -> asyncio.Event:
    """A file that stops coming in its middle until the event is set; the next time it comes at once."""
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        await go_on.wait()
        await response.write(data[len(data) // 2 :])
        return response

    files.answers[name] = answer
    return go_on


async def test_a_death_in_the_middle_of_a_download(
    database: Database, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G7: the next process fetches all of it, and no part of the first attempt is left."""
    monkeypatch.setattr(engine, "LEASE", timedelta(seconds=0.5))
    data = b"".join(number.to_bytes(4, "big") for number in range(PART_BYTES // 2))
    go_on = halting(files, "a", data)
    async with database.store() as dying, keeping(dying, seconds=30.0) as running:
        await told(dying, "m1", image(files.url()))
        await begun(database)
        await dying.stop()  # whatever it does from here on is lost
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
    assert await database.rows(blob_part, "number") == [(0,)]
    go_on.set()
    async with database.store() as store, keeping(store) as running:
        (file,) = await running.settled("m1")
        assert await bytes_of(store, file) == data
        assert await database.rows(media_table, "attempts") == [(2,)]
    assert await database.rows(blob_part, "hash", "number") == [(file.hash, number) for number in range(2)]


async def test_what_is_in_hand_at_the_end_is_given_back(database: Database, files: Files) -> None:
    """G8: another process need not wait for the lease to run out, and it costs no attempt."""
    go_on = halting(files, "a", JPEG * 50_000)
    async with database.store() as store, keeping(store, max_bytes=10 * MOST, seconds=30.0) as running:
        await told(store, "m1", image(files.url()))
        await begun(database)
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
    assert await database.rows(blob_part, "number") == []
    assert await database.rows(media_table, "state", "attempts", "hash") == [("wanted", 0, None)]
    go_on.set()
    async with database.store() as store, keeping(store, max_bytes=10 * MOST) as running:
        assert (await running.settled("m1", seconds=2.0))[0].state == "kept"


async def test_a_database_that_is_away_for_a_while_costs_no_attempt(
    database: Database, store: Store, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local fault is no reason to give a file up: neither while it comes nor when it is recorded."""
    write = store.write
    away = {"put_part": 2, "keep": 3}

    async def failing(function: Callable[..., Any], *args: Any) -> Any:
        if away.get(function.__name__, 0) > 0:
            away[function.__name__] -= 1
            raise StoreUnavailable("away")
        return await write(function, *args)

    monkeypatch.setattr(store, "write", failing)
    async with keeping(store) as running:
        running.keeper.wanted(await told(store, "m1", image(files.url())))
        (file,) = await running.settled("m1")
    assert file.state == "kept" and away == {"put_part": 0, "keep": 0}
    assert await database.rows(media_table, "attempts") == [(1,)]


async def test_two_processes_fetch_each_file_once(database: Database, files: Files) -> None:
    """G14."""
    names = [f"m{number}" for number in range(20)]
    async with database.store() as one, database.store() as two:
        for name in names:
            await told(one, name, image(files.url(name)))
        async with keeping(one) as first, keeping(two) as second:
            async with asyncio.timeout(10):
                while len(first.done) + len(second.done) < len(names):
                    await asyncio.sleep(0.01)
    assert sorted(first.done + second.done) == sorted(names) == sorted(files.asked)


# --- lending ---


async def test_a_file_is_lent_to_several_at_once(store: Store, files: Files) -> None:
    async with keeping(store) as running:
        running.keeper.wanted(await told(store, "m1", image(files.url())))
        (file,) = await running.settled("m1")
    assert file.hash is not None
    async with lend(store, file.hash) as one, lend(store, file.hash) as two:
        assert one.read(5) == JPEG[:5]
        assert two.read() == JPEG
        assert isinstance(one.fileno(), int)
    for lent in (one, two):
        with pytest.raises(OSError, match="Bad file descriptor"):
            lent.read()


async def test_what_cannot_be_lent_was_not_sent(
    database: Database, store: Store, files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """G3: a database or disk that fails is no verdict on the message; bytes that were removed are one."""
    async with keeping(store) as running:
        running.keeper.wanted(await told(store, "m1", image(files.url())))
        (file,) = await running.settled("m1")
    assert file.hash is not None
    with monkeypatch.context() as broken:
        broken.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
        with pytest.raises(NotSent):
            async with lend(store, file.hash):
                pass
    await store.write(media.remove_older, utc_now() + timedelta(hours=1), 10)
    with pytest.raises(Rejected, match="not kept any more"):
        async with lend(store, file.hash):
            pass
    async with database.store() as stopped:
        pass
    await stopped.stop()
    stopped.outage.reason = "away"
    with pytest.raises(NotSent, match="away"):
        async with lend(stopped, file.hash):
            pass

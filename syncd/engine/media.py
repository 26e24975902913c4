"""The keeper: fetches the files that people sent, and stores their bytes (G9, G10).

Each account has hands of its own, so a slow server of one holds up no other's files. A file is claimed before it is
fetched; a process that dies leaves it to the next, which finds it in its table.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from inspect import isawaitable

import structlog

from syncd import metrics
from syncd.engine.fetching import Coming, Fetches, NotAllowed, NotNow, NotThere, TooLarge
from syncd.engine.platform import Credential
from syncd.failpoints import step
from syncd.model.clock import Clock
from syncd.model.filename import name_of
from syncd.model.retry import backoff
from syncd.model.sniff import HEAD, UNKNOWN, content_type
from syncd.store import blobs, media
from syncd.store.blobs import PART_BYTES, Blob
from syncd.store.media import Job
from syncd.store.writer import Store, StoreUnavailable

log = structlog.get_logger("syncd.media")

AT_ONCE = 4
"""Files of one account that are fetched at once."""
LEASE = timedelta(seconds=120)
"""How long a file is ours to fetch: twice what a download may take."""
LINK_LIFE = timedelta(days=30)
"""How long a file's public address serves it."""
SWEEP_SECONDS = 5.0
"""How often the table is read for files that memory does not know: of dead processes, postponed, and past the limit."""
MOST_WAITING = 1_000
"""Files of one account in memory, and those just told of; more wait in their table."""
MOST_TRIES = 5
MOST_CLAIMS = 10
"""Attempts, those in which a process died included."""
EXTRA_ATTEMPTS = 4
"""Added where the wait after a failure is reckoned (`backoff`), so that all tries take minutes, not seconds."""
TRY_AGAIN_SECONDS = 1.0
"""Between tries to record what became of a file, while the database is away."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """All of a file has come."""

    blob: Blob
    name: str


class _Taken(Exception):
    """Another process has claimed the file meanwhile."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """A file did not come."""

    reason: str
    """For people, e.g. in the line that stands for the file."""
    detail: str
    """For the log."""
    for_good: bool = True


class Keeper:
    """Keeps the files of all accounts. `wanted` may be called from any task of the loop, before `run` too.

    `done` is told the message of each file that is settled: kept, or missing for good.
    """

    def __init__(
        self,
        store: Store,
        fetchers: Mapping[str, Fetches],
        credentials: Mapping[str, Credential | None],
        *,
        max_bytes: int,
        clock: Clock,
        ids: Callable[[], str],
        done: Callable[[str], Awaitable[None] | None],
    ) -> None:
        self._store = store
        self._fetchers = fetchers
        self._credentials = credentials
        self._max_bytes = max_bytes
        self._clock = clock
        self._ids = ids
        self._done = done
        self._new: set[str] = set()
        self._wake = asyncio.Event()
        self._queues: dict[str, asyncio.Queue[str]] = {name: asyncio.Queue(MOST_WAITING) for name in fetchers}
        self._known: set[str] = set()

    def wanted(self, media_ids: Iterable[str]) -> None:
        """Files that were just committed; where memory is full, the sweep brings them later."""
        for media_id in media_ids:
            if len(self._new) < MOST_WAITING:
                self._new.add(media_id)
        self._wake.set()

    async def run(self) -> None:
        """Fetch what is wanted, until cancelled. What is in hand then is given back."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sort(), name="media")
            for account, queue in self._queues.items():
                for number in range(AT_ONCE):
                    group.create_task(self._work(account, queue), name=f"media-{account}-{number}")

    async def _sort(self) -> None:
        """Bring files to their accounts' queues: those told of at once, all that are due every few seconds."""
        loop = asyncio.get_running_loop()
        sweep_at = loop.time()
        while True:
            try:
                async with asyncio.timeout_at(sweep_at):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            new, self._new = self._new, set()
            try:
                if loop.time() >= sweep_at:
                    sweep_at = loop.time() + SWEEP_SECONDS
                    found = await self._store.read(media.due, self._queues, MOST_WAITING)
                else:
                    found = await self._store.read(media.accounts_of, new)
            except StoreUnavailable:
                continue  # The store tells of its outages itself; the next sweep finds them.
            for media_id, account in found:
                queue = self._queues.get(account)
                if queue is not None and not queue.full() and media_id not in self._known:
                    self._known.add(media_id)
                    queue.put_nowait(media_id)

    async def _work(self, account: str, queue: asyncio.Queue[str]) -> None:
        while True:
            media_id = await queue.get()
            try:
                await self._keep(account, media_id)
            except StoreUnavailable:
                pass  # As above.
            except Exception:
                # Its lease runs out, and then it is tried again; that has an end too.
                log.exception("media.failed", account=account, media=media_id)
            finally:
                self._known.discard(media_id)

    async def _keep(self, account: str, media_id: str) -> None:
        key = blobs.key_of(self._ids())
        try:
            job = await self._store.write(media.claim, media_id, key, LEASE)
            if job is None:
                return
            outcome = await self._fetch(account, job)
        except _Taken:
            return
        except StoreUnavailable:
            await self._give_back(media_id, key)
            return
        except asyncio.CancelledError:
            # Another process need not wait for the lease to run out; nobody waits for this one.
            self._store.submit(media.release, (media_id, key)).add_done_callback(_look)
            raise
        await self._record(account, job, outcome)

    async def _give_back(self, media_id: str, key: str) -> None:
        """The database was away: it is no fault of the file's."""
        while True:
            await asyncio.sleep(TRY_AGAIN_SECONDS)
            try:
                await self._store.submit(media.release, (media_id, key))
            except StoreUnavailable:
                continue
            return

    @step("media_fetch")
    async def _fetch(self, account: str, job: Job) -> _Whole | _Failed:
        if job.attempts > MOST_CLAIMS:
            return _Failed("not available", "given up after as many attempts as processes may die in")
        try:
            async with self._fetchers[account].download(
                job.url, credential=self._credentials.get(account), max_bytes=self._max_bytes
            ) as file:
                return await self._take(job, file)
        except TooLarge as error:
            return _Failed(f"larger than {self._max_bytes / 1_000_000:.3g} MB", error.reason)
        except NotThere as error:
            return _Failed("gone", error.reason)
        except NotAllowed as error:
            return _Failed("not allowed", error.reason)
        except NotNow as error:
            return _Failed("not available", error.reason, for_good=job.attempts >= MOST_TRIES)

    async def _take(self, job: Job, file: Coming) -> _Whole | _Failed:
        """Store the bytes as they come, at most a part of them in memory."""
        digest = sha256()
        size = parts = 0
        head = b""
        part = bytearray()
        async for chunk in file:
            digest.update(chunk)
            size += len(chunk)
            part += chunk
            while len(part) >= PART_BYTES:
                head = head or bytes(part[:HEAD])
                await self._put(job, parts, bytes(part[:PART_BYTES]))
                del part[:PART_BYTES]
                parts += 1
        if part:
            head = head or bytes(part[:HEAD])
            await self._put(job, parts, bytes(part))
            parts += 1
        if not size:
            return _Failed("empty", "the file has no bytes")
        if job.sha256 is not None and digest.hexdigest() != job.sha256:
            return _Failed("damaged", "the bytes are not those that the platform told of")
        kind = _type_of(head, job, file)
        blob = Blob(digest.hexdigest(), size, kind, parts)
        return _Whole(blob, name_of((file.name, job.name), job.kind, kind))

    async def _put(self, job: Job, number: int, data: bytes) -> None:
        if not await self._store.write(media.put_part, job, number, data):
            raise _Taken

    async def _record(self, account: str, job: Job, outcome: _Whole | _Failed) -> None:
        """Write what became of a file, as soon as the database takes it; then tell of it."""
        match outcome:
            case _Whole(blob, name):
                now = self._clock()
                if not await self._written(media.keep, job, blob, name, now, now + LINK_LIFE):
                    return
                metrics.media.labels(account, "kept").inc()
                log.info("media.kept", account=account, message=job.message, media=job.id, size=blob.size)
            case _Failed(reason, detail, for_good=True):
                if not await self._written(media.miss, job, reason):
                    return
                metrics.media.labels(account, "missing").inc()
                told = {"reason": reason, "detail": detail, "attempts": job.attempts}
                log.warning("media.missing", account=account, message=job.message, media=job.id, **told)
            case _Failed():
                wait = backoff(job.attempts + EXTRA_ATTEMPTS, random.random)
                await self._written(media.postpone, job, wait)
                metrics.media.labels(account, "postponed").inc()
                log.info(
                    "media.postponed", account=account, media=job.id, reason=outcome.detail, seconds=round(wait, 1)
                )
                return
        told_of = self._done(job.message)
        if isawaitable(told_of):
            await told_of

    async def _written(self, unit: Callable[..., bool | None], *args: object) -> bool | None:
        while True:
            try:
                return await self._store.write(unit, *args)
            except StoreUnavailable:
                # A local fault is no reason to fetch a file again, or to give it up.
                await asyncio.sleep(TRY_AGAIN_SECONDS)


def _type_of(head: bytes, job: Job, file: Coming) -> str:
    """By its bytes, else the platform's word, else the server's."""
    name = file.name or job.name or None
    found = content_type(head, job.content_type, name)
    return found if found != UNKNOWN else content_type(head, file.content_type, name)


def _look(given_back: asyncio.Future[None]) -> None:
    """Where the database does not take it, the lease runs out."""
    if not given_back.cancelled():
        given_back.exception()

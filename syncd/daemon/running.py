"""One running daemon, from the open database to the last answer (G7, G8)."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime

import structlog
from aiohttp import web

import syncd
from syncd import metrics
from syncd.config import Address, Config
from syncd.daemon.parts import Parts, assemble, client_session
from syncd.model.clock import Clock, utc_now
from syncd.store import accounts, lanes, migrations, reports, sessions
from syncd.store.database import DatabaseError, Location
from syncd.store.units import is_outage
from syncd.store.writer import Store, StoreUnavailable
from syncd.web.admin import Admin, Readiness

log = structlog.get_logger("syncd.daemon")

GAUGES_SECONDS = 2.0
"""How old the figures of `/metrics` may be that cost a query."""


class Daemon:
    """A daemon. `run()` returns when `stop()` was called and everything in flight is recorded."""

    def __init__(self, config: Config, *, clock: Clock = utc_now) -> None:
        self._config = config
        self._clock = clock
        self._stop = asyncio.Event()
        self._ready = False
        self._store = Store(location_of(config))
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._gauges_at = 0.0
        self.addresses: dict[str, Address] = {}
        """Where `listen` and `admin_listen` really listen (port 0 takes a free one)."""

    def stop(self) -> None:
        """Begin to end: not ready, no new claims, sends in flight finish."""
        self._stop.set()

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Run until `stop()`. Raises `DatabaseError` where the database cannot be used, `OSError` for a taken port."""
        async with AsyncExitStack() as opened:
            self._store.lock()
            opened.push_async_callback(self._store.stop)
            if not await self._prepared():
                return
            self._store.observer = metrics.CommitObserver()
            await self._store.start()
            session = await opened.enter_async_context(client_session())
            parts = assemble(self._config, self._store, session, owner=self._owner, clock=self._clock)
            await self._forget_the_dead()
            admin = Admin(self._readiness, self._refresh_gauges)
            await opened.enter_async_context(self._listening(admin.answer, "admin_listen"))
            public = await opened.enter_async_context(self._listening(parts.hooks.answer, "listen"))
            _settle_memory()
            self._ready = True
            log.info(
                "daemon.ready",
                version=syncd.__version__,
                listen=str(self.addresses["listen"]),
                admin_listen=str(self.addresses["admin_listen"]),
                database=str(self._store.location),
                links=len(self._config.topology.links),
            )
            on_ready()
            await self._run_until_stopped(parts, public)
        log.info("daemon.stopped")

    async def _forget_the_dead(self) -> None:
        """On SQLite whoever had leases is dead; on PostgreSQL other processes may be alive, and leases run out."""
        if self._store.shared:
            return
        for forget in (lanes.disown_all, accounts.forget_states, sessions.disown_openings):
            await self._store.write(forget)

    async def _run_until_stopped(self, parts: Parts, public: web.ServerRunner) -> None:
        running = asyncio.create_task(self._run_parts(parts), name="parts")
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
            await self._drain(parts, running, public)
        finally:
            stopped.cancel()

    async def _prepared(self) -> bool:
        """Bring the schema up to date; a database that is away is waited for. False: stopped meanwhile."""
        location = self._store.location
        task = migrations.upgrade if self._config.database.migrate else migrations.check
        told = False
        while not self._stop.is_set():
            try:
                await migrations.with_connection(location, task)
            except DatabaseError:
                raise
            except Exception as error:
                if location.kind == "sqlite" or not is_outage(error):
                    raise DatabaseError(f"{location} cannot be used: {getattr(error, 'orig', error)}") from error
                if not told:
                    log.warning("database.away", database=str(location), reason=type(error).__name__)
                told = True
                try:
                    async with asyncio.timeout(1.0):
                        await self._stop.wait()
                except TimeoutError:
                    pass
            else:
                if told:
                    log.info("database.back", database=str(location))
                return True
        return False

    async def _run_parts(self, parts: Parts) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(parts.dispatcher.run(), name="dispatcher")
            group.create_task(parts.poller.run(), name="poller")

    async def _drain(self, parts: Parts, running: asyncio.Task[None], public: web.ServerRunner) -> None:
        self._ready = False
        log.info("daemon.draining", seconds=self._config.server.drain_seconds)
        failed = running.done()
        running.cancel()
        try:
            # A little less than the process is given, so that what is left can still be said and closed.
            async with asyncio.timeout(self._config.server.drain_seconds * 0.9):
                await parts.dispatcher.drain()
                # What comes in while the sends finish is still stored; then the door closes.
                await public.cleanup()
                await parts.poller.leave()
                await self._store.write(lanes.release_all, self._owner)
        except (TimeoutError, StoreUnavailable):
            log.warning("daemon.drain_incomplete", advice="sends without an answer are settled at the next start")
        if failed:
            running.result()

    @asynccontextmanager
    async def _listening(
        self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], key: str
    ) -> AsyncIterator[web.ServerRunner]:
        address: Address = getattr(self._config.server, key)
        # Bodies are verified as they came, so nothing may unpack them on the way.
        server = web.Server(answer, access_log=None, auto_decompress=False)
        runner = web.ServerRunner(server, access_log=None, shutdown_timeout=2.0, keepalive_timeout=75.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, address.host, address.port, backlog=1024).start()
            host, port = runner.addresses[0][:2]
            self.addresses[key] = Address(host, port)
            yield runner
        finally:
            await runner.cleanup()

    async def _readiness(self) -> Readiness:
        checks = {"database": "ok"}
        reasons = []
        if not self._ready:
            reasons.append("stopping" if self._stop.is_set() else "starting")
        try:
            async with asyncio.timeout(3.0):
                await self._store.read(reports.ping)
        except (StoreUnavailable, TimeoutError) as error:
            checks["database"] = f"away: {error}" if str(error) else "away"
            reasons.append("the database does not answer")
        return Readiness(not reasons, tuple(reasons), checks)

    async def _refresh_gauges(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._gauges_at < GAUGES_SECONDS:
            return
        self._gauges_at = now
        try:
            for state, count in (await self._store.read(reports.counts)).items():
                metrics.backlog.labels(state).set(count)
            oldest: datetime | None = await self._store.read(reports.oldest)
        except StoreUnavailable:
            return
        metrics.oldest.set((self._clock() - oldest).total_seconds() if oldest is not None else 0)


def location_of(config: Config) -> Location:
    """The config's database."""
    return Location.of(config.database.url.reveal())


def _settle_memory() -> None:
    """What is there at start stays; look at the rest more rarely (design §13: p99 from 79 to 33 ms)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)

"""One running daemon, from the open database to the last answer (G7, G8)."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import structlog
from aiohttp import web

import syncd
from syncd import metrics
from syncd.config import Address, Config, ConfigError, load
from syncd.daemon import watchdog
from syncd.daemon.changes import changed
from syncd.daemon.control import Control, listening
from syncd.daemon.figures import Figures
from syncd.daemon.onward import Onward
from syncd.daemon.parts import client_session
from syncd.daemon.shift import Shift
from syncd.daemon.watchdog import Watchdog
from syncd.engine.sender import WORKERS
from syncd.model.clock import Clock, utc_now
from syncd.store import accounts, cursors, lanes, media, migrations, outage, reports, sessions
from syncd.store.database import DatabaseError, Location
from syncd.store.units import reason
from syncd.store.writer import Store, StoreUnavailable
from syncd.web.admin import Admin, Readiness
from syncd.web.limits import limits_of
from syncd.web.listener import Listener
from syncd.web.media import Media, routes

log = structlog.get_logger("syncd.daemon")


class Daemon:
    """A daemon. `run()` returns when `stop()` was called and everything in flight is recorded."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock = utc_now,
        use: Callable[[Config], None] = lambda config: None,
        on_reload: Callable[[], None] = lambda: None,
    ) -> None:
        """`use` is called with a config that was read again, before anything is done by it."""
        self._config = config
        self._clock = clock
        self._use = use
        self._on_reload = on_reload
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._onward = Onward()
        self._shifts: list[Shift] = []
        self._begun = 0
        self._ready = False
        self._store = Store(location_of(config))
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._figures = Figures(self._store, lambda: self._config, clock)
        self.addresses: dict[str, Address] = {}
        """Where `listen` and `admin_listen` really listen (port 0 takes a free one)."""

    def stop(self) -> None:
        """Begin to end: not ready, no new claims, sends in flight finish."""
        self._stop.set()

    def reload(self) -> None:
        """Read the config again, as soon as the daemon is ready and an earlier reload is done."""
        self._reload.set()

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
            opened.push_async_callback(self._close)
            shift = await self._new_shift(self._config, session)
            self._put(shift)
            await self._forget_the_dead()
            # What was asked for without a daemon comes before anything is sent, a pause above all.
            await shift.parts.operations.take_waiting()
            await shift.parts.dispatcher.obey()
            control = Control(lambda: self._shift.parts.operations)
            await opened.enter_async_context(listening(control.answer, self._config.server.control_socket))
            admin = Admin(self._readiness, self._figures.refresh)
            await opened.enter_async_context(self._listening(admin.answer, "admin_listen"))
            answer = routes(Media(self._store, clock=self._clock), self._hook)
            public = await opened.enter_async_context(self._listening(answer, "listen"))
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
            await self._run_until_stopped(session, public, on_ready)
        log.info("daemon.stopped")

    async def _forget_the_dead(self) -> None:
        """On SQLite whoever had leases is dead; on PostgreSQL other processes may be alive, and leases run out."""
        if self._store.shared:
            return
        dead = (
            lanes.disown_all,
            cursors.disown_all,
            accounts.forget_states,
            sessions.disown_openings,
            media.disown_all,
        )
        for forget in dead:
            await self._store.write(forget)

    @property
    def _shift(self) -> Shift:
        """The one in force."""
        return self._shifts[-1]

    async def _new_shift(self, config: Config, session: aiohttp.ClientSession) -> Shift:
        self._begun += 1
        owner = f"{self._owner}:{self._begun}"
        return await Shift.of(
            config, self._store, session, owner=owner, clock=self._clock, onward=self._onward, failed=self._stop.set
        )

    def _put(self, shift: Shift) -> None:
        """From this moment on webhooks, operators and whatever is committed go to this shift."""
        self._shifts.append(shift)
        self._onward.turn_to(shift.parts.dispatcher, shift.parts.keeper)

    def _hook(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        return self._shift.parts.hooks.answer(request)

    async def _close(self) -> None:
        await self._figures.close()
        for shift in self._shifts:
            await shift.close()

    async def _run_until_stopped(
        self, session: aiohttp.ClientSession, public: web.ServerRunner, on_ready: Callable[[], None]
    ) -> None:
        self._shift.start()
        seconds = watchdog.interval()
        feeding = asyncio.create_task(Watchdog(self._store, seconds).run(), name="watchdog") if seconds else None
        reloading = asyncio.create_task(self._reload_when_asked(session, on_ready), name="reload")
        # By itself it ends only when it fails.
        reloading.add_done_callback(lambda _: self._stop.set())
        await self._stop.wait()
        failed = reloading.done()
        reloading.cancel()
        await asyncio.wait([reloading])
        await self._drain(public)
        if feeding is not None:
            feeding.cancel()
        if failed:
            reloading.result()

    async def _reload_when_asked(self, session: aiohttp.ClientSession, on_ready: Callable[[], None]) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            self._on_reload()
            await self._read_again(session)
            on_ready()

    async def _read_again(self, session: aiohttp.ClientSession) -> None:
        """Go on by the config as it is now, where that is possible; else as before, and say why."""
        try:
            new = await asyncio.to_thread(load, self._config.path)
        except ConfigError as error:
            self._refuse([str(problem) for problem in error.problems])
            return
        except Exception as error:
            # Whatever its words are, nobody knows yet what in them is secret.
            self._refuse([f"cannot be read: {type(error).__name__}"])
            return
        found = changed(self._config, new)
        self._use(found.config)
        if found.changes:
            try:
                shift = await self._new_shift(found.config, session)
            except Exception as error:
                self._refuse([f"cannot be used: {type(error).__name__}: {error}"])
                return
            old = self._shift
            shift.parts.dispatcher.wait_for(shift.config.accounts)
            self._put(shift)
        log.info("config.reloaded", changes=list(found.changes), links=len(found.config.topology.links))
        for key in found.needs_restart:
            log.warning("config.needs_restart", key=key, advice="needs a restart: the old value stays until then")
        for warning in found.config.warnings:
            if warning not in self._config.warnings:
                log.warning("config.warning", key=warning.path, advice=warning.message)
        self._config = found.config
        if found.changes:
            await shift.relieve(old)
            self._onward.left()
            self._shifts.remove(old)
            await old.close()
            gc.unfreeze()
            _settle_memory()

    def _refuse(self, problems: list[str]) -> None:
        log.error(
            "config.refused",
            file=str(self._config.path),
            problems=problems,
            advice="the config before it stays in force: correct the file and send SIGHUP again",
        )

    async def _prepared(self) -> bool:
        """Bring the schema up to date; a database that is away is waited for. False: stopped meanwhile."""
        location = self._store.location
        told = False
        while not self._stop.is_set():
            try:
                await migrations.with_connection(location, migrations.prepare, migrate=self._config.database.migrate)
            except DatabaseError:
                raise
            except Exception as error:
                if not outage.passes(location, error):
                    raise outage.unusable(location, error) from error
                if not told:
                    advice = outage.advice(location, error)
                    log.warning("database.away", database=str(location), reason=reason(error), advice=advice)
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

    async def _drain(self, public: web.ServerRunner) -> None:
        self._ready = False
        log.info("daemon.draining", seconds=self._config.server.drain_seconds)
        for shift in self._shifts:
            shift.stop()
        try:
            # A little less than the process is given, so that what is left can still be said and closed.
            async with asyncio.timeout(self._config.server.drain_seconds * 0.9):
                # A reload may have been under way.
                await asyncio.gather(*(shift.drain() for shift in self._shifts))
                # What comes in until now is still stored; the door closes last, so that no caller holds up the rest.
                await public.cleanup()
        except (TimeoutError, StoreUnavailable):
            log.warning("daemon.drain_incomplete", advice="sends without an answer are settled at the next start")
        for shift in self._shifts:
            shift.look()

    @asynccontextmanager
    async def _listening(
        self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], key: str
    ) -> AsyncIterator[web.ServerRunner]:
        address: Address = getattr(self._config.server, key)
        name = "public" if key == "listen" else "admin"
        limits, backlog = limits_of(name, self._config.server, outgoing=WORKERS * len(self._config.accounts))
        server = Listener(answer, limits, name=name)
        runner = web.ServerRunner(server, shutdown_timeout=2.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, address.host, address.port, backlog=backlog).start()
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


def location_of(config: Config) -> Location:
    """The config's database."""
    return Location.of(config.database.url.reveal())


def _settle_memory() -> None:
    """What is there at start stays; look at the rest more rarely (design §13: p99 from 79 to 33 ms)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)

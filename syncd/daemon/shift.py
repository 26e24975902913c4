"""A shift: the parts of one config at work, and how one relieves another while the daemon runs (G1, G3, G4, G10)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp

from syncd import metrics
from syncd.config import Config
from syncd.daemon.onward import Onward
from syncd.daemon.parts import Parts, assemble, fetchers_of
from syncd.engine.sender import Sender
from syncd.model.clock import Clock
from syncd.store import lanes
from syncd.store.writer import Store, StoreUnavailable

TOGETHER_SECONDS = 1.0
"""How long all accounts are waited for; then those go on alone that have nothing in flight (G10)."""
TRY_AGAIN_SECONDS = 0.5
"""Between tries while the database is away."""


class Shift:
    """One config at work. Its owner's name stands on the leases of lanes and cursors, so no two shifts share one."""

    def __init__(
        self,
        config: Config,
        parts: Parts,
        *,
        owner: str,
        store: Store,
        opened: AsyncExitStack,
        failed: Callable[[], None],
    ) -> None:
        self.config = config
        self.parts = parts
        self._owner = owner
        self._store = store
        self._opened = opened
        self._failed = failed
        self._running: asyncio.Task[None] | None = None

    @classmethod
    async def of(
        cls,
        config: Config,
        store: Store,
        session: aiohttp.ClientSession,
        *,
        owner: str,
        clock: Clock,
        onward: Onward,
        failed: Callable[[], None],
    ) -> Shift:
        """Make the parts. Nothing of them runs, and nothing is handed on to them yet.

        `failed` is called when a part fails, and `look` tells with what.
        """
        async with AsyncExitStack() as opened:
            fetchers = await opened.enter_async_context(fetchers_of(config))
            parts = assemble(config, store, session, fetchers, owner=owner, clock=clock, onward=onward)
            return cls(config, parts, owner=owner, store=store, opened=opened.pop_all(), failed=failed)

    def start(self) -> None:
        """Let the parts run."""
        self._running = asyncio.create_task(self._run(), name="parts")
        self._running.add_done_callback(self._ended)

    def stop(self) -> None:
        """Let the parts stop, except the sends in flight."""
        if self._running is not None:
            self._running.cancel()

    async def stopped(self) -> None:
        """Stop, and return when it is so."""
        self.stop()
        if self._running is not None:
            await asyncio.wait([self._running])

    def look(self) -> None:
        """Raises what a part has failed with, if one has."""
        if self._running is not None and self._running.done() and not self._running.cancelled():
            self._running.result()

    async def drain(self) -> None:
        """Finish the sends in flight and give every lease back. Raises `StoreUnavailable`."""
        await self.parts.dispatcher.drain()
        await self._store.write(lanes.release_all, self._owner)
        await self.parts.poller.leave()

    async def close(self) -> None:
        """Close the connections that are its own."""
        await self._opened.aclose()

    async def relieve(self, old: Shift) -> None:
        """Take over from a shift, to which nothing is handed on any more; returns when it has nothing left in hand.

        Each account waits until the sends of the old shift have their answers recorded: its lanes are in one hand at a
        time, and so are its rate and its doubts.
        """
        draining = asyncio.create_task(old.parts.dispatcher.drain(), name="drain")
        try:
            await old.stopped()
            await _surely(self.parts.dispatcher.obey)
            self._carry_over(old)
            await _surely(old.parts.poller.leave)
            self.start()
            await self._take_over(old)
            await draining
        finally:
            draining.cancel()
        for account in old.config.accounts.keys() - self.config.accounts.keys():
            metrics.account_up.remove(account)

    def _carry_over(self, old: Shift) -> None:
        """What platforms said of an account holds on, unless its settings are others now."""
        now = asyncio.get_running_loop().time()
        for name, was, sender in self._common(old):
            account, before = self.config.accounts[name], old.config.accounts[name]
            if (account.platform, account.settings) != (before.platform, before.settings):
                continue
            sender.health.state, sender.health.reason = was.health.state, was.health.reason
            metrics.account_up.labels(name).set(was.health.state == "up")
            if was.gate.shut_until > now:
                sender.gate.shut(was.gate.shut_until - now)

    def _common(self, old: Shift) -> list[tuple[str, Sender, Sender]]:
        theirs = old.parts.dispatcher.senders
        return [
            (name, theirs[name], sender) for name, sender in self.parts.dispatcher.senders.items() if name in theirs
        ]

    async def _take_over(self, old: Shift) -> None:
        theirs = old.parts.dispatcher.senders
        busy = {name: asyncio.create_task(sender.drain(), name=f"drain-{name}") for name, sender in theirs.items()}
        awaited = set(self.config.accounts)
        if busy:
            await asyncio.wait(busy.values(), timeout=TOGETHER_SECONDS)
        while awaited or busy:
            busy = {name: task for name, task in busy.items() if not task.done()}
            in_hand = [lane_id for name in busy for lane_id in theirs[name].in_hand]
            await _surely(lambda kept=in_hand: self._store.write(lanes.release_all, old._owner, kept))  # type: ignore[misc]
            # Some leases are kept for the message after the one that was sent: nobody comes back for those.
            # A lane that has another account now may be in the hands of any of the old ones.
            free = set() if busy and self._lanes_moved(old) else awaited - busy.keys()
            await _surely(lambda accounts=free: self.parts.dispatcher.take_over(accounts))  # type: ignore[misc]
            awaited -= free
            if not busy:
                return
            await asyncio.wait(busy.values(), return_when=asyncio.FIRST_COMPLETED)

    def _lanes_moved(self, old: Shift) -> bool:
        links = [(link, old.config.topology.link(link.name)) for link in self.config.topology.links]
        return any(
            was is not None and (was.desk.account, was.channel.account) != (link.desk.account, link.channel.account)
            for link, was in links
        )

    async def _run(self) -> None:
        parts = self.parts
        async with asyncio.TaskGroup() as group:
            group.create_task(parts.dispatcher.run(), name="dispatcher")
            group.create_task(parts.poller.run(), name="poller")
            group.create_task(parts.operations.run(), name="operations")
            group.create_task(parts.keeper.run(), name="media")
            group.create_task(parts.retention.run(), name="retention")
            group.create_task(parts.resyncs.run(), name="resyncs")
            group.create_task(parts.forgetting.run(), name="forgetting")
            group.create_task(parts.directory.run(), name="directory")

    def _ended(self, running: asyncio.Task[None]) -> None:
        if not running.cancelled():
            self._failed()


async def _surely(do: Callable[[], Awaitable[None]]) -> None:
    """Do it as soon as the database is there; the store tells of its outages itself."""
    while True:
        try:
            return await do()
        except StoreUnavailable:
            await asyncio.sleep(TRY_AGAIN_SECONDS)

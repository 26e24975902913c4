"""Forgetting a contact: what is stored of a person is erased, a little at a time (design §14).

An operation that is on record, and goes on where a dead process has left it: each step finds what is left to do.
"""

from __future__ import annotations

import asyncio

import structlog

from syncd.engine.longwork import LongWork
from syncd.model.clock import Clock
from syncd.model.contact import spellings
from syncd.model.finding import Finder, is_forgotten
from syncd.model.operation import Asked, Done, Kind
from syncd.model.text import counted
from syncd.model.topology import Topology
from syncd.store import forgetting, operations, remains
from syncd.store.forgetting import LEASE, Erased, Progress
from syncd.store.writer import Store

log = structlog.get_logger("syncd.forgetting")

PAUSE = 0.05
"""Seconds between steps."""
LOG_TRIES = 100
"""How often the write-ahead log is tried to be emptied: whoever reads the database may be in the way."""


class Forgetting(LongWork):
    """Carries out what is on record, one contact at a time in each process."""

    def __init__(self, store: Store, topology: Topology, *, clock: Clock) -> None:
        super().__init__(store, Kind.FORGET, LEASE)
        self._topology = topology
        self._clock = clock

    async def _carry_out(self, asked: Asked) -> None:
        subject = asked.wish.subject
        if not is_forgotten(subject) and not await self._erase(asked.id, subject):
            return
        row = (await self._store.read(operations.results, [asked.id]))[asked.id]
        erased = forgetting.progress_of(row).erased
        await self._conclude(Done(asked.id, asked.wish, asked.by, True, sentence(erased) + await self._cleared()))
        log.info("contact.forgotten", operation=asked.id, by=asked.by, messages=erased.messages, events=erased.events)

    async def _conclude(self, done: Done) -> None:
        await self._store.write(forgetting.conclude, done, self._clock())

    async def _erase(self, operation_id: str, subject: str) -> bool:
        """All of it; False where another process has ended it."""
        regions = {link.region for link in self._topology.links}
        contacts = sorted(spellings(subject, regions))
        dropped = True
        while dropped:
            dropped = bool(await self._store.write(forgetting.thin_out, operation_id, contacts))
            await asyncio.sleep(PAUSE)
        progress = await self._store.write(forgetting.begin, operation_id, contacts)
        if progress is None:
            return False
        waits = True
        while waits:
            waits = await self._store.write(forgetting.in_flight, operation_id)
            await asyncio.sleep(PAUSE)
        finder = Finder({*contacts, *progress.spellings}, regions)
        await self._erase_messages(operation_id, progress)
        await self._erase_events(operation_id, progress, contacts, finder)
        done = await self._store.write(forgetting.erase_rest, operation_id, contacts, finder, subject)
        return done is not None

    async def _erase_messages(self, operation_id: str, progress: Progress) -> None:
        for conversation_id in progress.conversations:
            after: int | None = 0
            while after is not None:
                after = await self._store.write(forgetting.erase_messages, operation_id, conversation_id, after)
                await asyncio.sleep(PAUSE)

    async def _erase_events(self, operation_id: str, progress: Progress, contacts: list[str], finder: Finder) -> None:
        after: str | None = ""
        while after is not None:
            found, after = await self._store.read(forgetting.events_of, finder, progress.sessionids, after)
            # Also where there are none: it keeps the operation ours.
            await self._store.write(forgetting.erase_events, operation_id, contacts, found)
            await asyncio.sleep(PAUSE)

    async def _cleared(self) -> str:
        """Have the database's files cleared of what no row holds any more; what is left to be done by hand."""
        if self._store.shared:
            return ""
        compacted = await asyncio.to_thread(remains.compact, self._store.location)
        told = "" if compacted else "; the file's free space may hold remains: stop the daemon, and run VACUUM on it"
        for _ in range(LOG_TRIES):
            if await self._store.read(remains.empty_log):
                return told
            await asyncio.sleep(PAUSE)
        return f"{told}; its write-ahead log may, until the daemon is stopped"


def sentence(erased: Erased) -> str:
    """What was erased, for people."""
    return (
        f"erased: {counted(erased.conversations, 'conversation')}, {counted(erased.messages, 'message')}, "
        f"{counted(erased.files, 'file')}, {counted(erased.events, 'event')}; "
        f"{counted(erased.deliveries, 'delivery', 'deliveries')} dropped"
    )

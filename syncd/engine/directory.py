"""The directory: asks the desk who its users are, so that an author whom only a `userid` names is known."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from syncd.engine.health import REFUSED_KEY_WAIT
from syncd.engine.platform import Platform
from syncd.model.clock import Clock
from syncd.model.retry import backoff
from syncd.model.sending import AuthFailed, RateLimited, SendError
from syncd.model.topology import Topology
from syncd.store import directory, inbox
from syncd.store.writer import Store, StoreUnavailable

log = structlog.get_logger("syncd.directory")

EVERY = 3600.0
"""Seconds between two readings of an organization."""
LATER = (30.0, 60.0)
"""Between these many seconds after a start a place is read of which something is known already."""
ASKED_EVERY = 30.0
"""Seconds between two readings that events ask for: nobody makes the desk answer more often by naming strangers."""


@dataclass(slots=True)
class Place:
    """One organization on one desk account, and when it is to be read."""

    account: str
    organization: str
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """An event has an author there whom nobody knows."""
    failures: int = 0
    """In a row."""
    sparing_until: float = 0.0
    """Until then, by the event loop's clock, nothing that is asked for is read."""


class Directory:
    """Reads the users of every organization that a link's desk names, where the platform can tell them.

    `learned` is called when somebody is known who was not, after the commit.
    """

    def __init__(
        self,
        store: Store,
        topology: Topology,
        platforms: Mapping[str, Platform],
        *,
        clock: Clock,
        learned: Callable[[], None],
    ) -> None:
        self._store = store
        self._platforms = platforms
        self._clock = clock
        self._learned = learned
        desks = (link.desk for link in topology.links if link.desk.able.directory)
        self._places = {(desk.account, desk.key): Place(desk.account, desk.key) for desk in desks}

    def wanted(self, places: Iterable[tuple[str, str]]) -> None:
        """Read these (account, organization) soon: an event has an author there whom nobody knows."""
        for one in places:
            if one in self._places:
                self._places[one].asked.set()

    async def run(self) -> None:
        """Read soon, once an hour and when asked, until cancelled. A place that fails holds back no other."""
        async with asyncio.TaskGroup() as group:
            for place in self._places.values():
                group.create_task(self._keep_reading(place), name=f"directory-{place.account}-{place.organization}")
            if self._places:
                group.create_task(self._remember(), name="directory-strangers")

    async def _keep_reading(self, place: Place) -> None:
        loop = asyncio.get_running_loop()
        # What was learned before serves for a while: neither a start nor a reload burdens the desk.
        wait = random.uniform(*LATER) if await self._knows_some(place) else 0.0
        while True:
            wait = wait or await self._read(place)
            try:
                async with asyncio.timeout(wait):
                    await place.asked.wait()
                    await asyncio.sleep(place.sparing_until - loop.time())
                place.sparing_until = loop.time() + ASKED_EVERY
            except TimeoutError:
                pass
            place.asked.clear()
            wait = 0.0

    async def _knows_some(self, place: Place) -> bool:
        try:
            return bool(await self._store.read(directory.users_of, place.account, place.organization))
        except StoreUnavailable:
            return False

    async def _read(self, place: Place) -> float:
        """Read one place once; the seconds until it is to be read again if nobody asks."""
        told = {"account": place.account, "organization": place.organization}
        try:
            users = await self._platforms[place.account].users(place.organization)
            await self._learn(place, users)
        except StoreUnavailable:
            return ASKED_EVERY  # The store tells of its outages itself.
        except Exception as error:
            place.failures += 1
            if place.failures == 1:
                defect = not isinstance(error, SendError)
                log.warning("directory.failing", reason=str(error) or type(error).__name__, exc_info=defect, **told)
            if isinstance(error, AuthFailed):
                return REFUSED_KEY_WAIT
            retry_after = error.retry_after if isinstance(error, RateLimited) else None
            return min(retry_after or backoff(place.failures, random.random), EVERY)
        if place.failures:
            log.info("directory.works_again", failures=place.failures, **told)
        place.failures = 0
        return EVERY * (0.9 + 0.2 * random.random())

    async def _learn(self, place: Place, users: Mapping[str, str]) -> None:
        known = await self._store.read(directory.users_of, place.account, place.organization)
        news = {userid: extension for userid, extension in users.items() if known.get(userid) != extension}
        if news:
            await self._store.write(directory.learn, place.account, place.organization, news, self._clock())
            self._learned()

    async def _remember(self) -> None:
        """Whoever took an event may be gone: what waits for a stranger is on record, like all else."""
        while True:
            await asyncio.sleep(ASKED_EVERY)
            try:
                accounts = await self._store.read(inbox.accounts_with_strangers)
            except StoreUnavailable:
                continue
            self.wanted(one for one in self._places if one[0] in accounts)

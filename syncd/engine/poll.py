"""Polling: a safety net beside the webhooks, and the only way in where there are none (G1)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from syncd import metrics
from syncd.engine.platform import Page, Platform
from syncd.engine.receive import Move, Receiver
from syncd.failpoints import step
from syncd.model.clock import Clock
from syncd.model.retry import backoff
from syncd.model.sending import RateLimited, SendError
from syncd.store import cursors
from syncd.store.writer import Store, StoreUnavailable

log = structlog.get_logger("syncd.poll")

LEASE = timedelta(seconds=60)
"""How long an end is ours to poll beyond the interval."""
SILENT_AFTER = 3
"""Polls in a row that find what no webhook brought, before that is said."""


@dataclass(frozen=True, slots=True)
class PolledEnd:
    """One end to be polled."""

    account: str
    end: str
    link: str
    platform: Platform
    interval: timedelta


class Poller:
    """Polls every end at its interval. Of several processes one polls an end at a time."""

    def __init__(
        self, ends: Sequence[PolledEnd], receiver: Receiver, store: Store, *, owner: str, clock: Clock
    ) -> None:
        self._ends = ends
        self._receiver = receiver
        self._store = store
        self._owner = owner
        self._clock = clock
        self.lag: dict[tuple[str, str], float] = {}
        """Seconds since the last poll that worked, by (account, end), as event-loop time of that poll."""

    async def run(self) -> None:
        """Poll until cancelled. An end that fails holds back no other."""
        async with asyncio.TaskGroup() as group:
            for end in self._ends:
                group.create_task(self._poll_for_ever(end), name=f"poll-{end.link}")

    async def leave(self) -> None:
        """Let other processes poll at once."""
        await self._store.write(cursors.leave, self._owner)

    async def _poll_for_ever(self, end: PolledEnd) -> None:
        failures = 0
        surprises = 0
        while True:
            wait = end.interval.total_seconds() * (0.9 + 0.2 * random.random())
            try:
                found, complete = await self._poll(end)
            except (SendError, StoreUnavailable) as error:
                failures += 1
                metrics.polls.labels(end.account, "error").inc()
                if failures == 1:
                    log.warning("poll.failing", account=end.account, link=end.link, reason=str(error))
                retry_after = error.retry_after if isinstance(error, RateLimited) else None
                wait = retry_after or min(wait, 60.0) + backoff(failures, random.random)
            except Exception:
                failures += 1
                metrics.polls.labels(end.account, "error").inc()
                log.exception("poll.failed", account=end.account, link=end.link)
                wait = min(wait, 60.0) + backoff(failures, random.random)
            else:
                if failures:
                    log.info("poll.works_again", account=end.account, link=end.link, failures=failures)
                failures = 0
                metrics.polls.labels(end.account, "ok").inc()
                surprises = surprises + 1 if found else 0
                if surprises == SILENT_AFTER:
                    log.warning(
                        "webhook.silent",
                        account=end.account,
                        link=end.link,
                        advice="polls keep finding what no webhook brought: run `syncd check --live`",
                    )
                if not complete:
                    continue
            await asyncio.sleep(wait)

    @step("poll")
    async def _poll(self, end: PolledEnd) -> tuple[int, bool]:
        ours, cursor = await self._store.write(cursors.take, end.account, end.end, self._owner, end.interval + LEASE)
        if not ours:
            return 0, True
        page: Page = await end.platform.poll(end.end, cursor, self._clock())
        move = Move(end.account, end.end, page.cursor, self._owner)
        outcomes = await self._receiver.take(end.account, page.events, "poll", move=move)
        self.lag[end.account, end.end] = asyncio.get_running_loop().time()
        found = sum(outcome.state != "duplicate" for outcome in outcomes)
        if found:
            metrics.poll_found.labels(end.account).inc(found)
        return found, page.complete

"""The figures of `/metrics` that are read from the database: at a bounded rate, however many ask (G9)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from syncd import metrics
from syncd.config import Config
from syncd.model.clock import Clock
from syncd.store import operations, reports
from syncd.store.reports import LanesWaiting
from syncd.store.writer import Store, StoreUnavailable

EVERY_SECONDS = 2.0
"""How old the figures may be, at least."""
SHARE = 20
"""After a reading there is none for so many times as long as it took: at most a twentieth of one reader's time."""
WAIT_SECONDS = 1.0
"""How long a scrape waits for a reading; then it shows the figures that there are."""
PAGE = 10_000
"""Lanes that are read at once."""
REASONS = ("ready", "doubt", "unauthorised", "rate_limited", "refused", "retry", "paused")

Side = tuple[str, str]
"""A link and the account through which it sends: the channel's or the desk's."""


@dataclass(frozen=True, slots=True)
class Rest:
    """All that is read besides the lanes, in one transaction."""

    held: Mapping[tuple[str, bool, str], int]
    events: Mapping[tuple[str, str], int]
    media: Mapping[str, int]
    polled: Mapping[tuple[str, str], datetime]
    accounts: Mapping[str, Any]
    paused: Mapping[str, Any]


def _rest(conn: Connection) -> Rest:
    return Rest(
        reports.held_by_link(conn),
        reports.events_held(conn),
        reports.media_wanted(conn),
        reports.cursors(conn),
        reports.account_states(conn),
        operations.paused(conn),
    )


class Figures:
    """Reads the figures when a scrape asks for them and they are old; never twice at once."""

    def __init__(self, store: Store, config: Callable[[], Config], clock: Clock) -> None:
        """`config` gives the one in force."""
        self._store = store
        self._config = config
        self._clock = clock
        self._reading: asyncio.Task[None] | None = None
        self._not_before = 0.0
        metrics.database_up.set_function(lambda: not store.outage.reason)

    async def refresh(self) -> None:
        """Return when the figures are fresh, or cannot be had soon. Raises what a reading failed with."""
        if self._reading is None and asyncio.get_running_loop().time() >= self._not_before:
            self._reading = asyncio.create_task(self._read(), name="figures")
        reading = self._reading
        if reading is None:
            return
        await asyncio.wait([reading], timeout=WAIT_SECONDS)
        if reading.done() and self._reading is reading:
            self._reading = None
            reading.result()

    async def close(self) -> None:
        """End a reading that is under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            lanes = await self._lanes()
            rest = await self._store.read(_rest)
        except StoreUnavailable:
            # What was read last stays; `syncd_database_up` and `syncd_report_time_seconds` tell how old it is.
            return
        finally:
            took = loop.time() - began
            self._not_before = loop.time() + max(EVERY_SECONDS, SHARE * took)
        now = self._clock()
        config = self._config()
        _show_lanes(config, lanes, rest, now)
        _show_held(config, rest)
        _show_accounts(config, rest)
        metrics.report_seconds.set(took)
        metrics.report_time.set(now.timestamp())

    async def _lanes(self) -> list[LanesWaiting]:
        found: list[LanesWaiting] = []
        after: str | None = ""
        while after is not None:
            page = await self._store.read(reports.lanes_waiting, after, PAGE, self._clock())
            found += page.found
            after = page.last
        return found


def _sides(config: Config) -> list[Side]:
    return [
        (link.name, account) for link in config.topology.links for account in (link.desk.account, link.channel.account)
    ]


def _side(config: Config, link: str, to_channel: bool) -> Side:
    known = config.topology.link(link)
    if known is None:
        return metrics.REMOVED, metrics.REMOVED
    return link, known.channel.account if to_channel else known.desk.account


def _show_lanes(config: Config, lanes: list[LanesWaiting], rest: Rest, now: datetime) -> None:
    waiting: Counter[tuple[str, str, str]] = Counter()
    backlog: Counter[Side] = Counter()
    ages: dict[Side, timedelta] = {}
    for one in lanes:
        side = _side(config, one.link, one.to_channel)
        waiting[(*side, _reason(one.reason, side, rest))] += one.lanes
        backlog[side] += one.deliveries
        ages[side] = max(ages.get(side, timedelta()), now - one.since)
    metrics.lanes_waiting.clear()
    metrics.oldest.clear()
    metrics.deliveries.clear()
    for side in {*_sides(config), *backlog}:
        for reason in REASONS:
            metrics.lanes_waiting.labels(*side, reason).set(waiting[(*side, reason)])
        metrics.oldest.labels(*side).set(ages.get(side, timedelta()).total_seconds())
        metrics.deliveries.labels(*side, "backlog").set(backlog[side])


def _reason(found: str, side: Side, rest: Rest) -> str:
    """What keeps a lane may stand at its account or link and not at itself."""
    if found != "doubt" and _is_paused(side, rest):
        return "paused"
    if found != "ready":
        return found
    account = rest.accounts.get(side[1])
    state = account.state if account is not None else "up"
    return {"unauthorised": "unauthorised", "throttled": "rate_limited"}.get(state, found)


def _is_paused(side: Side, rest: Rest) -> bool:
    return any(name in rest.paused for name in side)


def _show_held(config: Config, rest: Rest) -> None:
    held: Counter[tuple[str, str, str]] = Counter()
    for (link, to_channel, state), count in rest.held.items():
        held[(*_side(config, link, to_channel), state)] += count
    for side in {*_sides(config), *((link, account) for link, account, _ in held)}:
        for state in reports.HELD:
            metrics.deliveries.labels(*side, state).set(held[(*side, state)])


def _show_accounts(config: Config, rest: Rest) -> None:
    for gauge in (metrics.events_held, metrics.media_wanted, metrics.last_poll, metrics.paused):
        gauge.clear()
    for name, account in config.accounts.items():
        for state in ("waiting", "parked"):
            metrics.events_held.labels(name, state).set(rest.events.get((name, state), 0))
        metrics.media_wanted.labels(name).set(rest.media.get(name, 0))
        polled = account.plugin.capabilities.polls and getattr(account.settings, "poll_interval", None)
        for end in config.ends[name] if polled else ():
            at = rest.polled.get((name, end.key))
            metrics.last_poll.labels(name, end.link).set(at.timestamp() if at is not None else 0)
    for side in _sides(config):
        metrics.paused.labels(*side).set(_is_paused(side, rest))

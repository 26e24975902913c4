"""Everything that runs in a daemon, made from a config and joined together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import aiohttp

from syncd.config import Config
from syncd.daemon.fetching import Fetching
from syncd.daemon.onward import Onward, Relief
from syncd.engine.directory import Directory
from syncd.engine.errands import Shelf
from syncd.engine.forgetting import Forgetting
from syncd.engine.ledger import Ledger
from syncd.engine.lending import lend
from syncd.engine.media import Keeper
from syncd.engine.operations import Operations
from syncd.engine.platform import Platform
from syncd.engine.poll import PolledEnd, Poller
from syncd.engine.receive import Receiver
from syncd.engine.resync import Resyncs
from syncd.engine.retention import Retention
from syncd.engine.sender import WORKERS, Sender
from syncd.model.clock import Clock, Ids
from syncd.model.files import File
from syncd.model.parts import KeptFile
from syncd.platforms import http
from syncd.platforms.discreet import Discreet
from syncd.platforms.fetch import UNKNOWN_TYPE, Fetcher
from syncd.redaction import Redactor
from syncd.store import lanes
from syncd.store.writer import Store
from syncd.web.hooks import HookAccount, Hooks
from syncd.web.media import link


@dataclass(frozen=True, slots=True)
class Parts:
    """One daemon's components."""

    platforms: dict[str, Platform]
    receiver: Receiver
    dispatcher: Relief
    poller: Poller
    hooks: Hooks
    operations: Operations
    keeper: Keeper
    retention: Retention
    resyncs: Resyncs
    directory: Directory
    forgetting: Forgetting


def client_session() -> aiohttp.ClientSession:
    """The HTTP client that all accounts share; it keeps no cookies and follows no redirects by itself."""
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=WORKERS, keepalive_timeout=15, ttl_dns_cache=60)
    return http.client_session(connector=connector, headers={"User-Agent": "syncd"})


def platforms_of(config: Config, session: aiohttp.ClientSession) -> dict[str, Platform]:
    """Each account's platform; nothing that its servers say gets further with a secret in it."""
    redact = Redactor(config.secrets()).redact
    return {
        name: Discreet(one.plugin.build(config.setup(name), http.Http(session)), redact)
        for name, one in config.accounts.items()
    }


@asynccontextmanager
async def fetchers_of(config: Config) -> AsyncIterator[dict[str, Fetching]]:
    """What files are fetched with; each account has connections of its own."""
    async with AsyncExitStack() as opened:
        found = {}
        for name in config.accounts:
            fetcher = Fetcher(private_hosts=config.media.private_hosts, max_bytes=config.media.max_bytes)
            found[name] = Fetching(await opened.enter_async_context(fetcher))
        yield found


def shelf_of(config: Config, store: Store) -> Shelf:
    """Files that are kept, as platforms can send them."""

    def shelf(kept: KeptFile) -> File:
        assert kept.hash is not None
        return File(
            kind=kept.kind,
            name=kept.name,
            content_type=kept.content_type or UNKNOWN_TYPE,
            size=kept.size or 0,
            link=link(config.server.public_url, kept.token, kept.name),
            lend=partial(lend, store, kept.hash),
        )

    return shelf


def assemble(
    config: Config,
    store: Store,
    session: aiohttp.ClientSession,
    fetchers: Mapping[str, Fetching],
    *,
    owner: str,
    clock: Clock,
    onward: Onward | None = None,
) -> Parts:
    """Make the parts and join them. They hand on what they commit to `onward`; without one, to each other."""
    ids = Ids(clock)
    platforms = platforms_of(config, session)
    ledger = Ledger(store, config.topology, owner=owner, clock=clock, ids=ids)
    dispatcher = Relief(ledger, config.topology)
    alone = onward is None
    forth = onward or Onward()

    async def files_settled(message: str) -> None:
        forth.message_ready(await store.read(lanes.of_message, message))

    keeper = Keeper(
        store,
        fetchers,
        {name: platform.media_credential() for name, platform in platforms.items()},
        max_bytes=config.media.max_bytes,
        clock=clock,
        ids=ids,
        done=files_settled,
    )
    directory = Directory(store, config.topology, platforms, clock=clock, learned=forth.event_parks)
    receiver = Receiver(
        store,
        config.topology,
        platforms,
        clock=clock,
        ids=ids,
        hand_on=forth.hand_on,
        event_waits=forth.event_waits,
        event_parks=forth.event_parks,
        files_wanted=forth.files_wanted,
        users_wanted=directory.wanted,
    )
    senders = {
        name: Sender(
            name,
            platforms[name],
            finds_sent=account.plugin.capabilities.finds_sent,
            rate=account.rate,
            ledger=ledger,
            topology=config.topology,
            yard=forth,
            clock=clock,
            shelf=shelf_of(config, store),
        )
        for name, account in config.accounts.items()
    }
    dispatcher.connect(senders, receiver)
    if alone:
        forth.turn_to(dispatcher, keeper)
    hooks = Hooks(
        {
            name: HookAccount(
                name, platforms[name], platforms[name].doors(), account.plugin.capabilities.echoes_challenge
            )
            for name, account in config.accounts.items()
        },
        receiver,
        public_url=config.server.public_url,
        max_concurrent=config.server.max_concurrent,
    )
    resyncs = Resyncs(store, config.topology, platforms, receiver, clock=clock, ids=ids, hand_on=forth.hand_on)
    forgetting = Forgetting(store, config.topology, clock=clock)

    def long_asked() -> None:
        resyncs.wake()
        forgetting.wake()

    operations = Operations(
        store,
        config.topology,
        accounts=config.accounts,
        finds_sent=[name for name, account in config.accounts.items() if account.plugin.capabilities.finds_sent],
        clock=clock,
        ids=ids,
        apply=forth.apply,
        long_asked=long_asked,
    )
    poller = Poller(polled_ends(config, platforms), receiver, store, owner=owner, clock=clock)
    kept_for = config.retention
    retention = Retention(store, bodies=kept_for.bodies, events=kept_for.events, clock=clock)
    return Parts(
        platforms,
        receiver,
        dispatcher,
        poller,
        hooks,
        operations,
        keeper,
        retention,
        resyncs,
        directory,
        forgetting,
    )


def polled_ends(config: Config, platforms: dict[str, Platform]) -> list[PolledEnd]:
    """The ends that are to be polled, with their intervals."""
    found = []
    for name, account in config.accounts.items():
        interval: timedelta | None = getattr(account.settings, "poll_interval", None)
        if account.plugin.capabilities.polls and interval:
            found += [PolledEnd(name, end.key, end.link, platforms[name], interval) for end in config.ends[name]]
    return found

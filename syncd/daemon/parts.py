"""Everything that runs in a daemon, made from a config and joined together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import aiohttp

from syncd.config import Config
from syncd.engine.dispatch import Dispatcher
from syncd.engine.ledger import Ledger
from syncd.engine.platform import Platform
from syncd.engine.poll import PolledEnd, Poller
from syncd.engine.receive import Receiver
from syncd.engine.sender import WORKERS, Sender
from syncd.model.clock import Clock, Ids
from syncd.platforms import http
from syncd.store.writer import Store
from syncd.web.hooks import HookAccount, Hooks


@dataclass(frozen=True, slots=True)
class Parts:
    """One daemon's components."""

    platforms: dict[str, Platform]
    receiver: Receiver
    dispatcher: Dispatcher
    poller: Poller
    hooks: Hooks


def client_session() -> aiohttp.ClientSession:
    """The HTTP client that all accounts share; it keeps no cookies and follows no redirects by itself."""
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=WORKERS, keepalive_timeout=15, ttl_dns_cache=60)
    return http.client_session(connector=connector, headers={"User-Agent": "syncd"})


def platforms_of(config: Config, session: aiohttp.ClientSession) -> dict[str, Platform]:
    """Each account's platform."""
    return {name: one.plugin.build(config.setup(name), http.Http(session)) for name, one in config.accounts.items()}


def assemble(config: Config, store: Store, session: aiohttp.ClientSession, *, owner: str, clock: Clock) -> Parts:
    """Make the parts and join them."""
    ids = Ids(clock)
    platforms = platforms_of(config, session)
    ledger = Ledger(store, config.topology, owner=owner, clock=clock, ids=ids)
    dispatcher = Dispatcher(ledger, config.topology)
    receiver = Receiver(store, config.topology, platforms, clock=clock, ids=ids, hand_on=dispatcher.hand_on)
    senders = {
        name: Sender(
            name,
            platforms[name],
            finds_sent=account.plugin.capabilities.finds_sent,
            rate=account.rate,
            ledger=ledger,
            topology=config.topology,
            yard=dispatcher,
            clock=clock,
        )
        for name, account in config.accounts.items()
    }
    dispatcher.connect(senders, receiver)
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
    poller = Poller(polled_ends(config, platforms), receiver, store, owner=owner, clock=clock)
    return Parts(platforms, receiver, dispatcher, poller, hooks)


def polled_ends(config: Config, platforms: dict[str, Platform]) -> list[PolledEnd]:
    """The ends that are to be polled, with their intervals."""
    found = []
    for name, account in config.accounts.items():
        interval: timedelta | None = getattr(account.settings, "poll_interval", None)
        if account.plugin.capabilities.polls and interval:
            found += [PolledEnd(name, end.key, end.link, platforms[name], interval) for end in config.ends[name]]
    return found

"""A load balancer before several daemons, as one would really be set up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

import aiohttp

from syncd.simulators.base import Hook
from tests.soak.replica import Replica
from tests.support.waiting import until

PROBE_SECONDS = 0.25
ANSWER_SECONDS = 15.0
"""A daemon tries for ten seconds at most."""


class Balancer:
    """Passes webhooks on, in turn, to the daemons whose `/readyz` says so, or to all where none does.

    A daemon that does not take the connection is no harm: the next one is asked. All else the platform sees as it is.
    """

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self.replicas = tuple(replicas)
        self.only: Replica | None = None
        """Send everything here."""
        self.patience = ANSWER_SECONDS
        """Seconds that an answer is waited for."""
        self._ready: set[Replica] = set()
        self._turn = 0
        self._client: aiohttp.ClientSession | None = None
        self._probes: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Begin to look who is there."""
        self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._probes = [asyncio.create_task(self._probe(one), name=f"probe-{one.name}") for one in self.replicas]

    async def close(self) -> None:
        """Pass on nothing more."""
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def sees(self, *replicas: Replica) -> None:
        """Wait until these are known to be ready."""
        await until(lambda: self._ready.issuperset(replicas), "ready, as the balancer sees it")

    async def post(self, hook: Hook) -> int:
        """Post a webhook once: the status of its answer, 0 where none came."""
        assert self._client is not None
        patience = aiohttp.ClientTimeout(total=self.patience)
        for replica in self._in_turn():
            url = replica.url + urlsplit(hook.url).path
            try:
                async with self._client.post(url, data=hook.body, headers=hook.headers, timeout=patience) as response:
                    await response.read()
                    return response.status
            except aiohttp.ClientConnectorError:
                continue
            except (aiohttp.ClientError, TimeoutError, OSError):
                return 0
        return 0

    def _in_turn(self) -> list[Replica]:
        if self.only is not None:
            return [self.only]
        there = [one for one in self.replicas if one in self._ready] or list(self.replicas)
        self._turn += 1
        first = self._turn % len(there)
        return there[first:] + there[:first]

    async def _probe(self, replica: Replica) -> None:
        assert self._client is not None
        patience = aiohttp.ClientTimeout(total=1.0)
        while True:
            ready = False
            try:
                async with self._client.get(f"{replica.admin_url}/readyz", timeout=patience) as response:
                    ready = response.status == 200
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            (self._ready.add if ready else self._ready.discard)(replica)
            await asyncio.sleep(PROBE_SECONDS)

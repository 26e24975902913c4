"""What every simulator has: a real server, faults on demand, and a sender of webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web


@dataclass(slots=True)
class Fault:
    """One way to misbehave, for the next `times` calls that `match` accepts (None: every call; -1: for ever).

    kind       what happens
    ---------  -------------------------------------------------------------
    delay      the call is carried out, answered `seconds` later, or when it is `released`
    status     not carried out: HTTP `status` with `body`, `headers`
    hangup     not carried out: the connection is closed without an answer
    lost       carried out, then the connection is closed without an answer
    reply      carried out, but answered with HTTP `status` and `body`
    """

    kind: str
    times: int = 1
    seconds: float = 0.0
    status: int = 500
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    match: Callable[[Call], bool] | None = None
    hits: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """One API call as the simulator got it, faulted ones included."""

    name: str
    """What it asks for: `message`, `open`, `list`, …"""
    params: dict[str, Any]
    headers: dict[str, str]
    at: float
    """Seconds, by the event loop's clock."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook to be posted."""

    url: str
    body: bytes
    headers: dict[str, str]


class Simulator:
    """Base of the simulators. `start()` binds a free port; `url` is then its base URL.

    Subclasses add their routes in `routes()`, wrap each API call in `self.answer(...)` and post webhooks with
    `self.emit(...)`.
    """

    def __init__(self) -> None:
        self.url = ""
        self.faults: list[Fault] = []
        self.calls: list[Call] = []
        self.latency = 0.0
        """Seconds that every API call takes."""
        self.retries_hooks = True
        """Post a webhook again until it is answered with 2xx, as Bird does; False: once."""
        self.hook_answers: list[int] = []
        """HTTP status of each webhook's answer, 0 where none came; in the order answered."""
        self._runner: web.AppRunner | None = None
        self._client: aiohttp.ClientSession | None = None
        self._posting: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> Self:
        """Listen on loopback and be ready to post webhooks."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        self.routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        return self

    async def stop(self) -> None:
        """Stop listening; webhooks not yet taken are given up."""
        for task in list(self._posting):
            task.cancel()
        await asyncio.gather(*self._posting, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def routes(self, app: web.Application) -> None:
        """Add the platform's API routes to `app`."""
        raise NotImplementedError

    def calls_of(self, name: str) -> list[Call]:
        """The recorded calls of one kind, in order of arrival."""
        return [call for call in self.calls if call.name == name]

    async def answer(self, request: web.Request, call: Call, do: Callable[[], Awaitable[web.Response]]) -> web.Response:
        """Record the call, apply the faults that match, and carry it out unless one of them says not to."""
        self.calls.append(call)
        if self.latency:
            await asyncio.sleep(self.latency)
        fault = self._fault_for(call)
        if fault is None:
            return await do()
        if fault.kind == "status":
            return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
        if fault.kind == "hangup":
            return self._hang_up(request)
        response = await do()
        if fault.kind == "lost":
            return self._hang_up(request)
        if fault.kind == "reply":
            return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
        if fault.kind == "delay":
            with suppress(TimeoutError):
                await asyncio.wait_for(fault.released.wait(), fault.seconds)
            return response
        raise ValueError(f"no such fault: {fault.kind}")

    def emit(self, hook: Hook, *, delay: float = 0.0, copies: int = 1) -> asyncio.Task[None]:
        """Post a webhook in the background, `copies` times at once; awaiting the task waits for the 2xx."""
        task = asyncio.get_running_loop().create_task(self._emit(hook, delay, copies))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)
        return task

    async def hooks_taken(self) -> None:
        """Wait until every webhook emitted so far was answered with 2xx (or given up)."""
        while self._posting:
            await asyncio.gather(*self._posting, return_exceptions=True)

    async def post(self, hook: Hook) -> int:
        """Post a webhook once. Its HTTP status; 0 where no answer came."""
        assert self._client is not None, "start() first"
        try:
            async with self._client.post(hook.url, data=hook.body, headers=hook.headers) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            status = 0
        self.hook_answers.append(status)
        return status

    async def _emit(self, hook: Hook, delay: float, copies: int) -> None:
        if delay:
            await asyncio.sleep(delay)
        await asyncio.gather(*(self._post_until_taken(hook) for _ in range(copies)))

    async def _post_until_taken(self, hook: Hook) -> None:
        gap = 0.1
        while True:
            status = await self.post(hook)
            if 200 <= status < 300 or not self.retries_hooks:
                return
            await asyncio.sleep(gap)
            gap = min(gap * 2, 2.0)

    def _fault_for(self, call: Call) -> Fault | None:
        for fault in self.faults:
            if fault.times != 0 and (fault.match is None or fault.match(call)):
                fault.times -= 1 if fault.times > 0 else 0
                fault.hits += 1
                return fault
        return None

    @staticmethod
    def _hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

"""A listener whose callers may take only so much time, memory and connections (G9).

aiohttp's server bounds neither the time that a request's head takes, nor a head as a whole, nor connections. What is
added here costs a request that comes in one piece a few comparisons: timers run only for connections that are new, or
that left a head unfinished.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, cast

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpProcessingError, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from syncd import metrics
from syncd.web.limits import Limits

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_MOST_FIELDS = 100
_LONGEST_TIMEOUT_MS = 2**31 - 1
_PARTING_SECONDS = 0.05
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
"""Linux has it: without it, whoever never reads its answers keeps a closed connection for ever."""
_TURNED_AWAY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Listener(web.Server):
    """Serves `answer` within `limits`; `name` stands in the metrics.

    Past `max_connections`, new connections are answered 503 and closed. What is not HTTP is answered 400 and counted,
    not logged: anybody can send it.
    """

    def __init__(self, answer: Answer, limits: Limits, *, name: str) -> None:
        super().__init__(self._answered, request_factory=self._request)
        self.limits = limits
        self._answer = answer
        self._name = name
        self._open = 0
        self._shown = metrics.connections.labels(name)
        for key, limit in asdict(limits).items():
            metrics.limits.labels(name, key).set(limit)
            metrics.limit_reached.labels(name, key)

    def __call__(self) -> Connection:
        return Connection(self)

    def reached(self, key: str) -> None:
        """Count that a limit was reached."""
        metrics.limit_reached.labels(self._name, key).inc()

    def malformed(self) -> None:
        """Count a request that was not HTTP."""
        metrics.malformed.labels(self._name).inc()

    def entered(self) -> bool:
        """Count one connection more. False: there are enough already."""
        if self._open >= self.limits.max_connections:
            self.reached("max_connections")
            return False
        self._open += 1
        self._shown.set(self._open)
        return True

    def left(self) -> None:
        """One connection less."""
        self._open -= 1
        self._shown.set(self._open)

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("Connection", request.protocol)
        if connection.heavy and _weight(request) > self.limits.max_head_bytes:
            return connection.head_too_large()
        return await self._answer(request)

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        return web.BaseRequest(
            message, payload, protocol, writer, task, self._loop, client_max_size=self.limits.max_body_bytes
        )


class Connection(RequestHandler):
    """One connection to a `Listener`."""

    __slots__ = ("_entered", "_head_bytes", "_head_since", "_head_timer", "_newest", "heavy", "listener")

    def __init__(self, listener: Listener) -> None:
        limits = listener.limits
        super().__init__(
            listener,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            # Bodies are verified as they came, so nothing may unpack them on the way.
            auto_decompress=False,
            keepalive_timeout=limits.idle_seconds,
            lingering_time=limits.body_seconds,
            max_line_size=limits.max_head_bytes,
            max_field_size=limits.max_head_bytes,
            max_headers=_MOST_FIELDS,
        )
        self.listener = listener
        self.heavy = False
        """It has sent so much at a time that its heads must be weighed."""
        self._entered = False
        self._newest: StreamReader | None = None
        """The body of the request that began last."""
        self._head_since: float | None = None
        """When a head began that is not whole yet; a new connection owes one."""
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, or turn it away."""
        if not self.listener.entered():
            self._manager = None
            self._force_close = True
            turned_away = cast("asyncio.Transport", transport)
            turned_away.write(_TURNED_AWAY)
            turned_away.close()
            return
        self._entered = True
        if _USER_TIMEOUT is not None:
            patience = min(int(self.listener.limits.idle_seconds * 1000), _LONGEST_TIMEOUT_MS)
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, patience)
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Make room for another."""
        if self._entered:
            self._entered = False
            self.listener.left()
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().connection_lost(exc)

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """End it: what was asked is answered first, but nobody is waited for who has not asked to the end."""
        unfinished = self._newest is not None and not self._newest.is_eof()
        await super().shutdown(_PARTING_SECONDS if unfinished else timeout)

    def data_received(self, data: bytes) -> None:
        """Take what came, and watch heads that do not become whole."""
        known = len(self._messages)
        in_head = self._newest is None or self._newest.is_eof()
        super().data_received(data)
        if len(self._messages) != known:
            self.heavy |= self._head_bytes + len(data) > self.listener.limits.max_head_bytes
            self._newest = self._messages[-1][1]
            self._head_since = None
            self._head_bytes = 0
        elif in_head and data and not self._closing() and not self._buffer_paused:
            self._head_bytes += len(data)
            if self._head_bytes > self.listener.limits.max_head_bytes:
                self._give_up("max_head_bytes", _HEAD_TOO_LARGE)
            elif self._head_since is None:
                self._begin_head()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is not HTTP gets a short answer and no line in the log, which would hold what the caller chose."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        if isinstance(exc, LineTooLong) or exc.message == "Too many headers received":
            return self.head_too_large()
        self.listener.malformed()
        return plain(HTTPStatus.BAD_REQUEST, closing=True)

    def head_too_large(self) -> web.Response:
        """The answer to a whole head that is too large."""
        self.listener.reached("max_head_bytes")
        return plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, closing=True)

    def _begin_head(self) -> None:
        self._head_since = self._loop.time()
        if self._head_timer is None:
            self._watch_head(self._head_since)

    def _watch_head(self, since: float) -> None:
        self._head_timer = self._loop.call_at(since + self.listener.limits.head_seconds, self._look_at_head)

    def _look_at_head(self) -> None:
        self._head_timer = None
        if self._head_since is None:
            return
        if self._loop.time() < self._head_since + self.listener.limits.head_seconds:
            self._watch_head(self._head_since)
        else:
            self._give_up("head_seconds")

    def _process_keepalive(self) -> None:
        if self._head_since is not None:
            # Not idle: the head has a limit of its own.
            self._keepalive_handle = None
            return
        connected = self.transport is not None
        super()._process_keepalive()
        if connected and self.transport is None:
            self.listener.reached("idle_seconds")

    def _give_up(self, key: str, answer: bytes = b"") -> None:
        if self._closing():
            return
        self.listener.reached(key)
        if self.transport is not None and self._waiter is not None and not self._waiter.done():
            self.transport.write(answer)
            self.force_close()
        else:
            # What was asked before is answered; the connection closes then.
            self.close()

    def _closing(self) -> bool:
        return self._close or self._force_close


async def read_body(request: web.BaseRequest) -> bytes:
    """The body of a request to a `Listener`, as it came.

    Raises `HTTPRequestEntityTooLarge`, or `TimeoutError` after `body_seconds`; `OSError` or `RequestPayloadError` for
    one that breaks off, or is not what its head says.
    """
    listener = cast("Connection", request.protocol).listener
    limits = listener.limits
    try:
        if request.content.is_eof():
            # Most bodies come with their heads: there is nothing to wait for.
            return await request.read()
        if (request.content_length or 0) > limits.max_body_bytes:
            raise web.HTTPRequestEntityTooLarge(limits.max_body_bytes)
        async with asyncio.timeout(limits.body_seconds):
            await _ask_for_body(request)
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        listener.reached("max_body_bytes")
        raise
    except TimeoutError:
        listener.reached("body_seconds")
        raise


def plain(status: int, headers: Mapping[str, str] | None = None, *, closing: bool = False) -> web.Response:
    """An answer that says no more than its status."""
    response = web.Response(status=status, text=HTTPStatus(status).phrase, headers=headers)
    if closing:
        response.force_close()
    return response


async def _ask_for_body(request: web.BaseRequest) -> None:
    if request.version >= (1, 1) and request.headers.get("Expect", "").lower() == "100-continue":
        writer = cast("Any", request.writer)
        await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # Or the answer proper would count as begun.
        writer.output_size = 0


def _weight(request: web.BaseRequest) -> int:
    """Bytes of a request's head, about."""
    fields = sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
    return len(request.method) + len(request.raw_path) + 12 + fields

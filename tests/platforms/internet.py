"""A world of servers for the fetcher, all of it on loopback: names, addresses of the world, and listeners that count.

Connections to addresses of the world are led to loopback at the last step, after everything that might refuse them, and
each is noted. Nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from syncd.platforms.fetch import Fetcher

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

FILES, MEDIA = "files.example.com", "media.example.com"
"""The names in the certificate."""
WORLD = "93.184.215.14"
"""An address of the world, also in the certificate."""
_TLS = Path(__file__).parent / "tls"


class Names(AbstractResolver):
    """Answers for names: one list of addresses after the other, the last one for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answers = self.answers.get(host)
        if answers is None:
            raise OSError(None, "DNS lookup failed")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


class Listener:
    """A listening socket; `accepted` counts the connections that were made to it."""

    def __init__(self) -> None:
        self.port = 0
        self.accepted = 0


class Internet:
    """Names, servers, and what was connected to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names = Names()
        self.tried: list[tuple[str, int]] = []
        """Every address and port that a connection was attempted to."""
        self._led: dict[tuple[str, int], int] = {}
        self._open = AsyncExitStack()
        loop = asyncio.get_running_loop()
        connect = loop.sock_connect

        async def sock_connect(sock: socket.socket, address: tuple[Any, ...]) -> None:
            place = (address[0], address[1])
            self.tried.append(place)
            if ip_address(address[0]).is_loopback:
                return await connect(sock, address)
            if place not in self._led:
                raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
            return await connect(sock, ("127.0.0.1", self._led[place]))

        monkeypatch.setattr(loop, "sock_connect", sock_connect)

    async def serve(self, handler: Handler, *, tls: bool = False) -> int:
        """A web server on loopback; its port."""
        runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)  # type: ignore[arg-type]
        await runner.setup()
        self._open.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_tls() if tls else None).start()
        return int(runner.addresses[0][1])

    async def listen(self, raw: Raw | None = None) -> Listener:
        """A plain listener on loopback: it counts, and answers what `raw` writes."""
        listener = Listener()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            listener.accepted += 1
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                if raw is not None:
                    await reader.readuntil(b"\r\n\r\n")
                    await raw(reader, writer)
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self._open.callback(server.close)
        listener.port = server.sockets[0].getsockname()[1]
        return listener

    def lead(self, name: str, port: int, *, address: str = WORLD, to_port: int = 443) -> None:
        """Put a server of the world at `name`: `address` and `to_port` are led to loopback's `port`."""
        self.names.answers[name] = [[address]]
        self._led[address, to_port] = port

    @asynccontextmanager
    async def fetcher(self, **options: Any) -> AsyncIterator[Fetcher]:
        """A fetcher in this world."""
        async with Fetcher(resolver=self.names, tls=client_tls(), **options) as fetcher:
            yield fetcher

    async def end(self) -> None:
        """Stop all servers."""
        await self._open.aclose()


def server_tls() -> ssl.SSLContext:
    """A server's, with a certificate for the names above."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(_TLS / "cert.pem", _TLS / "key.pem")
    return context


def client_tls() -> ssl.SSLContext:
    """A client's that trusts it."""
    return ssl.create_default_context(cafile=str(_TLS / "cert.pem"))

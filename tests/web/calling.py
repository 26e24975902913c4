"""Calling a listener byte by byte, as no well-behaved HTTP client would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

CLOSED = 0
"""In place of a status: the connection was closed without an answer."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def says(self, data: bytes) -> None:
        """Send bytes; those that nobody takes any more are dropped."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            pass

    async def drips(self, data: bytes, *, gap: float) -> None:
        """Send byte by byte, until the other side hangs up."""
        for place in range(len(data)):
            if self.reader.at_eof() or self.writer.is_closing():
                return
            await self.says(data[place : place + 1])
            await asyncio.sleep(gap)

    async def answer(self, *, method: str = "POST", seconds: float = 10.0) -> Answered:
        """The next answer; one with status `CLOSED` where the connection was closed instead."""
        try:
            return await asyncio.wait_for(self._answer(method), seconds)
        except (ConnectionError, asyncio.IncompleteReadError):
            return Answered(CLOSED, {}, b"")

    async def status(self, *, seconds: float = 10.0) -> int:
        """Status of the next answer, or `CLOSED`."""
        return (await self.answer(seconds=seconds)).status

    async def hangs_up(self, *, seconds: float = 10.0) -> bool:
        """Whether the other side closes the connection in time, whatever it says before."""
        try:
            await asyncio.wait_for(self.reader.read(), seconds)
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True

    async def _answer(self, method: str) -> Answered:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *fields = head.split("\r\n")[:-2]
        headers = {name.strip().lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        status = int(first.split()[1])
        if status < 200:
            return await self._answer(method)
        length = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
        return Answered(status, headers, await self.reader.readexactly(length))


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Caller]:
    """A connection to a port of this machine; closed at once afterwards."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()


def request(
    path: str, body: bytes = b"", *, method: str = "POST", fields: Iterable[str] = (), length: int | None = None
) -> bytes:
    """A request as it goes over the wire. `length` is what its head says of the body; negative: nothing."""
    told = len(body) if length is None else length
    lines = [f"{method} {path} HTTP/1.1", "Host: bridge.example.com", *fields]
    if told >= 0:
        lines.append(f"Content-Length: {told}")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n" + body


def chunked(body: bytes, *, size: int = 4096) -> bytes:
    """A body of unknown length, without its end."""
    parts = (body[place : place + size] for place in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)

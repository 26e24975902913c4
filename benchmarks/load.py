"""The load: keep-alive connections that post requests made beforehand, and the times of every one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Self, cast

from traffic import Post
from wrong import Wrong

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Times:
    """When each post was written, and when its 200 was there, by `perf_counter`, in the order of the posts."""

    posted: list[float]
    acknowledged: list[float]

    @property
    def waits(self) -> list[float]:
        """Seconds from writing to 200."""
        return [end - begin for begin, end in zip(self.posted, self.acknowledged, strict=True)]


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time. As light as can be: what it costs, the bridge lacks."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[float] | None = None
        self._got = b""

    @classmethod
    async def to(cls, host: str, port: int) -> Self:
        """A new connection."""
        _, made = await asyncio.get_running_loop().create_connection(cls, host, port)
        return made

    def ask(self, request: bytes) -> asyncio.Future[float]:
        """Write a request. The time of its whole answer; `Wrong` for any status but 200."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """No more requests."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        now = perf_counter()
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or (length is not None and len(body) < int(length[1])):
            return
        self._got = b""
        answer, self._answer = self._answer, None
        if answer is None or answer.done():
            return
        if length is not None and head.startswith(b"HTTP/1.1 200 "):
            answer.set_result(now)
        else:
            status = head.partition(b"\r\n")[0].decode("latin-1")
            answer.set_exception(Wrong(f"a post was answered with {status}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Wrong(f"connection closed before the answer: {exc or 'end of file'}"))


class Load:
    """So many connections to one address."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = connections

    @classmethod
    async def to(cls, port: int, concurrent: int) -> Self:
        """Open the connections."""
        return cls([await Connection.to("127.0.0.1", port) for _ in range(concurrent)])

    def close(self) -> None:
        """Close them."""
        for connection in self._connections:
            connection.close()

    async def run(self, posts: Sequence[Post]) -> Times:
        """Closed loop: every connection posts, waits for the 200, posts the next.

        A message is posted only after the one before it in its conversation was acknowledged: else nothing says in
        which order they were said.
        """
        times = _no_times(len(posts))
        turns = _turns(posts)
        numbers = iter(range(len(posts)))

        async def send(connection: Connection) -> None:
            for number in numbers:
                async with turns[posts[number].conversation]:
                    times.posted[number] = perf_counter()
                    times.acknowledged[number] = await connection.ask(posts[number].request)

        async with asyncio.TaskGroup() as group:
            for connection in self._connections:
                group.create_task(send(connection))
        return times

    async def offer(self, posts: Sequence[Post], a_second: float) -> Times:
        """Open loop: so many a second, whatever is still unanswered. Waiting for a connection counts as waiting."""
        times = _no_times(len(posts))
        turns = _turns(posts)
        free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        for connection in self._connections:
            free.put_nowait(connection)

        async def send(number: int) -> None:
            times.posted[number] = perf_counter()
            async with turns[posts[number].conversation]:
                connection = await free.get()
                times.acknowledged[number] = await connection.ask(posts[number].request)
                free.put_nowait(connection)

        began = perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(len(posts)):
                early = began + number / a_second - perf_counter()
                if early > 0:
                    await asyncio.sleep(early)
                group.create_task(send(number))
        return times


def _no_times(count: int) -> Times:
    return Times([0.0] * count, [0.0] * count)


def _turns(posts: Sequence[Post]) -> dict[int, asyncio.Lock]:
    return {conversation: asyncio.Lock() for conversation in {post.conversation for post in posts}}

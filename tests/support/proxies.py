"""A proxy before PostgreSQL, which fails as networks and servers do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from tests.support.databases import Database, Row


@dataclass(frozen=True, slots=True)
class Behind(Database):
    """A database that the daemon reaches through a proxy, and the test at its own address."""

    direct: Database

    async def rows(self, statement: str) -> list[Row]:
        return await self.direct.rows(statement)

    async def change(self, statement: str) -> None:
        await self.direct.change(statement)


class Proxy:
    """A TCP proxy before a PostgreSQL server, which can be told to fail."""

    def __init__(self, database: Database) -> None:
        self.direct = database
        self._parts = urlsplit(database.url)
        self._server: asyncio.Server | None = None
        self._pairs: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._stranded: dict[asyncio.Task[None], asyncio.Event] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._port = 0
        self.commits = 0
        """Commits that were sent."""
        self.lose_every = 0
        """Every so-manieth commit reaches the server, and its answer is lost with the connection; 0: none."""
        self.lost = 0

    @property
    def database(self) -> Database:
        """As the daemon is to be told of it."""
        user = self._parts.netloc.rpartition("@")[0]
        address = f"{user}@127.0.0.1:{self._port}" if user else f"127.0.0.1:{self._port}"
        return Behind(urlunsplit(self._parts._replace(netloc=address)), self.direct)

    async def open(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._taken, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections, and break those that there are."""
        assert self._server is not None
        self._server.close()
        await self.cut()

    async def cut(self) -> int:
        """Break every connection, in the middle of whatever it does; how many there were."""
        pairs = dict(self._pairs)
        for task, writers in pairs.items():
            for writer in writers:
                writer.transport.abort()
            task.cancel()
        await asyncio.gather(*pairs, return_exceptions=True)
        return len(pairs)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Take connections and bytes, and pass nothing on; afterwards new connections work.

        Those that there were never pass anything on again, and never say so.
        """
        for stranded in self._stranded.values():
            stranded.set()
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        self._pairs[task] = (writer,)
        self._stranded[task] = stranded = asyncio.Event()
        try:
            await self._flowing.wait()
            port = self._parts.port or 5432
            server_reader, server_writer = await asyncio.open_connection(self._parts.hostname, port)
            self._pairs[task] = (writer, server_writer)
            try:
                await self._join(reader, writer, server_reader, server_writer, stranded)
            finally:
                server_writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass  # By `cut`: whoever reads from here sees a broken connection.
        finally:
            del self._pairs[task], self._stranded[task]
            writer.transport.abort()

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
        stranded: asyncio.Event,
    ) -> None:
        losing = asyncio.Event()

        async def there() -> None:
            while data := await reader.read(65536):
                if stranded.is_set():
                    continue
                await self._flowing.wait()
                if b"Q\x00\x00\x00\x0cCOMMIT;\x00" in data:
                    self.commits += 1
                    if self.lose_every and self.commits % self.lose_every == 0:
                        losing.set()
                server_writer.write(data)
                await server_writer.drain()

        async def back() -> None:
            while data := await server_reader.read(65536):
                if stranded.is_set():
                    continue
                await self._flowing.wait()
                if losing.is_set():
                    assert data.startswith(b"C\x00\x00\x00\x0bCOMMIT\x00"), data
                    self.lost += 1
                    return
                writer.write(data)
                await writer.drain()

        ways = [asyncio.create_task(there()), asyncio.create_task(back())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for found in await asyncio.gather(*ways, return_exceptions=True):
                if isinstance(found, AssertionError):
                    raise found


@asynccontextmanager
async def proxied(database: Database) -> AsyncIterator[Proxy]:
    """A proxy before this database."""
    proxy = Proxy(database)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()

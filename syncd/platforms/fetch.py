"""Fetching files from URLs that platforms hand on, and that strangers may have written (G9, G12).

    async with Fetcher(private_hosts=…, max_bytes=…) as fetcher:
        async with fetcher.download(url, credential=…) as file:
            async for chunk in file: …

Only public addresses are reached, and what `media.private_hosts` names; every redirect is looked at anew; a credential
is shown to the hosts that are configured for it and to nobody else; size and time have an end. Nothing of a URL but its
host and port gets into an error.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver

from syncd.engine.platform import Credential
from syncd.platforms.http import client_session
from syncd.platforms.outside import NotPublic, Resolver, is_public, public_socket
from syncd.platforms.urls import Hosts, Target, target_of

MOST_HOPS: Final = 5
"""Redirects that are followed."""
CONNECTIONS: Final = 16
"""Downloads of one fetcher at once; more wait, and the time counts."""
CONNECT_SECONDS: Final = 10.0
CHUNK: Final = 65_536
LONGEST_NAME: Final = 120

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_LATER: Final = frozenset({408, 425, 429})
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,99}", re.ASCII)
UNKNOWN_TYPE: Final = "application/octet-stream"


class FetchError(Exception):
    """A file that cannot be had. `reason` is for people, and safe to show and store."""

    def __init__(self, reason: str, *, http_status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.http_status = http_status


class NotAllowed(FetchError):
    """The URL, or where it leads, may not be fetched."""


class TooLarge(FetchError):
    """The file has more bytes than it may have."""


class NotThere(FetchError):
    """The server has no such file for us. Trying again is of no use."""


class NotNow(FetchError):
    """It did not work this time; it may later."""


class Download:
    """A file that has begun to come. Iterate over it, once, for its bytes."""

    def __init__(self, response: aiohttp.ClientResponse, target: Target, deadline: _Deadline, max_bytes: int) -> None:
        self._response = response
        self._deadline = deadline
        self._max_bytes = max_bytes
        self.where = target.where
        """Host (and port) that the bytes come from, after redirects."""
        self.content_type = _content_type(response.headers.get("Content-Type", ""))
        """As the server says, without parameters; `application/octet-stream` where it does not."""
        self.name = _name(response.headers.get("Content-Disposition", ""))
        """The file's name as the server says, fit for a file or a path; None where it does not."""
        self.announced = response.content_length
        """Bytes that the server says there are; None where it does not. Fewer than that is an error."""
        self.size = 0
        """Bytes that have come."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            async with self._deadline.watching(self.where):
                chunk = await self._response.content.read(CHUNK)
            if not chunk:
                return
            self.size += len(chunk)
            if self.size > self._max_bytes:
                raise _too_large(self.where, self._max_bytes)
            yield chunk


class Fetcher:
    """Downloads for one account (a stranger's slow server then holds up no other account's). An async context manager.

    `private_hosts` (`host` or `host:port`) are trusted: fetched wherever they are, also over plain http. `resolver` and
    `tls` stand in for the system's.
    """

    def __init__(
        self,
        *,
        private_hosts: tuple[str, ...] = (),
        max_bytes: int = 20_000_000,
        seconds: float = 60.0,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | bool = True,
    ) -> None:
        self._private = Hosts(private_hosts)
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._resolver = resolver
        self._tls = tls
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        resolver = self._resolver or Resolver()
        if self._resolver is None:
            self._open.push_async_callback(resolver.close)
        self._to_public = await self._session(resolver, socket_factory=public_socket)
        self._to_private = await self._session(resolver)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._open.aclose()

    async def _session(self, resolver: AbstractResolver, **options: Any) -> aiohttp.ClientSession:
        # No connection serves twice, so each was looked at for the very request that it carries.
        connector = aiohttp.TCPConnector(
            resolver=resolver, use_dns_cache=False, force_close=True, limit=CONNECTIONS, ssl=self._tls, **options
        )
        return await self._open.enter_async_context(
            client_session(
                connector=connector,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                headers={"User-Agent": "syncd", "Accept-Encoding": "identity"},
            )
        )

    @asynccontextmanager
    async def download(
        self,
        url: str,
        *,
        credential: Credential | None = None,
        max_bytes: int | None = None,
        seconds: float | None = None,
    ) -> AsyncIterator[Download]:
        """Ask for the file, and follow redirects to it; the body comes as it is read. Raises a `FetchError`.

        `seconds` are for all of it, reading included. The connection is closed at the end, however much was read.
        """
        most = self._max_bytes if max_bytes is None else max_bytes
        deadline = _Deadline(self._seconds if seconds is None else seconds)
        response, target = await self._reach(url, credential, deadline)
        try:
            yield _file(response, target, deadline, most)
        finally:
            response.close()

    async def _reach(
        self, url: str, credential: Credential | None, deadline: _Deadline
    ) -> tuple[aiohttp.ClientResponse, Target]:
        """The answer that is no redirect."""
        shown_to = Hosts(credential.hosts) if credential is not None else Hosts(())
        target = _target(url)
        for _ in range(MOST_HOPS + 1):
            private = self._allowed(target, shown_to)
            # Once the way leaves these hosts it has been in a stranger's hands, wherever it leads to next.
            credential = credential if shown_to.has(target) else None
            headers = {credential.header: credential.value} if credential is not None else {}
            response = await self._get(target, headers, deadline, private=private)
            if response.status not in _REDIRECTS:
                return response, target
            response.close()
            location = response.headers.get("Location", "")
            if not location:
                raise NotThere(f"{target.where} redirects to nowhere", http_status=response.status)
            target = _target(location, target)
        raise NotThere(f"more than {MOST_HOPS} redirects")

    def _allowed(self, target: Target, shown_to: Hosts) -> bool:
        """Whether the target is a private host. Raises `NotAllowed` where it is none and not https to the world."""
        if self._private.has(target):
            return True
        if target.scheme != "https":
            raise NotAllowed(f"{target.where}: only https is fetched, except from media.private_hosts")
        if target.port != 443 and not shown_to.has_port(target):
            raise NotAllowed(f"{target.where}: only port 443 is fetched from, except where the config names another")
        # Also looked at when the socket is made; said here without an attempt.
        if target.address is not None and not is_public(target.address):
            raise NotAllowed(f"{target.where} is not a public address")
        return False

    async def _get(
        self, target: Target, headers: Mapping[str, str], deadline: _Deadline, *, private: bool
    ) -> aiohttp.ClientResponse:
        session = self._to_private if private else self._to_public
        async with deadline.watching(target.where):
            return await session.get(target.url, headers=headers, allow_redirects=False)


class _Deadline:
    """The time that a download has. Only waiting for the network is ever cut short, never what the caller does."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = asyncio.get_running_loop().time() + seconds

    @asynccontextmanager
    async def watching(self, where: str) -> AsyncIterator[None]:
        """Whatever goes wrong inside is a `FetchError`."""
        late = NotNow(f"{where} takes longer than {self._seconds:g} s")
        if asyncio.get_running_loop().time() >= self._at:
            raise late
        try:
            async with asyncio.timeout_at(self._at) as timer:
                yield
        except TimeoutError:
            raise (late if timer.expired() else NotNow(f"{where} cannot be connected to: timed out")) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Their own words can hold the URL, and with it a secret: they go no further, not even as the cause.
            raise _failure(error, where) from None


def _target(url: str, here: Target | None = None) -> Target:
    try:
        return target_of(url) if here is None else here.joined(url)
    except ValueError as error:
        raise NotAllowed(str(error)) from None


def _failure(error: Exception, where: str) -> FetchError:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, NotPublic):
        return NotAllowed(f"{where} is not at a public address")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NotNow(f"{where}: the name is not known")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return NotNow(f"{where}: no TLS connection that can be trusted")
    if isinstance(error, aiohttp.ClientConnectorError):
        return NotNow(f"{where} cannot be connected to")
    return NotNow(f"{where} does not answer as a web server should ({type(error).__name__})")


def _file(response: aiohttp.ClientResponse, target: Target, deadline: _Deadline, max_bytes: int) -> Download:
    """Raises a `FetchError` where the answer is no file that may be had."""
    status, where = response.status, target.where
    if status in _LATER or status >= 500:
        raise NotNow(f"{where} answers HTTP {status}", http_status=status)
    if status != 200:
        raise NotThere(f"{where} answers HTTP {status}", http_status=status)
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
        raise NotThere(f"{where} packs the file, although asked not to", http_status=status)
    if (response.content_length or 0) > max_bytes:
        raise _too_large(where, max_bytes)
    return Download(response, target, deadline, max_bytes)


def _too_large(where: str, max_bytes: int) -> TooLarge:
    return TooLarge(f"the file at {where} is larger than {max_bytes} bytes")


def _content_type(header: str) -> str:
    kind = header.partition(";")[0].strip().lower()
    return kind if _TYPE.fullmatch(kind) else UNKNOWN_TYPE


def _name(header: str) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _, parameters = aiohttp.parse_content_disposition(header)
            given = aiohttp.content_disposition_filename(parameters) or ""
        except ValueError:  # some encodings that a name may claim fail in ways of their own
            return None
    last = re.split(r"[/\\]", given)[-1]
    # Controls, what turns the direction of text around, and halves of characters are not printable.
    plain = "".join(char for char in last if char.isprintable()).strip(". ")
    stem, dot, ending = plain.rpartition(".")
    if dot and len(ending) <= 10:
        return f"{stem[: LONGEST_NAME - len(ending) - 1]}.{ending}"
    return plain[:LONGEST_NAME] or None

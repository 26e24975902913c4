"""The HTTP client that platforms send with: one request, and an exact word on whether bytes were written.

A POST or PATCH is never repeated. (aiohttp repeats a GET or PUT once by itself, on a connection that had gone stale.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from syncd.model.sending import MaybeSent, NotSent

MAX_ANSWER = 4 * 1024 * 1024
"""Bytes of an answer that are read before it is refused (G9)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read whole. Header names match in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text, for people: at most 1,000 characters."""
        return self.body[:4000].decode("utf-8", "replace")[:1000]

    @property
    def retry_after(self) -> float | None:
        """`Retry-After` in seconds, from a number or a date (RFC 9110 §10.2.3). None where there is none to rely on.

        A date is measured against the answer's own `Date`, so that the two clocks need not agree.
        """
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        until = _date(text)
        if until is None:
            return None
        return max(0.0, (until - (_date(self.headers.get("date", "")) or datetime.now(UTC))).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


class _Written:
    """Set once a request goes to the socket; told by the client as it does so, not guessed from the exception."""

    __slots__ = ("yes",)

    def __init__(self) -> None:
        self.yes = False


_current: ContextVar[_Written | None] = ContextVar("current request", default=None)


class _Request(aiohttp.ClientRequest):
    """aiohttp's request, which says when it begins to be written (its tracing says the same at four times the cost)."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        written = _current.get()
        if written is not None:
            written.yes = True
        return await super().send(conn)


def client_session(**options: Any) -> aiohttp.ClientSession:
    """A session that `Http` can work with. The options are aiohttp's."""
    return aiohttp.ClientSession(request_class=_Request, cookie_jar=aiohttp.DummyCookieJar(), **options)


class Http:
    """Requests for one account over a shared session, made by `client_session`."""

    def __init__(self, session: aiohttp.ClientSession, *, timeout: float = 30.0) -> None:
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=min(10.0, timeout))

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        params: list[tuple[str, str]] | None = None,
        data: bytes | aiohttp.FormData | None = None,
    ) -> Answer:
        """One request, one answer; redirects are answers, not followed.

        Raises `NotSent` when no byte was written, `MaybeSent` when some were and no whole answer came.
        """
        written = _Written()
        _current.set(written)
        try:
            async with self._session.request(
                method,
                url,
                headers=headers,
                params=params,
                data=data,
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                body = await _read(response)
                return Answer(response.status, response.headers, body)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            what = _describe(error)
            if written.yes:
                raise MaybeSent(f"no whole answer after the request was written: {what}") from error
            raise NotSent(f"not connected: {what}") from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    if length is not None and length <= MAX_ANSWER and "Content-Encoding" not in response.headers:
        return await response.read()
    chunks = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        chunks += chunk
        if len(chunks) > MAX_ANSWER:
            raise aiohttp.ClientPayloadError(f"the answer is longer than {MAX_ANSWER} bytes")
    return bytes(chunks)


def _describe(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "timed out"
    # An aiohttp error's text can hold the URL, and with it a secret; its class and the OS error cannot.
    reason = error.strerror if isinstance(error, OSError) and error.strerror else ""
    return f"{type(error).__name__} {reason}".strip()

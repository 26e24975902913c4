"""The HTTP client that platforms send with: one request, and an exact word on whether bytes were written.

A POST or PATCH is never repeated. (aiohttp repeats a GET or PUT once by itself, on a connection that had gone stale.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp

from syncd.engine import deadline
from syncd.failpoints import step
from syncd.model.sending import MaybeSent, NotSent

MAX_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of an answer, unpacked, that are read before it is refused (G9). Its head has aiohttp's limits."""
MOST_INTERIM: Final = 10
"""Interim answers (1xx) that are waited through for the real one (G9)."""


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


class _TooLate(aiohttp.ClientError):
    """Somebody else may be at it by now. Its words are ours, so they are safe to show."""


TOO_LATE = "this process was stopped or very slow, and begins no more what another may have taken over"


class _Request(aiohttp.ClientRequest):
    """aiohttp's request, which says when it begins to be written (its tracing says the same at four times the cost)."""

    @step("write_body")
    async def write_bytes(self, writer: Any, conn: Any, content_length: int | None = None) -> None:
        if deadline.is_over():
            conn.protocol.set_exception(_TooLate(TOO_LATE))
            conn.close()
            return
        await super().write_bytes(writer, conn, content_length)

    @step("write_head")
    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        if deadline.is_over():
            raise _TooLate(TOO_LATE)
        written = _current.get()
        if written is not None:
            written.yes = True
        return await super().send(conn)


class _Excess(aiohttp.ClientPayloadError):
    """More than anybody needs to answer. Its words are ours, so they are safe to show."""


class _Counted:
    """Reads the heads of a connection's answers, only so many of one answer."""

    __slots__ = ("_read", "heads")

    def __init__(self, read: Callable[[], Awaitable[Any]]) -> None:
        self._read = read
        self.heads = 0

    def __call__(self) -> Awaitable[Any]:
        self.heads += 1
        if self.heads > MOST_INTERIM + 1:
            raise _Excess(f"more than {MOST_INTERIM} interim answers")
        return self._read()


class _Response(aiohttp.ClientResponse):
    """aiohttp's answer, which would go through interim ones (1xx) for as long as they keep coming."""

    def start(self, connection: Any) -> Coroutine[Any, Any, aiohttp.ClientResponse]:
        protocol = connection.protocol
        if not isinstance(protocol.read, _Counted):
            protocol.read = _Counted(protocol.read)
        protocol.read.heads = 0
        return super().start(connection)


def client_session(**options: Any) -> aiohttp.ClientSession:
    """A session that `Http` can work with: no cookies, no proxies of the environment. The options are aiohttp's."""
    return aiohttp.ClientSession(
        request_class=_Request, response_class=_Response, cookie_jar=aiohttp.DummyCookieJar(), **options
    )


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
        timeout: float | None = None,
    ) -> Answer:
        """One request, one answer; redirects are answers, not followed. `timeout`: seconds, where not the usual ones.

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
                timeout=self._timeout if timeout is None else aiohttp.ClientTimeout(total=timeout, connect=10.0),
                allow_redirects=False,
            ) as response:
                body = await _read(response)
                return Answer(response.status, response.headers, body)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            what = _describe(error)
            if written.yes:
                raise MaybeSent(f"no whole answer after the request was written: {what}") from error
            raise NotSent(f"not connected: {what}") from error


@step("read_answer")
async def _read(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    if length is not None and length <= MAX_ANSWER and "Content-Encoding" not in response.headers:
        return await response.read()
    # aiohttp unpacks a packed answer as it is read, a buffer's worth at a time.
    chunks, size = [], 0
    async for chunk in response.content.iter_chunked(65536):
        size += len(chunk)
        if size > MAX_ANSWER:
            raise _Excess(f"the answer is longer than {MAX_ANSWER} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _describe(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "timed out"
    if isinstance(error, _Excess | _TooLate):
        return str(error)
    # An aiohttp error's text can hold the URL, and with it a secret; its class and the OS error cannot.
    reason = error.strerror if isinstance(error, OSError) and error.strerror else ""
    return f"{type(error).__name__} {reason}".strip()

"""The public listener: `/media/TOKEN/NAME`, files for platforms that fetch by link (design §5).

Whoever knows an address may have its file, for a time. Whatever is not there any more, or never was, is answered alike.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, unquote

from aiohttp import web

from syncd import metrics
from syncd.model.clock import Clock
from syncd.store import blobs, media
from syncd.store.blobs import PART_BYTES
from syncd.store.media import Served
from syncd.store.writer import Store, StoreUnavailable
from syncd.web.hooks import OVERLOAD_RETRY_AFTER, RETRY_AFTER
from syncd.web.listener import Answer, plain

PREFIX: Final = "/media/"
AT_ONCE: Final = 64
"""Files served at once, each with a part of it in memory; past it 503 (G9)."""
PART_SECONDS: Final = 30.0
"""Whoever does not take a part in this time is hung up on."""
_SHOWN: Final = ("image/", "audio/", "video/")
_SCRIPTED: Final = frozenset({"image/svg+xml"})
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII | re.IGNORECASE)


def link(public_url: str, token: str, name: str) -> str:
    """The public address of a file that is kept."""
    return f"{public_url.rstrip('/')}{PREFIX}{token}/{quote(name, safe='')}"


def routes(media_: Media, others: Answer) -> Answer:
    """Answers for the public listener: files, and whatever else is asked by `others`."""

    def answer(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        return (media_.answer if request.raw_path.startswith(PREFIX) else others)(request)

    return answer


class Media:
    """Serves kept files."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._in_hand = 0
        metrics.limits.labels("public", "media_at_once").set(AT_ONCE)
        self._turned_away = metrics.limit_reached.labels("public", "media_at_once")

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request under `/media/`."""
        if request.method not in ("GET", "HEAD"):
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})
        if self._in_hand >= AT_ONCE:
            self._turned_away.inc()
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": OVERLOAD_RETRY_AFTER})
        self._in_hand += 1
        try:
            found = await self._find(request)
            return plain(HTTPStatus.NOT_FOUND) if found is None else await self._serve(request, found)
        except StoreUnavailable:
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": RETRY_AFTER})
        finally:
            self._in_hand -= 1

    async def _find(self, request: web.BaseRequest) -> Served | None:
        token, _, name = request.raw_path.partition("?")[0].removeprefix(PREFIX).partition("/")
        if not (token.isascii() and token.replace("-", "").replace("_", "").isalnum()):
            return None
        found = await self._store.read(media.by_token, token, self._clock())
        return found if found is not None and found.name == unquote(name) else None

    async def _serve(self, request: web.BaseRequest, file: Served) -> web.StreamResponse:
        etag = f'"{file.hash}"'
        headers = {
            "Accept-Ranges": "bytes",
            "Cache-Control": "private",
            "Content-Disposition": _disposition(file),
            "Content-Security-Policy": "sandbox",
            "ETag": etag,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        known = request.if_none_match
        if known is not None and any(one.value in (file.hash, "*") for one in known):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        status, start, end = _asked(request, etag, file.size)
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return plain(status, {"Content-Range": f"bytes */{file.size}", "Accept-Ranges": "bytes"})
        if status == HTTPStatus.PARTIAL_CONTENT:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        response = web.StreamResponse(status=status, headers={**headers, "Content-Type": file.content_type})
        response.content_length = end - start
        # Read before the answer begins: what cannot be read can still be said then.
        part = b"" if request.method == "HEAD" else await self._part(file, start // PART_BYTES)
        await response.prepare(request)
        if request.method != "HEAD":
            await self._write(request, response, file, part, start, end)
        return response

    async def _write(
        self, request: web.BaseRequest, response: web.StreamResponse, file: Served, part: bytes, start: int, end: int
    ) -> None:
        """The bytes from `start` to `end`, the first of them in `part`."""
        try:
            while start < end:
                number, offset = divmod(start, PART_BYTES)
                part = part or await self._part(file, number)
                taken = part[offset : offset + end - start]
                async with asyncio.timeout(PART_SECONDS):
                    await response.write(taken)
                start += len(taken)
                part = b""
        except (StoreUnavailable, OSError):
            # The answer has begun: that it is not whole can only be shown by breaking it off.
            response.force_close()
            if request.transport is not None:
                request.transport.abort()

    async def _part(self, file: Served, number: int) -> bytes:
        data = await self._store.read(blobs.part, file.hash, number)
        if not data:
            raise StoreUnavailable("the file was removed meanwhile")
        return data


def _disposition(file: Served) -> str:
    shown = file.content_type.startswith(_SHOWN) and file.content_type not in _SCRIPTED
    return f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{quote(file.name, safe='')}"


def _asked(request: web.BaseRequest, etag: str, size: int) -> tuple[HTTPStatus, int, int]:
    """Status, and first and last byte (that one not included). Ranges that are not one plain range are not heeded."""
    whole = HTTPStatus.OK, 0, size
    found = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    if found is None or found[0].endswith("=-") or request.headers.get("If-Range", etag).strip() != etag:
        return whole
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < int(found[1]):
            return whole
    return (
        (HTTPStatus.PARTIAL_CONTENT, start, end) if start < end else (HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0)
    )

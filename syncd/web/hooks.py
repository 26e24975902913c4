"""The public listener: `/hooks/ACCOUNT[/SECRET]` (design §5).

Nothing of a request is looked at before its secret path is right, and nothing of its body before the platform has
verified it (G11). A 2xx means committed (G1).
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from http import HTTPStatus
from urllib.parse import unquote

import structlog
from aiohttp import web

from syncd import metrics
from syncd.engine.platform import Door, HookRequest, Platform, RawEvent, Refused
from syncd.engine.receive import Receiver
from syncd.store.writer import StoreUnavailable
from syncd.web.listener import plain, read_body

log = structlog.get_logger("syncd.web")

TRY_SECONDS = 10.0
"""How long a database that is away is tried before the platform is asked to come again."""
TRY_AGAIN_SECONDS = 0.25
RETRY_AFTER = "5"
OVERLOAD_RETRY_AFTER = "1"
MISADDRESSED_SECONDS = 60.0
"""How often the log tells of webhooks to addresses that there are none of."""
_LONGEST_CHALLENGE = 1024


@dataclass(frozen=True, slots=True)
class HookAccount:
    """An account with webhook addresses."""

    name: str
    platform: Platform
    doors: tuple[Door, ...]
    echoes_challenge: bool


@dataclass(frozen=True, slots=True)
class Way:
    """A path and where it leads."""

    path: bytes
    account: HookAccount
    door: Door


class Hooks:
    """Answers webhooks."""

    def __init__(
        self, accounts: Mapping[str, HookAccount], receiver: Receiver, *, public_url: str, max_concurrent: int
    ) -> None:
        self._receiver = receiver
        self._public_url = public_url
        self._max_concurrent = max_concurrent
        self._in_hand = 0
        metrics.requests_in_hand.set_function(lambda: self._in_hand)
        metrics.requests_limit.set(max_concurrent)
        metrics.limits.labels("public", "max_concurrent").set(max_concurrent)
        self._turned_away = metrics.limit_reached.labels("public", "max_concurrent")
        self._last = {name: metrics.last_webhook.labels(name) for name, account in accounts.items() if account.doors}
        self._key = secrets.token_bytes(32)
        self._ways = {
            self._digest(way.path): way
            for account in accounts.values()
            for way in (Way(path_of(account.name, door).encode(), account, door) for door in account.doors)
        }
        self._nowhere = secrets.token_hex(32).encode()
        self._misaddressed = 0
        self._told_at = -MISADDRESSED_SECONDS

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request on the public listener."""
        response = await self._answer(request)
        if response.status >= 300:
            metrics.hooks_refused.labels(str(response.status)).inc()
        return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        path = request.raw_path.partition("?")[0]
        way = self._way(unquote(path) if "%" in path else path)
        if way is None:
            if request.method == "POST" and path.startswith("/hooks/"):
                self._came_to_nothing()
            return plain(HTTPStatus.NOT_FOUND)
        account = way.account
        if request.method in ("GET", "HEAD"):
            challenge = request.query.get("hub.challenge", "") if account.echoes_challenge else ""
            return web.Response(text=challenge[:_LONGEST_CHALLENGE])
        if request.method != "POST":
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD, POST"})
        if self._in_hand >= self._max_concurrent:
            self._turned_away.inc()
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": OVERLOAD_RETRY_AFTER})
        self._in_hand += 1
        try:
            return await self._take(request, account, way.door)
        finally:
            self._in_hand -= 1

    def _way(self, path: str) -> Way | None:
        """Where a path leads. A wrong account, a wrong secret and a missing one cost the same (G11).

        The paths are looked up by a digest that nobody outside can foretell, so the time of it tells nothing of how
        much of a secret was right; what is found, or else what nobody can know, is compared whole.
        """
        given = path.encode("utf-8", "surrogatepass")
        way = self._ways.get(self._digest(given))
        same = hmac.compare_digest(self._nowhere if way is None else way.path, given)
        return way if same else None

    def _came_to_nothing(self) -> None:
        """A webhook whose address is wrong would be missed. Anybody can post one, so it is told once in a while."""
        self._misaddressed += 1
        now = time.monotonic()
        if now >= self._told_at + MISADDRESSED_SECONDS:
            log.warning("webhook.misaddressed", requests=self._misaddressed)
            self._told_at, self._misaddressed = now, 0

    def _digest(self, path: bytes) -> bytes:
        return blake2b(path, digest_size=16, key=self._key).digest()

    async def _take(self, request: web.BaseRequest, account: HookAccount, door: Door) -> web.Response:
        try:
            body = await read_body(request)
        except web.HTTPRequestEntityTooLarge:
            return plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, closing=True)
        except TimeoutError:
            return plain(HTTPStatus.REQUEST_TIMEOUT, closing=True)
        except (OSError, web.RequestPayloadError):
            # Whoever sent it went away before it was whole, or it is not what its head says.
            return plain(HTTPStatus.BAD_REQUEST, closing=True)
        hook = HookRequest(self._public_url + request.raw_path, request.headers, body, door.end)
        try:
            events = account.platform.verify(hook)
        except Refused as refused:
            log.warning("webhook.refused", account=account.name, status=refused.status, reason=refused.reason)
            return plain(refused.status)
        if events:
            if not await self._stored(account.name, events):
                return plain(HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": RETRY_AFTER})
            self._last[account.name].set(time.time())
        return web.Response(body=b"{}", content_type="application/json")

    async def _stored(self, account: str, events: Sequence[RawEvent]) -> bool:
        try:
            async with asyncio.timeout(TRY_SECONDS):
                while True:
                    try:
                        await self._receiver.take(account, events, "webhook")
                    except StoreUnavailable:
                        await asyncio.sleep(TRY_AGAIN_SECONDS)
                    else:
                        return True
        except TimeoutError:
            return False


def path_of(account: str, door: Door) -> str:
    """The path of a door, its secret segment included."""
    return f"/hooks/{account}" + (f"/{door.secret}" if door.secret is not None else "")

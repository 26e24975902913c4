"""The public listener: `/hooks/ACCOUNT[/SECRET]` (design §5).

Nothing of a request is looked at before its secret path is right, and nothing of its body before the platform has
verified it (G11). A 2xx means committed (G1).
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

import structlog
from aiohttp import web

from syncd import metrics
from syncd.engine.platform import Door, HookRequest, Platform, RawEvent, Refused
from syncd.engine.receive import Receiver
from syncd.store.writer import StoreUnavailable

log = structlog.get_logger("syncd.web")

READ_SECONDS = 10.0
"""For a request's body."""
TRY_SECONDS = 10.0
"""How long a database that is away is tried before the platform is asked to come again."""
TRY_AGAIN_SECONDS = 0.25
RETRY_AFTER = "5"
OVERLOAD_RETRY_AFTER = "1"
_LONGEST_CHALLENGE = 1024


@dataclass(frozen=True, slots=True)
class HookAccount:
    """An account with webhook addresses."""

    name: str
    platform: Platform
    doors: tuple[Door, ...]
    echoes_challenge: bool


class Hooks:
    """Answers webhooks."""

    def __init__(
        self, accounts: Mapping[str, HookAccount], receiver: Receiver, *, public_url: str, max_concurrent: int
    ) -> None:
        self._accounts = accounts
        self._receiver = receiver
        self._public_url = public_url
        self._max_concurrent = max_concurrent
        self._in_hand = 0
        metrics.requests_limit.set(max_concurrent)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request on the public listener."""
        response = await self._answer(request)
        if response.status >= 300:
            metrics.hooks_refused.labels(str(response.status)).inc()
        return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        path = request.raw_path.partition("?")[0]
        found = self._door(unquote(path) if "%" in path else path)
        if found is None:
            return _plain(HTTPStatus.NOT_FOUND)
        account, door = found
        if request.method in ("GET", "HEAD"):
            challenge = request.query.get("hub.challenge", "") if account.echoes_challenge else ""
            return web.Response(text=challenge[:_LONGEST_CHALLENGE])
        if request.method != "POST":
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET, HEAD, POST")
        if self._in_hand >= self._max_concurrent:
            return _plain(HTTPStatus.SERVICE_UNAVAILABLE, **{"Retry-After": OVERLOAD_RETRY_AFTER})
        self._in_hand += 1
        metrics.requests_in_hand.set(self._in_hand)
        try:
            return await self._take(request, account, door)
        finally:
            self._in_hand -= 1
            metrics.requests_in_hand.set(self._in_hand)

    def _door(self, path: str) -> tuple[HookAccount, Door] | None:
        parts = path.split("/")
        if len(parts) not in (3, 4) or parts[0] or parts[1] != "hooks":
            return None
        account = self._accounts.get(parts[2])
        given = parts[3].encode("utf-8", "surrogatepass") if len(parts) == 4 else None
        right: Door | None = None
        # Every door of the account is compared, the same time for each, also when one was right already.
        for door in account.doors if account is not None else ():
            if door.secret is None or given is None:
                same = door.secret is None and given is None
            else:
                same = hmac.compare_digest(door.secret.encode(), given)
            if same:
                right = door
        return (account, right) if account is not None and right is not None else None

    async def _take(self, request: web.BaseRequest, account: HookAccount, door: Door) -> web.Response:
        try:
            # Most bodies come with their heads; there is nothing to wait for then.
            async with asyncio.timeout(None if request.content.is_eof() else READ_SECONDS):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Connection="close")
        except TimeoutError:
            return _plain(HTTPStatus.REQUEST_TIMEOUT, Connection="close")
        except (OSError, web.RequestPayloadError):
            # Whoever sent it went away before it was whole, or it is not what its head says.
            return _plain(HTTPStatus.BAD_REQUEST, Connection="close")
        hook = HookRequest(self._public_url + request.raw_path, request.headers, body, door.end)
        try:
            events = account.platform.verify(hook)
        except Refused as refused:
            log.warning("webhook.refused", account=account.name, status=refused.status, reason=refused.reason)
            return _plain(refused.status)
        if events and not await self._stored(account.name, events):
            return _plain(HTTPStatus.SERVICE_UNAVAILABLE, **{"Retry-After": RETRY_AFTER})
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


def _plain(status: int, **headers: str) -> web.Response:
    return web.Response(status=status, text=HTTPStatus(status).phrase, headers=headers)


def path_of(account: str, door: Door) -> str:
    """The path of a door, its secret segment included."""
    return f"/hooks/{account}" + (f"/{door.secret}" if door.secret is not None else "")

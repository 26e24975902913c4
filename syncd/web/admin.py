"""The admin listener: `/livez`, `/readyz` with reasons, `/metrics`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from syncd import metrics


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether webhooks can be taken, and why not."""

    ready: bool
    reasons: tuple[str, ...] = ()
    checks: dict[str, str] = field(default_factory=dict)


class Admin:
    """Answers administrators' tools."""

    def __init__(
        self, readiness: Callable[[], Awaitable[Readiness]], before_scrape: Callable[[], Awaitable[None]]
    ) -> None:
        self._readiness = readiness
        self._before_scrape = before_scrape

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request on the admin listener."""
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="Method Not Allowed", headers={"Allow": "GET, HEAD"})
        match request.path:
            case "/livez":
                return _json(200, {"status": "ok"})
            case "/readyz":
                found = await self._readiness()
                status = "ready" if found.ready else "not ready"
                body = {"status": status, "reasons": list(found.reasons), "checks": found.checks}
                return _json(200 if found.ready else 503, body)
            case "/metrics":
                await self._before_scrape()
                return web.Response(
                    body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
                )
        return web.Response(status=404, text="Not Found")


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")

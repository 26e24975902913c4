"""How the simulated Bird answers: who may call, and the shapes of answers and errors."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from syncd.simulators.base import Call, Simulator
from syncd.simulators.bird_records import Mistakes


class BirdHttp(Simulator):
    """A workspace's host, without anything on it yet."""

    def __init__(self, *, workspace: str, access_key: str) -> None:
        super().__init__()
        self.workspace = workspace
        self.access_key = access_key

    def _refused(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") != f"AccessKey {self.access_key}":
            return problem(401, "Unauthorized", "the access key is not valid")
        if request.match_info["workspace"] != self.workspace:
            return problem(403, "Forbidden", "no policy allows this path")
        return None

    async def _served(
        self, request: web.Request, name: str, params: dict[str, Any], do: Callable[[], Awaitable[web.Response]]
    ) -> web.Response:
        headers = {key.lower(): value for key, value in request.headers.items()}
        return await self.answer(request, Call(name, params, headers, asyncio.get_running_loop().time()), do)


def reply(status: int, value: Any) -> web.Response:
    """A JSON answer; text of any kind leaves as ASCII with escapes."""
    return web.Response(
        status=status,
        body=json.dumps(value).encode("ascii"),
        content_type="application/json",
        headers={"messagebird-request-id": uuid.uuid4().hex},
    )


def problem(status: int, code: str, message: str, details: Mistakes | None = None) -> web.Response:
    """An error as the API words it."""
    return reply(status, {"code": code, "message": message} | ({"details": details} if details else {}))

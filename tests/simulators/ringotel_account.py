"""A client of the simulated Ringotel, sharing nothing with the plug-in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web

from syncd.simulators.ringotel import RingotelSimulator

KEY = "rt-key-1"
CONTACT = "15551230001"


class Account:
    """It calls, receives webhooks, and serves files that links lead to."""

    def __init__(self, desk: RingotelSimulator, session: aiohttp.ClientSession) -> None:
        self.desk = desk
        self.session = session
        self.org = desk.add_organization(["9003", "9004"])
        self.heard: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.log: list[str] = []
        self.url = ""
        self.files: dict[str, tuple[bytes, str]] = {}
        self.fetches: list[dict[str, str]] = []

    async def call(self, method: str, *, path: str = "/api", key: str = KEY, **params: Any) -> Any:
        body = json.dumps({"method": method, "params": {name.rstrip("_"): value for name, value in params.items()}})
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        async with self.session.post(self.desk.url + path, data=body, headers=headers) as response:
            text = await response.text()
            self.log.append("answer")
            self.status = response.status
            return json.loads(text) if text else None

    async def open(self, user: str = "9003", contact: str = CONTACT) -> str:
        sessionid: str = (await self.call("message", orgid=self.org, from_=contact, to=user))["result"]["sessionid"]
        return sessionid

    async def upload(self, data: bytes, name: str, content_type: str, **fields: str) -> Any:
        form = aiohttp.FormData(quote_fields=False)
        for field, value in fields.items():
            form.add_field(field.rstrip("_"), value)
        form.add_field("file", data, filename=name, content_type=content_type)
        headers = {"Authorization": f"Bearer {KEY}"}
        async with self.session.post(self.desk.api_url, data=form, headers=headers) as response:
            return await response.json()

    def serves(self, data: bytes, name: str, content_type: str) -> str:
        self.files[name] = data, content_type
        return f"{self.url}/media/token/{quote(name)}?x=1"

    async def give(self, request: web.Request) -> web.Response:
        self.fetches.append({"method": request.method, **request.headers})
        if request.match_info["name"] not in self.files:
            return web.Response(status=404)
        data, content_type = self.files[request.match_info["name"]]
        return web.Response(body=data, headers={"Content-Type": content_type})

    async def get(self, url: str) -> tuple[int, bytes, str]:
        async with self.session.get(url) as response:
            return response.status, await response.read(), response.content_type

    async def hear(self, request: web.Request) -> web.Response:
        self.raw.append(await request.read())
        self.heard.append(json.loads(self.raw[-1]))
        self.log.append("webhook")
        return web.json_response({})


@asynccontextmanager
async def account_of_simulator() -> AsyncIterator[Account]:
    """A simulator that runs, and its client."""
    async with RingotelSimulator(KEY) as desk, aiohttp.ClientSession() as session:
        account = Account(desk, session)
        app = web.Application()
        app.router.add_post("/hook", account.hear)
        app.router.add_get("/media/token/{name}", account.give)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        account.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        desk.hook_url = f"{account.url}/hook"
        yield account
        await runner.cleanup()

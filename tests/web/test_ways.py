"""Whoever tries webhook addresses learns nothing, neither from the answers nor from what they cost (G11)."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from yarl import URL

from syncd.config import load
from syncd.daemon.parts import assemble, client_session
from syncd.daemon.running import location_of
from syncd.model.clock import utc_now
from syncd.store.writer import Store
from syncd.web import hooks
from syncd.web.limits import limits_of
from syncd.web.listener import Listener
from tests.support.settings import DESK_HOOK_SECRET, ISLASH_HOOK_SECRET, Settings, toml

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
RIGHT = (f"/hooks/office/{DESK_HOOK_SECRET}", f"/hooks/islash/{ISLASH_HOOK_SECRET}", "/hooks/bird", "/hooks/birdpoll")
WRONG = (
    "/hooks/nobody",
    "/hooks/nobody/" + "x" * len(DESK_HOOK_SECRET),
    f"/hooks/nobody/{DESK_HOOK_SECRET}",
    "/hooks/office",
    "/hooks/office/",
    "/hooks/office/" + "x" * len(DESK_HOOK_SECRET),
    f"/hooks/office/{DESK_HOOK_SECRET[:-1]}",
    f"/hooks/office/{DESK_HOOK_SECRET[:-1]}x",
    f"/hooks/office/{DESK_HOOK_SECRET}x",
    f"/hooks/office/{DESK_HOOK_SECRET.upper()}",
    f"/hooks/office/{DESK_HOOK_SECRET}/",
    f"/hooks/office//{DESK_HOOK_SECRET}",
    f"/hooks/office/./{DESK_HOOK_SECRET}",
    f"/hooks/office/{DESK_HOOK_SECRET}%00",
    f"/hooks/office/{DESK_HOOK_SECRET}%FF",
    f"/hooks/office/{ISLASH_HOOK_SECRET}",
    "/hooks/office/%C3%A9",
    "/hooks/islash",
    f"/hooks/islash/{DESK_HOOK_SECRET}",
    "/hooks/islash/" + "x" * len(ISLASH_HOOK_SECRET),
    "/hooks/bird/",
    "/hooks/bird/secret",
    "/hooks/Bird",
    "/hooks/",
    "/hooks",
    "/",
    "/metrics",
)
Address = str


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[Address]:
    """The doors of the scenarios' config behind a public listener. None of these requests gets as far as the store."""
    file = tmp_path / "config.toml"
    urls = dict.fromkeys(("ringotel", "bird", "islash"), "http://127.0.0.1:1/api")
    file.write_text(
        toml(
            Settings(),
            database=f"sqlite:///{tmp_path / 'syncd.db'}",
            listen="127.0.0.1:8080",
            admin="127.0.0.1:8081",
            urls=urls,
        )
    )
    config = load(file, {})
    async with client_session() as session:
        answers = assemble(config, Store(location_of(config)), session, {}, owner="test", clock=utc_now).hooks
        limits, _ = limits_of("public", config.server, outgoing=0)
        runner = web.ServerRunner(Listener(answers.answer, limits, name="public"))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def asked(client: aiohttp.ClientSession, method: str, url: str) -> tuple[int, dict[str, str], bytes]:
    """An answer, without its time."""
    data = b'{"api_key":"x"}' if method == "POST" else None
    async with client.request(method, URL(url, encoded=True), data=data) as response:
        headers = {name: value for name, value in response.headers.items() if name != "Date"}
        return response.status, headers, await response.read()


async def test_what_leads_nowhere_looks_and_costs_the_same(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """G11: a wrong account, a wrong secret and a missing one: one answer, and the same comparisons."""
    compared: list[tuple[type, type, int]] = []
    compare = hmac.compare_digest

    def comparing(known: bytes, given: bytes) -> bool:
        compared.append((type(known), type(given), len(given)))
        return compare(known, given)

    monkeypatch.setattr(hmac, "compare_digest", comparing)
    async with aiohttp.ClientSession() as client:
        for method in METHODS:
            answers = []
            for path in WRONG:
                compared.clear()
                answers.append(await asked(client, method, address + path))
                ((known, given, _),) = compared
                assert known is given is bytes, path
            assert answers == answers[:1] * len(WRONG), method
            assert answers[0][0] == 404, method
        # What leads somewhere is compared just as often.
        for path in RIGHT:
            compared.clear()
            assert (await asked(client, "GET", address + path))[0] == 200
            assert compared == [(bytes, bytes, len(path))], path


async def test_webhooks_to_wrong_addresses_are_told_of_once_in_a_while(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G13: a mistyped address is found in the log; a thousand of them fill no disk, and show nothing."""
    with capture_logs() as logs:
        async with aiohttp.ClientSession() as client:
            for path in WRONG:
                await asked(client, "GET", address + path)
            assert logs == []
            for path in (*WRONG, *RIGHT):
                await asked(client, "POST", address + path)
            monkeypatch.setattr(hooks, "MISADDRESSED_SECONDS", 0.0)
            await asked(client, "POST", f"{address}/hooks/office/mistyped")
    told = [line for line in logs if line["event"] == "webhook.misaddressed"]
    addressed = sum(path.startswith("/hooks/") for path in WRONG)
    assert [(line["log_level"], line["requests"]) for line in told] == [("warning", 1), ("warning", addressed)]
    assert all(line.keys() == {"event", "log_level", "requests"} for line in told)


async def test_a_path_may_be_quoted(address: Address) -> None:
    """A proxy that quotes more than it must does not lock anybody out."""
    quoted = "".join(f"%{ord(letter):02x}" if letter.isalpha() else letter for letter in RIGHT[0])
    async with aiohttp.ClientSession() as client:
        assert (await asked(client, "GET", address + quoted))[0] == 200

"""Looking at a Bird account and putting its webhook subscriptions right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from syncd.engine.platform import Finding
from syncd.platforms.bird import hooks
from syncd.platforms.bird.api import Api
from syncd.platforms.http import Http
from syncd.simulators.base import Fault
from syncd.simulators.bird import BirdSimulator
from syncd.simulators.bird_api import ORGANIZATION, WORKSPACE
from tests.platforms.bird.harness import ACCESS_KEY, CHANNEL, HOOK_URL, SIGNING_KEY, connected, setup, simulator

EVENTS = ["sms.inbound", "sms.outbound", "sms.interaction"]


@pytest.fixture
async def bird() -> AsyncIterator[BirdSimulator]:
    async with simulator() as started:
        yield started


def _writes(bird: BirdSimulator) -> list[str]:
    methods = [call.params["method"] for call in bird.calls_of("subscriptions")]
    return [method for method in methods if method != "GET"]


def _bad(findings: tuple[Finding, ...]) -> list[str]:
    assert not any(key in f"{finding}" for finding in findings for key in (ACCESS_KEY, SIGNING_KEY))
    return [f"{finding.subject}: {finding.detail}" for finding in findings if not finding.ok]


def _rows(bird: BirdSimulator) -> list[dict[str, Any]]:
    return list(bird.subscriptions.values())


@pytest.mark.parametrize("organization", [ORGANIZATION, None])
async def test_register_makes_one_subscription_for_each_event(bird: BirdSimulator, organization: str | None) -> None:
    async with connected(bird, organization=organization) as platform:
        findings = await platform.register_hooks(dry_run=False)
    assert _bad(findings) == []
    assert [row["event"] for row in _rows(bird)] == EVENTS
    for row in _rows(bird):
        assert row["eventFilters"] == [{"key": "channelId", "value": CHANNEL}]
        assert (row["url"], row["signingKey"], row["template"]) == (HOOK_URL, SIGNING_KEY, "")
    prefix = f"/organizations/{ORGANIZATION}/workspaces/{WORKSPACE}" if organization else f"/workspaces/{WORKSPACE}"
    assert {call.params["path"] for call in bird.calls_of("subscriptions")} == {f"{prefix}/webhook-subscriptions"}


async def test_register_is_idempotent(bird: BirdSimulator) -> None:
    bird.shows_signing_keys = True
    async with connected(bird) as platform:
        await platform.register_hooks(dry_run=False)
        before = [dict(row) for row in _rows(bird)]
        bird.calls.clear()
        assert _bad(await platform.register_hooks(dry_run=False)) == []
    assert _writes(bird) == []
    assert _rows(bird) == before


async def test_a_signing_key_that_is_hidden_is_set_again(bird: BirdSimulator) -> None:
    async with connected(bird) as platform:
        await platform.register_hooks(dry_run=False)
        _rows(bird)[0]["signingKey"] = "rotated away"
        await platform.register_hooks(dry_run=False)
    assert [row["signingKey"] for row in _rows(bird)] == [SIGNING_KEY] * 3


@pytest.mark.parametrize("change", [{"status": "inactive"}, {"template": "twilio"}, {"signingKey": "other"}])
async def test_register_repairs(bird: BirdSimulator, change: dict[str, str]) -> None:
    bird.shows_signing_keys = True
    async with connected(bird) as platform:
        await platform.register_hooks(dry_run=False)
        before = [{**row, "updatedAt": ""} for row in _rows(bird)]
        _rows(bird)[1].update(change)
        (wrong,) = _bad(await platform.probe())
        assert "sms.outbound" in wrong and "syncd hooks register" in wrong and next(iter(change)) in wrong
        bird.calls.clear()
        await platform.register_hooks(dry_run=False)
        assert _bad(await platform.probe()) == []
    assert _writes(bird) == ["PATCH"]
    assert [{**row, "updatedAt": ""} for row in _rows(bird)] == before


async def test_a_dry_run_writes_nothing(bird: BirdSimulator) -> None:
    async with connected(bird) as platform:
        findings = await platform.register_hooks(dry_run=True)
    assert [finding.detail for finding in findings] == ["would be created"] * 3
    assert _writes(bird) == [] and _rows(bird) == []


async def test_subscriptions_of_others_are_left_alone(bird: BirdSimulator) -> None:
    other = {"service": "channels", "event": "sms.inbound", "url": "https://crm.example.com/x", "eventFilters": None}
    bird.subscriptions = {
        str(number): {"id": str(number), "signingKey": "", "template": "", "status": "inactive", **other}
        for number in range(130)
    }
    bird.subscriptions["odd"] = {"id": "odd", "event": {"a": 1}, "eventFilters": "x", "url": None}
    async with connected(bird) as platform:
        assert _bad(await platform.register_hooks(dry_run=False)) == []
        assert _bad(await platform.probe()) == []
    assert len(_rows(bird)) == 134
    assert all(row["status"] == "inactive" for row in _rows(bird)[:130])
    # More than a page of them: ours were found behind it.
    assert _writes(bird) == ["POST"] * 3


async def test_probe_tells_what_is_missing(bird: BirdSimulator) -> None:
    async with connected(bird) as platform:
        wrong = _bad(await platform.probe())
    assert len(wrong) == 3
    assert all(event in line and "syncd hooks register" in line for event, line in zip(EVENTS, wrong, strict=True))
    assert _writes(bird) == []


async def test_probe_is_content_when_all_is_right(bird: BirdSimulator) -> None:
    async with connected(bird) as platform:
        await platform.register_hooks(dry_run=False)
        findings = await platform.probe()
    assert _bad(findings) == []
    assert len(findings) == 5


async def test_probe_warns_of_an_unfiltered_and_a_double_subscription(bird: BirdSimulator) -> None:
    async with connected(bird) as platform:
        await platform.register_hooks(dry_run=False)
        first = _rows(bird)[0]
        bird.subscriptions["double"] = {**first, "id": "double"}
        bird.subscriptions["broad"] = {**first, "id": "broad", "eventFilters": None}
        wrong = _bad(await platform.probe())
    assert len(wrong) == 2
    assert "there are 2" in wrong[0] and "without a filter" in wrong[1]


@pytest.mark.parametrize("status", ["inactive", ""])
async def test_a_channel_that_is_not_active_is_told(bird: BirdSimulator, status: str) -> None:
    bird.channels[CHANNEL].status = status
    async with connected(bird) as platform:
        await platform.register_hooks(dry_run=False)
        (wrong,) = _bad(await platform.probe())
    assert "activate it" in wrong


async def test_a_list_that_begins_later_than_asked_is_told(bird: BirdSimulator) -> None:
    async with connected(bird) as platform:
        await platform.register_hooks(dry_run=False)
        body = b'{"startAt":"2025-06-01T11:59:00Z","results":[]}'
        bird.faults.append(Fault("reply", status=200, body=body, match=lambda call: call.name == "list"))
        (wrong,) = _bad(await platform.probe())
    assert "since 2025-06-01T11:59:00Z only" in wrong


@pytest.mark.parametrize("kind", ["status", "hangup", "reply"])
@pytest.mark.parametrize("status", [401, 404, 429, 500])
async def test_findings_instead_of_errors(bird: BirdSimulator, kind: str, status: int) -> None:
    bird.faults.append(Fault(kind, times=-1, status=status, body=b"<html>"))
    async with connected(bird) as platform:
        assert _bad(await platform.probe())
        assert _bad(await platform.register_hooks(dry_run=False))


async def test_a_write_that_fails_is_a_finding(bird: BirdSimulator) -> None:
    bird.faults.append(
        Fault(
            "status",
            times=-1,
            status=422,
            match=lambda call: call.params.get("method") == "POST",
            body=b'{"code":"InvalidPayload","message":"too many"}',
        )
    )
    async with connected(bird) as platform:
        wrong = _bad(await platform.register_hooks(dry_run=False))
    assert len(wrong) == 3 and all("InvalidPayload: too many" in line for line in wrong)


@pytest.mark.parametrize(
    ("public_url", "fits"),
    [
        ("https://bridge.example.com", True),
        ("https://bridge.example.com/", True),
        ("https://bridge.example.com/sub", True),
        ("http://bridge.example.com", False),
        ("https://bridge.example.com:8443", False),
        ("https://192.0.2.7", False),
        ("https://bridge", False),
    ],
)
async def test_an_address_that_bird_does_not_take_is_told(bird: BirdSimulator, public_url: str, fits: bool) -> None:
    account = setup(bird.url, public_url=public_url)
    if fits:
        assert hooks.hook_url(account).endswith("/hooks/bird") and "//hooks" not in hooks.hook_url(account)
        return
    findings = await hooks.register(Api(account.settings, cast(Http, None)), account, dry_run=False)
    assert len(findings) == 1 and "public_url" in _bad(findings)[0]

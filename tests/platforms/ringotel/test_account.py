"""A Ringotel account: its settings, its door, and what `check --live` says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from syncd.engine.platform import HookRequest, Refused
from syncd.platforms.ringotel import plugin
from syncd.simulators.base import Fault
from tests.platforms.ringotel.harness import KEY, ORGID, Bench, bench, build


def mistakes(model: Any, value: dict[str, Any], **context: Any) -> dict[str, str]:
    """Dotted path -> message of everything wrong with a table of the config."""
    with pytest.raises(ValidationError) as error:
        model.model_validate(value, context=context)
    return {".".join(map(str, each["loc"])): each["msg"] for each in error.value.errors()}


def test_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RT_KEY", KEY)
    (tmp_path / "old").write_text("old-key\n")
    account: Any = plugin.account_model.model_validate({"api_key": "env:RT_KEY"})
    assert [key.reveal() for key in account.api_key] == [KEY]
    assert (account.base_url, account.webhook_secret) == ("https://shell.ringotel.co/api", None)
    assert account.resend_on_reopen is False
    both = {"api_key": ["env:RT_KEY", "file:old"]}
    account = plugin.account_model.model_validate(both, context={"folder": tmp_path})
    assert [key.reveal() for key in account.api_key] == [KEY, "old-key"]
    assert KEY not in repr(account)


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"api_key": "env:RT_UNSET"}, "api_key", "set the environment variable RT_UNSET"),
        ({"api_key": ["k", "env:RT_UNSET"]}, "api_key.1", "set the environment variable RT_UNSET"),
        ({"api_key": ["env:RT_UNSET"]}, "api_key.0", "set the environment variable RT_UNSET"),
        ({"api_key": 7}, "api_key", "write a secret as text"),
        ({"api_key": []}, "api_key", "at least one"),
        ({"api_key": "two words"}, "api_key", "no spaces"),
        ({"api_key": "line\nend"}, "api_key", "no spaces"),
        ({"base_url": "shell.ringotel.co"}, "base_url", "pattern"),
        ({"base_url": "https://x/api?y=1"}, "base_url", "pattern"),
        ({"webhook_secret": "a/b"}, "webhook_secret", "letters"),
        ({"resend_on_reopen": "perhaps"}, "resend_on_reopen", "boolean"),
        ({"apikey": "x"}, "apikey", "not permitted"),
    ],
)
def test_a_mistake_is_named_by_its_key(changes: dict[str, Any], path: str, words: str) -> None:
    found = mistakes(plugin.account_model, {"api_key": "k", **changes})
    assert list(found) == [path]
    assert words in found[path]


@pytest.mark.parametrize(
    ("end", "path"),
    [
        ({"users": ["9003"]}, "organization"),
        ({"organization": 17076444409917912922, "users": ["9003"]}, "organization"),
        ({"organization": ORGID}, "users"),
        ({"organization": ORGID, "users": []}, "users"),
        ({"organization": ORGID, "users": ["9003", "9004", "9003"]}, "users"),
        ({"organization": ORGID, "users": [""]}, "users.0"),
        ({"organization": ORGID, "users": ["9003"], "user": "9003"}, "user"),
    ],
)
def test_a_mistake_in_an_end(end: dict[str, Any], path: str) -> None:
    assert list(mistakes(plugin.end_model, end)) == [path]


def test_the_end_is_called_by_its_organization() -> None:
    end = plugin.end_model.model_validate({"organization": ORGID, "users": ["9003", "+15550001111"]})
    assert plugin.end_key("support", end) == ORGID


async def test_one_door_with_or_without_a_secret() -> None:
    async with bench() as plain, bench(webhook_secret="hook-secret") as secret:
        assert [(door.end, door.secret) for door in plain.platform.doors()] == [("", None)]
        assert [(door.end, door.secret) for door in secret.platform.doors()] == [("", "hook-secret")]


async def test_the_platform_takes_webhooks_of_either_key_and_calls_with_the_first() -> None:
    async with bench(api_key=[KEY, "old-key"]) as on:
        for key in (KEY, "old-key"):
            (event,) = on.platform.verify(_webhook(on, key))
            (fact,) = on.platform.parse(event)
            assert fact.__class__.__name__ == "StatusSeen"
        with pytest.raises(Refused):
            on.platform.verify(_webhook(on, "another"))
        await on.opened()
        assert on.desk.calls[0].headers["Authorization"] == f"Bearer {KEY}"


def _webhook(on: Bench, key: str) -> HookRequest:
    hook = on.desk.hook("read", {"sessionid": "s"}, api_key=key)
    return HookRequest("https://bridge.example.com/hooks/office", {}, hook.body)


async def test_probe_finds_everything_right() -> None:
    async with bench(users=("9003", "9004", "15550001111")) as on:
        on.desk.add_number("+15550001111", ["9003"])
        findings = await on.platform.probe()
        assert all(finding.ok for finding in findings), findings
        assert "3 of 3 users" in findings[-1].detail
        assert {call.name for call in on.desk.calls} == {"getOrganizations", "getChatUsers", "getSMSTrunks"}


async def test_probe_names_each_missing_user() -> None:
    async with bench(users=("9003", "9009", "+15550009999")) as on:
        bad = [finding.subject for finding in await on.platform.probe() if not finding.ok]
        assert bad == [f"organization {ORGID}, user 9009", f"organization {ORGID}, user +15550009999"]


async def test_probe_of_an_unknown_organization_does_not_hide_the_others() -> None:
    async with bench() as on:
        ends = ({"organization": "17", "users": ["1"]}, {"organization": ORGID, "users": ["9003"]})
        http = on.platform._client._http  # type: ignore[attr-defined]
        findings = await build(http, ends, base_url=on.desk.api_url).probe()
        assert [(finding.ok, finding.subject) for finding in findings] == [
            (True, "Ringotel API"),
            (False, "organization 17"),
            (True, f"organization {ORGID}"),
        ]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=401),
        Fault("status", status=502, body=b"<html>"),
        Fault("status", status=200, body=b'{"result":7}'),
        Fault("hangup"),
        Fault("status", status=429),
    ],
)
@pytest.mark.parametrize("nth", [0, 1])
async def test_probe_reports_a_fault_and_never_raises(fault: Fault, nth: int) -> None:
    name = ("getOrganizations", "getChatUsers")[nth]
    async with bench() as on:
        on.desk.faults.append(
            Fault(fault.kind, status=fault.status, body=fault.body, match=lambda call: call.name == name)
        )
        findings = await on.platform.probe()
        assert [finding.ok for finding in findings] == [True] * nth + [False]
        assert KEY not in repr(findings)

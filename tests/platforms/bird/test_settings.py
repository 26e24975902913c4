"""Config of a Bird account: what is taken, and that a mistake is named without showing a secret."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from syncd.platforms.bird import plugin
from syncd.simulators.bird_api import ORGANIZATION, WORKSPACE

GOOD: dict[str, Any] = {"workspace": WORKSPACE, "access_key": "ak", "signing_key": "sk"}


def _account(**keys: Any) -> Any:
    return plugin.account_model.model_validate({**GOOD, **keys})


def _mistake(**keys: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        _account(**keys)
    (error,) = caught.value.errors(include_input=False, include_url=False)
    assert error["loc"][0] in keys
    return f"{caught.value} {error['msg']}"


def test_defaults() -> None:
    account = _account()
    assert account.organization is None
    assert account.base_url == "https://api.bird.com"
    assert account.media_hosts == ("media.api.bird.com",)
    assert account.poll_interval == timedelta(seconds=30)
    assert "sk" not in repr(account) and "ak" not in repr(account).replace("access_key", "")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("30s", 30), ("5m", 300), ("2h", 7200), ("250ms", 0.25), ("1.5m", 90), (" 7 s ", 7)],
)
def test_poll_interval(text: str, seconds: float) -> None:
    assert _account(poll_interval=text).poll_interval == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["", "30", "s", "-1s", "1d2", "1e9s", 30, None, True, "9999999999s"])
def test_a_poll_interval_that_is_none(value: Any) -> None:
    assert "duration" in _mistake(poll_interval=value)


@pytest.mark.parametrize("value", ["ws_01hx", "WS_01HX"])
def test_a_workspace_of_the_newer_platform_is_named(value: str) -> None:
    assert "newer platform" in _mistake(workspace=value)


@pytest.mark.parametrize("value", ["", "x", WORKSPACE[:-1], WORKSPACE.replace("-", ""), f"{{{WORKSPACE}}}"])
def test_ids_are_uuids(value: str) -> None:
    assert "UUID" in _mistake(workspace=value)
    assert "UUID" in _mistake(organization=value)
    with pytest.raises(ValidationError):
        plugin.end_model.model_validate({"channel": value})


def test_ids_are_compared_in_lower_case() -> None:
    assert _account(workspace=WORKSPACE.upper(), organization=ORGANIZATION).workspace == WORKSPACE
    end = plugin.end_model.model_validate({"channel": WORKSPACE.upper()})
    assert plugin.end_key("any link", end) == WORKSPACE


def test_a_key_of_the_newer_platform_is_refused_without_being_shown() -> None:
    """G12."""
    mistake = _mistake(access_key="bk_us1_VerySecret")
    assert "bk_" in mistake and "VerySecret" not in mistake


def test_secrets_are_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIRD_ACCESS_KEY", "from-the-environment")
    account = _account(access_key="env:BIRD_ACCESS_KEY")
    assert account.access_key.reveal() == "from-the-environment"


@pytest.mark.parametrize("host", ["media.api.bird.com", "127.0.0.1:9000", "localhost", "[::1]:9000"])
def test_media_hosts(host: str) -> None:
    assert _account(media_hosts=[host]).media_hosts == (host,)


@pytest.mark.parametrize("host", ["", "https://media.api.bird.com", "host/path", "host:port", "a b", "user@host"])
def test_media_hosts_are_bare_hosts(host: str) -> None:
    assert "host" in _mistake(media_hosts=[host])


@pytest.mark.parametrize("url", ["api.bird.com", "ftp://x", "https://x/?q=1", "https://"])
def test_base_url(url: str) -> None:
    assert "address" in _mistake(base_url=url)
    assert _account(base_url="http://127.0.0.1:9/base/").base_url == "http://127.0.0.1:9/base"


def test_unknown_and_missing_keys_are_mistakes() -> None:
    with pytest.raises(ValidationError):
        _account(acess_key="x")
    with pytest.raises(ValidationError):
        plugin.account_model.model_validate({"workspace": WORKSPACE, "access_key": "ak"})
    with pytest.raises(ValidationError):
        plugin.end_model.model_validate({"channel": WORKSPACE, "session": "x"})


def test_capabilities() -> None:
    can = plugin.capabilities
    assert (can.role, can.default_rate, can.max_text) == ("channel", 20.0, 1600)
    assert can.polls and can.finds_sent and can.registers_hooks and not can.sessions

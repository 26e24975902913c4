"""A desk and a channel platform that only have a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from syncd.config import Config, ConfigError, load
from syncd.config.kinds import Duration
from syncd.engine.platform import Plugin
from syncd.model.capabilities import Capabilities
from syncd.secrets import Secret


class DeskAccount(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    api_key: Secret | tuple[Secret, ...]
    base_url: str = "https://desk.example"
    webhook_secret: Secret | None = None
    resend_on_reopen: bool = False


class DeskEnd(BaseModel):
    organization: str
    users: tuple[str, ...]


class ChannelAccount(BaseModel):
    user_token: Secret
    poll_interval: Duration = timedelta(seconds=30)
    media_hosts: tuple[str, ...] = ()


class ChannelEnd(BaseModel):
    session: Secret
    webhook_secret: Secret
    channel: str | None = None


def _never(*_: object) -> Any:
    raise AssertionError("a config is checked without building platforms")


PLUGINS: Mapping[str, Plugin] = {
    "desk": Plugin(
        "desk",
        Capabilities(role="desk", default_rate=2.0, max_text=4000),
        DeskAccount,
        DeskEnd,
        lambda link, settings: settings.organization,
        _never,
    ),
    "chan": Plugin(
        "chan",
        Capabilities(role="channel", default_rate=5.0, max_text=1600),
        ChannelAccount,
        ChannelEnd,
        lambda link, settings: settings.channel or link,
        _never,
    ),
}

GOOD = """
    [accounts.office]
    platform = "desk"
    api_key = "env:DESK_KEY"

    [accounts.shop-1]
    platform = "chan"
    user_token = "env:CHAN_TOKEN"
    rate = 3

    [[links]]
    name = "first"
    desk = { account = "office", organization = "17076444409917912922", users = ["9003", "9004"] }
    channel = { account = "shop-1", session = "env:SESSION_1", webhook_secret = "env:HOOK_1" }
    region = "HK"

    [[links]]
    name = "second"
    desk = { account = "office", organization = "17076444409917912922", users = ["9004"] }
    channel = { account = "shop-1", session = "env:SESSION_2", webhook_secret = "env:HOOK_2" }
"""

SECRETS = {
    "DESK_KEY": "desk-key-0001",
    "CHAN_TOKEN": "chan-token-0001",
    "SESSION_1": "session-0001",
    "SESSION_2": "session-0002",
    "HOOK_1": "hook-0001",
    "HOOK_2": "hook-0002",
}

Loader = Callable[..., Config]


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def read(tmp_path: Path) -> Loader:
    """Writes the text to a file and loads it; keyword arguments are environment variables."""

    def _read(text: str = GOOD, **environ: str) -> Config:
        file = tmp_path / "config.toml"
        file.write_text(dedent(text), encoding="utf-8")
        return load(file, environ, PLUGINS)

    return _read


@pytest.fixture
def mistakes(read: Loader) -> Callable[..., dict[str, str]]:
    """Loads a text that must be refused: path -> message of every mistake."""

    def _mistakes(text: str, **environ: str) -> dict[str, str]:
        with pytest.raises(ConfigError) as caught:
            read(text, **environ)
        found = [(problem.path, problem.message) for problem in caught.value.problems]
        assert len(dict(found)) == len(found), "two mistakes in one place"
        return dict(found)

    return _mistakes

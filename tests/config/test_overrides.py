from __future__ import annotations

from collections.abc import Callable

import pytest

from syncd.config import Address
from tests.config.conftest import GOOD, Loader

Mistakes = Callable[..., dict[str, str]]


def test_scalars_are_overridden(read: Loader) -> None:
    config = read(
        SYNCD_SERVER__LISTEN="127.0.0.1:9999",
        SYNCD_SERVER__DRAIN_SECONDS="2.5",
        SYNCD_DATABASE__MIGRATE="false",
        SYNCD_LOG__LEVEL='"debug"',
        SYNCD_ACCOUNTS__OFFICE__RATE="7",
        SYNCD_ACCOUNTS__SHOP_1__POLL_INTERVAL="5s",
        SYNCD_LINKS__1__ON_UNKNOWN="resend",
        SYNCD_LINKS__0__DESK__USERS__1="9005",
        SYNCD_LINKS__0__DESK__ORGANIZATION="42",
        syncd_server__listen="not one of ours",
    )
    assert config.server.listen == Address("127.0.0.1", 9999)
    assert config.server.drain_seconds == 2.5
    assert config.database.migrate is False
    assert config.log.level == "debug"
    assert config.accounts["office"].rate == 7.0
    assert config.setup("shop-1").settings.poll_interval.total_seconds() == 5
    assert config.topology.links[1].on_unknown == "resend"
    assert config.topology.links[0].desk.users == ("9003", "9005")
    assert config.topology.links[0].desk.key == "42"


@pytest.mark.parametrize("text", ["12345", "true", "1e500", "2024-01-01", "0x10", 'say "x"\nrate = 1', "env:DESK_KEY"])
def test_a_secret_may_look_like_anything(read: Loader, text: str) -> None:
    config = read(SYNCD_ACCOUNTS__OFFICE__API_KEY=text)
    secret = config.setup("office").settings.api_key
    assert secret.reveal() == ("desk-key-0001" if text.startswith("env:") else text)
    assert config.warnings == ()


def test_an_override_may_cure_a_mistake(read: Loader) -> None:
    broken = GOOD.replace('api_key = "env:DESK_KEY"', "")
    assert read(broken, SYNCD_ACCOUNTS__OFFICE__API_KEY="given").secrets()[0] == "given"


@pytest.mark.parametrize(
    "name",
    [
        "SYNCD_SERVER_LISTEN",
        "SYNCD_SERVER__LISTENS",
        "SYNCD_SERVER",
        "SYNCD_SERVER__LISTEN__PORT",
        "SYNCD_NOTHING__LISTEN",
        "SYNCD_ACCOUNTS__NOBODY__RATE",
        "SYNCD_ACCOUNTS__OFFICE",
        "SYNCD_LINKS__2__REGION",
        "SYNCD_LINKS__0__DESK",
        "SYNCD_LINKS__0__DESK__USERS",
        "SYNCD_",
    ],
)
def test_an_override_that_matches_nothing_is_a_mistake(mistakes: Mistakes, name: str) -> None:
    found = mistakes(GOOD, **{name: "1"})
    assert list(found) == [""]
    assert f"{name} matches no key" in found[""]


def test_an_override_that_matches_two_accounts_is_a_mistake(mistakes: Mistakes) -> None:
    second = '    [accounts.shop_1]\n    platform = "chan"\n    user_token = "env:CHAN_TOKEN"\n'
    found = mistakes(GOOD + second, SYNCD_ACCOUNTS__SHOP_1__RATE="1")
    assert "accounts.shop-1.rate and accounts.shop_1.rate" in found[""]


def test_a_mistake_in_an_override_is_named_by_its_key(mistakes: Mistakes) -> None:
    assert list(mistakes(GOOD, SYNCD_SERVER__LISTEN="nowhere", SYNCD_LOG__BODIES="maybe")) == [
        "server.listen",
        "log.bodies",
    ]


def test_names_that_are_no_overrides(read: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCD_DESK_KEY", "from-our-own-prefix")
    config = read(
        GOOD.replace("env:DESK_KEY", "env:SYNCD_DESK_KEY"),
        SYNCD_DESK_KEY="from-our-own-prefix",
        SYNCD_CONFIG="elsewhere.toml",
        SYNCD_FAILPOINTS="x",
        SYNCD_TEST_POSTGRES="x",
        SYNCD_SERVICE_HOST="10.0.0.1",
        SYNCD_SERVICE_PORT_HTTP="80",
        SYNCD_PORT="tcp://10.0.0.1:80",
        SYNCD_PORT_80_TCP_ADDR="10.0.0.1",
    )
    assert "from-our-own-prefix" in config.secrets()

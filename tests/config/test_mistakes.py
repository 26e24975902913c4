from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.config import ConfigError, load
from tests.config.conftest import GOOD, Loader

Mistakes = Callable[..., dict[str, str]]


def test_every_mistake_is_told_at_once(mistakes: Mistakes) -> None:
    found = mistakes(
        """
        colour = "red"
        [server]
        listen = "8080"
        admin_listen = 8081
        public_url = "https://bridge.example.com/?x=1"
        drain_seconds = 0
        max_concurrent = "many"
        prot = 1
        [database]
        url = "mysql://u:hidden@db/x"
        [log]
        level = "verbose"
        bodies = 1
        [media]
        max_bytes = -1
        private_hosts = ["http://a.example/"]
        [retention]
        bodies = "90 days"
        events = "0s"
        [accounts."no spaces"]
        platform = "desk"
        api_key = "k"
        [accounts.office]
        platform = "desk"
        api_key = "env:NO_SUCH_VARIABLE"
        webhook_secrets = "x"
        rate = 0
        [accounts.shop]
        platform = "carrier-pigeon"
        [accounts.bare]
        user_token = "x"
        [accounts.chan]
        platform = "chan"
        user_token = 5
        poll_interval = "soon"
        [[links]]
        name = "one link"
        desk = { account = "chan", organization = "1", users = ["9003"] }
        channel = { account = "nobody", session = "a", webhook_secret = "b" }
        region = "Hong Kong"
        on_unknown = "ask"
        max_age = "0s"
        [[links]]
        desk = { account = "office", users = 9003 }
        channel = { session = "a" }
        """
    )
    assert {path: message.split(":")[0] for path, message in found.items()} == {
        "colour": "unknown key",
        "server.listen": "write host",
        "server.admin_listen": "write host",
        "server.public_url": 'write the address that platforms call, such as "https',
        "server.drain_seconds": "must be greater than 0.0",
        "server.max_concurrent": "must be a whole number",
        "server.prot": "unknown key",
        "database.url": 'write "sqlite',
        "log.level": "must be one of 'debug', 'info', 'warning' or 'error'",
        "log.bodies": "must be true or false",
        "media.max_bytes": "must be greater than 0",
        "media.private_hosts.0": 'write "host" or "host',
        "retention.bodies": 'write a duration as text with a unit, such as "30s", "15m", "12h" or "90d"',
        "retention.events": "must be longer than zero",
        'accounts."no spaces"': "name it with 1 to 64 letters, digits and . _ - and begin with a letter or digit",
        "accounts.office.api_key": "env",
        "accounts.office.webhook_secrets": "unknown key",
        "accounts.office.rate": "must be greater than 0.0",
        "accounts.shop.platform": "unknown platform",
        "accounts.bare.platform": "is missing",
        "accounts.chan.user_token": "write a secret as text",
        "accounts.chan.poll_interval": 'write a duration as text with a unit, such as "30s", "15m", "12h" or "90d"',
        "links.0.name": "use 1 to 64 letters, digits and . _ - and begin with a letter or digit",
        "links.0.desk.account": "chan is a channel platform, no desk",
        "links.0.channel.account": "no account has this name",
        "links.0.region": 'write the two capital letters of a country, such as "US", "GB" or "HK"',
        "links.0.on_unknown": "must be one of 'hold' or 'resend'",
        "links.0.max_age": "must be longer than zero",
        "links.1.name": "is missing",
        "links.1.desk.organization": "is missing",
        "links.1.desk.users": "must be a list",
        "links.1.channel.account": "is missing",
    }
    assert "NO_SUCH_VARIABLE" in found["accounts.office.api_key"]
    assert "did you mean webhook_secret?" in found["accounts.office.webhook_secrets"]
    assert "chan, desk" in found["accounts.shop.platform"]
    assert not any("hidden" in message for message in found.values())


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        (('name = "second"', 'name = "first"'), "links.1.name", "links.0 has this name too"),
        (('"env:HOOK_2"', '"env:HOOK_1"'), "links.1.channel.webhook_secret", "links.0.channel.webhook_secret"),
        (('"env:SESSION_2"', '"env:SESSION_1"'), "links.1.channel.session", "links.0.channel.session"),
        (('"env:SESSION_2"', '"env:SESSION_2", channel = "first"'), "links.1.channel", "links.0 has this channel end"),
    ],
)
def test_what_links_must_not_share(mistakes: Mistakes, change: tuple[str, str], path: str, words: str) -> None:
    found = mistakes(GOOD.replace(*change))
    found.pop("links.1.name" if path != "links.1.name" else "", None)
    assert words in found.pop(path)
    assert set(found) <= {"links.1.channel"}


def test_of_several_keys_the_wrong_one_is_named(mistakes: Mistakes) -> None:
    found = mistakes(GOOD.replace('"env:DESK_KEY"', '["env:DESK_KEY", "env:NO_SUCH_VARIABLE"]'))
    assert list(found) == ["accounts.office.api_key.1"]


@pytest.mark.parametrize(
    "text",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "sqlite+aiosqlite:///a.db",
        "postgres://u:hunter2@h/db",
        "postgresql+asyncpg://u:hunter2@h/db",
        "postgresql://u:hunter2@h",
        "postgresql://u:hunter2@h:port/db",
        "postgresql://u:hun#ter2@h/db",
        "postgresql://u:hunter2@h/db?sslmode=require",
        "hunter2",
    ],
)
def test_database_addresses_that_are_none(mistakes: Mistakes, text: str) -> None:
    found = mistakes(f'[database]\nurl = "{text}"')
    assert list(found) == ["database.url"]
    assert "hunter2" not in found["database.url"]
    assert "hun" not in found["database.url"]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("server = 5", "server"),
        ("accounts = 5", "accounts"),
        ("links = 5", "links"),
        ("links = [5]", "links.0"),
        ("[accounts]\noffice = 5", "accounts.office"),
        ('[[links]]\nname = "a"\ndesk = 5\nchannel = {account = 5}', "links.0.desk"),
        ('[server]\nlisten = "127.0.0.1:9000"\nadmin_listen = "127.0.0.1:9000"', "server"),
        ('[server]\ncontrol_socket = "' + "x" * 120 + '"', "server.control_socket"),
        ("[server]\ndrain_seconds = nan", "server.drain_seconds"),
    ],
)
def test_wrong_shapes(mistakes: Mistakes, text: str, path: str) -> None:
    assert path in mistakes(text)


def test_a_syntax_error_names_its_line(mistakes: Mistakes) -> None:
    assert "line 2" in mistakes("[server]\nlisten = \n")[""]


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8") as caught:
        load(file, {})
    assert caught.value.file == file


def test_no_file_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("syncd.config.loading.PLACES", (Path("config.toml"), tmp_path / "etc.toml"))
    with pytest.raises(ConfigError) as caught:
        load(None, {})
    assert f"{tmp_path}/config.toml or {tmp_path}/etc.toml" in str(caught.value)
    with pytest.raises(ConfigError, match="named"):
        load(None, {"SYNCD_CONFIG": "named.toml"})


def test_an_error_lists_its_mistakes_a_line(read: Loader) -> None:
    with pytest.raises(ConfigError) as caught:
        read("a = 1\nb = 2")
    assert str(caught.value).splitlines()[1:] == ["  a: unknown key: remove it", "  b: unknown key: remove it"]


_KEYS = st.sampled_from(["server", "listen", "database", "url", "accounts", "office", "platform", "api_key", "links"])
_TABLES = st.recursive(
    st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.sampled_from(["desk", "chan", "office"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS | st.text(max_size=4), inner)),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(_KEYS | st.text(max_size=4), _TABLES, max_size=5))
def test_no_document_ends_in_anything_but_mistakes(tmp_path: Path, document: dict[str, object]) -> None:
    from syncd.config.assembly import Assembly
    from syncd.config.plugins import Plugins
    from tests.config.conftest import PLUGINS

    assembly = Assembly(document, tmp_path / "config.toml", Plugins(PLUGINS))
    assert (assembly.config() is None) == bool(assembly.problems)

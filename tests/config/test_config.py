from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import timedelta
from pathlib import Path

import pytest

from syncd.config import Address, load
from syncd.config.database import parse_database
from syncd.secrets import Secret
from tests.config.conftest import GOOD, PLUGINS, SECRETS, Loader

WITH_ACCOUNTS = GOOD.split("[[links]]")[0]


def test_an_empty_file_has_every_default(read: Loader, tmp_path: Path) -> None:
    config = read("")
    assert config.path == tmp_path / "config.toml"
    assert config.folder == tmp_path
    assert config.server.listen == Address("127.0.0.1", 8080)
    assert config.server.admin_listen == Address("127.0.0.1", 8081)
    assert config.server.public_url == "http://127.0.0.1:8080"
    assert config.server.control_socket == tmp_path / "syncd.sock"
    assert config.server.drain_seconds == 25
    assert config.server.max_concurrent == 512
    assert config.database.kind == "sqlite"
    assert config.database.path == tmp_path / "syncd.db"
    assert config.database.url.reveal() == f"sqlite:///{tmp_path}/syncd.db"
    assert config.database.migrate is True
    assert (config.log.format, config.log.level, config.log.bodies) == ("auto", "info", False)
    assert config.media.max_bytes == 20_000_000
    assert config.media.private_hosts == ()
    assert config.retention.bodies == timedelta(days=90)
    assert config.retention.events == timedelta(days=30)
    assert config.topology.links == ()
    assert config.secrets() == ()


def test_links_become_the_topology_in_file_order(read: Loader) -> None:
    config = read()
    first, second = config.topology.links
    assert (first.name, first.region, first.position) == ("first", "HK", 0)
    assert first.desk.users == ("9003", "9004")
    assert (second.region, second.on_unknown, second.edits, second.failure_notice) == ("US", "hold", "note", True)
    assert second.max_age == timedelta(hours=12)
    assert second.channel.key == "second"
    assert config.topology.by_channel("shop-1", "second") is second


def test_accounts_have_their_platform_and_its_rate_unless_told(read: Loader) -> None:
    config = read()
    assert list(config.accounts) == ["office", "shop-1"]
    assert config.accounts["office"].rate == 2.0
    assert config.accounts["shop-1"].rate == 3.0
    assert config.accounts["shop-1"].plugin is PLUGINS["chan"]


def test_setup_gives_a_platform_its_ends(read: Loader) -> None:
    setup = read('[server]\npublic_url = "https://bridge.example.com/chat/"\n' + WITH_ACCOUNTS).setup("shop-1")
    assert (setup.name, setup.public_url, setup.ends) == ("shop-1", "https://bridge.example.com/chat", ())
    ends = read().setup("shop-1").ends
    assert [(end.link, end.key, end.settings.session.reveal()) for end in ends] == [
        ("first", "first", "session-0001"),
        ("second", "second", "session-0002"),
    ]


def test_secrets_lists_every_secret(read: Loader) -> None:
    config = read('[database]\nurl = "postgresql://u:p%40ss@db/syncd"\n' + GOOD)
    assert set(config.secrets()) == {*SECRETS.values(), "p%40ss", "p@ss", "postgresql://u:p%40ss@db/syncd"}


def test_nothing_shows_a_secret(read: Loader) -> None:
    config = read('[database]\nurl = "postgresql://u:dbpassword@db/syncd"\n' + GOOD)
    shown = f"{config!r}{config}{config.setup('office')!r}{config.setup('shop-1')!r}"
    assert "first" in shown
    for secret in config.secrets():
        assert secret not in shown


def test_a_config_cannot_be_changed(read: Loader) -> None:
    config = read()
    with pytest.raises(FrozenInstanceError):
        config.path = Path("/elsewhere")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("url", "path"),
    [("sqlite:///a/b.db", "/conf/a/b.db"), ("sqlite:////var/b.db", "/var/b.db"), ("sqlite:///../b.db", "/b.db")],
)
def test_sqlite_paths_are_relative_to_the_file(url: str, path: str) -> None:
    database = parse_database(Secret(url), Path("/conf"), migrate=True)
    assert database.path == Path(path)
    assert database.url.reveal() == f"sqlite:///{path}"
    assert list(database.secrets()) == []


def test_the_database_may_be_a_secret_reference(read: Loader, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:word-1@db:5432/syncd\n")
    config = read('[database]\nurl = "file:url"\nmigrate = false')
    assert config.database.kind == "postgresql"
    assert config.database.path is None
    assert config.database.url.reveal() == "postgresql://u:word-1@db:5432/syncd"
    assert config.database.migrate is False
    assert "word-1" in config.secrets()
    assert "database.url" not in [warning.path for warning in config.warnings]


def test_warnings(read: Loader) -> None:
    text = GOOD.replace('"env:DESK_KEY"', '"a-literal-key"').replace('"env:HOOK_1"', '"abc"') + (
        """
    edits = "ignore"

    [media]
    max_bytes = 5

    [retention]
    events = "1d"

    [server]
    public_url = "http://bridge.example.com"

    [database]
    url = "postgresql://u:literal@db/x"

    [accounts.second]
    platform = "chan"
    user_token = "env:CHAN_TOKEN"
    media_hosts = ["a.example"]
    """
    )
    warnings = sorted((warning.path, warning.message.split(":")[0]) for warning in read(text).warnings)
    assert warnings == [
        ("accounts.office.api_key", "the secret stands in the file"),
        ("accounts.second", "a link has this name too, and `pause` takes either"),
        ("accounts.second", "no link uses it"),
        ("database.url", "the password stands in the file"),
        ("links.0.channel.webhook_secret", "the secret is too short to be kept out of the logs"),
        ("links.0.channel.webhook_secret", "the secret stands in the file"),
        ("server.public_url", "webhooks would come unencrypted"),
    ]


def test_a_good_file_has_no_warnings(read: Loader) -> None:
    assert read().warnings == ()


def test_platforms_cannot_call_every_interface(read: Loader) -> None:
    warnings = read('[server]\nlisten = "0.0.0.0:8080"\n' + GOOD.replace("\n    ", "\n")).warnings
    assert [warning.path for warning in warnings] == ["server.public_url"]


def test_search_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("given.toml", "named.toml", "config.toml"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    named = {"SYNCD_CONFIG": str(tmp_path / "named.toml")}
    assert load(tmp_path / "given.toml", named).path.name == "given.toml"
    assert load(None, named).path.name == "named.toml"
    assert load(None, {}).path == tmp_path / "config.toml"
    assert load(Path("given.toml"), {}).path == tmp_path / "given.toml"

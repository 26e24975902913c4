"""`migrate`, and databases that cannot be used."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from syncd.store.migrations import newest
from tests.cli.conftest import Bridge, Shell, on_sqlite
from tests.support.databases import Database


@pytest.fixture
def configured(shell: Shell, tmp_path: Path, database: Database) -> Shell:
    """A shell in a folder with nothing but a database in the config."""
    (tmp_path / "config.toml").write_text(f'[database]\nurl = "{database.url}"\nmigrate = false\n')
    return shell


async def test_an_empty_database_is_brought_to_the_newest_schema(configured: Shell, database: Database) -> None:
    shown = await configured("migrate", "--show", "--json")
    assert (shown.code, shown.document["current"]) == (0, None)
    assert [row["applied"] for row in shown.document["revisions"]] == [False] * len(shown.document["revisions"])

    dry = await configured("migrate", "--dry-run", "--json")
    assert dry.code == 0
    assert dry.document | {"database": ""} == {
        "database": "",
        "before": None,
        "after": newest(),
        "newest": newest(),
        "changed": False,
        "dry_run": True,
    }
    for refused in await asyncio.gather(configured("status"), configured("run")):
        assert refused.code == 69
        assert "syncd migrate" in refused.err

    done = await configured("migrate", "--json")
    assert (done.code, done.document["before"], done.document["after"]) == (0, None, newest())
    assert done.document["changed"]
    again, shown, status = await asyncio.gather(
        configured("migrate", "--json"), configured("migrate", "--show", "--json"), configured("status", "--json")
    )
    assert (again.code, again.document["changed"]) == (0, False)
    assert shown.document["current"] == newest() == shown.document["revisions"][-1]["id"]
    assert all(row["applied"] for row in shown.document["revisions"])
    assert status.code == 0


@on_sqlite
async def test_looking_makes_no_file(configured: Shell, tmp_path: Path) -> None:
    looks = (("status",), ("migrate", "--show"), ("migrate", "--dry-run"), ("check", "--live"), ("hooks",))
    await asyncio.gather(*(configured(*arguments) for arguments in looks))
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


async def test_a_schema_of_a_newer_syncd_is_refused(configured: Shell, database: Database) -> None:
    assert (await configured("migrate")).code == 0
    await database.change("UPDATE alembic_version SET version_num = '9999'")
    attempts = (("migrate",), ("migrate", "--dry-run"), ("status",))
    for ran in [*await asyncio.gather(*(configured(*each) for each in attempts)), await configured("run")]:
        assert ran.code == 69
        assert "9999" in ran.err
        assert "newer syncd" in ran.err
    shown, live = await asyncio.gather(
        configured("migrate", "--show", "--json"), configured("check", "--live", "--json")
    )
    assert shown.document["current"] == "9999"
    assert live.code == 1
    assert "9999" in live.document["findings"][0]["detail"]


@on_sqlite
async def test_an_unknown_version_is_a_usage_mistake(configured: Shell) -> None:
    ran = await configured("migrate", "--to", "0000", "--json")
    assert ran.code == 64
    assert newest() in ran.document["error"]


async def test_a_daemon_keeps_its_sqlite_file(bridge: Bridge) -> None:
    await bridge.run()
    migrated = await bridge("migrate", "--json")
    if bridge.world.database.kind == "sqlite":
        assert migrated.code == 69
        assert "stop it first" in migrated.document["error"]
    else:
        assert migrated.code == 0


@pytest.mark.parametrize("command", ["status", "migrate"])
async def test_a_server_that_is_not_there(shell: Shell, tmp_path: Path, command: str) -> None:
    (tmp_path / "config.toml").write_text('[database]\nurl = "postgresql://bridge:hidden-word@127.0.0.1:1/bridge"\n')
    ran = await shell(command, "--json")
    assert ran.code == 69
    assert "127.0.0.1" in ran.document["error"]
    assert "hidden-word" not in ran.out + ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["status", "migrate", "run"])
async def test_a_file_that_is_no_database(shell: Shell, tmp_path: Path, command: str) -> None:
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "syncd.db").write_text("this is not a database " * 100)
    ran = await shell(command)
    assert ran.code == 69
    assert "syncd.db" in ran.err
    assert (tmp_path / "syncd.db").read_text().startswith("this is not")

"""What the pages say that can be tried: links, commands, SQL, names of metrics, and the files to deploy."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from sqlalchemy import create_engine

from syncd import metrics
from syncd.cli.app import app
from syncd.config import load
from syncd.store.schema import metadata

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMANDS = {str(command.name or getattr(command.callback, "__name__", "")) for command in app.registered_commands}
COMMANDS |= {str(group.name) for group in app.registered_groups}
PLANNED: set[str] = set()


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", _text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(_text(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in _anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_or_are_said_to_come(page: Path) -> None:
    named = set(re.findall(r"`syncd ([a-z]+)", _text(page)))
    assert named <= COMMANDS | PLANNED


def test_the_readme_tells_every_command_and_promises_no_other() -> None:
    text = _text(ROOT / "README.md")
    assert set(re.findall(r"^\| `syncd ([a-z]+)", text, re.MULTILINE)) == COMMANDS
    to_come = text.partition("**Not there yet:**")[2]
    assert {name for name in PLANNED if f"`{name}`" in to_come} == PLANNED - COMMANDS


def test_the_sql_of_the_operations_page_runs(tmp_path: Path) -> None:
    file = tmp_path / "syncd.db"
    metadata.create_all(create_engine(f"sqlite:///{file}"))
    statements = re.findall(r"```sql\n(.*?)```", _text(ROOT / "docs" / "operations.md"), re.DOTALL)
    assert len(statements) >= 5
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_metrics_that_are_named_exist() -> None:
    exposed = generate_latest(metrics.registry).decode()
    for page in PAGES:
        for name in re.findall(r"`(syncd_[a-z_]+)", _text(page)):
            assert re.search(rf"^# TYPE {name}\b", exposed, re.MULTILINE), name


def test_what_compose_sets_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    text = _text(ROOT / "config.example.toml")
    for number, name in enumerate(re.findall(r'"env:(\w+)"', text)):
        monkeypatch.setenv(name, f"example-secret-{number}")
    compose = _text(ROOT / "deploy" / "compose.yaml")
    given = dict(re.findall(r'^ +(SYNCD_\w+__\w+): "(.*)"$', compose, re.MULTILINE))
    assert len(given) == 3
    filled = {name: re.sub(r"\$\{\w+:\?\}", "example", value) for name, value in given.items()}
    config = load(ROOT / "config.example.toml", filled)
    assert (str(config.server.listen), config.database.kind) == ("0.0.0.0:8080", "postgresql")
    drain = config.server.drain_seconds
    grace = re.search(r"stop_grace_period: (\d+)s", compose)
    timeout = re.search(r"^TimeoutStopSec=(\d+)$", _text(ROOT / "deploy" / "syncd.service"), re.MULTILINE)
    assert grace is not None
    assert timeout is not None
    assert min(int(grace[1]), int(timeout[1])) > drain


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_the_unit_is_one(tmp_path: Path) -> None:
    unit = tmp_path / "syncd.service"
    program = shutil.which("true")
    assert program is not None
    unit.write_text(_text(ROOT / "deploy" / "syncd.service").replace("/opt/syncd/bin/syncd", program))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")

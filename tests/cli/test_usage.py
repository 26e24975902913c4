"""What every command has in common: help, exit codes, outputs (design §6)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import syncd
from tests.cli.conftest import SECONDS, Shell

COMMANDS = ("run", "check", "migrate", "demo", "hooks", "status", "trace", "resync", "forget", "pause", "resume")
GROUPS = {"dead": ("list", "show", "retry", "drop"), "unknown": ("list", "show", "settle")}
DRY = ("migrate", "hooks", "resync", "forget", "pause", "resume", "dead retry", "dead drop", "unknown settle")
"""What changes something."""
CONFIGURED = (
    ("run",),
    ("check",),
    ("migrate",),
    ("hooks",),
    ("status",),
    ("trace", "id"),
    ("resync", "sms"),
    ("forget", "contact", "--yes"),
    ("pause", "bird"),
    ("resume", "bird"),
    ("dead", "list"),
    ("dead", "show", "id"),
    ("dead", "retry", "--all"),
    ("unknown", "settle", "id", "--drop"),
)

EMPTY = ""
"""A config with nothing in it is valid."""
WRONG = """
[server]
drain_seconds = "soon"
[log]
colour = true
[accounts.office]
platform = "ringotel"
api_key = "env:NOT_THERE"
"""


async def test_help_names_every_command_and_each_its_options(shell: Shell) -> None:
    commands = [(name,) for name in COMMANDS] + [(group, verb) for group, verbs in GROUPS.items() for verb in verbs]
    whole, *each = await asyncio.gather(shell("--help"), *(shell(*command, "--help") for command in commands))
    assert whole.code == 0
    for command, ran in zip(commands, each, strict=True):
        assert command[0] in whole.out
        assert ran.code == 0
        assert "--json" in ran.out
        assert ("--config" in ran.out) == (command != ("demo",))
        assert ("--dry-run" in ran.out) == (" ".join(command) in DRY)
        assert all(len(line) <= 80 for line in ran.out.splitlines())
    for group, verbs in GROUPS.items():
        ran = await shell(group, "--help")
        assert (ran.code, [verb for verb in verbs if verb not in ran.out]) == (0, [])
        assert all(len(line) <= 80 for line in ran.out.splitlines())


async def test_version(shell: Shell) -> None:
    ran = await shell("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"syncd {syncd.__version__}\n", "")


async def test_commands_import_what_they_need_themselves(shell: Shell, tmp_path: Path) -> None:
    """The other tests' processes begin with much imported."""
    (tmp_path / "config.toml").write_text(EMPTY)
    for arguments in (("migrate",), ("status",), ("check", "--live"), ("hooks",), ("dead", "list")):
        process = await shell.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = await asyncio.wait_for(process.communicate(), SECONDS)
        assert process.returncode == 0, err.decode()
        assert out


async def test_help_imports_nothing_heavy(shell: Shell) -> None:
    code = (
        "import sys, syncd.cli; code = syncd.cli.main(['--help'])\n"
        "print(code, {'rich', 'sqlalchemy', 'aiohttp', 'pydantic'} & set(sys.modules), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=True)
    assert ran.stderr == "0 set()\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("bogus",),
        ("run", "--bogus"),
        ("migrate", "--to"),
        ("hooks", "forget"),
        ("status", "extra"),
        ("status", "--watch", "--json"),
        ("migrate", "--json", "--config"),
        ("dead",),
        ("dead", "bogus"),
        ("dead", "show"),
        ("dead", "retry"),
        ("dead", "drop", "id", "--all"),
        ("unknown", "settle", "id"),
        ("unknown", "settle", "id", "--drop", "--resend"),
        ("unknown", "settle", "--drop", "--json"),
        ("pause",),
        ("resume", "one", "two"),
        ("forget",),
        ("forget", "contact"),
    ],
    ids=" ".join,
)
async def test_usage_mistakes_are_64(shell: Shell, arguments: tuple[str, ...]) -> None:
    ran = await shell(*arguments)
    assert ran.code == 64
    assert "Usage: syncd" in ran.err or "requires an argument" in ran.err
    if "--json" in arguments:
        assert ran.document.keys() == {"error"}
    else:
        assert ran.out == ""


async def test_every_mistake_in_the_config_is_told_at_once(shell: Shell, tmp_path: Path) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text(WRONG)
    for ran in await asyncio.gather(*(shell(*each, "--config", str(config), "--json") for each in CONFIGURED)):
        assert ran.code == 78
        problems = {row["id"]: row["message"] for row in ran.document["problems"]}
        assert problems.keys() == {"server.drain_seconds", "log.colour", "accounts.office.api_key"}
        assert "NOT_THERE" in problems["accounts.office.api_key"]
        assert sorted(ran.err.splitlines()) == sorted(f"{path}: {message}" for path, message in problems.items())


async def test_the_config_is_looked_for(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "named.toml").write_text(EMPTY)
    nowhere = await shell("check", "--config", "nowhere.toml")
    assert (nowhere.code, nowhere.out) == (78, "")
    assert "nowhere.toml" in nowhere.err
    by_environment = await shell("check", "--json", SYNCD_CONFIG="named.toml")
    assert by_environment.code == 0
    assert by_environment.document["config"] == str(tmp_path / "named.toml")
    (tmp_path / "config.toml").write_text(EMPTY)
    assert (await shell("check", "--json")).document["config"] == str(tmp_path / "config.toml")


async def test_a_file_that_is_not_toml_is_named(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[server")
    ran = await shell("check")
    assert ran.code == 78
    assert ran.err.startswith(f"{tmp_path / 'config.toml'}: is not TOML")
    assert len(ran.err.splitlines()) == 1


async def test_a_reader_that_has_gone_is_no_fault(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(EMPTY)
    read, write = os.pipe()
    os.close(read)
    process = await shell.start("check", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    _, err = await asyncio.wait_for(process.communicate(), SECONDS)
    assert (process.returncode, err) == (0, b"")


async def test_no_standard_output_at_all(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(EMPTY)
    ran = subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} -m syncd migrate >&-"],
        cwd=tmp_path,
        env=shell.environ(),
        stderr=subprocess.PIPE,
        timeout=SECONDS,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    # Nothing that was to be said got into the file that took standard output's number.
    assert (tmp_path / "syncd.db").read_bytes().startswith(b"SQLite format 3\0")


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_an_unforeseen_fault_is_one_line_and_a_traceback_only_for_debug(
    shell: Shell, tmp_path: Path, level: str
) -> None:
    (tmp_path / "config.toml").write_text(f'[log]\nlevel = "{level}"\n')
    with Path("/dev/full").open("wb") as full:
        process = await shell.start("check", stdout=full, stderr=subprocess.PIPE)
        _, err = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 1
    lines = err.decode().splitlines()
    assert lines[-1].startswith("syncd: OSError: ")
    assert ("Traceback (most recent call last):" in lines) == (level == "debug")
    assert level == "debug" or len(lines) == 1


async def test_a_shell_can_complete(shell: Shell) -> None:
    ran = await shell(COMP_WORDS="syncd re", COMP_CWORD="1", _SYNCD_COMPLETE="complete_bash")
    assert ran.out.split() == ["resync", "resume"]
    ran = await shell(COMP_WORDS="syncd dead --", COMP_CWORD="2", _SYNCD_COMPLETE="complete_bash")
    assert "--help" in ran.out.split()
    assert "complete" in (await shell("--show-completion", "bash")).out

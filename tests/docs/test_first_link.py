"""docs/first-link.md played from top to bottom: its config, its program, its commands, and what it says they print."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import textwrap
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from syncd.config import load
from tests.support.bridge import free_port
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "first-link.md").read_text(encoding="utf-8")
ON_ONE_MACHINE = PAGE.partition("## On one machine\n")[2].partition("\n## ")[0]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIKE = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"),
    (re.compile(r"\d\d:\d\d:\d\d UTC"), "CLOCK"),
    (re.compile(r"\b[0-9a-f]{24}\b"), "ID"),
)
"""What differs each time it is played."""
SECONDS = 60.0
"""For any command to end, or to say what it should. Far more than it takes: a busy machine is no failure."""
SIMULATORS = "python -m syncd.simulators"
GO_ON = (SIMULATORS, "syncd run")
COMMANDS = ("syncd check", SIMULATORS, "syncd check --live", "syncd run", "syncd status")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder to play in, with ports of its own in place of the page's."""

    folder: Path
    ports: dict[str, str]

    def ours(self, text: str) -> str:
        """A text of the page as it must be here."""
        for port, mine in self.ports.items():
            text = re.sub(rf"\b{port}\b", mine, text)
        return text

    def printed(self, lines: list[str]) -> list[str]:
        """What was printed here, as the page has it, with all that differs each time taken out."""
        text = "\n".join(lines).replace(str(self.folder), "/home/you/first-link")
        for port, mine in self.ports.items():
            text = text.replace(f":{mine}", f":{port}")
        return lines_like(text)

    def environ(self) -> dict[str, str]:
        """With `syncd` and `python` as in an active virtual environment, and nothing that would change the config."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SYNCD_", "COLUMNS"))}
        path = f"{self.folder / 'bin'}{os.pathsep}{kept['PATH']}"
        # As on a terminal, but for the colours.
        return kept | {"PATH": path, "PYTHONPATH": str(ROOT), "SYNCD_LOG__FORMAT": "console"}

    async def start(self, command: str) -> Process:
        """Start a command in a shell, which is then the command itself."""
        return await asyncio.create_subprocess_exec(
            "bash", "-c", f"exec {command}", cwd=self.folder, env=self.environ(), stdin=PIPE, stdout=PIPE, stderr=STDOUT
        )


def lines_like(text: str) -> list[str]:
    """Lines with all that differs each time taken out."""
    for pattern, word in LIKE:
        text = pattern.sub(word, text)
    return [line.rstrip() for line in text.splitlines()]


def follows(printed: list[str], promised: list[str]) -> bool:
    """Whether all was printed as promised; a line `…` stands for any lines, and at a line's end for any end."""
    pattern = "".join(r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in promised)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


def test_what_follows_is_told_from_what_does_not() -> None:
    assert follows(["a", "b", "c d"], ["a", "…", "c …"])
    assert follows(["a"], ["a", "…"])
    assert not follows(["a", "b"], ["a"])
    assert not follows(["a", "b"], ["…", "a"])
    assert not follows(["a x"], ["a"])


class Talk:
    """The output of a process that goes on."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(re.sub(r"\x1b\[\d*m", "", line.decode()).rstrip())

    async def says(self, so: Callable[[], bool]) -> None:
        """Wait until it has said what it should."""
        await until(so, lambda: "what the page shows:\n" + "\n".join(self.lines), seconds=SECONDS)

    async def type(self, text: str) -> None:
        """Write a line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())
        await self.process.stdin.drain()

    async def ended(self) -> int:
        """Its exit code."""
        await asyncio.wait_for(self._reading, SECONDS)
        return await self.process.wait()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty folder, but for what a virtual environment has."""
    ports = sorted(set(re.findall(r"127\.0\.0\.1:(\d+)", ON_ONE_MACHINE)))
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, options in (("python", ""), ("syncd", " -m syncd")):
        program = bin_folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{options} "$@"\n')
        program.chmod(0o755)
    mine: set[int] = set()
    while len(mine) < len(ports):
        mine.add(free_port())
    return Place(tmp_path, dict(zip(ports, map(str, mine), strict=True)))


@asynccontextmanager
async def running(place: Place) -> AsyncIterator[dict[str, Talk]]:
    """The commands that go on, by what they are called on the page; none is left behind."""
    talks: dict[str, Talk] = {}
    try:
        yield talks
    finally:
        for talk in talks.values():
            if talk.process.returncode is None:
                talk.process.kill()
            await talk.ended()


@pytest.mark.timeout(180)
async def test_the_part_on_one_machine_is_true(place: Place) -> None:
    """Every command of the page in its order, each with the output that the page shows."""
    played: list[str] = []
    async with running(place) as talks:
        for kind, text in BLOCK.findall(ON_ONE_MACHINE):
            if kind == "toml":
                (place.folder / "config.toml").write_text(place.ours(text))
            elif kind == "text":
                await converse(talks[SIMULATORS], text)
            else:
                played += await shell(place, talks, text)
        assert [one for one in COMMANDS if not any(command.startswith(one) for command in played)] == []
        assert played[-1].startswith("syncd trace")
        daemon, platforms = talks["syncd run"], talks[SIMULATORS]
        daemon.process.terminate()
        assert await daemon.ended() == 0
        assert platforms.process.stdin is not None
        platforms.process.stdin.close()
        assert await platforms.ended() == 0
    assert [line for line in daemon.lines if re.match(r"\S+ (warning|error|critical) ", line)] == []
    assert [line for line in daemon.lines if re.match(r"\S+ info +daemon\.stopped", line)] != []
    assert not [line for line in platforms.lines if "Traceback" in line]


async def shell(place: Place, talks: dict[str, Talk], text: str) -> list[str]:
    """Run a block's commands; those that go on until they have said what they should. The commands."""
    commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
    # Several commands of one block are one shell's: what one sets, the next has.
    quiet = [command for command, promised in commands if not promised.strip()]
    if quiet == [command for command, _ in commands]:
        done = await place.start(f"bash -ec '{'; '.join(quiet)}'")
        out, _ = await asyncio.wait_for(done.communicate(), SECONDS)
        assert (done.returncode, out) == (0, b"")
        return quiet
    for command, promised in commands:
        going_on = next((one for one in GO_ON if command.startswith(one)), None)
        if going_on is not None:
            talks[going_on] = talk = Talk(await place.start(place.ours(command)))
            await talk.says(partial(shows, place, talk, promised))
            continue
        printed: list[str] = []
        # What people see already may not be on record for some milliseconds more.
        await until(
            partial(prints, place, command, promised, printed), partial("\n".join, printed), seconds=SECONDS, gap=0.2
        )
    return [command for command, _ in commands]


async def prints(place: Place, command: str, promised: str, printed: list[str]) -> bool:
    """Run a command to its end: whether it prints what the page shows. `printed` is what it did print."""
    process = await place.start(command)
    out, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    printed[:] = place.printed(out.decode().splitlines())
    return process.returncode == 0 and follows(printed, lines_like(promised))


def shows(place: Place, talk: Talk, promised: str) -> bool:
    """Whether it has said so far what the page shows."""
    return follows(place.printed(talk.lines), lines_like(promised))


async def converse(talk: Talk, text: str) -> None:
    """The first line is typed; the others are what people see then, in whatever order the chats take it."""
    typed, *shown = text.splitlines()
    before = len(talk.lines)
    await talk.type(typed)
    await talk.says(lambda: sorted(talk.lines[before:]) == sorted(shown))


def test_the_config_for_real_accounts_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = re.findall(r"^ +```toml\n(.*?)^ +```$", PAGE, re.MULTILINE | re.DOTALL)
    file = tmp_path / "config.toml"
    file.write_text(textwrap.dedent(text))
    names = re.findall(r'"env:(\w+)"', text)
    for number, name in enumerate(names):
        monkeypatch.setenv(name, f"a-secret-{number}")
    config = load(file, {})
    assert [link.name for link in config.topology.links] == ["support-sms"]
    assert list(config.warnings) == []
    exported = PAGE.partition("**Keys.**")[2]
    assert [name for name in names if name not in exported] == []

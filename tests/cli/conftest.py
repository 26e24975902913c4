"""The real command line in processes of its own, between the simulated platforms."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from tests.cli.warm import Warm
from tests.support.settings import SECRETS, Settings, toml
from tests.support.waiting import until
from tests.support.world import World

SECONDS = 30.0
"""For any command to end."""

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For what has nothing to do with the kind of database."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document."""
        return json.loads(self.out)


class Shell:
    """Runs `syncd` in a folder; whatever it is asked, no secret, escape sequence or traceback may come out."""

    def __init__(self, folder: Path, warm: Warm) -> None:
        self.folder = folder
        self.warm = warm

    async def __call__(self, *arguments: str, shows_secrets: bool = False, **environ: str) -> Ran:
        """Run it to its end in a process that need not import everything first."""
        ended = await asyncio.to_thread(self.warm.run, arguments, self.folder, self.environ(**environ), SECONDS)
        ran = Ran(ended.code, ended.out.decode(), ended.err.decode())
        assert shows_secrets or leaks(ran.out) == []
        assert leaks(ran.err) == []
        assert "\x1b" not in ran.out + ran.err
        assert "Traceback" not in ran.err
        if "--json" in arguments and "--help" not in arguments:
            assert isinstance(ran.document, dict)
        return ran

    async def start(
        self, *arguments: str, stdout: int | Any, stderr: int | Any, stdin: int = subprocess.DEVNULL, **environ: str
    ) -> asyncio.subprocess.Process:
        """`python -m syncd`, a process that is not waited for."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "syncd",
            *arguments,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=self.folder,
            env=self.environ(**environ),
        )

    async def on_terminal(self, *arguments: str, columns: int = 80, typed: str = "") -> Ran:
        """The same on a terminal of so many columns, at which somebody has typed ahead."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        process = await self.start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, TERM="xterm-256color")
        os.write(ours, typed.encode())
        os.close(theirs)
        said = await asyncio.wait_for(asyncio.to_thread(_all_of, ours), SECONDS)
        os.close(ours)
        return Ran(await process.wait(), said.replace("\r\n", "\n"), "")

    def environ(self, **more: str) -> dict[str, str]:
        """The environment without anything that is meant for the tests or would be an override."""
        dropped = ("SYNCD_", "NOTIFY_SOCKET", "COLUMNS", "FORCE_COLOR")
        return {name: value for name, value in os.environ.items() if not name.startswith(dropped)} | more


class Bridge(Shell):
    """A shell beside a world, whose config is written."""

    def __init__(self, folder: Path, warm: Warm, world: World) -> None:
        super().__init__(folder, warm)
        self.world = world
        self.log = folder / "run.log"
        self.out = folder / "run.out"
        self._daemon: asyncio.subprocess.Process | None = None
        self.configure()

    @property
    def daemon(self) -> asyncio.subprocess.Process:
        """The daemon that runs, or has run."""
        assert self._daemon is not None
        return self._daemon

    def configure(
        self, settings: Settings | None = None, *, database: str = "", replaced: Mapping[str, str] | None = None
    ) -> None:
        """Write the config; `replaced` are texts in it."""
        bridge = self.world.bridge
        text = toml(
            settings or Settings(),
            database=database or self.world.database.url,
            listen=f"127.0.0.1:{bridge.port}",
            admin=f"127.0.0.1:{bridge.admin_port}",
            urls={
                "ringotel": self.world.ring.api_url,
                "bird": self.world.bird.url,
                "islash": self.world.islash.base_url,
            },
        )
        for old, new in (replaced or {}).items():
            assert old in text
            text = text.replace(old, new)
        bridge.config.write_text(text)

    async def run(self, *arguments: str, stderr: int | None = None, **environ: str) -> None:
        """Start `syncd run` and wait until it is ready. Its log goes to a file, or to `stderr`."""
        with self.log.open("wb") as log, self.out.open("wb") as out:
            self._daemon = await self.start(
                "run", *arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=stderr or log, **environ
            )
        await until(self._is_ready, lambda: f"ready:\n{self.log.read_text()}", gap=0.05)

    async def ended(self, *, seconds: float = SECONDS) -> int:
        """The daemon's exit code."""
        return await asyncio.wait_for(self.daemon.wait(), seconds)

    async def end(self) -> None:
        """Stop the daemon if it runs; its log holds no secret."""
        if self._daemon is not None and self._daemon.returncode is None:
            self._daemon.send_signal(signal.SIGTERM)
            assert await self.ended() == 0
        if self.log.exists():
            assert leaks(self.log.read_text()) == []

    async def _is_ready(self) -> bool:
        assert self.daemon.returncode is None, self.log.read_text()
        url, patience = f"{self.world.bridge.admin_url}/readyz", aiohttp.ClientTimeout(total=5.0)
        try:
            async with aiohttp.ClientSession(timeout=patience) as client, client.get(url) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


def leaks(text: str) -> list[str]:
    """The secrets that stand in a text, as they are, quoted for a URL or escaped."""
    return [
        secret
        for secret in SECRETS
        if any(form in text for form in (secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]))
    ]


def _all_of(terminal: int) -> str:
    said = b""
    while True:
        try:
            some = os.read(terminal, 65536)
        except OSError:  # what Linux says when the other side has gone
            some = b""
        if not some:
            return said.decode()
        said += some


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """What commands are started from."""
    made = Warm()
    yield made
    made.end()


@pytest.fixture
def shell(tmp_path: Path, warm: Warm) -> Shell:
    """A shell in an empty folder."""
    return Shell(tmp_path, warm)


@pytest.fixture
async def bridge(world: World, tmp_path: Path, warm: Warm) -> AsyncIterator[Bridge]:
    """A shell in a folder with a config, the platforms up, on each kind of database."""
    made = Bridge(tmp_path, warm, world)
    yield made
    await made.end()

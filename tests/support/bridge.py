"""A daemon in a process of its own: started, watched, stopped, killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Protocol

import aiohttp

from tests.support.canaries import leaks
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
READY_SECONDS = 30.0
STOP_SECONDS = 20.0
_PORTS = (12_000, 32_000)
_FAILED = ("lane.failed", "event.failed", "event.not_understood")


def free_port() -> int:
    """A port that nobody listens on, below those that outgoing connections take: it stays free through restarts."""
    while True:
        port = random.SystemRandom().randrange(*_PORTS)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Process(Protocol):
    """A process as `asyncio.subprocess` has it."""

    @property
    def returncode(self) -> int | None:
        """The exit status, the negative number of the signal that ended it, or None while it runs."""
        ...

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    async def wait(self) -> int:
        """Wait for the end; `returncode`."""
        ...

    def send_signal(self, signal: int, /) -> None:
        """Send it a signal."""
        ...

    def kill(self) -> None:
        """Send SIGKILL."""
        ...


class Bridge:
    """`syncd run` on one config; it may be started again and again, on the same ports."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config.toml"
        self.log = folder / "daemon.log"
        self.port, self.admin_port = free_port(), free_port()
        self.starts = 0
        """How many daemons were started so far."""
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Base address of the public listener."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        """Base address of the admin listener."""
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def pid(self) -> int:
        """Number of the process that runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Started, and not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self, **environment: str) -> None:
        """Start the daemon and wait until it is ready."""
        await self.spawn(**environment)
        assert await self.ready_or_ended(), f"the daemon ended by itself\n{self.tail()}"

    async def spawn(self, **environment: str) -> None:
        """Start the daemon, and leave it to itself."""
        assert not self.running
        self.starts += 1
        with self.log.open("ab") as log:
            # The config is of this test alone: no variable from outside may override it.
            inherited = {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}
            self._process = await self.launch(("run", "--config", str(self.config)), log, inherited | environment)

    async def launch(self, arguments: tuple[str, ...], log: IO[bytes], environ: dict[str, str]) -> Process:
        """A new process of `syncd` that writes all it says into `log`."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "syncd",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=environ,
        )

    async def ready_or_ended(self) -> bool:
        """Wait until the daemon is ready, or has ended by itself; whether it is ready."""
        async with aiohttp.ClientSession() as client:

            async def so() -> bool:
                return not self.running or await self._is_ready(client)

            await until(so, lambda: f"ready\n{self.tail()}", seconds=READY_SECONDS, gap=0.02)
        return self.running

    async def ended(self, *, seconds: float = READY_SECONDS) -> int | None:
        """Wait for an end that the daemon comes to by itself; its exit status, None where it goes on running."""
        assert self._process is not None
        try:
            status = await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            return None
        self._mend_log()
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal and go on."""
        assert self._process is not None
        self._process.send_signal(number)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit status."""
        assert self._process is not None
        if self.running:
            self._process.send_signal(number)
        try:
            return await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise AssertionError(f"the daemon did not end within {STOP_SECONDS:g} s\n{self.tail()}") from None

    async def kill(self) -> None:
        """`kill -9`. A log line that it tore apart is taken away."""
        await self.stop(signal.SIGKILL)
        self._mend_log()

    async def restart_after_kill(self) -> None:
        """`kill -9`, then start."""
        await self.kill()
        await self.start()

    def lines(self) -> list[dict[str, Any]]:
        """The log's events so far."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                found.append(value)
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's events of one name."""
        return [line for line in self.lines() if line.get("event") == name]

    def tail(self, lines: int = 15) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def faults(self, *, expected: Iterable[str] = ()) -> list[str]:
        """Lines of the log that tell of a defect, except events that were `expected`."""
        bad = [name for name in _FAILED if name not in expected]
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                found.append(f"not a log event: {line}")
                continue
            text = json.dumps(value)
            broken = "Traceback" in text or value.get("level") in ("error", "critical")
            if value.get("event") in bad or (broken and value.get("event") not in expected):
                found.append(line)
        return found

    def leaks(self, secrets: Iterable[str]) -> list[str]:
        """Secrets that stand in the log, in any spelling."""
        return leaks(self.log.read_bytes(), secrets) if self.log.exists() else []

    def _mend_log(self) -> None:
        log = self.log.read_bytes()
        self.log.write_bytes(log[: log.rfind(b"\n") + 1])

    async def _is_ready(self, client: aiohttp.ClientSession) -> bool:
        try:
            async with client.get(f"{self.admin_url}/readyz") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


def metric(text: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    total = 0.0
    for line in text.splitlines():
        match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if match and all(f'{label}="{value}"' in (match[1] or "") for label, value in labels.items()):
            total += float(match[2])
    return total

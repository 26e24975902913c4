"""A daemon in a process of its own: started, watched, stopped, killed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import re
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.support.waiting import until

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


class Bridge:
    """`syncd run` on one config; it may be started again and again, on the same ports."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config.toml"
        self.log = folder / "daemon.log"
        self.port, self.admin_port = free_port(), free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Base address of the public listener."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        """Base address of the admin listener."""
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def running(self) -> bool:
        """Started, and not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the daemon and wait until it is ready."""
        assert not self.running
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "syncd",
                "run",
                "--config",
                str(self.config),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
                env={name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")},
            )
        async with aiohttp.ClientSession() as client:
            await until(
                lambda: self._is_ready(client), lambda: f"ready\n{self.tail()}", seconds=READY_SECONDS, gap=0.02
            )

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
        log = self.log.read_bytes()
        self.log.write_bytes(log[: log.rfind(b"\n") + 1])

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
        """Secrets that stand in the log, as they are, quoted for a URL, or in base64."""
        log = self.log.read_text(errors="replace") if self.log.exists() else ""
        found = []
        for secret in secrets:
            # In base64, the first and last characters depend on what stands around.
            inner = (base64.b64encode(b" " * n + secret.encode()).decode()[4:-4] for n in range(3))
            forms = [secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], *inner]
            if any(form in log for form in forms):
                found.append(secret)
        return found

    async def _is_ready(self, client: aiohttp.ClientSession) -> bool:
        if not self.running:
            raise AssertionError(f"the daemon ended by itself\n{self.tail()}")
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

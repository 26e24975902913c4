"""The processes under test: the bridge and the floor, each apart from the load, and what they use."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from sink import Sink
from traffic import CHANNEL, ORGANIZATION, PUBLIC_URL
from wrong import Wrong

HERE = Path(__file__).parent
START_SECONDS = 30.0
STOP_SECONDS = 40.0
_TICKS = os.sysconf("SC_CLK_TCK")

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far."""

    cpu: float
    """Seconds, all threads, user and system."""
    main_cpu: float
    """Seconds of the main thread: the event loop."""
    rss: int
    """Bytes in memory now."""

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Of a process, from /proc."""
        status = Path(f"/proc/{pid}/status").read_text()
        rss = int(status.partition("VmRSS:")[2].split(None, 1)[0])
        return cls(_cpu(f"/proc/{pid}/stat"), _cpu(f"/proc/{pid}/task/{pid}/stat"), rss * 1024)


def _cpu(path: str) -> float:
    # The name in parentheses may hold anything; utime and stime are the 12th and 13th after it.
    fields = Path(path).read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def machine_cpu() -> float:
    """Seconds of CPU that the whole machine has spent so far."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(ticks) for ticks in (user, nice, system, irq, softirq)) / _TICKS


@dataclass(frozen=True, slots=True)
class Setup:
    """How the bridge is run."""

    folder: Path
    """Its config, log and profile go here."""
    database: str
    concurrent: int
    level: Level = "info"
    profile: bool = False


class Relay:
    """A process that takes posts on `port`; to be used as an async context. Leaving it stops the process."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port

    @property
    def url(self) -> str:
        """Where posts go."""
        return f"http://127.0.0.1:{self.port}"

    def usage(self) -> Usage:
        """What it has used so far."""
        return Usage.of(self.process.pid)

    async def stop(self) -> None:
        """SIGTERM, and wait for the end. Raises `Wrong` unless it exits with 0."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
                raise Wrong(f"did not stop within {STOP_SECONDS:.0f} s of SIGTERM") from None
        if self.process.returncode != 0:
            raise Wrong(f"ended with exit code {self.process.returncode}")

    async def kill(self) -> None:
        """End it whatever it does; for runs that failed."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Floor(Relay):
    """The floor."""

    @classmethod
    async def start(cls, sink: Sink) -> Floor:
        """Start it; it listens when this returns."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(HERE / "floor.py"), sink.api_url, sink.api_key, stdout=PIPE
        )
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line.strip().isdigit():
            raise Wrong("the floor did not start")
        return cls(process, int(line))


class Bridge(Relay):
    """The daemon, run as in production: `syncd run`."""

    def __init__(self, process: Process, port: int, admin: int, log: Path) -> None:
        super().__init__(process, port)
        self._admin = f"http://127.0.0.1:{admin}"
        self._log = log

    @classmethod
    async def start(cls, setup: Setup, sink: Sink) -> Bridge:
        """Start it; it is ready when this returns. Raises `Wrong` with the end of its log."""
        port, admin = _free_port(), _free_port()
        config, log = setup.folder / "config.toml", setup.folder / "bridge.log"
        config.write_text(_config(setup, sink, port, admin))
        command = ["-m", "syncd", "run", "--config", str(config)]
        if setup.profile:
            command = [str(HERE / "profiled.py"), str(setup.folder / "profile"), *command[1:]]
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=stream, stdout=stream)
        bridge = cls(process, port, admin, log)
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await bridge._ready():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            await bridge.kill()
            raise Wrong(f"not ready after {START_SECONDS:.0f} s:\n{bridge._last_lines()}") from None
        return bridge

    async def stop(self) -> None:
        try:
            await super().stop()
        except Wrong as wrong:
            raise Wrong(f"the bridge {wrong}:\n{self._last_lines()}") from None

    async def metrics(self) -> dict[str, float]:
        """The metrics by name, labels added up."""
        async with aiohttp.ClientSession() as session, session.get(f"{self._admin}/metrics") as response:
            text = await response.text()
        totals: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
        return totals

    async def settled_metrics(self) -> dict[str, float]:
        """The metrics when nothing is committed any more."""
        before = await self.metrics()
        while True:
            await asyncio.sleep(0.15)
            after = await self.metrics()
            if after["syncd_commit_seconds_count"] == before["syncd_commit_seconds_count"]:
                return after
            before = after

    async def _ready(self) -> bool:
        if self.process.returncode is not None:
            raise Wrong(f"the bridge ended with exit code {self.process.returncode}:\n{self._last_lines()}")
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self._admin}/readyz") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    def _last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _config(setup: Setup, sink: Sink, port: int, admin: int) -> str:
    users = ", ".join(f'"{user}"' for user in sink.users)
    return f"""
[server]
listen = "127.0.0.1:{port}"
public_url = "{PUBLIC_URL}"
admin_listen = "127.0.0.1:{admin}"
max_concurrent = {max(512, setup.concurrent)}

[database]
url = "{setup.database}"

[log]
format = "json"
level = "{setup.level}"

[accounts.office]
platform = "ringotel"
api_key = "{sink.api_key}"
base_url = "{sink.api_url}"
rate = 1_000_000.0

[accounts.bird]
platform = "bird"
workspace = "a1405560-c8d3-4b1a-877d-3f449ad95352"
access_key = "bird-access-key"
signing_key = "bird-signing-key"
base_url = "http://127.0.0.1:9"
poll_interval = "0s"
rate = 1_000_000.0

[[links]]
name = "support-sms"
desk = {{ account = "office", organization = "{ORGANIZATION}", users = [{users}] }}
channel = {{ account = "bird", channel = "{CHANNEL}" }}
region = "US"
"""

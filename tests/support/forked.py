"""Daemons forked from a process that has imported everything: starting one takes a tenth of a second.

Whether failpoints are switched on is settled when `syncd` is imported, so there are two such processes, one of each
kind; which failpoints, each daemon reads from its own environment. All else is as in `python -m syncd`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from syncd.failpoints import VARIABLE
from tests.support.bridge import ROOT, Bridge, Process
from tests.support.forking import serve

IMPORTED = (
    "alembic.autogenerate",
    "alembic.command",
    "asyncpg",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite",
    "syncd.cli.app",
    "syncd.cli.performing",
    "syncd.cli.run",
    "syncd.platforms.bird",
    "syncd.platforms.islash",
    "syncd.platforms.ringotel",
)
_NUMBER = struct.Struct("i")


class Forked:
    """A daemon's process. See `Process`."""

    def __init__(self, report: socket.socket) -> None:
        self._report = report
        self.returncode: int | None = None
        self.pid = _NUMBER.unpack(report.recv(_NUMBER.size))[0]
        report.setblocking(False)
        self._end = asyncio.get_running_loop().create_task(self._reaped())

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    def send_signal(self, signal: int, /) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def _reaped(self) -> int:
        with self._report:
            told = await asyncio.get_running_loop().sock_recv(self._report, _NUMBER.size)
        status: int = _NUMBER.unpack(told)[0]
        self.returncode = status
        return status


class Forker:
    """A process that forks daemons; with or without failpoints in them."""

    def __init__(self, *, failpoints: bool) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=environ | ({VARIABLE: "switched on"} if failpoints else {}),
            )

    def fork(self, arguments: tuple[str, ...], log: IO[bytes], environ: dict[str, str]) -> Forked:
        """Run `syncd` with these arguments."""
        ours, theirs = socket.socketpair()
        with theirs:
            asked = json.dumps({"arguments": arguments, "environ": environ}).encode()
            socket.send_fds(self._channel, [asked], [log.fileno(), theirs.fileno()])
        return Forked(ours)

    def end(self) -> None:
        """End the process that forks; daemons go on."""
        self._channel.close()
        assert self._process.wait(10) == 0


class ForkedBridge(Bridge):
    """A `Bridge` whose daemons are forked."""

    def __init__(self, folder: Path, *, plain: Forker, with_failpoints: Forker) -> None:
        super().__init__(folder)
        self._plain = plain
        self._with_failpoints = with_failpoints

    async def launch(self, arguments: tuple[str, ...], log: IO[bytes], environ: dict[str, str]) -> Process:
        forker = self._with_failpoints if VARIABLE in environ else self._plain
        return forker.fork(arguments, log, environ)


def _serve(channel: socket.socket) -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    serve(channel, 2, _daemon)


def _daemon(asked: dict[str, Any], log: int, report: int) -> None:
    """In a process of its own: run the daemon in another, and report its id and how it ended."""
    daemon = os.fork()
    if daemon:
        os.write(report, _NUMBER.pack(daemon))
        _, status = os.waitpid(daemon, 0)
        os.write(report, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
        os._exit(0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, 4096)
    os.environ.clear()
    os.environ.update(asked["environ"])
    sys.argv = ["syncd", *asked["arguments"]]
    # Its `sys.exit` ends this process as it ends any.
    runpy.run_module("syncd", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))

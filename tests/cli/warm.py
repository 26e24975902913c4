"""A process that has imported what `syncd` needs of others, and forks a process of its own for each command.

Importing takes most of a command's time. `syncd` itself is imported by each command anew, so that one which forgets an
import of ours fails here as well; everything else is as in `python -m syncd`.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import socket
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.forking import serve

OTHERS = (
    "aiohttp.web",
    "aiolimiter",
    "alembic.autogenerate",
    "alembic.command",
    "alembic.runtime.migration",
    "asyncpg",
    "msgspec.json",
    "phonenumbers",
    "prometheus_client",
    "pydantic",
    "rich.console",
    "rich.table",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.ext.asyncio",
    "structlog",
    "typer.main",
)
_CODE = struct.Struct("i")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended, and what it wrote."""

    code: int
    out: bytes
    err: bytes


class Warm:
    """The process that forks. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
            )

    def run(self, arguments: tuple[str, ...], cwd: Path, environ: dict[str, str], seconds: float) -> Ended:
        """Run `syncd` with these arguments. Raises `TimeoutError`, and then the process may go on."""
        asked = json.dumps({"arguments": arguments, "cwd": str(cwd), "environ": environ}).encode()
        ours, theirs = socket.socketpair()
        with ours, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with theirs:
                socket.send_fds(self._channel, [asked], [out.fileno(), err.fileno(), theirs.fileno()])
            ours.settimeout(seconds)
            told = ours.recv(_CODE.size)
            assert told, "the process that forks has gone"
            for file in (out, err):
                file.seek(0)
            return Ended(_CODE.unpack(told)[0], out.read(), err.read())

    def end(self) -> None:
        """End the process; commands that still run are not touched."""
        self._channel.close()
        assert self._process.wait(10) == 0


def _serve(channel: socket.socket) -> None:
    for name in OTHERS:
        importlib.import_module(name)
    assert not [name for name in sys.modules if name.partition(".")[0] == "syncd"]
    serve(channel, 3, _command)


def _command(asked: dict[str, Any], out: int, err: int, report: int) -> None:
    """In a process of its own: run the command in another and report its exit code."""
    command = os.fork()
    if command:
        _, status = os.waitpid(command, 0)
        os.write(report, _CODE.pack(os.waitstatus_to_exitcode(status)))
        os._exit(0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, 4096)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    sys.argv = ["syncd", *asked["arguments"]]
    # Its `sys.exit` ends this process as it ends any.
    runpy.run_module("syncd", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))

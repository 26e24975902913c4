"""A PostgreSQL server of one test alone, which may be stopped and started."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.bridge import free_port
from tests.support.databases import Database

USER = "postgres"
"""Who runs it where the tests run as root, which PostgreSQL refuses to."""


def _programs() -> Path | None:
    """The folder with `initdb` and `pg_ctl`, the newest of several."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    there = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return there[-1].parent if there else None


def why_no_cluster() -> str | None:
    """Why no server can be made; None where one can."""
    if _programs() is None:
        return "there is no initdb"
    return "no runuser" if os.geteuid() == 0 and shutil.which("runuser") is None else None


@dataclass(slots=True)
class Cluster:
    """A server on a port of its own, with password log-in."""

    folder: Path
    port: int
    password: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def database(self) -> Database:
        """Its database for syncd."""
        return Database(f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/syncd")

    async def make(self) -> None:
        """Make its files, its user, and start it."""
        secret = self.folder / "password"
        secret.write_text(self.password)
        if os.geteuid() == 0:
            for path in (self.folder, secret):
                shutil.chown(path, USER)
        await self._run(
            "initdb",
            "--no-sync",
            "--username=postgres",
            "--auth=scram-sha-256",
            f"--pwfile={secret}",
            "--encoding=UTF8",
        )
        await self.start()
        import asyncpg

        connection = await asyncpg.connect(self.database.url.replace("/syncd", "/postgres"), timeout=10)
        await connection.execute("CREATE DATABASE syncd")
        await connection.close()

    async def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c fsync=off"
        await self._run("pg_ctl", "--wait", f"--log={self.folder / 'log'}", f"--options={options}", "start")

    async def stop(self, mode: str) -> None:
        """`fast`: connections are ended; `immediate`: as if it had crashed."""
        await self._run("pg_ctl", "--wait", f"--mode={mode}", "stop")

    async def _run(self, program: str, *arguments: str) -> None:
        programs = _programs()
        assert programs is not None
        command = [str(programs / program), f"--pgdata={self.folder / 'data'}", *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", USER, "--", *command]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, cwd=self.folder
        )
        assert await process.wait() == 0, f"{program} failed"


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    """A new server, stopped and removed afterwards."""
    # Not in a test's own folder, which nobody but its user may enter; and short, for a socket stands in it.
    folder = Path(tempfile.mkdtemp(prefix="syncd-pg-"))
    made = Cluster(folder, free_port())
    try:
        await made.make()
        yield made
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            await made.stop("immediate")
        shutil.rmtree(folder)

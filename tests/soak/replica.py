"""One daemon of several, which can be stopped for a while like a machine that is paused."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from tests.support.bridge import ROOT, Bridge
from tests.support.waiting import PATIENCE, until


class Replica(Bridge):
    """A daemon with a config, a log and ports of its own in a folder that it shares with others."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(folder)
        self.name = f"daemon-{number}"
        self.config = folder / f"{self.name}.toml"
        self.log = folder / f"{self.name}.log"
        self.paused = False
        """Stopped by `pause`."""

    @property
    def owner(self) -> str:
        """SQL: what the rows in this daemon's hands have as `owner`."""
        return f"owner LIKE '%:{self.pid}:%'"

    def is_stopped(self) -> bool:
        """Whether SIGSTOP has stopped it."""
        return self._status()["State"].startswith("T")

    def memory(self) -> int:
        """Resident memory in KiB; 0 where there is none."""
        try:
            return int(self._status()["VmRSS"].split()[0])
        except (OSError, KeyError):
            return 0

    def pause(self) -> None:
        """Stop it, whatever it is doing."""
        self.paused = True
        self.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.paused = False
        if self.running:
            self.send_signal(signal.SIGCONT)

    async def stops_itself(self, *, seconds: float = PATIENCE) -> None:
        """Wait until a failpoint has stopped it."""
        await until(self.is_stopped, lambda: f"{self.name} stops itself\n{self.tail()}", seconds=seconds)
        self.paused = True

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """As any daemon; one that is stopped goes on to its end."""
        if self.paused and number != signal.SIGKILL:
            self.resume()
        status = await super().stop(number)
        self.paused = False
        return status

    async def command(self, *arguments: str) -> Any:
        """Run a command of `syncd` with this daemon's config; its JSON document."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "syncd", *arguments, "--json", "--config", str(self.config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, f"{' '.join(arguments)}: {process.returncode}\n{err.decode()}{out.decode()}"
        return json.loads(out)

    def _status(self) -> dict[str, str]:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

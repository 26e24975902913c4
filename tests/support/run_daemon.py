"""Runs a daemon as `syncd run` does."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import syncd.log
from syncd.config import load
from syncd.daemon.running import Daemon


async def main(path: Path) -> None:
    config = load(path)
    syncd.log.configure(config.log.format, config.log.level, config.secrets(), bodies=config.log.bodies)
    daemon = Daemon(config)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, daemon.stop)
    await daemon.run()


asyncio.run(main(Path(sys.argv[sys.argv.index("--config") + 1])))

"""Until `syncd run` exists."""

import asyncio
import signal
import sys
from pathlib import Path

from syncd import log
from syncd.config import load
from syncd.daemon.running import Daemon

try:
    from uvloop import run
except ImportError:
    from asyncio import run


async def main() -> None:
    config = load(Path(sys.argv[sys.argv.index("--config") + 1]))
    log.configure(config.log.format, config.log.level, config.secrets())
    daemon = Daemon(config)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, daemon.stop)
    await daemon.run()


if __name__ == "__main__":
    run(main())

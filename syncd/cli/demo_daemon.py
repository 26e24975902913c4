"""`syncd run` for the demo: the same daemon, and it ends when the demo's end of its standard input closes."""

from __future__ import annotations

import os
import signal
import sys
import threading

from syncd.cli import main


def _end_with_the_demo() -> None:
    # Not sys.stdin: its lock would be held here while the interpreter wants to shut down.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def run(config: str) -> int:
    """Run with this config; the exit code."""
    threading.Thread(target=_end_with_the_demo, name="demo-gone", daemon=True).start()
    return main(["run", "--config", config])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1]))

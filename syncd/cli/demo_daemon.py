"""`syncd run` for the demo: the same daemon, and it ends when the demo's end of its standard input closes."""

from __future__ import annotations

import os
import signal
import sys
import threading


def _end_with_the_demo() -> None:
    # Not sys.stdin: its lock would be held here while the interpreter wants to shut down.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run with the config that the first argument names."""
    threading.Thread(target=_end_with_the_demo, name="demo-gone", daemon=True).start()
    sys.argv = ["syncd", "run", "--config", sys.argv[1]]
    from syncd.cli import main as syncd

    syncd()


if __name__ == "__main__":
    main()

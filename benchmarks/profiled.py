"""Runs a module under cProfile: `python profiled.py OUT MODULE ARGUMENT …` writes OUT.loop and OUT.writer.

The writer is the thread that commits on SQLite; on PostgreSQL the event loop does.
"""

from __future__ import annotations

import cProfile
import runpy
import sys
import threading

WRITER = "syncd-write"


def main() -> None:
    """Profile the main thread and the writer, each for itself."""
    out = sys.argv[1]
    sys.argv = sys.argv[2:]
    run = threading.Thread.run

    def run_profiled(self: threading.Thread) -> None:
        if self.name != WRITER:
            return run(self)
        profile = cProfile.Profile()
        try:
            return profile.runcall(run, self)
        finally:
            profile.dump_stats(f"{out}.writer")

    threading.Thread.run = run_profiled  # type: ignore[method-assign]
    profile = cProfile.Profile()
    try:
        profile.runcall(runpy.run_module, sys.argv[0], run_name="__main__", alter_sys=True)
    finally:
        profile.dump_stats(f"{out}.loop")


if __name__ == "__main__":
    main()

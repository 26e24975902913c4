"""The command line (design §6). What a command needs is imported when it runs, so that `--help` is quick."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script: run the command that the arguments name; the exit code."""
    from syncd.cli.app import start

    return start(arguments)

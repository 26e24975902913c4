"""Exit codes, and the fault that carries one."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
FAILED: Final = 1
"""In part or whole."""
USAGE: Final = 64
UNREACHABLE: Final = 69
"""Daemon or database."""
CONFIGURATION: Final = 78


class Failure(Exception):
    """A foreseeable fault: its text is one line that says what to do, `code` what the process ends with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

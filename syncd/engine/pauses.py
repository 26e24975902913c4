"""What operators have paused: accounts and links on which nothing is sent, while receiving goes on."""

from __future__ import annotations

from collections.abc import Collection

PAUSED_WAIT = 30.0
"""Seconds until a lane of a paused link is looked at again; `resume` lets it go on at once."""


class Pauses:
    """The names that are paused, as the tables said when they were last read."""

    def __init__(self) -> None:
        self._names: frozenset[str] = frozenset()

    def set(self, names: Collection[str]) -> None:
        """Take what the tables say now."""
        self._names = frozenset(names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

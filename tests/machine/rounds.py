"""Requests to databases in rounds: all that is asked for at one moment, by whichever process, is asked at once.

Within a round the database does what it likes, in whatever order; the answers are heard together when all are there, in
the order of the requests. So the same steps lead to the same end, however fast a disk or a server is today.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.machine.clockwork import Clockwork

Answer = asyncio.Future[Any]
Begin = Callable[[], Answer | None]
"""Asks; None where it comes to nothing."""
Hear = Callable[[Answer], None]


class Rounds:
    """The requests of one world."""

    def __init__(self, loop: Clockwork) -> None:
        self._loop = loop
        self._next: list[tuple[Begin, Hear]] = []
        self._under_way: list[tuple[Answer, Hear]] = []
        self._left = 0

    def ask(self, begin: Begin, hear: Hear) -> None:
        """Have this asked in the next round."""
        self._next.append((begin, hear))
        if len(self._next) == 1 and not self._left:
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        asked, self._next = self._next, []
        self._under_way = [(answer, hear) for begin, hear in asked if (answer := begin()) is not None]
        self._left = len(self._under_way)
        if self._left:
            self._loop.at_work += 1
        for answer, _ in self._under_way:
            answer.add_done_callback(self._done)

    def _done(self, _: Answer) -> None:
        self._left -= 1
        if self._left:
            return
        self._loop.at_work -= 1
        heard, self._under_way = self._under_way, []
        for answer, hear in heard:
            hear(answer)
        if self._next:
            self._loop.call_soon(self._begin)

"""A store whose process may die, stand still or lose its database between any two commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal, cast

from syncd.engine.claims import Finished, ToSend
from syncd.store.database import Location
from syncd.store.units import Handler, I, R, Side
from syncd.store.writer import Store, StoreUnavailable
from tests.machine.clockwork import Clockwork
from tests.machine.rounds import Rounds

Fate = Literal["dies before", "dies after", "answer lost", "stands still"]
"""Of a unit of work: its process dies before it reached the database, or with the commit done and not heard of; or
the connection breaks in the commit, which is done; or the process stands still before it hears of the commit."""


class Mortal(Store):
    """A real store on a real database; what is asked of it can be cut off."""

    def __init__(self, location: Location, loop: Clockwork, rounds: Rounds, doubt: Callable[[str], None]) -> None:
        super().__init__(location)
        self._loop = loop
        self._rounds = rounds
        self._doubt = doubt
        """Is told the reference of a send whose answer this process may not get recorded in time, or at all."""
        self._sending: set[str] = set()
        self._dead = False
        self._away = False
        self._fate: tuple[int, Fate] | None = None
        self._awake = asyncio.Event()
        self._awake.set()

    @property
    def frozen(self) -> bool:
        """The process stands still."""
        return not self._awake.is_set()

    @property
    def dead(self) -> bool:
        """The process is gone: nothing it asks reaches the database, and no answer reaches it."""
        return self._dead

    def die(self) -> None:
        """The process is gone, now."""
        if not self._dead:
            self._dead = True
            self._doubt_all()

    @property
    def away(self) -> bool:
        """The database does not answer."""
        return self._away

    def go_away(self) -> None:
        """The database does not answer until `come_back`."""
        self._away = True
        self._doubt_all()

    def come_back(self) -> None:
        """The database answers again."""
        self._away = False

    def freeze(self) -> None:
        """The process stands still (SIGSTOP, a suspended machine): nothing goes out or comes in until `thaw`."""
        self._awake.clear()
        self._doubt_all()

    def thaw(self) -> None:
        """The process goes on as if nothing had been."""
        self._awake.set()

    async def awake(self) -> None:
        """Wait until the process runs; for ever where it is dead."""
        await self._awake.wait()
        if self.dead:
            await self._loop.create_future()

    def doom(self, units: int, fate: Fate) -> None:
        """This becomes of the `units`-th unit of work from now."""
        self._fate = (units, fate)

    def spare(self) -> None:
        """No unit of work is doomed."""
        self._fate = None

    def submit(
        self, handler: Handler[I, R], item: I, after: Callable[[R], None] | None = None, *, side: Side = Side.OUT
    ) -> asyncio.Future[R]:
        answer: asyncio.Future[R] = self._loop.create_future()
        if self.frozen:
            self._loop.create_task(self._later(lambda: self._pass_on(handler, item, after, side, answer)))
        else:
            self._pass_on(handler, item, after, side, answer)
        return answer

    async def read(self, function: Callable[..., R], *args: Any) -> R:
        await self.awake()
        if self.away:
            raise StoreUnavailable("away")
        answer: asyncio.Future[R] = self._loop.create_future()

        def begin() -> asyncio.Future[R]:
            return self._loop.create_task(Store.read(self, function, *args))

        def hear(future: asyncio.Future[R]) -> None:
            error = cast("Exception | None", future.exception())
            _tell(answer, future, error)

        self._rounds.ask(begin, hear)
        found = await answer
        await self.awake()
        return found

    async def stop(self) -> None:
        await self._loop.work(super().stop())

    async def start(self) -> None:
        await self._loop.work(super().start())

    async def _later(self, call: Callable[[], None]) -> None:
        await self.awake()
        call()

    def _pass_on(
        self,
        handler: Handler[I, R],
        item: I,
        after: Callable[[R], None] | None,
        side: Side,
        answer: asyncio.Future[R],
    ) -> None:
        fate: Fate | None = None

        def begin() -> asyncio.Future[R] | None:
            nonlocal fate
            if self.dead:
                return None
            if self.away:
                _fail(answer, StoreUnavailable("away"))
                return None
            fate = self._next_fate()
            if fate == "dies before":
                self.die()
                return None
            done = super(Mortal, self).submit(handler, item, None, side=side)
            if fate == "dies after":
                self.die()
            elif fate == "stands still":
                self.freeze()
            return done

        def hear(done: asyncio.Future[R]) -> None:
            error = cast("Exception | None", done.exception())
            if error is None:
                self._note(item, done.result(), heard=fate != "answer lost")
                if fate == "answer lost":
                    error = StoreUnavailable("the connection broke in the commit")
            if self.frozen:
                self._loop.create_task(self._later(lambda: tell(done, error)))
            else:
                tell(done, error)

        def tell(done: asyncio.Future[R], error: Exception | None) -> None:
            if self.dead:
                return
            if error is None and after is not None:
                after(done.result())
            _tell(answer, done, error)

        self._rounds.ask(begin, hear)

    def _note(self, item: object, result: object, *, heard: bool) -> None:
        """A unit was committed: is a send begun by it, or ended?"""
        if isinstance(item, Finished):
            self._sending.discard(item.duty.reference)
        if isinstance(result, ToSend):
            self._sending.add(result.duty.reference)
            if self.dead or self.away or self.frozen or not heard:
                self._doubt(result.duty.reference)

    def _doubt_all(self) -> None:
        for reference in sorted(self._sending):
            self._doubt(reference)

    def _next_fate(self) -> Fate | None:
        if self._fate is None:
            return None
        left, fate = self._fate
        self._fate = (left - 1, fate) if left > 1 else None
        return fate if left <= 1 else None


def _tell(answer: asyncio.Future[R], done: asyncio.Future[R], error: Exception | None) -> None:
    if error is not None:
        _fail(answer, error)
    elif not answer.done():
        answer.set_result(done.result())


def _fail(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)

"""The target: the Ringotel simulator, which here also notes when each message has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from aiohttp import web
from traffic import ORGANIZATION, Plan, Said
from wrong import Wrong

from syncd.simulators.base import Call
from syncd.simulators.ringotel import RingotelSimulator

QUIET_SECONDS = 15.0
"""Nothing for so long: the rest is lost."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that the target has carried out; its answer comes after."""

    at: float
    """By `perf_counter`."""
    text: str


class Sink(RingotelSimulator):
    """One organization with these users."""

    def __init__(self, users: Sequence[str], *, delay: float = 0.0) -> None:
        super().__init__()
        self.users = tuple(users)
        self.latency = delay
        self.arrivals: list[Arrival] = []
        self._wanted = 0
        self._all_here = asyncio.Event()
        self.add_organization(users, orgid=ORGANIZATION)

    async def answer(self, request: web.Request, call: Call, do: Callable[[], Awaitable[web.Response]]) -> web.Response:
        """As the simulator does, with the time at which a message was carried out."""

        async def noted() -> web.Response:
            response = await do()
            if call.name == "message":
                self.arrivals.append(Arrival(perf_counter(), str(call.params.get("content"))))
                if len(self.arrivals) >= self._wanted:
                    self._all_here.set()
            return response

        return await super().answer(request, call, noted)

    def expect(self, count: int) -> None:
        """Begin to count arrivals anew."""
        self.arrivals = []
        self._wanted = count
        self._all_here.clear()

    async def all_here(self) -> None:
        """Wait for as many as are expected. Raises `Wrong` when they stop coming."""
        seen = -1
        while not self._all_here.is_set():
            if len(self.arrivals) == seen:
                raise Wrong(f"{seen} of {self._wanted} arrived, then none for {QUIET_SECONDS:.0f} s")
            seen = len(self.arrivals)
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    await self._all_here.wait()
            except TimeoutError:
                continue

    def sessions(self) -> dict[tuple[str, str], str]:
        """The session of each user with each contact."""
        return {(opened.extension, opened.contact): opened.sessionid for opened in self.open_calls}

    def check(self, plan: Plan, said: Sequence[Said]) -> None:
        """Raises `Wrong` unless every chat holds exactly what was said, in order."""
        expected: dict[int, list[str]] = {}
        for one in said:
            expected.setdefault(one.conversation, []).append(one.text)
        for conversation, contact in enumerate(plan.contacts):
            wanted = expected.get(conversation, [])
            for user in self.users:
                got = [message.content for message in self.chat(user, contact)]
                if got != wanted:
                    raise Wrong(f"the chat of {user} with {contact}: {_difference(wanted, got)}")
        opened = len(self.open_calls)
        if opened != len(plan.contacts) * len(self.users):
            raise Wrong(f"{opened} sessions opened for {len(plan.contacts)} contacts and {len(self.users)} users")


def _difference(wanted: list[str], got: list[str]) -> str:
    lost = len(set(wanted) - set(got))
    double = len(got) - len(set(got))
    strange = len(set(got) - set(wanted))
    if lost or double or strange:
        return f"{lost} lost, {double} doubled, {strange} never said, of {len(wanted)}"
    first = next(place for place, pair in enumerate(zip(wanted, got, strict=True)) if pair[0] != pair[1])
    return f"out of order from its message {first}"

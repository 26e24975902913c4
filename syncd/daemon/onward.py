"""Where work goes on when the config changes: to the parts in force, whoever has it in hand still."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence

from syncd.engine.dispatch import Dispatcher
from syncd.engine.ledger import Ledger
from syncd.engine.media import Keeper
from syncd.engine.operations import Effect
from syncd.model.topology import Topology
from syncd.model.work import Duty, LaneName


class Relief(Dispatcher):
    """A dispatcher that takes accounts over from another one, each when that one has nothing of it in flight any more.

    Until then the account's lanes gather before its gate.
    """

    def __init__(self, ledger: Ledger, topology: Topology) -> None:
        super().__init__(ledger, topology)
        self._awaited: set[str] = set()

    def wait_for(self, accounts: Collection[str]) -> None:
        """Claim nothing for these accounts until `take_over`."""
        self._awaited.update(accounts)
        self._hold()

    async def take_over(self, accounts: Collection[str]) -> None:
        """Send for these accounts from now on, unless they are paused. May be repeated; raises `StoreUnavailable`."""
        self._awaited.difference_update(accounts)
        await self.obey()
        # Their lanes may have been given back this moment: nobody is to wait for the next sweep.
        await self._sweep_once()

    async def obey(self) -> None:
        """Follow what is paused and resumed. Raises `StoreUnavailable`."""
        await super().obey()
        self._hold()

    def _hold(self) -> None:
        for account in self._awaited:
            self.senders[account].gate.hold(True)


class Onward:
    """The dispatcher and the keeper in force.

    Receivers, senders and operations of any config hand on here. So what those of an older one still commit while
    they finish is at once with those that go on.
    """

    def __init__(self) -> None:
        self._dispatcher: Dispatcher | None = None
        self._keeper: Keeper | None = None
        self._leaving: Dispatcher | None = None

    def turn_to(self, dispatcher: Dispatcher, keeper: Keeper) -> None:
        """Hand on to these from now on."""
        self._leaving, self._dispatcher, self._keeper = self._dispatcher, dispatcher, keeper

    def left(self) -> None:
        """The one before has nothing in flight any more."""
        self._leaving = None

    @property
    def dispatcher(self) -> Dispatcher:
        """The one in force."""
        assert self._dispatcher is not None
        return self._dispatcher

    def hand_on(self, duties: Sequence[Duty], woken: Sequence[LaneName]) -> None:
        """See `Dispatcher`, as all of these."""
        self.dispatcher.hand_on(duties, woken)

    def event_waits(self, conversation_id: str) -> None:
        self.dispatcher.event_waits(conversation_id)

    def event_parks(self) -> None:
        self.dispatcher.event_parks()

    def message_ready(self, lanes: Sequence[LaneName]) -> None:
        self.dispatcher.message_ready(lanes)

    def wake(self, lane_id: str, account: str) -> None:
        self.dispatcher.wake(lane_id, account)

    def wake_in(self, lane_id: str, account: str, seconds: float) -> None:
        self.dispatcher.wake_in(lane_id, account, seconds)

    def send_settled(self, conversation_id: str, *, event_waits: bool) -> None:
        self.dispatcher.send_settled(conversation_id, event_waits=event_waits)

    def hurry(self, account: str) -> None:
        self.dispatcher.hurry(account)

    def files_wanted(self, media_ids: Iterable[str]) -> None:
        """See `Keeper.wanted`."""
        assert self._keeper is not None
        self._keeper.wanted(media_ids)

    async def apply(self, effects: Sequence[Effect]) -> None:
        """A pause is in force when the sends of the one before have stopped, too."""
        there = [one for one in (self._leaving, self.dispatcher) if one is not None]
        await asyncio.gather(*(one.apply(effects) for one in there))

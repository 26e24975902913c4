"""The health of one account: what its attempts say, one log line at each change, and a pause where one is due."""

from __future__ import annotations

import asyncio
import random

import structlog

from syncd import metrics
from syncd.engine.gate import Gate
from syncd.engine.ledger import Ledger
from syncd.engine.yard import Yard
from syncd.model.sending import AuthFailed, EndRefused, NotSent, RateLimited, SendError
from syncd.store.writer import StoreUnavailable

log = structlog.get_logger("syncd.dispatch")

REFUSED_KEY_WAIT = 300.0
"""Seconds between attempts while an account's key is refused."""
LONGEST_PAUSE = 3600.0
"""Seconds: whatever a platform says, it is asked again after so long."""


class Health:
    """One account's state, in memory and in the table `account_state`: `up`, `throttled`, `failing`, `unauthorised`."""

    def __init__(self, account: str, gate: Gate, ledger: Ledger, yard: Yard) -> None:
        self.state = "up"
        self.reason = ""
        self._account = account
        self._gate = gate
        self._ledger = ledger
        self._yard = yard
        self._refused: set[str] = set()
        self._on_record = False
        self._recording: set[asyncio.Task[None]] = set()
        metrics.account_up.labels(account).set(1)

    def well(self) -> None:
        """A request was carried out."""
        if self.state == "up":
            if not self._on_record:
                # What a process found that was killed since may still stand there, and nobody else would correct it.
                self._change("up", "")
            return
        log.info("account.up", account=self._account, was=self.state)
        if self.state == "failing":
            self._yard.hurry(self._account)
        self._change("up", "")

    def ill(self, error: SendError) -> None:
        """A request was not carried out. Errors that speak of one message only change nothing."""
        if isinstance(error, AuthFailed):
            state = "unauthorised"
            self._gate.shut(REFUSED_KEY_WAIT)
        elif isinstance(error, RateLimited):
            state = "throttled"
            wait = error.retry_after if error.retry_after is not None else 1.0 + random.random()
            self._gate.shut(min(wait, LONGEST_PAUSE))
        elif isinstance(error, NotSent):
            state = "failing"
        else:
            return
        if state != self.state:
            log.warning(f"account.{state}", account=self._account, reason=error.reason)
            self._change(state, error.reason)

    def resumed(self) -> None:
        """An operator says that it works again: try at once."""
        self._gate.open()
        self._refused.clear()
        self._yard.hurry(self._account)

    def end_refused(self, link: str, error: EndRefused) -> None:
        """The platform refuses one link's end; no other is held back."""
        if link not in self._refused:
            self._refused.add(link)
            log.warning("link.refused", account=self._account, link=link, reason=error.reason)

    def end_works(self, link: str) -> None:
        """A send on this link was carried out."""
        if link in self._refused:
            self._refused.discard(link)
            log.info("link.works_again", account=self._account, link=link)

    def _change(self, state: str, reason: str) -> None:
        self.state = state
        self.reason = reason
        self._on_record = True
        metrics.account_up.labels(self._account).set(state == "up")
        task = asyncio.get_running_loop().create_task(self._record(state, reason))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def _record(self, state: str, reason: str) -> None:
        try:
            await self._ledger.account_is(self._account, state, reason)
        except StoreUnavailable:
            pass  # It is a view for operators only; the next change is written again.

"""The senders: for each account a queue of lanes and a few workers that visit them in turn."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import structlog

from syncd import metrics
from syncd.engine import deadline, reconcile
from syncd.engine.claims import Claim, Finished, ToGiveUp, ToOpen, ToSend, ToSettle
from syncd.engine.errands import NO_LINK, Errands, Shelf, bare_shelf
from syncd.engine.gate import Gate
from syncd.engine.health import Health
from syncd.engine.ledger import LEASE, Ledger
from syncd.engine.platform import Platform
from syncd.engine.yard import Yard
from syncd.failpoints import step
from syncd.model.clock import Clock
from syncd.model.retry import backoff, class_of, verdict
from syncd.model.sending import (
    EndRefused,
    MaybeSent,
    NotSent,
    Opening,
    SendError,
    Sent,
)
from syncd.model.text import storable
from syncd.model.topology import Topology
from syncd.model.work import Duty
from syncd.store.lanes import LaneAfter, NotHeld
from syncd.store.writer import StoreUnavailable

log = structlog.get_logger("syncd.dispatch")

WORKERS = 64
"""Lanes of one account that are worked on at once, and its connections."""
BEGIN_WITHIN = LEASE.total_seconds() / 2
"""Seconds from a claim until its request is written, or is not: well before anybody else may have the lane."""
LONGEST_STORE_WAIT = 5.0
"""Seconds between tries to record an answer while the database is away."""

T = TypeVar("T")


class Sender:
    """Delivers for one account. Lanes take turns; a lane is in one worker's hands at a time."""

    def __init__(
        self,
        account: str,
        platform: Platform,
        *,
        finds_sent: bool,
        rate: float,
        ledger: Ledger,
        topology: Topology,
        yard: Yard,
        clock: Clock,
        shelf: Shelf = bare_shelf,
    ) -> None:
        self.account = account
        self.gate = Gate(rate)
        self.health = Health(account, self.gate, ledger, yard)
        self._platform = platform
        self._errands = Errands(platform, topology, shelf)
        self._finds_sent = finds_sent
        self._ledger = ledger
        self._topology = topology
        self._yard = yard
        self._clock = clock
        self._queue: deque[str] = deque()
        self._queued: set[str] = set()
        self._busy: set[str] = set()
        self._deadlines: dict[str, deadline.Deadline] = {}
        self._again: set[str] = set()
        self._workers: set[asyncio.Task[None]] = set()
        self._at_gate: set[asyncio.Task[None]] = set()
        self._open_failures: dict[str, int] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._attempts = cache(metrics.attempts.labels)
        self._active = metrics.lanes_active.labels(account)
        self._delivery_seconds = metrics.delivery_seconds.labels(account)

    @property
    def in_hand(self) -> frozenset[str]:
        """The lanes that are worked on now."""
        return frozenset(self._busy)

    def __len__(self) -> int:
        return len(self._queued) + len(self._busy)

    def add(self, lane_id: str) -> None:
        """Visit the lane; once more, if it is being visited now."""
        if self._draining:
            return
        if lane_id in self._busy:
            self._again.add(lane_id)
        elif lane_id not in self._queued:
            self._queued.add(lane_id)
            self._queue.append(lane_id)
            if len(self._workers) < WORKERS:
                self._workers.add(asyncio.get_running_loop().create_task(self._work(), name=f"send-{self.account}"))

    async def settled(self, seconds: float) -> None:
        """Return when whatever was in hand is done, or waits at the gate; or after so long."""
        waits_until = asyncio.get_running_loop().time() + seconds
        before = set(self._busy)
        while before & self._busy and len(self._at_gate) < len(self._busy):
            if asyncio.get_running_loop().time() > waits_until:
                return
            await asyncio.sleep(0.01)

    async def drain(self) -> None:
        """Claim nothing more; return when the sends in flight have their answers recorded."""
        self._draining = True
        self._queue.clear()
        self._queued.clear()
        for worker in self._at_gate:
            worker.cancel()
        await self._idle.wait()

    async def _work(self) -> None:
        worker: asyncio.Task[None] | None = asyncio.current_task()
        assert worker is not None
        try:
            await self._work_off()
        finally:
            # At once, not by a callback: a lane added before that ran would find no worker and start none.
            self._workers.discard(worker)

    async def _work_off(self) -> None:
        while self._queue:
            lane_id = self._queue.popleft()
            self._queued.discard(lane_id)
            self._busy.add(lane_id)
            self._idle.clear()
            self._active.inc()
            again = False
            try:
                done = await self._visit(lane_id)
                if isinstance(done, Finished):
                    # The lane is held until that is recorded; the worker need not be.
                    self._record(done, tries=0)
                    continue
                again = done
            except Exception:
                # A defect must not take the lane out of the world: the sweep finds it again.
                log.exception("lane.failed", account=self.account, lane=lane_id)
            except asyncio.CancelledError:
                self._leave(lane_id, again=False)
                raise
            self._leave(lane_id, again=again)

    def _leave(self, lane_id: str, *, again: bool) -> None:
        self._active.dec()
        self._busy.discard(lane_id)
        self._deadlines.pop(lane_id, None)
        if again or lane_id in self._again:
            self._again.discard(lane_id)
            self.add(lane_id)
        if not self._busy:
            self._idle.set()

    async def _visit(self, lane_id: str) -> Finished | bool:
        """Do one thing for a lane: what is to be recorded of it, or whether to come again at once."""
        await self._pass_gate()
        began = deadline.now()
        try:
            claim = await self._ledger.claim(lane_id)
        except StoreUnavailable:
            # It may be claimed all the same, and a sweep would not find it before its lease ends.
            self._yard.wake_in(lane_id, self.account, 1.0 + random.random())
            return False
        if self._ledger.shared:
            self._put_deadline(lane_id, began, claim)
        match claim:
            case NotHeld():
                if claim.wait is not None:
                    self._yard.wake_in(lane_id, self.account, claim.wait)
                return False
            case ToOpen():
                return await self._open(claim)
            case ToSettle():
                return await self._settle(claim)
            case ToGiveUp():
                return self._given_up(claim)
            case ToSend():
                return await self._send(claim)

    def _put_deadline(self, lane_id: str, began: float, claim: Claim) -> None:
        if not isinstance(claim, ToSend | ToOpen):
            deadline.put(None)
            return
        self._deadlines[lane_id] = until = deadline.Deadline(began + BEGIN_WITHIN)
        deadline.put(until)

    def renewed(self, lane_ids: Iterable[str], began: float) -> None:
        """Their leases were renewed, by a transaction that began then: a send of several requests may go on."""
        for lane_id in lane_ids:
            known = self._deadlines.get(lane_id)
            if known is not None:
                known.at = max(known.at, began + BEGIN_WITHIN)

    async def _pass_gate(self) -> None:
        """The one place where a worker may be cancelled: it has claimed nothing yet."""
        worker: asyncio.Task[None] | None = asyncio.current_task()
        assert worker is not None
        self._at_gate.add(worker)
        try:
            await self.gate.passed()
        finally:
            self._at_gate.discard(worker)

    @step("open_session")
    async def _open(self, claim: ToOpen) -> Finished | bool:
        duty, chat = claim.duty, claim.chat
        opening = Opening(chat.organization, chat.contact, None, chat.extension, duty.name)
        try:
            sessionid = storable(await self._platform.open_session(opening))
        except SendError as told:
            error = told.storable()
            await self._surely(lambda: self._ledger.not_opened(claim))
            log.warning(
                "session.not_opened", account=self.account, message=duty.message, reason=error.reason, lane=duty.lane_id
            )
            return await self._open_failed(claim, error)
        except BaseException:
            await self._surely(lambda: self._ledger.not_opened(claim))
            raise
        self._open_failures.pop(duty.lane_id, None)
        await self._surely(lambda: self._ledger.opened(claim, sessionid))
        self.health.well()
        log.info("session.opened", account=self.account, extension=chat.extension, sessionid=sessionid)
        return True

    async def _open_failed(self, claim: ToOpen, error: SendError) -> Finished | bool:
        self.health.ill(error)
        # An open call says nothing to anybody: to repeat it is safe, and no reason to doubt the message.
        failures = self._open_failures[claim.duty.lane_id] = self._open_failures.get(claim.duty.lane_id, 0) + 1
        result = NotSent(error.reason) if isinstance(error, MaybeSent) else error
        judged = verdict(result, attempts=failures, waited=self._waited(claim.duty), draw=random.random)
        if judged.state == "ready" and judged.wait is not None:
            wait = judged.wait
            await self._surely(lambda: self._ledger.postpone(claim.duty.lane_id, wait, judged.why))
            self._yard.wake_in(claim.duty.lane_id, self.account, wait)
            return False
        del self._open_failures[claim.duty.lane_id]
        return Finished(claim.duty, claim.token, 1, claim.chat, None, error, judged, self._clock(), 0)

    @step("send")
    async def _send(self, claim: ToSend) -> Finished:
        at = self._clock()
        result: Sent | SendError
        try:
            result = _storable(await self._errands.carry_out(claim))
        except SendError as error:
            result = error.storable()
        now = self._clock()
        judged = verdict(result, attempts=claim.number, waited=self._waited(claim.duty), draw=random.random)
        if judged.state == "dead" and claim.duty.op.is_receipt:
            judged = replace(judged, state="skipped")
        if isinstance(result, Sent):
            self.health.well()
            self.health.end_works(claim.duty.link)
            self._delivery_seconds.observe((now - claim.duty.created_at).total_seconds())
        elif isinstance(result, EndRefused):
            self.health.end_refused(claim.duty.link, result)
        else:
            self.health.ill(result)
        took_ms = int((now - at).total_seconds() * 1000)
        return Finished(claim.duty, claim.token, claim.number, claim.chat, claim.sessionid, result, judged, at, took_ms)

    def _given_up(self, claim: ToGiveUp) -> Finished:
        return Finished(claim.duty, claim.token, claim.number, claim.chat, None, None, claim.verdict, self._clock(), 0)

    @step("settle")
    async def _settle(self, claim: ToSettle) -> Finished:
        link = self._topology.link(claim.duty.link)
        outgoing = self._errands.outgoing(claim.duty, claim.sessionid, claim.spelling)
        result: Sent | None = None
        if link is None or outgoing is None:
            judged = NO_LINK
        elif self._finds_sent:
            try:
                result, judged = await reconcile.ask(self._platform, claim, outgoing)
            except SendError as error:
                self.health.ill(error)
                judged = reconcile.cannot_ask(error.storable(), claim)
        else:
            judged = reconcile.wait_for_news(claim, link)
        return Finished(
            claim.duty, claim.token, claim.number, claim.chat, claim.sessionid, result, judged, self._clock(), 0
        )

    def _record(self, finished: Finished, *, tries: int) -> None:
        """Record what was done; the answer is kept until the database takes it: only a crash makes it a doubt."""

        def recorded(future: asyncio.Future[LaneAfter]) -> None:
            error = future.exception()
            if error is None:
                self._recorded(finished, future.result())
            elif isinstance(error, StoreUnavailable):
                wait = min(LONGEST_STORE_WAIT, backoff(tries + 1, random.random))
                asyncio.get_running_loop().call_later(wait, lambda: self._record(finished, tries=tries + 1))
            else:
                log.error("lane.failed", account=self.account, lane=finished.duty.lane_id, exc_info=error)
                self._leave(finished.duty.lane_id, again=False)

        self._ledger.finish(finished).add_done_callback(recorded)

    def _recorded(self, finished: Finished, after: LaneAfter) -> None:
        duty, judged = finished.duty, finished.verdict
        outcome = class_of(finished.result) if finished.result is not None else judged.state
        self._attempts(self.account, outcome).inc()
        told = log.info if judged.state in ("sent", "ready") else log.warning
        told(
            f"delivery.{judged.state}",
            account=self.account,
            link=duty.link,
            conversation=duty.conversation_id,
            message=duty.message,
            delivery=duty.delivery_id,
            target=duty.target,
            attempt=finished.number,
            result=outcome,
            reason=judged.why,
        )
        self._yard.send_settled(duty.conversation_id, event_waits=after.event_waits)
        if after.wait is not None:
            self._yard.wake_in(duty.lane_id, self.account, after.wait)
        self._leave(duty.lane_id, again=after.more and after.wait is None)

    async def _surely(self, write: Callable[[], Awaitable[T]]) -> T:
        tries = 0
        while True:
            try:
                return await write()
            except StoreUnavailable:
                tries += 1
                await asyncio.sleep(min(LONGEST_STORE_WAIT, backoff(tries, random.random)))

    def _waited(self, duty: Duty) -> timedelta:
        return self._clock() - duty.created_at


def _storable(sent: Sent) -> Sent:
    """The answer with ids that every database takes."""
    ids = {"messageid": sent.messageid, "sessionid": sent.sessionid, "answer": sent.answer}
    changes: dict[str, Any] = {
        name: storable(value) for name, value in ids.items() if value is not None and storable(value) != value
    }
    return replace(sent, **changes) if changes else sent

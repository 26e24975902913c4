"""Resync: puts what is missing into users' chats, a little at a time, so that live traffic hardly waits (G15).

An operation that is on record: whichever process carries it out may die, another one goes on, and what was done
already is not done again, for it is not missing any more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection

from syncd.engine.comparing import Planned, Planner, shown
from syncd.engine.longwork import LongWork
from syncd.engine.platform import Platform
from syncd.engine.receive import Receiver
from syncd.engine.understanding import HISTORY
from syncd.failpoints import step, unit
from syncd.model.clock import Clock, Ids
from syncd.model.contact import canonical
from syncd.model.facts import ContactForm
from syncd.model.operation import Asked, Done, Kind, Wish
from syncd.model.parts import pieces, with_quote
from syncd.model.picture import Picture
from syncd.model.resync import Mode, Put, Retry, Scope, Step, Take
from syncd.model.sending import SendError
from syncd.model.topology import Link, Topology
from syncd.model.work import Duty, LaneName, Op, desk_target, extension_of, lane_id
from syncd.store import comparison, held, loading, operations, said, saving
from syncd.store.locks import apart, hold
from syncd.store.writer import Store, StoreUnavailable

log = structlog.get_logger("syncd.resync")

LEASE = timedelta(seconds=20)
REPORT_SECONDS = 0.5
WINDOW = 16
"""Copies of one conversation that are under way at once: a live message waits behind no more."""
CONTACTS_AT_ONCE = 4
"""Conversations that are worked on at once."""
GAP_SECONDS = 0.05
STALLED_SECONDS = 60.0
"""A conversation of which nothing has arrived for so long is left for the next resync."""

HandOn = Callable[[Sequence[Duty], Sequence[LaneName]], None]


class Detail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The scope of a resync beside its link, as `Wish.detail` has it (JSON). Times are RFC 3339."""

    since: datetime
    until: datetime
    contact: str | None = None
    user: str | None = None
    mode: Mode = Mode.HISTORY


class CannotBe(Exception):
    """A resync that cannot be; the text says why and what to do."""


def scope_of(wish: Wish, topology: Topology) -> tuple[Link, Scope]:
    """The link and the scope that are wished for. Raises `CannotBe`."""
    link = topology.link(wish.subject)
    if link is None:
        raise CannotBe(f"no link is called {wish.subject}: see `syncd status`")
    try:
        detail = msgspec.json.decode(wish.detail, type=Detail)
    except msgspec.DecodeError as error:
        raise CannotBe(f"not understood: {error}") from None
    if detail.user is not None and detail.user not in link.desk.users:
        raise CannotBe(f"link {link.name} has no user {detail.user}: its users are {', '.join(link.desk.users)}")
    if detail.since >= detail.until:
        raise CannotBe("the span of time is empty: `since` must lie before `until`")
    contact = None if detail.contact is None else canonical(detail.contact, ContactForm.PHONE, link.region)
    return link, Scope(link.name, detail.since, detail.until, contact, detail.user, detail.mode)


class Resyncs(LongWork):
    """Carries out the resyncs that are on record, one at a time in each process."""

    def __init__(
        self,
        store: Store,
        topology: Topology,
        platforms: Mapping[str, Platform],
        receiver: Receiver,
        *,
        clock: Clock,
        ids: Ids,
        hand_on: HandOn,
    ) -> None:
        super().__init__(store, Kind.RESYNC, LEASE)
        self._topology = topology
        self._platforms = platforms
        self._receiver = receiver
        self._clock = clock
        self._ids = ids
        self._hand_on = hand_on

    async def _carry_out(self, asked: Asked) -> None:
        what: dict[str, Any] = {"operation": asked.id, "link": asked.wish.subject, "by": asked.by}
        try:
            link, scope = scope_of(asked.wish, self._topology)
            job = Job(self, asked.id, link, scope)
            await job.run()
        except Stopped:
            log.warning("resync.stopped", **what)
            return
        except (CannotBe, SendError) as error:
            ok, result = False, str(error)
        else:
            ok, result = job.outcome()
            what |= {"copies": job.fed}
        await self._conclude(Done(asked.id, asked.wish, asked.by, ok, result))
        if ok:
            log.info("resync.done", result=result, **what)
        else:
            log.warning("resync.incomplete", result=result, **what)

    async def _conclude(self, done: Done) -> None:
        await self._store.write(operations.conclude_long, done, self._clock())

    def planner(self, link: Link, scope: Scope) -> Planner:
        """What compares; it cannot write."""
        return Planner(self._store.read, link, self._platforms[link.channel.account], scope, self._clock())

    async def report(self, operation_id: str, progress: str) -> bool:
        """Say how far it has come; False where it is to stop."""
        return await self._store.write(operations.report, operation_id, progress, LEASE)

    async def unsettled(self, lanes: set[str]) -> int:
        """How many deliveries of these lanes are under way."""
        return await self._store.read(comparison.open_deliveries, lanes)

    async def why(self, lanes: set[str]) -> str:
        """Why one of these lanes waits."""
        return await self._store.read(comparison.waiting_because, lanes)

    async def take(self, operation_id: str, link: Link, planned: Planned, steps: Sequence[Take]) -> set[str]:
        """Take messages in that the ledger does not know; the conversations that they are in."""
        events = [planned.event_of(one, operation_id) for one in steps]
        via = HISTORY if planned.plan.scope.mode is Mode.HISTORY else "resync"
        outcomes = await self._receiver.take(link.channel.account, events, via)
        return {one.conversation_id for one in outcomes if one.conversation_id is not None}

    async def put(self, link: Link, steps: Sequence[Put | Retry], *, history: bool) -> None:
        """Have messages of the ledger put into chats that still lack them."""
        duties, woken = await self._store.write(self._put, link, steps, history)
        self._hand_on(duties, woken)

    @apart
    @unit("resync")
    def _put(
        self, conn: Connection, link: Link, steps: Sequence[Put | Retry], history: bool
    ) -> tuple[list[Duty], list[LaneName]]:
        picture = Picture(self._ids, self._clock())
        loading.load_conversations(conn, picture, {one.conversation for one in steps})
        hold(conn, {lane_id(one.conversation, one.target) for one in steps})
        said.load(conn, picture, (), {one.message for one in steps})
        woken = [
            LaneName(lane_id(one.conversation, one.target), link.name, one.target)
            for one in steps
            if isinstance(one, Retry) and _retry(conn, one, picture.now, history=history)
        ]
        for one in steps:
            if isinstance(one, Put):
                _put_one(picture, link, one, history=history)
        saving.save(conn, picture)
        return picture.duties, woken


def _retry(conn: Connection, one: Retry, now: datetime, *, history: bool) -> bool:
    delivery = held.one(conn, one.delivery)
    if delivery is None or delivery.row.state != "dead":
        return False
    held.revive(conn, delivery, "ready", "resync", now, history=history)
    return True


def _put_one(picture: Picture, link: Link, one: Put, *, history: bool) -> None:
    message = picture.said.get(one.message)
    if message is None:
        return
    # Since the plan was made, somebody else may have done it.
    carried = any(errand.target == one.target and errand.op is Op.MESSAGE for errand in message.errands)
    if carried or any(copy.extension == extension_of(one.target) for copy in message.copies):
        return
    conversation = picture.conversation(message.link, message.contact)
    seq = picture.next_seq(conversation)
    for part in range(len(pieces(with_quote(message.text, message.quote), message.kinds, link.desk.able))):
        picture.oblige(
            conversation, message, one.target, Op.MESSAGE, seq=seq, part=part, quote=message.quote, history=history
        )


class Stopped(Exception):
    """An operator has stopped it."""


class Job:
    """One resync on its way: `run` it, then ask for the `outcome`."""

    def __init__(self, resyncs: Resyncs, operation_id: str, link: Link, scope: Scope) -> None:
        self._resyncs = resyncs
        self._id = operation_id
        self._link = link
        self._scope = scope
        self._planner = resyncs.planner(link, scope)
        self._plan: dict[str, Any] | None = None
        self._planned: Planned | None = None
        self._history = scope.mode is Mode.HISTORY
        self.fed = 0
        """Copies that were handed to the dispatcher."""
        self._under_way: dict[str, int] = {}
        self._stalled: dict[str, str] = {}
        """Contacts of whom the rest is left, and why."""
        self._left: dict[str, Any] | None = None

    @step("resync_run")
    async def run(self) -> None:
        """Plan, and do exactly that. Raises `Stopped`, `SendError`, `StoreUnavailable`."""
        try:
            async with asyncio.TaskGroup() as group:
                reporting = group.create_task(self._report(), name="resync-report")
                await group.create_task(self._work(), name="resync-work")
                reporting.cancel()
        except* (Stopped, SendError, StoreUnavailable) as errors:
            # Of several it is the first that ended the others.
            raise _first(errors) from None
        if not await self._resyncs.report(self._id, self._progress()):
            raise Stopped

    def outcome(self) -> tuple[bool, str]:
        """Whether nothing is missing now, and a sentence on it."""
        assert self._plan is not None
        assert self._left is not None
        missing = self._plan["missing"]
        done = f"{missing['messages']} messages were missing, in {missing['copies']} copies"
        left = self._left["missing"]["copies"]
        if left or self._stalled:
            why = next(iter(self._stalled.values()), "") or "see `syncd dead list`"
            return False, f"{done}; {left} copies still are: {why}"
        if self._plan["capped"]:
            return False, f"{done}; there is more: run it again"
        return True, f"{done}; nothing is missing now" if missing["copies"] else "nothing was missing"

    async def _work(self) -> None:
        planned = await self._planner.plan()
        self._planned, self._plan = planned, shown(planned.plan) | {"history": planned.history}
        if not await self._resyncs.report(self._id, self._progress()):
            raise Stopped
        log.info("resync.planned", operation=self._id, link=self._link.name, copies=planned.plan.copies)
        waiting = list(reversed(planned.plan.sorted().items()))

        async def worker() -> None:
            while waiting:
                await self._feed(planned, *waiting.pop())

        async with asyncio.TaskGroup() as group:
            for _ in range(CONTACTS_AT_ONCE):
                group.create_task(worker())
        self._left = shown(await self._planner.ledger_only())

    async def _feed(self, planned: Planned, contact: str, steps: Sequence[Step]) -> None:
        lanes: set[str] = set()
        for some in self._portions(planned, steps):
            if not await self._room(contact, lanes, WINDOW // 2):
                return
            takes = [one for one in some if isinstance(one, Take)]
            others = [one for one in some if not isinstance(one, Take)]
            found = {one.conversation for one in others}
            if takes:
                found |= await self._resyncs.take(self._id, self._link, planned, takes)
            if others:
                await self._resyncs.put(self._link, others, history=self._history)
            lanes |= {lane_id(one, desk_target(user)) for one in found for user in self._link.desk.users}
            self.fed += sum(planned.plan.copies_of(one) for one in some)
        await self._room(contact, lanes, 0)
        self._under_way.pop(contact, None)

    def _portions(self, planned: Planned, steps: Sequence[Step]) -> Iterator[list[Step]]:
        """The steps in order, so many at once as the window holds, those of one kind together."""
        some: list[Step] = []
        size = 0
        for one in steps:
            copies = planned.plan.copies_of(one)
            if some and (size + copies > WINDOW // 2 or isinstance(one, Take) != isinstance(some[0], Take)):
                yield some
                some, size = [], 0
            some.append(one)
            size += copies
        if some:
            yield some

    async def _room(self, contact: str, lanes: set[str], most: int) -> bool:
        """Wait until no more than `most` are under way; False where nothing moves any more."""
        loop = asyncio.get_running_loop()
        moved, before = loop.time(), -1
        while True:
            now = await self._resyncs.unsettled(lanes)
            self._under_way[contact] = now
            if now <= most:
                return True
            if now != before:
                moved, before = loop.time(), now
            elif loop.time() - moved > STALLED_SECONDS:
                self._stalled[contact] = await self._resyncs.why(lanes)
                return False
            await asyncio.sleep(GAP_SECONDS)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            if not await self._resyncs.report(self._id, self._progress()):
                raise Stopped

    def _progress(self) -> str:
        if self._plan is None:
            return json.dumps({"plan": None})
        done = max(0, self.fed - sum(self._under_way.values()))
        document = {"plan": self._plan, "done": done, "of": self._plan["missing"]["copies"]}
        return json.dumps(document | ({} if self._left is None else {"left": self._left["missing"]}))


def _first(errors: BaseExceptionGroup[Any]) -> Exception:
    for error in errors.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError

"""The dispatcher's units of work: claim a lane, record a session, record what became of a send."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from syncd.model.clock import Clock, Ids
from syncd.model.facts import CopyStatus
from syncd.model.picture import Copy, Picture, direction_of
from syncd.model.retry import Verdict, class_of
from syncd.model.sending import SendError, Sent
from syncd.model.topology import Topology
from syncd.model.work import Chat, Duty, LaneName, extension_of
from syncd.store import accounts, lanes, saving, sessions
from syncd.store.dialect import insert_rows
from syncd.store.lanes import Completion, Held, LaneAfter, NotHeld
from syncd.store.schema import attempt
from syncd.store.writer import Store

LEASE = timedelta(seconds=45)
"""How long a lane is ours: longer than a send can take."""
OTHERS_OPENING = 0.2
"""Seconds until we look again where another lane opens the session of the same chat."""


@dataclass(frozen=True, slots=True)
class ToSend:
    """Send it: `ready -> sending` is committed."""

    duty: Duty
    token: int
    number: int
    """This is the how-manieth attempt."""
    chat: Chat | None
    sessionid: str | None
    spelling: str | None
    """The contact as the target's platform last spelled it."""
    until: datetime
    """The lease ends."""


@dataclass(frozen=True, slots=True)
class ToOpen:
    """Open the chat's session first."""

    duty: Duty
    token: int
    chat: Chat
    opening_id: str


@dataclass(frozen=True, slots=True)
class ToSettle:
    """An earlier attempt may have been carried out; find out."""

    duty: Duty
    token: int
    number: int
    chat: Chat | None
    sessionid: str | None
    spelling: str | None
    tried_at: datetime
    now: datetime


Claim = ToSend | ToOpen | ToSettle | NotHeld


@dataclass(frozen=True, slots=True)
class Finished:
    """One attempt and the verdict on it; `result` is None where an old doubt was decided without asking anybody."""

    duty: Duty
    token: int
    number: int
    chat: Chat | None
    sessionid: str | None
    result: Sent | SendError | None
    verdict: Verdict
    at: datetime
    took_ms: int


class Ledger:
    """The SQL side of dispatching, batched by the store's group commit."""

    def __init__(
        self, store: Store, topology: Topology, *, owner: str, clock: Clock, ids: Ids, most_cached: int = 20_000
    ) -> None:
        self._store = store
        self._topology = topology
        self._owner = owner
        self._clock = clock
        self._ids = ids
        self._most_cached = most_cached
        self._cached: OrderedDict[str, Duty] = OrderedDict()

    def remember(self, duties: Sequence[Duty]) -> None:
        """Keep fresh duties, so that claiming them need not read them; bounded, the oldest go first."""
        for duty in duties:
            self._cached[duty.delivery_id] = duty
        while len(self._cached) > self._most_cached:
            self._cached.popitem(last=False)

    async def claim(self, lane_id: str) -> Claim:
        """Take the lane's lease and mark its head `sending`, or say what must come first."""
        claim = await self._store.submit(self._claim_many, lane_id)
        if not isinstance(claim, NotHeld):
            self._cached.pop(claim.duty.delivery_id, None)
        return claim

    async def opened(self, opening: ToOpen, sessionid: str) -> None:
        """Record the session that was opened."""
        await self._store.write(self._opened, opening, sessionid)

    async def not_opened(self, opening: ToOpen) -> None:
        """Let another try open it."""
        await self._store.write(sessions.not_opened, opening.opening_id)

    def finish(self, finished: Finished) -> asyncio.Future[LaneAfter]:
        """Record an attempt: the delivery's state, the copy's row in `mapping`, the session that the answer named."""
        return self._store.submit(self._finish_many, finished)

    async def postpone(self, lane_id: str, wait: float, why: str) -> None:
        """Let a lane wait without an attempt."""
        await self._store.write(lanes.postpone, lane_id, wait, why, self._owner)

    async def due(self, limit: int, after: str) -> list[tuple[LaneName, float | None]]:
        """Busy lanes that nobody holds, and the seconds that they wait; a page of them."""

        def page(conn: Connection) -> list[tuple[LaneName, float | None]]:
            return lanes.due(conn, limit, after=after)

        return await self._store.read(page)

    async def hurry(self, lane_ids: Sequence[str]) -> None:
        """Let lanes that wait go on now."""
        await self._store.write(lanes.hurry, lane_ids)

    async def account_is(self, account: str, state: str, reason: str) -> None:
        """Record the state of an account."""
        await self._store.write(accounts.set_state, account, state, reason, self._clock())

    async def release_all(self) -> None:
        """Give every lease back, at the end."""
        await self._store.write(lanes.release_all, self._owner)

    def chat_of(self, duty: Duty) -> Chat | None:
        """The chat that a duty's target is; None for a channel, or where its link is not configured any more."""
        extension = extension_of(duty.target)
        link = self._topology.link(duty.link)
        if extension is None or link is None:
            return None
        return Chat(link.desk.account, link.desk.key, extension, duty.contact)

    def _claim_many(self, conn: Connection, lane_ids: Sequence[str]) -> list[Claim]:
        found, now = lanes.claim(conn, lane_ids, self._owner, LEASE)
        held = {lane_id: one for lane_id, one in found.items() if isinstance(one, Held)}
        duties = {one.head.delivery_id: self._cached.get(one.head.delivery_id) for one in held.values()}
        missing = [delivery_id for delivery_id, duty in duties.items() if duty is None]
        known: dict[str, Duty] = {k: duty for k, duty in duties.items() if duty is not None}
        if missing:
            known |= lanes.duties(conn, missing)
        chats = {lane_id: self.chat_of(known[one.head.delivery_id]) for lane_id, one in held.items()}
        current = sessions.current(conn, [chat for chat in chats.values() if chat is not None])
        claims: dict[str, Claim] = {lane_id: one for lane_id, one in found.items() if isinstance(one, NotHeld)}
        to_start: list[tuple[Held, str | None]] = []
        to_release: list[str] = []
        for lane_id, one in held.items():
            duty, chat = known[one.head.delivery_id], chats[lane_id]
            row = current.get(chat) if chat is not None else None
            sessionid = row.sessionid if row is not None else None
            spelling = duty.spelling if chat is None else row.spelling if row is not None else None
            if one.head.state != "ready":
                claims[lane_id] = ToSettle(
                    duty,
                    one.token,
                    one.head.attempts,
                    chat,
                    one.head.sessionid,
                    spelling,
                    one.head.tried_at or now,
                    now,
                )
            elif chat is not None and sessionid is None:
                opening_id = sessions.begin_opening(conn, chat, self._ids(), now)
                if opening_id is not None:
                    claims[lane_id] = ToOpen(duty, one.token, chat, opening_id)
                else:
                    claims[lane_id] = NotHeld("another lane opens the session", OTHERS_OPENING)
                    to_release.append(lane_id)
            else:
                to_start.append((one, sessionid))
                claims[lane_id] = ToSend(duty, one.token, one.head.attempts + 1, chat, sessionid, spelling, one.until)
        lanes.start(conn, to_start, now)
        if to_release:
            lanes.release(conn, to_release, self._owner)
        gone = NotHeld("no such lane")
        return [claims.get(lane_id, gone) for lane_id in lane_ids]

    def _opened(self, conn: Connection, opening: ToOpen, sessionid: str) -> None:
        sessions.opened(conn, opening.opening_id, opening.chat, sessionid, Picture(self._ids, self._clock()))

    def _finish_many(self, conn: Connection, batch: Sequence[Finished]) -> list[LaneAfter]:
        picture = Picture(self._ids, self._clock())
        after = lanes.complete(
            conn,
            [
                Completion(
                    one.duty.lane_id,
                    one.duty.delivery_id,
                    one.token,
                    one.verdict.state,
                    one.verdict.open,
                    one.verdict.wait,
                    one.verdict.why,
                    one.number if one.verdict.counts else one.number - 1,
                )
                for one in batch
            ],
            self._owner,
            picture.now,
        )
        for one in batch:
            # A nameless copy that was recorded before has nothing to be known by; it must not be recorded again.
            if isinstance(one.result, Sent) and (after[one.duty.delivery_id].took or one.result.messageid is not None):
                picture.add_copy(self._copy(one, one.result))
        saving.save_copies(conn, picture)
        self._adopt(conn, picture, batch)
        insert_rows(conn, attempt, [_attempt_row(one) for one in batch if one.result is not None], skip_known=True)
        return [after[one.duty.delivery_id] for one in batch]

    def _adopt(self, conn: Connection, picture: Picture, batch: Sequence[Finished]) -> None:
        named = [
            (one.chat, one.result.sessionid)
            for one in batch
            if one.chat is not None
            and isinstance(one.result, Sent)
            and one.result.sessionid is not None
            and one.result.sessionid != one.sessionid
        ]
        if named:
            sessions.adopt(conn, picture, named)

    def _copy(self, finished: Finished, sent: Sent) -> Copy:
        duty = finished.duty
        link = self._topology.link(duty.link)
        assert link is not None
        chat = finished.chat
        return Copy(
            message=duty.message,
            link=duty.link,
            account=chat.account if chat is not None else link.channel.account,
            contact=duty.contact,
            extension=chat.extension if chat is not None else None,
            sessionid=(sent.sessionid or finished.sessionid) if chat is not None else None,
            messageid=sent.messageid,
            direction=direction_of(duty.author),
            origin=False,
            status=CopyStatus.SENT,
        )


def _attempt_row(one: Finished) -> dict[str, object]:
    assert one.result is not None
    return {
        "delivery_id": one.duty.delivery_id,
        "number": one.number,
        "at": one.at,
        "took_ms": one.took_ms,
        "class": class_of(one.result),
        "http_status": one.result.http_status,
        "reason": one.result.reason if isinstance(one.result, SendError) else "",
        "answer": one.result.answer,
    }

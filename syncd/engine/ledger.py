"""The dispatcher's units of work: claim a lane, record a session, record what became of a send."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from syncd.engine import notices
from syncd.engine.claims import Claim, Finished, ToGiveUp, ToOpen, ToSend, ToSettle
from syncd.engine.homes import Homes
from syncd.engine.pauses import PAUSED_WAIT, Pauses
from syncd.failpoints import unit
from syncd.model.clock import Clock, Ids
from syncd.model.facts import CopyStatus
from syncd.model.picture import Picture
from syncd.model.records import Copy, direction_of
from syncd.model.retry import Verdict, class_of, too_old
from syncd.model.sending import SendError, Sent
from syncd.model.topology import Topology
from syncd.model.work import Chat, Duty, LaneName, Op, extension_of
from syncd.store import accounts, duties, forgetting, inbox, lanes, operations, saving, sessions
from syncd.store.dialect import insert_rows
from syncd.store.lanes import Completion, Head, Held, LaneAfter, NotHeld
from syncd.store.locks import locks
from syncd.store.schema import attempt
from syncd.store.writer import Store, StoreUnavailable

LEASE = timedelta(seconds=20)
"""How long a lane stays ours after the last word on it; it is renewed while it is in hand."""
RESUMED_LATELY = timedelta(seconds=60)
FILES_WAIT = 2.0
"""Seconds until we look again whether a file is there, should nobody say so."""
OTHERS_OPENING = 0.2
"""Seconds until we look again where another lane opens the session of the same chat."""


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
        self._handed_out: set[str] = set()
        """Lanes of which an attempt is to be recorded."""
        self._unanswered: set[str] = set()
        """Lanes whose last claim may be committed or not: whatever the table says, nothing was sent."""
        self._openings: dict[str, str] = {}
        """The sessions that those claims may have begun to open, by lane."""
        self.pauses = Pauses()

    @property
    def shared(self) -> bool:
        """Whether other processes may claim the same lanes."""
        return self._store.shared

    def remember(self, duties: Sequence[Duty]) -> None:
        """Keep fresh duties, so that claiming them need not read them; bounded, the oldest go first."""
        for duty in duties:
            if not duty.kinds:  # Of files the tables tell how they stand.
                self._cached[duty.delivery_id] = duty
        while len(self._cached) > self._most_cached:
            self._cached.popitem(last=False)

    async def claim(self, lane_id: str) -> Claim:
        """Take the lane's lease and mark its head `sending`, or say what must come first."""
        try:
            claim = await self._store.submit(self._claim_many, lane_id)
        except StoreUnavailable:
            if lane_id not in self._handed_out:
                self._unanswered.add(lane_id)
            raise
        self._unanswered.discard(lane_id)
        self._openings.pop(lane_id, None)
        if isinstance(claim, ToSend):
            self._handed_out.add(lane_id)
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
        return self._store.submit(
            self._finish_many, finished, lambda _: self._handed_out.discard(finished.duty.lane_id)
        )

    async def postpone(self, lane_id: str, wait: float, why: str) -> None:
        """Let a lane wait without an attempt."""
        await self._store.write(lanes.postpone, lane_id, wait, why, self._owner)

    async def due(self, limit: int, after: str) -> list[tuple[LaneName, float | None]]:
        """Busy lanes that nobody holds, and the seconds that they wait; a page of them."""

        def page(conn: Connection) -> list[tuple[LaneName, float | None]]:
            return lanes.due(conn, limit, after=after)

        return await self._store.read(page)

    async def renew(self, lane_ids: Sequence[str]) -> list[str]:
        """Keep the leases of lanes in hand; those that are ours still."""
        return await self._store.write(lanes.renew, lane_ids, self._owner, LEASE)

    async def look_at_pauses(self) -> None:
        """Read what is paused now."""
        self.pauses.set(await self._store.read(operations.paused))

    async def resumed_lately(self) -> dict[str, str]:
        """The accounts and links that somebody resumed in the last minute, in any process, by operation."""
        return await self._store.read(operations.resumed_since, self._clock() - RESUMED_LATELY)

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

    @locks(lambda lane_id: (lane_id,), by_itself=True)
    @unit("claim")
    def _claim_many(self, conn: Connection, lane_ids: Sequence[str]) -> list[Claim]:
        found, now = lanes.claim(conn, lane_ids, self._owner, LEASE)
        held = {lane_id: self._as_it_is(lane_id, one) for lane_id, one in found.items() if isinstance(one, Held)}
        known: dict[str, Duty] = {}
        missing = []
        for one in held.values():
            cached = self._cached.get(one.head.delivery_id)
            if cached is None or cached.revision != one.head.revision:
                missing.append(one.head.delivery_id)
            else:
                known[one.head.delivery_id] = cached
        if missing:
            known |= duties.load(conn, missing)
        chats = {lane_id: self.chat_of(known[one.head.delivery_id]) for lane_id, one in held.items()}
        current = sessions.current(conn, [chat for chat in chats.values() if chat is not None])
        homes = Homes.load(conn, known.values())
        claims: dict[str, Claim] = {lane_id: one for lane_id, one in found.items() if isinstance(one, NotHeld)}
        to_start: list[tuple[Held, str | None]] = []
        to_release: list[str] = []
        for lane_id, one in held.items():
            duty, chat = known[one.head.delivery_id], chats[lane_id]
            row = current.get(chat) if chat is not None else None
            sessionid = row.sessionid if row is not None else None
            spelling = duty.spelling if chat is None else row.spelling if row is not None else None
            if one.head.state != "ready" and duty.op is Op.MESSAGE:
                claims[lane_id] = ToSettle(
                    duty,
                    one.token,
                    one.head.attempts,
                    chat,
                    one.head.sessionid,
                    spelling,
                    one.head.tried_at or now,
                    now,
                    one.head.state == "unknown",
                )
            elif duty.link in self.pauses:
                claims[lane_id] = NotHeld("its link is paused", PAUSED_WAIT)
                to_release.append(lane_id)
            elif (old := self._too_old(duty, one.head, now)) is not None:
                claims[lane_id] = ToGiveUp(duty, one.token, one.head.attempts, chat, old)
            elif any(file.state == "wanted" for file in duty.files):
                claims[lane_id] = NotHeld("its file is being fetched", FILES_WAIT)
                to_release.append(lane_id)
            elif chat is not None and sessionid is None and duty.op is Op.MESSAGE:
                began = self._openings.get(lane_id)
                ours = began is not None and row is not None and row.id == began
                opening_id = began if ours else sessions.begin_opening(conn, chat, self._ids(), now)
                if opening_id is not None:
                    self._openings[lane_id] = opening_id
                    claims[lane_id] = ToOpen(duty, one.token, chat, opening_id)
                else:
                    claims[lane_id] = NotHeld("another lane opens the session", OTHERS_OPENING)
                    to_release.append(lane_id)
            else:
                to_start.append((one, sessionid))
                home = homes.of(duty, chat, self._account_of(duty, chat))
                claims[lane_id] = ToSend(
                    duty, one.token, one.head.attempts + 1, chat, sessionid, spelling, one.until, home
                )
        lanes.start(conn, to_start, now)
        if to_release:
            lanes.release(conn, to_release, self._owner)
        gone = NotHeld("no such lane")
        return [claims.get(lane_id, gone) for lane_id in lane_ids]

    def _too_old(self, duty: Duty, head: Head, now: datetime) -> Verdict | None:
        link = self._topology.link(duty.link)
        since = duty.said_at if duty.op is Op.MESSAGE else duty.created_at
        return None if link is None or head.forced else too_old(since, now, link.max_age)

    def _account_of(self, duty: Duty, chat: Chat | None) -> str:
        link = self._topology.link(duty.link)
        return chat.account if chat is not None else link.channel.account if link is not None else ""

    def _as_it_is(self, lane_id: str, held: Held) -> Held:
        """A claim whose commit was not answered may have marked the head as `sending`: it was not sent."""
        if not (held.kept and lane_id in self._unanswered and held.head.state == "sending"):
            return held
        return replace(held, head=replace(held.head, state="ready", attempts=held.head.attempts - 1))

    @locks(lambda opening, _: (opening.duty.lane_id,))
    @unit("session_opened")
    def _opened(self, conn: Connection, opening: ToOpen, sessionid: str) -> None:
        sessions.opened(conn, opening.opening_id, opening.chat, sessionid, Picture(self._ids, self._clock()))

    @locks(lambda finished: (finished.duty.lane_id,))
    @unit("finish")
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
        late = {one.duty.conversation_id for one in batch if not after[one.duty.delivery_id].took}
        # A contact may have been forgotten meanwhile: the number is not to come back.
        gone = forgetting.forgotten(conn, late) if late else {}
        for one in batch:
            # A nameless copy that was recorded before has nothing to be known by; it must not be recorded again.
            if one.duty.op is Op.DELETE and isinstance(one.result, Sent):
                saving.mark_deleted(conn, one.duty, picture.now)
            if one.duty.op is not Op.MESSAGE:
                continue
            if isinstance(one.result, Sent) and (after[one.duty.delivery_id].took or one.result.messageid is not None):
                contact = gone.get(one.duty.conversation_id, one.duty.contact)
                picture.add_copy(self._copy(one, one.result, contact))
        saving.save_copies(conn, picture)
        self._adopt(conn, picture, [one for one in batch if one.duty.conversation_id not in gone])
        told = self._tell(conn, [one for one in batch if after[one.duty.delivery_id].took], picture.now)
        rows = [_attempt_row(one, gone) for one in batch if one.result is not None]
        insert_rows(conn, attempt, rows, skip_known=True)
        return [
            replace(left, event_waits=True) if one.duty.delivery_id in told else left
            for one in batch
            for left in (after[one.duty.delivery_id],)
        ]

    def _tell(self, conn: Connection, ended: Sequence[Finished], now: datetime) -> set[str]:
        """Have users told of what was not delivered; the deliveries of which somebody is."""
        found = {}
        for one in ended:
            if one.verdict.open:
                continue
            link = self._topology.link(one.duty.link)
            event = notices.due(one.duty, link, one.verdict.state, one.verdict.why, self._ids(), now)
            if event is not None:
                found[one.duty.delivery_id] = (event, one.duty.conversation_id)
        inbox.add_waiting(conn, list(found.values()))
        return set(found)

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

    def _copy(self, finished: Finished, sent: Sent, contact: str) -> Copy:
        duty = finished.duty
        link = self._topology.link(duty.link)
        assert link is not None
        chat = finished.chat
        return Copy(
            message=duty.message,
            link=duty.link,
            account=chat.account if chat is not None else link.channel.account,
            contact=contact,
            extension=chat.extension if chat is not None else None,
            sessionid=(sent.sessionid or finished.sessionid) if chat is not None else None,
            messageid=sent.messageid,
            direction=direction_of(duty.author),
            origin=False,
            status=CopyStatus.SENT,
            part=duty.part,
        )


def _attempt_row(one: Finished, gone: Container[str]) -> dict[str, object]:
    assert one.result is not None
    told = one.duty.conversation_id not in gone
    return {
        "delivery_id": one.duty.delivery_id,
        "number": one.number,
        "at": one.at,
        "took_ms": one.took_ms,
        "class": class_of(one.result),
        "http_status": one.result.http_status,
        "reason": one.result.reason if told and isinstance(one.result, SendError) else "",
        "answer": one.result.answer if told else "",
    }

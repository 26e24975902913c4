"""Several daemons on one database, a balancer before them, and the simulated platforms around."""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from syncd.model.notice import MARK
from syncd.model.text import from_bytes
from syncd.simulators.base import Hook, Simulator
from tests.soak.balancer import Balancer
from tests.soak.replica import Replica
from tests.support.databases import Database, Row, postgresql_database, why_no_postgresql
from tests.support.figures import Figures
from tests.support.history import Arrived, Fault, Lane, Said, faults
from tests.support.settings import POLLED, SMS, Settings, toml
from tests.support.waiting import PATIENCE, until
from tests.support.world import World

LONG_AGO = 120
"""Seconds: longer than any lease, and than a doubt is waited for."""
ASKABLE = (SMS, POLLED)
"""Links whose channel can be asked for a send."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A delivery that the daemons list as `unknown`."""

    id: str
    message: str
    """Its message's id."""
    link: str
    lane: Lane
    text: str
    reason: str
    author: str
    extension: str | None
    """Of the author, where a user is."""
    nth: int
    """It is of the n-th message that people said in the conversation."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that syncd has undertaken to tell a user."""

    message: str
    """The id of the message that it is about."""
    lane: Lane
    text: str


class Fleet(World):
    """A world with several daemons. `start()` starts all of them, and they end with it."""

    def __init__(self, folder: Path, database: Database, *, size: int = 3) -> None:
        super().__init__(folder, database)
        self.replicas = tuple(Replica(folder, number) for number in range(1, size + 1))
        self.bridge = self.replicas[0]
        self.balancer = Balancer(self.replicas)
        for simulator in (self.ring, self.bird, self.islash):
            simulator.post = self._posting(simulator)  # type: ignore[assignment,method-assign]

    async def __aenter__(self) -> Fleet:
        await super().__aenter__()
        await self.balancer.open()
        return self

    async def __aexit__(self, kind: object, *rest: object) -> None:
        try:
            for replica in self.replicas[1:]:
                if replica.running:
                    status = await replica.stop()
                    assert kind is not None or status == 0, f"{replica.name}: exit status {status}\n{replica.tail()}"
            assert kind is not None or self.defects() == []
        finally:
            for replica in self.replicas:
                if replica.running and (replica is not self.bridge or replica.paused):
                    await replica.kill()
            try:
                await super().__aexit__(kind, *rest)
            finally:
                await self.balancer.close()

    def _posting(self, simulator: Simulator) -> Callable[[Hook], Any]:
        async def post(hook: Hook) -> int:
            status = await self.balancer.post(hook)
            simulator.hook_answers.append(status)
            return status

        return post

    def configure(self, settings: Settings | None = None) -> None:
        """Write everyone's config."""
        self.settings = settings or self.settings
        urls = {"ringotel": self.ring.api_url, "bird": self.bird.url, "islash": self.islash.base_url}
        for replica in self.replicas:
            own = self.settings.server | {"control_socket": f"{replica.name}.sock"}
            text = toml(
                replace(self.settings, server=own),
                database=self.database.url,
                listen=f"127.0.0.1:{replica.port}",
                admin=f"127.0.0.1:{replica.admin_port}",
                urls=urls,
            )
            replica.config.write_text(text)

    async def start(self, settings: Settings | None = None) -> None:
        """Write the configs and start all daemons, the first alone."""
        self.configure(settings)
        await self.bridge.start()
        await asyncio.gather(*(replica.start() for replica in self.replicas[1:]))
        await self.balancer.sees(*self.replicas)

    async def first_poll(self) -> None:
        """Wait until the polled channel has been looked at: what was said before that is old."""
        polled = "SELECT count(*) FROM cursor WHERE value <> ''"
        await until(lambda: self.database.value(polled), lambda: f"a first poll\n{self.bridge.tail()}", gap=0.05)

    async def polled(self, messageid: str, *, seconds: float = PATIENCE) -> None:
        """Wait until a contact's message on the polled channel was found: what is said next comes after it."""
        there = f"SELECT count(*) FROM mapping WHERE origin AND messageid = '{messageid}'"
        await until(lambda: self.database.value(there), f"{messageid} polled", seconds=seconds, gap=0.05)

    async def age(self, replica: Replica) -> None:
        """Let a long time pass for all that a daemon on PostgreSQL has in hand, and for nothing else."""
        earlier = f"- interval '{LONG_AGO} seconds'"
        flying = f"state = 'sending' AND lane_id IN (SELECT id FROM lane WHERE {replica.owner})"
        for statement in (
            f"UPDATE delivery SET tried_at = tried_at {earlier} WHERE {flying}",
            f"UPDATE session SET observed_at = observed_at {earlier} WHERE state = 'opening'",
            f"UPDATE lane SET lease_until = lease_until {earlier} WHERE {replica.owner}",
            f"UPDATE cursor SET lease_until = lease_until {earlier} WHERE {replica.owner}",
        ):
            await self.database.change(statement)

    # --- what came of it ---

    def arrived(self) -> list[Arrived]:
        """Every copy of what people said; without what syncd itself tells users."""
        return [one for one in super().arrived() if not one.text.startswith(MARK)]

    def notices(self) -> list[Arrived]:
        """What syncd told users."""
        return [one for one in super().arrived() if one.text.startswith(MARK)]

    async def doubts(self) -> list[Doubt]:
        """The deliveries that are listed as `unknown`."""
        rows = await self.database.rows(
            "SELECT d.id, d.message, d.target, d.reason, c.link, c.contact, m.author, m.extension, m.body, ("
            " SELECT count(*) FROM message e WHERE e.conversation_id = m.conversation_id"
            " AND e.author <> 'syncd' AND e.seq <= m.seq) AS nth "
            "FROM delivery d JOIN message m ON m.id = d.message JOIN conversation c ON c.id = m.conversation_id "
            "WHERE d.state = 'unknown' ORDER BY d.id"
        )
        return [_doubt(row) for row in rows]

    async def notices_due(self) -> list[Notice]:
        """What syncd has undertaken to tell users."""
        rows = await self.database.rows("SELECT key, body FROM event WHERE account = '@syncd'")
        found = []
        for row in rows:
            told = json.loads(row["body"])
            lane = Lane(f"desk:{told['extension']}", told["contact"])
            found.append(Notice(row["key"].removeprefix("notice:"), lane, told["text"]))
        return found

    def judge(self, doubts: Sequence[Doubt]) -> list[Fault]:
        """What the history checker finds, where a copy in doubt may be there or not."""
        listed: dict[tuple[str, str, int], set[Lane]] = defaultdict(set)
        for doubt in doubts:
            if doubt.author != "syncd":
                listed[doubt.lane.contact, doubt.link, doubt.nth].add(doubt.lane)
        counted: dict[tuple[str, str], int] = defaultdict(int)
        said = []
        for message in self.said:
            contact = message.origin.contact
            link = link_of(message)
            counted[contact, link] += 1
            lanes = listed.get((contact, link, counted[contact, link]), set())
            said.append(replace(message, in_doubt=frozenset(lanes)))
        return faults(said, self.arrived())

    async def settled(self, *, seconds: float = PATIENCE) -> list[Doubt]:
        """Wait until it is quiet; then nothing is lost, doubled or reordered but what is listed as in doubt: this."""
        await self.quiet(seconds=seconds)
        states = {row["state"] for row in await self.database.rows("SELECT DISTINCT state FROM delivery")}
        assert states <= {"sent", "unknown"}, states
        doubts = await self.doubts()
        found = self.judge(doubts)
        assert not found, f"{len(found)} faults:\n" + "\n".join(map(str, found[:20]))
        assert await self.table_faults() == []
        return doubts

    async def evidence(self, contact: str) -> dict[str, Any]:
        """All that is known of a contact: what was said, what arrived, and what the tables hold."""
        ours = f"c.contact = '{contact}' ORDER BY c.link, m.seq"
        messages = await self.database.rows(
            "SELECT c.link, m.seq, m.id, m.author, m.extension, m.body, m.said_at, "
            "e.key, e.via, e.received_at, e.copies "
            "FROM message m JOIN conversation c ON c.id = m.conversation_id JOIN event e ON e.id = m.event_id "
            f"WHERE {ours}"
        )
        deliveries = await self.database.rows(
            "SELECT c.link, m.seq, d.target, d.id, d.state, d.attempts, d.reason, d.tried_at, d.sessionid, p.messageid "
            "FROM delivery d JOIN message m ON m.id = d.message JOIN conversation c ON c.id = m.conversation_id "
            "LEFT JOIN mapping p ON p.message = m.id AND NOT p.origin "
            "AND coalesce('desk:' || p.extension, 'channel') = d.target "
            f"WHERE {ours}, d.target"
        )
        return {
            "said": [asdict(one) for one in self.said if one.origin.contact == contact],
            "arrived": [asdict(one) for one in World.arrived(self) if one.lane.contact == contact],
            "messages": [row | {"body": from_bytes(row["body"])} for row in messages],
            "deliveries": deliveries,
        }

    async def table_faults(self) -> list[str]:
        """What the tables hold that they must not, once it is quiet."""
        value = self.database.value
        wrong = {
            "lanes are busy": "SELECT count(*) FROM lane WHERE busy",
            "sessions are still being opened": "SELECT count(*) FROM session WHERE current AND sessionid IS NULL",
            "chats without one current session (G6)": (
                "SELECT count(*) FROM (SELECT 1 AS one FROM session GROUP BY account, organization, extension, contact "
                "HAVING sum(CASE WHEN current THEN 1 ELSE 0 END) <> 1) AS chats"
            ),
            "copies on record more than once": (
                "SELECT count(*) FROM (SELECT 1 AS one FROM mapping WHERE NOT origin "
                "GROUP BY message, account, extension, part HAVING count(*) > 1) AS copies"
            ),
            "sends without a copy on record": (
                "SELECT (SELECT count(*) FROM delivery WHERE state = 'sent' AND op = 'message') "
                "- (SELECT count(*) FROM mapping WHERE NOT origin)"
            ),
            "events failed": "SELECT count(*) FROM event WHERE state = 'failed'",
        }
        found = [f"{count} {what}" for what, query in wrong.items() if (count := await value(query))]
        messages = await value("SELECT count(*) FROM message WHERE author <> 'syncd'")
        if messages != len(self.said):
            found.append(f"{messages} messages were made of {len(self.said)} that were said (G2)")
        return found

    def defects(self) -> list[str]:
        """Lines of the logs that tell of a defect."""
        found = []
        for replica in self.replicas:
            if replica.log.exists():
                found += [f"{replica.name}: {line}" for line in replica.faults(expected=self.tolerated)]
        return found

    def figures(self, fault: str, doubts: Sequence[Doubt] = ()) -> Figures:
        """What was offered and taken, where the checks have found no fault."""
        answers = [answer for one in (self.ring, self.bird, self.islash) for answer in one.hook_answers]
        accepted = sum(200 <= answer < 300 for answer in answers)
        return Figures(fault, self.database.kind, len(answers), accepted, len(answers) - accepted, 0, 0, len(doubts))

    def who(self, event: str, **labels: object) -> dict[Replica, int]:
        """How many events of a name, with these values, each daemon's log has."""
        return {
            replica: sum(all(line.get(name) == value for name, value in labels.items()) for line in lines)
            for replica in self.replicas
            if (lines := replica.events(event))
        }


@asynccontextmanager
async def three(folder: Path) -> AsyncIterator[Fleet]:
    """Three daemons that are yet to be started, on an empty PostgreSQL database; skips the test where there is none."""
    reason = await why_no_postgresql()
    if reason is not None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    async with postgresql_database() as database:
        fleet = Fleet(folder, database)
        for simulator in (fleet.ring, fleet.bird, fleet.islash):
            simulator.latency = 0.004
        async with fleet:
            yield fleet


def _doubt(row: Row) -> Doubt:
    lane = Lane(row["link"] if row["target"] == "channel" else row["target"], row["contact"])
    text = from_bytes(row["body"])
    names = ("reason", "author", "extension", "nth")
    return Doubt(row["id"], row["message"], row["link"], lane, text, *(row[name] for name in names))


def link_of(message: Said) -> str:
    """The link that a message was said on."""
    lanes = (message.origin, *message.targets)
    return next(lane.target for lane in lanes if not lane.target.startswith("desk:"))

"""One kill and what comes after it: the daemon dies at a point, is started again, and nothing is missing (G1 to G7)."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections import Counter
from dataclasses import replace

from syncd.failpoints import VARIABLE
from tests.failpoints.plays import POISON, SECONDS, Play, last_words
from tests.support.databases import Database, Row
from tests.support.figures import Figures
from tests.support.history import Arrived, Lane, faults
from tests.support.settings import SMS
from tests.support.world import World

LONG_AGO = 120
"""Seconds: longer than any lease, and than a doubt is waited for."""
NOTICE = "[syncd]"
"""How a text begins that the daemon itself says, of a message in doubt."""
_ASKABLE = (SMS, "polled")
"""Links whose channel can be asked for a send."""


async def killed_at(world: World, point: str, play: Play, *, turn: int = 1, kills: int = 1) -> frozenset[str]:
    """Have a daemon killed at a point in the middle of a play, then let another one end it.

    The ids of the deliveries that were in flight whenever one died. Fails where the daemon never came to the point.
    """
    in_flight: set[str] = set()
    playing: asyncio.Task[None] | None = None
    try:
        for number in range(kills):
            asked = f"{point}=kill@{turn if number == 0 else 1}"
            await world.bridge.spawn(**{VARIABLE: asked})
            if await world.bridge.ready_or_ended() and playing is None:
                playing = asyncio.create_task(_played(play, world))
            status = await _death(world, playing)
            assert status is not None, f"the daemon never came to {asked}\n{await world.state()}"
            assert status == -signal.SIGKILL, f"exit status {status}, not killed at {asked}\n{world.bridge.tail()}"
            told = world.bridge.events("daemon.failpoints")[-1]
            assert (told["points"], told["mistakes"]) == (asked, [])
            in_flight |= await _in_flight(world.database)
        await world.bridge.start()
        if playing is None:
            playing = asyncio.create_task(_played(play, world))
        await playing
    finally:
        if playing is not None:
            playing.cancel()
    return frozenset(in_flight)


async def settled(world: World, in_flight: frozenset[str]) -> None:
    """All goes on as if nothing had happened; only of what was in flight it may be unknown whether it arrived."""
    await last_words(world)
    await world.quiet(seconds=SECONDS)
    rows = await _deliveries(world.database)
    doubts = [row for row in rows if row["state"] == "unknown"]
    assert {row["state"] for row in rows} <= {"sent", "unknown"}
    assert {row["id"] for row in doubts} <= in_flight, "in doubt, but not in flight when it was killed"
    for row in doubts:
        assert row["reason"]
        assert row["target"] != "channel" or row["link"] not in _ASKABLE, f"Bird can be asked: {row}"
    _excuse(world, doubts)
    arrived = world.arrived()
    found = faults(world.said, [one for one in arrived if not one.text.startswith(NOTICE)])
    assert not found, f"{len(found)} faults:\n" + "\n".join(map(str, found[:20]))
    _check_notices(arrived, rows)
    await _check_tables(world, rows)


def figures_of(world: World, fault: str, doubts: int) -> Figures:
    """What was offered to the daemon in this world, and what became of it, where the checks have found no fault."""
    answers = [answer for simulator in (world.ring, world.bird, world.islash) for answer in simulator.hook_answers]
    accepted = sum(200 <= answer < 300 for answer in answers)
    return Figures(fault, world.database.kind, len(answers), accepted, len(answers) - accepted, 0, 0, doubts)


async def _played(play: Play, world: World) -> None:
    async with asyncio.timeout(SECONDS):
        await play(world)


async def _death(world: World, playing: asyncio.Task[None] | None) -> int | None:
    """The exit status; None where the daemon lives on although all was played."""
    end = asyncio.create_task(world.bridge.ended(seconds=SECONDS))
    await asyncio.wait({end} if playing is None else {end, playing}, return_when=asyncio.FIRST_COMPLETED)
    if not end.done() and playing is not None:
        await playing
        await asyncio.wait({end}, timeout=3.0)
    return end.result() if end.done() else None


async def _in_flight(database: Database) -> set[str]:
    """What was in flight when the daemon died; then let so much time pass that nobody waits for it any more."""
    try:
        rows = await database.rows("SELECT id FROM delivery WHERE state IN ('sending', 'unknown')")
    except Exception as error:
        if not isinstance(error, sqlite3.OperationalError) and type(error).__name__ != "UndefinedTableError":
            raise
        return set()  # It died before there was a schema.
    await database.age(LONG_AGO)
    return {row["id"] for row in rows}


async def _deliveries(database: Database) -> list[Row]:
    rows = await database.rows(
        "SELECT d.id, d.target, d.state, d.reason, c.link, c.contact, m.author, m.extension, m.body "
        "FROM delivery d JOIN message m ON m.id = d.message JOIN conversation c ON c.id = m.conversation_id"
    )
    return [row | {"body": bytes(row["body"] or b"").decode()} for row in rows]


def _lane(row: Row) -> Lane:
    return Lane(row["link"] if row["target"] == "channel" else row["target"], row["contact"])


def _excuse(world: World, doubts: list[Row]) -> None:
    listed = {(row["body"], _lane(row)) for row in doubts}
    for place, message in enumerate(world.said):
        lanes = frozenset(lane for lane in message.targets if (message.text, lane) in listed)
        world.said[place] = replace(message, in_doubt=lanes)


def _check_notices(arrived: list[Arrived], deliveries: list[Row]) -> None:
    """Users are told of each message of theirs of which nobody knows whether it arrived; of none twice."""
    told = [one for one in arrived if one.text.startswith(NOTICE)]
    assert len(set(told)) == len(told), "told twice"
    unsure = {_lane(row) for row in deliveries if row["author"] == "syncd" and row["state"] == "unknown"}
    for row in deliveries:
        if row["target"] == "channel" and row["author"] == "user" and row["state"] == "unknown":
            lane = Lane(f"desk:{row['extension']}", row["contact"])
            assert lane in unsure or any(one.lane == lane and row["body"] in one.text for one in told), "not told"


async def _check_tables(world: World, deliveries: list[Row]) -> None:
    """What the tables say agrees with what happened, and nothing is left over from the dead."""
    value = world.database.value
    assert await value("SELECT count(*) FROM lane WHERE busy") == 0
    assert await value("SELECT count(*) FROM session WHERE current AND sessionid IS NULL") == 0, "still being opened"
    chats = "SELECT account, organization, extension, contact FROM session"
    spoken = await world.database.rows(f"{chats} GROUP BY account, organization, extension, contact")
    assert await value("SELECT count(*) FROM session WHERE current") == len(spoken), "one current session a chat (G6)"
    said = Counter(message.text for message in world.said)
    stored = await world.database.rows("SELECT body, author FROM message")
    there = [row["body"] for row in stored if row["author"] != "syncd"]
    bodies = Counter(bytes(body).decode() for body in there if body is not None)
    assert bodies <= said, "each message once (G2)"
    assert len(there) == said.total(), "each message once, also of those that were forgotten (G2)"
    assert await value("SELECT count(*) FROM mapping WHERE origin") == len(world.said)
    sent = sum(row["state"] == "sent" for row in deliveries)
    assert await value("SELECT count(*) FROM mapping WHERE NOT origin") == sent, "each copy on record once"
    poisoned = await world.database.rows("SELECT body FROM event WHERE state = 'failed'")
    assert all(POISON in bytes(row["body"]).decode() for row in poisoned)
    states = await world.database.rows("SELECT account, state FROM account_state WHERE state <> 'up'")
    assert states == [], "every account works"

"""Thousands of real messages through all the ways in, at once."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.databases import Row
from tests.support.settings import ISLASH_SESSION, POLLED, SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import CHANNELS, World

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "sms.jsonl"
USERS = ("9003", "9004", "9005", "9006")
ODD = 0.02
"""Share of webhooks that come twice, and of those that are overtaken by the next one."""
CLOSE_EVERY = 200
"""Messages between two sessions that the platform closes."""


@dataclass(frozen=True, slots=True)
class Line:
    """One message of the corpus."""

    contact: str
    user: str
    author: str
    text: str


@dataclass(slots=True)
class Driver:
    """Plays conversations, each in its own order, many at once."""

    world: World
    dice: random.Random
    truth: dict[tuple[str, str], tuple[str, str]]
    """(account, messageid) of what people said -> (conversation's link, direction)."""
    spoken: int = 0
    closed: int = 0

    async def play(self, link: str, lines: list[Line]) -> None:
        """One conversation."""
        place = 0
        while place < len(lines):
            pair = lines[place : place + 2]
            overtaken = len(pair) == 2 and pair[0].author == pair[1].author and self.dice.random() < ODD
            if overtaken and not (link == POLLED and pair[0].author == "contact"):
                # The later webhook is acknowledged first: then that is the order said.
                first, second = pair
                ids = [await self.say(link, second), await self.say(link, first)]
                place += 2
                assert None not in ids
                continue
            await self.say(link, pair[0])
            following = pair[1].author if len(pair) == 2 else "user"
            if link == POLLED and pair[0].author == "contact" and following == "user":
                await self.polled(pair[0].contact)
            place += 1

    async def say(self, link: str, line: Line) -> str:
        """One message, acknowledged."""
        copies = 2 if self.dice.random() < ODD else 1
        if line.author == "contact":
            messageid = await self.world.contact_says(line.text, contact=line.contact, link=link, copies=copies)
            self.truth[self.world.account_of(link), messageid] = (link, "in")
        else:
            messageid = await self.world.user_says(line.user, line.text, contact=line.contact, link=link, copies=copies)
            self.truth["office", messageid] = (link, "out")
        self.spoken += 1
        if self.spoken % CLOSE_EVERY == 0:
            self.close_one(line.contact)
        return messageid

    async def polled(self, contact: str) -> None:
        """Wait until the daemon has polled all that the contact said: what comes next comes after it."""
        said = sum(message.origin.contact == contact and message.origin.target == POLLED for message in self.world.said)

        def seen() -> bool:
            return sum(one.direction == "incoming" for one in self.world.ring.chat("9003", contact)) >= said

        await until(seen, f"{said} messages of {contact} polled", gap=0.05)

    def close_one(self, contact: str) -> None:
        """The platform closes a session of this contact, if there is one."""
        sessions = [one for user in USERS for one in self.world.ring.sessions_of(user, contact) if one.open]
        if sessions:
            self.world.ring.close_session(self.dice.choice(sessions).id)
            self.closed += 1


@pytest.mark.timeout(400)
async def test_the_whole_corpus(world: World) -> None:
    """G1 to G6, G14: every text is on every target once, in order, and every row of `mapping` is right."""
    if not CORPUS.exists():
        pytest.skip("the corpus of real messages is not there (shared/corpus/sms.jsonl beside the repository)")
    conversations: dict[str, list[Line]] = defaultdict(list)
    for row in map(json.loads, CORPUS.read_text().splitlines()):
        line = Line(row["contact"], row["user"], row["author"], row["text"])
        conversations[line.contact].append(line)
    await world.start(Settings(users=USERS, poll_interval="1s"))
    await until(
        lambda: world.database.value("SELECT count(*) FROM cursor WHERE value <> ''"), "the first poll", gap=0.05
    )
    driver = Driver(world, random.Random(20150309), {})
    ways = [SMS, SMS, POLLED, WHATSAPP]
    plays = [driver.play(ways[n % len(ways)], lines) for n, lines in enumerate(conversations.values())]
    await asyncio.gather(*plays)
    assert driver.spoken == 4378
    assert driver.closed > 15
    await world.check(seconds=120)
    check_mapping(world, await world.mapping(), driver.truth)
    assert await world.database.value("SELECT count(*) FROM delivery WHERE state <> 'sent'") == 0
    assert await world.database.deadlocks() == 0
    assert max(Counter((one.extension, one.contact) for one in world.ring.open_calls).values()) == 1


def check_mapping(world: World, rows: list[Row], truth: dict[tuple[str, str], tuple[str, str]]) -> None:
    """Every row of `mapping` against what the platforms know."""
    by_message: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_message[row["message"]].append(row)
    named = [(row["account"], row["messageid"], row["part"]) for row in rows]
    assert len(set(named)) == len(named)
    assert all(messageid for _, messageid, _ in named)
    assert len(by_message) == len(truth)
    for copies in by_message.values():
        (origin,) = [row for row in copies if row["origin"]]
        link, direction = truth[origin["account"], origin["messageid"]]
        said = text_of(world, origin)
        places = Counter(row["extension"] for row in copies)
        assert places == Counter([None, *world.settings.users]), "one channel row, and one a user's session"
        for row in copies:
            assert (row["link"], row["direction"], row["contact"]) == (link, direction, origin["contact"])
            assert row["part"] == 0
            assert row["account"] == ("office" if row["extension"] else world.account_of(link))
            assert text_of(world, row) == said, "the id is that of another message"
            if row["extension"]:
                message = world.ring.desk.messages[row["messageid"]]
                session = world.ring.desk.sessions[message.sessionid]
                assert (row["sessionid"], row["extension"]) == (session.id, session.extension)
            else:
                assert row["sessionid"] is None


def text_of(world: World, row: Row) -> str:
    """What the platform has under the ids of a row of `mapping`."""
    if row["account"] == "office":
        return world.ring.desk.messages[row["messageid"]].content
    if row["account"] == "islash":
        if row["messageid"] in world.islash.messages:
            sent = world.islash.messages[row["messageid"]]
            assert sent.session == ISLASH_SESSION
            return sent.text
        (item,) = [item for item in world.islash.received if item["id"] == row["messageid"]]
        text: str = item["text"]["body"]
        return text
    body: str = world.bird.channels[CHANNELS[row["link"]]].messages[row["messageid"]].data["body"]["text"]["text"]
    return body

"""One of three daemons hangs, as when its machine is paused, and comes back when others have done its work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncd.failpoints import VARIABLE
from tests.soak.fleet import ASKABLE, Fleet, three
from tests.soak.replica import Replica
from tests.support.figures import Note
from tests.support.settings import SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB

LEASE_SECONDS = 20.0
SWEEP_SECONDS = 5.0
LOCKED_SECONDS = 8.0
"""For a message whose rows a stopped daemon has locked: until the server ends its transaction, and a little."""


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Three daemons."""
    async with three(tmp_path) as made:
        yield made


@dataclass(frozen=True, slots=True)
class Way:
    """One way of a message: who says it, and where it is to arrive."""

    link: str
    by_user: bool

    async def say(self, fleet: Fleet, text: str, contact: str = ALICE) -> None:
        """Say it, acknowledged."""
        if self.by_user:
            await fleet.user_says("9003", text, contact=contact, link=self.link)
        else:
            await fleet.contact_says(text, contact=contact, link=self.link)

    def post(self, fleet: Fleet, text: str) -> asyncio.Task[None]:
        """Alice or her user says it; ends when it is acknowledged."""
        if self.by_user:
            fleet.ring.user_says("9003", ALICE, text)
            posted = fleet.ring.posted
        else:
            fleet.contact_posts(text, link=self.link)
            posted = fleet.poster(self.link).posted
        assert posted is not None
        return posted

    def note(self, fleet: Fleet, text: str) -> None:
        """It is acknowledged."""
        if self.by_user:
            fleet.note_user("9003", text, link=self.link)
        else:
            fleet.note_contact(text, link=self.link)

    def seen(self, fleet: Fleet, contact: str = ALICE) -> list[str]:
        """What arrived at its end."""
        if self.by_user:
            return fleet.channel(self.link, contact)
        return [text for text in fleet.desk("9003", contact) if not text.endswith("is known")]

    @property
    def target(self) -> str:
        """Where that is, as lanes name it."""
        return self.link if self.by_user else "desk:9003"

    def __str__(self) -> str:
        return {SMS: "to Bird", WHATSAPP: "to iSlash"}[self.link] if self.by_user else "to Ringotel"


WAYS = (Way(SMS, by_user=True), Way(WHATSAPP, by_user=True), Way(SMS, by_user=False))
HALTS = {
    "after the last byte": "write_body:after",
    "with the answer read": "read_answer:after",
    "before it is recorded": "finish:before",
}
KNOWING = ("with the answer read", "before it is recorded")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("halt", HALTS)
async def test_stopped_in_a_send_it_comes_back(fleet: Fleet, figures: Note, halt: str, way: Way) -> None:
    """G3, G4, G14: stopped in a send until others took its lane over, it does not double, reorder or overwrite."""
    victim = await hung(fleet, HALTS[halt], way)
    await others_go_on(fleet, way)
    await fleet.age(victim)
    await until(lambda: "behind it" in way.seen(fleet), lambda: f"taken over\n{fleet.bridge.tail()}")
    await fleet.quiet()
    before = way.seen(fleet)
    assert before == ["in its hands", "behind it"]
    victim.resume()
    await is_awake(fleet, victim)
    await way.say(fleet, "afterwards")
    doubts = await fleet.settled()
    assert way.seen(fleet) == [*before, "afterwards"]
    known = way.target in ASKABLE or halt in KNOWING
    assert {doubt.text for doubt in doubts} <= (set() if known else {"in its hands"})
    figures(fleet.figures(f"stopped {halt}, {way}", doubts))


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("halt", "way"),
    [*(("write_head:before", way) for way in WAYS), ("write_body:before", WAYS[0])],
    ids=lambda value: str(value),
)
async def test_stopped_before_a_send_it_comes_back(fleet: Fleet, figures: Note, halt: str, way: Way) -> None:
    """G3, G4, G14: stopped before the first byte until its lease was over, really, it writes nothing any more."""
    victim = await hung(fleet, halt, way)
    await others_go_on(fleet, way)
    # Ringotel and iSlash cannot be asked: there it is in doubt until news could have come.
    seconds = LEASE_SECONDS + SWEEP_SECONDS + (0.0 if way.target in ASKABLE else 15.0)
    await until(lambda: "behind it" in way.seen(fleet), lambda: f"taken over\n{fleet.bridge.tail()}", seconds=seconds)
    await fleet.quiet()
    before = way.seen(fleet)
    assert before == (["in its hands", "behind it"] if way.target in ASKABLE else ["behind it"])
    victim.resume()
    await is_awake(fleet, victim)
    await way.say(fleet, "afterwards")
    doubts = await fleet.settled()
    assert way.seen(fleet) == [*before, "afterwards"]
    assert [doubt.text for doubt in doubts] == ([] if way.target in ASKABLE else ["in its hands"])
    figures(fleet.figures(f"stopped at {halt}, {way}", doubts))


async def others_go_on(fleet: Fleet, way: Way) -> None:
    """Others wait for the lane of a daemon that is stopped, and for nothing else."""
    await way.say(fleet, "behind it")
    await way.say(fleet, "bob need not wait", BOB)
    await fleet.arrive(lambda: way.seen(fleet, BOB), ["bob need not wait"], seconds=5)
    assert "behind it" not in way.seen(fleet)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("point", ["claim:after", "finish:after", "receive:after"])
async def test_a_daemon_stopped_in_a_transaction(
    fleet: Fleet, figures: Note, record_property: Callable[[str, object], None], point: str
) -> None:
    """G4, G10, G14: rows that a stopped daemon has locked hold nobody up for long; it comes back and does no harm."""
    way = WAYS[0]
    victim = await hung(fleet, point, way, posted=point != "receive:after")
    loop = asyncio.get_running_loop()
    longest = 0.0
    for number in range(20):
        began = loop.time()
        # Of the same conversation and of another, to whichever daemon is there.
        if number % 4 == 1:
            await way.say(fleet, f"behind it {number}")
        await way.say(fleet, f"bob {number}", BOB)
        await fleet.arrive(
            lambda: way.seen(fleet, BOB), [f"bob {n}" for n in range(number + 1)], seconds=LOCKED_SECONDS
        )
        longest = max(longest, loop.time() - began)
    record_property(f"the longest that anybody waited ({point})", longest)
    assert longest < LOCKED_SECONDS
    others = [replica for replica in fleet.replicas if replica is not victim]
    assert [line for replica in others for line in replica.events("database.away")] == []
    await fleet.age(victim)
    await until(lambda: "behind it 17" in way.seen(fleet), lambda: f"taken over\n{fleet.bridge.tail()}")
    await fleet.quiet()
    victim.resume()
    await is_awake(fleet, victim)
    await way.say(fleet, "afterwards")
    assert await fleet.settled() == []
    figures(fleet.figures(f"stopped in a transaction ({point})"))


async def hung(fleet: Fleet, point: str, way: Way, *, posted: bool = True) -> Replica:
    """The second daemon has stopped itself at a point of what "in its hands" needs, which is acknowledged."""
    await fleet.start(Settings(users=("9003",)))
    fleet.balancer.patience = 3.0
    for contact in (ALICE, BOB):
        await fleet.contact_says(f"{contact} is known", contact=contact, link=way.link)
    await fleet.settled()
    victim = fleet.replicas[1]
    await victim.stop()
    await victim.start(**{VARIABLE: f"{point}=stop"})
    fleet.balancer.only = victim
    posting = way.post(fleet, "in its hands")
    await victim.stops_itself()
    fleet.balancer.only = None
    await asyncio.wait_for(posting, 30)
    way.note(fleet, "in its hands")
    return victim


async def is_awake(fleet: Fleet, replica: Replica) -> None:
    """Wait until a daemon answers again."""

    async def so() -> bool:
        async with fleet.client.get(f"{replica.admin_url}/readyz") as response:
            return response.status == 200

    await until(so, lambda: f"{replica.name} is awake\n{replica.tail()}")

"""Sending: order within a lane, what each end of an attempt does, and lanes that do not hold each other back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.engine.gate import Gate
from syncd.engine.sender import WORKERS, Sender
from syncd.model import retry
from syncd.model.sending import AuthFailed, Gone, MaybeSent, NotSent, Outgoing, RateLimited, Rejected, SendError, Sent
from syncd.model.topology import Topology
from syncd.store.lanes import NotHeld
from syncd.store.schema import attempt, delivery, lane, mapping, session
from syncd.store.writer import Store, StoreUnavailable
from tests.engine.stage import FakePlatform, Stage, running, stage
from tests.model.samples import CONTACT, TOPOLOGY, channel_said, contact_said, link, user_said
from tests.store.databases import Database

ONE_USER = Topology((link("sms", "bird", "9003", failure_notice=False),))
"""What the user says goes to the channel only."""


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first wait after a failure is short."""
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.02)


async def speak(there: Stage, *texts: str, contact: str = CONTACT) -> None:
    """The user says something, an event each; it is to be sent on the channel."""
    for text in texts:
        outcome = await there.tell("office", user_said(f"u-{contact}-{text}", text, contact=contact, sessionid=None))
        assert outcome.state == "done"


async def states(database: Database) -> list[tuple[str, int, str]]:
    """State, attempts and reason of the deliveries in order."""
    rows = await database.rows(delivery, "seq", "state", "attempts", "reason")
    return [(state, attempts, reason) for _, state, attempts, reason in sorted(rows)]


async def test_what_is_said_is_sent_once_and_mapped(database: Database, store: Store) -> None:
    there = stage(store, ONE_USER)
    await speak(there, "hello")
    await there.quiet()
    (sent,) = there.platforms["bird"].taken
    assert (sent.text, sent.contact, sent.end, sent.extension) == ("hello", CONTACT, "sms-channel", None)
    assert await states(database) == [("sent", 1, "")]
    copies = await database.rows(mapping, "account", "messageid", "origin", "direction", "status")
    assert copies == [
        ("bird", "bird-1", False, "out", "sent"),
        ("office", f"u-{CONTACT}-hello", True, "out", "received"),
    ]
    assert await database.rows(attempt, "number", "class") == [(1, "sent")]
    assert await database.rows(lane, "busy", "owner") == [(False, None)]


async def test_within_a_lane_the_order_is_kept_whatever_fails(database: Database, store: Store) -> None:
    there = stage(store, ONE_USER)
    bird = there.platforms["bird"]
    bird.answers = [
        NotSent("refused"),
        Sent("x1"),
        RateLimited("slow", retry_after=0.05),
        NotSent("refused"),
        Sent("x2"),
        Rejected("too long"),
        NotSent("refused"),
    ]
    await speak(there, *(f"text {number}" for number in range(6)))
    await there.quiet()
    asked = [outgoing.text for outgoing in bird.taken]
    assert asked == sorted(asked)
    assert bird.texts == ["text 0", "text 1", "text 3", "text 4", "text 5"]
    assert [state for state, _, _ in await states(database)] == ["sent", "sent", "dead", "sent", "sent", "sent"]
    assert len({outgoing.reference for outgoing in bird.taken if outgoing.text == "text 1"}) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotSent("refused"), ("sent", 2, "")),
        (RateLimited("slow", retry_after=0.02), ("sent", 1, "")),
        (Rejected("too long"), ("dead", 1, "too long")),
        (Gone("no such channel"), ("dead", 1, "no such channel")),
        (NotSent("error 17", tries=1), ("dead", 1, "error 17 (after 1 tries)")),
    ],
)
async def test_each_end_of_an_attempt_does_its_own(
    database: Database, store: Store, error: SendError, expected: tuple[str, int, str]
) -> None:
    there = stage(store, ONE_USER)
    there.platforms["bird"].answers = [error]
    await speak(there, "first", "second")
    await there.quiet()
    assert await states(database) == [expected, ("sent", 1, "")]
    assert there.platforms["bird"].texts[-1] == "second"


async def test_every_try_has_its_row(database: Database, store: Store) -> None:
    there = stage(store, ONE_USER)
    there.platforms["bird"].answers = [
        NotSent("refused", http_status=503, answer="try later"),
        Sent("x1", http_status=201, answer="{}"),
    ]
    await speak(there, "hello")
    await there.quiet()
    assert await database.rows(attempt, "number", "class", "http_status", "reason", "answer") == [
        (1, "not_sent", 503, "refused", "try later"),
        (2, "sent", 201, "", "{}"),
    ]


async def test_a_try_after_a_rate_limit_has_its_row_too(database: Database, store: Store) -> None:
    there = stage(store, ONE_USER)
    there.platforms["bird"].answers = [RateLimited("slow", retry_after=0.02), RateLimited("slow", retry_after=0.02)]
    await speak(there, "hello")
    await there.quiet()
    assert sorted(row[0] for row in await database.rows(attempt, "class")) == ["rate_limited", "rate_limited", "sent"]


async def test_a_refused_key_pauses_the_account_and_keeps_its_queue(database: Database, store: Store) -> None:
    there = stage(store, ONE_USER)
    bird, sender = there.platforms["bird"], there.dispatcher.senders["bird"]
    bird.answers = [AuthFailed("401")]
    await speak(there, "first")
    while sender.health.state == "up":
        await asyncio.sleep(0.005)
    await speak(there, "second")
    await speak(there, "third", contact="+447700900777")
    await asyncio.sleep(0.1)
    assert sender.health.state == "unauthorised"
    assert len(bird.taken) == 1
    assert {(state, attempts) for state, attempts, _ in await states(database)} == {("ready", 0)}
    sender.gate.open()
    await there.quiet()
    assert sorted(bird.texts) == ["first", "second", "third"]
    assert bird.texts.index("first") < bird.texts.index("second")
    assert sender.health.state == "up"


async def test_a_doubt_holds_its_lane_and_no_other(database: Database, store: Store) -> None:
    there = stage(store, ONE_USER)
    bird = there.platforms["bird"]
    bird.answers = [MaybeSent("answer lost")]
    await speak(there, "in doubt", "behind it")
    await speak(there, "elsewhere", contact="+447700900777")
    async with asyncio.timeout(5):
        while "elsewhere" not in bird.texts:
            await asyncio.sleep(0.005)
    assert "behind it" not in bird.texts
    assert ("unknown", 1, "answer lost") in await states(database)
    await there.dispatcher.drain()


@pytest.mark.parametrize("found", [True, False])
async def test_a_doubt_is_settled_by_asking(database: Database, store: Store, found: bool) -> None:
    there = stage(store, ONE_USER, finds_sent=["bird"])
    bird = there.platforms["bird"]

    async def lost(outgoing: Outgoing) -> Sent:
        if found:
            bird.found[outgoing.reference] = Sent("found-1")
        raise MaybeSent("answer lost")

    bird.answers = [lost]
    await speak(there, "in doubt", "behind it")
    await _until_unknown(database)
    await _age(database)
    await _look(there)
    assert [state for state, _, _ in await states(database)] == ["sent", "sent"]
    assert bird.texts == (["behind it"] if found else ["in doubt", "behind it"])
    named = {row[0] for row in await database.rows(mapping, "messageid") if row[0] and not row[0].startswith("u-")}
    assert ("found-1" in named) is found


@pytest.mark.parametrize(("policy", "texts"), [("hold", ["behind it"]), ("resend", ["in doubt", "behind it"])])
async def test_a_doubt_that_nothing_settles_goes_by_the_links_policy(
    database: Database, store: Store, policy: str, texts: list[str]
) -> None:
    there = stage(store, Topology((link("sms", "bird", "9003", on_unknown=policy),)))
    bird = there.platforms["bird"]
    bird.answers = [MaybeSent("answer lost")]
    await speak(there, "in doubt", "behind it")
    await _until_unknown(database)
    await _age(database)
    await _look(there)
    assert bird.texts == texts
    assert (await states(database))[0][0] == ("unknown" if policy == "hold" else "sent")


async def _until_unknown(database: Database) -> None:
    async with asyncio.timeout(5):
        while "unknown" not in {state for state, _, _ in await states(database)}:
            await asyncio.sleep(0.01)


async def _age(database: Database) -> None:
    """Let a minute pass for what was tried and what waits."""
    earlier = datetime.now(UTC) - timedelta(minutes=1)

    def age(conn: Any) -> None:
        conn.execute(delivery.update().where(delivery.c.tried_at.is_not(None)).values(tried_at=earlier))
        conn.execute(lane.update().where(lane.c.due_at.is_not(None)).values(due_at=earlier))

    await asyncio.sleep(0.05)
    await database.run(age)


async def _look(there: Stage) -> None:
    """What the sweep does; `behind it` is then sent, and all is told."""
    for name, _ in await there.ledger.due(100, ""):
        there.dispatcher.hand_on([], [name])
    bird = there.platforms["bird"]
    async with asyncio.timeout(5):
        while "behind it" not in bird.texts:
            await asyncio.sleep(0.005)
    await there.dispatcher.drain()


async def test_an_echo_that_settles_a_doubt_sets_its_lane_going_at_once(database: Database, store: Store) -> None:
    there = stage(store, ONE_USER)
    bird = there.platforms["bird"]
    bird.answers = [MaybeSent("answer lost")]
    await speak(there, "in doubt", "behind it")
    await _until_unknown(database)
    # The first look finds no news: the lane is to wait for the rest of its thirty seconds.
    await asyncio.sleep(0.05)
    await there.ledger.hurry([lane_id for (lane_id,) in await database.rows(lane, "id")])
    for name, _ in await there.ledger.due(10, ""):
        there.dispatcher.hand_on([], [name])
    await asyncio.sleep(0.1)
    assert "behind it" not in bird.texts
    reference = bird.taken[0].reference
    outcome = await there.tell("bird", channel_said("a1", "in doubt", reference=reference))
    assert outcome.reason.startswith("echo")
    await asyncio.sleep(0.3)
    texts = list(bird.texts)
    await there.dispatcher.drain()
    assert texts == ["behind it"]


async def test_many_lanes_are_sent_at_once_and_each_in_order(store: Store) -> None:
    there = stage(store, ONE_USER)
    bird = there.platforms["bird"]
    bird.delay = 0.05
    contacts = [f"+4477009{number:05}" for number in range(WORKERS)]
    events = [
        there.platforms["office"].event(
            f"k{number}-{contact}", user_said(f"m{number}-{contact}", f"{number}", contact=contact, sessionid=None)
        )
        for number in range(3)
        for contact in contacts
    ]
    await there.receiver.take("office", events, "webhook")
    await there.quiet()
    assert bird.most_at_once == WORKERS
    for contact in contacts:
        assert [outgoing.text for outgoing in bird.accepted if outgoing.contact == contact] == ["0", "1", "2"]


async def test_a_lane_is_in_one_workers_hands_at_a_time(store: Store) -> None:
    there = stage(store, ONE_USER)
    bird, sender = there.platforms["bird"], there.dispatcher.senders["bird"]
    bird.delay = 0.02
    await speak(there, "one", "two", "three")
    for name, _ in await there.ledger.due(10, ""):
        for _ in range(5):
            sender.add(name.lane_id)
    await there.quiet()
    assert bird.most_at_once == 1
    assert bird.texts == ["one", "two", "three"]


async def test_a_broken_account_holds_back_no_other(store: Store) -> None:
    there = stage(store)
    there.platforms["bird"].answers = [RateLimited("slow", retry_after=30.0)]
    await there.tell("bird", contact_said("c1", "from sms"))
    await there.tell("islash", contact_said("c2", "from whatsapp", end="whatsapp-channel"))
    await asyncio.sleep(0.2)
    await there.tell("office", user_said("u1", "to whatsapp", sessionid="s1"))
    await there.tell("office", user_said("u2", "to solo", extension="9005", sessionid=None))
    async with asyncio.timeout(5):
        while there.platforms["islash"].texts != ["to whatsapp"]:
            await asyncio.sleep(0.01)
    await there.dispatcher.drain()


class Away:
    """The database does not take answers for some tries."""

    def __init__(self, there: Stage, times: int) -> None:
        self._finish = there.ledger.finish
        self.left = times
        there.ledger.finish = self  # type: ignore[method-assign]

    def __call__(self, finished: Any) -> asyncio.Future[Any]:
        if not self.left:
            return self._finish(finished)
        self.left -= 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(StoreUnavailable("away"))
        return future


@pytest.mark.parametrize("answer", [Sent("x1"), Rejected("too long")])
async def test_an_answer_is_kept_until_the_database_takes_it(
    database: Database, store: Store, answer: Sent | Exception
) -> None:
    there = stage(store, ONE_USER)
    bird = there.platforms["bird"]
    bird.answers = [answer]
    away = Away(there, 2)
    await speak(there, "first", "second")
    await there.quiet()
    assert away.left == 0
    assert [outgoing.text for outgoing in bird.taken] == ["first", "second"]
    assert (await states(database))[0][0] == ("sent" if isinstance(answer, Sent) else "dead")


async def test_drain_ends_when_the_sends_in_flight_are_recorded(database: Database, store: Store) -> None:
    there = stage(store, ONE_USER)
    bird = there.platforms["bird"]
    release = asyncio.Event()

    async def slow(outgoing: Outgoing) -> Sent:
        await release.wait()
        return Sent("x1")

    bird.answers = [slow]
    await speak(there, "in flight", "not claimed")
    while not bird.taken:
        await asyncio.sleep(0.005)
    draining = asyncio.create_task(there.dispatcher.drain())
    await asyncio.sleep(0.05)
    assert not draining.done()
    release.set()
    await asyncio.wait_for(draining, 5)
    assert await states(database) == [("sent", 1, ""), ("ready", 0, "")]
    await speak(there, "later")
    await asyncio.sleep(0.05)
    assert bird.texts == ["in flight"]


async def test_drain_does_not_wait_for_the_gate(store: Store) -> None:
    there = stage(store, ONE_USER)
    there.dispatcher.senders["bird"].gate.shut(60)
    await speak(there, "first", "second")
    await speak(there, "third", contact="+447700900777")
    await asyncio.sleep(0.05)
    await asyncio.wait_for(there.dispatcher.drain(), 2)
    assert there.platforms["bird"].taken == []


async def test_a_defect_of_a_platform_takes_no_lane_with_it(database: Database, store: Store) -> None:
    there = stage(store, ONE_USER)
    bird = there.platforms["bird"]
    bird.answers = [ZeroDivisionError("a defect")]
    await speak(there, "broken")
    await speak(there, "elsewhere", contact="+447700900777")
    await there.quiet()
    assert bird.texts == ["elsewhere"]
    # It may have been sent: it is a doubt when its lease has ended, and not sent again unasked.
    assert sorted(state for state, _, _ in await states(database)) == ["sending", "sent"]


class Quiet:
    """A ledger with nothing to claim."""

    shared = False

    def __init__(self) -> None:
        self.claimed: list[str] = []

    async def claim(self, lane_id: str) -> NotHeld:
        self.claimed.append(lane_id)
        return NotHeld("not due", 3600.0)


class Yard:
    """Hands lanes on while one is visited, or in the very moment when its worker has come to its end."""

    def __init__(self) -> None:
        self.then: Sequence[str] = ()
        self.now: Sequence[str] = ()
        self.sender: Sender | None = None

    def wake(self, lane_id: str, account: str) -> None: ...

    def wake_in(self, lane_id: str, account: str, seconds: float) -> None:
        assert self.sender is not None
        for name in self.then:
            asyncio.get_running_loop().call_soon(self.sender.add, name)
        for name in self.now:
            self.sender.add(name)
        self.then = self.now = ()

    def send_settled(self, conversation_id: str, *, event_waits: bool) -> None: ...

    def hurry(self, account: str) -> None: ...


async def test_a_lane_that_comes_while_the_last_worker_ends_is_visited() -> None:
    ledger, yard = Quiet(), Yard()
    sender = Sender(
        "bird",
        FakePlatform("bird"),
        finds_sent=False,
        rate=1000.0,
        ledger=ledger,  # type: ignore[arg-type]
        topology=TOPOLOGY,
        yard=yard,
        clock=lambda: datetime.now(UTC),
    )
    yard.sender, yard.then = sender, ["second"]
    sender.add("first")
    await asyncio.sleep(0.1)
    assert ledger.claimed == ["first", "second"]


async def test_a_lane_that_comes_while_it_is_visited_is_visited_once_more() -> None:
    ledger, yard = Quiet(), Yard()
    sender = Sender(
        "bird",
        FakePlatform("bird"),
        finds_sent=False,
        rate=1000.0,
        ledger=ledger,  # type: ignore[arg-type]
        topology=TOPOLOGY,
        yard=yard,
        clock=lambda: datetime.now(UTC),
    )
    yard.sender, yard.now = sender, ["first", "first"]
    sender.add("first")
    await asyncio.sleep(0.1)
    assert ledger.claimed == ["first", "first"]


async def test_the_first_word_of_a_contact_opens_a_session_for_each_user_once(database: Database, store: Store) -> None:
    there = stage(store)
    office = there.platforms["office"]
    await asyncio.gather(*(there.tell("bird", contact_said(f"c{n}", f"text {n}")) for n in range(5)))
    await there.quiet()
    assert sorted(opening.extension for opening in office.openings) == ["9003", "9004"]
    for extension in ("9003", "9004"):
        mine = [outgoing for outgoing in office.accepted if outgoing.extension == extension]
        assert len(mine) == 5
        assert len({outgoing.sessionid for outgoing in mine}) == 1
    assert len(await database.rows(session, "sessionid")) == 2


async def test_an_answer_that_names_another_session_makes_it_current(database: Database, store: Store) -> None:
    there = stage(store, ONE_USER)
    office = there.platforms["office"]
    await there.tell("bird", contact_said("c1", "first"))
    await there.quiet()
    office.answers = [Sent("m2", sessionid="another")]
    await there.tell("bird", contact_said("c2", "second"))
    await there.tell("bird", contact_said("c3", "third"))
    await there.quiet()
    assert [outgoing.sessionid for outgoing in office.accepted] == ["s1", "s1", "another"]
    assert await database.rows(session, "sessionid", "current", "state") == [
        ("another", True, "open"),
        ("s1", False, "closed"),
    ]
    rows = await database.rows(mapping, "messageid", "sessionid")
    assert ("m2", "another") in rows


@pytest.mark.parametrize("error", [NotSent("refused"), RateLimited("slow", retry_after=0.02), MaybeSent("lost")])
async def test_an_opening_that_fails_is_tried_again(store: Store, error: SendError) -> None:
    there = stage(store, ONE_USER)
    office = there.platforms["office"]
    office.opening_answers = [error]
    await there.tell("bird", contact_said("c1", "first"))
    await there.quiet()
    assert len(office.openings) == 2
    assert office.texts == ["first"]


@pytest.mark.parametrize(
    "error",
    [
        Rejected("no such user"),
        Gone("no such organization"),
        NotSent("error 17", tries=1),
    ],
)
async def test_an_opening_that_is_refused_for_good_ends_the_delivery(
    database: Database, store: Store, error: SendError
) -> None:
    there = stage(store, ONE_USER)
    office = there.platforms["office"]
    office.opening_answers = [error] * 50
    await there.tell("bird", contact_said("c1", "first"))
    await there.quiet()
    assert len(office.openings) == 1
    assert [state for state, _, _ in await states(database)] == ["dead"]


async def test_openings_that_go_on_failing_wait_longer_and_longer(store: Store) -> None:
    there = stage(store, ONE_USER)
    office = there.platforms["office"]
    office.opening_answers = [NotSent("refused")] * 10_000
    waits: list[float] = []
    postpone, wake_in = there.ledger.postpone, there.dispatcher.wake_in

    async def note(lane_id: str, wait: float, why: str) -> None:
        waits.append(wait)
        await postpone(lane_id, 0.0, why)

    def at_once(lane_id: str, account: str, seconds: float) -> None:
        wake_in(lane_id, account, 0.0)

    there.ledger.postpone = note  # type: ignore[method-assign]
    there.dispatcher.wake_in = at_once  # type: ignore[method-assign]
    await there.tell("bird", contact_said("c1", "first"))
    async with asyncio.timeout(5):
        while len(waits) < 15:
            await asyncio.sleep(0.005)
    await there.dispatcher.drain()
    assert max(waits[:3]) < 0.2
    assert max(waits) > 0.5


async def test_a_session_of_another_chat_in_an_answer_to_an_opening_is_not_asked_for_without_end(store: Store) -> None:
    there = stage(store)
    office = there.platforms["office"]
    office.opening_answers = ["s1"] * 10_000
    await there.tell("bird", contact_said("c1", "first"))
    await asyncio.sleep(0.3)
    await there.dispatcher.drain()
    assert len(office.openings) < 10


def recorded_twice(there: Stage) -> None:
    """Every answer is recorded a second time, as when the first time's commit was not heard of."""
    finish = there.ledger.finish

    async def twice(finished: Any) -> Any:
        await finish(finished)
        return await finish(finished)

    there.ledger.finish = lambda finished: asyncio.ensure_future(twice(finished))  # type: ignore[method-assign]


async def test_an_answer_recorded_twice_counts_once(database: Database, store: Store) -> None:
    there = stage(store, ONE_USER)
    recorded_twice(there)
    await speak(there, "first", "second")
    await there.quiet()
    assert there.platforms["bird"].texts == ["first", "second"]
    assert len(await database.rows(mapping, "messageid")) == 4


async def test_an_answer_without_an_id_recorded_twice_is_one_copy(database: Database, store: Store) -> None:
    there = stage(store, ONE_USER)
    recorded_twice(there)
    there.platforms["bird"].answers = [Sent(None)]
    await speak(there, "first")
    await there.quiet()
    assert len(await database.rows(mapping, "messageid")) == 2


async def test_the_sweep_finds_what_memory_does_not_know(store: Store) -> None:
    quiet = stage(store, ONE_USER)
    await quiet.dispatcher.drain()
    await speak(quiet, "hello")
    async with running(stage(store, ONE_USER, owner="two")) as other:
        async with asyncio.timeout(5):
            while other.platforms["bird"].texts != ["hello"]:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("lag", [0.0, 0.05])
async def test_the_gate_keeps_the_rate_and_the_order(lag: float) -> None:
    """Also while the process is so busy that several could pass at once."""
    gate = Gate(50.0)
    loop = asyncio.get_running_loop()
    passed: list[int] = []

    async def pass_(number: int) -> None:
        await gate.passed()
        passed.append(number)

    async def be_busy() -> None:
        while len(passed) < 75:
            time.sleep(lag)
            await asyncio.sleep(0.01)

    began = loop.time()
    await asyncio.gather(be_busy(), *(pass_(number) for number in range(75)))
    # A burst of one second's worth, then one every fiftieth of a second.
    assert loop.time() - began >= 0.4
    assert passed == sorted(passed)


async def test_a_shut_gate_lets_nothing_through_until_its_time() -> None:
    gate = Gate(1000.0)
    loop = asyncio.get_running_loop()
    gate.shut(0.15)
    gate.shut(0.05)
    began = loop.time()
    await asyncio.gather(*(gate.passed() for _ in range(5)))
    assert loop.time() - began >= 0.14


async def test_a_longer_pause_replaces_a_shorter_and_opening_ends_it() -> None:
    gate = Gate(1000.0)
    gate.shut(0.02)
    gate.shut(60)
    waiting = asyncio.create_task(gate.passed())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    gate.open()
    await asyncio.wait_for(waiting, 1)
    assert gate.shut_until == 0.0


async def test_a_slow_rate_is_kept_too() -> None:
    gate = Gate(0.5)
    await gate.passed()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(gate.passed(), 0.2)


async def test_a_gate_shut_while_somebody_waits_for_the_rate_holds_him_back() -> None:
    gate = Gate(10.0)
    for _ in range(10):
        await gate.passed()
    waiting = asyncio.create_task(gate.passed())
    await asyncio.sleep(0.01)
    gate.shut(0.4)
    await asyncio.sleep(0.25)
    assert not waiting.done()
    await asyncio.wait_for(waiting, 1)

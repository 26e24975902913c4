"""Deliveries given up or in doubt: what is listed of them, and what a decision makes of them and their lane."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from syncd.model.clock import Ids, utc_now
from syncd.model.operation import Asked, Done, Kind, Wish
from syncd.model.picture import Picture
from syncd.store import held, lanes, operations
from syncd.store.held import HeldDelivery
from syncd.store.schema import attempt, conversation, delivery, lane, mapping, operation
from tests.store.databases import Database
from tests.store.samples import claim, completion, duty, put

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


def give_up(conn: Connection, number: int, conversation_id: str = "c1", state: str = "dead") -> None:
    """Claim a lane's head, and give it up or hold it."""
    (one,) = claim(conn, "me", f"{conversation_id}/channel").values()
    assert one.head.delivery_id == duty(number, conversation_id).delivery_id
    done = completion(one, state, why=f"reason {number}")
    # An `unknown` that is held is not open.
    conn.execute(delivery.update().where(delivery.c.id == one.head.delivery_id).values(state="sending"))
    lanes.complete(conn, [_closed(done)], "me", NOW)


def _closed(done: lanes.Completion) -> lanes.Completion:
    return lanes.Completion(
        done.lane_id, done.delivery_id, done.token, done.state, False, done.wait, done.why, done.attempts
    )


def found(conn: Connection, number: int) -> HeldDelivery:
    """A delivery as operators see it."""
    one = held.one(conn, duty(number).delivery_id)
    assert one is not None
    return one


async def states(database: Database) -> dict[str, tuple[str, bool]]:
    """State and openness by delivery."""
    return {row[0]: (row[1], row[2]) for row in await database.rows(delivery, "id", "state", "open")}


async def test_lists_are_by_state_and_link_the_oldest_first(database: Database) -> None:
    def fill(conn: Connection) -> None:
        put(conn, duty(1), duty(2), duty(3), duty(1, "c2"), duty(4))
        conn.execute(conversation.update().where(conversation.c.id == "c2").values(link="other"))
        give_up(conn, 1)
        give_up(conn, 2, state="unknown")
        give_up(conn, 3)
        give_up(conn, 1, "c2")

    await database.run(fill)

    def look(conn: Connection, state: str, **how: Any) -> list[str]:
        return [one.row.id for one in held.listed(conn, state, **how)]

    one, two, three, other = (duty(n, c).delivery_id for n, c in ((1, "c1"), (2, "c1"), (3, "c1"), (1, "c2")))
    assert await database.run(look, "unknown") == [two]
    assert sorted(await database.run(lambda conn: look(conn, "dead"))) == sorted([one, three, other])
    assert await database.run(lambda conn: look(conn, "dead", link="sms")) == [one, three]
    assert await database.run(lambda conn: look(conn, "dead", link="sms", limit=1)) == [one]
    seen = await database.run(found, 1)
    assert (seen.row.reason, seen.row.link, seen.row.attempts) == ("reason 1", "sms", 1)
    assert seen.text == "text 1 \x00 \ud800", "the payload is kept, whatever it holds"
    assert await database.run(held.one, "nonsense") is None


async def test_a_revived_one_is_its_lanes_head_again_and_whoever_works_there_goes_on(database: Database) -> None:
    """G3, G4: the lane keeps its holder, whose answer counts."""

    def play(conn: Connection) -> None:
        put(conn, duty(1), duty(2))
        give_up(conn, 1)
        (working,) = claim(conn, "me", "c1/channel").values()
        assert working.head.delivery_id == duty(2).delivery_id
        assert not held.is_overtaken(conn, found(conn, 1))
        held.revive(conn, found(conn, 1), "ready", "asked for by me", NOW)
        after = lanes.complete(conn, [completion(working, "ready", wait=0.0)], "me", NOW)[duty(2).delivery_id]
        assert after.took and after.more
        (again,) = claim(conn, "me", "c1/channel").values()
        assert (again.head.delivery_id, again.head.forced, again.head.attempts) == (duty(1).delivery_id, True, 0)
        lanes.complete(conn, [completion(again)], "me", NOW)

    await database.run(play)
    assert await states(database) == {duty(1).delivery_id: ("sent", False), duty(2).delivery_id: ("ready", True)}


async def test_it_is_told_whether_later_ones_were_sent(database: Database) -> None:
    """G4: what is tried again after them arrives out of order, and who asks for it is told so."""

    def play(conn: Connection) -> list[bool]:
        put(conn, duty(1), duty(2), duty(3))
        give_up(conn, 1)
        (working,) = claim(conn, "me", "c1/channel").values()
        lanes.complete(conn, [completion(working)], "me", NOW)
        give_up(conn, 3)
        return [held.is_overtaken(conn, found(conn, number)) for number in (1, 3)]

    assert await database.run(play) == [True, False]


async def test_a_decision_on_a_doubt_that_is_being_settled_takes_the_lane(database: Database) -> None:
    """G3: the completion of whoever was settling it names an old token."""

    def play(conn: Connection) -> None:
        put(conn, duty(1), duty(2))
        (one,) = claim(conn, "me", "c1/channel").values()
        lanes.complete(conn, [completion(one, "unknown")], "me", NOW)
        (settling,) = lanes.claim(conn, ["c1/channel"], "me", timedelta(seconds=20))[0].values()
        assert isinstance(settling, lanes.Held)
        held.skip(conn, found(conn, 1), "dropped by me", NOW)
        late = lanes.complete(conn, [completion(settling, "ready")], "me", NOW)[duty(1).delivery_id]
        assert not late.took
        (after,) = claim(conn, "another", "c1/channel").values()
        assert after.head.delivery_id == duty(2).delivery_id

    await database.run(play)
    assert (await states(database))[duty(1).delivery_id] == ("skipped", False)


async def test_what_an_operator_says_was_sent_is_mapped(database: Database) -> None:
    def play(conn: Connection) -> None:
        put(conn, duty(1))
        give_up(conn, 1, state="unknown")
        assert held.claimed_by(conn, "bird", "remote-1") is None
        picture = Picture(Ids(utc_now), NOW)
        held.mark_sent(conn, found(conn, 1), "bird", "remote-1", "settled as sent by me", picture)
        assert held.claimed_by(conn, "bird", "remote-1") == duty(1).message
        assert held.claimed_by(conn, "islash", "remote-1") is None

    await database.run(play)
    assert await states(database) == {duty(1).delivery_id: ("sent", False)}
    rows = await database.rows(mapping, "message", "account", "messageid", "origin", "direction", "status")
    assert rows == [(duty(1).message, "bird", "remote-1", False, "out", "sent")]
    assert await database.rows(lane, "due_at", "owner") == [(None, None)]


async def test_tries_are_told_in_order(database: Database) -> None:
    def play(conn: Connection) -> list[int]:
        for seconds, number in ((5, 1), (1, 1), (3, 2)):
            row = {"number": number, "took_ms": seconds, "class": "rejected", "reason": "", "answer": ""}
            conn.execute(attempt.insert().values(delivery_id="d", at=NOW + timedelta(seconds=seconds), **row))
        return [row.took_ms for row in held.attempts(conn, "d")]

    assert await database.run(play) == [1, 3, 5], "a retry counts from one again"


async def test_wishes_wait_are_taken_once_and_concluded(database: Database) -> None:
    """G13: who asked for what, when, and what became of it."""
    asked = [Asked(f"o{number}", Wish(Kind.RETRY, "d1", ""), "somebody", NOW) for number in range(3)]

    def play(conn: Connection) -> None:
        assert not operations.any_waiting(conn)
        operations.add(conn, asked)
        assert operations.any_waiting(conn)
        assert operations.take(conn, 2) == asked[:2]
        operations.conclude(conn, Done("o0", asked[0].wish, "somebody", True, "to be sent"), NOW)
        operations.conclude(conn, Done("o1", asked[1].wish, "somebody", False, "no"), NOW)
        assert operations.take(conn, 2) == asked[2:]
        assert [row.id for row in operations.about(conn, "d1")] == ["o0", "o1", "o2"]
        assert {row.id: row.state for row in operations.results(conn, ["o0", "o1", "o2"]).values()} == {
            "o0": "done",
            "o1": "failed",
            "o2": "waiting",
        }

    await database.run(play)
    assert ("o1", "retry", "somebody", "failed", "no") in await database.rows(
        operation, "id", "kind", "asked_by", "state", "result"
    )


async def test_pauses_are_kept_with_who_and_since(database: Database) -> None:
    def play(conn: Connection) -> None:
        assert operations.pause_sending(conn, "bird", "me", NOW)
        assert not operations.pause_sending(conn, "bird", "another", NOW + timedelta(seconds=1))
        (row,) = operations.paused(conn).values()
        assert (row.name, row.asked_by, row.since) == ("bird", "me", NOW)
        assert operations.resume_sending(conn, "bird")
        assert not operations.resume_sending(conn, "bird")
        assert operations.paused(conn) == {}

    await database.run(play)


async def test_two_processes_that_decide_on_one_delivery_do_so_in_turn(shared: Database) -> None:
    """G3, G14: whoever comes second sees what the first one made of it."""

    def fill(conn: Connection) -> None:
        put(conn, duty(1))
        give_up(conn, 1)

    await shared.run(fill)

    def drop(conn: Connection) -> bool:
        held.lock(conn, [duty(1).delivery_id])
        if found(conn, 1).row.state != "dead":
            return False
        held.skip(conn, found(conn, 1), "dropped", NOW)
        return True

    decided = await asyncio.gather(*(shared.run(drop) for _ in range(4)))
    assert sorted(decided) == [False, False, False, True]

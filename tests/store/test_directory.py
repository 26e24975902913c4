"""The directory of the desk's users, and the events that wait for one of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from syncd.model.outcome import Outcome
from syncd.store import directory, inbox
from syncd.store.inbox import Arrival
from syncd.store.schema import desk_user, event
from tests.store.databases import Database, statements

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
MINUTE = timedelta(minutes=1)


async def learn(database: Database, users: dict[str, str], at: datetime = NOW, organization: str = "1") -> None:
    await database.run(directory.learn, "office", organization, users, at)


async def park(database: Database, **parked_for: str) -> None:
    """Events by their ids, each parked for something."""
    arrivals = [Arrival(one, "office", f"k-{one}", "", "webhook", b"{}", NOW) for one in parked_for]
    await database.run(inbox.store, arrivals)
    outcomes = {one: Outcome("parked", f"{one} waits", parked_for=what) for one, what in parked_for.items()}
    await database.run(inbox.note, outcomes)


async def test_users_are_stored_and_found(database: Database) -> None:
    await learn(database, {"u1": "9003", "u2": "9004"})
    await learn(database, {"u1": "501"}, organization="2")
    wanted = {("office", "1", "u1"), ("office", "1", "u9"), ("office", "2", "u1"), ("elsewhere", "1", "u1")}
    found = await database.run(directory.extensions, wanted)
    assert found == {("office", "1", "u1"): "9003", ("office", "2", "u1"): "501"}
    assert await database.run(directory.users_of, "office", "1") == {"u1": "9003", "u2": "9004"}


async def test_only_who_changes_is_written_again(database: Database) -> None:
    await learn(database, {"u1": "9003", "u2": "9004"})
    await learn(database, {"u1": "501"}, organization="2")
    await learn(database, {"u2": "9005", "u3": "9004"}, LATER)
    assert await database.rows(desk_user, "organization", "userid", "extension", "seen_at") == [
        ("1", "u1", "9003", NOW),
        ("1", "u2", "9005", LATER),
        ("1", "u3", "9004", LATER),
        ("2", "u1", "501", NOW),
    ]


async def test_two_processes_that_learn_the_same_at_once(shared: Database) -> None:
    users = {f"u{number}": str(9000 + number) for number in range(50)}
    async with shared.store() as one, shared.store() as other:
        for at in (NOW, LATER):
            extensions = {userid: f"{extension}{at.hour}" for userid, extension in users.items()}
            turned = dict(reversed(extensions.items()))
            await asyncio.gather(
                one.write(directory.learn, "office", "1", extensions, at),
                other.write(directory.learn, "office", "1", turned, at),
            )
            assert await shared.run(directory.users_of, "office", "1") == extensions


async def test_what_asks_for_nobody_is_no_statement(database: Database) -> None:
    with statements() as sent:
        assert await database.run(directory.extensions, set()) == {}
    assert [one for one in sent if "desk_user" in one] == []


async def test_events_of_strangers_are_found_when_those_are_known(database: Database) -> None:
    await park(database, e1="user:u1", e2="user:u2", e3="user:u1", e4="m1", e5="u1")
    names = {("office", one) for one in ("user:u1", "user:u2", "m1")}
    assert [one.id for one in await database.run(inbox.parked, names)] == ["e4"]
    assert await database.run(inbox.parked_and_found, 10) == []
    assert await database.run(inbox.accounts_with_strangers) == {"office"}
    await learn(database, {"u1": "9003"})
    assert [one.id for one in await database.run(inbox.parked, names)] == ["e1", "e3", "e4"]
    assert [one.id for one in await database.run(inbox.parked_and_found, 10)] == ["e1", "e3"]
    assert [one.id for one in await database.run(inbox.parked_and_found, 1)] == ["e1"]
    await database.run(inbox.note, {one: Outcome("done") for one in ("e1", "e2", "e3")})
    assert await database.run(inbox.accounts_with_strangers) == set()


async def test_another_accounts_user_is_somebody_else(database: Database) -> None:
    await park(database, e1="user:u1")
    await database.run(directory.learn, "another", "1", {"u1": "9003"}, NOW)
    assert await database.run(inbox.parked_and_found, 10) == []
    assert await database.run(inbox.parked, {("office", "user:u1")}) == []


async def test_given_up_with_a_reason_that_says_what_was_missing(database: Database) -> None:
    await park(database, e1="user:u1", e2="m1")
    assert await database.run(inbox.give_up_parked, NOW) == 2
    assert await database.run(inbox.give_up_parked, NOW + MINUTE) == 0
    assert await database.rows(event, "id", "state", "reason", "parked_for") == [
        ("e1", "ignored", "e1 waits: the desk told of no such user", None),
        ("e2", "ignored", "e2 waits, which never came", None),
    ]


async def test_what_another_process_has_in_hand_is_left_to_it_and_waited_for(shared: Database) -> None:
    """G2, G4: neither translated twice nor overtaken."""
    await park(shared, e1="user:u1", e2="user:u1")
    await learn(shared, {"u1": "9003"})
    async with shared.engine.connect() as conn:  # type: ignore[union-attr]
        taken = await conn.run_sync(inbox.parked_and_found, 1)
        others = asyncio.create_task(shared.run(inbox.parked_and_found, 10))
        done, _ = await asyncio.wait([others], timeout=0.2)
        assert not done
        await conn.run_sync(inbox.note, {"e1": Outcome("done")})
        await conn.commit()
    assert ([one.id for one in taken], [one.id for one in await others]) == (["e1"], ["e2"])

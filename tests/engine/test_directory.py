"""The directory reads who is there: at the start, when asked, again after a failure; one place apart from the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from syncd.engine import directory as engine
from syncd.engine.directory import Directory
from syncd.model.clock import utc_now
from syncd.model.facts import UserEdited
from syncd.model.topology import Topology
from syncd.platforms.ringotel import plugin
from syncd.simulators.base import Call, Fault
from syncd.store import directory
from syncd.store.schema import desk_user, event, message
from syncd.store.writer import Store
from tests.engine.stage import stage
from tests.model.samples import ORGANIZATION, link, user_said
from tests.platforms.ringotel.harness import ORGID, Bench, bench
from tests.store.databases import Database
from tests.support.waiting import until

ELSEWHERE = "28446744073709551617"


def at(name: str, organization: str) -> Topology:
    """A link of an organization of the simulated account."""
    one = link(name, "bird", "9003")
    return Topology((replace(one, desk=replace(one.desk, key=organization, able=plugin.capabilities)),))


BOTH = Topology((*at("sms", ORGID).links, *at("other", ELSEWHERE).links))


def of(organization: str) -> Callable[[Call], bool]:
    """Matches the calls that ask for an organization's users."""

    def match(call: Call) -> bool:
        return call.name == "getChatUsers" and call.params["orgid"] == organization

    return match


@pytest.fixture
async def on() -> AsyncIterator[Bench]:
    async with bench() as one:
        one.desk.add_organization(["501"], orgid=ELSEWHERE)
        yield one


@asynccontextmanager
async def running(store: Store, on: Bench, learned: list[bool]) -> AsyncIterator[Directory]:
    """The directory of both organizations at work."""
    made = Directory(store, BOTH, {"office": on.platform}, clock=utc_now, learned=lambda: learned.append(True))
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_place_that_fails_holds_back_no_other(database: Database, store: Store, on: Bench) -> None:
    """G10: told at its begin and at its end, and tried again in between."""
    on.desk.faults.append(Fault("status", times=3, status=200, body=b'{"error":"no"}', match=of(ORGID)))
    with capture_logs() as logs:
        async with running(store, on, []):

            async def extensions() -> set[str]:
                return {extension for (extension,) in await database.rows(desk_user, "extension")}

            async def read() -> bool:
                return await extensions() == {"9003", "9004", "501"}

            await until(read, "both are read")
            await until(lambda: len(logs) == 2, "told")
    told = [(one["event"], one["organization"]) for one in logs]
    assert told == [("directory.failing", ORGID), ("directory.works_again", ORGID)]
    assert logs[1]["failures"] == 3


async def test_asked_it_reads_at_once_and_then_seldom(store: Store, on: Bench) -> None:
    """A stranger who is named again and again makes nobody ask the desk again and again."""
    learned: list[bool] = []
    async with running(store, on, learned) as made:
        await until(lambda: len(learned) == 2, "read at the start")
        on.desk.add_user("9005", organization=ORGID)
        made.wanted([("office", ORGID), ("office", "on no link"), ("elsewhere", ORGID)])
        await until(lambda: len(learned) == 3, "read again", seconds=1.5)
        for _ in range(20):
            made.wanted([("office", ORGID)])
            await asyncio.sleep(0.005)
        made.wanted([("office", ELSEWHERE)])
        await until(lambda: len(on.desk.calls) == 4, "another place is not held back")
    assert [call.params["orgid"] for call in on.desk.calls].count(ORGID) == 2
    assert len(learned) == 3, "nothing new is no news"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour passes in a tenth of a second."""
    monkeypatch.setattr(engine, "EVERY", 0.1)


@pytest.mark.usefixtures("hasty")
async def test_once_an_hour_what_changed_is_stored(store: Store, on: Bench) -> None:
    learned: list[bool] = []
    async with running(store, on, learned):
        await until(lambda: len(learned) == 2, "read at the start")
        there = on.desk.desk.organizations[ORGID].users
        there["9003"].extension = "9999"
        await until(lambda: len(learned) == 3, "read again")
        users = await store.read(directory.users_of, "office", ORGID)
        assert users[there["9003"].id] == "9999"


ANONYMOUS = user_said("u1", "one", extension=None, userid="17")


async def test_what_is_parked_for_an_author_is_translated_before_what_he_says_next(
    database: Database, store: Store
) -> None:
    """G4: also where the directory has just learned of him, and nobody has looked at what is parked."""
    there = stage(store, at("sms", ORGANIZATION))
    assert (await there.tell("office", ANONYMOUS)).state == "parked"
    assert (await there.tell("office", UserEdited("u1", "one, edited"))).state == "parked"
    await database.run(directory.learn, "office", ORGANIZATION, {"17": "9003"}, utc_now())
    assert (await there.tell("office", user_said("u2", "two", extension="9003", userid="17"))).state == "done"
    assert await database.rows(message, "seq", "body", "extension") == [
        (1, b"one, edited", "9003"),
        (2, b"two", "9003"),
    ]
    assert {state for (state,) in await database.rows(event, "state")} == {"done"}
    assert await there.receiver.look_at_parked() == 0
    await there.dispatcher.drain()


async def test_what_is_parked_for_an_author_is_looked_at_with_its_edit(database: Database, store: Store) -> None:
    there = stage(store, at("sms", ORGANIZATION))
    await there.tell("office", ANONYMOUS)
    await there.tell("office", UserEdited("u1", "one, edited"))
    assert await there.receiver.look_at_parked() == 2
    await database.run(directory.learn, "office", ORGANIZATION, {"17": "9003"}, utc_now())
    assert await there.receiver.look_at_parked() == 0
    assert await database.rows(message, "seq", "body", "extension") == [(1, b"one, edited", "9003")]
    await there.dispatcher.drain()


async def test_a_stranger_of_whom_a_process_knew_that_is_gone(
    database: Database, store: Store, on: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G7: whoever is left reads again, for what is parked is on record."""
    monkeypatch.setattr(engine, "ASKED_EVERY", 0.1)
    await stage(store, at("sms", ORGID)).tell("office", replace(ANONYMOUS, organization=ORGID))
    learned: list[bool] = []
    async with running(store, on, learned):
        await until(lambda: len(learned) == 2, "read at the start")
        on.desk.add_user("9005", organization=ORGID)
        await until(lambda: len(learned) == 3, "read again")

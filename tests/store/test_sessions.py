"""Sessions: one current for each chat, opened by one at a time (G6)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

from syncd.model.picture import Picture
from syncd.store import loading, saving, sessions
from syncd.store.schema import session
from syncd.store.sessions import OPENING
from tests.model.samples import chat, counter
from tests.store.databases import Database

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
ROWS = ("sessionid", "current", "state")


def fresh() -> Picture:
    return Picture(counter("session-"), NOW)


async def begin(database: Database, name: str = "o1", at: datetime = NOW, **of: str) -> str | None:
    return await database.run(sessions.begin_opening, chat(**of), name, at)


def named_by_event(conn: Connection, sessionid: str, prefix: str = "event-", **of: str) -> None:
    """A webhook names a session of the chat."""
    picture = Picture(counter(prefix), NOW)
    loading.load_sessions(conn, picture, [("office", sessionid)])
    loading.load_current_sessions(conn, picture, [chat(**of)])
    picture.adopt(chat(**of), sessionid, spelling="07700", at=NOW)
    saving.save_sessions(conn, picture)


async def current(database: Database, **of: str) -> str | None:
    found = await database.run(sessions.current, [chat(**of)])
    row: Any = found.get(chat(**of))
    return row.sessionid if row is not None else None


async def test_one_opens_and_the_others_wait_and_then_it_is_open(database: Database) -> None:
    assert await begin(database, "o1") == "o1"
    assert await begin(database, "o2") is None
    assert await current(database) is None
    await database.run(sessions.opened, "o1", chat(), "s1", fresh())
    assert await current(database) == "s1"
    assert await begin(database, "o3") is None
    assert await database.rows(session, *ROWS) == [("s1", True, "open")]


async def test_chats_are_opened_each_for_itself(database: Database) -> None:
    assert await begin(database, "o1") == "o1"
    assert await begin(database, "o2", extension="9004") == "o2"
    assert await begin(database, "o3", contact="+447700900777") == "o3"


async def test_after_a_failure_the_next_may_try(database: Database) -> None:
    await begin(database, "o1")
    await database.run(sessions.not_opened, "o1")
    assert await begin(database, "o2") == "o2"


async def test_a_failure_told_late_does_not_close_what_is_open(database: Database) -> None:
    await begin(database, "o1")
    await database.run(sessions.opened, "o1", chat(), "s1", fresh())
    await database.run(sessions.not_opened, "o1")
    assert await current(database) == "s1"


async def test_an_opening_whose_process_died_is_taken_over_in_time(database: Database) -> None:
    await begin(database, "o1")
    assert await begin(database, "o2", NOW + OPENING) is None
    later = NOW + OPENING + timedelta(seconds=1)
    assert await begin(database, "o3", later) == "o3"
    assert await begin(database, "o4", later) is None
    await database.run(sessions.opened, "o3", chat(), "s1", fresh())
    assert await current(database) == "s1"
    assert await database.rows(session, *ROWS) == [("s1", True, "open")]


async def taken_over(database: Database) -> None:
    await begin(database, "o1")
    assert await begin(database, "o2", NOW + OPENING + timedelta(seconds=1)) == "o2"


async def test_a_failure_told_late_does_not_end_the_opening_that_took_over(database: Database) -> None:
    await taken_over(database)
    await database.run(sessions.not_opened, "o1")
    assert await database.rows(session, "id", "state") == [("o2", "opening")]


@pytest.mark.parametrize("order", [("o1", "o2"), ("o2", "o1")])
async def test_the_answers_of_an_opening_and_of_the_one_that_took_over_leave_one_current(
    database: Database, order: tuple[str, str]
) -> None:
    await taken_over(database)
    for opening in order:
        await database.run(sessions.opened, opening, chat(), f"s-{opening}", Picture(counter(f"{opening}-"), NOW))
    rows = await database.rows(session, "sessionid", "current", "state")
    assert sorted(sessionid for sessionid, _, _ in rows) == ["s-o1", "s-o2"]
    assert sorted((is_current, state) for _, is_current, state in rows) == [(False, "closed"), (True, "open")]


async def test_an_opening_answered_with_a_session_known_in_another_chat_moves_it_here(database: Database) -> None:
    await database.run(partial(named_by_event, extension="9004"), "s1")
    assert await begin(database, "o1") == "o1"
    await database.run(sessions.opened, "o1", chat(), "s1", fresh())
    assert await database.rows(session, "sessionid", "extension", "current", "state") == [("s1", "9003", True, "open")]
    assert (await current(database), await current(database, extension="9004")) == ("s1", None)
    # Neither chat is asked for without end: this one is open, and the other may be opened anew.
    assert await begin(database, "o2") is None
    assert await begin(database, "o3", extension="9004") == "o3"
    await database.run(sessions.opened, "o3", chat(extension="9004"), "s2", Picture(counter("later-"), NOW))
    assert (await current(database), await current(database, extension="9004")) == ("s1", "s2")


async def test_an_opening_answered_with_a_session_of_another_chat_while_an_event_named_one_leaves_that_current(
    database: Database,
) -> None:
    await database.run(partial(named_by_event, extension="9004"), "s1", "a-")
    await begin(database, "o1")
    await database.run(named_by_event, "s9", "b-")
    await database.run(sessions.opened, "o1", chat(), "s1", fresh())
    assert await database.rows(session, "sessionid", "extension", "current") == [
        ("s1", "9003", False),
        ("s9", "9003", True),
    ]


async def test_openings_are_forgotten_at_the_start_of_the_one_process(database: Database) -> None:
    await begin(database, "o1")
    await database.run(sessions.disown_openings)
    assert await begin(database, "o2") == "o2"


async def test_a_session_that_an_event_names_while_one_is_opened_stays_current(database: Database) -> None:
    await begin(database, "o1")
    await database.run(named_by_event, "s9")
    assert await current(database) == "s9"
    await database.run(sessions.opened, "o1", chat(), "s1", fresh())
    assert await current(database) == "s9"
    assert await database.rows(session, *ROWS) == [("s1", False, "closed"), ("s9", True, "open")]


async def test_an_event_that_names_the_session_being_opened_and_then_its_answer(database: Database) -> None:
    await begin(database, "o1")
    await database.run(named_by_event, "s1")
    await database.run(sessions.opened, "o1", chat(), "s1", fresh())
    assert await database.rows(session, *ROWS) == [("s1", True, "open")]


async def test_an_opening_that_finds_an_old_session_makes_it_current_again(database: Database) -> None:
    await database.run(named_by_event, "s1", "a-")

    def lose(conn: Connection) -> None:
        conn.execute(session.update().values(current=False, state="closed"))

    await database.run(lose)
    await begin(database, "o1")
    await database.run(sessions.opened, "o1", chat(), "s1", fresh())
    assert await database.rows(session, *ROWS) == [("s1", True, "open")]


async def test_the_answer_to_a_send_makes_its_session_current(database: Database) -> None:
    await database.run(named_by_event, "s1", "a-")
    await database.run(sessions.adopt, fresh(), [(chat(), "s2")])
    assert await database.rows(session, *ROWS) == [("s1", False, "closed"), ("s2", True, "open")]
    await database.run(named_by_event, "s1", "b-")
    assert await current(database) == "s2"


async def test_the_answer_to_a_send_makes_a_superseded_session_current_again(
    database: Database,
) -> None:
    await database.run(named_by_event, "s1", "a-")
    await database.run(sessions.adopt, fresh(), [(chat(), "s2")])
    await database.run(sessions.adopt, Picture(counter("later-"), NOW), [(chat(), "s1")])
    assert await database.rows(session, *ROWS) == [("s1", True, "open"), ("s2", False, "closed")]


async def test_many_answers_in_a_batch_leave_one_current(database: Database) -> None:
    named = [(chat(), "s1"), (chat(), "s2"), (chat(extension="9004"), "s3"), (chat(), "s1")]
    await database.run(sessions.adopt, fresh(), named)
    assert await database.rows(session, *ROWS) == [
        ("s1", True, "open"),
        ("s2", False, "closed"),
        ("s3", True, "open"),
    ]


async def test_a_late_answer_to_an_opening_that_was_given_up_is_no_error(database: Database) -> None:
    await begin(database, "o1")
    await database.run(sessions.not_opened, "o1")
    await database.run(sessions.opened, "o1", chat(), "s1", fresh())
    assert await current(database) == "s1"


async def test_of_many_processes_one_opens(shared: Database) -> None:
    async with shared.store() as one, shared.store() as other:
        got = await asyncio.gather(
            *(
                store.write(sessions.begin_opening, chat(), f"{name}{number}", NOW)
                for number in range(10)
                for name, store in (("a", one), ("b", other))
            )
        )
        later = NOW + OPENING + timedelta(seconds=1)
        again = await asyncio.gather(
            *(
                store.write(sessions.begin_opening, chat(), f"{name}{number}", later)
                for number in range(10, 20)
                for name, store in (("a", one), ("b", other))
            )
        )
    assert len([name for name in got if name is not None]) == 1
    assert len([name for name in again if name is not None]) == 1
    assert len(await shared.rows(session)) == 1


async def test_two_processes_that_hear_of_different_sessions_leave_one_current(shared: Database) -> None:
    async with shared.store() as one, shared.store() as other:
        for number in range(10):
            await asyncio.gather(
                one.write(named_by_event, f"a{number}", f"a{number}-"),
                other.write(named_by_event, f"b{number}", f"b{number}-"),
            )
            rows = await shared.rows(session, "sessionid", "current")
            assert sum(is_current for _, is_current in rows) == 1
    assert len(rows) == 20

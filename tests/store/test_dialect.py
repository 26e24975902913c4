"""Sets of rows in one statement, on both databases."""

from __future__ import annotations

import secrets
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from syncd.model.text import from_bytes, storable, to_bytes
from syncd.store import dialect
from syncd.store.schema import conversation, cursor, event, lane, message
from tests.store.databases import Database, statements

NOW = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
Row = dict[str, Any]


def a_conversation(contact: str, **changes: Any) -> Row:
    row: Row = {
        "id": f"id-{contact}",
        "link": "sms",
        "contact": contact,
        "spelling": None,
        "name": None,
        "next_seq": 1,
        "contact_wrote_at": None,
        "created_at": NOW,
    }
    return row | changes


def an_event(key: str, account: str = "bird", **changes: Any) -> Row:
    row: Row = {
        "id": f"{account}-{key}",
        "account": account,
        "key": key,
        "end": "",
        "via": "webhook",
        "body": b"{}",
        "received_at": NOW,
        "state": "done",
        "reason": "",
        "copies": 1,
    }
    return row | changes


def a_lane(name: str, busy: bool = True) -> Row:
    return {"id": name, "conversation_id": "c", "target": "channel", "busy": busy, "why": "", "token": 0}


async def test_rows_come_back_as_they_were(database: Database) -> None:
    rows = [a_conversation("a", spelling="07700", name="Ünï 😀"), a_conversation("b", contact_wrote_at=NOW)]
    await database.run(dialect.insert_rows, conversation, rows)
    assert await database.rows(conversation) == sorted([tuple(row.values()) for row in rows], key=repr)


async def test_no_rows_are_no_statement(database: Database) -> None:
    def nothing(conn: Connection) -> None:
        dialect.insert_rows(conn, event, [])
        dialect.upsert_rows(conn, lane, [], "busy")
        dialect.update_rows(conn, event, [])
        assert dialect.insert_new(conn, event, [], ("account", "key")) == set()
        assert dialect.fetch(conn, (event.c.id,), (event.c.id,), []) == []

    with statements() as sent:
        await database.run(nothing)
    assert [statement for statement in sent if "BEGIN" not in statement] == []


async def test_a_thousand_rows_are_a_few_statements(database: Database) -> None:
    rows = [an_event(f"k{number:04}") for number in range(1000)]
    with statements() as sent:
        new = await database.run(dialect.insert_new, event, rows, ("account", "key"))
    assert len(new) == 1000
    assert len([statement for statement in sent if "event" in statement]) <= 30
    changes = [{"id": row["id"], "state": "ignored", "reason": row["key"]} for row in rows]
    with statements() as sent:
        await database.run(dialect.update_rows, event, changes)
    assert len([statement for statement in sent if "event" in statement]) <= 30
    keys = [(row["account"], row["key"]) for row in rows]
    with statements() as sent:
        found = await database.run(
            dialect.fetch, (event.c.key, event.c.state, event.c.reason), (event.c.account, event.c.key), keys
        )
    assert len([statement for statement in sent if "event" in statement]) == 1
    assert sorted(tuple(row) for row in found) == [(row["key"], "ignored", row["key"]) for row in rows]


async def test_the_text_of_a_statement_does_not_change_with_the_number_of_rows(database: Database) -> None:
    seen = set()
    for number in (1, 2, 50):
        with statements() as sent:
            await database.run(dialect.fetch, (event.c.id,), (event.c.account, event.c.key), [("a", "b")] * number)
        seen.add(next(statement for statement in sent if "event" in statement))
    assert len(seen) == 1


async def test_insert_new_tells_which_keys_were_not_there(database: Database) -> None:
    await database.run(dialect.insert_new, event, [an_event("a"), an_event("b")], ("account", "key"))
    rows = [an_event("b", id="again"), an_event("c"), an_event("b", account="islash")]
    new = await database.run(dialect.insert_new, event, rows, ("account", "key"))
    assert new == {("bird", "c"), ("islash", "b")}
    assert await database.rows(event, "account", "key", "id") == [
        ("bird", "a", "bird-a"),
        ("bird", "b", "bird-b"),
        ("bird", "c", "bird-c"),
        ("islash", "b", "islash-b"),
    ]


async def test_what_breaks_a_rule_is_refused_or_left_out(database: Database) -> None:
    await database.run(dialect.insert_rows, conversation, [a_conversation("a")])
    rows = [a_conversation("b"), a_conversation("a", id="another")]
    with pytest.raises((IntegrityError, sqlite3.IntegrityError)):
        await database.run(dialect.insert_rows, conversation, rows)
    assert await database.rows(conversation, "id") == [("id-a",)]

    def skipping(conn: Connection) -> None:
        dialect.insert_rows(conn, conversation, rows, skip_known=True)

    await database.run(skipping)
    assert await database.rows(conversation, "id") == [("id-a",), ("id-b",)]


async def test_insert_unless_known_tells_whether_it_did(database: Database) -> None:
    assert await database.run(dialect.insert_unless_known, conversation, a_conversation("a"))
    assert not await database.run(dialect.insert_unless_known, conversation, a_conversation("a", id="another"))
    assert await database.rows(conversation, "id") == [("id-a",)]


async def test_upsert_inserts_and_sets_the_flag_and_nothing_else(database: Database) -> None:
    await database.run(dialect.insert_rows, lane, [a_lane("a", busy=False) | {"token": 7}, a_lane("b") | {"token": 8}])
    await database.run(dialect.upsert_rows, lane, [a_lane("a"), a_lane("b"), a_lane("c")], "busy")
    assert await database.rows(lane, "id", "busy", "token") == [("a", True, 7), ("b", True, 8), ("c", True, 0)]


async def test_update_sets_each_row_by_its_key(database: Database) -> None:
    await database.run(dialect.insert_rows, conversation, [a_conversation(name) for name in "abc"])
    later = NOW + timedelta(hours=1)
    changes = [
        {"id": "id-a", "next_seq": 2, "contact_wrote_at": later, "name": None},
        {"id": "id-c", "next_seq": 3, "contact_wrote_at": None, "name": "C"},
        {"id": "not there", "next_seq": 9, "contact_wrote_at": None, "name": None},
    ]
    await database.run(dialect.update_rows, conversation, changes)
    assert await database.rows(conversation, "id", "next_seq", "contact_wrote_at", "name") == [
        ("id-a", 2, later, None),
        ("id-b", 1, None, None),
        ("id-c", 3, None, "C"),
    ]


async def test_fetch_by_one_and_by_several_columns(database: Database) -> None:
    rows = [an_event("a"), an_event("b"), an_event("a", account="islash"), an_event("1", account="2")]
    await database.run(dialect.insert_rows, event, rows)

    def fetch(conn: Connection) -> tuple[list[str], list[str]]:
        one = dialect.fetch(conn, (event.c.id,), (event.c.key,), {"a", "c"}, order=(event.c.id,))
        two = dialect.fetch(
            conn,
            (event.c.id,),
            (event.c.account, event.c.key),
            [("bird", "a"), ("islash", "b"), ("2", "1")],
            order=(event.c.id,),
        )
        return [row.id for row in one], [row.id for row in two]

    assert await database.run(fetch) == (["bird-a", "islash-a"], ["2-1", "bird-a"])


WAITS = event.c.state == "waiting"


async def test_fetch_takes_a_condition_an_order_and_a_lock(database: Database) -> None:
    rows = [an_event(key, state="waiting" if key != "b" else "done") for key in "cab"]
    await database.run(dialect.insert_rows, event, rows)

    def fetch(conn: Connection) -> list[str]:
        return [
            row.key
            for row in dialect.fetch(
                conn, (event.c.key,), (event.c.account,), ["bird"], where=WAITS, order=(event.c.key,), lock=True
            )
        ]

    assert await database.run(fetch) == ["a", "c"]


ODD = [
    "it's",
    'say "x"',
    "back\\slash",
    "{1,2}",
    "NULL",
    "",
    "null",
    "true",
    "[]",
    "1e3",
    "007",
    "\t\n",
    "é😀",
    "%s :x",
]


async def test_odd_names_are_found_again(database: Database) -> None:
    rows = [an_event(key, id=f"e{number}") for number, key in enumerate(ODD)]
    new = await database.run(dialect.insert_new, event, rows, ("account", "key"))
    assert new == {("bird", key) for key in ODD}
    for key in ODD:
        found = await database.run(dialect.fetch, (event.c.key,), (event.c.key,), [key])
        assert [row.key for row in found] == [key]
        found = await database.run(dialect.fetch, (event.c.key,), (event.c.account, event.c.key), [("bird", key)])
        assert [row.key for row in found] == [key]


@pytest.mark.parametrize("odd", ["a\x00b", "\ud800", "\ud83d\ude00"])
async def test_names_made_storable_are_stored_and_found(database: Database, odd: str) -> None:
    key = storable(odd)
    await database.run(dialect.insert_new, event, [an_event(key)], ("account", "key"))
    assert await database.run(dialect.insert_new, event, [an_event(key)], ("account", "key")) == set()
    found = await database.run(dialect.fetch, (event.c.key,), (event.c.account, event.c.key), [("bird", key)])
    assert [row.key for row in found] == [key]


@pytest.mark.parametrize("odd", ["a\x00b", "\ud800"])
async def test_a_name_that_is_not_storable_finds_no_row_of_another(database: Database, odd: str) -> None:
    await database.run(dialect.insert_rows, event, [an_event("a"), an_event("")])
    try:
        found = list(await database.run(dialect.fetch, (event.c.key,), (event.c.key,), [odd]))
    except (DBAPIError, UnicodeError):
        assert database.kind == "postgresql"
    else:
        assert found == []


@pytest.mark.parametrize("odd", ["a\x00b", "\ud800"])
async def test_a_name_that_is_not_storable_is_refused_or_kept_as_it_is(database: Database, odd: str) -> None:
    try:
        await database.run(dialect.insert_rows, event, [an_event(odd)])
    except (DBAPIError, UnicodeError):
        assert await database.rows(event, "key") == []
    else:
        assert await database.rows(event, "key") == [(odd,)]


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "\ud83d\ude00", "x" * 100_000])
async def test_a_text_is_stored_as_it_was_said(database: Database, text: str) -> None:
    row = {
        "id": secrets.token_hex(4),
        "conversation_id": "c",
        "seq": 1,
        "author": "contact",
        "extension": None,
        "body": to_bytes(text),
        "said_at": NOW,
        "created_at": NOW,
        "event_id": None,
    }
    await database.run(dialect.insert_rows, message, [row])
    assert [from_bytes(body) for (body,) in await database.rows(message, "body")] == [text]


@pytest.mark.parametrize(
    "stamp",
    [NOW, NOW.replace(microsecond=0), datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, 23, 59, tzinfo=UTC)],
)
async def test_a_time_comes_back_in_utc(database: Database, stamp: datetime) -> None:
    await database.run(dialect.insert_rows, conversation, [a_conversation("a", contact_wrote_at=stamp)])
    ((found,),) = await database.rows(conversation, "contact_wrote_at")
    assert found == stamp
    assert found.utcoffset() == timedelta(0)


async def test_times_of_any_zone_sort_by_when_they_were(database: Database) -> None:
    eastern = timezone(timedelta(hours=8))
    then = NOW + timedelta(days=1, microseconds=7)
    rows = [
        a_conversation("later", contact_wrote_at=then + timedelta(minutes=1)),
        a_conversation("earlier", contact_wrote_at=then.astimezone(eastern)),
    ]
    await database.run(dialect.insert_rows, conversation, rows)

    def by_time(conn: Connection) -> list[str]:
        statement = select(conversation.c.contact).order_by(conversation.c.contact_wrote_at)
        return [row.contact for row in conn.execute(statement)]

    assert await database.run(by_time) == ["earlier", "later"]


async def test_the_clock_of_leases_is_utc_and_now(database: Database) -> None:
    stamp = await database.run(dialect.now)
    assert stamp.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - stamp) < timedelta(seconds=30)


async def test_a_set_may_hold_a_key_twice(database: Database) -> None:
    await database.run(dialect.insert_rows, cursor, [{"account": "a", "end": "e", "value": "", "updated_at": NOW}])
    found = await database.run(dialect.fetch, (cursor.c.end,), (cursor.c.account,), ["a", "a"])
    assert len(found) == 1

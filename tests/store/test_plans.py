"""What is looked for now and then, and what operators ask for, is found without reading what is done."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from syncd.store import held, inbox, lanes, reports, retention, sessions
from tests.model.samples import chat
from tests.store.databases import Database, statements
from tests.store.plans import growing
from tests.store.samples import claim, duty, put

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


def parked(conn: Connection) -> None:
    assert not inbox.any_parked(conn)
    assert inbox.parked_and_found(conn, 10) == []
    assert inbox.found_parked(conn, 10) == []
    assert inbox.accounts_with_strangers(conn) == set()
    assert inbox.give_up_parked(conn, NOW) == 0


def waiting(conn: Connection) -> None:
    assert inbox.waiting_conversations(conn) == set()
    assert inbox.waiting(conn, {"c1"}) == []


def due(conn: Connection) -> None:
    assert len(lanes.due(conn, 10)) == 1
    lanes.hurry_link(conn, "sms")


def doubts_and_dead_letters(conn: Connection) -> None:
    assert held.listed(conn, "dead") == []
    assert held.listed(conn, "unknown", link="sms", limit=10) == []
    one = held.one(conn, duty(1).delivery_id)
    assert one is not None
    assert not held.is_overtaken(conn, one)
    held.lock(conn, [duty(1).delivery_id])


def figures(conn: Connection) -> None:
    assert len(reports.lanes_waiting(conn, "", 10, NOW).found) == 1


def openings(conn: Connection) -> None:
    assert sessions.current(conn, [chat()]) == {}
    assert sessions.begin_opening(conn, chat(), "o1", NOW) == "o1"


def old(conn: Connection) -> None:
    retention.remove_texts(conn, NOW, "", 10)
    retention.remove_events(conn, NOW, "", 10)


@pytest.mark.parametrize("look", [parked, waiting, due, doubts_and_dead_letters, figures, openings, old])
async def test_it_does_not_read_what_is_done(
    look: Callable[[Connection], None], local: Database, migrated_sqlite: Path
) -> None:
    await local.run(put, duty(1))
    with statements() as sent:
        await local.run(look)
    assert growing(migrated_sqlite, sent) == {}


async def test_plans_of_new_tables_find_rows_by_index_when_they_are_full(shared: Database) -> None:
    """PostgreSQL keeps the plan that it made when there was nothing, until it counts the rows anew."""

    def claim_all(conn: Connection) -> int:
        read = text(
            "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE relname IN ('lane', 'delivery')"
        )
        before = conn.execute(read).scalar_one()
        claim(conn, "one", *(f"c{number}/channel" for number in range(20)))
        return int(conn.execute(read).scalar_one() - before)

    async with shared.store() as store:
        for _ in range(10):  # The driver's plans are kept from the sixth time on.
            await store.write(claim_all)
        await shared.run(put, *(duty(number, f"c{number}") for number in range(2000)))
        assert await store.write(claim_all) == 0

"""The schema by its migrations, and the schema of the program: one and the same."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from syncd.store import migrations
from syncd.store.database import DatabaseError, Location
from syncd.store.outage import advice
from syncd.store.schema import metadata
from syncd.store.units import is_outage
from tests.store.databases import Database


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    """A database without any table."""
    if request.param == "sqlite":
        yield Location.of(f"sqlite:///{tmp_path / 'new.db'}")
        return
    location = Location.of(request.getfixturevalue("migrated_postgresql"))
    yield location


async def _emptied(location: Location) -> None:
    def empty(conn: Connection) -> None:
        conn.execute(text("DROP SCHEMA public CASCADE"))
        conn.execute(text("CREATE SCHEMA public"))

    if location.kind == "postgresql":
        await migrations.with_connection(location, empty)


def differences(conn: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata))


def schema_of(conn: Connection) -> dict[str, object]:
    """All that the database tells of its tables: the comparison of Alembic does not look at every index's condition."""
    there = inspect(conn)
    return {
        table: {
            "columns": [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in there.get_columns(table)],
            "key": there.get_pk_constraint(table),
            "unique": sorted(map(repr, there.get_unique_constraints(table))),
            "indexes": sorted(map(_plain, there.get_indexes(table))),
        }
        for table in sorted(there.get_table_names())
        if table != "alembic_version"
    }


def _plain(index: Any) -> str:
    options = {name: str(value) for name, value in index["dialect_options"].items()}
    return repr((index["name"], index["column_names"], bool(index["unique"]), sorted(options.items())))


async def test_from_nothing_the_migrations_make_the_schema_of_the_program(empty: Location) -> None:
    await _emptied(empty)
    before, after = await migrations.with_connection(empty, migrations.upgrade)
    assert (before, after) == (None, migrations.newest())
    assert await migrations.with_connection(empty, differences) == []


async def test_the_migrations_make_every_index_and_default_of_the_program(empty: Location) -> None:
    await _emptied(empty)
    await migrations.with_connection(empty, migrations.upgrade)
    by_migrations = await migrations.with_connection(empty, schema_of)

    def from_program(conn: Connection) -> dict[str, object]:
        metadata.drop_all(conn)
        metadata.create_all(conn)
        return schema_of(conn)

    assert by_migrations == await migrations.with_connection(empty, from_program)
    await _emptied(empty)
    await migrations.with_connection(empty, migrations.upgrade)


async def test_a_second_upgrade_does_nothing(database: Database) -> None:
    before = await database.run(schema_of)
    assert await database.run(migrations.upgrade) == (migrations.newest(), migrations.newest())
    assert await database.run(schema_of) == before
    await database.run(migrations.check)


async def test_an_empty_database_is_refused_until_it_is_upgraded(empty: Location) -> None:
    await _emptied(empty)
    with pytest.raises(DatabaseError, match=r"schema none.*syncd migrate"):
        await migrations.with_connection(empty, migrations.check)
    await migrations.with_connection(empty, migrations.upgrade)
    await migrations.with_connection(empty, migrations.check)


@pytest.mark.parametrize("what", [migrations.upgrade, migrations.check])
async def test_the_schema_of_a_newer_program_is_refused(database: Database, what: object) -> None:
    def newer(conn: Connection, revision: str) -> None:
        conn.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})

    await database.run(newer, "ffff")
    try:
        with pytest.raises(DatabaseError, match=r"ffff.*newer"):
            await database.run(what)  # type: ignore[arg-type]
    finally:
        await database.run(newer, migrations.newest())


async def test_a_database_that_cannot_be_written_to_is_found_out_before_anything_starts(database: Database) -> None:
    """G7: also where there is nothing to upgrade."""

    def read_only(conn: Connection) -> None:
        sqlite = conn.dialect.name == "sqlite"
        conn.exec_driver_sql("PRAGMA query_only=ON" if sqlite else "SET TRANSACTION READ ONLY")
        migrations.prepare(conn, migrate=True)

    await database.run(lambda conn: migrations.prepare(conn, migrate=True))
    with pytest.raises(DBAPIError, match=r"(?i)read-?only") as caught:
        await database.run(read_only)
    assert is_outage(caught.value)
    assert "read-only" in advice(database.location, caught.value) or "write" in advice(database.location, caught.value)


async def test_processes_may_upgrade_at_once(migrated_postgresql: str) -> None:
    location = Location.of(migrated_postgresql)
    await _emptied(location)
    code = (
        "import asyncio, sys; from syncd.store import database, migrations; "
        "asyncio.run(migrations.with_connection(database.Location.of(sys.argv[1]), migrations.upgrade))"
    )
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, migrated_postgresql) for _ in range(2)
    ]
    assert [await process.wait() for process in processes] == [0, 0]
    assert await migrations.with_connection(location, differences) == []


def test_the_scripts_are_one_line_without_branches() -> None:
    script = ScriptDirectory(str(migrations.scripts()))
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1
    assert migrations.known(migrations.newest())
    assert not migrations.known("ffff")

"""The schema's versions (Alembic), from the scripts in `migrations/`, which the wheel ships as `syncd/_migrations`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import syncd
from syncd.failpoints import step
from syncd.store.database import DatabaseError, Location, async_engine, writing_engine


def scripts() -> Path:
    """The folder of the migration scripts."""
    package = Path(syncd.__file__).parent
    shipped = package / "_migrations"
    return shipped if shipped.is_dir() else package.parent / "migrations"


def newest() -> str:
    """The revision that this syncd was made for."""
    head = ScriptDirectory(str(scripts())).get_current_head()
    assert head is not None
    return head


def current(conn: Connection) -> str | None:
    """The revision of the database; None where it is empty."""
    return MigrationContext.configure(conn).get_current_revision()


def known(revision: str) -> bool:
    """Whether this syncd knows the revision (an unknown one is of a newer syncd)."""
    return any(script.revision == revision for script in ScriptDirectory(str(scripts())).walk_revisions())


@step("migrate")
def upgrade(conn: Connection, to: str = "head") -> tuple[str | None, str | None]:
    """Bring the schema to a revision, in this transaction; (before, after).

    Raises `DatabaseError` where the database is of a newer syncd.
    """
    before = current(conn)
    if before is not None and not known(before):
        raise DatabaseError(
            f"the database has schema {before}, which this syncd does not know: it was upgraded by a newer syncd. "
            "Run that version, or restore a backup."
        )
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.attributes["connection"] = conn
    command.upgrade(config, to)
    return before, current(conn)


def check(conn: Connection) -> None:
    """Refuse a schema that is not the newest. Raises `DatabaseError`."""
    there = current(conn)
    if there == newest():
        return
    if there is not None and not known(there):
        upgrade(conn)
    raise DatabaseError(
        f"the database has schema {there or 'none'}, this syncd needs {newest()}: run `syncd migrate`, "
        "or set database.migrate = true"
    )


def prepare(conn: Connection, *, migrate: bool) -> None:
    """Make the schema right, or refuse it, and make sure that the database can be written to."""
    (upgrade if migrate else check)(conn)
    touch(conn)


def touch(conn: Connection) -> None:
    """Write something that changes nothing."""
    conn.execute(text("UPDATE alembic_version SET version_num = version_num"))


@step("prepare_database")
async def with_connection(location: Location, function: Any, *args: Any, **kwargs: Any) -> Any:
    """Run `function(conn, *args)` in a transaction of its own on a database that may be empty."""
    if location.kind == "sqlite":
        engine = writing_engine(location)
        try:
            with engine.begin() as conn:
                return function(conn, *args, **kwargs)
        finally:
            engine.dispose()
    async_one = async_engine(location, size=1, seconds=None)
    try:
        async with async_one.begin() as conn_:
            return await conn_.run_sync(function, *args, **kwargs)
    finally:
        await async_one.dispose()

"""`syncd migrate`: the schema's versions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from syncd.cli.outcome import DONE, FAILED, USAGE, Failure
from syncd.cli.output import Document, Output
from syncd.config import Config
from syncd.store import migrations, reading
from syncd.store.database import DatabaseError, Location, lock_file


def command(config: Config, out: Output, *, to: str, show: bool, dry_run: bool) -> int:
    """Bring the schema to a version; with `show` or `dry_run` only tell of it."""
    location = Location.of(config.database.url.reveal())
    revisions = _revisions()
    target = _target(to, revisions)
    if show:
        return _show(location, revisions, out)
    unlock = _locked(location) if location.kind == "sqlite" and not dry_run else None
    try:
        before = _present(location)
        _refuse(before, target, revisions)
        if not dry_run:
            _upgrade(location, target)
    finally:
        if unlock is not None:
            unlock()
    return _report(location, before, target, out, dry_run=dry_run)


def _revisions() -> dict[str, str]:
    """Every version that this syncd knows, the oldest first, with what it is."""
    found = ScriptDirectory(str(migrations.scripts())).walk_revisions()
    return {script.revision: script.doc for script in reversed(list(found))}


def _target(to: str, revisions: dict[str, str]) -> str:
    if to == "head":
        return migrations.newest()
    if to not in revisions:
        raise Failure(USAGE, f"--to: no schema version is called {to}: use one of {', '.join(revisions)}")
    return to


def _present(location: Location) -> str | None:
    """The database's version; None where there is nothing yet."""
    try:
        return asyncio.run(reading.read(location, migrations.current))
    except reading.NotThere:
        return None


def _refuse(before: str | None, target: str, revisions: dict[str, str]) -> None:
    """Nothing leads from a newer syncd's schema, or back from a later one."""
    if before is None:
        return
    order = list(revisions)
    if before not in revisions:
        raise DatabaseError(
            f"the database has schema {before}, which this syncd does not know: run the newer syncd that made it, "
            "or restore a backup"
        )
    if order.index(before) > order.index(target):
        raise Failure(FAILED, f"the database has schema {before} already, and no way leads back: restore a backup")


def _locked(location: Location) -> Callable[[], None]:
    try:
        return lock_file(location)
    except OSError as error:
        raise DatabaseError(f"{error.filename}: {error.strerror}: give syncd the right to it") from error


def _upgrade(location: Location, target: str) -> None:
    try:
        asyncio.run(migrations.with_connection(location, migrations.upgrade, target))
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseError(f"{location} cannot be upgraded: {getattr(error, 'orig', None) or error}") from error


def _report(location: Location, before: str | None, after: str, out: Output, *, dry_run: bool) -> int:
    document = {
        "database": str(location),
        "before": before,
        "after": after,
        "newest": migrations.newest(),
        "changed": before != after and not dry_run,
        "dry_run": dry_run,
    }

    def render(shown: Document) -> None:
        if shown["before"] == shown["after"]:
            out.line(f"{shown['database']} has schema {after} already")
        else:
            verb = "would be brought" if dry_run else "was brought"
            out.line(f"{shown['database']} {verb} from schema {shown['before'] or 'none'} to {shown['after']}")

    out.show(document, render)
    return DONE


def _show(location: Location, revisions: dict[str, str], out: Output) -> int:
    present = _present(location)
    order = list(revisions)
    reached = order.index(present) if present in revisions else len(order) if present else -1
    document = {
        "database": str(location),
        "current": present,
        "newest": migrations.newest(),
        "revisions": [
            {"id": revision, "what": what, "applied": place <= reached}
            for place, (revision, what) in enumerate(revisions.items())
        ],
    }

    def render(shown: Document) -> None:
        out.line(f"{shown['database']} has schema {present or 'none'}, the newest is {shown['newest']}")
        out.table("Versions", {"id": "id", "what": "what", "applied": "applied"}, shown["revisions"], empty="none")

    out.show(document, render)
    return DONE

"""Databases and stores."""

from tests.store.databases import (
    database,
    local,
    migrated_postgresql,
    migrated_sqlite,
    no_postgresql,
    shared,
    store,
)

__all__ = ["database", "local", "migrated_postgresql", "migrated_sqlite", "no_postgresql", "shared", "store"]

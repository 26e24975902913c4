"""Databases and stores, and a plain log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

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


@pytest.fixture(autouse=True)
def _plain_log() -> Iterator[None]:
    """Tracebacks as text: structlog's own default draws each with all local values, which takes half a second."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
    yield
    structlog.reset_defaults()

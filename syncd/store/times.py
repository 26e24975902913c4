"""How both databases keep times."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import TypeDecorator, TypeEngine


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time: `timestamptz` on PostgreSQL; on SQLite RFC 3339 text of fixed width, which sorts by time."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(TIMESTAMP(timezone=True))
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return self.as_text(value)

    @staticmethod
    def as_text(value: datetime) -> str:
        """The time as SQLite has it."""
        return _utc_text(value if value.tzinfo is UTC else value.astimezone(UTC))

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        stamp: datetime = value
        return stamp.astimezone(UTC)


@lru_cache(maxsize=4096)
def _utc_text(value: datetime) -> str:
    # Most of a transaction's times are the same one.
    return value.isoformat(timespec="microseconds")[:26] + "Z"

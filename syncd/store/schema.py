"""The tables. Ids are TEXT made by the program, times are UTC, texts of people are UTF-8 bytes.

Each index costs every message, so there is none that only a report would use; on SQLite tables are kept in the order
of their ids (`WITHOUT ROWID`), which saves one more.

There are no foreign keys: rows that belong together are written in one transaction by one writer, and checking each
of them again costs more than all the rest of the insert.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


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


event = Table(
    "event",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("end", Text, nullable=False),
    Column("via", Text, nullable=False),  # webhook | poll | resync
    Column("body", LargeBinary),  # null once retention has removed it; the key stays for de-duplication
    Column("received_at", UtcTime, nullable=False),
    Column("state", Text, nullable=False),  # done | ignored | waiting | failed
    Column("reason", Text, nullable=False, server_default=""),
    Column("conversation_id", Text),
    Column("copies", Integer, nullable=False, server_default="1"),
    Column("last_copy_at", UtcTime),
    UniqueConstraint("account", "key"),
)
Index(
    "ix_event_waiting",
    event.c.conversation_id,
    event.c.id,
    sqlite_where=text("state = 'waiting'"),
    postgresql_where=text("state = 'waiting'"),
)

conversation = Table(
    "conversation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("link", Text, nullable=False),
    Column("contact", Text, nullable=False),
    Column("spelling", Text),  # the contact as the channel last spelled it
    Column("name", Text),
    Column("next_seq", Integer, nullable=False),
    Column("contact_wrote_at", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("link", "contact"),
    sqlite_with_rowid=False,
)
Index("ix_conversation_contact", conversation.c.contact)

message = Table(
    "message",
    metadata,
    Column("id", Text, primary_key=True),
    Column("conversation_id", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("author", Text, nullable=False),  # contact | user | channel
    Column("extension", Text),  # the user who said it
    Column("body", LargeBinary),  # the text, UTF-8 (lone surrogates passed through); null once removed
    Column("said_at", UtcTime, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("event_id", Text),
    UniqueConstraint("conversation_id", "seq"),
    sqlite_with_rowid=False,
)

mapping = Table(
    "mapping",
    metadata,
    Column("message", Text, nullable=False),
    Column("link", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("contact", Text, nullable=False),
    Column("extension", Text),
    Column("sessionid", Text),
    Column("messageid", Text),
    Column("part", Integer, nullable=False, server_default="0"),
    Column("direction", Text, nullable=False),  # in | out
    Column("origin", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    UniqueConstraint("account", "messageid", "part"),
)
Index("ix_mapping_message", mapping.c.message)
Index(
    "ix_mapping_nameless",
    mapping.c.account,
    mapping.c.sessionid,
    sqlite_where=text("messageid IS NULL"),
    postgresql_where=text("messageid IS NULL"),
)

lane = Table(
    "lane",
    metadata,
    Column("id", Text, primary_key=True),  # CONVERSATION/TARGET
    Column("conversation_id", Text, nullable=False),
    Column("target", Text, nullable=False),  # channel | desk:EXTENSION
    Column("busy", Boolean, nullable=False),  # has deliveries that are not settled
    Column("due_at", UtcTime),  # waits until then
    Column("why", Text, nullable=False, server_default=""),
    Column("owner", Text),
    Column("lease_until", UtcTime),
    Column("token", Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
Index("ix_lane_busy", lane.c.id, sqlite_where=text("busy"), postgresql_where=text("busy"))

delivery = Table(
    "delivery",
    metadata,
    Column("id", Text, primary_key=True),
    Column("lane_id", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("op", Text, nullable=False),  # message; edits, deletions, receipts and notices have their own
    Column("part", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("reference", Text, nullable=False),
    Column("seq", Integer, nullable=False),  # the message's
    Column("state", Text, nullable=False),  # ready | sending | sent | unknown | dead | skipped
    Column("open", Boolean, nullable=False),  # its lane may not go past it
    Column("token", Integer, nullable=False, server_default="0"),  # the lane's, when it was last claimed
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("tried_at", UtcTime),
    Column("sessionid", Text),  # the session it was last tried in
    Column("reason", Text, nullable=False, server_default=""),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    UniqueConstraint("message", "target", "op", "part", "revision"),
    UniqueConstraint("reference"),
    sqlite_with_rowid=False,
)
Index(
    "ix_delivery_head",
    delivery.c.lane_id,
    delivery.c.seq,
    delivery.c.part,
    sqlite_where=text("open"),
    postgresql_where=text("open"),
)
Index(
    "ix_delivery_held",
    delivery.c.state,
    delivery.c.lane_id,
    sqlite_where=text("state IN ('unknown', 'dead')"),
    postgresql_where=text("state IN ('unknown', 'dead')"),
)

session = Table(
    "session",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("organization", Text, nullable=False),
    Column("extension", Text, nullable=False),
    Column("contact", Text, nullable=False),
    Column("spelling", Text),  # the contact as the desk last spelled it
    Column("sessionid", Text),  # null while it is being opened
    Column("state", Text, nullable=False),  # opening | open | closed
    Column("current", Boolean, nullable=False),
    Column("observed_at", UtcTime, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("account", "sessionid"),
    sqlite_with_rowid=False,
)
Index(
    "uq_session_current",
    session.c.account,
    session.c.organization,
    session.c.extension,
    session.c.contact,
    unique=True,
    sqlite_where=text("current"),
    postgresql_where=text("current"),
)

cursor = Table(
    "cursor",
    metadata,
    Column("account", Text, primary_key=True),
    Column("end", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("owner", Text),  # the process that polls, while its lease lasts
    Column("lease_until", UtcTime),
)

attempt = Table(
    "attempt",
    metadata,
    Column("delivery_id", Text, primary_key=True),
    Column("at", UtcTime, primary_key=True),
    Column("number", Integer, nullable=False),  # not unique: an attempt that costs nothing does not count
    Column("took_ms", Integer, nullable=False),
    Column(
        "class", Text, nullable=False
    ),  # sent | not_sent | rate_limited | rejected | auth_failed | gone | maybe_sent
    Column("http_status", Integer),
    Column("reason", Text, nullable=False),
    Column("answer", Text, nullable=False),
    sqlite_with_rowid=False,
)

account_state = Table(
    "account_state",
    metadata,
    Column("account", Text, primary_key=True),
    Column("state", Text, nullable=False),  # up | throttled | failing | unauthorised | paused
    Column("reason", Text, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("until", UtcTime),
)

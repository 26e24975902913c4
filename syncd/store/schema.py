"""The tables. Ids are TEXT made by the program, times are UTC, texts of people are UTF-8 bytes.

Each index costs every message, so there is none that only a report would use; on SQLite tables are kept in the order
of their ids (`WITHOUT ROWID`), which saves one more.

There are no foreign keys: rows that belong together are written in one transaction by one writer, and checking each
of them again costs more than all the rest of the insert.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from syncd.store.times import UtcTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

event = Table(
    "event",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("end", Text, nullable=False),
    Column("via", Text, nullable=False),  # webhook | poll | resync | history | syncd
    Column("body", LargeBinary),  # null once retention has removed it; the key stays for de-duplication
    Column("received_at", UtcTime, nullable=False),
    Column("state", Text, nullable=False),  # done | ignored | waiting | parked | failed
    Column("reason", Text, nullable=False, server_default=""),
    Column("conversation_id", Text),
    Column("copies", Integer, nullable=False, server_default="1"),
    Column("last_copy_at", UtcTime),
    Column("place", Integer),  # among those that wait in its conversation; ids tell less, for clocks differ
    Column("parked_for", Text),  # the platform's id of the message that it came before
    UniqueConstraint("account", "key"),
)
Index(
    "ix_event_waiting",
    event.c.conversation_id,
    event.c.id,
    sqlite_where=text("state = 'waiting'"),
    postgresql_where=text("state = 'waiting'"),
)

Index(
    "ix_event_parked",
    event.c.account,
    event.c.parked_for,
    sqlite_where=text("state = 'parked'"),
    postgresql_where=text("state = 'parked'"),
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
    Column("author", Text, nullable=False),  # contact | user | channel | syncd
    Column("extension", Text),  # the user who said it
    Column("body", LargeBinary),  # the text, UTF-8 (lone surrogates passed through); null once removed
    Column("said_at", UtcTime, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("event_id", Text),
    Column("revision", Integer, nullable=False, server_default="0"),  # how often it was edited
    Column("files", Text, nullable=False, server_default=""),  # the kinds of its files, with commas; see `media`
    Column("quote", LargeBinary),  # first words of the message that it answers to, UTF-8
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
    Column("op", Text, nullable=False),  # message | edit | delete | delivered | read
    Column("part", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("reference", Text, nullable=False),
    Column(
        "seq", Integer, nullable=False
    ),  # its place in the lane: the message's, or a later one where it was resynced
    Column("state", Text, nullable=False),  # ready | sending | sent | unknown | dead | skipped
    Column("open", Boolean, nullable=False),  # its lane may not go past it
    Column("token", Integer, nullable=False, server_default="0"),  # the lane's, when it was last claimed
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("tried_at", UtcTime),
    Column("sessionid", Text),  # the session it was last tried in
    Column("reason", Text, nullable=False, server_default=""),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("forced", Boolean, nullable=False, server_default=false()),  # an operator's wish: `max_age` does not apply
    Column("history", Boolean, nullable=False, server_default=false()),  # goes into the chat's history, silently
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

desk_user = Table(
    "desk_user",
    metadata,
    Column("account", Text, primary_key=True),
    Column("userid", Text, primary_key=True),
    Column("organization", Text, primary_key=True),
    Column("extension", Text, nullable=False),
    Column("seen_at", UtcTime, nullable=False),  # when the desk first told of that extension
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

operation = Table(
    "operation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # see syncd.model.operation.Kind
    Column("subject", Text, nullable=False),  # a delivery, or an account or link
    Column("detail", Text, nullable=False, server_default=""),  # settle_sent: the platform's id
    Column("asked_by", Text, nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("state", Text, nullable=False),  # waiting | running | done | failed | stopped
    Column("result", Text, nullable=False, server_default=""),
    Column("done_at", UtcTime),
    Column("progress", Text, nullable=False, server_default=""),  # of long work: a JSON document
    Column("lease_until", UtcTime),  # of long work: another process may go on with it then
)
Index(
    "ix_operation_waiting",
    operation.c.id,
    sqlite_where=text("state = 'waiting'"),
    postgresql_where=text("state = 'waiting'"),
)
Index("ix_operation_subject", operation.c.subject)

pause = Table(
    "pause",
    metadata,
    Column("name", Text, primary_key=True),  # an account or a link
    Column("asked_by", Text, nullable=False),
    Column("since", UtcTime, nullable=False),
)

account_state = Table(
    "account_state",
    metadata,
    Column("account", Text, primary_key=True),
    Column("state", Text, nullable=False),  # up | throttled | failing | unauthorised
    Column("reason", Text, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("until", UtcTime),
)

media = Table(
    "media",
    metadata,
    Column("id", Text, primary_key=True),
    Column("token", Text, nullable=False),  # of its address, /media/TOKEN/NAME
    Column("message", Text, nullable=False),
    Column("place", Integer, nullable=False),  # among the message's files, from 0
    Column("account", Text, nullable=False),  # whose platform told of it
    Column("url", Text),  # null once nothing is to be fetched any more: it may hold a signature
    Column("kind", Text, nullable=False),  # see syncd.model.files.FileKind
    Column("name", Text, nullable=False),  # empty while nobody has told one
    Column("content_type", Text),
    Column("size", Integer),
    Column("sha256", Text),  # as the platform claims
    Column("state", Text, nullable=False),  # wanted | kept | missing
    Column("reason", Text, nullable=False, server_default=""),  # why it is missing, for people
    Column("hash", Text),  # its blob's; while it is being fetched, the key of the parts that have come
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", UtcTime),  # when it is to be fetched; while it is, when another may take it over
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),  # its address serves until then
    UniqueConstraint("token"),
    UniqueConstraint("message", "place"),
    sqlite_with_rowid=False,
)
Index(
    "ix_media_wanted",
    media.c.account,
    media.c.due_at,
    sqlite_where=text("state = 'wanted'"),
    postgresql_where=text("state = 'wanted'"),
)
Index("ix_media_hash", media.c.hash)
Index(
    "ix_media_age",
    media.c.created_at,
    sqlite_where=text("reason <> 'removed by retention'"),
    postgresql_where=text("reason <> 'removed by retention'"),
)

blob = Table(
    "blob",
    metadata,
    Column("hash", Text, primary_key=True),  # SHA-256 of the bytes
    Column("size", Integer, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)

blob_part = Table(
    "blob_part",
    metadata,
    Column("hash", Text, primary_key=True),  # while the bytes come, a key of the same length
    Column("number", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

# As the partial indexes say it: the databases do not see that `= 1`, `IS true` or one of two values is within it.
IS_BUSY = text("lane.busy")
IS_OPEN = text("delivery.open")
IS_HELD = text("delivery.state IN ('unknown', 'dead')")
IS_CURRENT = text("session.current")

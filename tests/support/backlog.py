"""A backlog made by SQL alone: as many deliveries as one likes, without a daemon that takes them in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tests.support.databases import Database


@dataclass(frozen=True, slots=True)
class Backlog:
    """`conversations` contacts of one link, each with `each` messages of a user that wait for the channel."""

    link: str
    conversations: int
    each: int
    prefix: str = "b"
    """Begins every id, so that several backlogs can lie side by side."""
    first_number: int = 447_000_000_000

    @property
    def deliveries(self) -> int:
        """How many there are in all."""
        return self.conversations * self.each


async def add(database: Database, backlog: Backlog) -> None:
    """Write it into a database whose schema is there, while no daemon runs."""
    now = f"'{datetime.now(UTC).isoformat(timespec='microseconds')[:26]}Z'"
    at = f"CAST({now} AS timestamptz)" if database.kind == "postgresql" else now
    body = (
        "convert_to('from the backlog', 'UTF8')"
        if database.kind == "postgresql"
        else "CAST('from the backlog' AS BLOB)"
    )
    conversation = f"'{backlog.prefix}' || k.n"
    lane = f"{conversation} || '/channel'"
    message = f"'{backlog.prefix}' || k.n || '-' || m.n"
    number = f"'+' || ({backlog.first_number} + k.n)"
    numbers = (
        f"WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < {backlog.conversations}), "
        f"m(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM m WHERE n < {backlog.each}) "
    )
    for statement in (
        f"INSERT INTO conversation (id, link, contact, next_seq, created_at) {numbers}"
        f"SELECT {conversation}, '{backlog.link}', {number}, {backlog.each + 1}, {at} FROM k",
        f"INSERT INTO lane (id, conversation_id, target, busy) {numbers}"
        f"SELECT {lane}, {conversation}, 'channel', true FROM k",
        f"INSERT INTO message (id, conversation_id, seq, author, extension, body, said_at, created_at) {numbers}"
        f"SELECT {message}, {conversation}, m.n, 'user', '9003', {body}, {at}, {at} FROM k CROSS JOIN m",
        "INSERT INTO delivery (id, lane_id, message, target, op, part, revision, reference, seq, state, open, "
        f"created_at, updated_at) {numbers}"
        f"SELECT {message}, {lane}, {message}, 'channel', 'message', 0, 0, 'syncd-' || {message}, m.n, 'ready', true, "
        f"{at}, {at} FROM k CROSS JOIN m",
    ):
        await database.change(statement)

"""operations: what operators decide, and who did"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from syncd.store.times import UtcTime

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Not in a batch: that would copy the table on SQLite.
    op.add_column("delivery", sa.Column("forced", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("event", sa.Column("place", sa.Integer(), nullable=True))
    op.execute("UPDATE event SET place = 0 WHERE state = 'waiting'")
    op.add_column("event", sa.Column("parked_for", sa.Text(), nullable=True))
    op.create_index(
        "ix_event_parked",
        "event",
        ["account", "parked_for"],
        unique=False,
        sqlite_where=sa.text("state = 'parked'"),
        postgresql_where=sa.text("state = 'parked'"),
    )
    op.add_column("message", sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("message", sa.Column("files", sa.Text(), nullable=False, server_default=""))
    op.add_column("message", sa.Column("quote", sa.LargeBinary(), nullable=True))
    op.create_table(
        "operation",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False, server_default=""),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("asked_at", UtcTime(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False, server_default=""),
        sa.Column("done_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operation")),
    )
    op.create_index(
        "ix_operation_waiting",
        "operation",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index("ix_operation_subject", "operation", ["subject"], unique=False)
    op.create_table(
        "pause",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pause")),
    )

"""resync: copies that go into a chat's history, and operations that take long"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from syncd.store.times import UtcTime

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("delivery", sa.Column("history", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("operation", sa.Column("progress", sa.Text(), server_default="", nullable=False))
    op.add_column("operation", sa.Column("lease_until", UtcTime(), nullable=True))

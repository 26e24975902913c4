"""What is known of accounts: their stored state, for operators and for every process."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, insert

from syncd.failpoints import unit
from syncd.store.schema import account_state


@unit("forget_states")
def forget_states(conn: Connection) -> None:
    """What was observed by a process that has ended says nothing now; what an operator paused stays so."""
    conn.execute(delete(account_state).where(account_state.c.state != "paused"))


@unit("account_state")
def set_state(
    conn: Connection, account: str, state: str, reason: str, since: datetime, until: datetime | None = None
) -> None:
    """Write an account's state: `up`, `throttled`, `failing`, `unauthorised` or `paused`."""
    conn.execute(delete(account_state).where(account_state.c.account == account))
    conn.execute(insert(account_state).values(account=account, state=state, reason=reason, since=since, until=until))

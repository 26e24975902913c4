"""The directory: which extension a desk's user has, as the desk last told it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, update

from syncd.failpoints import unit
from syncd.store.dialect import fetch, insert_rows
from syncd.store.schema import desk_user

_KEY = (desk_user.c.account, desk_user.c.organization, desk_user.c.userid)
_CHANGE = (
    update(desk_user)
    .where(
        desk_user.c.account == bindparam("its_account"),
        desk_user.c.organization == bindparam("its_organization"),
        desk_user.c.userid == bindparam("its_userid"),
    )
    .values(extension=bindparam("new_extension"), seen_at=bindparam("now"))
)


def extensions(conn: Connection, users: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
    """The extensions of these users, given as (account, organization, userid); those not known are left out."""
    rows = fetch(conn, (*_KEY, desk_user.c.extension), _KEY, users)
    return {(row.account, row.organization, row.userid): row.extension for row in rows}


def users_of(conn: Connection, account: str, organization: str) -> dict[str, str]:
    """All that is known of an organization: userid -> extension."""
    known = select(desk_user.c.userid, desk_user.c.extension).where(
        desk_user.c.account == account, desk_user.c.organization == organization
    )
    return {row.userid: row.extension for row in conn.execute(known)}


@unit("learn_users")
def learn(conn: Connection, account: str, organization: str, users: Mapping[str, str], now: datetime) -> None:
    """Store users (userid -> extension) that are new, or have another extension now. Idempotent."""
    # In one order, so that two processes that learn the same cannot wait for each other.
    rows = [
        {"account": account, "organization": organization, "userid": userid, "extension": extension, "seen_at": now}
        for userid, extension in sorted(users.items())
    ]
    known = users_of(conn, account, organization)
    insert_rows(conn, desk_user, [row for row in rows if row["userid"] not in known], skip_known=True)
    moved = [row for row in rows if row["userid"] in known]
    if moved:
        conn.execute(
            _CHANGE,
            [
                {
                    "its_account": account,
                    "its_organization": organization,
                    "its_userid": row["userid"],
                    "new_extension": row["extension"],
                    "now": now,
                }
                for row in moved
            ],
        )

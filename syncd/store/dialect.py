"""Everything in which SQLite and PostgreSQL differ for the store's functions: sets of rows in one statement.

SQLite gets a set as one JSON text (`json_each`), PostgreSQL as one array a column (`unnest`), so that a statement's
text does not change with the number of rows and both databases can keep it prepared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Executable,
    Integer,
    LargeBinary,
    Select,
    Table,
    Text,
    bindparam,
    func,
    insert,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import TypeEngine

from syncd.store.schema import UtcTime

Row = dict[str, Any]


def is_postgresql(conn: Connection) -> bool:
    """Whether this is PostgreSQL (else SQLite)."""
    return conn.dialect.name == "postgresql"


def now(conn: Connection) -> datetime:
    """The clock that leases are measured by: the database's where several processes share it."""
    if is_postgresql(conn):
        stamp: datetime = conn.execute(_NOW).scalar_one()
        return stamp.astimezone(UTC)
    return datetime.now(UTC)


_NOW = text("SELECT clock_timestamp()")


@cache
def _among(on_postgresql: bool, columns: tuple[Column[Any], ...], name: str) -> ColumnElement[bool]:
    left: Any = columns[0] if len(columns) == 1 else tuple_(*columns)
    if on_postgresql:
        arrays = [bindparam(f"{name}_{i}", type_=ARRAY(Text)) for i in range(len(columns))]
        rows = func.unnest(*arrays).table_valued(*(f"c{i}" for i in range(len(columns))), name=name).render_derived()
        return left.in_(select(*rows.c))  # type: ignore[no-any-return]
    each = func.json_each(bindparam(name, type_=Text)).table_valued("value", name=name)
    if len(columns) == 1:
        return left.in_(select(each.c.value))  # type: ignore[no-any-return]
    fields = [func.json_extract(each.c.value, f"$[{i}]") for i in range(len(columns))]
    return left.in_(select(*fields))  # type: ignore[no-any-return]


def pack(conn: Connection, rows: Iterable[Sequence[str] | str], name: str = "keys") -> Row:
    """The parameters of a set named `name`; a row is a text, or as many texts as the set has columns."""
    listed = list(rows)
    if not is_postgresql(conn):
        return {name: json.dumps(listed)}
    if not listed or isinstance(listed[0], str):
        return {f"{name}_0": listed}
    return {f"{name}_{i}": list(column) for i, column in enumerate(zip(*listed, strict=True))}


def fetch(
    conn: Connection,
    columns: tuple[Any, ...],
    key: tuple[Column[Any], ...],
    rows: Iterable[Sequence[str] | str],
    *,
    where: ColumnElement[bool] | None = None,
    order: tuple[Column[Any], ...] = (),
    lock: bool = False,
) -> Sequence[Any]:
    """The columns of all rows whose `key` columns are among `rows`.

    `columns`, `where` and `order` are module constants, so that the statement is built once. With `lock`, PostgreSQL
    keeps the rows for this transaction (SQLite has one writer: nothing to do); give an `order` then, so that two
    processes lock in the same one.
    """
    listed = list(rows)
    if not listed:
        return []
    return conn.execute(_fetch(is_postgresql(conn), columns, key, where, order, lock), pack(conn, listed)).all()


@cache
def _fetch(
    on_postgresql: bool,
    columns: tuple[Any, ...],
    key: tuple[Column[Any], ...],
    where: ColumnElement[bool] | None,
    order: tuple[Column[Any], ...],
    lock: bool,
) -> Select[Any]:
    statement = select(*columns).where(_among(on_postgresql, key, "keys"))
    if where is not None:
        statement = statement.where(where)
    if order:
        statement = statement.order_by(*order)
    return statement.with_for_update(of=key[0].table) if lock and on_postgresql else statement


def insert_rows(conn: Connection, table: Table, rows: Sequence[Row], *, skip_known: bool = False) -> None:
    """Insert rows of equal columns in one statement; with `skip_known`, those that break a unique rule are left out."""
    if not rows:
        return
    columns = tuple(rows[0])
    if is_postgresql(conn):
        tail = "ON CONFLICT DO NOTHING" if skip_known else ""
        conn.execute(_pg_insert(table, columns, tail), _arrays(rows, columns))
    else:
        statement = insert(table).prefix_with("OR IGNORE") if skip_known else insert(table)
        conn.execute(statement, list(rows))


def upsert_rows(conn: Connection, table: Table, rows: Sequence[Row], flag: str) -> None:
    """Insert rows by their `id`; of those that are there, only the boolean `flag` is set. PostgreSQL locks both kinds.

    `rows` hold no id twice, and stand in the order of their ids.
    """
    if not rows:
        return
    columns = tuple(rows[0])
    if is_postgresql(conn):
        tail = f"ON CONFLICT (id) DO UPDATE SET {flag} = true WHERE NOT {table.name}.{flag}"
        conn.execute(_pg_insert(table, columns, tail), _arrays(rows, columns))
    else:
        conn.execute(_sqlite_upsert(table, flag), list(rows))


@cache
def _sqlite_upsert(table: Table, flag: str) -> Executable:
    return sqlite.insert(table).on_conflict_do_update(
        index_elements=[table.c.id], set_={flag: True}, where=table.c[flag].is_(False)
    )


def insert_unless_known(conn: Connection, table: Table, row: Row) -> bool:
    """Insert one row unless it breaks a unique rule; whether it was inserted."""
    if is_postgresql(conn):
        statement: Any = postgresql.insert(table).on_conflict_do_nothing()
    else:
        statement = insert(table).prefix_with("OR IGNORE")
    return bool(conn.execute(statement, row).rowcount)


def insert_new(conn: Connection, table: Table, rows: Sequence[Row], key: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Insert those rows whose `key` is not there yet; the keys of those that were. `rows` hold no key twice.

    On PostgreSQL it waits for a transaction that is inserting the same key, and then sees it.
    """
    if not rows:
        return set()
    if is_postgresql(conn):
        columns = tuple(rows[0])
        # In the order of the key, so that two processes inserting the same rows cannot wait for each other.
        ordered = sorted(rows, key=lambda row: tuple(row[k] for k in key))
        names = ", ".join(_quoted(k) for k in key)
        tail = f"ON CONFLICT ({names}) DO NOTHING RETURNING {names}"
        found = conn.execute(_pg_insert(table, columns, tail), _arrays(ordered, columns))
        return {tuple(row) for row in found}
    columns_of_key = tuple(table.c[k] for k in key)
    wanted = [tuple(row[k] for k in key) for row in rows]
    known = {tuple(row) for row in fetch(conn, columns_of_key, columns_of_key, wanted)}
    insert_rows(conn, table, [row for row, w in zip(rows, wanted, strict=True) if w not in known])
    return {w for w in wanted if w not in known}


def update_rows(conn: Connection, table: Table, rows: Sequence[Row], key: str = "id") -> None:
    """Set the other columns of each row by its `key`; all rows have the same columns."""
    if not rows:
        return
    columns = tuple(rows[0])
    if is_postgresql(conn):
        conn.execute(_pg_update(table, columns, key), _arrays(rows, columns))
        return
    statement = _sqlite_update(table, columns, key)
    conn.execute(statement, [{f"v_{name}": value for name, value in row.items()} for row in rows])


@cache
def _sqlite_update(table: Table, columns: tuple[str, ...], key: str) -> Executable:
    values = {name: bindparam(f"v_{name}", type_=table.c[name].type) for name in columns if name != key}
    return update(table).where(table.c[key] == bindparam(f"v_{key}", type_=table.c[key].type)).values(values)


@cache
def _pg_insert(table: Table, columns: tuple[str, ...], tail: str) -> Executable:
    names = ", ".join(_quoted(name) for name in columns)
    arrays = ", ".join(f":a_{name}" for name in columns)
    return text(f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays}) {tail}").bindparams(  # noqa: S608 — names of our own tables
        *(bindparam(f"a_{name}", type_=ARRAY(_array_item(table.c[name]))) for name in columns)
    )


@cache
def _pg_update(table: Table, columns: tuple[str, ...], key: str) -> Executable:
    names = ", ".join(_quoted(name) for name in columns)
    arrays = ", ".join(f":a_{name}" for name in columns)
    sets = ", ".join(f"{_quoted(name)} = v.{_quoted(name)}" for name in columns if name != key)
    match = f"t.{_quoted(key)} = v.{_quoted(key)}"
    return text(
        f"UPDATE {table.name} AS t SET {sets} FROM unnest({arrays}) AS v ({names}) WHERE {match}"  # noqa: S608 — names of our own tables
    ).bindparams(*(bindparam(f"a_{name}", type_=ARRAY(_array_item(table.c[name]))) for name in columns))


def _arrays(rows: Sequence[Row], columns: tuple[str, ...]) -> Row:
    return {f"a_{name}": [row[name] for row in rows] for name in columns}


def _array_item(column: Column[Any]) -> TypeEngine[Any]:
    kind = column.type
    if isinstance(kind, UtcTime):
        return TIMESTAMP(timezone=True)
    for plain in (Boolean, Integer, LargeBinary):
        if isinstance(kind, plain):
            return plain()
    return Text()


def _quoted(name: str) -> str:
    return f'"{name}"'

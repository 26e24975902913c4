"""Everything in which SQLite and PostgreSQL differ for the store's functions: sets of rows in one statement.

A set of keys is one JSON text on SQLite (`json_each`) and one array a column on PostgreSQL (`unnest`), so that a
statement's text does not change with the number of rows and stays prepared. Rows are written many to a statement: on
SQLite as several `VALUES`, in a few sizes, on PostgreSQL from arrays.

Statements of the hot path are SQLAlchemy's, but compiled once and executed as driver SQL: building, keying and
compiling them anew for each of a dozen statements a commit would cost more than the database does.
"""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Select,
    Table,
    Text,
    TextClause,
    bindparam,
    collate,
    func,
    insert,
    select,
    text,
    tuple_,
)
from sqlalchemy import Dialect as SqlalchemyDialect
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import TypeEngine

from syncd.store.times import UtcTime

Row = dict[str, Any]
Condition = ColumnElement[bool] | TextClause

_CHUNKS = (64, 16, 4, 1)
"""Rows in one SQLite statement; few sizes, so that the driver keeps each prepared."""


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


def pack(conn: Connection, rows: Iterable[Sequence[str] | str]) -> Row:
    """The parameters of a set of keys; a row is a text, or as many texts as the set has columns."""
    listed = list(rows)
    if not is_postgresql(conn):
        packed = json.dumps(listed)
        # `json_each` ends a text at NUL and would find another's row; nothing that is stored holds one.
        return {
            "keys": packed if "\\u0000" not in packed else json.dumps([row for row in listed if not _holds_nul(row)])
        }
    if not listed or isinstance(listed[0], str):
        return {"keys_0": listed}
    return {f"keys_{i}": list(column) for i, column in enumerate(zip(*listed, strict=True))}


def _holds_nul(row: Sequence[str] | str) -> bool:
    return "\x00" in row if isinstance(row, str) else any("\x00" in value for value in row)


def fetch(
    conn: Connection,
    columns: tuple[Any, ...],
    key: tuple[Column[Any], ...],
    rows: Iterable[Sequence[str] | str],
    *,
    where: Condition | None = None,
    order: tuple[Column[Any], ...] = (),
    lock: bool = False,
) -> Sequence[Any]:
    """The columns of all rows whose `key` columns (TEXT) are among `rows`.

    `columns`, `where` and `order` are module constants, so that the statement is built once. With `lock`, PostgreSQL
    keeps the rows for this transaction (SQLite has one writer: nothing to do); give an `order` then, so that two
    processes lock in the same one.
    """
    listed = list(rows)
    if not listed:
        return []
    return run(conn, _fetch(is_postgresql(conn), columns, key, where, order, lock), pack(conn, listed))


def run(conn: Connection, statement: Any, params: Row) -> list[Any]:
    """The rows (named tuples) of a SELECT or RETURNING statement that is a module constant."""
    prepared = _prepared(statement, conn.dialect)
    return prepared.rows(_execute(conn, prepared.sql, prepared.values(params)))


def _execute(conn: Connection, sql: str, values: tuple[Any, ...]) -> Any:
    """Driver SQL in the connection's transaction; its rows. The errors are the driver's own then."""
    connection: Any = conn.connection
    if not is_postgresql(conn):
        return connection.driver_connection.execute(sql, values).fetchall()
    if connection.driver_connection.is_in_transaction():
        return connection.dbapi_connection.run_async(lambda driver: driver.fetch(sql, *values))
    # SQLAlchemy begins a transaction with the first statement that it sees.
    result = conn.exec_driver_sql(sql, values)
    return result.fetchall() if result.returns_rows else []


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement compiled for one dialect."""

    sql: str
    names: tuple[str, ...]
    defaults: Row
    row: Callable[[Iterable[Any]], Any]
    decoders: tuple[tuple[int, Callable[[Any], Any]], ...]

    def values(self, params: Row) -> tuple[Any, ...]:
        return tuple([params[name] if name in params else self.defaults[name] for name in self.names])

    def rows(self, raw: Sequence[Any]) -> list[Any]:
        if not self.decoders:
            return [self.row(one) for one in raw]
        found = []
        for one in raw:
            values = list(one)
            for place, decode in self.decoders:
                if values[place] is not None:
                    values[place] = decode(values[place])
            found.append(self.row(values))
        return found


@cache
def _prepared(statement: Any, dialect: SqlalchemyDialect) -> _Prepared:
    compiled = statement.compile(dialect=dialect)
    columns = list(statement.selected_columns) if hasattr(statement, "selected_columns") else []
    decoders: list[tuple[int, Callable[[Any], Any]]] = []
    if dialect.name == "sqlite":
        for place, column in enumerate(columns):
            if isinstance(column.type, UtcTime):
                decoders.append((place, datetime.fromisoformat))
            elif isinstance(column.type, Boolean):
                decoders.append((place, bool))
    make = namedtuple("row", [column.name for column in columns], rename=True) if columns else tuple
    return _Prepared(
        sql=compiled.string,
        names=tuple(compiled.positiontup or ()),
        defaults=dict(compiled.params),
        row=getattr(make, "_make", tuple),
        decoders=tuple(decoders),
    )


@cache
def _fetch(
    on_postgresql: bool,
    columns: tuple[Any, ...],
    key: tuple[Column[Any], ...],
    where: Condition | None,
    order: tuple[Column[Any], ...],
    lock: bool,
) -> Select[Any]:
    statement = select(*columns).where(_among(on_postgresql, key))
    if where is not None:
        statement = statement.where(where)
    if lock and on_postgresql:
        # By bytes, as Python sorts them for the statements that write, whatever the database's own order is.
        by_bytes = (collate(column, "C") if isinstance(column.type, Text) else column for column in order)
        return statement.order_by(*by_bytes).with_for_update()
    return statement.order_by(*order)


@cache
def _among(on_postgresql: bool, columns: tuple[Column[Any], ...]) -> ColumnElement[bool]:
    left: Any = columns[0] if len(columns) == 1 else tuple_(*columns)
    if on_postgresql:
        arrays = [bindparam(f"keys_{i}", type_=ARRAY(Text)) for i in range(len(columns))]
        rows = func.unnest(*arrays).table_valued(*(f"c{i}" for i in range(len(columns))), name="k").render_derived()
        return left.in_(select(*rows.c))  # type: ignore[no-any-return]
    each = func.json_each(bindparam("keys", type_=Text)).table_valued("value", name="k")
    if len(columns) == 1:
        return left.in_(select(each.c.value))  # type: ignore[no-any-return]
    fields = [func.json_extract(each.c.value, f"$[{i}]") for i in range(len(columns))]
    return left.in_(select(*fields))  # type: ignore[no-any-return]


def insert_rows(conn: Connection, table: Table, rows: Sequence[Row], *, skip_known: bool = False) -> None:
    """Insert rows of equal columns; with `skip_known`, those that break a unique rule are left out."""
    if not rows:
        return
    if is_postgresql(conn):
        _pg_write(conn, _pg_insert(table, tuple(rows[0]), "ON CONFLICT DO NOTHING" if skip_known else ""), table, rows)
    else:
        _sqlite_insert(conn, table, rows, verb="INSERT OR IGNORE" if skip_known else "INSERT")


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
    names = ", ".join(_quoted(k) for k in key)
    tail = f"ON CONFLICT ({names}) DO NOTHING RETURNING {names}"
    if is_postgresql(conn):
        # In the order of the key, so that two processes inserting the same rows cannot wait for each other.
        ordered = sorted(rows, key=lambda row: tuple(row[k] for k in key))
        found = _pg_write(conn, _pg_insert(table, tuple(rows[0]), tail), table, ordered)
        return {tuple(row) for row in found}
    return {tuple(row) for row in _sqlite_insert(conn, table, rows, tail=tail)}


def upsert_rows(conn: Connection, table: Table, rows: Sequence[Row], flag: str) -> None:
    """Insert rows by their `id`; of those that are there, only the boolean `flag` is set. PostgreSQL locks both kinds.

    `rows` hold no id twice, and stand in the order of their ids.
    """
    if not rows:
        return
    tail = f"ON CONFLICT (id) DO UPDATE SET {flag} = true WHERE NOT {table.name}.{flag}"
    if is_postgresql(conn):
        _pg_write(conn, _pg_insert(table, tuple(rows[0]), tail), table, rows)
    else:
        _sqlite_insert(conn, table, rows, tail=tail)


def update_rows(conn: Connection, table: Table, rows: Sequence[Row], key: str = "id") -> None:
    """Set the other columns of each row by its `key`; all rows have the same columns, and no key stands twice."""
    if not rows:
        return
    columns = tuple(rows[0])
    sets = ", ".join(f"{_quoted(name)} = v.{_quoted(name)}" for name in columns if name != key)
    names = ", ".join(_quoted(name) for name in columns)
    match = f"t.{_quoted(key)} = v.{_quoted(key)}"
    if is_postgresql(conn):
        arrays = ", ".join(f":a_{name}" for name in columns)
        sql = f"UPDATE {table.name} AS t SET {sets} FROM unnest({arrays}) AS v ({names}) WHERE {match}"  # noqa: S608 — names of our own tables
        _pg_write(conn, sql, table, rows)
        return
    head = f"WITH v ({names}) AS (VALUES "
    tail = f") UPDATE {table.name} AS t SET {sets} FROM v WHERE {match}"  # noqa: S608 — names of our own tables
    _sqlite_chunks(conn, head, table, rows, tail)


def _sqlite_insert(
    conn: Connection, table: Table, rows: Sequence[Row], *, verb: str = "INSERT", tail: str = ""
) -> list[Any]:
    names = ", ".join(_quoted(name) for name in rows[0])
    return _sqlite_chunks(conn, f"{verb} INTO {table.name} ({names}) VALUES ", table, rows, f" {tail}")


def _sqlite_chunks(conn: Connection, head: str, table: Table, rows: Sequence[Row], tail: str) -> list[Any]:
    returned: list[Any] = []
    columns = tuple(rows[0])
    row_text = "(" + ", ".join("?" * len(columns)) + ")"
    tuples = list(zip(*_columns(table, columns, rows, sqlite=True), strict=True))
    for chunk in _chunks(tuples):
        values = ", ".join([row_text] * len(chunk))
        returned += _execute(conn, f"{head}{values}{tail}", tuple(chain.from_iterable(chunk)))
    return returned


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    start = 0
    for size in _CHUNKS:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def _columns(table: Table, columns: tuple[str, ...], rows: Sequence[Row], *, sqlite: bool) -> list[list[Any]]:
    """The rows turned into columns, as the driver takes their values."""
    found = []
    for name in columns:
        values = [row[name] for row in rows]
        if sqlite and isinstance(table.c[name].type, UtcTime):
            values = [None if value is None else UtcTime.as_text(value) for value in values]
        found.append(values)
    return found


@cache
def _pg_insert(table: Table, columns: tuple[str, ...], tail: str) -> str:
    names = ", ".join(_quoted(name) for name in columns)
    arrays = ", ".join(f":a_{name}" for name in columns)
    return f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays}) {tail}"  # noqa: S608 — names of our own tables


def _pg_write(conn: Connection, sql: str, table: Table, rows: Sequence[Row]) -> Any:
    columns = tuple(rows[0])
    prepared = _prepared(_pg_statement(sql, table, columns), conn.dialect)
    arrays = dict(zip((f"a_{name}" for name in columns), _columns(table, columns, rows, sqlite=False), strict=True))
    return _execute(conn, prepared.sql, prepared.values(arrays))


@cache
def _pg_statement(sql: str, table: Table, columns: tuple[str, ...]) -> Any:
    return text(sql).bindparams(*(bindparam(f"a_{name}", type_=ARRAY(_array_item(table.c[name]))) for name in columns))


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

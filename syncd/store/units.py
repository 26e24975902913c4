"""Units of work: what waits for a commit, how it is carried out, and how it is answered."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from syncd.store.dialect import is_postgresql
from syncd.store.locks import hold, is_apart, lanes_of, locks_by_itself

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")
Handler = Callable[[Connection, Sequence[I]], Sequence[R]]
"""Does the items in order in the open transaction and returns as many results. May be run again after a roll-back."""


MOST_UNITS = 1000
"""Units in one transaction."""


class StoreUnavailable(Exception):
    """The database did not take it: not committed, or (when it goes away in the middle of a commit) not known to be."""


class Side(IntEnum):
    """Which way a unit of work looks.

    Each side has commits of its own: while one commits, the other's results are worked on, where all in one would leave
    the event loop and the database waiting for each other in turn.
    """

    IN = 0
    """Events."""
    OUT = 1
    """Deliveries, and all the rest."""


class Unit:
    """One waiting unit of work."""

    __slots__ = ("after", "future", "handler", "item", "side")

    def __init__(
        self,
        handler: Handler[Any, Any],
        item: Any,
        future: asyncio.Future[Any],
        after: Callable[[Any], None] | None,
        side: Side,
    ) -> None:
        self.side = side
        self.handler = handler
        self.item = item
        self.future = future
        self.after = after


Outcome = tuple[Unit, Any, BaseException | None]
"""A unit with its result or its error."""


def call(conn: Connection, items: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]]) -> list[Any]:
    """The handler of units that are functions of their own: (function, its arguments after the connection)."""
    return [function(conn, *args) for function, args in items]


def functions_of(units: Sequence[Unit]) -> list[Callable[..., Any]]:
    """What runs in a transaction of these units."""
    return [_function(unit) for unit in units]


def next_together(waiting: Sequence[Unit]) -> tuple[list[Unit], list[Unit]]:
    """Of waiting units those that the next transaction may carry out together, the first among them; and the rest."""
    first = _function(waiting[0])
    alone = first if is_apart(first) else None
    taken, left = list[Unit](), list[Unit]()
    for unit in waiting:
        function = _function(unit)
        fits = function == alone if alone is not None else not is_apart(function)
        (taken if fits and len(taken) < MOST_UNITS else left).append(unit)
    return taken, left


def _function(unit: Unit) -> Callable[..., Any]:
    function: Callable[..., Any] = unit.item[0] if unit.handler is call else unit.handler
    return function


def carry_out(conn: Connection, units: Sequence[Unit]) -> list[Any]:
    """Run the units' handlers, a call a handler; the results unit by unit.

    Handlers that lock lanes come first, so that transactions lock in the same order: lanes, then sessions.
    """
    groups: dict[Any, list[int]] = {}
    for place, unit in enumerate(units):
        groups.setdefault(unit.handler, []).append(place)
    _hold(conn, units)
    results: list[Any] = [None] * len(units)
    for handler, places in sorted(groups.items(), key=lambda group: group[0] is call):
        for place, result in zip(places, handler(conn, [units[p].item for p in places]), strict=True):
            results[place] = result
    return results


def _hold(conn: Connection, units: Sequence[Unit]) -> None:
    """Lock the units' lanes, unless one function does so by itself."""
    if not is_postgresql(conn):
        return
    wanted: dict[Callable[..., Any], set[str]] = {}
    for unit in units:
        function, args = unit.item if unit.handler is call else (unit.handler, (unit.item,))
        if lane_ids := lanes_of(function, *args):
            wanted.setdefault(function, set()).update(lane_ids)
    if len(wanted) > 1 or not all(map(locks_by_itself, wanted)):
        hold(conn, set().union(*wanted.values()))


_ALL_OF_IT = ("08", "53", "57", "58", "25006", "25P03", "55000", "55P03", "XX001", "XX002")
"""SQLSTATEs of a database that serves nobody now: connection, resources, operator's intervention, disk, read-only,
idle too long, not taking connections, locked, corrupted."""
_BY_VALUES = ("21", "22", "23", "40", "44", "54")
"""SQLSTATE classes that the values of a statement, or another's values, bring about."""
_ALL_OF_SQLITE = frozenset({3, 5, 6, 7, 8, 10, 11, 13, 14, 15, 23, 26})
"""SQLite's primary result codes of the same: PERM, BUSY, LOCKED, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN,
PROTOCOL, AUTH, NOTADB."""
_ENDED = ("57P01", "57P02", "57P05", "25P03")
"""SQLSTATEs of a connection that the server ended."""
_DRIVERS = ("asyncpg", "sqlalchemy.dialects.postgresql")


def original(error: BaseException) -> BaseException:
    """The driver's own error."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def is_outage(error: BaseException) -> bool:
    """Whether the database serves nobody now: it is away, full, locked, read-only or corrupt."""
    told = original(error)
    if isinstance(told, sqlite3.Error):
        code = getattr(told, "sqlite_errorcode", None)
        return isinstance(told, sqlite3.OperationalError) if code is None else code & 0xFF in _ALL_OF_SQLITE
    if isinstance(told, (StoreUnavailable, PoolTimeout, OSError, asyncio.TimeoutError)):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    state = sqlstate(told)
    # Without a state it is the driver's own word, on its connection.
    return state.startswith(_ALL_OF_IT) if state else type(told).__module__.startswith(_DRIVERS)


def is_lost(error: BaseException) -> bool:
    """Whether a connection broke, which says nothing of the next one."""
    told = original(error)
    state = sqlstate(told)
    if state:
        return state.startswith("08") or state in _ENDED
    return isinstance(told, ConnectionError) or (type(told).__module__.startswith(_DRIVERS) and is_outage(error))


def is_blameless(error: BaseException) -> bool:
    """Whether a unit is not to blame for its failure: a missing table or right, or a defect of the database's own.

    It is no reason to give an event or an answer up.
    """
    if is_outage(error):
        return True
    told = original(error)
    if isinstance(told, sqlite3.Error):
        return isinstance(told, sqlite3.OperationalError)
    state = sqlstate(told)
    return bool(state) and not state.startswith(_BY_VALUES)


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE of an error of PostgreSQL; empty where it has none."""
    return str(getattr(original(error), "sqlstate", None) or "")


def reason(error: BaseException) -> str:
    """What the driver says of an error."""
    told = original(error)
    return " ".join(str(told).split()) or type(told).__name__


def refused(units: Sequence[Unit], error: BaseException) -> list[Outcome]:
    """The outcomes of units that were not committed through no fault of theirs."""
    failure = StoreUnavailable(reason(error))
    return [(unit, None, failure) for unit in units]


def answer(outcomes: Sequence[Outcome]) -> None:
    """Tell everybody who waits for these units, on the event loop."""
    for unit, result, error in outcomes:
        if error is None and unit.after is not None:
            unit.after(result)
        if unit.future.done():
            continue
        if error is None:
            unit.future.set_result(result)
        else:
            unit.future.set_exception(error)

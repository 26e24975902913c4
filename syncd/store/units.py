"""Units of work: what waits for a commit, how it is carried out, and how it is answered."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")
Handler = Callable[[Connection, Sequence[I]], Sequence[R]]
"""Does the items in order in the open transaction and returns as many results. May be run again after a roll-back."""


MOST_UNITS = 1000
"""Units in one transaction."""


class StoreUnavailable(Exception):
    """The database did not take it: not committed, or (rarely, when a connection dies) not known to be."""


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


def carry_out(conn: Connection, units: Sequence[Unit]) -> list[Any]:
    """Run the units' handlers, a call a handler; the results unit by unit.

    Handlers that lock lanes come first, so that transactions lock in the same order: lanes, then sessions.
    """
    groups: dict[Any, list[int]] = {}
    for place, unit in enumerate(units):
        groups.setdefault(unit.handler, []).append(place)
    results: list[Any] = [None] * len(units)
    for handler, places in sorted(groups.items(), key=lambda group: group[0] is call):
        for place, result in zip(places, handler(conn, [units[p].item for p in places]), strict=True):
            results[place] = result
    return results


_OUTAGES = ("08", "53", "57", "55000", "25006")
"""SQLSTATE classes: connection, resources, operator's intervention, not taking connections, read-only."""


_OUTAGE_ERRORS = (
    StoreUnavailable,
    sqlite3.OperationalError,
    OperationalError,
    InterfaceError,
    PoolTimeout,
    OSError,
    asyncio.TimeoutError,
)


def is_outage(error: BaseException) -> bool:
    """Whether the database is to blame, rather than what it was given."""
    if isinstance(error, IntegrityError):
        return False
    if isinstance(error, _OUTAGE_ERRORS):
        return True
    told = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(told, "sqlstate", None) or "")
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return state.startswith(_OUTAGES) or (not state and type(told).__module__.startswith("asyncpg"))


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

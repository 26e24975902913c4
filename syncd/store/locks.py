"""What a transaction locks, and when, so that no two transactions wait for each other.

All lock in this order: events, conversations, lanes, deliveries, copies, sessions; of one table all that they want in
one statement, sorted by bytes. Whoever has a lane has its deliveries, and the copies and the session of its chat. A
deadlock ends by itself, but only after a second in which both of them, and all that comes after, stand still.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

from sqlalchemy import ARRAY, Connection, Text, any_, bindparam, collate, func, select

from syncd.store.dialect import is_postgresql, run
from syncd.store.schema import lane

F = TypeVar("F", bound=Callable[..., Any])
LanesOf = Callable[..., Collection[str]]

_ids = (
    select(lane.c.id)
    .where(lane.c.id == any_(bindparam("ids", type_=ARRAY(Text))))
    .order_by(collate(lane.c.id, "C"))
    .with_for_update()
)
_HOLD = select(func.count()).select_from(_ids.subquery())
"""Locks them all, and brings back one row whatever their number."""
_LANES_OF = "__lanes_of__"
_BY_ITSELF = "__locks_by_itself__"
_APART = "__apart__"


def locks(lanes_of: LanesOf, *, by_itself: bool = False) -> Callable[[F], F]:
    """Say which lanes a unit of work locks: from one item of a handler, or from a function's arguments after `conn`.

    They are locked before it runs; but not those of one that does so `by_itself`, with its first statement, where it is
    alone in its transaction.
    """

    def decorate(function: F) -> F:
        setattr(function, _LANES_OF, lanes_of)
        setattr(function, _BY_ITSELF, by_itself)
        return function

    return decorate


def apart(function: F) -> F:
    """Say that a unit of work finds out by and by what it must lock: it shares no transaction with other functions."""
    setattr(function, _APART, True)
    return function


def is_apart(function: Callable[..., Any]) -> bool:
    """Whether `function` said so."""
    return getattr(function, _APART, False)


def locks_by_itself(function: Callable[..., Any]) -> bool:
    """Whether `function` said so."""
    return getattr(function, _BY_ITSELF, False)


def lanes_of(function: Callable[..., Any], *args: Any) -> Collection[str]:
    """The lanes that `function` said it locks."""
    declared: LanesOf | None = getattr(function, _LANES_OF, None)
    return () if declared is None else declared(*args)


def hold(conn: Connection, lane_ids: Iterable[str]) -> None:
    """Let nobody else change these lanes until this transaction ends."""
    wanted = list(set(lane_ids))
    if wanted and is_postgresql(conn):
        run(conn, _HOLD, {"ids": wanted})

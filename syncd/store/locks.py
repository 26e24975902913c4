"""Lanes that a transaction locks: all of them first, in one order, so that no two transactions wait for each other.

A deadlock ends by itself, but only after a second in which both of them, and all that comes after, stand still.
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


def locks(lanes_of: LanesOf) -> Callable[[F], F]:
    """Say which lanes a unit of work locks: from one item of a handler, or from a function's arguments after `conn`."""

    def decorate(function: F) -> F:
        setattr(function, _LANES_OF, lanes_of)
        return function

    return decorate


def lanes_of(function: Callable[..., Any], *args: Any) -> Collection[str]:
    """The lanes that `function` said it locks."""
    declared: LanesOf | None = getattr(function, _LANES_OF, None)
    return () if declared is None else declared(*args)


def hold(conn: Connection, lane_ids: Iterable[str]) -> None:
    """Let nobody claim these lanes until this transaction ends."""
    wanted = list(set(lane_ids))
    if wanted and is_postgresql(conn):
        run(conn, _HOLD, {"ids": wanted})

"""Failpoints: named steps at which a test can end or stop the process, to prove what crash safety promises (G7).

`SYNCD_FAILPOINTS="claim:committed=kill,http.write:before=stop@3"` ends the process with SIGKILL right after the first
commit of a claim, and stops it with SIGSTOP before the first byte of the third request. Positions are `before` and
`after` a step; a unit of work, which runs in a transaction, has `committed` besides. Unless the variable is set when
syncd is imported, nothing is left of a step: the decorators give back the very functions that they were given.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

VARIABLE = "SYNCD_FAILPOINTS"
SWITCHED_ON = bool(os.environ.get(VARIABLE))
ACTIONS: Mapping[str, int] = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

_NAME = "__failpoint__"
_steps: dict[str, tuple[str, ...]] = {}
_hits: Counter[str] = Counter()


def points() -> Iterator[str]:
    """Every failpoint, as `STEP:POSITION`, of the modules that are imported."""
    return (f"{name}:{position}" for name, positions in _steps.items() for position in positions)


def step(name: str) -> Callable[[F], F]:
    """Name a function as a step; it may be a coroutine function."""
    return _named(name, "before", "after")


def unit(name: str) -> Callable[[F], F]:
    """Name a function as a step that runs in a transaction of the store."""
    return _named(name, "before", "after", "committed")


def name_of(function: Callable[..., Any]) -> str | None:
    """The unit of work that a function was named as."""
    name: str | None = getattr(function, _NAME, None)
    return name


def commits(units_of: Callable[..., Sequence[Callable[..., Any]]]) -> Callable[[F], F]:
    """Name a function as the one that commits; `units_of` tells from its arguments which functions it ran."""

    def decorate(function: F) -> F:
        if not SWITCHED_ON:
            return function

        def committed(args: Any) -> None:
            for name in dict.fromkeys(name_of(one) for one in units_of(*args)):
                if name is not None:
                    hit(f"{name}:committed")

        return _wrapped(function, lambda args: None, committed)

    return decorate


def hit(point: str) -> None:
    """The process is at this point: do what was asked for."""
    wanted = _wanted().get(point)
    if wanted is None:
        return
    _hits[point] += 1
    action, turn = wanted
    if _hits[point] == turn:
        os.kill(os.getpid(), action)


def mistakes() -> list[str]:
    """What is wrong with the variable, once everything is imported: points that there are none of."""
    known = set(points())
    return [f"{VARIABLE}: there is no failpoint {point}" for point in _wanted() if point not in known]


def _wanted() -> dict[str, tuple[int, int]]:
    found = {}
    for one in filter(None, os.environ.get(VARIABLE, "").split(",")):
        point, _, told = one.partition("=")
        action, _, turn = told.partition("@")
        if action not in ACTIONS or not (turn or "1").isdigit():
            raise ValueError(f"{VARIABLE}: {one}: write STEP:POSITION=kill or =stop, and @N for the N-th time")
        found[point] = (ACTIONS[action], int(turn or "1"))
    return found


def _named(name: str, *positions: str) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        if name in _steps:
            raise ValueError(f"two steps are named {name}")
        _steps[name] = positions
        named = function
        if SWITCHED_ON:
            named = _wrapped(function, lambda args: hit(f"{name}:before"), lambda args: hit(f"{name}:after"))
        if "committed" in positions:
            setattr(named, _NAME, name)
        return named

    return decorate


def _wrapped(function: F, before: Callable[[Any], None], after: Callable[[Any], None]) -> F:
    if iscoroutinefunction(function):

        @wraps(function)
        async def in_turn(*args: Any, **kwargs: Any) -> Any:
            before(args)
            result = await function(*args, **kwargs)
            after(args)
            return result

        return in_turn  # type: ignore[return-value]

    @wraps(function)
    def at_once(*args: Any, **kwargs: Any) -> Any:
        before(args)
        result = function(*args, **kwargs)
        after(args)
        return result

    return at_once  # type: ignore[return-value]

"""The fastest event loop that is installed, for the floor and the load as for the bridge."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")

LOOP = "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"


def run(work: Coroutine[Any, Any, R]) -> R:
    """As `asyncio.run`."""
    if LOOP == "asyncio":
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)

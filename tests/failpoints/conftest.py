"""Worlds whose daemons are forked, and the sum of what the kills cost."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.failpoints.plays import FilingWorld, HoldingBird
from tests.support.databases import Database
from tests.support.figures import Figures, Note
from tests.support.forked import ForkedBridge, Forker
from tests.support.settings import ACCESS_KEY, SIGNING_KEY
from tests.support.world import World


@pytest.fixture
async def world(database: Database, tmp_path: Path, forkers: tuple[Forker, Forker]) -> AsyncIterator[World]:
    """As elsewhere, but with daemons that start at once, and a Bird that can hold its answers back."""
    world = FilingWorld(tmp_path, database)
    world.bridge = ForkedBridge(tmp_path, plain=forkers[0], with_failpoints=forkers[1])
    world.bird = HoldingBird(access_key=ACCESS_KEY, signing_key=SIGNING_KEY)
    async with world:
        yield world


@pytest.fixture
def summed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, figures: Note
) -> Callable[[Figures], None]:
    """Notes the sum of a fault's figures, once all tests of this module that are run on that database have told theirs.

    They may run in several processes, so the sum stands in a file.
    """
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def note(found: Figures) -> None:
        name = request.node.name.partition("[")[0]
        expected = sum(
            item.path == request.path and item.name.startswith(f"{name}[{found.database}-")
            for item in request.session.items
        )
        with (folder / f"figures-{name}-{found.database}").open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            earlier = [Figures(**json.loads(line)) for line in file]
            file.write(json.dumps(asdict(found)) + "\n")
            file.flush()
        if len(earlier) + 1 == expected:
            figures(_sum([*earlier, found]))

    return note


def _sum(found: list[Figures]) -> Figures:
    numbers = ("offered", "accepted", "refused", "lost", "doubled", "unknown")
    return replace(
        found[0],
        fault=f"{len(found)} × {found[0].fault}",
        **{name: sum(getattr(one, name) for one in found) for name in numbers},
    )

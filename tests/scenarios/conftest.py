"""The command line beside the scenarios' world."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.conftest import Shell, warm
from tests.cli.warm import Warm
from tests.support.databases import Database
from tests.support.forked import ForkedBridge, Forker
from tests.support.world import World

__all__ = ["warm"]


_OF_THEIR_OWN = ("test_backlog", "test_drain", "test_limits", "test_memory", "test_reload")
"""Modules that look at the process itself: its memory, its files, its first moments."""


@pytest.fixture
async def world(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path, forkers: tuple[Forker, Forker]
) -> AsyncIterator[World]:
    """As elsewhere, but with daemons that start at once, where a test does not look at their start."""
    world = World(tmp_path, database)
    if request.module.__name__.rpartition(".")[2] not in _OF_THEIR_OWN:
        world.bridge = ForkedBridge(tmp_path, plain=forkers[0], with_failpoints=forkers[1])
    async with world:
        yield world


@pytest.fixture
def operator(tmp_path: Path, warm: Warm) -> Shell:
    """Runs `syncd` with the world's config."""
    return Shell(tmp_path, warm)

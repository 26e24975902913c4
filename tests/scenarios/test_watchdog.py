"""The service manager's watchdog: fed only while event loop and database work."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.outages import locked_by_another
from tests.support.waiting import until
from tests.support.world import World

UNIT = Path(__file__).parents[2] / "deploy" / "syncd.service"
SECONDS = 1.2
"""What the manager would wait for."""


class Manager:
    """What listens for the daemon's word."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def fed(self) -> int:
        """How often the watchdog was fed."""
        while True:
            try:
                self.told.update([self._socket.recv(200).decode()])
            except BlockingIOError:
                return self.told["WATCHDOG=1"]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


async def started(world: World, manager: Manager, **more: str) -> None:
    world.configure()
    environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": str(int(SECONDS * 1_000_000))} | more
    await world.bridge.start(**environ)


async def test_it_is_fed_while_all_works_and_not_by_a_process_that_stands_still(world: World, manager: Manager) -> None:
    await started(world, manager)
    await until(lambda: manager.fed() >= 3, "fed again and again")
    world.bridge.send_signal(signal.SIGSTOP)
    await asyncio.sleep(0.1)
    before = manager.fed()
    await asyncio.sleep(2 * SECONDS)
    assert manager.fed() == before
    world.bridge.send_signal(signal.SIGCONT)
    await until(lambda: manager.fed() > before, "fed again")
    assert manager.told["READY=1"] == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_it_is_not_fed_while_the_database_takes_nothing(world: World, manager: Manager) -> None:
    world.tolerated.add("database.away")
    await started(world, manager)
    await until(lambda: manager.fed() >= 1, "fed")
    async with locked_by_another(Path(world.database.url.removeprefix("sqlite:///")), "BEGIN EXCLUSIVE"):
        await asyncio.sleep(SECONDS)  # what was committed before may be told of still
        before = manager.fed()
        await asyncio.sleep(2 * SECONDS)
        assert manager.fed() == before
    await until(lambda: manager.fed() > before, "fed again")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_watchdog_of_another_process_is_not_ours(world: World, manager: Manager) -> None:
    await started(world, manager, WATCHDOG_PID="1")
    await asyncio.sleep(2 * SECONDS)
    assert manager.fed() == 0
    assert manager.told["READY=1"] == 1


def test_the_unit_asks_for_it() -> None:
    (seconds,) = re.findall(r"^WatchdogSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert int(seconds) >= 30, "a short outage is not worth a restart"

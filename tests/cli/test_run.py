"""`run`: readiness, one daemon a SQLite file, and the end in time (G8)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.cli.conftest import Bridge, on_sqlite
from tests.support.bridge import free_port
from tests.support.settings import Settings
from tests.support.waiting import until

SLOW = 60.0
"""Seconds that a platform takes which does not answer."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_signal_lets_sends_in_flight_finish(bridge: Bridge, tmp_path: Path, number: signal.Signals) -> None:
    """G8: drain."""
    world = bridge.world
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        await bridge.run("--json", NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert manager.recv(100) == b"READY=1"
        await world.contact_says("first")
        await until(lambda: world.desk("9003") == world.desk("9004") == ["first"], "delivered")
        before = len(world.ring.calls_of("message"))
        world.ring.latency = 0.7
        await world.contact_says("in flight")
        await until(lambda: len(world.ring.calls_of("message")) == before + 2, "both sends are in flight")
        bridge.daemon.send_signal(number)
        assert await bridge.ended() == 0
        assert manager.recv(100) == b"STOPPING=1"
    assert world.desk("9003") == world.desk("9004") == ["first", "in flight"]
    states = await world.database.rows("SELECT state FROM delivery")
    assert [row["state"] for row in states] == ["sent"] * 4
    assert bridge.out.read_text().split() == ["{", '"state":', '"stopped"', "}"]


@on_sqlite
async def test_a_second_signal_ends_it_at_once(bridge: Bridge) -> None:
    """G8: a second signal."""
    await _hang(bridge)
    bridge.daemon.terminate()
    await until(lambda: "daemon.draining" in bridge.log.read_text(), "draining")
    bridge.daemon.terminate()
    assert await bridge.ended(seconds=2.0) == 1
    bridge.world.ring.latency = 0.0


async def test_it_ends_within_drain_seconds_whatever_hangs(bridge: Bridge) -> None:
    """G8: the deadline; G7: what was in flight is in doubt at the next start, not lost."""
    bridge.configure(Settings(server={"drain_seconds": 1}))
    await _hang(bridge)
    began = asyncio.get_running_loop().time()
    bridge.daemon.terminate()
    assert await bridge.ended() == 0
    assert 0.8 < asyncio.get_running_loop().time() - began < 3.0
    assert (await bridge("status", "--json")).document["backlog"] == 2
    bridge.world.ring.latency = 0.0


@on_sqlite
async def test_a_log_that_nobody_reads_does_not_keep_it(bridge: Bridge) -> None:
    """G8: the deadline, with the event loop itself kept from turning."""
    bridge.configure(Settings(server={"drain_seconds": 1}))
    reader, log = os.pipe()
    await bridge.run(stderr=log)
    os.set_blocking(log, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(log, b"." * 512):
            pass
    with contextlib.suppress(BlockingIOError):
        while os.write(log, b"."):
            pass
    os.set_blocking(log, True)
    bridge.daemon.terminate()  # the daemon says that it drains, and cannot
    assert await bridge.ended(seconds=3.0) == 0
    os.close(log)
    assert b"daemon.stopped" not in os.read(reader, 1_000_000)
    os.close(reader)


async def _hang(bridge: Bridge) -> None:
    """Bring the daemon to wait for an answer that does not come."""
    await bridge.run()
    bridge.world.ring.latency = SLOW
    await bridge.world.contact_says("hello")
    await until(lambda: len(bridge.world.ring.calls_of("open")) == 2, "calls are in flight")


async def test_a_second_daemon(bridge: Bridge) -> None:
    await bridge.run()
    first, bridge.world.bridge.port, bridge.world.bridge.admin_port = bridge.world.bridge.port, free_port(), free_port()
    bridge.configure()
    if bridge.world.database.kind == "sqlite":
        second = await bridge("run", "--json")
        assert second.code == 69
        assert "another syncd writes to" in second.document["error"]
    # The same address again, whatever the database.
    bridge.configure(
        Settings(server={"listen": f"127.0.0.1:{first}"}), database=f"sqlite:///{bridge.folder / 'other.db'}"
    )
    taken = await bridge("run")
    assert taken.code == 69
    (line,) = [line for line in taken.err.splitlines() if "daemon.failed" in line]
    assert f"server.listen: 127.0.0.1:{first} is in use" in line


@on_sqlite
async def test_warnings_are_log_lines(bridge: Bridge) -> None:
    await bridge.run()
    warned = [line for line in bridge.log.read_text().splitlines() if '"config.warning"' in line]
    assert any("accounts.office.api_key" in line for line in warned)

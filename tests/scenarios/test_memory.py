"""What the process takes while large files cross."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from syncd.simulators.bird_records import SimFile
from syncd.simulators.ringotel_files import StoredFile
from tests.scenarios.test_files import settings
from tests.support.files import Big, big
from tests.support.settings import BIRD_CHANNEL
from tests.support.waiting import until
from tests.support.world import World

SIZE = 20_000_000
MOST = 200_000_000
"""Bytes of the process while ten such files cross."""
CONTACTS = tuple(f"+4477009001{number:02}" for number in range(10))
"""The first five send a file, to the others one is sent."""


def peak(pid: int) -> int:
    """The most bytes that the process ever had in memory, its libraries included."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (found,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(found.split()[1]) * 1024


def content(file: Big) -> bytes:
    return b"".join(file.chunks())


@pytest.mark.parametrize("way", ["link", "upload"])
async def test_ten_large_files_at_once(world: World, way: str) -> None:
    """G9: five contacts and five users send 20 MB each; all of it arrives whole, and the process stays below 200 MB."""
    chosen = settings(world, files=way)
    chosen.media["max_bytes"] = 21_000_000
    chosen.users = ("9003",)
    world.compared.add("blob_part")  # with what was sent, by hash
    await world.start(chosen)
    for contact in CONTACTS:
        await world.contact_says("hello", contact=contact)
    await world.quiet()
    files = {contact: big(SIZE, seed) for seed, contact in enumerate(CONTACTS)}
    before = peak(world.bridge.pid)
    for contact in CONTACTS[:5]:
        one = files[contact]
        world.bird.contact_says(BIRD_CHANNEL, contact, files=[SimFile(content(one), one.content_type, one.name)])
    for contact in CONTACTS[5:]:
        world.ring.user_sends_file("9003", contact, content(files[contact]), "big.pdf")
    await asyncio.gather(world.bird.hooks_taken(), world.ring.hooks_taken())
    await until(lambda: len(arrived(world)) == len(CONTACTS), lambda: f"all there\n{world.bridge.tail()}", seconds=100)
    await world.quiet()
    assert {contact: one.sha256 for contact, one in arrived(world).items()} == {
        contact: one.sha256 for contact, one in files.items()
    }
    most = peak(world.bridge.pid)
    assert before < most < MOST, f"{most / 1e6:.0f} MB, {before / 1e6:.0f} MB before"


def arrived(world: World) -> dict[str, SimFile | StoredFile]:
    """The file that each contact was sent, or that the user was shown of each."""
    found: dict[str, SimFile | StoredFile] = {}
    for contact in CONTACTS[:5]:
        for shown in world.ring.shown("9003", contact):
            if shown.file is not None:
                found[contact] = shown.file
    for contact in CONTACTS[5:]:
        for received in world.bird.received(BIRD_CHANNEL, contact):
            for file in received.files:
                if isinstance(file, SimFile):
                    found[contact] = file
    return found

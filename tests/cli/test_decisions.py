"""`dead`, `unknown`, `pause`, `resume` and the control socket: who may ask, what is answered, and what is not taken."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cli.conftest import SECONDS, Bridge, on_sqlite
from tests.support.settings import Settings
from tests.support.waiting import until

CHANGES = (
    ("dead", "retry", "some-id"),
    ("dead", "drop", "some-id"),
    ("unknown", "settle", "some-id", "--resend"),
    ("pause", "bird"),
    ("resume", "sms"),
)
READERS = (("dead", "list"), ("unknown", "list"), ("pause", "bird", "--dry-run"), ("dead", "drop", "--all"))

MANY = 1_001
NUMBERS = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})"
THEN = "'2026-01-01T00:00:00.000000Z'"
MANY_DEAD = (
    f"INSERT INTO conversation VALUES ('c', 'sms', '+447700900009', NULL, NULL, 9999, NULL, {THEN})",
    "INSERT INTO lane VALUES ('c/channel', 'c', 'channel', 0, NULL, '', NULL, NULL, 0)",
    f"""INSERT INTO message (id, conversation_id, seq, author, extension, body, said_at, created_at, event_id) {NUMBERS}
    SELECT printf('m%05d', i), 'c', i, 'user', '9003', 'x', {THEN}, {THEN}, NULL FROM n""",
    f"""INSERT INTO delivery (id, lane_id, message, target, op, part, revision, reference, seq, state, open, reason,
    created_at, updated_at) {NUMBERS} SELECT printf('d%05d', i), 'c/channel', printf('m%05d', i), 'channel', 'message',
    0, 0, printf('r%05d', i), i, 'dead', 0, 'refused', {THEN}, {THEN} FROM n""",
)
"""A thousand deliveries that were given up, and one more; for SQLite."""


async def ask(socket: Path, body: bytes, *, path: str = "/operations", method: str = "POST") -> tuple[int, Any]:
    """A request on the control socket: the status and the document."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as client,
        client.request(method, f"http://daemon{path}", data=io.BytesIO(body)) as response,
    ):
        return response.status, await response.json()


@on_sqlite
async def test_without_a_daemon_changes_are_69_and_readers_read(bridge: Bridge) -> None:
    """G7: nothing but the daemon writes to its SQLite file, and what only reads needs none."""
    assert (await bridge("migrate")).code == 0
    before = (bridge.folder / "syncd.db").read_bytes()
    for ran in await asyncio.gather(*(bridge(*arguments, "--json") for arguments in CHANGES)):
        assert (ran.code, ran.document.keys()) == (69, {"error"})
        assert ran.err == f"syncd: no daemon answers at {bridge.folder / 'syncd.sock'}: start it, then try again\n"
    for ran in await asyncio.gather(*(bridge(*arguments, "--json") for arguments in READERS)):
        assert ran.code == 0, ran.err
    for ran in await asyncio.gather(*(bridge(*arguments) for arguments in READERS)):
        assert (ran.code, "none" in ran.out or "pause" in ran.out or "nothing to do" in ran.out) == (0, True)
    assert (bridge.folder / "syncd.db").read_bytes() == before


@on_sqlite
async def test_the_socket_is_its_users_alone_and_outlives_no_daemon(bridge: Bridge) -> None:
    """G7, G12: mode 0600; one that a killed daemon left is replaced; a clean stop takes it away."""
    socket = bridge.folder / "syncd.sock"
    await bridge.run()
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    bridge.daemon.kill()
    assert await bridge.ended() == -signal.SIGKILL
    assert socket.is_socket()
    assert (await bridge("pause", "bird")).code == 69, "nobody listens at what is left of it"
    await bridge.run()
    ran = await bridge("pause", "bird")
    assert (ran.code, ran.out) == (0, "bird  paused: nothing is sent; receiving goes on\n")
    await bridge.end()
    assert not socket.exists()


@on_sqlite
async def test_a_path_that_cannot_be_a_socket_is_told_at_the_start(bridge: Bridge) -> None:
    file = bridge.folder / "a-file"
    file.write_text("precious")
    for path, why in ((file, "is there already and is no socket"), (file / "syncd.sock", "its folder is a file")):
        bridge.configure(Settings(server={"control_socket": str(path)}))
        ran = await bridge("run", "--json")
        assert ran.code == 69
        advice = f"server.control_socket: {path}: {why}: choose a path in a folder that syncd may write to"
        assert ran.document == {"error": advice}
    assert file.read_text() == "precious"
    # A folder that is not there yet is made.
    bridge.configure(Settings(server={"control_socket": str(bridge.folder / "new" / "syncd.sock")}))
    await bridge.run()
    assert (await bridge("resume", "bird")).code == 0


@on_sqlite
async def test_what_is_not_understood_is_refused_and_changes_nothing(bridge: Bridge) -> None:
    """G9, G13: garbage, too much, what another version would say: an answer that says so; the daemon lives."""
    socket = bridge.folder / "syncd.sock"
    await bridge.run()
    wish = {"kind": "pause", "subject": "bird", "detail": ""}
    for body in (
        b"",
        b"\xff{",
        b"[]",
        b'{"wishes": 5}',
        json.dumps({"wishes": [wish | {"kind": "explode"}]}).encode(),
        json.dumps({"wishes": [{"kind": "pause"}]}).encode(),
        json.dumps({"wishes": [wish], "more": 1}).encode(),
    ):
        status, document = await ask(socket, body)
        assert (status, document["error"].partition(":")[0]) == (400, "not understood")
    status, document = await ask(socket, json.dumps({"wishes": [wish | {"detail": "x" * 2_000_000}]}).encode())
    assert (status, document) == (413, {"error": "that is too much at once"})
    for path, method in (("/pauses", "POST"), ("/operations", "GET")):
        status, document = await ask(socket, b"{}", path=path, method=method)
        assert (status, "use the same version on both sides" in document["error"]) == (404, True)
    assert await bridge.world.database.rows("SELECT * FROM operation") == []
    # What no column could hold is an id that nothing has.
    odd = {"kind": "settle_sent", "subject": "no\x00such", "detail": "\x00"}
    status, document = await ask(socket, json.dumps({"wishes": [odd, wish]}).encode())
    assert (status, [one["ok"] for one in document["done"]]) == (200, [False, True])


async def test_a_daemon_that_gives_no_answer_may_have_done_it(bridge: Bridge) -> None:
    """G3: a wish whose answer is lost is not left for another daemon besides: it would be done twice."""
    assert (await bridge("migrate")).code == 0

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_unix_server(taken, bridge.folder / "syncd.sock")
    async with server:
        ran = await bridge("pause", "bird", "--json")
    assert ran.code == 69
    assert "the daemon was asked, and gave no answer: look whether it was done" in ran.document["error"]
    assert await bridge.world.database.rows("SELECT * FROM operation") == []


@on_sqlite
async def test_another_user_is_told_to_be_the_right_one(bridge: Bridge) -> None:
    """G12: the socket's mode decides; who may not ask is told why."""
    with tempfile.TemporaryDirectory(prefix="syncd-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        bridge.configure(Settings(server={"control_socket": str(folder / "syncd.sock")}))
        config = folder / "config.toml"
        config.write_text(bridge.world.bridge.config.read_text())
        config.chmod(0o644)
        await bridge.run()
        if os.getuid() != 0:
            (folder / "syncd.sock").chmod(0)
        # Root may do everything: it has to become somebody else, after all is imported from where only root may read.
        code = (
            "import os, sys, syncd.cli\n"
            "from syncd.cli import asking\n"
            "ask = asking.carry_out\n"
            "def ask_as_another(*args):\n"
            "    if os.getuid() == 0: os.setuid(65534)\n"
            "    return ask(*args)\n"
            "asking.carry_out = ask_as_another\n"
            "sys.exit(syncd.cli.main(['pause', 'bird', '--config', sys.argv[1]]))"
        )
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", code, str(config)],
            cwd=Path(__file__).parents[2],
            env=bridge.environ(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        await bridge.end()
    assert (ran.returncode, ran.stderr) == (
        69,
        f"syncd: {folder / 'syncd.sock'}: run this as the user that syncd runs as\n",
    )


@on_sqlite
async def test_more_than_a_list_shows(bridge: Bridge) -> None:
    """G9: a list ends somewhere and says so; `--all` means all, in requests of bearable size."""
    assert (await bridge("migrate")).code == 0
    for statement in MANY_DEAD:
        await bridge.world.database.change(statement)
    listed = (await bridge("dead", "list", "--json")).document
    assert (len(listed["deliveries"]), listed["more"]) == (1_000, True)
    assert listed["deliveries"][0]["id"] == "d00001"
    await bridge.run()
    ran = await bridge("dead", "drop", "--all", "--json")
    assert (ran.code, len(ran.document["operations"])) == (0, MANY)
    states = await bridge.world.database.rows("SELECT state, count(*) AS n FROM delivery GROUP BY state")
    assert [(row["state"], row["n"]) for row in states] == [("skipped", MANY)]
    assert (await bridge("dead", "list", "--json")).document == {"deliveries": [], "more": False}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_what_a_newer_syncd_can_be_asked_waits_for_a_newer_one(bridge: Bridge) -> None:
    """G14: processes of two versions share a database; neither falls over what the other one knows."""
    assert (await bridge("migrate")).code == 0
    await bridge.world.database.change(
        "INSERT INTO operation (id, kind, subject, asked_by, asked_at, state) VALUES "
        "('a1', 'explode', 'bird', 'me', now(), 'waiting'), ('a2', 'pause', 'bird', 'me', now(), 'waiting')"
    )
    await bridge.run()

    async def states() -> list[str]:
        rows = await bridge.world.database.rows("SELECT state FROM operation ORDER BY id")
        return [row["state"] for row in rows]

    async def done() -> bool:
        return (await states())[1] == "done"

    await until(done, "the other one is done")
    assert await states() == ["waiting", "done"]
    await bridge.end()

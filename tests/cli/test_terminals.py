"""The same words on a terminal and in a pipe; colours on a terminal only, JSON without any, nothing wider than it."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from tests.cli.conftest import Bridge, Shell, on_sqlite
from tests.cli.test_usage import COMMANDS, GROUPS
from tests.support.settings import SMS
from tests.support.world import ALICE

READING = (
    ("check",),
    ("hooks",),
    ("status",),
    ("trace", ALICE),
    ("resync", SMS, "--dry-run"),
    ("unknown", "list"),
)
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CHANGES = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\d\d:\d\d:\d\d|\d+\.\d+")
"""Times, which two runs have of their own."""
COLUMNS = 80


def words(text: str) -> list[str]:
    """What is said, without what differs between two runs."""
    return _CHANGES.sub("~", _ESCAPE.sub("", text)).split()


@on_sqlite
@pytest.mark.timeout(180)
async def test_reading_commands(bridge: Bridge) -> None:
    await bridge.run()
    await bridge.world.contact_says("hello")
    await bridge.world.quiet()
    for arguments in READING:
        secret = arguments == ("hooks",)
        piped, shown = await asyncio.gather(
            bridge(*arguments, shows_secrets=secret), bridge.on_terminal(*arguments, columns=COLUMNS)
        )
        assert (piped.code, shown.code) == (0, 0), arguments
        # On a terminal warnings of the config stand on it too, and in a pipe beside it.
        said, told = words(shown.out), words(piped.out)
        assert [word for word in told if word not in said] == [], arguments
        if not secret:
            lines = piped.out.replace(str(bridge.folder), "/etc/syncd").splitlines()
            assert [line for line in lines if len(line) > COLUMNS] == [], arguments


@on_sqlite
async def test_forget_asks_first(bridge: Bridge) -> None:
    """What cannot be taken back is asked for on a terminal: with the figures, and only a yes is one."""
    await bridge.run()
    await bridge.world.contact_says("hello")
    await bridge.world.quiet()
    for typed in ("n\n", "\n"):
        asked = await bridge.on_terminal("forget", ALICE, typed=typed)
        assert (asked.code, "1 conversation, 1 message, 0 files" in asked.out) == (1, True), asked.out
        assert "nothing was changed" in asked.out
    assert (await bridge("trace", ALICE)).code == 0
    agreed = await bridge.on_terminal("forget", ALICE, typed="y\n")
    assert (agreed.code, "nothing is left" in agreed.out) == (0, True), agreed.out
    assert (await bridge("trace", ALICE)).code == 1


@on_sqlite
async def test_documents(bridge: Bridge) -> None:
    """Nothing but the document, on a terminal too."""
    await bridge.run()
    await bridge.world.contact_says("hello")
    await bridge.world.quiet()
    for arguments in (*READING, ("dead", "list"), ("migrate", "--show")):
        document = (*arguments, "--json")
        piped, shown = await asyncio.gather(
            bridge(*document, shows_secrets=arguments == ("hooks",)), bridge.on_terminal(*document, columns=COLUMNS)
        )
        assert "\x1b" not in shown.out
        assert json.loads(shown.out[shown.out.index("{") :]).keys() == piped.document.keys()


async def test_help(shell: Shell) -> None:
    verbs = [(group, verb) for group, verbs in GROUPS.items() for verb in verbs]
    for arguments in ((), *((name,) for name in (*COMMANDS, *GROUPS)), *verbs):
        piped, shown = await asyncio.gather(
            shell(*arguments, "--help"), shell.on_terminal(*arguments, "--help", columns=COLUMNS)
        )
        assert (piped.code, shown.code) == (0, 0)
        assert words(shown.out) == words(piped.out)
        assert all(len(_ESCAPE.sub("", line)) <= COLUMNS for line in shown.out.splitlines())

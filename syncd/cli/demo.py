"""`syncd demo`: the whole bridge between three simulated platforms, and a conversation through it, explained."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from syncd.cli.demo_scene import CHUN
from syncd.cli.demo_stage import Failed, Stage
from syncd.cli.demo_story import Story
from syncd.cli.demo_telling import Telling
from syncd.cli.demo_watch import watch
from syncd.cli.outcome import DONE, FAILED

INTERRUPTED = 130
"""Exit code of a story that was broken off with Ctrl-C, as shells have it."""


LONGEST_FOLDER = 80
"""Characters: the control socket in it must have an address that the system takes."""


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="syncd-demo-")).resolve()
    if len(str(folder)) <= LONGEST_FOLDER:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="syncd-demo-", dir="/tmp"))


def demo(once: bool, as_json: bool) -> int:
    """Play the demo and give its exit code: 0 all was as it should be, 1 something was not.

    On a terminal everything keeps running afterwards, until Ctrl-C, unless `once` or `as_json` says otherwise.
    Leaves nothing behind, but for the daemon's log and database where something failed.
    """
    telling = Telling(as_json=as_json)
    stage = Stage(_folder())
    story = Story(stage, telling)
    code = INTERRUPTED
    try:
        code = asyncio.run(_play(telling, stage, story, stay=telling.live and not once))
    finally:
        if code != FAILED:
            shutil.rmtree(stage.folder, ignore_errors=True)
    if as_json:
        sys.stdout.write(telling.document(story.told) + "\n")
    return code


async def _play(telling: Telling, stage: Stage, story: Story, *, stay: bool) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        async with stage:
            telling.plain("syncd keeps Ringotel chats in step with the channels customers write on.", "bold")
            telling.plain("Here it runs between three simulated platforms, over real HTTP.")
            if not await _until(story.play(), stopping):
                return INTERRUPTED
            telling.plain()
            telling.plain("Table `mapping`: which copy of which message is where (* is where it was said)")
            telling.plain()
            telling.mapping(story.told)
            telling.plain()
            if stay:
                await _stay(telling, stage, stopping)
            code = await stage.stop_syncd()
            if code != 0:
                raise Failed(f"syncd was told to stop and ended with code {code}")
    except (Failed, OSError) as error:
        telling.fails(str(error), stage.log)
        return FAILED
    if not stay:
        telling.plain("All as it should be. On a terminal, `syncd demo` stays for you to try things.")
    return DONE


async def _until(playing: Coroutine[Any, Any, None], stopping: asyncio.Event) -> bool:
    """Whether it came to its end before somebody stopped it. Raises what it raises."""
    played = asyncio.create_task(playing)
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([played, stopped], return_when=asyncio.FIRST_COMPLETED)
        if played.done():
            played.result()
        return played.done()
    finally:
        stopped.cancel()
        played.cancel()
        await asyncio.gather(played, stopped, return_exceptions=True)


async def _stay(telling: Telling, stage: Stage, stopping: asyncio.Event) -> None:
    stage.write_bodies(CHUN, stage.ringotel.sessions_of("9003", CHUN)[-1].id)
    syncd, config = program(), shlex.quote(str(stage.config))
    telling.plain("It all keeps running until you press Ctrl-C. In another terminal, try:", "bold")
    for what, command in (
        ("how things stand", f"{syncd} status --config {config}"),
        ("the addresses to give to the platforms", f"{syncd} hooks --config {config}"),
        ("a customer writes by WhatsApp (run it twice: the second is known)", stage.curl_whatsapp()),
        ("9003 answers (this one's webhook carries Ringotel's key)", stage.curl_ringotel()),
        ("is it well, and how busy", f"curl -sS {stage.admin_url}/readyz {stage.admin_url}/metrics"),
        ("kill it, as hard as you like: the demo starts it again", f"kill -9 {stage.pid}"),
        ("every line that it logged", f"less {shlex.quote(str(stage.log))}"),
    ):
        telling.plain()
        telling.plain(f"# {what}", "dim")
        telling.exactly(command)
    telling.plain()
    telling.plain("What happens meanwhile is shown here.", "dim")
    await _until(watch(stage, telling), stopping)
    telling.plain()
    telling.plain("Stopped.")


def program() -> str:
    """How this very syncd is called on a command line here."""
    called = sys.argv[0]
    found = shutil.which("syncd")
    if found is not None and Path(found).resolve() == Path(called).resolve():
        return "syncd"
    if Path(called).name == "syncd" and Path(called).exists():
        return shlex.quote(called)
    return f"{shlex.quote(sys.executable)} -m syncd"

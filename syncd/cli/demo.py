"""`syncd demo`: the whole bridge between three simulated platforms, and a conversation through it, explained."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from syncd.cli.demo_stage import Failed, Stage
from syncd.cli.demo_story import CHUN, Story
from syncd.cli.demo_telling import Telling
from syncd.cli.demo_watch import watch

INTERRUPTED = 130
"""Exit code of a story that was broken off with Ctrl-C, as shells have it."""


def demo(once: bool, as_json: bool) -> int:
    """Play the demo and give its exit code: 0 all was as it should be, 1 something was not.

    On a terminal everything keeps running afterwards, until Ctrl-C, unless `once` or `as_json` says otherwise.
    Leaves nothing behind, but for the daemon's log and database where something failed.
    """
    telling = Telling(as_json=as_json)
    folder = Path(tempfile.mkdtemp(prefix="syncd-demo-")).resolve()
    try:
        code = asyncio.run(_play(telling, folder, stay=telling.live and not once, as_json=as_json))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if code != 1:
        shutil.rmtree(folder, ignore_errors=True)
    return code


async def _play(telling: Telling, folder: Path, *, stay: bool, as_json: bool) -> int:
    stage = Stage(folder)
    story = Story(stage, telling)
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    rows = []
    try:
        async with stage:
            telling.plain("syncd keeps Ringotel chats in step with the channels that customers write on.", "bold")
            telling.plain("Here it runs between three simulated platforms. All it knows is in one SQLite file.")
            if not await _until(story.play(), stopping):
                return INTERRUPTED
            rows = story.mapping()
            telling.plain()
            telling.plain("The table `mapping`: which copy of which message is where (green: where it came from)")
            telling.plain()
            telling.mapping(rows)
            telling.plain()
            if stay:
                await _stay(telling, stage, stopping)
            code = await stage.stop_syncd()
            if code != 0:
                raise Failed(f"syncd was told to stop and ended with code {code}")
    except (Failed, OSError) as error:
        telling.fails(str(error), stage.log)
        return 1
    finally:
        if as_json:
            sys.stdout.write(telling.document(rows) + "\n")
    if not stay:
        telling.plain("All of it was really so. On a terminal `syncd demo` stays, for you to try things.")
    return 0


async def _until(story: object, stopping: asyncio.Event) -> bool:
    """Whether the story came to its end before somebody stopped it. Raises what the story raises."""
    assert asyncio.iscoroutine(story)
    playing = asyncio.create_task(story)
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([playing, stopped], return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            playing.result()
        return playing.done()
    finally:
        stopped.cancel()
        playing.cancel()
        await asyncio.gather(playing, stopped, return_exceptions=True)


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

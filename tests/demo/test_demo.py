"""`syncd demo` as a user runs it: a process of its own, in an empty folder."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LONGEST = 60
"""Seconds. Alone it takes five; the machine may be busy."""

STEPS = [
    "start", "sms", "answer", "picture", "whatsapp", "colleague", "read", "voice", "edit", "duplicate", "reopened",
    "channel", "lost", "failed", "crash", "sum",
]  # fmt: skip
SAID = 11
"""By people."""
ADDED = [
    "Edited: We are here until 19:00.",
    "[syncd] Not delivered: “Bring the receipt, please.” (the service refused it)",
]
"""By syncd: to the contact, and to the author."""


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "syncd", "demo", *arguments],
        cwd=folder,
        env=_environment(folder) | environment,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        stdin=subprocess.DEVNULL,
    )


def _environment(folder: Path) -> dict[str, str]:
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    return dict(os.environ) | {"TMPDIR": str(temporary)}


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short path: the demo's control socket lies below it, whose path may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="syncd-") as name:
        yield Path(name).resolve()


def test_it_tells_the_whole_story_and_leaves_nothing(folder: Path) -> None:
    done = run(folder, "--once")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    titles = re.findall(r"^ ?(\d+)  \S", done.stdout, re.MULTILINE)
    assert titles == [str(number) for number in range(1, len(STEPS) + 1)]
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert "\x1b" not in done.stdout
    assert list((folder / "temporary").iterdir()) == []
    assert [path.name for path in folder.iterdir()] == ["temporary"]


def test_json_is_one_document_with_steps_and_mapping(folder: Path) -> None:
    # A name of the daemon's config must not reach the demo's.
    done = run(folder, "--once", "--json", SYNCD_SERVER__LISTEN="127.0.0.1:1", SYNCD_CONFIG="/nowhere")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"steps", "mapping"}
    assert [step["id"] for step in told["steps"]] == STEPS
    assert all(set(step) == {"id", "what", "result"} and step["result"]["ok"] for step in told["steps"])
    _check_now(told["steps"])
    _check_mapping(told["mapping"])


def _check_mapping(rows: list[dict[str, Any]]) -> None:
    messages: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        messages.setdefault(row["message"], []).append(row)
        assert (row["extension"] is None) == (row["sessionid"] is None)
    said = [copies for copies in messages.values() if any(row["origin"] for row in copies)]
    added = [copies for copies in messages.values() if copies not in said]
    assert len(said) == SAID
    for copies in said:
        assert sum(row["origin"] for row in copies) == 1
        # One copy each for the channel and the users; the picture and its words are two in a chat.
        assert sorted(row["extension"] or "" for row in copies if row["part"] == 0) == ["", "9003", "9004"]
    assert [row["text"] for copies in said for row in copies if row["part"]] == [
        "Is it the one with the sun? [image]"
    ] * 2
    assert [[(row["text"], row["extension"]) for row in copies] for copies in added] == [
        [(ADDED[0], None)],
        [(ADDED[1], "9003")],
    ]
    # Unique as the table promises, and one chat has two sessions: the one that was closed and its successor.
    assert len({(row["account"], row["messageid"], row["part"]) for row in rows}) == len(rows) == 3 * SAID + 2 + 2
    sessions = {row["sessionid"] for row in rows if row["extension"] == "9003" and row["link"] == "support-sms"}
    assert len(sessions) == 2
    statuses = {row["text"]: row["status"] for row in rows if row["extension"] is None and not row["origin"]}
    assert statuses["We are here until 19:00."] == "read"
    assert statuses["Bring the receipt, please."] == "failed"


def _check_now(steps: list[dict[str, Any]]) -> None:
    """What stands in the chats and on the phones after the steps about more than words."""
    now = {step["id"]: step["result"]["now"] for step in steps}
    picture, voice = "customer: [image.png, 576 bytes]", "customer: [voice.ogg, 127 bytes]"
    assert now["picture"] == {"9003's chat": picture, "9004's chat": picture}
    assert now["voice"] == {"9003's chat": voice, "9004's chat": voice}
    assert now["read"] == {"9004's chat": "“We are here until 18:00.” is ticked as read"}
    assert now["edit"] == {
        "9003's chat": "9004: “We are here until 19:00.” (edited)",
        "WhatsApp": f"+852 5123 4567 got “{ADDED[0]}”",
    }
    assert now["failed"] == {"9003's chat": ADDED[1], "9004's chat": "9003: “Bring the receipt, please.”"}


def test_a_failure_is_told_with_the_step_and_the_log(folder: Path) -> None:
    """A daemon that cannot start: exit 1, and its log is kept."""
    spoilt = folder / "spoilt"
    spoilt.mkdir()
    # Read by every Python at its start; only the daemon's own process is spoilt.
    (spoilt / "sitecustomize.py").write_text(
        "import sys\nif 'syncd.cli.demo_daemon' in sys.orig_argv: sys.exit('spoilt for the test')\n"
    )
    done = run(folder, "--once", "--json", PYTHONPATH=str(spoilt))
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert "spoilt for the test" in told["error"]
    assert told["steps"][0]["result"]["ok"] is False
    kept = re.search(r"are kept: (\S+)", done.stderr)
    assert kept is not None
    assert "spoilt for the test" in Path(kept[1]).read_text()


def test_on_a_terminal_it_stays_and_what_it_offers_works(folder: Path) -> None:
    terminal, screen = pty.openpty()
    hurried = "import sys; from syncd.cli import demo_telling, main; demo_telling.READING_SECONDS = 0; "
    process = subprocess.Popen(
        [sys.executable, "-c", hurried + "sys.exit(main(['demo']))"],
        cwd=folder,
        env=_environment(folder) | {"TERM": "xterm-256color", "COLUMNS": "80"},
        stdin=screen,
        stdout=screen,
        stderr=screen,
        start_new_session=True,
    )
    os.close(screen)
    try:
        shown = _read_until(terminal, "is shown here", process)
        commands = dict(re.findall(r"^# (.*)\n((?:.*\\\n)*.*)$", shown, re.MULTILINE))
        status = _shell(commands.pop("how things stand") + " --json")
        assert {"backlog": 0, "dead": 0, "unknown": 0}.items() <= json.loads(status).items()
        whatsapp = next(command for what, command in commands.items() if "WhatsApp" in what)
        assert [_shell(whatsapp), _shell(whatsapp)] == ["{}", "{}"]
        _read_until(terminal, "9004's chat with +85251234567  customer: “Sent by curl”", process)
        _shell(next(command for what, command in commands.items() if what.startswith("9003 answers")))
        _read_until(terminal, "WhatsApp to 85251234567: “Answered by curl”", process)
        assert "/hooks/islash/" in _shell(commands["the addresses to give to the platforms"])
        assert "syncd_events_total" in _shell(commands["is it well, and how busy"])
        process.send_signal(signal.SIGINT)
        _read_until(terminal, "Stopped.", process)
        assert process.wait(LONGEST) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert list((folder / "temporary").iterdir()) == []


def _read_until(terminal: int, wanted: str, process: subprocess.Popen[bytes]) -> str:
    seen = b""
    deadline = time.monotonic() + LONGEST
    while wanted not in (text := re.sub(r"\x1b\[[0-9;]*m|\r", "", seen.decode(errors="replace"))):
        assert time.monotonic() < deadline, text
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:
                pytest.fail(f"it ended with {process.poll()}: {text}")
    return text


def _shell(command: str) -> str:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=30).stdout


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_daemon_does_not_outlive_a_demo_that_was_broken_off(folder: Path, way: signal.Signals) -> None:
    """Ctrl-C in the middle of the story ends it in order: its own exit code, nothing left, no word of failure."""
    process = subprocess.Popen(
        [sys.executable, "-m", "syncd", "demo", "--once"],
        cwd=folder,
        env=_environment(folder) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    daemon = 0
    for line in process.stdout:
        if found := re.search(r"is ready on .* \(process (\d+)\)", line):
            daemon = int(found[1])
            break
    process.send_signal(way)
    _, errors = process.communicate(timeout=LONGEST)
    deadline = time.monotonic() + LONGEST
    while Path(f"/proc/{daemon}").exists() and _state(daemon) != "Z":
        assert time.monotonic() < deadline, "the daemon is still there"
        time.sleep(0.05)
    if way is not signal.SIGKILL:
        assert (process.returncode, errors) == (130, "")
        assert list((folder / "temporary").iterdir()) == []


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"

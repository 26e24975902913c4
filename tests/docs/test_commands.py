"""docs/commands.md against the program: commands, options, exit codes, and the documents of a real daemon."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from syncd.cli import outcome
from syncd.cli.app import app
from syncd.simulators.base import Fault
from syncd.simulators.bird_records import SimFile
from tests.cli.conftest import Bridge, on_sqlite
from tests.cli.warm import Warm
from tests.scenarios.operating import is_send, rejecting
from tests.support.settings import BIRD_CHANNEL, SMS, WHATSAPP
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
CAROL = "+85251234567"
COMMON = {"--json", "--config", "--help"}
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
NOT_COMMANDS = {"What all have", "Exit codes", "Documents"}

Shape = dict[str, str]
"""Key, dotted -> its type, both as on the page."""


def rows(text: str, heading: str) -> Iterator[list[str]]:
    """The cells of all tables whose first column has this heading."""
    for table in re.findall(rf"^\| {heading} \|.*\n\|[ |-]+\n((?:\|.*\n?)+)", text, re.MULTILINE):
        for line in table.splitlines():
            yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def shape(section: str, part: str = "") -> Shape:
    """The keys of the first table after the line that begins with `part`."""
    text = SECTIONS[section]
    table = re.search(r"^\| key \|.*\n(?:\|.*\n?)+", text[text.index(f"\n{part}") :], re.MULTILINE)
    assert table is not None
    found = [(cells[0].strip("`"), cells[1]) for cells in rows(table[0], "key")]
    assert len(found) == len(dict(found)), "a key is told twice"
    return dict(found)


def commands() -> dict[str, Any]:
    """The program's commands by their whole names; groups are none themselves."""
    found: dict[str, Any] = {}

    def walk(command: Any, name: str) -> None:
        inner = getattr(command, "commands", None)
        if inner is None:
            found[name] = command
        else:
            for each, below in inner.items():
                walk(below, f"{name} {each}".strip())

    walk(typer.main.get_command(app), "")
    return found


COMMANDS = commands()


def test_every_command_is_told_and_no_other() -> None:
    assert SECTIONS.keys() - NOT_COMMANDS == COMMANDS.keys()
    assert list(SECTIONS)[:3] == ["What all have", "Exit codes", "Documents"]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_its_options_and_arguments_are_told_and_no_other(name: str) -> None:
    options, arguments = set(), set()
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option":
            options |= {each for each in parameter.opts if each.startswith("--")}
        else:
            arguments.add(parameter.metavar or parameter.name)
    told = {cells[0].strip("`").split()[0] for cells in rows(SECTIONS[name], "option")}
    assert told == options - COMMON
    assert {cells[0].strip("`") for cells in rows(SECTIONS[name], "argument")} == arguments
    assert options >= COMMON - {"--help"} - ({"--config"} if name == "demo" else set())


def test_the_exit_codes_are_the_programs() -> None:
    codes = {value for value in vars(outcome).values() if isinstance(value, int)}
    assert {int(cells[0]) for cells in rows(SECTIONS["Exit codes"], "code")} == codes


# --- documents ---


def flat(value: Any, told: Shape, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a document with its value; what the page tells as a whole only is not gone into."""
    inside = any(key.startswith((f"{path}.", f"{path}[]")) for key in told) or not path
    if path and (path in told or not isinstance(value, dict)):
        yield path, value
    if isinstance(value, dict) and inside:
        for key, item in value.items():
            yield from flat(item, told, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and inside:
        for item in value:
            for key, inner in item.items():
                yield from flat(inner, told, f"{path}[].{key}")


def is_time(value: Any) -> bool:
    return isinstance(value, str) and datetime.fromisoformat(value).utcoffset() == timedelta(0)


TYPES: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "true or false": lambda value: isinstance(value, bool),
    "time": is_time,
    "list": lambda value: isinstance(value, list) and all(isinstance(row, dict) for row in value),
    "list of text": lambda value: isinstance(value, list) and all(isinstance(row, str) for row in value),
    "object": lambda value: isinstance(value, dict),
}


def wrong(documents: list[Any], told: Shape) -> list[str]:
    """How the page's keys and those of documents differ: keys untold, keys never seen, types."""
    seen: set[str] = set()
    found = []
    for document in documents:
        for key, value in flat(document, told):
            seen.add(key)
            if key not in told:
                found.append(f"{key} is not on the page")
                continue
            kind, _, null = told[key].partition(" or null")
            may_be_null = told[key].endswith(" or null")
            assert not null
            if not (may_be_null and value is None) and not TYPES[kind](value):
                found.append(f"{key} is no {told[key]}: {value!r}")
    return sorted(set(found)) + [f"{key} was never seen" for key in sorted(set(told) - seen)]


def test_what_is_wrong_is_found() -> None:
    told = {"a": "list", "a[].b": "time or null", "c.d": "number", "e": "object"}
    right = {"a": [{"b": None}, {"b": "2026-01-01T00:00:00.000Z"}], "c": {"d": 1}, "e": {"any": "thing"}}
    assert wrong([right], told) == []
    assert wrong([right | {"f": 1}], told) == ["f is not on the page"]
    assert wrong([right | {"c": {"d": True}}], told) == ["c.d is no number: True"]
    assert wrong([right | {"a": []}], told) == ["a[].b was never seen"]
    assert wrong([right | {"c": {"d": 1, "x": 2}}], told) == ["c.x is not on the page"]


@pytest.fixture
async def bridge(world: World, tmp_path: Path) -> AsyncIterator[Bridge]:
    """A shell in a folder with a config, the platforms up."""
    warm = Warm()
    made = Bridge(tmp_path, warm, world)
    try:
        yield made
        await made.end()
    finally:
        warm.end()


class Documents:
    """What commands gave, by what the page calls it."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.found: dict[str, list[Any]] = {}

    async def __call__(self, name: str, *arguments: str, code: int = 0, shows_secrets: bool = False) -> Any:
        """Run a command, and keep its document under a name."""
        ran = await self.bridge(*arguments, "--json", shows_secrets=shows_secrets)
        assert ran.code == code, ran.out + ran.err
        self.found.setdefault(name, []).append(ran.document)
        return ran.document

    def traced(self, kind: str) -> list[Any]:
        """What was found of a kind, of all traces."""
        return [one for document in self.found["trace"] for one in document["found"] if one["kind"] == kind]


async def play(bridge: Bridge, documents: Documents) -> None:
    """Bring about something of everything that documents tell of, and look at it."""
    world = bridge.world
    await documents("migrate", "migrate")
    await asyncio.gather(
        documents("migrate --show", "migrate", "--show"),
        documents("check", "check", "--live", code=1),
        documents("hooks", "hooks", shows_secrets=True),
        documents("register", "hooks", "register", "--dry-run"),
        bridge.run("--json"),
    )

    # A message with a file that cannot be had, and a second copy of its webhook; an answer that is refused, and a
    # retry, at the platform that is not asked for ten seconds first whether it has it.
    picture = SimFile(b"no picture", "image/jpeg", "photo.jpg")
    said = await world.contact_says("here it is", files=[picture], copies=2)
    await world.contact_says("how are you?", contact=CAROL, link=WHATSAPP)
    await world.quiet()
    world.islash.faults.append(rejecting(WHATSAPP))
    await world.user_says("9003", "thank you", contact=CAROL, link=WHATSAPP)
    await world.quiet()
    (given_up,) = (await documents("dead list", "dead", "list"))["deliveries"]
    await asyncio.gather(
        documents("dead show", "dead", "show", given_up["id"]),
        documents("decided", "dead", "retry", given_up["id"], "--dry-run"),
    )
    await documents("decided", "dead", "retry", given_up["id"])
    await world.quiet()
    await documents("dead show", "unknown", "show", given_up["id"])
    await world.user_says("9100", "nobody's", contact=BOB)

    # A channel with other words for one message, and one that nobody told of.
    for record in world.bird.channels[BIRD_CHANNEL].messages.values():
        if record.data["id"] == said:
            record.data["body"] = {"type": "text", "text": {"text": "other words"}}
    earlier = datetime.now(UTC) - timedelta(hours=2)
    world.bird.contact_says(BIRD_CHANNEL, ALICE, "nobody told", webhook=False, at=earlier)
    await documents("resync --dry-run", "resync", SMS, "--dry-run")
    await documents("resync", "resync", SMS)
    await world.quiet()

    # One in doubt with another behind it, and a pause.
    world.ring.faults.append(Fault("lost", times=1, match=is_send))
    await world.contact_says("is it there?", contact=BOB)

    async def in_doubt() -> bool:
        return bool(await world.database.value("SELECT count(*) FROM delivery WHERE state = 'unknown'"))

    await until(in_doubt, "a doubt")
    behind = await world.contact_says("and this?", contact=BOB)
    await asyncio.gather(documents("dead list", "unknown", "list"), documents("status", "status"))
    await documents("decided", "pause", "sms")
    await documents("status", "status")
    queries = (
        "SELECT id FROM event WHERE account = 'office' AND state = 'ignored'",
        "SELECT sessionid FROM session",
        "SELECT id FROM operation WHERE kind = 'pause'",
    )
    ids = [str(await world.database.value(f"{query} LIMIT 1")) for query in queries]
    await asyncio.gather(*(documents("trace", "trace", each) for each in (said, given_up["id"], behind, ALICE, *ids)))


@on_sqlite
@pytest.mark.timeout(120)
async def test_documents_have_the_keys_that_are_told(bridge: Bridge) -> None:
    """G13: what scripts read of accounts, lanes, deliveries and messages is what the page says, with its types."""
    documents = Documents(bridge)
    await play(bridge, documents)
    await bridge.end()
    (stopped,) = [json.loads(bridge.out.read_text())]
    dead_row = shape("dead list")
    finding = {key.removeprefix("findings[]."): kind for key, kind in shape("check").items() if "findings[]." in key}
    plan = shape("resync")
    event = shape("trace", "`kind` `event`")
    conversation = shape("trace", "`kind` `conversation`")
    operation = shape("trace", "`kind` `operation`")
    message = shape("trace", "`kind` `message`")
    told: dict[str, tuple[list[Any], Shape]] = {
        "run": ([stopped], shape("run")),
        "check": (documents.found["check"], shape("check")),
        "hooks": (documents.found["hooks"], shape("hooks")),
        "hooks of check": (
            [{"hooks": one["hooks"]} for one in documents.found["check"]],
            shape("hooks"),
        ),
        "hooks register": (documents.found["register"], shape("hooks", "With `register`")),
        "its findings": ([row for one in documents.found["register"] for row in one["findings"]], finding),
        "migrate": (documents.found["migrate"], shape("migrate")),
        "migrate --show": (documents.found["migrate --show"], shape("migrate", "With `--show`")),
        "status": (documents.found["status"], shape("status")),
        "resync --dry-run": (documents.found["resync --dry-run"], plan),
        "resync": (
            documents.found["resync"],
            plan | shape("resync", "Without `--dry-run` also"),
        ),
        "dead list": (documents.found["dead list"], dead_row),
        "dead show": (
            documents.found["dead show"],
            {key.removeprefix("deliveries[]."): kind for key, kind in dead_row.items() if "[]" in key}
            | shape("dead show"),
        ),
        "decided": (documents.found["decided"], shape("dead retry")),
        "trace": (documents.found["trace"], shape("trace")),
        "message": (documents.traced("message"), message),
        "its event": (
            [one["event"] for one in documents.traced("message")],
            {key: kind for key, kind in event.items() if key != "sentence"},
        ),
        "its attempts": (
            [{"attempts": leg["attempts"]} for one in documents.traced("message") for leg in one["deliveries"]],
            {key: kind for key, kind in shape("dead show").items() if key.startswith("attempts")},
        ),
        "its operations": (
            [row for one in documents.traced("message") for leg in one["deliveries"] for row in leg["operations"]],
            {key: kind for key, kind in operation.items() if key not in ("sentence", "what")},
        ),
        "its sessions": (
            [row for one in documents.traced("message") for row in one["sessions"]],
            {
                key: kind
                for key, kind in shape("trace", "`kind` `session`").items()
                if key not in ("sentence", "left_out", "messages")
            },
        ),
        "event": (documents.traced("event"), event),
        "conversation": (documents.traced("conversation"), conversation),
        "session": (documents.traced("session"), shape("trace", "`kind` `session`")),
        "its messages": (
            [{"messages": one["messages"]} for one in documents.traced("session")],
            {key: kind for key, kind in conversation.items() if key.startswith("messages")},
        ),
        "operation": (documents.traced("operation"), operation),
    }
    assert {name: found for name, (given, keys) in told.items() if (found := wrong(given, keys))} == {}
    kinds = {one["kind"] for document in documents.found["trace"] for one in document["found"]}
    assert kinds == {"message", "event", "conversation", "session", "operation"}

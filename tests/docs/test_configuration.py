"""docs/configuration.md against the models: every key, its default, and what is said of a mistake in it."""

from __future__ import annotations

import re
import tomllib
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from syncd.config.assembly import SECTIONS, Assembly
from syncd.config.checking import keys_of
from syncd.config.plugins import Plugins
from syncd.config.sections import AccountTable, LinkTable

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

DOCUMENT = tomllib.loads("""
[accounts.office]
platform = "ringotel"
api_key = "example-key"

[accounts.bird]
platform = "bird"
workspace = "a1405560-c8d3-4b1a-877d-3f449ad95352"
access_key = "example-access"
signing_key = "example-signing"

[accounts.islash]
platform = "islash"
base_url = "https://customer.islash.example"
user_token = "example-token"

[[links]]
name = "support-sms"
desk = { account = "office", organization = "17076444409917912922", users = ["9003"] }
channel = { account = "bird", channel = "cb4b1ebc-34e6-5a7a-a375-f6f2f131d88f" }

[[links]]
name = "support-whatsapp"
desk = { account = "office", organization = "17076444409917912922", users = ["9003"] }
channel = { account = "islash", session = "example-session", webhook_secret = "example-hook-secret" }
""")
"""A config without a mistake, to make mistakes in."""


@dataclass(frozen=True)
class Row:
    key: str
    default: str
    meaning: str
    mistake: str
    said: str


@dataclass(frozen=True)
class Place:
    """What a heading of the page stands for."""

    loc: tuple[str | int, ...]
    model: type[BaseModel] | None
    more: tuple[str, ...] = ()


def _end(account: str) -> type[BaseModel]:
    plugin = Plugins().get(account)
    assert plugin is not None
    return plugin.end_model


def _account(platform: str) -> type[BaseModel]:
    plugin = Plugins().get(platform)
    assert plugin is not None
    return plugin.account_model


PLACES = {
    **{f"`[{name}]`": Place((name,), model) for name, model in SECTIONS.items()},
    "`[accounts.NAME]`": Place(("accounts", "office"), AccountTable),
    "`[accounts.NAME]`, Ringotel": Place(("accounts", "office"), _account("ringotel")),
    "`[accounts.NAME]`, Bird": Place(("accounts", "bird"), _account("bird")),
    "`[accounts.NAME]`, iSlash": Place(("accounts", "islash"), _account("islash")),
    "`[[links]]`": Place(("links", 0), LinkTable),
    "desk of a link, on a ringotel account": Place(("links", 0, "desk"), _end("ringotel"), ("account",)),
    "channel of a link, on a bird account": Place(("links", 0, "channel"), _end("bird"), ("account",)),
    "channel of a link, on an islash account": Place(("links", 1, "channel"), _end("islash"), ("account",)),
}


def tables() -> dict[str, list[Row]]:
    """The page's tables of keys, by heading."""
    found: dict[str, list[Row]] = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n### ")[1:]:
        heading = part.partition("\n")[0]
        lines = [line for line in part.split("\n## ")[0].splitlines() if line.startswith("| `")]
        cells = [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]
        found[heading] = [Row(key.strip("`"), *rest) for key, *rest in cells]
    return found


TABLES = tables()
ROWS = [(heading, row) for heading, rows in TABLES.items() for row in rows]


def _problems(place: Place, key: str, value: Any) -> list[str]:
    document = deepcopy(DOCUMENT)
    node: Any = document
    for step in place.loc:
        node = node.setdefault(step, {}) if isinstance(node, dict) else node[step]
    node[key] = value
    assembly = Assembly(document, Path("/etc/syncd/config.toml"), Plugins())
    assembly.config()
    path = ".".join(map(str, (*place.loc, key)))
    return [one.message for one in assembly.problems if one.path == path or one.path.startswith(f"{path}.")]


def test_the_config_that_mistakes_are_made_in_has_none() -> None:
    assembly = Assembly(deepcopy(DOCUMENT), Path("/etc/syncd/config.toml"), Plugins())
    assert assembly.config() is not None


def test_every_table_is_told() -> None:
    assert set(TABLES) == set(PLACES)


@pytest.mark.parametrize("heading", PLACES)
def test_every_key_is_told_in_order(heading: str) -> None:
    place = PLACES[heading]
    assert place.model is not None
    assert [row.key for row in TABLES[heading]] == [*place.more, *keys_of(place.model)]


@pytest.mark.parametrize(("heading", "row"), ROWS, ids=lambda value: getattr(value, "key", None))
def test_the_default_is_the_models(heading: str, row: Row) -> None:
    place = PLACES[heading]
    assert place.model is not None
    if row.key in place.more:
        assert row.default == "required"
        return
    field = next(f for name, f in place.model.model_fields.items() if (f.alias or name) == row.key)
    if field.is_required():
        assert row.default == "required"
    elif field.default is None:
        assert row.default in ("none", "the platform's advice")
    elif field.default is PydanticUndefined:
        assert not row.default.startswith('`"')  # told in words
    else:
        shown = tomllib.loads(f"value = {row.default.strip('`')}")["value"]
        table = _filled(place) | {row.key: shown}
        default = place.model.model_validate(_filled(place))
        assert getattr(place.model.model_validate(table), row.key) == getattr(default, row.key)


def _filled(place: Place) -> dict[str, Any]:
    """The required keys of the model, from the document."""
    assert place.model is not None
    node: Any = DOCUMENT
    for step in place.loc:
        node = node.get(step, {}) if isinstance(node, dict) else node[step]
    return {key: value for key, value in node.items() if key in keys_of(place.model)}


@pytest.mark.parametrize(
    ("heading", "row"), [pair for pair in ROWS if pair[1].mistake], ids=lambda value: getattr(value, "key", None)
)
def test_the_mistake_is_one_and_said_so(heading: str, row: Row) -> None:
    value = tomllib.loads(f"value = {row.mistake.strip('`')}")["value"]
    assert row.said in _problems(PLACES[heading], row.key, value)


def test_the_advised_rates_are_the_platforms() -> None:
    meaning = next(row.meaning for row in TABLES["`[accounts.NAME]`"] if row.key == "rate")
    told = {name.lower(): float(rate) for name, rate in re.findall(r"(Ringotel|Bird|iSlash) (\d+)", meaning)}
    plugins = {name: Plugins().get(name) for name in told}
    assert len(told) == 3
    assert told == {name: plugin.capabilities.default_rate for name, plugin in plugins.items() if plugin is not None}

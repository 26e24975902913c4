from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from syncd.config import load
from syncd.config.assembly import SECTIONS
from syncd.config.checking import keys_of
from syncd.config.sections import AccountTable, LinkTable

FILE = Path(__file__).parents[2] / "config.example.toml"
TEXT = FILE.read_text(encoding="utf-8")
DOCUMENT = tomllib.loads(TEXT)
MADE_UP = {"server": {"public_url"}}
"""Keys whose default makes no example."""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(re.findall(r'"env:(\w+)"', TEXT)):
        monkeypatch.setenv(name, f"example-secret-{number}")


def test_it_loads_and_warns_of_nothing() -> None:
    config = load(FILE, {})
    assert [link.name for link in config.topology.links] == ["support-sms", "support-whatsapp"]
    assert config.warnings == ()


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_of_a_section_is_shown_with_its_default(name: str) -> None:
    assert list(DOCUMENT[name]) == list(keys_of(SECTIONS[name]))
    shown: Any = SECTIONS[name].model_validate(DOCUMENT[name])
    default: Any = SECTIONS[name].model_validate({})
    for key in DOCUMENT[name].keys() - MADE_UP.get(name, set()):
        assert getattr(shown, key) == getattr(default, key), key


def test_every_key_of_links_and_their_ends_is_shown_with_its_default() -> None:
    config = load(FILE, {})
    assert set(DOCUMENT["links"][0]) == set(keys_of(LinkTable))
    for key, field in LinkTable.model_fields.items():
        if not field.is_required():
            assert getattr(config.topology.links[0], key) == field.default, key
    for table, ends in zip(DOCUMENT["links"], config.links, strict=True):
        for side, end in ends.items():
            assert set(table[side]) == {"account", *keys_of(type(end.settings))}


def test_every_key_of_accounts_is_shown_with_its_default() -> None:
    for name, account in load(FILE, {}).accounts.items():
        model = type(account.settings)
        assert set(DOCUMENT["accounts"][name]) == {*keys_of(AccountTable), *keys_of(model)}
        assert account.rate == account.plugin.capabilities.default_rate
        for key, field in model.model_fields.items():
            if not field.is_required() and field.default is not None:
                assert getattr(account.settings, key) == field.default, key


def test_every_key_has_a_comment_or_says_itself_what_it_is() -> None:
    plain = {
        "platform",
        "name",
        "workspace",
        "access_key",
        "base_url",
        "user_token",
        "rate",
        "channel",
        "desk",
        "region",
    }
    bare = re.findall(r"^(?!#).*\n(\w+) = ", TEXT, re.MULTILINE)
    assert set(bare) <= plain

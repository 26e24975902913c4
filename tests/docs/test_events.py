"""docs/events.md against the code: every name that is logged is told, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "events.md"
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
NAME = re.compile(r"[a-z_]+(\.[a-z_]+)+")


def told() -> dict[str, str]:
    """The page's events, and their levels."""
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len(dict(rows)), "an event is told twice"
    return dict(rows)


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the package that logs: its method, or empty where that is chosen at run time."""
    for file in (ROOT / "syncd").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            match node.func:
                case ast.Attribute(value=ast.Name(id="log" | "logger" | "_log"), attr=method) if method in LEVELS:
                    yield method, node
                case ast.Name(id="told"):
                    yield "", node


def names() -> dict[str, str]:
    """The names logged, and their levels (empty: chosen at run time). A name with a hole in it ends with `.*`."""
    found: dict[str, str] = {}
    for method, call in calls():
        match call.args[0]:
            case ast.Constant(value=str(name)):
                found[name] = LEVELS.get(method, "")
            case ast.JoinedStr(values=[ast.Constant(value=str(start)), ast.FormattedValue()]):
                found[f"{start}*"] = LEVELS.get(method, "")
            case other:
                pytest.fail(f"an event's name cannot be read from the code: {ast.unparse(other)}")
    return found


def states() -> dict[str, set[str]]:
    """What stands in the holes: the states of verdicts, and those of accounts."""
    verdicts, accounts = set(), set()
    for file in (ROOT / "syncd").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="Verdict"), args=[ast.Constant(value=str(state)), *_]):
                    verdicts.add(state)
                case ast.Assign(targets=[ast.Name(id="state")], value=ast.Constant(value=str(state))):
                    accounts.add(state)
    return {"delivery.*": verdicts, "account.*": accounts}


def test_the_code_is_read() -> None:
    assert len(names()) > 15
    assert {"sent", "ready", "dead", "unknown"} <= states()["delivery.*"]
    assert {"unauthorised", "throttled", "failing"} <= states()["account.*"]


def test_every_event_is_told_and_no_other() -> None:
    holes = states()
    logged: set[str] = set()
    for name in names():
        logged |= {name.replace("*", state) for state in holes[name]} if name in holes else {name}
    assert set(told()) == logged


def test_the_levels_are_the_codes() -> None:
    page = told()
    wrong = {name: level for name, level in names().items() if level and name in page and page[name] != level}
    assert not wrong


def test_names_are_dotted_and_lower_case() -> None:
    assert [name for name in told() if NAME.fullmatch(name) is None] == []

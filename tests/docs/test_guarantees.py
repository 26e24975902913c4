"""docs/guarantees.md against the tests: each promise has a heading, and the tests it points to name it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
PROMISES = [f"G{number}" for number in range(1, 16)]
PARTS = {part.partition(":")[0]: part for part in PAGE.split("\n## ")[1:]}
NAMED = re.compile(r"\bG(\d+)\b(?: to G(\d+)\b)?")


def named_in(file: Path) -> set[str]:
    """The promises that a test file names; `G1 to G6` names six."""
    found: set[str] = set()
    for first, last in NAMED.findall(file.read_text(encoding="utf-8")):
        found |= {f"G{number}" for number in range(int(first), int(last or first) + 1)}
    return found


def test_every_promise_has_a_heading() -> None:
    assert list(PARTS) == PROMISES
    assert re.findall(r"^\| \[(G\d+)\]", PAGE, re.MULTILINE) == PROMISES


@pytest.mark.parametrize("promise", PROMISES)
def test_the_tests_it_points_to_name_it(promise: str) -> None:
    told = PARTS[promise].partition("*Tests:*")[2]
    files = re.findall(r"`(tests/[^`]+)`", told)
    assert bool(files) != ("none names it yet" in told)
    for file in files:
        assert promise in named_in(ROOT / file), file

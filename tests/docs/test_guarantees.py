"""docs/guarantees.md against the tests: each promise has a heading, and the list of the tests that name it is right."""

from __future__ import annotations

import re

import pytest

from tests.docs.naming import PAGE, PROMISES, naming, written

TEXT = PAGE.read_text(encoding="utf-8")
NOT_IN_FORCE: set[str] = set()
"""Promises of which the page says that they are not kept yet."""


def test_every_promise_has_a_heading_and_a_row() -> None:
    assert tuple(re.findall(r"^## (G\d+):", TEXT, re.MULTILINE)) == PROMISES
    assert tuple(re.findall(r"^\| \[(G\d+)\]", TEXT, re.MULTILINE)) == PROMISES
    assert tuple(re.findall(r"<!-- tests of (G\d+) -->", TEXT)) == PROMISES


@pytest.mark.parametrize("promise", PROMISES)
def test_tests_name_it(promise: str) -> None:
    part = TEXT.partition(f"\n## {promise}:")[2].partition("\n## ")[0]
    assert ("*Not in force:*" in part) == (promise in NOT_IN_FORCE)
    assert bool(naming().get(promise)) != (promise in NOT_IN_FORCE)


def test_the_lists_are_what_the_tests_say() -> None:
    assert written(TEXT, naming()) == TEXT, "run `make docs`"

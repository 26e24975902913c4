"""docs/platforms.md against capabilities, cells and tests: the page is what they make, and each cell names a test."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from syncd.model.files import FileKind
from syncd.platforms.features import FEATURES, FILES, FROM, KINDS, PLATFORMS, TOWARDS, Grade, Way
from tests.docs.features import NAMES, PAGE, cell_of, graded, written

TESTS = Path(__file__).parents[1]
TEXT = PAGE.read_text(encoding="utf-8")
MARKS = {
    "ringotel": {"D", "O", "I", "U"},
    "bird": {"D", "O", "I", "U"},
    "islash": {"DOC", "META", "INF", "UNK"},
}
CELLS = [(way, feature, platform) for way in Way for feature in FEATURES for platform in PLATFORMS]


@cache
def functions(file: str) -> set[str]:
    """The tests in a file below `tests/`."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_page_is_what_is_generated() -> None:
    assert written(TEXT) == TEXT, "run `make docs`"
    assert TEXT.count("(D, [shown]") > 20
    assert [name for name in NAMES.values() if f"| {name} " not in TEXT] == []


def test_every_feature_is_told_both_ways() -> None:
    assert tuple(TOWARDS) == tuple(FROM) == FEATURES
    assert {FileKind(kind) for kind in KINDS} == set(FileKind)
    assert len(FILES) == len(KINDS)


@pytest.mark.parametrize(("way", "feature", "platform"), CELLS)
def test_a_cell_has_a_reason_a_mark_and_a_test(way: Way, feature: str, platform: str) -> None:
    grade, words = graded(way, feature, platform)
    cell = cell_of(way, feature, platform)
    assert grade is Grade.NATIVE or words, "say how it is degraded, or why it is impossible"
    assert cell.mark in MARKS[platform]
    file, _, function = cell.test.partition("::")
    assert function in functions(file)

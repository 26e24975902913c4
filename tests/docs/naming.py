"""Which tests name which guarantees.

`python -m tests.docs.naming` writes the lists in docs/guarantees.md, and the tables in docs/platforms.md.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.docs import features

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guarantees.md"
PROMISES = tuple(f"G{number}" for number in range(1, 16))

_NAMED = re.compile(r"\bG(\d+)\b(?: to G(\d+)\b)?")
_LIST = re.compile(r"(<!-- tests of (G\d+) -->\n).*?(<!-- end -->)", re.DOTALL)

Naming = Mapping[str, Mapping[str, list[str]]]
"""Guarantee -> file -> names of its tests, in the file's order."""


def named_in(text: str) -> set[str]:
    """The guarantees that a text names; `G1 to G6` names six."""
    found: set[str] = set()
    for first, last in _NAMED.findall(text):
        found |= {f"G{number}" for number in range(int(first), int(last or first) + 1)}
    return found


def naming() -> Naming:
    """Every test whose docstring names a guarantee; a class's or module's docstring speaks for all tests in it."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for name, said in _tests(tree, ast.get_docstring(tree) or ""):
            for promise in named_in(said):
                found[promise][str(file.relative_to(ROOT))].append(name)
    return found


def _tests(node: ast.Module | ast.ClassDef, said: str) -> Iterator[tuple[str, str]]:
    for each in node.body:
        if isinstance(each, ast.ClassDef) and each.name.startswith("Test"):
            yield from _tests(each, f"{said}\n{ast.get_docstring(each) or ''}")
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_"):
            yield each.name, f"{said}\n{ast.get_docstring(each) or ''}"


def written(page: str, found: Naming) -> str:
    """The page with its lists as the tests are now."""

    def listed(match: re.Match[str]) -> str:
        lines = [
            f"* `{file}`: {', '.join(test.removeprefix('test_').replace('_', ' ') for test in tests)}\n"
            for file, tests in found.get(match[2], {}).items()
        ]
        return match[1] + "".join(lines) + match[3]

    return _LIST.sub(listed, page)


if __name__ == "__main__":
    features.write()
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), naming()), encoding="utf-8")

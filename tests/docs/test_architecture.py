"""docs/architecture.md: one diagram, and every file that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LAYERS = ("cli", "daemon", "web", "platforms", "engine", "store", "model")


def test_there_is_one_diagram() -> None:
    assert PAGE.count("```") == 2


def test_the_files_of_each_layer_are_there() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\|(.*)\|$", PAGE, re.MULTILINE))
    assert tuple(rows) == LAYERS
    named = {f"{layer}/{file}" for layer, files in rows.items() for file in re.findall(r"`(\w+\.py)`", files)}
    assert len(named) > 60
    assert {file for file in named if not (ROOT / "syncd" / file).is_file()} == set()


def test_files_that_are_named_with_their_folder_are_there() -> None:
    named = {file.removeprefix("syncd/") for file in re.findall(r"\b(?:\w+/)+\w+\.py\b", PAGE)}
    assert len(named) > 20
    # NAME stands for any platform.
    assert {file for file in named if not (ROOT / "syncd" / file.replace("/NAME/", "/bird/")).is_file()} == set()

"""Mistakes and warnings in a config: where, and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Loc = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake or warning. Never holds a secret's text."""

    path: str
    """Dotted, e.g. `links.0.on_unknown`; empty where it concerns the file as a whole."""
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(Exception):
    """The config cannot be used: every mistake in it, at once."""

    def __init__(self, problems: Sequence[Problem], file: Path | None = None) -> None:
        super().__init__(problems, file)
        self.problems = tuple(problems)
        self.file = file
        """The file with the mistakes; None where there is no file."""

    def __str__(self) -> str:
        count = f"{len(self.problems)} mistakes" if len(self.problems) > 1 else "1 mistake"
        where = f"{self.file}: {count}" if self.file else count
        return "\n  ".join([where, *(str(problem) for problem in self.problems)])


def dotted(loc: Loc) -> str:
    """`("accounts", "office", "rate")` as `accounts.office.rate`; odd names quoted as in TOML."""
    return ".".join(str(part) if _BARE.fullmatch(str(part)) else json.dumps(part) for part in loc)


def advice(error: Any) -> str:
    """What to do about one of pydantic's error details. Leaves out the input, which may be a secret."""
    kind: str = error["type"]
    ctx: dict[str, Any] = error.get("ctx", {})
    if "error" in ctx:
        return str(ctx["error"])
    if kind in _ADVICE:
        return _ADVICE[kind].format(**ctx)
    message: str = error["msg"]
    return re.sub(r"^\w+ should ", "must ", message)


_ADVICE = {
    "missing": "is missing: add it",
    "extra_forbidden": "unknown key: remove it or correct its name",
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list: [ … ]",
    "tuple_type": "must be a list: [ … ]",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "finite_number": "must be a finite number",
}

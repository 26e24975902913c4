"""As much of PromQL as is needed to tell which metrics and labels an expression names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

FUNCTIONS = frozenset(
    "absent avg changes count delta histogram_quantile increase max min rate sum time label_values".split()  # noqa: SIM905
)
"""Those in use, and Grafana's `label_values`; another is added when it is needed."""
OF_COUNTERS = frozenset(("rate", "increase"))
_GROUPING = frozenset(("by", "without", "on", "ignoring", "group_left", "group_right"))
_WORDS = frozenset(("and", "or", "unless", "bool", "offset"))
_TOKEN = re.compile(
    r"""\s+ | (?P<text>"(?:[^"\\]|\\.)*") | (?P<number>\d[\d.]*[a-z]*) | (?P<name>[A-Za-z_:][\w:]*)
    | (?P<variable>\$\w+) | (?P<sign>[=!<>]=|[=!]~|[-+*/%^<>=(){}\[\],])""",
    re.VERBOSE,
)


class NotPromql(ValueError):
    """The expression cannot be read."""


@dataclass(slots=True)
class Named:
    """What an expression names."""

    metrics: dict[str, set[str]] = field(default_factory=dict)
    """Name of each time series -> the labels that its braces match."""
    grouped: set[str] = field(default_factory=set)
    """Labels of `by (…)` and the like."""
    counted: set[str] = field(default_factory=set)
    """Time series of which a function for counters is taken."""


def named(expression: str) -> Named:
    """What the expression names. Raises `NotPromql`."""
    found = Named()
    tokens = list(_tokens(expression))
    if sum(one in "({[" for _, one in tokens) != sum(one in ")}]" for _, one in tokens):
        raise NotPromql(f"brackets do not match: {expression}")
    metric, place = "", 0
    while place < len(tokens):
        kind, one = tokens[place]
        following = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        if one == "{":
            end = _end(tokens, place, "}")
            found.metrics[metric] |= _matched(tokens[place + 1 : end], expression)
            place = end
        elif kind == "name" and one in _GROUPING:
            end = _end(tokens, place, ")")
            found.grouped |= {label for kind, label in tokens[place + 2 : end] if kind == "name"}
            place = end
        elif kind == "name" and one not in _WORDS and _is_called(one, following):
            if one not in FUNCTIONS:
                raise NotPromql(f"no such function is known: {one}")
        elif kind == "name" and one not in _WORDS:
            metric = one
            found.metrics.setdefault(metric, set())
            before = [text for _, text in tokens[max(0, place - 2) : place]]
            if before and before[-1] == "(" and before[0] in OF_COUNTERS:
                found.counted.add(metric)
        place += 1
    return found


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(expression):
        match = _TOKEN.match(expression, place)
        if match is None:
            raise NotPromql(f"not understood: {expression[place:]}")
        place = match.end()
        if match.lastgroup is not None:
            yield match.lastgroup, match[0]


def _is_called(name: str, following: str) -> bool:
    """`sum (…)`, or `sum by (…) (…)`."""
    return following == "(" or (following in _GROUPING and name in FUNCTIONS)


def _end(tokens: list[tuple[str, str]], place: int, sign: str) -> int:
    return next(i for i in range(place, len(tokens)) if tokens[i][1] == sign)


def _matched(inside: list[tuple[str, str]], expression: str) -> set[str]:
    """The labels of `{label="…", …}`."""
    labels = set()
    for start in range(0, len(inside), 4):
        match inside[start : start + 4]:
            case [("name", label), ("sign", "=" | "!=" | "=~" | "!~"), ("text", _), *comma] if comma in (
                [],
                [("sign", ",")],
            ):
                labels.add(label)
            case _:
                raise NotPromql(f"not a matcher of labels: {expression}")
    return labels

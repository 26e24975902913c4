"""What faults cost, as figures: noted by the tests that bring them about, shown together at the end of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

PROPERTY = "figures"


@dataclass(frozen=True, slots=True)
class Figures:
    """One fault on one database. `fault` says what was done to the daemon; the rest are messages."""

    fault: str
    database: str
    offered: int
    """Messages or requests that people and platforms began to say."""
    accepted: int
    """Of these answered with 2xx."""
    refused: int
    """Of these answered otherwise, or not at all: whoever offered them knows that they were not taken."""
    lost: int
    doubled: int
    unknown: int = 0
    """Deliveries held in doubt, and listed as such (G3)."""


Note = Callable[[Figures], None]
"""Notes one line of figures for the summary."""


def table(found: Iterable[dict[str, Any]]) -> list[str]:
    """The lines of the summary, by fault and database."""
    names = list(Figures.__dataclass_fields__)
    rows = sorted(([str(one[name]) for name in names] for one in found), key=lambda row: row[:2])
    widths = [max(len(row[place]) for row in (*rows, names)) for place in range(len(names))]
    return [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (names, *rows)
    ]


def as_property(figures: Figures) -> dict[str, Any]:
    """As it travels with a test's report, also between processes."""
    return asdict(figures)

"""How the demo is told: line by line on a terminal or into a file, or as one JSON document at the end."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

READING_SECONDS = 1.1
"""Between steps, on a terminal."""
WIDEST = 96


@dataclass(slots=True)
class Step:
    """One step of the story, and what was really seen after it."""

    id: str
    what: str
    began: float
    ok: bool = False
    seconds: float = 0.0
    syncd: list[str] = field(default_factory=list)
    now: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As it stands in the JSON document."""
        result = {"ok": self.ok, "seconds": round(self.seconds, 3), "syncd": self.syncd, "now": self.now}
        return {"id": self.id, "what": self.what, "result": result}


class Telling:
    """Tells people, or keeps everything for `document`."""

    def __init__(self, *, as_json: bool) -> None:
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # texts of people have characters that not every terminal has
        self.console = Console(highlight=False, markup=False, emoji=False, quiet=as_json)
        if self.console.width > WIDEST:
            self.console.width = WIDEST
        self.live = self.console.is_terminal and not as_json
        self.steps: list[Step] = []

    @property
    def _step(self) -> Step:
        return self.steps[-1]

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[None]:
        """A step: its title before it happens, its time when it is done."""
        self.steps.append(Step(name, what, time.monotonic()))
        self.console.print()
        self.console.print(Text.assemble((f"{len(self.steps):>2}  ", "dim"), (what, "bold")))
        yield
        self._step.ok = True
        self._step.seconds = time.monotonic() - self._step.began

    def says(self, who: str, text: str) -> None:
        """Somebody wrote something."""
        self._line(who, Text(f"“{text}”", "cyan"))

    def happens(self, text: str) -> None:
        """Something befalls."""
        self._line("then", Text(text, "yellow"))

    def did(self, text: str) -> None:
        """What syncd did, as far as it was seen."""
        self._step.syncd.append(text)
        self._line("syncd", Text(text))

    def stands(self, where: str, text: str) -> None:
        """What now stands in a chat, or on a phone."""
        self._step.now[where] = text
        self._line(where, Text.assemble(("✓ ", "green"), text))

    def plain(self, text: str = "", style: str = "") -> None:
        """Words between the steps."""
        self.console.print(Text(text, style))

    def exactly(self, text: str) -> None:
        """A command or an address: never broken, so that it can be copied."""
        self.console.print(Text(text, "cyan"), soft_wrap=True)

    def fails(self, what: str, log: Path) -> None:
        """The demo did not do what it should; said on stderr, whatever is told on stdout."""
        if self.steps and not self._step.ok:
            self._step.seconds = time.monotonic() - self._step.began
            what = f"step “{self._step.id}”: {what}"
        errors = Console(stderr=True, highlight=False, markup=False, emoji=False)
        errors.print(Text.assemble(("FAILED  ", "bold red"), what), soft_wrap=True)
        errors.print(Text(f"The daemon's log and its database are kept: {log}", "dim"), soft_wrap=True)

    async def pause(self, seconds: float = READING_SECONDS) -> None:
        """Time to read, where somebody reads."""
        if self.live:
            await asyncio.sleep(seconds)

    def mapping(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The table `mapping`, one message after the other, in 80 columns."""
        table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
        for name, wide in (("message", 7), ("said", 22), ("account", 7), ("user", 4), ("sessionid", 9)):
            table.add_column(name, width=wide, no_wrap=True, overflow="ellipsis")
        table.add_column("messageid", width=9, no_wrap=True)
        table.add_column("status", width=9, no_wrap=True)
        previous = None
        for row in rows:
            first = row["message"] != previous
            previous = row["message"]
            arrow = "←" if row["direction"] == "in" else "→"
            table.add_row(
                Text(short(row["message"]) if first else "", "bold"),
                Text(f"{arrow} {row['text']}" if first else "", "cyan"),
                row["account"],
                row["extension"] or "",
                short(row["sessionid"]),
                short(row["messageid"]),
                Text(row["status"], "green" if row["origin"] else ""),
            )
        self.console.print(table)

    def document(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Everything as JSON."""
        steps = [step.as_json() for step in self.steps]
        return json.dumps({"steps": steps, "mapping": [dict(row) for row in rows]}, ensure_ascii=False, indent=2)

    def _line(self, label: str, text: Text) -> None:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=3)
        grid.add_column(width=12, style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row("", label, text)
        self.console.print(grid)


def short(identifier: str | None) -> str:
    """The end of an id: enough to tell it from the others."""
    if not identifier:
        return ""
    return identifier if len(identifier) <= 7 else f"…{identifier[-6:]}"

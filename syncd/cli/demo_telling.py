"""How the demo is told: line by line on a terminal or into a file, or as one JSON document at the end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

READING_SECONDS = 0.9
"""Between steps, on a terminal."""
WIDEST = 96
"""Longer lines are hard to read."""
PLAIN_WIDTH = 80
"""Where there is no terminal."""
_INDENT = 4
_LABEL = 16


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
        self.console = Console(highlight=False, markup=False, emoji=False, quiet=as_json)
        self.console.width = min(self.console.width, WIDEST) if self.console.is_terminal else PLAIN_WIDTH
        self.live = self.console.is_terminal and not as_json
        self.steps: list[Step] = []
        self.failure = ""

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

    def says(self, who: str, text: str = "", *, file: str = "") -> None:
        """Somebody wrote something, or sent a file."""
        words, sent = f"“{text}”" if text else "", f"[{file}]" if file else ""
        self._line(who, Text(f"{words} {sent}".strip(), "cyan"))

    def happens(self, text: str) -> None:
        """Something befalls."""
        self._line("then", Text(text, "yellow"))

    def did(self, text: str) -> None:
        """What syncd did, as far as it was seen."""
        self._step.syncd.append(text)
        self._line("syncd", Text(text))

    def stands(self, where: str, text: str, *, count: int = 1) -> None:
        """What now stands in a chat, or on a phone; `count` messages with it."""
        self._step.now[where] = text
        label = f"{where} ({count})" if count > 1 else where
        self._line(label, Text.assemble(("✓ ", "green"), text))

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
            what = f"step {self._step.id}: {what}"
        self.failure = what
        errors = Console(stderr=True, highlight=False, markup=False, emoji=False)
        errors.print(Text.assemble(("FAILED  ", "bold red"), what), soft_wrap=True)
        errors.print(Text(f"The daemon's log and its database are kept: {log}", "dim"), soft_wrap=True)

    async def pause(self) -> None:
        """Time to read, where somebody reads."""
        if self.live:
            await asyncio.sleep(READING_SECONDS)

    def mapping(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The table `mapping`, one message after the other, in 80 columns."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        columns = {"message": 10, "said": 19, "account": 8, "user": 4, "sessionid": 9, "messageid": 9, "status": 9}
        for name, width in columns.items():
            table.add_column(name, width=width, no_wrap=True, overflow="ellipsis")
        names = telling_apart([row["message"] for row in rows])
        previous = None
        for row in rows:
            first = row["message"] != previous
            previous = row["message"]
            arrow = "←" if row["direction"] == "in" else "→"
            table.add_row(
                Text(names[row["message"]] if first else "", "bold"),
                Text(f"{arrow} {row['text']}", "cyan") if first else Text("  its file" if row["part"] else "", "dim"),
                row["account"] + (" *" if row["origin"] else ""),
                row["extension"] or "",
                short(row["sessionid"]),
                short(row["messageid"]),
                row["status"],
            )
        with self.console.capture() as captured:
            self.console.print(table)
        for line in Text.from_ansi(captured.get()).split():
            line.rstrip()
            self.console.print(line, soft_wrap=True)

    def document(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Everything as JSON, with `error` where something failed."""
        found: dict[str, Any] = {"steps": [step.as_json() for step in self.steps], "mapping": [*map(dict, rows)]}
        if self.failure:
            found["error"] = self.failure
        return json.dumps(found, indent=2)

    def _line(self, label: str, text: Text) -> None:
        margin = " " * _INDENT + label.ljust(_LABEL)
        for line in text.wrap(self.console, max(20, self.console.width - len(margin)), overflow="fold"):
            line.rstrip()
            self.console.print(Text.assemble((margin, "dim"), line), soft_wrap=True)
            margin = " " * len(margin)


def telling_apart(identifiers: Sequence[str]) -> dict[str, str]:
    """Each id without what all of them begin and end with."""
    start = _alike(identifiers)
    end = _alike([one[:start:-1] for one in identifiers])
    return {one: f"…{one[start : len(one) - end]}…"[:10] for one in identifiers}


def _alike(texts: Sequence[str]) -> int:
    """How many characters all of them begin with."""
    count = 0
    for characters in zip(*texts, strict=False):
        if len(set(characters)) > 1:
            break
        count += 1
    return count


def short(identifier: str | None) -> str:
    """The end of an id: enough to tell it from the others."""
    if not identifier:
        return ""
    return identifier if len(identifier) <= 7 else f"…{identifier[-6:]}"

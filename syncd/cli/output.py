"""What a command says: one JSON document or lines for people on standard output, diagnostics on standard error."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

Document = dict[str, Any]


class Output:
    """One command's outputs. No secret passes (G12), once `hide` was told of them."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.debug = False
        """Whether an unforeseen fault shows its traceback."""
        self.teller: Callable[[str], None] | None = None
        """Takes diagnostics in place of plain lines on standard error."""
        self._redact: Callable[[str], str] = str
        self._documents = 0

    def hide(self, secrets: Iterable[str]) -> None:
        """Show `[secret]` in place of these from now on."""
        from syncd.redaction import Redactor

        self._redact = Redactor(secrets).redact

    def show(self, document: Document, render: Callable[[Document], None], *, whole: Sequence[str] = ()) -> None:
        """The result: the document itself with `--json`, else what `render` makes of it.

        Values of the keys in `whole` may hold secrets.
        """
        clean = self._clean(document, whole)
        if self.as_json:
            self._document(clean)
        else:
            render(clean)

    def failed(self, message: str) -> None:
        """With `--json`, the document of a command that has no result."""
        self._problem({"error": self._redact(message)})

    def refused(self, problems: Sequence[tuple[str, str]]) -> None:
        """With `--json`, the document of a config with mistakes: (dotted path, what to do)."""
        rows = [{"id": path, "message": self._redact(message)} for path, message in problems]
        self._problem({"problems": rows})

    def tell(self, message: str) -> None:
        """One diagnostic line."""
        line = self._redact(" ".join(message.split()))
        if self.teller is not None:
            self.teller(line)
        else:
            _write(sys.stderr, f"{printable(line)}\n")

    def trace(self) -> None:
        """The traceback of the exception in hand, where it is wanted."""
        if self.debug:
            _write(sys.stderr, self._redact(traceback.format_exc()))

    def write(self, text: str) -> None:
        """Text for people. A reader that has gone is no fault."""
        _write(sys.stdout, text)

    def line(self, text: str = "") -> None:
        """One line for people, as long as it is."""
        self.write(f"{printable(text)}\n")

    def table(self, title: str, columns: Mapping[str, str], rows: Sequence[Document], *, empty: str) -> None:
        """Rows for people; `columns` are keys and their headings. As wide as the terminal, or 80 columns."""
        from rich.table import Table

        self.line()
        self.line(title)
        if not rows:
            self.line(f"  {empty}")
            return
        table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=True, header_style="bold")
        for heading in columns.values():
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*(printable(_cell(row[key])) for key in columns))
        console = _console()
        with console.capture() as captured:
            console.print(table)
        self.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))

    def _problem(self, document: Document) -> None:
        if self.as_json and not self._documents:
            self._document(document)

    def _document(self, document: Document) -> None:
        self._documents += 1
        self.write(json.dumps(document, indent=2) + "\n")

    def _clean(self, value: Any, whole: Sequence[str]) -> Any:
        if isinstance(value, str):
            return self._redact(value)
        if isinstance(value, dict):
            return {key: item if key in whole else self._clean(item, whole) for key, item in value.items()}
        if isinstance(value, list):
            return [self._clean(item, whole) for item in value]
        return value


def open_streams() -> None:
    """Make sure that there are standard streams, and that no character can break them.

    Where one was closed, the next file opened would take its number, and a stray line could end up in a database.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def rfc3339(stamp: datetime | None) -> str | None:
    """A UTC time as text."""
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z") if stamp is not None else None


def printable(text: str) -> str:
    """Text with everything escaped that could steer a terminal: contacts' addresses are other people's words."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _console() -> Console:
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(
        file=sys.stdout,
        force_terminal=terminal,
        color_system="auto" if terminal else None,
        width=None if terminal else 80,
        markup=False,
        highlight=False,
        emoji=False,
    )


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        # What is left in the buffer must not fail once more at the end of the process.
        with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            raise

"""Logging: one line an event, no secret in any of them, and no value that can pass for a line of its own (G12).

Events are stable dotted names with bound ids: `log.get().info("delivery.sent", delivery="…")`. Lines are JSON objects
(RFC 3339 UTC `ts`, `level`, `event`, then the values) or, on a terminal, text. Other libraries' lines come out the same
way, with the library's name as `event` and its words as `message`.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import math
import re
import sys
import threading
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO, cast

import msgspec
import structlog

from syncd.redaction import Redactor

Event = MutableMapping[str, Any]

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_DEPTH = 8
_PLAIN: Final = frozenset({str, int, bool, type(None)})
_NOT_PLAIN: Final = frozenset({"ts", "level", "exc_info", "stack_info"})
_LEVEL_OF: Final = {"warn": "warning", "exception": "error"}
KEPT_SECONDS: Final = 0.05
"""How long a line below `warning` may be kept before it is written."""
_QUIET = ("sqlalchemy", "alembic", "asyncio", "aiohttp.access")
"""Libraries whose finer lines hold rows, paths or nothing of use."""

_MOST_BITS: Final = 4096
"""Of a number. Much longer ones Python refuses to write out."""
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_RESET = "\x1b[0m"


def configure(
    format: Literal["auto", "json", "console"] = "auto",  # noqa: A002 - the key's name in the config
    level: Literal["debug", "info", "warning", "error"] = "info",
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
    *,
    bodies: bool = False,
) -> None:
    """Set up logging for the whole process, the standard library's too. May be called again.

    `auto` is console on a terminal. `secrets` are replaced by `[secret]` wherever they stand, also URL-quoted or in
    base64. Without `bodies`, keys called `text` are left out at any depth. `stream` is standard error by default.
    Loggers keep the level that was in force when they were first used.
    """
    _sink.stream = stream if stream is not None else sys.stderr
    terminal = _sink.stream.isatty()
    console = format == "console" or (format == "auto" and terminal)
    redactor = Redactor(secrets)
    ending: list[Any] = [_JsonLine(redactor, bodies=bodies)]
    if console:
        cleaner = _Cleaner(redactor, bodies=bodies)
        ending = [_stamp, structlog.processors.format_exc_info, cleaner, _Console(colours=terminal)]
    # Loggers that are in use hold this very list.
    _chain[:] = ending
    structlog.configure(
        processors=_chain,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _sink,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [*(handler for handler in root.handlers if not isinstance(handler, _Bridge)), _Bridge()]
    root.setLevel(_LEVELS[level])
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(_LEVELS[level], logging.WARNING))
    logging.captureWarnings(True)


def get(**bound: Any) -> structlog.typing.FilteringBoundLogger:
    """A logger with ids bound to it. Fit for a module's top: it waits for `configure` until it is first used."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(**bound))


class _Sink:
    """Whole lines to one stream. Losing a line is better than losing the daemon.

    Inside an event loop, lines below `warning` are written together, a twentieth of a second later at most: a write a
    line costs the daemon more than all else that it does for a message. Anything graver is written at once.
    """

    def __init__(self) -> None:
        self.stream: TextIO = sys.stderr
        self._lock = threading.Lock()
        self._kept: list[str] = []
        self._scheduled = False

    def write(self, line: str) -> None:
        with self._lock:
            self._kept.append(line)
        self.flush()

    def flush(self) -> None:
        try:
            with self._lock:
                lines, self._kept = self._kept, []
                self._scheduled = False
                if lines:
                    self.stream.write("\n".join(lines) + "\n")
                self.stream.flush()
        except (OSError, ValueError):
            pass

    def keep(self, line: str) -> None:
        loop = asyncio._get_running_loop()
        if loop is None:
            self.write(line)
            return
        with self._lock:
            self._kept.append(line)
            if self._scheduled:
                return
            self._scheduled = True
        loop.call_later(KEPT_SECONDS, self.flush)

    debug = info = msg = log = keep
    warning = warn = error = critical = fatal = write


_sink: Final = _Sink()
atexit.register(_sink.flush)
_chain: Final[list[Any]] = []


class _Bridge(logging.Handler):
    """Lines of other libraries through our processors."""

    def emit(self, record: logging.LogRecord) -> None:
        # The standard library prints what it cannot log, as it is: with secrets, and line breaks.
        with suppress(Exception):
            event: Event = {"event": record.name, "message": _message(record)}
            if record.exc_info:
                event["exc_info"] = record.exc_info
            method = record.levelname.lower()
            for processor in _chain:
                event = processor(None, method, event)
            _sink.write(cast("str", event))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:
        return f"<a message that cannot be put together: {type(error).__name__}>"


def _stamp(_logger: Any, method: str, event: Event) -> Event:
    """Time, level and name first, and not to be forged by a value of the same key."""
    level = _LEVEL_OF.get(method, method)
    return {"ts": _now(), "level": level, "event": event.pop("event", ""), **_without(event, ("ts", "level"))}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def _without(event: Event, keys: tuple[str, ...]) -> Event:
    return {f"{key}_" if key in keys else key: value for key, value in event.items()}


class _JsonLine:
    """The one processor for JSON: an event whose values are plain and hold no secret takes the short way."""

    def __init__(self, redactor: Redactor, *, bodies: bool) -> None:
        self._stands_in = redactor.stands_in
        self._clean = _Cleaner(redactor, bodies=bodies)
        self._bodies = bodies

    def __call__(self, logger: Any, method: str, event: Event) -> str:
        kinds = set(map(type, event.values()))
        if kinds <= _PLAIN and event.keys().isdisjoint(_NOT_PLAIN) and (self._bodies or "text" not in event):
            told = {"ts": _now(), "level": _LEVEL_OF.get(method, method), "event": event.pop("event", ""), **event}
            try:
                line = msgspec.json.encode(told).decode()
            except ValueError:  # half a character, or a number without end
                line = ""
            # ASCII escapes keep U+2028, U+0085 and their like from breaking a line in a viewer; DEL is ASCII.
            if line and line.isascii() and "\x7f" not in line and not self._stands_in(line):
                return line
            event["event"] = told["event"]
        stamped = structlog.processors.format_exc_info(logger, method, _stamp(logger, method, event))
        return _render_json(logger, method, self._clean(logger, method, stamped))


class _Cleaner:
    """Makes every value plain data without secrets."""

    def __init__(self, redactor: Redactor, *, bodies: bool) -> None:
        self._redact = redactor.redact
        self._bodies = bodies

    def __call__(self, _logger: Any, _method: str, event: Event) -> Event:
        return cast("Event", self._clean(event, 0))

    def _clean(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._redact(str(value))
        if value is None or (isinstance(value, int) and value.bit_length() <= _MOST_BITS):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if depth < _DEPTH:
            if isinstance(value, Mapping):
                return {
                    self._redact(_words(key)): self._clean(item, depth + 1)
                    for key, item in value.items()
                    if self._bodies or key != "text"
                }
            if isinstance(value, list | tuple | set | frozenset):
                return [self._clean(item, depth + 1) for item in value]
        return self._redact(_words(value))


def _words(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"


def _render_json(_logger: Any, _method: str, event: Event) -> str:
    return json.dumps(event, separators=(",", ":"))


def _escape(text: str) -> str:
    """Text in which nothing steers a terminal: no controls, line breaks, changes of direction, or what is not seen."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class _Console:
    """`12:00:00.000 info  delivery.sent  delivery=…`; a traceback follows, every line of it behind a bar."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _logger: Any, _method: str, event: Event) -> str:
        stamp, level, name = event.pop("ts"), event.pop("level"), _escape(str(event.pop("event")))
        trace = event.pop("exception", None)
        shown = f"{level:<8}"
        if self._colours:
            shown = f"{_COLOURS.get(level, '')}{shown}{_RESET}"
        line = " ".join([stamp, shown, name, *(f"{_shown(key)}={_shown(value)}" for key, value in event.items())])
        if trace is not None:
            line += "".join(f"\n  | {_escape(part)}" for part in str(trace).split("\n"))
        return line


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if text == "" or (isinstance(value, str) and re.search(r'[\s"=]', text)):
        text = json.dumps(text, ensure_ascii=False)
    return _escape(text)

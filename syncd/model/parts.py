"""One message as its target can take it: pieces, each one send. What the target lacks becomes words (design §10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import regex

from syncd.model.capabilities import Capabilities
from syncd.model.files import FileKind

_QUOTED = 80
"""Characters of a message that is answered to which are repeated."""
_SPACE = regex.compile(r"\s++(?!\p{M})")
"""Space that carries no accent."""
_GRAPHEME = regex.compile(r"\X")


@dataclass(frozen=True, slots=True)
class Piece:
    """What one send carries."""

    text: str
    file: int | None = None
    """Place of the file among the message's."""


@dataclass(frozen=True, slots=True)
class KeptFile:
    """What is known of a file of a message, and whether syncd has it."""

    place: int
    kind: FileKind
    name: str
    content_type: str | None
    size: int | None
    state: str
    """`wanted`, `kept` or `missing`."""
    reason: str
    """Why it is missing."""
    token: str
    hash: str | None


def pieces(text: str, kinds: Sequence[FileKind], able: Capabilities) -> tuple[Piece, ...]:
    """A message for a platform: never empty. It depends on nothing that changes, so a piece keeps its number."""
    if not kinds and len(text) <= able.max_text:
        return (Piece(text),)
    if kinds and kinds[0] in able.captions and len(text) <= able.max_caption:
        return tuple(Piece(text if place == 0 else "", place) for place in range(len(kinds)))
    said = [Piece(chunk) for chunk in split(text, able.max_text)] if text or not kinds else []
    return (*said, *(Piece("", place) for place in range(len(kinds))))


def split(text: str, limit: int) -> list[str]:
    """The text in chunks of at most `limit` characters: at the ends of lines or words, never within what is one
    character to people (UAX #29). What separates two chunks is left out.
    """
    chunks = []
    while len(text) > limit:
        end = _end_of_words(text, limit) or _end_of_graphemes(text, limit)
        if chunk := text[:end].rstrip():
            chunks.append(chunk)
        left = _SPACE.match(text, end)
        text = text[left.end() if left else end :]
    return [*chunks, text] if text or not chunks else chunks


def _end_of_words(text: str, limit: int) -> int:
    """Where the last line that is long enough ends, or else the last word; 0 where there is one endless word."""
    lines = text.rfind("\n", limit // 2, limit + 1)
    if lines > 0:
        return lines
    spaces = [found.start() for found in _SPACE.finditer(text, max(0, limit - 200), limit + 1)]
    return spaces[-1] if spaces else 0


def _end_of_graphemes(text: str, limit: int) -> int:
    # Far enough back to begin at a boundary: no grapheme that people use is that long.
    start = max(0, limit - 200)
    ends = [found.end() for found in _GRAPHEME.finditer(text, start, min(len(text), limit + 200))]
    fitting = [end for end in ends if end <= limit]
    return fitting[-1] if fitting and (start == 0 or len(fitting) > 1) else limit


def refusal(file: KeptFile, able: Capabilities) -> str:
    """Why a file cannot be sent to a platform, for people; empty where it can."""
    if file.state != "kept":
        return file.reason or "not available"
    most = able.files.get(file.kind)
    if most is None:
        return "cannot be shown there"
    if file.size is not None and file.size > most:
        return f"larger than {_size(most)}"
    types = able.types.get(file.kind)
    kind = file.content_type or ""
    if types is not None and not any(kind == one or (one.endswith("/") and kind.startswith(one)) for one in types):
        return "cannot be shown there"
    return ""


def in_words(file: KeptFile, reason: str, caption: str = "") -> str:
    """The line that stands for a file that does not get through, and the text that came with it."""
    name = f" {file.name}" if file.name else ""
    size = f", {_size(file.size)}" if file.size is not None else ""
    line = f"[{file.kind}{name}{size}: {reason}]"
    return f"{line}\n{caption}" if caption else line


def with_quote(text: str, quote: str) -> str:
    """The text under a line that says what it answers to."""
    return f"> {quote}\n{text}" if quote else text


def quote_of(text: str) -> str:
    """The first words of a message that is answered to, on one line."""
    line = " ".join(text.split())
    if len(line) <= _QUOTED:
        return line
    return f"{line[: _end_of_graphemes(line, _QUOTED - 1)].rstrip()}…"


def _size(size: int) -> str:
    if size < 1000:
        return f"{size} B"
    if size < 999_500:
        return f"{size / 1000:.0f} kB"
    return f"{size / 1_000_000:.1f} MB".replace(".0 MB", " MB")

"""Names of files that strangers gave: fit for a header, for a path, and for people."""

from __future__ import annotations

import re
import unicodedata
from mimetypes import MimeTypes
from typing import Final

from syncd.model.files import FileKind

LONGEST: Final = 120
"""Characters."""
_LONGEST_ENDING: Final = 10
_JOINERS: Final = frozenset("\u200c\u200d")
"""They join letters (Persian, Indic scripts) and emoji; without them a name would be another."""
_SEPARATORS = re.compile(r"[/\\]")
_SPACE = re.compile(r"\s+")
_HAS_ENDING = re.compile(r".+\.[a-z0-9]{1,10}", re.ASCII | re.IGNORECASE)
_ENDINGS: Final = {
    "application/rtf": ".rtf",
    "application/vnd.oasis.opendocument.presentation": ".odp",
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
    "application/vnd.oasis.opendocument.text": ".odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "audio/aac": ".aac",
    "audio/amr": ".amr",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "audio/webm": ".weba",
    "image/avif": ".avif",
    "image/heic": ".heic",
    "image/heif": ".heif",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "text/calendar": ".ics",
    "text/vcard": ".vcf",
    "video/3gpp": ".3gp",
    "video/mp4": ".mp4",
    "video/ogg": ".ogv",
    "video/x-matroska": ".mkv",
}
"""Of what people send: what Python's own table lacks, or calls by an ending that they do not know."""
_OTHERS: Final = MimeTypes()


def plain_name(given: str) -> str:
    """The last part of a name, without controls, what turns the direction of text, and halves of characters.

    At most `LONGEST` characters, its ending kept. Empty where nothing is left.
    """
    last = _SPACE.sub(" ", _SEPARATORS.split(unicodedata.normalize("NFC", given))[-1])
    plain = "".join(char for char in last if char.isprintable() or char in _JOINERS).strip(". ")
    stem, dot, ending = plain.rpartition(".")
    if dot and len(ending) <= _LONGEST_ENDING:
        return f"{stem[: LONGEST - len(ending) - 1]}.{ending}"
    return plain[:LONGEST].rstrip(". ")


def name_of(given: tuple[str | None, ...], kind: FileKind, content_type: str) -> str:
    """The first name of those given of which something is left, else what the file is to people; never empty.

    It has an ending, where the type has one.
    """
    name = next(filter(None, (plain_name(one or "") for one in given)), kind.value)
    if _HAS_ENDING.fullmatch(name):
        return name
    ending = _ENDINGS.get(content_type) or _OTHERS.guess_extension(content_type) or ""
    return name[: LONGEST - len(ending)] + ending if ending != ".bin" else name

"""A file in a webhook: Ringotel tells no more of it than an address (page §5.3)."""

from __future__ import annotations

import re
from mimetypes import MimeTypes
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote

from syncd.model.files import Attachment, FileKind
from syncd.platforms.fetch import LONGEST_NAME
from syncd.platforms.urls import target_of

_LONGEST_ENDING: Final = 10
_KINDS: Final = {"image": FileKind.IMAGE, "audio": FileKind.AUDIO, "video": FileKind.VIDEO}
_MORE: Final = {
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": (".pptx",),
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": (".xlsx",),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": (".docx",),
    "audio/amr": (".amr",),
    "audio/flac": (".flac",),
    "audio/mp4": (".m4a",),
    "audio/ogg": (".oga", ".ogg", ".opus"),
    "audio/webm": (".weba",),
    "image/webp": (".webp",),
    "text/calendar": (".ics",),
    "text/vcard": (".vcf",),
    "video/3gpp": (".3gp",),
    "video/mp4": (".m4v",),
    "video/x-matroska": (".mkv",),
}
"""What phones send, and Python's own table lacks or reads otherwise."""


def _table() -> MimeTypes:
    # Without the system's table, which would make one event mean different things on different machines.
    table = MimeTypes()
    for content_type, endings in _MORE.items():
        for ending in endings:
            table.add_type(content_type, ending)
    return table


_TYPES: Final = _table()


def attachment(content: Any) -> Attachment:
    """The file that `content` stands for; without `url` where it is no http(s) address, as an inline form would be."""
    url = content.strip() if isinstance(content, str) else ""
    try:
        path = target_of(url).url.raw_path
    except ValueError:
        return Attachment(FileKind.FILE, None)
    name = _name(path)
    content_type = _content_type(name or "")
    kind = _KINDS.get((content_type or "").partition("/")[0], FileKind.FILE)
    return Attachment(kind, url, content_type, name)


def _name(path: str) -> str | None:
    """The last segment, decoded; what it escapes can be no slash, control or end of a line any more."""
    last = re.split(r"[/\\]", unquote(path.rpartition("/")[2], errors="replace"))[-1]
    plain = "".join(char for char in last if char.isprintable()).strip(". ")
    stem, dot, ending = plain.rpartition(".")
    if dot and len(ending) <= _LONGEST_ENDING:
        return f"{stem[: LONGEST_NAME - len(ending) - 1]}.{ending}"
    return plain[:LONGEST_NAME] or None


def _content_type(name: str) -> str | None:
    # Only the endings: a whole name could be read as a URL, `data:` among them.
    guessed, packing = _TYPES.guess_type("x" + "".join(PurePosixPath(name).suffixes[-2:]))
    return guessed if packing is None else None

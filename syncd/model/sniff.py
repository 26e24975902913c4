"""What a file is: by its first bytes where they tell, and never something that a browser would run."""

from __future__ import annotations

import re
from typing import Final

UNKNOWN: Final = "application/octet-stream"
HEAD: Final = 1024
"""So many first bytes are enough."""

_OPEN_XML = "application/vnd.openxmlformats-officedocument"
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument"
_ENDINGS: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "heic": "image/heic",
    "pdf": "application/pdf",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "amr": "audio/amr",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "wav": "audio/wav",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "3gp": "video/3gpp",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "zip": "application/zip",
    "doc": "application/msword",
    "xls": "application/vnd.ms-excel",
    "ppt": "application/vnd.ms-powerpoint",
    "docx": f"{_OPEN_XML}.wordprocessingml.document",
    "xlsx": f"{_OPEN_XML}.spreadsheetml.sheet",
    "pptx": f"{_OPEN_XML}.presentationml.presentation",
    "odt": f"{_OPEN_DOCUMENT}.text",
    "ods": f"{_OPEN_DOCUMENT}.spreadsheet",
    "odp": f"{_OPEN_DOCUMENT}.presentation",
    "txt": "text/plain",
    "csv": "text/csv",
    "vcf": "text/vcard",
    "ics": "text/calendar",
    "rtf": "application/rtf",
}
_SAME: Final = {
    "image/jpg": "image/jpeg",
    "audio/mp3": "audio/mpeg",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "audio/opus": "audio/ogg",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "application/x-zip-compressed": "application/zip",
}
_ZIPPED = ("application/zip", *(_ENDINGS[ending] for ending in ("docx", "xlsx", "pptx", "odt", "ods", "odp")))
_OLE = ("application/x-ole-storage", *(_ENDINGS[ending] for ending in ("doc", "xls", "ppt")))

_MAGIC: Final = tuple(
    (re.compile(pattern, re.DOTALL), kinds)
    for pattern, kinds in (
        (rb"\x89PNG\r\n\x1a\n", ("image/png",)),
        (rb"\xff\xd8\xff", ("image/jpeg",)),
        (rb"GIF8[79]a", ("image/gif",)),
        (rb"RIFF.{4}WEBP", ("image/webp",)),
        (rb"RIFF.{4}WAVE", ("audio/wav",)),
        (rb"\s{0,16}%PDF-", ("application/pdf",)),
        (rb"OggS.{0,80}\x80theora", ("video/ogg",)),
        (rb"OggS", ("audio/ogg",)),
        (rb"#!AMR", ("audio/amr",)),
        (rb".{4}ftyp3g", ("video/3gpp", "audio/3gpp")),
        (rb".{4}ftypqt", ("video/quicktime",)),
        (rb".{4}ftypM4[AB]", ("audio/mp4",)),
        (rb".{4}ftyp(hei|hev|mif|msf)", ("image/heic", "image/heif")),
        (rb".{4}ftypavi", ("image/avif",)),
        (rb".{4}ftyp", ("video/mp4", "audio/mp4")),
        (rb".{4}(moov|mdat|wide)", ("video/quicktime", "video/mp4", "audio/mp4")),
        (rb"\x1a\x45\xdf\xa3.{0,60}webm", ("video/webm", "audio/webm")),
        (rb"\x1a\x45\xdf\xa3", ("video/x-matroska", "audio/x-matroska")),
        (rb"PK(\x03\x04|\x05\x06)", _ZIPPED),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLE),
        (rb"ID3|\xff[\xfa\xfb\xf2\xf3][^\xf0-\xff]", ("audio/mpeg",)),
        (rb"\xff[\xf1\xf9]", ("audio/aac",)),
    )
)
"""First bytes, and what a file that begins so may be: usually the first."""

# Frames without a head: such a file may begin with anything.
_HEADLESS = {"audio/mpeg", "audio/aac"}
_ALWAYS_SHOWN = frozenset(kind for _, kinds in _MAGIC for kind in kinds) - _HEADLESS
_MARKUP = re.compile(rb"\s*<[a-z!?/]", re.IGNORECASE)
_WELL_FORMED = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,99}", re.ASCII)
_RUN_OR_EMPTY = re.compile(r"html|svg|script|flash|[/+]xml|/xsl|multipart/|message/|octet-stream|download")


def content_type(head: bytes, declared: str | None, name: str | None) -> str:
    """The content type of a file whose first `HEAD` bytes are `head`, without parameters, lower case.

    The bytes are believed first; then what was declared, then the name's ending, unless the bytes belie them. What a
    browser would run (HTML, SVG, XML, scripts) is `UNKNOWN`, and so is whatever claims to be something else.
    """
    told = [kind for kind in (_declared(declared), _ending(name)) if kind is not None]
    for pattern, kinds in _MAGIC:
        if pattern.match(head):
            return next((kind for kind in told if kind in kinds), kinds[0])
    # UTF-16 is looked at as if it were ASCII.
    if _MARKUP.match(head.lstrip(b"\xef\xbb\xbf\xfe\xff").replace(b"\0", b"")):
        return UNKNOWN
    return next((kind for kind in told if kind not in _ALWAYS_SHOWN), UNKNOWN)


def _declared(text: str | None) -> str | None:
    kind = (text or "").partition(";")[0].strip().lower()
    kind = _SAME.get(kind, kind)
    return kind if _WELL_FORMED.fullmatch(kind) and not _RUN_OR_EMPTY.search(kind) else None


def _ending(name: str | None) -> str | None:
    return _ENDINGS.get((name or "").rpartition(".")[2].lower())

"""Message bodies as text and files (page §3, §4.1).

What is neither becomes a placeholder that names it; nothing is dropped.
"""

from __future__ import annotations

import html
import mimetypes
import re
from dataclasses import dataclass
from typing import Any, Final

from syncd.model.files import Attachment, FileKind
from syncd.platforms.bird.wire import text
from syncd.platforms.urls import target_of

MOST_FILES: Final = 100
"""Files of one message that are carried; each makes a delivery for every target (G9)."""

_MAX_DEPTH = 3
_SILENT = ("script", "style", "head", "title")
_BREAKS = {"br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote"}
_TAG_NAME = re.compile(r"/?([a-zA-Z][a-zA-Z0-9]*)")
_CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,99}")
_KINDS = {"audio": FileKind.AUDIO, "video": FileKind.VIDEO, "image": FileKind.IMAGE}
_ENDINGS = mimetypes.MimeTypes()
"""What the endings of file names mean, the same on every machine."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a message holds; at least one of the two."""

    text: str
    files: tuple[Attachment, ...] = ()


def content(body: Any, template: Any = None) -> Content:
    """The text and the files of a message's `body`; a placeholder in place of what is neither."""
    if not isinstance(body, dict):
        return Content("[template]" if isinstance(template, dict) and template else "[no content]")
    words, files = _rendered(body, 0)
    if len(files) > MOST_FILES:
        words = "\n".join(part for part in (words, f"[{len(files) - MOST_FILES} more files]") if part)
    return Content(words, tuple(files[:MOST_FILES]))


def _rendered(body: dict[str, Any], depth: int) -> tuple[str, list[Attachment]]:
    kind = text(body.get("type")) or "no content"
    found = body.get(kind)
    part: dict[str, Any] = found if isinstance(found, dict) else {}
    if kind == "section" and depth < _MAX_DEPTH:
        return _section(part, depth)
    words = text(part.get("text")) or ""
    files = _files(kind, part)
    if kind == "html":
        words = words or html_text(text(part.get("html")) or "")
    if files or (words and kind in ("text", "html")):
        return words, files
    label = _location(part) if kind == "location" else f"[{_plain(kind)}]"
    return f"{label} {words}" if words else label, files


def _section(part: dict[str, Any], depth: int) -> tuple[str, list[Attachment]]:
    items = [_rendered(item, depth + 1) for item in _dicts(part.get("items"))]
    words = "\n".join(said for said, _ in items if said)
    files = [file for _, found in items for file in found]
    return words if words or files else "[section]", files


def _files(kind: str, part: dict[str, Any]) -> list[Attachment]:
    match kind:
        case "image":
            # Its items have no content type (page §15.17).
            return [_attachment(item, FileKind.IMAGE) for item in _dicts(part.get("images"))]
        case "gif":
            return [_attachment(part, FileKind.IMAGE)] if part else []
        case "file":
            return [
                _attachment(item, FileKind.STICKER if _content_type(item) == "image/webp" else _kind(item))
                for item in _dicts(part.get("files"))
            ]
        case "text" | "html":
            return [_attachment(item, _kind(item)) for item in _dicts(part.get("attachments"))]
    return []


def _attachment(item: dict[str, Any], kind: FileKind) -> Attachment:
    name = _plain(text(item.get("filename")) or text(item.get("altText")) or "")
    return Attachment(kind, url=_url(item), content_type=_content_type(item), name=name or None)


def _kind(item: dict[str, Any]) -> FileKind:
    """By the content type; the attachments of a mail tell only a name."""
    kind = _content_type(item) or _ENDINGS.guess_type(_plain(text(item.get("filename")) or ""), strict=False)[0] or ""
    if kind == "audio/ogg":
        return FileKind.VOICE
    return _KINDS.get(kind.partition("/")[0], FileKind.FILE)


def _content_type(item: dict[str, Any]) -> str | None:
    """Without parameters, such as `; codecs=opus`."""
    kind = (text(item.get("contentType")) or "").partition(";")[0].strip().lower()
    return kind if _CONTENT_TYPE.fullmatch(kind) else None


def _url(item: dict[str, Any]) -> str | None:
    url = text(item.get("mediaUrl"))
    if url is None:
        return None
    try:
        target_of(url)
    except ValueError:
        return None
    return url


def _location(part: dict[str, Any]) -> str:
    coordinates, place = part.get("coordinates"), part.get("location")
    words = ["location"]
    if isinstance(coordinates, dict):
        words.append(f"{coordinates.get('latitude')},{coordinates.get('longitude')}")
    if isinstance(place, dict):
        words.append(text(place.get("label")) or text(place.get("address")) or "")
    return f"[{_plain(' '.join(words).strip())}]"


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _plain(words: str) -> str:
    """One short line, for a name or the inside of a placeholder."""
    return " ".join(words.split())[:200]


def html_text(markup: str) -> str:
    """The words of an HTML mail. One pass in linear time: the markup is a stranger's."""
    words: list[str] = []
    at = 0
    lowered = markup.lower()
    while (opened := markup.find("<", at)) >= 0:
        words.append(markup[at:opened].replace("\n", " "))
        comment = markup.startswith("<!--", opened)
        closed = markup.find("-->" if comment else ">", opened)
        if closed < 0:
            at = len(markup)
            break
        at = closed + (3 if comment else 1)
        match = _TAG_NAME.match(lowered, opened + 1)
        name = match[1] if match else ""
        if name in _BREAKS:
            words.append("\n")
        if name in _SILENT and lowered[opened + 1] != "/":
            end = lowered.find(f"</{name}", at)
            at = end if end >= 0 else len(markup)
    words.append(markup[at:].replace("\n", " "))
    lines = (" ".join(line.split()) for line in html.unescape("".join(words)).split("\n"))
    return "\n".join(line for line in lines if line)

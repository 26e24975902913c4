"""Message bodies as text (page §3, §4.1). What is not text becomes a placeholder that names it; nothing is dropped."""

from __future__ import annotations

import html
import re
from typing import Any

from syncd.platforms.bird.wire import text

_MAX_DEPTH = 3
_SILENT = ("script", "style", "head", "title")
_BREAKS = {"br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote"}
_TAG_NAME = re.compile(r"/?([a-zA-Z][a-zA-Z0-9]*)")


def body_text(body: Any, template: Any = None) -> str:
    """The text of a message's `body`, or a placeholder; never empty."""
    if not isinstance(body, dict):
        return "[template]" if isinstance(template, dict) and template else "[no content]"
    return _rendered(body, 0)


def _rendered(body: dict[str, Any], depth: int) -> str:
    kind = text(body.get("type")) or "no content"
    found = body.get(kind)
    part: dict[str, Any] = found if isinstance(found, dict) else {}
    if kind == "section" and depth < _MAX_DEPTH:
        return "\n".join(_rendered(item, depth + 1) for item in _dicts(part.get("items"))) or "[section]"
    if kind in ("text", "html"):
        words = text(part.get("text")) or (html_text(text(part.get("html")) or "") if kind == "html" else "")
        lines = [words] if words else []
        lines += [_file(item) for item in _dicts(part.get("attachments"))]
        return "\n".join(lines) or f"[{kind}]"
    label = _label(kind, part)
    caption = text(part.get("text"))
    return f"{label} {caption}" if caption else label


def _label(kind: str, part: dict[str, Any]) -> str:
    if kind == "image":
        count = len(_dicts(part.get("images")))
        return f"[{count} images]" if count > 1 else "[image]"
    if kind == "file":
        return " ".join(_file(item) for item in _dicts(part.get("files"))) or "[file]"
    if kind == "location":
        return _location(part)
    return f"[{_plain(kind)}]"


def _file(item: dict[str, Any]) -> str:
    name = text(item.get("filename"))
    if name:
        return f"[file {_plain(name)}]"
    family, _, subtype = (text(item.get("contentType")) or "").partition(";")[0].strip().lower().partition("/")
    if family == "image" and subtype == "webp":
        return "[sticker]"
    return f"[{family}]" if family in ("audio", "video", "image") else "[file]"


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
    """One short line, for the inside of a placeholder."""
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

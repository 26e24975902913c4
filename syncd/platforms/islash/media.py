"""Files in iSlash's webhooks, as attachments.

WhatsApp's come with id, type and hash, and an address only where an installation adds one (§7.2, A8); Messenger's with
an address and nothing else (§7.4).
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any
from urllib.parse import quote

from syncd.model.files import Attachment, FileKind
from syncd.model.text import storable
from syncd.platforms.islash import wire

WHATSAPP = {
    "image": FileKind.IMAGE,
    "video": FileKind.VIDEO,
    "audio": FileKind.AUDIO,
    "voice": FileKind.VOICE,
    "document": FileKind.FILE,
    "sticker": FileKind.STICKER,
}
"""WhatsApp's types of messages that are files."""

_MESSENGER = {
    "image": FileKind.IMAGE,
    "video": FileKind.VIDEO,
    "audio": FileKind.AUDIO,
    "file": FileKind.FILE,
    "sticker": FileKind.STICKER,
}
_PLACES = ("link", "url", "media_url", "file")
_ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
_LONGEST_ADDRESS = 8_000
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_SHA256_BYTES = 32


def whatsapp(kind: str, item: dict[str, Any], template: str | None) -> Attachment:
    """The file of a message of a type in `WHATSAPP`. `template`: where it is, by its id, if no address is told."""
    fields = wire.members(item.get(kind))
    places = (fields.get(place) for place in _PLACES), (item.get(place) for place in _PLACES)
    told = filter(None, (_address(value) for level in places for value in level))
    name = wire.text(fields.get("filename"))
    return Attachment(
        kind=FileKind.VOICE if kind == "audio" and fields.get("voice") is True else WHATSAPP[kind],
        url=next(told, None) or _filled(template, wire.identifier(fields.get("id"))),
        content_type=_content_type(fields.get("mime_type")),
        name=storable(name) if name else None,
        sha256=_sha256(fields.get("sha256")),
    )


def messenger(message: dict[str, Any]) -> tuple[tuple[Attachment, ...], list[str]]:
    """The files of a message, and words for attachments that are none, e.g. `[fallback]`."""
    files: list[Attachment] = []
    words: list[str] = []
    for attachment in map(wire.members, wire.elements(message.get("attachments"))):
        word = wire.text(attachment.get("type")) or "file"
        if word in _MESSENGER:
            url = _address(wire.members(attachment.get("payload")).get("url"))
            files.append(Attachment(_MESSENGER[word], url))
        else:
            words.append(f"[{word}]")
    return tuple(_without_twins(files)), words


def _without_twins(files: list[Attachment]) -> list[Attachment]:
    """During a transition a sticker comes as an image, too: one of the two is kept (§7.4)."""
    stickers = [file for file in files if file.kind is FileKind.STICKER]
    images = [file for file in files if file.kind is FileKind.IMAGE]
    if not stickers or not images:
        return files
    twin = next((image for image in images if image.url == stickers[0].url), images[0])
    if stickers[0].url is None:
        stickers[0] = Attachment(FileKind.STICKER, twin.url)
    rest = [file for file in files if file is not twin and file.kind is not FileKind.STICKER]
    return [*stickers, *rest]


def _address(value: Any) -> str | None:
    """An absolute web address. Whether it may be fetched is decided where it is fetched."""
    url = value if isinstance(value, str) and len(value) <= _LONGEST_ADDRESS else ""
    return url if url.isprintable() and _ADDRESS.fullmatch(url) else None


def _filled(template: str | None, name: str | None) -> str | None:
    # A segment of dots would lead to another place of the host, which may be shown the token.
    if template is None or name is None or name in (".", ".."):
        return None
    return template.replace("{id}", quote(name, safe=""))


def _content_type(value: Any) -> str | None:
    kind = (wire.text(value) or "").partition(";")[0].strip().lower()
    return kind if wire.identifier(kind) else None


def _sha256(value: Any) -> str | None:
    """The hash as hex, from hex or base64; None for anything else, which nothing could be checked against."""
    told = (wire.text(value) or "").strip()
    if _HEX.fullmatch(told):
        return told.lower()
    try:
        raw = b64decode(f"{told.rstrip('=')}=", validate=True)
    except ValueError:
        return None
    return raw.hex() if len(raw) == _SHA256_BYTES else None

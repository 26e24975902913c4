"""Files at the simulated iSlash: those that customers send, served over HTTP, and those that we upload, kept whole."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal
from uuid import uuid4

from aiohttp import web

Hashed = Literal["hex", "base64", "wrong"]
Place = Literal["link", "url", "media_url", "file", "message.link", "message.url", "message.media_url", "message.file"]
"""Where a WhatsApp message tells the file's address: inside the file's own object, or beside it."""

_NAMED = ("document", "file")
_CAPTIONED = ("image", "video", "document")


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file of ours, as the customer has it."""

    name: str
    content_type: str
    content: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content)

    @property
    def sha256(self) -> str:
        """64 hex digits."""
        return sha256(self.content).hexdigest()


@dataclass(slots=True)
class Media:
    """A file of a customer. Its switches may be set at any time."""

    kind: str
    """As the channel calls it: `image`, `audio`, `voice`, `video`, `document` or `file`, `sticker`."""
    content: bytes = field(repr=False)
    content_type: str
    name: str | None = None
    gone: bool = False
    """Its address answers with 404."""
    needs_token: bool = False
    """Its address answers with 401 to who does not show the token."""
    fetches: int = 0
    """How many times it was handed out."""

    def told_by_whatsapp(
        self, mediaid: str, url: str | None, place: Place, hashed: Hashed | None, caption: str
    ) -> dict[str, Any]:
        """What a message has of it: its object, and the type (§7.2)."""
        told: dict[str, Any] = {"mime_type": self.content_type, "id": mediaid}
        if hashed is not None:
            told["sha256"] = self._hash(hashed)
        if caption and self.kind in _CAPTIONED:
            told["caption"] = caption
        if self.name is not None and self.kind in _NAMED:
            told["filename"] = self.name
        content = {self.kind: told, "type": self.kind}
        if url is not None:
            level, _, member = place.rpartition(".")
            (content if level else told)[member] = url
        return content

    def _hash(self, hashed: Hashed) -> str:
        digest = sha256(self.content if hashed != "wrong" else b"something else" + self.content)
        return b64encode(digest.digest()).decode() if hashed == "base64" else digest.hexdigest()


class Shelf:
    """All files of customers, by id."""

    def __init__(self, token: str) -> None:
        self.media: dict[str, Media] = {}
        self._token = token

    def put(self, media: Media) -> str:
        """Its new id."""
        mediaid = str(uuid4())
        self.media[mediaid] = media
        return mediaid

    def hand_out(self, mediaid: str, token: str | None) -> web.Response:
        """The answer to a request for it."""
        media = self.media.get(mediaid)
        if media is None or media.gone:
            return web.Response(status=404)
        if media.needs_token and token != self._token:
            return web.Response(status=401)
        media.fetches += 1
        return web.Response(body=media.content, headers={"Content-Type": media.content_type})


async def uploaded(request: web.Request) -> dict[str, Any]:
    """The parts of a multipart body; a file as a `SentFile`."""
    parts: dict[str, Any] = {}
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            with value.file as content:
                parts[name] = SentFile(value.filename, value.content_type, content.read())
        else:
            parts[name] = value
    return parts

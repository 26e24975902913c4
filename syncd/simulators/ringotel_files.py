"""Files at a simulated Ringotel: sent by users, uploaded, or fetched from links."""

from __future__ import annotations

import hashlib
import mimetypes
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import aiohttp
from aiohttp import web

Params = dict[str, Any]

UNKNOWN_TYPE = "application/octet-stream"


@dataclass(slots=True)
class StoredFile:
    """A file as Ringotel keeps it. Two messages may show the same one."""

    name: str
    content_type: str
    data: bytes | None = field(repr=False)
    """None until a link is fetched, where that is done after the answer."""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def path(self) -> str:
        """Where the simulator serves it."""
        return f"/files/{self.token}/{quote(self.name, safe='')}"

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data or b"")

    @property
    def sha256(self) -> str:
        """Of its bytes, in hex."""
        return hashlib.sha256(self.data or b"").hexdigest()


class Unfetchable(Exception):
    """A link leads to no file."""


def guessed_type(name: str) -> str:
    """The content type that a name's ending stands for."""
    return mimetypes.guess_type(name)[0] or UNKNOWN_TYPE


def linked(url: str) -> StoredFile:
    """The file of a link, not fetched yet: its name is the last part of the path."""
    path = url.partition("?")[0].partition("#")[0].partition("://")[2]
    return StoredFile(unquote(path.rpartition("/")[2]) or "file", UNKNOWN_TYPE, None)


async def fetch(client: aiohttp.ClientSession, url: str, file: StoredFile) -> None:
    """Get the file from its link with a plain GET. Raises `Unfetchable`."""
    try:
        async with client.get(url) as response:
            if response.status != 200:
                raise Unfetchable(f"HTTP {response.status}")
            file.data, file.content_type = await response.read(), response.content_type
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Unfetchable(type(error).__name__) from None


async def read_form(request: web.Request) -> tuple[Params, StoredFile | None]:
    """Fields and file of an upload; the file's name stands among the fields as `file`. Raises `ValueError`."""
    params: Params = {}
    file = None
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        if not isinstance(part, aiohttp.BodyPartReader) or not part.name:
            raise ValueError("a part has no name")
        if part.filename is None:
            params[part.name] = await part.text()
        else:
            content_type = part.headers.get("Content-Type", UNKNOWN_TYPE)
            file = StoredFile(part.filename, content_type, bytes(await part.read()))
            params[part.name] = part.filename
    if str(params.get("timestamp", "")).isdigit():
        params["timestamp"] = int(params["timestamp"])
    return params, file


def served(file: StoredFile | None) -> web.Response:
    """The answer to a GET for it."""
    if file is None or file.data is None:
        return web.Response(status=404)
    return web.Response(body=file.data, headers={"Content-Type": file.content_type})

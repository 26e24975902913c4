"""The simulated Bird's files: what contacts send, what is uploaded, and the bucket that holds the bytes, as S3 does."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from aiohttp import BodyPartReader, web

from syncd.simulators.bird_http import BirdHttp, problem, reply
from syncd.simulators.bird_records import SimFile


@dataclass(slots=True)
class SimTicket:
    """Leave to upload one file, once."""

    key: str
    fields: dict[str, str]
    used: bool = False


class BirdMedia(BirdHttp):
    """Media paths of the API, and a bucket on a port of its own. Calls are named `ticket`, `upload`, `media`, `bucket`.

    The `params` of an upload hold the names of its `fields`, in order, and the `size` of its file.
    """

    def __init__(self, *, workspace: str, access_key: str) -> None:
        super().__init__(workspace=workspace, access_key=access_key)
        self.bucket_url = ""
        self.presigned = False
        """Messages of contacts name the bucket's signed address itself, which takes no key."""
        self.media_gone = False
        """No file can be downloaded any more (404)."""
        self.media_pause = 0.0
        """Seconds in the middle of every download."""
        self.media_length: Literal["right", "hidden", "less", "more"] = "right"
        """What a download says of its length: the truth, nothing, half of it (the file is larger), or twice as much."""
        self.refused_types: set[str] = set()
        """Content types for which no ticket is given (422)."""
        self.refuses_uploads: Literal["", "expired", "too large"] = ""
        """How the bucket refuses every upload."""
        self._files: dict[str, SimFile] = {}
        """By path of the API."""
        self._tickets: dict[str, SimTicket] = {}
        self._keys: dict[str, str] = {}
        """Paths of the API by key of the bucket."""
        self._bucket: web.AppRunner | None = None

    @property
    def media_host(self) -> str:
        """`host:port` of the addresses in messages, which want the access key (config: `media_hosts`)."""
        return urlsplit(self.url).netloc

    @property
    def bucket_host(self) -> str:
        """`host:port` that downloads are redirected to, and that uploads go to."""
        return urlsplit(self.bucket_url).netloc

    async def start(self, port: int = 0) -> Self:
        """Listen on loopback, the bucket on a port of its own."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/", self._on_upload)
        app.router.add_get("/{key}", self._on_bucket)
        self._bucket = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._bucket.setup()
        await web.TCPSite(self._bucket, "127.0.0.1", 0).start()
        self.bucket_url = f"http://127.0.0.1:{self._bucket.addresses[0][1]}"
        return await super().start(port)

    async def stop(self) -> None:
        """Stop listening."""
        await super().stop()
        if self._bucket is not None:
            await self._bucket.cleanup()

    def routes(self, app: web.Application) -> None:
        """Add the media paths."""
        workspace = "/workspaces/{workspace}"
        app.router.add_get(workspace + "/messages/{message}/media/{file}", self._on_media)
        app.router.add_get(workspace + "/media/{file}", self._on_media)
        app.router.add_post(workspace + "/channels/{channel}/presigned-upload", self._on_ticket)
        app.router.add_post(workspace + "/channel-media/presigned-upload", self._on_ticket)

    def uploaded(self, url: str) -> SimFile | None:
        """The file behind a `mediaUrl` of ours; None where the address is somebody else's, or nothing was uploaded."""
        return self._files.get(urlsplit(url).path)

    def is_ours(self, url: str) -> bool:
        """Whether an address names a file of the workspace, there or not."""
        return url.startswith(f"{self.url}/workspaces/")

    def channel_exists(self, channel: str) -> bool:
        """Whether the workspace has it."""
        raise NotImplementedError

    def _published(self, message: str, file: SimFile) -> str:
        """The address of a contact's file."""
        path = f"/workspaces/{self.workspace}/messages/{message}/media/{uuid.uuid4()}"
        self._files[path] = file
        return self._signed(path) if self.presigned else self.url + path

    def _signed(self, path: str) -> str:
        key = uuid.uuid4().hex
        self._keys[key] = path
        return (
            f"{self.bucket_url}/{key}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=900&X-Amz-Signature={_sign(key)}"
        )

    async def _on_media(self, request: web.Request) -> web.Response:
        async def do() -> web.Response:
            if (refused := self._refused(request)) is not None:
                return refused
            if request.path not in self._files or self.media_gone:
                return problem(404, "NotFound", "media not found")
            return web.Response(status=302, headers={"Location": self._signed(request.path)})

        return await self._served(request, "media", dict(request.match_info), do)

    async def _on_ticket(self, request: web.Request) -> web.Response:
        try:
            wanted = json.loads(await request.read())["contentType"]
        except (ValueError, TypeError, KeyError):
            wanted = None

        async def do() -> web.Response:
            if (refused := self._refused(request)) is not None:
                return refused
            if not self.channel_exists(request.match_info.get("channel", "")):
                return problem(404, "NotFound", "channel not found")
            if not isinstance(wanted, str) or "/" not in wanted or wanted in self.refused_types:
                return problem(422, "InvalidPayload", "the request is not valid", {"contentType": ["not supported"]})
            return reply(200, self._ticket_shown(wanted))

        return await self._served(request, "ticket", {**request.match_info, "contentType": wanted}, do)

    def _ticket_shown(self, content_type: str) -> dict[str, Any]:
        path = f"/workspaces/{self.workspace}/media/{uuid.uuid4()}"
        key = uuid.uuid4().hex
        fields = {
            "Content-Type": content_type,
            "acl": "private",
            "bucket": "bird-media",
            "key": key,
            "policy": f"policy-of-{key}",
            "x-amz-algorithm": "AWS4-HMAC-SHA256",
            "x-amz-credential": "ASIA/20250601/eu-west-1/s3/aws4_request",
            "x-amz-date": "20250601T120000Z",
            "x-amz-meta-allowed-paths": json.dumps([path]),
            "x-amz-security-token": f"token-of-{key}",
            "x-amz-signature": _sign(key),
        }
        self._keys[key] = path
        self._tickets[key] = SimTicket(key, fields)
        return {
            "mediaUrl": self.url + path,
            "uploadUrl": self.bucket_url,
            "uploadMethod": "POST",
            "uploadFormData": fields,
        }

    async def _on_upload(self, request: web.Request) -> web.Response:
        parts, file = await _parts(request) if request.content_type == "multipart/form-data" else ([], None)
        names = [name for name, _ in parts]
        params = {"fields": names, "size": file.size if file is not None else None}

        async def do() -> web.Response:
            if "Authorization" in request.headers:
                return _bucket_error(400, "InvalidArgument")
            if "Content-Length" not in request.headers:
                return _bucket_error(411, "MissingContentLength")
            if self.refuses_uploads:
                expired = self.refuses_uploads == "expired"
                return _bucket_error(403, "AccessDenied") if expired else _bucket_error(400, "EntityTooLarge")
            if file is None or names[-1] != "file" or names.count("file") != 1:
                return _bucket_error(400, "InvalidArgument")
            fields = dict(parts[:-1])
            ticket = self._tickets.get(fields.get("key", ""))
            if ticket is None or ticket.used or fields != ticket.fields:
                return _bucket_error(403, "AccessDenied")
            ticket.used = True
            kept = SimFile(file.data, ticket.fields["Content-Type"], file.name)
            self._files[self._keys[ticket.key]] = kept
            return web.Response(status=204)

        return await self._served(request, "upload", params, do)

    async def _on_bucket(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]

        async def do() -> web.Response:
            if "Authorization" in request.headers:
                # "Only one auth mechanism allowed."
                return _bucket_error(400, "InvalidArgument")
            if request.query.get("X-Amz-Signature") != _sign(key):
                return _bucket_error(403, "SignatureDoesNotMatch")
            file = self._files.get(self._keys.get(key, ""))
            if file is None or self.media_gone:
                return _bucket_error(404, "NoSuchKey")
            return await self._download(request, file)

        return await self._served(request, "bucket", {"key": key}, do)

    async def _download(self, request: web.Request, file: SimFile) -> web.Response:
        """The bytes; written by hand, since no server lets itself be made to lie about a length."""
        assert request.transport is not None
        lengths = {"right": file.size, "less": file.size // 2, "more": file.size * 2}
        head = [f"HTTP/1.1 200 OK\r\nContent-Type: {file.content_type}\r\nConnection: close\r\n"]
        if file.header_name is not None:
            head.append(f'Content-Disposition: attachment; filename="{file.header_name}"\r\n')
        if self.media_length != "hidden":
            head.append(f"Content-Length: {lengths[self.media_length]}\r\n")
        half = file.size // 2 if self.media_pause else file.size
        request.transport.write("".join([*head, "\r\n"]).encode() + file.data[:half])
        await asyncio.sleep(self.media_pause)
        if request.transport is not None:  # else whoever fetched it has gone away
            request.transport.write(file.data[half:])
            request.transport.close()
        return web.Response()


async def _parts(request: web.Request) -> tuple[list[tuple[str, str]], SimFile | None]:
    """The fields of a form, in order, and its file."""
    fields: list[tuple[str, str]] = []
    file = None
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        data, name = bytes(await part.read()), part.name or ""
        if name == "file":
            file = SimFile(data, part.headers.get("Content-Type", ""), part.filename)
        fields.append((name, "" if name == "file" else data.decode()))
    return fields, file


def _sign(key: str) -> str:
    return hashlib.sha256(f"bucket {key}".encode()).hexdigest()


def _bucket_error(status: int, code: str) -> web.Response:
    return web.Response(
        status=status,
        text=f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>no</Message></Error>',
        content_type="application/xml",
    )

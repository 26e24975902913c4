"""The simulated Bird's files: keys, redirects and tickets as Bird's pages tell of them, with nothing of the plug-in."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import pytest

from syncd.simulators.base import Fault
from syncd.simulators.bird import BirdSimulator
from syncd.simulators.bird_api import WORKSPACE
from syncd.simulators.bird_records import Received, SimFile

CHANNEL = "cb4b1ebc-34e6-5a7a-a375-f6f2f131d88f"
CONTACT = "+12025550143"
KEY = {"Authorization": "AccessKey bird-access-key"}
PATH = f"/workspaces/{WORKSPACE}/channels/{CHANNEL}"
PHOTO = SimFile(b"\xff\xd8" * 5000, "image/jpeg", "me.jpg")


@pytest.fixture
async def bird() -> AsyncIterator[BirdSimulator]:
    async with BirdSimulator() as simulator:
        simulator.add_channel(CHANNEL)
        yield simulator


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def _url(bird: BirdSimulator, file: SimFile = PHOTO) -> str:
    messageid = bird.contact_says(CHANNEL, CONTACT, files=[file], shape="file")
    url: str = bird.messages[messageid]["body"]["file"]["files"][0]["mediaUrl"]
    return url


async def _post(client: aiohttp.ClientSession, url: str, body: Any) -> tuple[int, Any]:
    async with client.post(url, headers=KEY, data=json.dumps(body)) as response:
        return response.status, await response.json()


async def _ticket(bird: BirdSimulator, client: aiohttp.ClientSession, kind: str = "image/jpeg") -> dict[str, Any]:
    status, ticket = await _post(client, f"{bird.url}{PATH}/presigned-upload", {"contentType": kind})
    assert status == 200
    found: dict[str, Any] = ticket
    return found


def _form(fields: dict[str, str], data: bytes | None, *, first: bool = False) -> aiohttp.FormData:
    form = aiohttp.FormData(default_to_multipart=True)
    if data is not None and first:
        form.add_field("file", data, filename="me.jpg")
    for name, value in fields.items():
        form.add_field(name, value)
    if data is not None and not first:
        form.add_field("file", data, filename="me.jpg")
    return form


async def _uploaded(
    bird: BirdSimulator, client: aiohttp.ClientSession, form: Any, headers: dict[str, str] | None = None
) -> int:
    async with client.post(bird.bucket_url, data=form, headers=headers) as response:
        await response.read()
        return response.status


async def test_downloads_are_redirected_to_the_bucket(bird: BirdSimulator, client: aiohttp.ClientSession) -> None:
    """401 without the key, a redirect with it, and the bucket refuses whoever shows the key to it (page §6.2)."""
    url = _url(bird, SimFile(PHOTO.data, "image/jpeg", "me.jpg", "you.jpg"))
    assert url.startswith(f"{bird.url}/workspaces/{WORKSPACE}/messages/")
    async with client.get(url) as response:
        assert response.status == 401
    async with client.get(url, headers=KEY, allow_redirects=False) as response:
        assert response.status == 302
        signed = response.headers["Location"]
    assert bird.bucket_host in signed and bird.bucket_host != bird.media_host and "X-Amz-Signature=" in signed
    async with client.get(signed, headers=KEY) as response:
        assert response.status == 400
    async with client.get(signed[:-1]) as response:
        assert response.status == 403
    async with client.get(signed) as response:
        assert (response.status, await response.read()) == (200, PHOTO.data)
        assert response.content_type == "image/jpeg" and response.content_length == PHOTO.size
        assert 'filename="you.jpg"' in response.headers["Content-Disposition"]
    async with client.get(url + "x", headers=KEY) as response:
        assert response.status == 404


async def test_addresses_may_be_signed_already(bird: BirdSimulator, client: aiohttp.ClientSession) -> None:
    bird.presigned = True
    async with client.get(_url(bird)) as response:
        assert (response.status, await response.read()) == (200, PHOTO.data)
        assert "Content-Disposition" not in response.headers


@pytest.mark.parametrize("length", ["hidden", "less", "more"])
async def test_lengths_may_be_lies(bird: BirdSimulator, length: Literal["hidden", "less", "more"]) -> None:
    bird.media_length, bird.presigned = length, True
    url = urlsplit(_url(bird))
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    said = {"less": PHOTO.size // 2, "more": PHOTO.size * 2}.get(length)
    assert body == PHOTO.data
    assert (f"Content-Length: {said}".encode() in head) if said else (b"Content-Length" not in head)


async def test_media_may_be_gone_or_slow(bird: BirdSimulator, client: aiohttp.ClientSession) -> None:
    url = _url(bird)
    bird.media_pause = 5.0
    async with client.get(url, headers=KEY, timeout=aiohttp.ClientTimeout(total=0.3)) as response:
        assert (await response.content.read(10)) == PHOTO.data[:10]
        with pytest.raises(TimeoutError):
            await response.read()
    bird.media_gone = True
    async with client.get(url, headers=KEY) as response:
        assert response.status == 404


async def test_what_was_uploaded_is_what_the_contact_gets(bird: BirdSimulator, client: aiohttp.ClientSession) -> None:
    ticket = await _ticket(bird, client)
    assert ticket.keys() == {"mediaUrl", "uploadUrl", "uploadMethod", "uploadFormData"}
    assert await _uploaded(bird, client, _form(ticket["uploadFormData"], PHOTO.data)) == 204
    asked = bird.contact_says(CHANNEL, CONTACT, "show me")
    item = {"mediaUrl": ticket["mediaUrl"], "contentType": "image/jpeg", "filename": "me.jpg"}
    elsewhere = {"mediaUrl": "https://example.com/x.png"}
    send = {"receiver": {"contacts": [{"identifierValue": CONTACT}]}, "reference": "r"}
    bodies = [
        {"type": "file", "file": {"files": [item], "text": "me"}},
        {"type": "image", "image": {"images": [{"mediaUrl": ticket["mediaUrl"]}, elsewhere]}},
        {"type": "text", "text": {"text": "that's all"}},
    ]
    for body in bodies:
        reply = {"replyTo": {"id": asked, "type": "message"}}
        assert (await _post(client, f"{bird.url}{PATH}/messages", send | {"body": body} | reply))[0] == 202
    nameless = SimFile(PHOTO.data, "image/jpeg")
    assert bird.received(CHANNEL, CONTACT) == [
        Received("me", (PHOTO,), asked),
        Received("", (nameless, "https://example.com/x.png"), asked),
        Received("that's all", (), asked),
    ]
    assert bird.texts(CHANNEL, CONTACT) == ["me", "", "that's all"]
    assert PHOTO.sha256 == hashlib.sha256(PHOTO.data).hexdigest()
    async with client.get(ticket["mediaUrl"], headers=KEY) as response:
        assert await response.read() == PHOTO.data


async def test_the_bucket_is_strict(bird: BirdSimulator, client: aiohttp.ClientSession) -> None:
    """Every field as it was given, the file last, a length, no key, and once (page §6.1)."""
    fields = (await _ticket(bird, client))["uploadFormData"]
    assert await _uploaded(bird, client, _form(fields, None)) == 400
    assert await _uploaded(bird, client, _form(fields, b"x", first=True)) == 400
    assert await _uploaded(bird, client, _form(fields, b"x"), KEY) == 400
    assert await _uploaded(bird, client, b"x") == 400
    assert await _uploaded(bird, client, _form(fields | {"acl": "public"}, b"x")) == 403
    assert await _uploaded(bird, client, _form(fields | {"more": "x"}, b"x")) == 403
    for gone in fields:
        rest = {name: value for name, value in fields.items() if name != gone}
        assert await _uploaded(bird, client, _form(rest, b"x")) == 403

    async def unmeasured() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n'

    assert await _uploaded(bird, client, unmeasured(), {"Content-Type": "multipart/form-data; boundary=b"}) == 411
    bird.refuses_uploads = "too large"
    assert await _uploaded(bird, client, _form(fields, b"x")) == 400
    bird.refuses_uploads = "expired"
    assert await _uploaded(bird, client, _form(fields, b"x")) == 403
    bird.refuses_uploads = ""
    bird.faults.append(Fault("status", status=503, match=lambda call: call.name == "upload"))
    assert await _uploaded(bird, client, _form(fields, b"x")) == 503
    assert await _uploaded(bird, client, _form(fields, b"x")) == 204
    assert await _uploaded(bird, client, _form(fields, b"x")) == 403


async def test_who_gets_a_ticket(bird: BirdSimulator, client: aiohttp.ClientSession) -> None:
    bird.refused_types = {"application/x-msdownload"}
    url = f"{bird.url}{PATH}/presigned-upload"
    wrong: tuple[Any, ...] = ({"contentType": "application/x-msdownload"}, {"contentType": 7}, {}, [])
    for body in wrong:
        assert (await _post(client, url, body))[0] == 422
    assert (await _post(client, url.replace(CHANNEL, "none"), {"contentType": "a/b"}))[0] == 404
    anywhere = f"{bird.url}/workspaces/{WORKSPACE}/channel-media/presigned-upload"
    assert (await _post(client, anywhere, {"contentType": "a/b"}))[0] == 200
    async with client.post(url, data='{"contentType":"a/b"}') as response:
        assert response.status == 401


@pytest.mark.parametrize(
    "change",
    [
        {"body": {"type": "image", "image": {}}},
        {"body": {"type": "image", "image": {"images": [{"altText": "x"}]}}},
        {"body": {"type": "image", "image": {"images": [{"mediaUrl": "https://a/", "contentType": "image/png"}]}}},
        {"body": {"type": "image", "image": {"images": [], "caption": "x"}}},
        {"body": {"type": "image", "image": {"images": ["https://a/"]}}},
        {"body": {"type": "image", "image": {"images": [], "text": 7}}},
        {"body": {"type": "file", "file": {"files": [{"mediaUrl": "https://a/"}]}}},
        {"replyTo": {"id": "unknown", "type": "message"}},
        {"replyTo": {"id": "unknown"}},
        {"replyTo": {"type": "message"}},
        {"replyTo": {"id": "unknown", "type": "poem"}},
        {"replyTo": {"id": "unknown", "type": "message", "more": 1}},
        {"replyTo": "unknown"},
    ],
)
async def test_files_and_answers_are_held_to_the_schema(
    bird: BirdSimulator, client: aiohttp.ClientSession, change: dict[str, Any]
) -> None:
    send = {"receiver": {"contacts": [{"identifierValue": CONTACT}]}, "body": {"type": "text", "text": {"text": "a"}}}
    assert (await _post(client, f"{bird.url}{PATH}/messages", send | change))[0] == 422
    assert bird.received(CHANNEL, CONTACT) == []


async def test_only_what_is_there_can_be_sent_and_answered(bird: BirdSimulator, client: aiohttp.ClientSession) -> None:
    ticket = await _ticket(bird, client)
    ours = bird.agent_says(CHANNEL, CONTACT, "ours")
    send = {"receiver": {"contacts": [{"identifierValue": CONTACT}]}}
    not_uploaded = {"body": {"type": "image", "image": {"images": [{"mediaUrl": ticket["mediaUrl"]}]}}}
    to_ours = {"body": {"type": "text", "text": {"text": "a"}}, "replyTo": {"id": ours, "type": "message"}}
    for change in (not_uploaded, to_ours):
        assert (await _post(client, f"{bird.url}{PATH}/messages", send | change))[0] == 422


@pytest.mark.parametrize(
    ("files", "shape", "kind"),
    [
        ([PHOTO], None, "image"),
        ([PHOTO, PHOTO], None, "image"),
        ([PHOTO, SimFile(b"", "audio/ogg; codecs=opus")], None, "file"),
        ([SimFile(b"", "image/webp")], None, "file"),
        ([SimFile(b"", "video/mp4")], "gif", "gif"),
        ([PHOTO], "html", "html"),
        ([PHOTO], "text", "text"),
    ],
)
async def test_contacts_send_files_in_every_shape(
    bird: BirdSimulator, files: list[SimFile], shape: str | None, kind: str
) -> None:
    asked = bird.agent_says(CHANNEL, CONTACT, "?")
    messageid = bird.contact_says(CHANNEL, CONTACT, "look", files=files, shape=shape, reply_to=asked)
    message = bird.messages[messageid]
    body = message["body"]
    assert body["type"] == kind and body[kind]["text"] == "look"
    assert message["replyTo"] == {"id": asked, "type": "message"}
    items = [body["gif"]] if kind == "gif" else next(v for v in body[kind].values() if isinstance(v, list))
    assert [bird.uploaded(item["mediaUrl"]) for item in items] == files
    names = {"image": None, "gif": None}.get(kind, files[0].name)
    assert items[0].get("filename") == names
    assert ("contentType" in items[0]) == (kind == "file")


async def test_a_restart_keeps_the_files(bird: BirdSimulator, client: aiohttp.ClientSession) -> None:
    path = _url(bird).removeprefix(bird.url)
    await bird.stop()
    await bird.start()
    async with client.get(bird.url + path, headers=KEY) as response:
        assert (response.status, await response.read()) == (200, PHOTO.data)

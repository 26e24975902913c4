"""The simulated iSlash behaves as the page says, seen with a bare HTTP client and a bare listener."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import aiohttp
import pytest
from aiohttp import web

from syncd.simulators.islash import ISlashSimulator
from syncd.simulators.islash_shapes import PAGE, SHAPES
from tests.support.files import JPEG, PDF

WHATSAPP = "key-whatsapp"
MESSENGER = "key-messenger"
CUSTOMER = "85200000001"


@dataclass
class Ears:
    """Whoever the webhooks go to."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    status: int = 200

    def heard(self) -> list[Any]:
        return [json.loads(body) for body in self.bodies]


@pytest.fixture
async def ears() -> AsyncIterator[Ears]:
    ears = Ears()

    async def take(request: web.Request) -> web.Response:
        ears.bodies.append(await request.read())
        return web.Response(status=ears.status)

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ears.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield ears
    await runner.cleanup()


@pytest.fixture
async def simulator(ears: Ears) -> AsyncIterator[ISlashSimulator]:
    async with ISlashSimulator(token="t", sessions={WHATSAPP: "whatsapp", MESSENGER: "messenger"}) as simulator:
        simulator.hook_urls = {WHATSAPP: ears.url, MESSENGER: ears.url}
        yield simulator


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"X-USER-TOKEN": "t"}) as client:
        yield client


def form(*, multipart: bool = True, **fields: str) -> aiohttp.FormData:
    params = {"session": WHATSAPP, "identity": CUSTOMER, "text": "Hello Testing"} | fields
    return aiohttp.FormData(params, default_to_multipart=multipart)


async def send(simulator: ISlashSimulator, client: aiohttp.ClientSession, **request: Any) -> tuple[int, Any]:
    async with client.post(f"{simulator.base_url}/send-session-message", **request) as response:
        return response.status, await response.json()


async def test_a_send_is_kept_and_answered_as_documented(
    simulator: ISlashSimulator, client: aiohttp.ClientSession
) -> None:
    status, first = await send(simulator, client, data=form())
    _, second = await send(simulator, client, data=form(text="again", quoted_message_id="9120"))
    assert status == 200 and first["meta"] == {"code": "RESP_OKAY", "message": "Success"}
    message = first["data"]["message"]
    assert (message["id"], message["status"], message["body"]) == (9126, "sent", "Hello Testing")
    assert second["data"]["message"]["id"] == 9127
    assert [(kept.text, kept.sid) for kept in simulator.sent(WHATSAPP, CUSTOMER)] == [
        ("Hello Testing", message["sid"]),
        ("again", second["data"]["message"]["sid"]),
    ]
    assert simulator.sent(WHATSAPP, "85200000002") == simulator.sent(MESSENGER, CUSTOMER) == []
    assert [call.params["text"] for call in simulator.calls_of("send")] == ["Hello Testing", "again"]


async def test_where_the_parameters_may_stand(simulator: ISlashSimulator, client: aiohttp.ClientSession) -> None:
    query = {"session": WHATSAPP, "identity": CUSTOMER, "text": "in the query"}
    assert (await send(simulator, client, params=query))[0] == 200
    assert (await send(simulator, client, data=form(multipart=False)))[0] == 415
    simulator.param_style = "form"
    assert (await send(simulator, client, params=query))[0] == 415
    assert (await send(simulator, client, data=form()))[0] == 200
    simulator.param_style = "query"
    assert (await send(simulator, client, data=form()))[0] == 415
    assert len(simulator.messages) == 2


async def test_who_is_refused(simulator: ISlashSimulator, client: aiohttp.ClientSession) -> None:
    assert (await send(simulator, client, data=form(), headers={"X-USER-TOKEN": "other"}))[0] == 401
    assert (await send(simulator, client, data=form(session="other")))[0] == 403
    assert (await send(simulator, client, data=form(text="")))[0] == 422
    async with client.get(f"{simulator.base_url}/sticker", params={"session": "other"}) as response:
        assert response.status == 403
    async with client.get(f"{simulator.base_url}/sticker", params={"session": WHATSAPP}) as response:
        assert (await response.json())["data"]["stickers"][0]["type"] == "image/webp"
    assert simulator.messages == {}


async def test_answers_of_other_revisions(simulator: ISlashSimulator, client: aiohttp.ClientSession) -> None:
    simulator.reply = "older"
    message = (await send(simulator, client, data=form()))[1]["data"]["message"]
    assert "color" in message and "quote_message" in message and "quoted_message" not in message
    simulator.reply = "pending"
    message = (await send(simulator, client, data=form()))[1]["data"]["message"]
    assert (message["sid"], message["status"]) == (None, "pending")
    simulator.reply = "no_message"
    assert (await send(simulator, client, data=form()))[1]["data"] == []


async def test_a_customer_writes(simulator: ISlashSimulator, ears: Ears) -> None:
    text = "NUL \0, emoji \U0001f600, lone \ud83d"
    messageid = simulator.contact_says(WHATSAPP, CUSTOMER, text, name="Ann", at=1649756854)
    await simulator.hooks_taken()
    (message,) = ears.heard()[0]["messages"]
    assert (message["id"], message["from"], message["wa_id"]) == (messageid, CUSTOMER, CUSTOMER)
    assert (message["text"], message["type"], message["profile"]) == ({"body": text}, "text", {"name": "Ann"})
    assert (message["timestamp"], message["sequence"].isdigit()) == ("1649756854", True)


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_layout_is_posted(simulator: ISlashSimulator, ears: Ears, shape: str) -> None:
    messageid = simulator.contact_says(WHATSAPP, CUSTOMER, "hi", shape=shape)
    await simulator.hooks_taken()
    (body,) = ears.bodies
    told = parse_qs(body.decode())["payload"][0] if shape == "form" else body.decode()
    assert messageid in told and simulator.hook_answers == [200]


async def test_messenger(simulator: ISlashSimulator, client: aiohttp.ClientSession, ears: Ears) -> None:
    messageid = simulator.contact_says(MESSENGER, "5000000000000001", "Hi", at=1692603667.024)
    await simulator.hooks_taken()
    (event,) = ears.heard()[0]["entry"][0]["messaging"]
    assert event["message"] == {"mid": messageid, "text": "Hi"} and event["recipient"] == {"id": PAGE}
    assert event["timestamp"] == 1692603667024
    _, answer = await send(simulator, client, data=form(session=MESSENGER, identity="5000000000000001"))
    sid = answer["data"]["message"]["sid"]
    for status in ("sent", "delivered", "read"):
        simulator.status(sid, status)
        await simulator.hooks_taken()
    delivered, read = (body["entry"][0]["messaging"][0] for body in ears.heard()[1:])
    assert delivered["delivery"]["mids"] == [sid] and "mids" not in read["read"]


async def test_messenger_may_name_a_time_only(
    simulator: ISlashSimulator, client: aiohttp.ClientSession, ears: Ears
) -> None:
    _, answer = await send(simulator, client, data=form(session=MESSENGER, identity="5000000000000001"))
    simulator.status(answer["data"]["message"]["sid"], "delivered", mids=False, at=1692603667.024)
    await simulator.hooks_taken()
    (event,) = ears.heard()[0]["entry"][0]["messaging"]
    assert event["delivery"] == {"watermark": 1692603667024}


async def test_an_upload_is_kept_whole(simulator: ISlashSimulator, client: aiohttp.ClientSession) -> None:
    def uploaded(**fields: str) -> aiohttp.FormData:
        body = aiohttp.FormData(fields, default_to_multipart=True)
        body.add_field("file", PDF.content, filename=PDF.name, content_type=PDF.content_type)
        return body

    named = {"session": WHATSAPP, "identity": CUSTOMER}
    _, answer = await send(simulator, client, data=uploaded(**named, text="see"))
    assert (await send(simulator, client, data=uploaded(), params=named))[0] == 200
    assert (await send(simulator, client, data=uploaded(text="in the body"), params={"session": WHATSAPP}))[0] == 422
    message = answer["data"]["message"]
    assert (message["body"], message["media_type"], message["media_filename"]) == ("see", PDF.content_type, PDF.name)
    first, second = simulator.sent(WHATSAPP, CUSTOMER)
    assert first.file is not None and first.file == second.file
    assert (first.text, second.text) == ("see", "")
    assert (first.file.name, first.file.content_type) == (PDF.name, PDF.content_type)
    assert (first.file.size, first.file.sha256) == (PDF.size, PDF.sha256)
    assert PDF.content.decode() not in repr(simulator.calls_of("send")[0])


async def fetch(client: aiohttp.ClientSession, url: str, **headers: str) -> tuple[int, bytes]:
    async with client.get(url, headers=headers) as response:
        return response.status, await response.read()


async def test_a_customer_sends_a_file(simulator: ISlashSimulator, client: aiohttp.ClientSession, ears: Ears) -> None:
    messageid = simulator.contact_sends(
        WHATSAPP, CUSTOMER, JPEG.content, caption="look", place="message.url", hashed="base64", quotes="gBGG-1"
    )
    await simulator.hooks_taken()
    (message,) = ears.heard()[0]["messages"]
    assert (message["id"], message["type"], message["context"]["id"]) == (messageid, "image", "gBGG-1")
    told = message["image"]
    assert (told["mime_type"], told["caption"]) == ("image/jpeg", "look")
    assert b64decode(told["sha256"]).hex() == JPEG.sha256
    assert message["url"] == simulator.media_url_template.replace("{id}", told["id"])
    assert await fetch(client, message["url"]) == (200, JPEG.content)
    media = simulator.media[told["id"]]
    media.needs_token = True
    assert (await fetch(client, message["url"], **{"X-USER-TOKEN": "other"}))[0] == 401
    assert (await fetch(client, message["url"], **{"X-USER-TOKEN": "t"}))[0] == 200
    media.gone = True
    assert (await fetch(client, message["url"]))[0] == 404
    assert (media.fetches, len(simulator.calls_of("media"))) == (2, 4)


async def test_a_file_as_the_documentation_shows_it(simulator: ISlashSimulator, ears: Ears) -> None:
    simulator.contact_sends(WHATSAPP, CUSTOMER, PDF.content, kind="document", name=PDF.name, linked=False)
    simulator.contact_sends(WHATSAPP, CUSTOMER, PDF.content, linked=False, hashed="wrong")
    await simulator.hooks_taken()
    messages = [body["messages"][0] for body in ears.heard()]
    document, image = sorted(messages, key=lambda message: str(message["type"]))
    (mediaid, other) = simulator.media
    assert document["document"] == {
        "id": mediaid,
        "mime_type": "image/jpeg",
        "sha256": PDF.sha256,
        "filename": PDF.name,
    }
    assert (image["image"]["id"], image["image"].keys()) == (other, {"id", "mime_type", "sha256"})
    assert image["image"]["sha256"] != PDF.sha256


async def test_files_on_messenger(simulator: ISlashSimulator, client: aiohttp.ClientSession, ears: Ears) -> None:
    simulator.contact_sends(MESSENGER, "5000000000000001", PDF.content, kind="file", caption="see", quotes="m_1")
    await simulator.hooks_taken()
    simulator.contact_sends(MESSENGER, "5000000000000001", PDF.content, kind="sticker", twin=True)
    await simulator.hooks_taken()
    first, second = (body["entry"][0]["messaging"][0]["message"] for body in ears.heard())
    assert (first["text"], first["reply_to"]) == ("see", {"mid": "m_1"})
    (file,) = first["attachments"]
    assert file["type"] == "file" and await fetch(client, file["payload"]["url"]) == (200, PDF.content)
    assert [file["type"] for file in second["attachments"]] == ["image", "sticker"] and "text" not in second


async def test_statuses(simulator: ISlashSimulator, client: aiohttp.ClientSession, ears: Ears) -> None:
    _, answer = await send(simulator, client, data=form())
    sid = answer["data"]["message"]["sid"]
    simulator.status(sid, "failed", errors=[{"code": 470, "title": "late"}], copies=2)
    await simulator.hooks_taken()
    told = [body["statuses"][0] for body in ears.heard()]
    assert [(status["id"], status["status"], status["recipient_id"]) for status in told] == [
        (sid, "failed", CUSTOMER)
    ] * 2
    assert told[0]["errors"] == [{"code": 470, "title": "late"}]


@pytest.mark.parametrize("first", [False, True])
async def test_statuses_of_themselves(
    simulator: ISlashSimulator, client: aiohttp.ClientSession, ears: Ears, first: bool
) -> None:
    simulator.auto_statuses, simulator.statuses_first = ("sent", "delivered"), first
    simulator.status_delay = 0.05
    await send(simulator, client, data=form())
    assert len(ears.bodies) == (2 if first else 0)
    await simulator.hooks_taken()
    assert [body["statuses"][0]["status"] for body in ears.heard()] == ["sent", "delivered"]


async def test_a_closed_window_fails_later(
    simulator: ISlashSimulator, client: aiohttp.ClientSession, ears: Ears
) -> None:
    simulator.closed_windows.add((WHATSAPP, CUSTOMER))
    status, _ = await send(simulator, client, data=form())
    await simulator.hooks_taken()
    assert status == 200 and ears.heard()[0]["statuses"][0]["errors"][0]["code"] == 470


async def test_webhooks_are_posted_once_unless_told(simulator: ISlashSimulator, ears: Ears) -> None:
    ears.status = 503
    simulator.contact_says(WHATSAPP, CUSTOMER, "lost")
    await simulator.hooks_taken()
    assert simulator.hook_answers == [503]
    simulator.retries_hooks = True
    simulator.contact_says(WHATSAPP, CUSTOMER, "kept")
    await asyncio.sleep(0.05)
    ears.status = 200
    await simulator.hooks_taken()
    assert simulator.hook_answers[-1] == 200 and len(simulator.hook_answers) >= 3

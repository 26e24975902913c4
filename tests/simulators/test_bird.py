"""The simulated Bird does what Bird's pages say: over real sockets, with nothing of the plug-in in between."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import aiohttp
import pytest
from aiohttp import web

from syncd.simulators.base import Fault
from syncd.simulators.bird import BirdSimulator, signature
from syncd.simulators.bird_api import ORGANIZATION, WORKSPACE

CHANNEL = "cb4b1ebc-34e6-5a7a-a375-f6f2f131d88f"
CONTACT = "+12025550143"
PUBLIC = "https://bridge.example.com/hooks/bird"
MESSAGES = f"/workspaces/{WORKSPACE}/channels/{CHANNEL}/messages"
SUBSCRIPTIONS = f"/organizations/{ORGANIZATION}/workspaces/{WORKSPACE}/webhook-subscriptions"
SEND = {
    "receiver": {"contacts": [{"identifierKey": "phonenumber", "identifierValue": CONTACT}]},
    "body": {"type": "text", "text": {"text": "Hello"}},
    "reference": "r-1",
}


class Receiver:
    """What takes the webhooks: each request's headers and JSON, answered with `statuses`, then 200."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.url = ""

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    async def take(self, request: web.Request) -> web.Response:
        self.got.append(({k.lower(): v for k, v in request.headers.items()}, await request.read()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    taker = Receiver()
    app = web.Application()
    app.router.add_post("/", taker.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    taker.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield taker
    await runner.cleanup()


@pytest.fixture
async def bird(receiver: Receiver) -> AsyncIterator[BirdSimulator]:
    async with BirdSimulator(hook_url=receiver.url, public_hook_url=PUBLIC) as simulator:
        simulator.add_channel(CHANNEL)
        yield simulator


async def _call(
    bird: BirdSimulator, method: str, path: str, body: Any = None, key: str = "bird-access-key", **query: str
) -> tuple[int, Any]:
    headers = {"Authorization": f"AccessKey {key}"}
    data = None if body is None else json.dumps(body)
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, bird.url + path, headers=headers, data=data, params=query) as response,
    ):
        text = await response.text()
        return response.status, json.loads(text) if text else None


def _signature_fits(headers: dict[str, str], body: bytes, url: str, key: str) -> bool:
    message = headers["messagebird-request-timestamp"].encode() + b"\n" + url.encode() + b"\n"
    message += hashlib.sha256(body).digest()
    expected = base64.b64encode(hmac.new(key.encode(), message, hashlib.sha256).digest()).decode()
    return headers["messagebird-signature"] == expected


async def test_a_send_is_accepted_with_the_message(bird: BirdSimulator) -> None:
    status, message = await _call(bird, "POST", MESSAGES, SEND)
    assert status == 202
    assert message["status"] == "accepted" and message["direction"] == "outgoing" and message["reference"] == "r-1"
    assert message["receiver"]["contacts"][0]["identifierValue"] == CONTACT
    assert bird.texts(CHANNEL, CONTACT) == ["Hello"]
    assert bird.messages[message["id"]]["body"] == SEND["body"]
    assert (await _call(bird, "GET", f"{MESSAGES}/{message['id']}"))[1]["id"] == message["id"]
    (call,) = bird.calls_of("send")
    assert (call.params["contact"], call.params["text"], call.params["reference"]) == (CONTACT, "Hello", "r-1")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"surprise": 1}, 422),
        ({"body": None}, 422),
        ({"body": {"type": "text", "text": {"text": ""}}}, 422),
        ({"body": {"type": "poem", "poem": {}}}, 422),
        ({"body": {"type": "text", "text": {"text": "a"}, "replyTo": {}}}, 422),
        ({"receiver": {}}, 422),
        ({"receiver": {"contacts": []}}, 422),
        ({"receiver": {"contacts": [{"identifierValue": "+1"}, {"identifierValue": "+2"}]}}, 422),
        ({"receiver": {"contacts": [{"phone": CONTACT}]}}, 422),
        ({"receiver": {"contacts": [{"id": "nobody"}]}}, 404),
        ({"reference": 7}, 422),
        ({"body": {"type": "image", "image": {"images": []}}}, 202),
    ],
)
async def test_requests_are_held_to_the_schema(bird: BirdSimulator, change: dict[str, Any], status: int) -> None:
    got, answer = await _call(bird, "POST", MESSAGES, SEND | change)
    assert got == status
    assert status == 202 or answer["code"]


async def test_who_may_call_what(bird: BirdSimulator) -> None:
    assert (await _call(bird, "POST", MESSAGES, SEND, key="wrong"))[0] == 401
    assert (await _call(bird, "GET", MESSAGES, key="wrong"))[0] == 401
    assert (await _call(bird, "GET", MESSAGES.replace(WORKSPACE, ORGANIZATION)))[0] == 403
    assert (await _call(bird, "POST", MESSAGES.replace(CHANNEL, ORGANIZATION), SEND))[0] == 404
    assert bird.messages == {}


async def test_channels(bird: BirdSimulator) -> None:
    status, channel = await _call(bird, "GET", f"/workspaces/{WORKSPACE}/channels/{CHANNEL}")
    assert (status, channel["platformId"], channel["status"]) == (200, "sms", "active")
    assert (await _call(bird, "GET", f"/workspaces/{WORKSPACE}/channels"))[1]["results"] == [channel]


async def test_lists_are_filtered_and_paged(bird: BirdSimulator) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    ids = [
        bird.contact_says(CHANNEL, CONTACT, str(n), webhook=False, at=start + timedelta(seconds=n)) for n in range(25)
    ]
    other = bird.agent_says(CHANNEL, CONTACT, "agent", webhook=False, at=start)

    async def listed(**query: str) -> tuple[list[str], str | None]:
        status, found = await _call(bird, "GET", MESSAGES, **query)
        assert status == 200
        return [row["id"] for row in found["results"]], found.get("nextPageToken")

    first, token = await listed(direction="incoming")
    assert first == ids[:14:-1] and token
    second, token = await listed(direction="incoming", pageToken=token)
    third, last = await listed(direction="incoming", pageToken=token or "")
    assert first + second + third == ids[::-1] and last is None
    assert await listed(direction="outgoing") == ([other], None)
    assert await listed(to=CONTACT) == ([other], None)
    assert (await listed(**{"from": "+1999"}))[0] == []
    assert (await listed(id=ids[3]))[0] == [ids[3]]
    window = {"startAt": "2025-01-01T00:00:03Z", "endAt": "2025-01-01T00:00:05Z", "direction": "incoming"}
    assert (await listed(**window))[0] == ids[5:2:-1]
    assert (await listed(reverse="true", limit="3", direction="incoming"))[0] == ids[:3]
    bird.order = "shuffled"
    shuffled, _ = await listed(limit="1000", direction="incoming")
    assert shuffled not in (ids, ids[::-1]) and sorted(shuffled) == sorted(ids)
    bird.token_loop = True
    assert (await listed())[1] == (await listed(pageToken="again"))[1] == "again"
    bird.token_loop = False
    assert (await _call(bird, "GET", MESSAGES, limit="1001"))[0] == 422
    assert (await _call(bird, "GET", MESSAGES, startAt="yesterday"))[0] == 422
    assert (await _call(bird, "GET", MESSAGES, pageToken="%%"))[0] == 422


async def test_webhooks_are_signed_over_the_public_address(bird: BirdSimulator, receiver: Receiver) -> None:
    messageid = bird.contact_says(CHANNEL, CONTACT, "hi", name="Ana")
    assert bird.last_post is not None
    await bird.last_post
    ((headers, body),) = receiver.got
    assert _signature_fits(headers, body, PUBLIC, "bird-signing-key")
    assert not _signature_fits(headers, body, receiver.url, "bird-signing-key")
    event = json.loads(body)
    assert (event["service"], event["event"]) == ("channels", "sms.inbound")
    assert event["payload"] == bird.messages[messageid]
    assert event["payload"]["sender"]["contact"]["annotations"] == {"name": "Ana"}


def test_signature_vector_of_the_page() -> None:
    body = b'{"service":"channels","event":"sms.inbound","payload":{"id":"96a0b5fa-a986-453d-be5c-3117f989f025"}}'
    found = signature("demo-signing-key-please-change", "1718017200", PUBLIC, body)
    assert found == "NVZeMJLsa/jQmYJYub65oEB+1+rOz/goaASgfBuftQ0="


async def test_a_retry_keeps_its_timestamp(bird: BirdSimulator, receiver: Receiver) -> None:
    receiver.statuses = [503, 500]
    bird.contact_says(CHANNEL, CONTACT, "hi")
    await bird.hooks_taken()
    assert bird.hook_answers == [503, 500, 200]
    assert receiver.got[0] == receiver.got[1] == receiver.got[2]


@pytest.mark.parametrize("mode", ["none", "after", "before"])
async def test_sends_are_told_by_webhooks(
    bird: BirdSimulator, receiver: Receiver, mode: Literal["none", "after", "before"]
) -> None:
    bird.outbound_hooks = mode
    bird.statuses = ("accepted", "sent", "delivered")
    _, message = await _call(bird, "POST", MESSAGES, SEND)
    assert len(receiver.got) >= 1 if mode == "before" else not receiver.got
    await bird.hooks_taken()
    payloads = [event["payload"] for event in receiver.events]
    wanted = [] if mode == "none" else ["accepted", "delivered", "sent"]
    assert sorted(payload["status"] for payload in payloads) == wanted
    assert all(payload["id"] == message["id"] and payload["reference"] == "r-1" for payload in payloads)
    assert len({payload["lastStatusAt"] for payload in payloads}) == len(wanted)
    assert message["status"] == "accepted" and bird.messages[message["id"]]["status"] == "delivered"


async def test_agents_statuses_and_interactions(bird: BirdSimulator, receiver: Receiver) -> None:
    bird.outbound_hooks = "none"  # which is about syncd's sends only
    messageid = bird.agent_says(CHANNEL, CONTACT, "Ana here")
    await bird.hooks_taken()
    bird.set_status(messageid, "delivery_failed", reason="unknown subscriber", failure={"code": 15005})
    await bird.hooks_taken()
    interaction = bird.interact(messageid, "read")
    await bird.hooks_taken()
    assert [event["event"] for event in receiver.events] == ["sms.outbound", "sms.outbound", "sms.interaction"]
    said, failed, read = (event["payload"] for event in receiver.events)
    assert (said["reference"], said["status"]) == ("", "accepted")
    assert (failed["status"], failed["reason"], failed["failure"]) == (
        "delivery_failed",
        "unknown subscriber",
        {"code": 15005},
    )
    assert (read["id"], read["messageId"], read["type"]) == (interaction, messageid, "read")
    assert (await _call(bird, "GET", f"{MESSAGES}/{messageid}/interactions"))[1] == {"results": [read]}
    assert bird.texts(CHANNEL, CONTACT) == ["Ana here"]
    with pytest.raises(KeyError):
        bird.set_status("unknown", "sent")


async def test_without_webhook_only_a_list_tells(bird: BirdSimulator, receiver: Receiver) -> None:
    bird.contact_says(CHANNEL, CONTACT, "quiet", webhook=False)
    await bird.hooks_taken()
    assert receiver.got == []
    assert len((await _call(bird, "GET", MESSAGES))[1]["results"]) == 1


async def test_duplicates_and_repeats(bird: BirdSimulator, receiver: Receiver) -> None:
    bird.hook_copies = 3
    messageid = bird.contact_says(CHANNEL, CONTACT, "hi")
    await bird.hooks_taken()
    bird.hook_copies = 1
    bird.tell_again(messageid)
    await bird.hooks_taken()
    assert [event["payload"]["id"] for event in receiver.events] == [messageid] * 4


@pytest.mark.parametrize("text", ["NUL \0", "half \ud83d", "你好 👍"])
async def test_any_text_comes_and_goes(bird: BirdSimulator, receiver: Receiver, text: str) -> None:
    bird.contact_says(CHANNEL, CONTACT, text)
    await bird.hooks_taken()
    assert receiver.events[0]["payload"]["body"]["text"]["text"] == text
    body = {"type": "text", "text": {"text": text}}
    _, message = await _call(bird, "POST", MESSAGES, SEND | {"body": body})
    assert message["body"] == body and bird.texts(CHANNEL, CONTACT) == [text]


async def test_contacts_of_every_kind(bird: BirdSimulator) -> None:
    for address in (CONTACT, "a@example.com", "whatsappbsuid:US.1", "id:32cf"):
        messageid = bird.contact_says(CHANNEL, address, "hi", webhook=False)
        contact = bird.messages[messageid]["sender"]["contact"]
        named = {name: contact[name] for name in ("identifierKey", "identifierValue") if name in contact}
        receiver = {"contacts": [named or {"id": contact["id"]}]}
        status, _ = await _call(bird, "POST", MESSAGES, SEND | {"receiver": receiver})
        assert status == 202 and bird.texts(CHANNEL, address) == ["Hello"]


async def test_subscriptions_are_kept_and_checked(bird: BirdSimulator) -> None:
    wanted = {
        "service": "channels",
        "event": "sms.inbound",
        "url": PUBLIC,
        "eventFilters": [{"key": "channelId", "value": CHANNEL}],
        "signingKey": "sk",
    }
    status, made = await _call(bird, "POST", SUBSCRIPTIONS, wanted)
    assert (status, made["status"]) == (201, "active")
    path = f"{SUBSCRIPTIONS}/{made['id']}"
    short = SUBSCRIPTIONS.removeprefix(f"/organizations/{ORGANIZATION}")
    for listing in (SUBSCRIPTIONS, short):
        (row,) = (await _call(bird, "GET", listing))[1]["results"]
        assert row["id"] == made["id"] and "signingKey" not in row
    bird.shows_signing_keys = True
    assert (await _call(bird, "GET", path))[1]["signingKey"] == "sk"
    assert (await _call(bird, "PATCH", path, {"status": "inactive"}))[1]["status"] == "inactive"
    assert (await _call(bird, "PATCH", path, {"event": "sms.outbound"}))[0] == 422
    for url in ("http://bridge.example.com/", "https://192.0.2.7/", "https://bridge.example.com:8443/", "https://b/"):
        assert (await _call(bird, "POST", SUBSCRIPTIONS, wanted | {"url": url}))[0] == 422
    assert (await _call(bird, "POST", SUBSCRIPTIONS, {"service": "channels"}))[0] == 422
    for _ in range(4):
        assert (await _call(bird, "POST", SUBSCRIPTIONS, wanted))[0] == 201
    assert (await _call(bird, "POST", SUBSCRIPTIONS, wanted))[0] == 422
    assert (await _call(bird, "DELETE", path))[0] == 204
    assert (await _call(bird, "GET", path))[0] == 404
    assert (await _call(bird, "GET", SUBSCRIPTIONS.replace(ORGANIZATION, WORKSPACE)))[0] == 403


async def test_subscriptions_may_decide_what_is_posted(bird: BirdSimulator, receiver: Receiver) -> None:
    bird.needs_subscription = True
    bird.contact_says(CHANNEL, CONTACT, "nobody listens")
    url = "https://other.example.com/hook"
    filters = [{"key": "channelId", "value": CHANNEL}]
    wanted = {"service": "channels", "event": "sms.inbound", "url": url, "signingKey": "k2", "eventFilters": filters}
    await _call(bird, "POST", SUBSCRIPTIONS, wanted)
    bird.contact_says(CHANNEL, CONTACT, "heard")
    await bird.hooks_taken()
    ((headers, body),) = receiver.got
    assert json.loads(body)["payload"]["body"]["text"]["text"] == "heard"
    assert _signature_fits(headers, body, url, "k2")


async def test_faults_and_a_restart_keep_the_truth(bird: BirdSimulator) -> None:
    bird.faults.append(Fault("lost"))
    with pytest.raises(aiohttp.ClientError):
        await _call(bird, "POST", MESSAGES, SEND)
    assert bird.texts(CHANNEL, CONTACT) == ["Hello"]
    await bird.stop()
    await bird.start()
    assert len((await _call(bird, "GET", MESSAGES))[1]["results"]) == 1


async def test_an_early_webhook_does_not_hold_the_answer_for_ever(bird: BirdSimulator, receiver: Receiver) -> None:
    bird.outbound_hooks = "before"
    receiver.statuses = [503] * 3
    status, _ = await asyncio.wait_for(_call(bird, "POST", MESSAGES, SEND), 5)
    assert status == 202 and len(receiver.got) == 4

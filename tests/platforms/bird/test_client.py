"""Sending to Bird over real sockets: what every answer means, and finding our own send again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from syncd.model.sending import AuthFailed, Gone, MaybeSent, NotSent, RateLimited, Rejected, SendError, Sent
from syncd.simulators.base import Fault
from syncd.simulators.bird import BirdSimulator
from tests.platforms.bird.harness import ACCESS_KEY, CHANNEL, CONTACT, NOW, SIGNING_KEY, connected, outgoing, simulator

TEXT = "the quick brown fox"


@pytest.fixture
async def bird() -> AsyncIterator[BirdSimulator]:
    async with simulator() as started:
        yield started


async def _error(bird: BirdSimulator, fault: Fault | None = None, *, timeout: float = 5.0) -> SendError:
    """What a send raises; nothing that it says shows a key or the text."""
    if fault is not None:
        bird.faults.append(fault)
    async with connected(bird, timeout=timeout) as platform:
        with pytest.raises(SendError) as caught:
            await platform.send(outgoing(TEXT))
    shown = f"{caught.value.reason} {caught.value.answer} {caught.value}"
    assert not any(hidden in shown for hidden in (ACCESS_KEY, SIGNING_KEY, TEXT))
    assert len(caught.value.answer) <= 1000
    return caught.value


async def test_a_send_is_the_documented_request(bird: BirdSimulator) -> None:
    async with connected(bird) as platform:
        sent = await platform.send(outgoing(TEXT))
    (message,) = bird.sent(CHANNEL, CONTACT)
    assert (sent.messageid, sent.http_status) == (message["id"], 202)
    assert TEXT not in sent.answer and message["id"] in sent.answer
    (call,) = bird.calls_of("send")
    assert call.params["request"] == {
        "receiver": {"contacts": [{"identifierKey": "phonenumber", "identifierValue": CONTACT}]},
        "body": {"type": "text", "text": {"text": TEXT}},
        "reference": "syncd:r-1",
    }
    assert call.headers["accept"] == "application/json"
    assert call.headers["content-type"] == "application/json"
    assert call.headers["authorization"] == f"AccessKey {ACCESS_KEY}"


@pytest.mark.parametrize(
    ("contact", "spelling", "receiver"),
    [
        (CONTACT, "12025550143", {"identifierKey": "phonenumber", "identifierValue": CONTACT}),
        ("emailaddress:a@example.com", None, {"identifierKey": "emailaddress", "identifierValue": "a@example.com"}),
        ("facebookid-17:a:b", "facebookid-17:a:b", {"identifierKey": "facebookid-17", "identifierValue": "a:b"}),
        ("contact:32cf", None, {"id": "32cf"}),
        ("phonenumber:32665", None, {"identifierKey": "phonenumber", "identifierValue": "32665"}),
        (":somebody", None, {"identifierValue": "somebody"}),
        ("32665", None, {"identifierKey": "phonenumber", "identifierValue": "32665"}),
        ("a@example.com", None, {"identifierValue": "a@example.com"}),
    ],
)
async def test_contacts_are_addressed_as_they_were_spelled(
    bird: BirdSimulator, contact: str, spelling: str | None, receiver: dict[str, str]
) -> None:
    async with connected(bird) as platform:
        try:
            await platform.send(outgoing(contact=contact, spelling=spelling))
        except Rejected:
            assert contact == "contact:32cf"  # the simulator has no such contact
    (call,) = bird.calls_of("send")
    assert call.params["request"]["receiver"] == {"contacts": [receiver]}


async def test_a_contact_without_identifier_is_answered_by_its_id(bird: BirdSimulator) -> None:
    bird.contact_says(CHANNEL, "id:32cf", "hi")
    async with connected(bird) as platform:
        assert await platform.send(outgoing(contact="contact:32cf"))
    assert bird.texts(CHANNEL, "id:32cf") == ["Hello from the bridge"]


@pytest.mark.parametrize("text", ["NUL \0 inside", "half \ud83d a pair", "\ud800", "héllo ✓ 你好 👍", 'quote " \\ \n'])
async def test_any_text_goes_out_as_it_is(bird: BirdSimulator, text: str) -> None:
    async with connected(bird) as platform:
        assert (await platform.send(outgoing(text))).messageid
    assert bird.texts(CHANNEL, CONTACT) == [text]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, Rejected), (307, Rejected), (400, Rejected), (402, Rejected), (404, Rejected), (409, Rejected),
        (413, Rejected), (422, Rejected), (401, AuthFailed), (403, AuthFailed), (408, MaybeSent), (429, RateLimited),
        (500, MaybeSent), (502, MaybeSent), (503, MaybeSent), (504, MaybeSent),
    ],
)  # fmt: skip
async def test_every_status_has_its_class(bird: BirdSimulator, status: int, error: type[SendError]) -> None:
    body = json.dumps({"code": "Some Code", "message": f"no: {TEXT} with {ACCESS_KEY}"}).encode()
    headers = {"messagebird-request-id": "req-17", "Location": "http://192.0.2.1/"}
    found = await _error(bird, Fault("status", status=status, body=body, headers=headers))
    assert type(found) is error
    assert found.http_status == status
    assert "Some Code: no: (text) with ***" in found.reason
    assert found.answer.startswith("[req-17]")
    assert len(bird.calls) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<html>Bad gateway</html>", b"[1]", b'"x"', b"\xff\xfe", b'{"code":7}', b"{" * 9000]
)
async def test_errors_of_any_shape_are_taken(bird: BirdSimulator, body: bytes) -> None:
    found = await _error(bird, Fault("status", status=422, body=body))
    assert type(found) is Rejected
    assert found.reason.startswith("HTTP 422")


async def test_rate_limit_passes_on_how_long_to_wait(bird: BirdSimulator) -> None:
    found = await _error(bird, Fault("status", status=429, headers={"Retry-After": "7"}))
    assert isinstance(found, RateLimited) and found.retry_after == 7.0
    found = await _error(bird, Fault("status", status=429))
    assert isinstance(found, RateLimited) and found.retry_after is None


@pytest.mark.parametrize("body", [b"", b"{}", b"OK", b"[]", b'{"id":""}', b'{"id":null}', b'{"id":{"a":1}}'])
async def test_taken_without_a_name_is_a_doubt(bird: BirdSimulator, body: bytes) -> None:
    found = await _error(bird, Fault("reply", status=202, body=body))
    assert type(found) is MaybeSent
    assert bird.texts(CHANNEL, CONTACT) == [TEXT]


async def test_an_answer_that_repeats_the_text_is_redacted(bird: BirdSimulator) -> None:
    body = json.dumps({"status": "accepted", "body": {"text": TEXT}}).encode()
    found = await _error(bird, Fault("reply", status=200, body=body))
    assert type(found) is MaybeSent and "(text)" in found.answer


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_any_2xx_with_an_id_is_sent(bird: BirdSimulator, status: int) -> None:
    bird.faults.append(Fault("reply", status=status, body=b'{"id":99999999999999999999}'))
    async with connected(bird) as platform:
        assert (await platform.send(outgoing())).messageid == "99999999999999999999"


async def test_a_message_that_was_refused_at_once_is_rejected(bird: BirdSimulator) -> None:
    body = json.dumps({"id": "m-1", "status": "rejected", "reason": "quiet hours"}).encode()
    found = await _error(bird, Fault("reply", status=202, body=body))
    assert type(found) is Rejected and found.reason == "rejected: quiet hours"


async def test_lost_answers_are_doubts_and_lost_connections_are_not(bird: BirdSimulator) -> None:
    assert type(await _error(bird, Fault("lost"))) is MaybeSent
    assert type(await _error(bird, Fault("hangup"))) is MaybeSent
    assert type(await _error(bird, Fault("delay", seconds=1.0), timeout=0.2)) is MaybeSent
    await bird.stop()
    assert type(await _error(bird)) is NotSent


async def test_the_simulator_refuses_what_bird_refuses(bird: BirdSimulator) -> None:
    bird.access_key = "another"
    assert type(await _error(bird)) is AuthFailed
    bird.access_key, bird.workspace = ACCESS_KEY, "another"
    assert type(await _error(bird)) is AuthFailed


async def test_find_sent_names_our_own_send_only(bird: BirdSimulator) -> None:
    """G3: a doubt is settled by asking for our reference."""
    bird.agent_says(CHANNEL, CONTACT, "an agent's")
    async with connected(bird) as platform:
        sent = await platform.send(outgoing())
        await platform.send(outgoing(reference="syncd:r-2"))
        found = await platform.find_sent(outgoing(), NOW)
        assert isinstance(found, Sent) and found.messageid == sent.messageid
        assert await platform.find_sent(outgoing(reference="syncd:r-3"), NOW) is None
        assert await platform.find_sent(outgoing(contact="+12025550199"), NOW) is None
    query = dict(bird.calls_of("list")[0].params["query"])
    assert query == {"direction": "outgoing", "to": CONTACT, "startAt": "2025-06-01T11:58:00Z", "limit": "100"}


async def test_find_sent_looks_at_every_page(bird: BirdSimulator) -> None:
    async with connected(bird) as platform:
        sent = await platform.send(outgoing())
        for _ in range(250):
            bird.agent_says(CHANNEL, CONTACT, "x")
        found = await platform.find_sent(outgoing(), NOW)
    assert found is not None and found.messageid == sent.messageid
    assert len(bird.calls_of("list")) == 3


async def test_find_sent_for_a_contact_without_identifier(bird: BirdSimulator) -> None:
    bird.contact_says(CHANNEL, "id:32cf", "hi")
    async with connected(bird) as platform:
        send = outgoing(contact="contact:32cf")
        sent = await platform.send(send)
        found = await platform.find_sent(send, NOW)
    assert found is not None and found.messageid == sent.messageid


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", status=500), MaybeSent),
        (Fault("status", status=400), MaybeSent),
        (Fault("reply", status=200, body=b"<html>"), MaybeSent),
        (Fault("hangup", times=2), MaybeSent),  # the client asks a second time by itself
        (Fault("status", status=401), AuthFailed),
        (Fault("status", status=429), RateLimited),
        (Fault("status", status=404), Gone),
    ],
)
async def test_find_sent_never_says_none_without_knowing(
    bird: BirdSimulator, fault: Fault, error: type[SendError]
) -> None:
    bird.faults.append(fault)
    async with connected(bird) as platform:
        with pytest.raises(error):
            await platform.find_sent(outgoing(), NOW)


async def test_find_sent_does_not_trust_a_list_without_end(bird: BirdSimulator) -> None:
    bird.token_loop = True
    bird.agent_says(CHANNEL, CONTACT, "x", at=NOW + timedelta(seconds=1))
    async with connected(bird) as platform:
        with pytest.raises(MaybeSent):
            await asyncio.wait_for(platform.find_sent(outgoing(), NOW), 5)

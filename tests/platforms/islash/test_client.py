"""Sends to the simulated iSlash over a real socket, and every answer of §8."""

from __future__ import annotations

import json
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syncd.engine.platform import Platform
from syncd.model.sending import (
    AuthFailed,
    EndRefused,
    Gone,
    MaybeSent,
    NotSent,
    Outgoing,
    RateLimited,
    Rejected,
    SendError,
    Sent,
)
from syncd.platforms.http import Http, client_session
from syncd.platforms.islash import plugin
from syncd.simulators.base import Fault
from syncd.simulators.islash import ISlashSimulator, ParamStyle
from tests.platforms.islash.harness import END, HOOK, SECRETS, SESSION, TOKEN, outgoing, setup

TEXT = "Hello Testing"


class Line:
    """The platform under test, with its simulator at the other end."""

    def __init__(self, simulator: ISlashSimulator, platform: Platform) -> None:
        self.simulator = simulator
        self.platform = platform

    async def send(self, text: str = TEXT, **others: Any) -> Sent:
        return await self.platform.send(outgoing(text, **others))

    def got(self, identity: str = "85200000001") -> list[str]:
        return [message.text for message in self.simulator.sent(SESSION, identity)]


@pytest.fixture(params=["form", "query"])
async def line(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    style: ParamStyle = request.param
    async with (
        ISlashSimulator(token=TOKEN, sessions={SESSION: "whatsapp"}) as simulator,
        client_session() as session,
    ):
        simulator.param_style = style
        account = setup(simulator.url, param_style=style)
        yield Line(simulator, plugin.build(account, Http(session, timeout=0.7)))


async def test_a_send_arrives_and_its_answer_names_it(line: Line) -> None:
    sent = await line.send()
    (message,) = line.simulator.sent(SESSION, "85200000001")
    assert (sent.messageid, sent.http_status, message.text) == (message.sid, 200, TEXT)
    told = json.loads(sent.answer)
    assert told["message"]["id"] == message.id
    assert "body" not in told["message"] and TEXT not in sent.answer


@pytest.mark.parametrize(
    ("text", "arrives"),
    [
        ("NUL \0 here", None),
        ("emoji \U0001f468\u200d\U0001f469\u200d\U0001f467, 你好, \u202eright to left", None),
        ("a&b=c %20 + \"quotes\" 'single'; --boundary\r\nContent-Type: x\r\n\r\n", None),
        ("  spaces \n\t around  ", None),
        ("lone \ud83d surrogates \ude00 both", "lone \ufffd surrogates \ufffd both"),
        ("x" * 4000, None),
    ],
)
async def test_text_arrives_as_it_was_said(line: Line, text: str, arrives: str | None) -> None:
    await line.send(text)
    assert line.got() == [text if arrives is None else arrives]


@pytest.mark.parametrize(
    ("contact", "spelling", "identity"),
    [
        ("+85200000001", None, "85200000001"),
        ("+852 0000-0001", None, "85200000001"),
        ("0085200000001", None, "85200000001"),
        ("+85200000001", "85200000002", "85200000002"),
        ("5000000000000001", None, "5000000000000001"),
        ("US.134-91", "US.134-91", "US.134-91"),
    ],
)
async def test_whom_it_is_sent_to(line: Line, contact: str, spelling: str | None, identity: str) -> None:
    await line.send(contact=contact, spelling=spelling)
    assert line.got(identity) == [TEXT]


@pytest.mark.parametrize("reply", ["older", "pending", "no_message"])
async def test_other_shapes_of_the_answer(line: Line, reply: Any) -> None:
    line.simulator.reply = reply
    sent = await line.send()
    (sid,) = line.simulator.messages
    assert sent.messageid == (sid if reply == "older" else None)
    assert TEXT not in sent.answer


OKAY = '{"meta":{"code":"RESP_OKAY","message":"Success"},"data":{"message":{"id":1,"sid":%s}}}'


def meta(code: str, message: str = "") -> str:
    return json.dumps({"meta": {"code": code, "message": message, "trace_id": "040a6b96021b42e3"}, "data": {}})


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, meta("RESP_ERROR", "Something else"), Rejected),
        (200, meta("RESP_RATE_LIMIT"), RateLimited),
        (200, meta("RESP_ERROR", "Too many requests"), RateLimited),
        (200, meta("RESP_INVALID_TOKEN"), AuthFailed),
        (200, meta("RESP_INVALID_SESSION"), EndRefused),
        (200, meta("RESP_ERROR", "The session is invalid"), EndRefused),
        (200, meta("RESP_ERROR", "Failed to send session message"), Rejected),
        (200, meta("RESP_SESSION_WINDOW_CLOSED", "Invalid session"), Rejected),
        (200, meta("RESP_ERROR", "Outside of the 24 hour session window"), Rejected),
        (200, "<html>welcome</html>", MaybeSent),
        (200, "", MaybeSent),
        (200, "{}", MaybeSent),
        (200, "[]", MaybeSent),
        (200, '{"meta":null}', MaybeSent),
        (200, '{"meta":{"code":5}}', MaybeSent),
        (200, OKAY[:40], MaybeSent),
        (201, OKAY % '"s"', None),
        (204, "", MaybeSent),
        (301, "", Rejected),
        (302, "", Rejected),
        *[(status, "no", Rejected) for status in (400, 404, 405, 409, 413, 414, 415, 422)],
        (400, meta("RESP_TOKEN_EXPIRED"), AuthFailed),
        (400, OKAY % '"s"', Rejected),
        (401, "", AuthFailed),
        (403, "<html>", AuthFailed),
        (408, "", MaybeSent),
        (429, "", RateLimited),
        *[(status, meta("RESP_ERROR"), MaybeSent) for status in (500, 502, 503, 504)],
        (500, OKAY % '"s"', MaybeSent),
    ],
)
async def test_every_answer_has_its_class(line: Line, status: int, body: str, outcome: type[SendError] | None) -> None:
    line.simulator.faults.append(
        Fault("status", status=status, body=body.encode(), headers={"Content-Type": "text/html", "Retry-After": "7"})
    )
    if outcome is None:
        assert (await line.send()).messageid == "s"
        return
    with pytest.raises(SendError) as error:
        await line.send()
    assert type(error.value) is outcome
    assert error.value.http_status == status
    if isinstance(error.value, RateLimited):
        assert error.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("sid", "messageid"), [('"gBGG-1"', "gBGG-1"), ("7", "7"), ("null", None), ('""', None), ('"a\\u0000b"', None)]
)
async def test_the_message_id(line: Line, sid: str, messageid: str | None) -> None:
    line.simulator.faults.append(Fault("reply", status=200, body=(OKAY % sid).encode()))
    assert (await line.send()).messageid == messageid


def whole_story(error: BaseException) -> str:
    """All that any logger could make of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))


async def test_no_secret_and_no_text_in_what_is_told(line: Line) -> None:
    echo = json.dumps({"code": "RESP_X", "message": f'token {TOKEN} session={SESSION} hook {HOOK} says "{TEXT}"'})
    body = f'{{"meta":{echo},"data":{{"message":{{"body":"{TEXT}","sid":"{SESSION}"}}}}}}'.encode()
    for fault in (
        Fault("status", status=200, body=body),
        Fault("status", status=400, body=body),
        Fault("status", status=401, body=body),
        Fault("status", status=429, body=body),
        Fault("status", status=500, body=body),
        Fault("status", status=200, body=body[:-1], headers={"Content-Type": f"text/{SESSION}"}),
        Fault("status", status=302, headers={"Location": f"/x?session={SESSION}"}),
        Fault("hangup"),
    ):
        line.simulator.faults[:] = [fault]
        with pytest.raises(SendError) as error:
            await line.send()
        story = whole_story(error.value)
        assert not any(hidden in story for hidden in SECRETS), fault
        assert TEXT not in error.value.reason and TEXT not in error.value.answer, fault
        assert len(error.value.answer) <= 1000


@pytest.mark.parametrize(
    ("text", "words", "kept"),
    [
        ("ok", "The text 'ok' is too short", False),
        ("ok", "Token is broken", True),
        (TEXT * 20, "Cannot send 'Hello TestingHe…'", False),
        (TEXT * 20, f"Wrong session {SESSION} in {'x' * 5000}", True),
    ],
)
async def test_words_that_quote_the_message_are_withheld(line: Line, text: str, words: str, kept: bool) -> None:
    line.simulator.faults.append(Fault("status", status=400, body=meta("RESP_X", words).encode()))
    with pytest.raises(SendError) as error:
        await line.send(text)
    for told in (error.value.reason, error.value.answer):
        assert "RESP_X" in told and len(told) <= 1000
        assert (words[:8] in told) is kept and ("withheld" in told) is not kept


async def test_nobody_listens(line: Line) -> None:
    await line.simulator.stop()
    with pytest.raises(NotSent) as error:
        await line.send()
    assert not any(hidden in whole_story(error.value) for hidden in SECRETS)


@pytest.mark.parametrize("kind", ["lost", "hangup", "delay"])
async def test_no_answer_is_a_doubt(line: Line, kind: str) -> None:
    await line.send("first")  # a kept connection: the client must not repeat a POST on a new one
    line.simulator.faults.append(Fault(kind, seconds=5.0))
    with pytest.raises(MaybeSent) as error:
        await line.send()
    assert not any(hidden in whole_story(error.value) for hidden in SECRETS)
    assert line.got() == (["first"] if kind == "hangup" else ["first", TEXT])
    assert len(line.simulator.calls_of("send")) == 2


async def test_what_cannot_be_sent_is_not_tried(line: Line) -> None:
    with pytest.raises(Rejected):
        await line.send("")
    with pytest.raises(Gone):
        await line.send(end="elsewhere")
    assert line.simulator.calls == []


async def test_the_other_style_is_refused() -> None:
    async with (
        ISlashSimulator(token=TOKEN, sessions={SESSION: "whatsapp"}) as simulator,
        client_session() as session,
    ):
        simulator.param_style = "query"
        platform = plugin.build(setup(simulator.url, param_style="form"), Http(session))
        with pytest.raises(Rejected):
            await platform.send(outgoing())


async def test_probe_reads_only_and_says_what_to_do(line: Line) -> None:
    (finding,) = await line.platform.probe()
    assert finding.ok and finding.subject == END
    assert [call.name for call in line.simulator.calls] == ["stickers"]
    for fault, advice in (
        (Fault("status", status=401), "user_token"),
        (Fault("status", status=404), "base_url"),
        (Fault("status", status=200, body=b"<html>"), "base_url"),
        (Fault("status", status=301), "base_url"),
        (Fault("status", status=503), "again later"),
        (Fault("status", status=429), "too many"),
        (Fault("status", status=200, body=meta("RESP_ERROR", f"no {SESSION}").encode()), "session key"),
        (Fault("hangup", times=2), "base_url"),  # the client repeats a GET on a connection that went stale
    ):
        line.simulator.faults[:] = [fault]
        (finding,) = await line.platform.probe()
        assert not finding.ok and advice in finding.detail
        assert not any(hidden in finding.detail for hidden in SECRETS)
    await line.simulator.stop()
    (finding,) = await line.platform.probe()
    assert not finding.ok and "base_url" in finding.detail


async def test_a_wrong_token_and_a_wrong_session_are_told() -> None:
    async with (
        ISlashSimulator(token="other", sessions={SESSION: "whatsapp"}) as simulator,
        client_session() as session,
    ):
        platform = plugin.build(setup(simulator.url), Http(session))
        with pytest.raises(AuthFailed):
            await platform.send(outgoing())
        simulator.token, simulator.sessions = TOKEN, {"other": "whatsapp"}
        with pytest.raises(EndRefused):
            await platform.send(outgoing())
        (finding,) = await platform.probe()
        assert not finding.ok and "session" in finding.detail


def test_outgoing_shows_no_secret() -> None:
    assert not any(hidden in repr(item) for hidden in SECRETS for item in (setup("h"), outgoing(), Outgoing))

"""Calls to Ringotel and what every answer amounts to, over real sockets."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from syncd.model.sending import AuthFailed, Author, MaybeSent, NotSent, RateLimited, Rejected, SendError, Sent
from syncd.simulators.base import Fault
from tests.platforms.ringotel.harness import CONTACT, KEY, ORGID, TEXT, bench

M = "1710100373597-8b065154afbbddfb96"
S = "1710098613465-02d8b0a8b078cf73e5"


# --- the calls (design §9) ---


async def test_open_call_has_neither_content_nor_session() -> None:
    async with bench() as on:
        sessionid = await on.opened()
        (call,) = on.desk.calls_of("open")
        assert call.params == {"orgid": ORGID, "from": CONTACT, "to": "9003"}
        assert call.headers["Authorization"] == f"Bearer {KEY}"
        assert [opened.sessionid for opened in on.desk.open_calls] == [sessionid]


async def test_contact_speaks_without_timestamp() -> None:
    async with bench() as on:
        sessionid = await on.opened()
        sent = await on.platform.send(on.outgoing(sessionid=sessionid, name="Contact A"))
        (call,) = on.desk.calls_of("message")
        assert call.params == {
            "orgid": ORGID, "from": CONTACT, "to": "9003", "content": TEXT, "sessionid": sessionid
        }  # fmt: skip
        (shown,) = on.desk.chat("9003", CONTACT)
        assert (shown.id, shown.direction, shown.notified) == (sent.messageid, "incoming", True)


async def test_history_of_a_contact_stands_where_it_was_said_and_notifies_nobody() -> None:
    """Page §4.4: with a `timestamp` it is filed as history."""
    async with bench() as on:
        sessionid = await on.opened()
        await on.platform.send(on.outgoing(sessionid=sessionid, history=True))
        (call,) = on.desk.calls_of("message")
        assert call.params["timestamp"] == 1770118887507
        (shown,) = on.desk.chat("9003", CONTACT)
        assert (shown.direction, shown.notified, shown.timestamp) == ("incoming", False, 1770118887507)


@pytest.mark.parametrize("author", [Author.USER, Author.CHANNEL])
async def test_our_side_speaks_with_timestamp_in_another_users_session(author: Author) -> None:
    async with bench() as on:
        sessionid = await on.opened(extension="9004")
        copy = on.outgoing(author=author, extension="9004", author_extension="9003", sessionid=sessionid)
        await on.platform.send(copy)
        (call,) = on.desk.calls_of("message")
        assert call.params == {
            "orgid": ORGID, "from": "9003", "to": CONTACT, "content": TEXT, "sessionid": sessionid,
            "timestamp": 1770118887507,
        }  # fmt: skip
        (shown,) = on.desk.chat("9004", CONTACT)
        assert (shown.direction, shown.sender, shown.notified) == ("outgoing", "9003", False)


async def test_the_spelling_last_seen_is_used() -> None:
    async with bench() as on:
        sessionid = await on.opened("5551230001")
        for author in (Author.CONTACT, Author.USER):
            await on.platform.send(
                on.outgoing(spelling="5551230001", author=author, author_extension="9003", sessionid=sessionid)
            )
        incoming, outgoing = on.desk.calls_of("message")
        assert incoming.params["from"] == outgoing.params["to"] == "5551230001"


async def test_a_contact_without_number_is_a_senderid() -> None:
    async with bench() as on:
        sessionid = await on.opened("tg-998877", name="Contact A")
        await on.platform.send(on.outgoing(contact="tg-998877", name="Contact A", sessionid=sessionid))
        await on.platform.send(on.outgoing(contact="tg-998877", sessionid=sessionid))
        opened, named, bare = on.desk.calls
        assert opened.params == {"orgid": ORGID, "senderid": "tg-998877", "sendername": "Contact A", "to": "9003"}
        assert (named.params["senderid"], named.params["sendername"]) == ("tg-998877", "Contact A")
        assert "from" not in named.params and "sendername" not in bare.params


@pytest.mark.parametrize(
    "text", ["nul \0 inside", "\U0001f468\u200d\U0001f469 \U0001f44d\U0001f3fd", "half \ud83d", '\ude00\n\t\\"']
)
async def test_any_text_arrives_as_it_is(text: str) -> None:
    async with bench() as on:
        await on.platform.send(on.outgoing(text=text, sessionid=await on.opened()))
        assert [shown.content for shown in on.desk.chat("9003", CONTACT)] == [text]


# --- answers that take it (page §4.6) ---


@pytest.mark.parametrize(
    ("body", "messageid", "sessionid"),
    [
        (b'{"result":{"messageid":"%s"}}' % M.encode(), M, None),
        (b'{"result":{"sessionid":"%s"}}' % S.encode(), None, S),
        (b'{"result":{"messageid":"%s","sessionid":"%s"}}' % (M.encode(), S.encode()), M, S),
        (b'{"result":{"messageid":184467440737095516170,"sessionid":1844674407370955161}}',
         "184467440737095516170", "1844674407370955161"),
        (b'{"result":{"messageid":"18446744073709551617"},"error":null}', "18446744073709551617", None),
        (b'{"result":{"messageid":"m","error":null},"error":false}', "m", None),
        (b'{"result":{"messageid":"m"},"error":0}', "m", None),
        (b'{"jsonrpc":"2.0","id":null,"result":{"messageid":"m","extra":["\\ud83d"]}}', "m", None),
    ],
)  # fmt: skip
async def test_an_answer_with_an_id_is_sent(body: bytes, messageid: str | None, sessionid: str | None) -> None:
    async with bench() as on:
        on.reply(body)
        sent = await on.platform.send(on.outgoing())
        assert (sent.messageid, sent.sessionid, sent.http_status) == (messageid, sessionid, 200)


# --- answers that do not (page §7; design §14) ---

HTML = b"<html><head><title>502 Bad Gateway</title></head><body>x</body></html>"


@pytest.mark.parametrize(
    ("status", "body", "outcome", "reason"),
    [
        (200, b'{"error":{"message":"no such user"}}', Rejected, "no such user"),
        (200, b'{"error":{"code":-32000,"message":"no such user"}}', Rejected, "-32000 no such user"),
        (200, b'{"error":{"code":"E7"}}', Rejected, "E7"),
        (200, b'{"error":"no such user"}', Rejected, "no such user"),
        (200, b'{"error":7}', Rejected, "7"),
        (200, b'{"error":{}}', Rejected, "no reason"),
        (200, b'{"error":""}', Rejected, "no reason"),
        (200, b'{"result":{"error":"createUser - Unauthorized","status":-1}}', Rejected, "Unauthorized"),
        (200, b'{"result":{"error":"x"},"error":null}', Rejected, "x"),
        (200, b"", MaybeSent, "without a JSON answer"),
        (204, b"", MaybeSent, "without a JSON answer"),
        (200, b"{}", MaybeSent, "names neither"),
        (200, b'{"result":{}}', MaybeSent, "names neither"),
        (200, b'{"result":null}', MaybeSent, "names neither"),
        (200, b'{"result":[]}', MaybeSent, "names neither"),
        (200, b'{"result":"ok"}', MaybeSent, "names neither"),
        (200, b'{"result":{"messageid":"","sessionid":null}}', MaybeSent, "names neither"),
        (200, b'{"result":{"messageid":1.8446744073709552e19}}', MaybeSent, "names neither"),
        (200, b"[]", MaybeSent, "without a JSON answer"),
        (200, b"OK", MaybeSent, "without a JSON answer"),
        (200, HTML, MaybeSent, "without a JSON answer"),
        (301, b"", Rejected, "base_url"),
        (304, b"", Rejected, "base_url"),
        (400, b'{"error":{"message":"bad"}}', Rejected, "bad"),
        (401, b"", AuthFailed, "api_key"),
        (401, b'{"error":{"message":"Unauthorized"}}', AuthFailed, "api_key"),
        (403, HTML, AuthFailed, "api_key"),
        (404, HTML, Rejected, "404"),
        (413, b"", Rejected, "413"),
        (429, b"", RateLimited, "429"),
        (500, b'{"error":{"message":"database is down"}}', NotSent, "database is down"),
        (500, b'{"error":"database is down"}', NotSent, "database is down"),
        (500, b'{"result":{"error":"database is down"}}', NotSent, "database is down"),
        (500, b"{}", MaybeSent, "500"),
        (500, HTML, MaybeSent, "500"),
        (500, b"", MaybeSent, "500"),
        (501, b"", Rejected, "501"),
        (502, HTML, MaybeSent, "502"),
        (503, b'{"error":{"message":"later"}}', MaybeSent, "503"),
        (504, HTML, MaybeSent, "504"),
    ],
)
async def test_every_other_answer_has_its_outcome(
    status: int, body: bytes, outcome: type[SendError], reason: str
) -> None:
    async with bench() as on:
        on.desk.faults.append(Fault("status", status=status, body=body))
        with pytest.raises(SendError) as error:
            await on.platform.send(on.outgoing())
        assert type(error.value) is outcome
        assert error.value.http_status == status
        assert reason in error.value.reason
        assert len(on.desk.calls) == 1
        if isinstance(error.value, NotSent):
            assert error.value.tries == 3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2020 07:28:30 GMT"}, 0.0),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({}, None),
    ],
)
async def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    async with bench() as on:
        on.desk.faults.append(Fault("status", status=429, headers=headers))
        with pytest.raises(RateLimited) as error:
            await on.platform.send(on.outgoing())
        assert error.value.retry_after == seconds


async def test_retry_after_a_date_without_the_servers_clock() -> None:
    async with bench() as on:
        until = datetime.now(UTC) + timedelta(seconds=60)
        headers = {"Retry-After": format_datetime(until, usegmt=True)}
        on.desk.faults.append(Fault("status", status=429, headers=headers))
        with pytest.raises(RateLimited) as error:
            await on.platform.send(on.outgoing())
        assert error.value.retry_after is not None
        assert 55 < error.value.retry_after <= 60


async def test_a_lost_answer_is_a_doubt_and_an_unreachable_host_is_not() -> None:
    async with bench(timeout=0.3) as on:
        on.desk.faults.append(Fault("lost"))
        with pytest.raises(MaybeSent):
            await on.platform.send(on.outgoing())
        assert len(on.desk.chat("9003", CONTACT)) == 1
        on.desk.faults.append(Fault("delay", seconds=1.0))
        with pytest.raises(MaybeSent):
            await on.platform.send(on.outgoing())
        on.desk.faults.append(Fault("hangup"))
        with pytest.raises(MaybeSent):
            await on.platform.send(on.outgoing())
    async with bench(base_url="http://127.0.0.1:9/api") as on:
        with pytest.raises(NotSent) as error:
            await on.platform.send(on.outgoing())
        assert error.value.tries is None


async def test_the_simulators_own_refusals() -> None:
    async with bench(api_key="another-key") as on:
        with pytest.raises(AuthFailed):
            await on.platform.send(on.outgoing())
    async with bench() as on:
        for wrong in ({"end": "1"}, {"extension": "9999"}, {"sessionid": "1-2"}):
            with pytest.raises(Rejected):
                await on.platform.send(on.outgoing(**wrong))


# --- what is kept of an answer (G12) ---


@pytest.mark.parametrize("status", [200, 302, 401, 404, 429, 500, 502])
@pytest.mark.parametrize(
    "echo",
    [
        {"error": {"message": f"cannot store {TEXT!r} for {KEY}"}},
        {"error": f"near {TEXT[:14]}: {KEY} old-key-0"},
        {"error": {"message": {"content": TEXT}, "content": TEXT, "key": KEY}},
        {"error": {"a": TEXT, "b": KEY}},
        {"content": TEXT, "api_key": KEY},
        f"<title>{TEXT} {KEY} old-key-0</title>{TEXT} {KEY}",
        f"{TEXT} {KEY}",
    ],
)
async def test_neither_key_nor_text_is_kept(status: int, echo: Any) -> None:
    async with bench(api_key=[KEY, "old-key-0"]) as on:
        body = echo if isinstance(echo, str) else json.dumps(echo)
        on.desk.faults.append(Fault("status", status=status, body=body.encode()))
        with pytest.raises(SendError) as error:
            await on.platform.send(on.outgoing())
        kept = f"{error.value.reason} {error.value.answer} {error.value}"
        assert KEY not in kept and "old-key-0" not in kept and TEXT[:12] not in kept
        assert len(error.value.answer) <= 1000


async def test_a_short_text_does_not_hide_the_reason() -> None:
    async with bench() as on:
        on.desk.faults += [Fault("status", status=200, body=b'{"error":"organization not found"}')] * 1
        with pytest.raises(Rejected, match="organization not found"):
            await on.platform.send(on.outgoing(text="a"))


async def test_a_long_answer_is_cut() -> None:
    async with bench() as on:
        on.desk.faults.append(Fault("status", status=200, body=json.dumps({"error": "x" * 5000}).encode()))
        with pytest.raises(Rejected) as error:
            await on.platform.send(on.outgoing())
        assert len(error.value.reason) < 400 and len(error.value.answer) < 400


# --- sessions ---


@pytest.mark.parametrize(
    ("body", "sessionid"),
    [
        (b'{"result":{"sessionid":"%s"}}' % S.encode(), S),
        (b'{"result":{"sessionid":18446744073709551617,"messageid":"m"}}', "18446744073709551617"),
    ],
)
async def test_open_takes_the_session_of_the_answer(body: bytes, sessionid: str) -> None:
    async with bench() as on:
        on.reply(body)
        assert await on.opened() == sessionid


@pytest.mark.parametrize("body", [b"", b"{}", b'{"result":{}}', b'{"result":{"messageid":"m"}}', HTML])
async def test_open_without_a_session_in_the_answer_is_a_doubt(body: bytes) -> None:
    async with bench() as on:
        on.reply(body)
        with pytest.raises(MaybeSent):
            await on.opened()


@pytest.mark.parametrize("shape", ["messageid", "sessionid", "both"])
async def test_a_closed_session_is_not_sent_to_twice(shape: Any) -> None:
    async with bench() as on:
        on.desk.reopen_shape = shape
        old = await on.opened()
        on.desk.close_session(old)
        sent = await on.platform.send(on.outgoing(sessionid=old))
        (shown,) = on.desk.chat("9003", CONTACT)
        assert shown.sessionid != old
        assert sent.sessionid == (None if shape == "messageid" else shown.sessionid)
        assert sent.messageid == (None if shape == "sessionid" else shown.id)
        assert len(on.desk.calls_of("message")) == 1


@pytest.mark.parametrize(("shape", "calls"), [("sessionid", 2), ("both", 1)])
async def test_resend_on_reopen_sends_once_more_where_no_message_was_named(shape: Any, calls: int) -> None:
    async with bench(resend_on_reopen=True) as on:
        on.desk.reopen_shape, on.desk.reopen_keeps = shape, shape == "both"
        old = await on.opened()
        on.desk.close_session(old)
        sent = await on.platform.send(on.outgoing(sessionid=old))
        (shown,) = on.desk.chat("9003", CONTACT)
        assert (sent.messageid, sent.sessionid) == (shown.id, shown.sessionid)
        assert len(on.desk.calls_of("message")) == calls


async def test_resend_on_reopen_does_not_resend_what_went_where_it_should() -> None:
    async with bench(resend_on_reopen=True) as on:
        on.desk.reply_shape = "sessionid"
        session = await on.opened()
        assert await on.platform.send(on.outgoing(sessionid=session)) == Sent(
            None, session, 200, f"sessionid {session}"
        )
        await on.platform.send(on.outgoing())
        assert len(on.desk.calls_of("message")) == 2


async def test_resend_on_reopen_resends_only_once() -> None:
    async with bench(resend_on_reopen=True) as on:
        old = await on.opened()
        for sessionid in ("s2", "s3"):
            on.reply(b'{"result":{"sessionid":"%s"}}' % sessionid.encode())
        sent = await on.platform.send(on.outgoing(sessionid=old))
        assert (sent.messageid, sent.sessionid) == (None, "s3")
        assert [call.params["sessionid"] for call in on.desk.calls_of("message")] == [old, "s2"]

"""Files to Ringotel: by link, as an upload, and as a copy of a message that is there, over real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import pytest

from syncd.engine.platform import HookRequest
from syncd.model.facts import UserSaid
from syncd.model.files import Attachment, FileKind
from syncd.model.sending import AuthFailed, Author, MaybeSent, NotSent, RateLimited, Rejected, SendError
from syncd.platforms.http import client_session
from syncd.platforms.ringotel import CAPABILITIES
from syncd.simulators.base import Fault
from syncd.simulators.ringotel_desk import Shown
from tests.platforms.ringotel.harness import CONTACT, JPEG, KEY, ORGID, Bench, bench

WAYS = ("link", "upload")


def held(shown: Shown) -> tuple[str, str, str, int, str]:
    """All that the chat says of a file."""
    assert shown.file is not None and shown.text == ""
    return shown.side, shown.file.name, shown.file.content_type, shown.file.size, shown.file.sha256


def expected(side: str, data: bytes = JPEG, name: str = "Foto für Max.jpg") -> tuple[str, str, str, int, str]:
    return side, name, "image/jpeg", len(data), hashlib.sha256(data).hexdigest()


def test_every_kind_of_file_can_be_sent_and_none_has_a_caption() -> None:
    assert CAPABILITIES.files == dict.fromkeys(FileKind, 20_000_000)
    assert not CAPABILITIES.captions and not CAPABILITIES.quotes and not CAPABILITIES.types


# --- by either way ---


@pytest.mark.parametrize("way", WAYS)
async def test_a_contacts_file_is_live(way: str) -> None:
    async with bench(files=way) as on:
        sessionid = await on.opened()
        sent = await on.platform.send(on.outgoing(text="", file=on.file().file, sessionid=sessionid))
        (shown,) = on.desk.shown("9003", CONTACT)
        assert held(shown) == expected("contact")
        (message,) = on.desk.chat("9003", CONTACT)
        assert (message.id, message.sessionid) == (sent.messageid, sessionid)
        assert (message.notified, message.timestamp) == (True, None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("author", [Author.USER, Author.CHANNEL])
async def test_our_sides_file_is_outgoing_and_stands_where_it_was_said(way: str, author: Author) -> None:
    async with bench(files=way) as on:
        sessionid = await on.opened(extension="9004")
        copy = on.outgoing(text="", file=on.file().file, author=author, extension="9004", author_extension="9003")
        await on.platform.send(replace(copy, sessionid=sessionid))
        (shown,) = on.desk.shown("9004", CONTACT)
        assert (held(shown), shown.author) == (expected("user"), "9003")
        (message,) = on.desk.chat("9004", CONTACT)
        assert (message.notified, message.timestamp, message.sessionid) == (False, 1770118887507, sessionid)


@pytest.mark.parametrize("way", WAYS)
async def test_a_text_beside_a_file_is_not_sent(way: str) -> None:
    async with bench(files=way) as on:
        await on.platform.send(on.outgoing(text="a caption", file=on.file().file))
        (call,) = on.desk.calls_of("message")
        assert "a caption" not in str(call.params)
        assert len(on.desk.shown("9003", CONTACT)) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_closed_session_is_sent_to_once_more_only_where_told(way: str) -> None:
    async with bench(files=way, resend_on_reopen=True) as on:
        on.desk.reopen_shape, on.desk.reopen_keeps = "sessionid", False
        old = await on.opened()
        on.desk.close_session(old)
        lent = on.file()
        sent = await on.platform.send(on.outgoing(file=lent.file, sessionid=old))
        (shown,) = on.desk.shown("9003", CONTACT)
        assert (held(shown), shown.messageid) == (expected("contact"), sent.messageid)
        assert len(on.desk.calls_of("message")) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_what_goes_wrong_has_its_outcome(way: str) -> None:
    """G3: a file whose answer is lost is a doubt, like a text."""
    async with bench(files=way, timeout=0.5) as on:
        outgoing = on.outgoing(text="", file=on.file().file)
        api = lambda call: call.name == "message"  # noqa: E731
        faults: list[tuple[Fault, type[SendError]]] = [
            (Fault("lost", match=api), MaybeSent),
            (Fault("hangup", match=api), MaybeSent),
            (Fault("status", status=502, match=api), MaybeSent),
            (Fault("reply", status=200, match=api), MaybeSent),
            (Fault("status", status=413, match=api), Rejected),
            (Fault("status", status=429, match=api), RateLimited),
            (Fault("status", status=401, match=api), AuthFailed),
            (Fault("status", status=500, body=b'{"error":"x"}', match=api), NotSent),
        ]
        for fault, outcome in faults:
            on.desk.faults[:] = [fault]
            with pytest.raises(SendError) as error:
                await on.platform.send(outgoing)
            assert type(error.value) is outcome, fault
        on.desk.refuse_files = True
        with pytest.raises(Rejected, match="Files are not accepted"):
            await on.platform.send(outgoing)
    async with bench(files=way, base_url="http://127.0.0.1:9/api") as on:
        with pytest.raises(NotSent):
            await on.platform.send(on.outgoing(file=on.file().file))


@pytest.mark.parametrize("way", WAYS)
async def test_neither_link_nor_name_is_kept_of_an_answer(way: str) -> None:
    """G12: who knows a link can fetch the file."""
    async with bench(files=way) as on:
        file = on.file().file
        told = file.link if way == "link" else file.name
        body = json.dumps({"error": {"message": f"cannot store {told} for {KEY}"}}).encode()
        on.desk.faults.append(Fault("status", status=200, body=body))
        with pytest.raises(Rejected) as error:
            await on.platform.send(on.outgoing(text="", file=file))
        kept = f"{error.value.reason} {error.value.answer}"
        assert told not in kept and KEY not in kept


# --- by link ---


async def test_the_call_with_a_link() -> None:
    async with bench() as on:
        sessionid = await on.opened()
        lent = on.file()
        await on.platform.send(on.outgoing(text="", file=lent.file, sessionid=sessionid))
        (call,) = on.desk.calls_of("message")
        assert call.params == {
            "orgid": ORGID, "from": CONTACT, "to": "9003", "content": lent.file.link, "type": 7, "sessionid": sessionid
        }  # fmt: skip
        assert lent.opened == []


async def test_a_link_that_ringotel_cannot_fetch_is_rejected() -> None:
    async with bench() as on:
        file = replace(on.file().file, link="http://127.0.0.1:9/media/token/x.jpg")
        with pytest.raises(Rejected, match="cannot be fetched"):
            await on.platform.send(on.outgoing(text="", file=file))


# --- as an upload ---


async def test_the_form_of_an_upload() -> None:
    async with bench(files="upload") as on:
        sessionid = await on.opened()
        lent = on.file()
        await on.platform.send(on.outgoing(text="", file=lent.file, sessionid=sessionid))
        ours = on.outgoing(text="", file=lent.file, author=Author.USER, author_extension="9004", sessionid=sessionid)
        await on.platform.send(ours)
        first, second = on.desk.calls_of("message")
        assert list(first.params.items()) == [
            ("orgid", ORGID), ("from", CONTACT), ("to", "9003"), ("sessionid", sessionid), ("file", "Foto für Max.jpg")
        ]  # fmt: skip
        assert list(second.params) == ["orgid", "from", "to", "timestamp", "sessionid", "file"]
        assert (second.params["from"], second.params["to"]) == ("9004", CONTACT)
        assert first.headers["Content-Type"].startswith("multipart/form-data; boundary=")
        assert int(first.headers["Content-Length"]) > len(JPEG)
        assert first.headers["Authorization"] == f"Bearer {KEY}"
        assert all(opened.closed for opened in lent.opened) and len(lent.opened) == 2


async def test_an_upload_for_a_contact_without_number() -> None:
    async with bench(files="upload") as on:
        await on.platform.send(on.outgoing(contact="tg-1", name="half \ud83d", file=on.file().file))
        (call,) = on.desk.calls_of("message")
        assert list(call.params) == ["orgid", "senderid", "sendername", "to", "file"]
        (shown,) = on.desk.shown("9003", "tg-1")
        assert held(shown) == expected("contact")


@pytest.mark.parametrize(
    "name", ["a.jpg", "a b.jpg", 'say "hi".jpg', "back\\slash;x=1.jpg", "100%25.jpg", "你好 é.jpg"]
)
async def test_any_name_arrives_as_it_is(name: str) -> None:
    async with bench(files="upload") as on:
        await on.platform.send(on.outgoing(file=on.file(name=name).file))
        (shown,) = on.desk.shown("9003", CONTACT)
        assert held(shown) == expected("contact", name=name)


async def test_a_large_upload_is_never_in_memory_whole() -> None:
    """G9: 20 MB go from disk to socket in small pieces."""
    async with bench(files="upload", timeout=30.0) as on:
        data = b"0123456789abcdef" * 1_250_000
        lent = on.file(data, "large.jpg")
        await on.platform.send(on.outgoing(file=lent.file))
        (shown,) = on.desk.shown("9003", CONTACT)
        assert held(shown) == expected("contact", data, "large.jpg")
        assert len(lent.reads) > 10 and min(lent.reads) > 0 and max(lent.reads) <= 1024 * 1024


async def test_an_upload_has_more_time_than_other_calls() -> None:
    async with bench(files="upload", timeout=0.2) as on:
        on.desk.faults.append(Fault("delay", seconds=0.6, times=2))
        await on.platform.send(on.outgoing(file=on.file().file))
        with pytest.raises(MaybeSent, match="timed out"):
            await on.platform.send(on.outgoing())


async def test_an_answer_before_the_upload_is_over() -> None:
    """G10: a server that refuses at once, and reads no further, leaves neither file nor connection open."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
    async with bench(files="upload", base_url=base_url, timeout=5.0) as on:
        lent = on.file(b"x" * 5_000_000)
        with pytest.raises(AuthFailed):
            await on.platform.send(on.outgoing(file=lent.file))
        assert all(opened.closed for opened in lent.opened)
    server.close()


async def test_a_file_that_cannot_be_opened_is_not_sent_for_now() -> None:
    @asynccontextmanager
    async def lost() -> AsyncIterator[BinaryIO]:
        with open("/nonexistent/file", "rb") as opened:
            yield opened

    async with bench(files="upload") as on:
        with pytest.raises(NotSent, match="No such file") as error:
            await on.platform.send(on.outgoing(file=replace(on.file().file, lend=lost)))
        assert error.value.tries is None and on.desk.calls == []


# --- as a copy of what is there (design §9, row 4) ---


async def copied(on: Bench, messageid: str, **changes: Any) -> dict[str, Any]:
    await on.platform.send(on.outgoing(text="", copy_of=messageid, **changes))
    return on.desk.calls_of("message")[-1].params


async def test_a_users_file_is_copied_into_anothers_chat_by_its_id() -> None:
    async with bench() as on:
        sessionid = await on.opened(extension="9004")
        original = on.desk.user_sends_file("9003", CONTACT, JPEG, "Foto für Max.jpg")
        params = await copied(
            on, original, author=Author.USER, extension="9004", author_extension="9003", sessionid=sessionid
        )
        assert params == {
            "orgid": ORGID, "from": "9003", "to": CONTACT, "timestamp": 1770118887507, "messageid": original,
            "sessionid": sessionid,
        }  # fmt: skip
        (shown,) = on.desk.shown("9004", CONTACT)
        assert held(shown) == expected("user")
        assert shown.messageid != original


@pytest.mark.parametrize("way", WAYS)
async def test_a_contacts_file_is_copied_by_the_id_of_its_first_copy(way: str) -> None:
    async with bench(files=way) as on:
        lent = on.file()
        first = await on.platform.send(on.outgoing(text="", file=lent.file))
        assert first.messageid is not None
        sessionid = await on.opened(extension="9004")
        params = await copied(on, first.messageid, extension="9004", sessionid=sessionid, file=lent.file)
        assert params == {
            "orgid": ORGID, "from": CONTACT, "to": "9004", "messageid": first.messageid, "sessionid": sessionid
        }  # fmt: skip
        (shown,) = on.desk.shown("9004", CONTACT)
        assert held(shown) == expected("contact")
        (message,) = on.desk.chat("9004", CONTACT)
        assert message.notified


async def test_a_copy_of_what_is_not_there_is_rejected() -> None:
    async with bench() as on:
        with pytest.raises(Rejected, match="Message not found"):
            await copied(on, "1-2")


# --- what comes from users ---


async def test_a_users_file_comes_in_with_an_address_that_serves_it() -> None:
    """From the app to a fact, and back to the bytes."""
    async with client_session() as session, bench() as on:
        original = on.desk.desk.messages[on.desk.user_sends_file("9003", CONTACT, JPEG, "Foto für Max.jpg")]
        params = on.desk.told(original, on.desk.desk.sessions[original.sessionid])
        hook = on.desk.hook("message", params)
        (event,) = on.platform.verify(HookRequest(hook.url, hook.headers, hook.body))
        (fact,) = on.platform.parse(event)
        assert isinstance(fact, UserSaid)
        assert fact.files == (Attachment(FileKind.IMAGE, original.content, "image/jpeg", "Foto für Max.jpg"),)
        async with session.get(original.content) as response:
            assert await response.read() == JPEG

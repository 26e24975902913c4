"""The simulated Ringotel: files, ticks, and what is shown of edits and deletions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syncd.simulators.base import Fault
from syncd.simulators.ringotel_desk import Shown
from tests.simulators.ringotel_account import CONTACT, Account, account_of_simulator


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    async with account_of_simulator() as account:
        yield account


# --- files ---


def told_of(shown: Shown) -> tuple[str, str, str, int, str]:
    assert shown.file is not None
    return shown.side, shown.file.name, shown.file.content_type, shown.file.size, shown.file.sha256


JPEG = b"\xff\xd8\xff" + bytes(range(256)) * 9
JPEG_IS = (len(JPEG), hashlib.sha256(JPEG).hexdigest())


async def test_a_link_is_fetched_with_a_plain_get(account: Account) -> None:
    session = await account.open()
    link = account.serves(JPEG, "café 1.jpg", "image/jpeg; charset=binary")
    sent: dict[str, Any] = {
        "orgid": account.org,
        "from": CONTACT,
        "to": "9003",
        "content": link,
        "type": 7,
        "sessionid": session,
    }
    messageid = (await account.call("message", **sent))["result"]["messageid"]
    (shown,) = account.desk.shown("9003", CONTACT)
    assert told_of(shown) == ("contact", "café 1.jpg", "image/jpeg", *JPEG_IS)
    assert (shown.messageid, shown.text, shown.author) == (messageid, "", CONTACT)
    (fetch,) = account.fetches
    assert fetch["method"] == "GET" and "Authorization" not in fetch


async def test_a_link_that_leads_nowhere_is_an_error(account: Account) -> None:
    sent: dict[str, Any] = {"orgid": account.org, "from": CONTACT, "to": "9003", "type": 7}
    for link in (f"{account.url}/media/token/none.jpg", "http://127.0.0.1:9/x.jpg", "no url"):
        assert "error" in await account.call("message", **sent, content=link)
    assert account.desk.shown("9003", CONTACT) == []


async def test_a_link_can_be_fetched_after_the_answer(account: Account) -> None:
    account.desk.fetch_links = "after"
    sent: dict[str, Any] = {"orgid": account.org, "from": CONTACT, "to": "9003", "type": 7}
    await account.call("message", **sent, content=account.serves(JPEG, "a.jpg", "image/jpeg"))
    await account.call("message", **sent, content=f"{account.url}/media/token/none.jpg")
    (waiting, _) = account.desk.shown("9003", CONTACT)
    assert waiting.file is not None and waiting.file.data is None and account.fetches == []
    await account.desk.hooks_taken()
    (there, never) = account.desk.shown("9003", CONTACT)
    assert told_of(there) == ("contact", "a.jpg", "image/jpeg", *JPEG_IS)
    assert never.file is not None and never.file.data is None


async def test_an_upload_is_kept(account: Account) -> None:
    session = await account.open()
    fields: dict[str, Any] = {
        "orgid": account.org,
        "to": CONTACT,
        "from_": "9003",
        "sessionid": session,
        "timestamp": "1770118887507",
    }
    answer = await account.upload(JPEG, 'Näme "1".jpg', "image/jpeg", **fields)
    (shown,) = account.desk.shown("9003", CONTACT)
    assert told_of(shown) == ("user", 'Näme "1".jpg', "image/jpeg", *JPEG_IS)
    (message,) = account.desk.chat("9003", CONTACT)
    assert (message.id, message.sessionid) == (answer["result"]["messageid"], session)
    assert (message.timestamp, message.notified) == (1770118887507, False)
    (call,) = account.desk.calls_of("message")
    assert call.params["file"] == 'Näme "1".jpg' and "method" not in call.params


async def test_an_upload_for_those_without_numbers(account: Account) -> None:
    user = next(iter(account.desk.desk.organizations[account.org].users_by_id))
    await account.upload(b"x", "x.pdf", "application/pdf", orgid=account.org, userid=user, senderid="tg-1")
    (shown,) = account.desk.shown("9003", "tg-1")
    assert (shown.side, shown.author) == ("contact", "tg-1")
    for wrong in ({"orgid": "1"}, {"senderid": "tg-1", "userid": "1"}, {"sessionid": "1-2"}):
        fields = {"orgid": account.org, "userid": user, "senderid": "tg-1", **wrong}
        assert "error" in await account.upload(b"x", "x.pdf", "application/pdf", **fields)


async def test_files_can_be_refused_and_uploads_misplaced(account: Account) -> None:
    account.desk.refuse_files = True
    fields: dict[str, Any] = {"orgid": account.org, "from_": CONTACT, "to": "9003"}
    assert "error" in await account.upload(b"x", "x.jpg", "image/jpeg", **fields)
    link = account.serves(b"x", "x.jpg", "image/jpeg")
    assert "error" in await account.call("message", **fields, content=link, type=7)
    assert account.desk.shown("9003", CONTACT) == [] and account.fetches == []
    assert "result" in await account.call("message", **fields, content="text goes")
    account.desk.refuse_files, account.desk.place_uploads = False, False
    first = account.desk.sessions_of("9003", CONTACT)[0].id
    account.desk.close_session(first)
    await account.upload(b"x", "x.jpg", "image/jpeg", **fields, sessionid=first, timestamp="1")
    message = account.desk.chat("9003", CONTACT)[1]
    assert (message.sessionid != first, message.timestamp) == (True, None)


async def test_a_user_sends_a_file(account: Account) -> None:
    messageid = account.desk.user_sends_file("9003", CONTACT, JPEG, "my photo.jpg", copies=2)
    await account.desk.hooks_taken()
    first, again = account.heard
    assert first == again
    params = first["params"]
    assert (first["method"], params["type"], params["messageid"]) == ("message", 2, messageid)
    assert re.fullmatch(rf"{account.desk.url}/files/[A-Za-z0-9_-]{{32}}/my%20photo.jpg", params["content"])
    assert await account.get(params["content"]) == (200, JPEG, "image/jpeg")
    assert (await account.get(params["content"].replace("/files/", "/files/x")))[0] == 404
    assert len(account.desk.calls_of("file")) == 2
    (shown,) = account.desk.shown("9003", CONTACT)
    assert told_of(shown) == ("user", "my photo.jpg", "image/jpeg", *JPEG_IS)
    account.desk.faults.append(Fault("status", status=410, match=lambda call: call.name == "file"))
    assert (await account.get(params["content"]))[0] == 410


async def test_text_and_files_are_copied_by_their_id(account: Account) -> None:
    desk, org = account.desk, account.org
    session = await account.open("9004")
    text, file = desk.user_says("9003", CONTACT, "Hello"), desk.user_sends_file("9003", CONTACT, JPEG)
    copy: dict[str, Any] = {"orgid": org, "from": "9003", "to": CONTACT, "sessionid": session, "timestamp": 1000}
    copies = [(await account.call("message", **copy, messageid=each))["result"]["messageid"] for each in (text, file)]
    await account.call("message", **copy, messageid=copies[1])
    words, once, twice = desk.shown("9004", CONTACT)
    assert (words.messageid, words.text, words.file) == (copies[0], "Hello", None)
    assert told_of(once) == told_of(twice) == ("user", "photo.jpg", "image/jpeg", *JPEG_IS)
    assert len({text, file, *copies, twice.messageid}) == 5
    for wrong in ({"messageid": "1-2"}, {"messageid": text, "timestamp": "1000"}):
        assert "error" in await account.call("message", **(copy | wrong))


# --- ticks, edits and deletions ---


async def test_ticks_of_both_sides(account: Account) -> None:
    desk, org = account.desk, account.org
    session = await account.open()
    other = await account.open("9004")

    async def contact_says(text: str) -> str:
        sent = {"orgid": org, "from": CONTACT, "to": "9003", "sessionid": session, "content": text}
        return str((await account.call("message", **sent))["result"]["messageid"])

    def ticks() -> list[tuple[str, str]]:
        return [(line.text, line.tick) for line in desk.shown("9003", CONTACT)]

    in_1, out_1 = await contact_says("in 1"), desk.user_says("9003", CONTACT, "out 1")
    await contact_says("in 2")
    desk.user_says("9003", CONTACT, "out 2")
    elsewhere = desk.user_says("9004", CONTACT, "elsewhere", sessionid=other)
    assert {tick for _, tick in ticks()} == {"sent"}
    await account.call("delivered", orgid=org, messageid=out_1)
    desk.app_delivered(in_1)
    assert ticks() == [("in 1", "delivered"), ("out 1", "delivered"), ("in 2", "sent"), ("out 2", "sent")]
    desk.app_read(session, out_1)
    assert ticks() == [("in 1", "read"), ("out 1", "delivered"), ("in 2", "sent"), ("out 2", "sent")]
    await account.call("read", orgid=org, sessionid=session)
    desk.app_read(session)
    assert {tick for _, tick in ticks()} == {"read"}
    await account.call("delivered", orgid=org, messageid=out_1)
    desk.user_says("9003", CONTACT, "out 3")
    assert ticks()[1] == ("out 1", "read") and ticks()[-1] == ("out 3", "sent")
    assert desk.desk.messages[elsewhere].tick == "sent"


async def test_what_is_shown_of_edits_and_deletions(account: Account) -> None:
    desk, org = account.desk, account.org
    ids = [desk.user_says("9003", CONTACT, text) for text in ("a", "b", "c")]
    file = desk.user_sends_file("9003", CONTACT, JPEG)
    await account.call("updated", orgid=org, messageid=ids[0], content="A")
    await account.call("deleted", orgid=org, messageid=ids[1])
    desk.user_edits(ids[2], "C", copies=2)
    desk.user_deletes(file)
    shown = [(line.text, line.edited, line.deleted, line.file is None) for line in desk.shown("9003", CONTACT)]
    assert shown == [
        ("A", True, False, True),
        ("b", False, True, True),
        ("C", True, False, True),
        ("", False, True, False),
    ]
    assert [message.id for message in desk.chat("9003", CONTACT)] == [ids[0], ids[2]]
    assert "error" in await account.call("updated", orgid=org, messageid=file, content="no text")
    assert "result" in await account.call("deleted", orgid=org, messageid=ids[1])
    await desk.hooks_taken()
    assert [each["method"] for each in account.heard].count("updated") == 2

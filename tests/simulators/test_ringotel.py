"""The simulated Ringotel: it must be as strict, and as odd, as its page says."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from syncd.simulators.base import Fault
from tests.simulators.ringotel_account import CONTACT, KEY, Account, account_of_simulator


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    async with account_of_simulator() as account:
        yield account


async def test_ids_look_like_ringotels(account: Account) -> None:
    ids = [account.org, *(user["id"] for user in (await account.call("getUsers", orgid=account.org))["result"])]
    assert all(re.fullmatch(r"[0-9]{20}", each) for each in ids)
    assert any(int(each) > 2**64 for each in ids)
    session = await account.open()
    answer = await account.call("message", orgid=account.org, from_=CONTACT, to="9003", content="a", sessionid=session)
    for each in (session, answer["result"]["messageid"]):
        assert re.fullmatch(r"[0-9]{13}-[0-9a-f]{18}", each)


async def test_lists(account: Account) -> None:
    other = account.desk.add_organization(["1"], domain="other")
    organizations = (await account.call("getOrganizations"))["result"]
    assert [each["id"] for each in organizations] == [account.org, other]
    users = (await account.call("getChatUsers", orgid=account.org, path="/api/"))["result"]
    assert [each["phone"] for each in users] == ["9003", "9004"]
    assert [each["extension"] for each in (await account.call("getUsers", domain="other"))["result"]] == ["1"]
    account.desk.add_number("15550001111", ["9003"])
    (trunk,) = (await account.call("getSMSTrunks", orgid=account.org))["result"]
    assert trunk["users"] == [users[0]["id"]]


async def test_a_wrong_key_is_401_and_still_recorded(account: Account) -> None:
    assert "error" in await account.call("getOrganizations", key="wrong")
    assert account.status == 401
    assert len(account.desk.calls_of("getOrganizations")) == 1


async def test_what_is_no_json_and_no_form_is_answered_cleanly(account: Account) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    upload = aiohttp.FormData()
    upload.add_field("file", b"x", filename="x.jpg")
    form = headers | {"Content-Type": "multipart/form-data; boundary=b"}
    for data, more, status in ((b"x", headers, 400), (b"[]", headers, 400), (b"x", form, 400), (upload, headers, 200)):
        async with account.session.post(account.desk.api_url, data=data, headers=more) as response:
            assert (response.status, "error" in await response.json()) == (status, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"orgid": "1"},
        {"orgid": None},
        {"to": "9999"},
        {"content": ""},
        {"content": None},
        {"content": 5},
        {"type": 3},
        {"type": "x"},
        {"timestamp": "1"},
        {"sessionid": "1-2"},
        {"to": "9004"},
        {"from": "15559999999"},
    ],
)
async def test_what_ringotel_could_not_place_is_an_error_inside_200(account: Account, wrong: dict[str, Any]) -> None:
    right = {"orgid": account.org, "from": CONTACT, "to": "9003", "content": "a", "sessionid": await account.open()}
    assert "result" in await account.call("message", **right)
    answer = await account.call("message", **(right | wrong))
    assert (account.status, list(answer)) == (200, ["error"])
    assert len(account.desk.chat("9003", CONTACT)) == 1


async def test_a_session_or_message_of_another_organization_is_not_found(account: Account) -> None:
    other = account.desk.add_organization(["9003"])
    session = await account.open()
    messageid = account.desk.user_says("9003", CONTACT, "a")
    sent = {"from": CONTACT, "to": "9003", "content": "a", "sessionid": session}
    assert "error" in await account.call("message", orgid=other, **sent)
    assert "error" in await account.call("read", orgid=other, sessionid=session)
    assert "error" in await account.call("updated", orgid=other, messageid=messageid, content="b")
    assert "error" in await account.call("nonsense", orgid=account.org)


async def test_open_finds_the_open_session_or_makes_another(account: Account) -> None:
    first = await account.open()
    assert await account.open(contact="+" + CONTACT) == first
    account.desk.open_always_new = True
    second = await account.open()
    account.desk.open_always_new = False
    assert second != first == account.desk.sessions_of("9003", CONTACT)[0].id
    account.desk.close_session(second)
    third = await account.open()
    assert third not in (first, second)
    assert [opened.fresh for opened in account.desk.open_calls] == [True, False, True, True]
    assert len(account.desk.calls_of("open")) == 4


@pytest.mark.parametrize(
    ("shape", "names"),
    [("messageid", ["messageid"]), ("sessionid", ["sessionid"]), ("both", ["messageid", "sessionid"]), ("{}", [])],
)
@pytest.mark.parametrize("closed", [False, True])
async def test_reply_shapes(account: Account, shape: Any, names: list[str], closed: bool) -> None:
    account.desk.reply_shape, account.desk.reopen_shape = ("both", shape) if closed else (shape, "both")
    session = await account.open()
    if closed:
        account.desk.close_session(session)
    sent = {"orgid": account.org, "from": CONTACT, "to": "9003", "content": "a", "sessionid": session}
    result = (await account.call("message", **sent))["result"]
    (shown,) = account.desk.chat("9003", CONTACT)
    assert sorted(result) == names
    assert result == {name: {"messageid": shown.id, "sessionid": shown.sessionid}[name] for name in names}
    assert (shown.sessionid != session) is closed


async def test_an_empty_answer_and_a_message_that_a_closed_session_swallows(account: Account) -> None:
    session = await account.open()
    sent = {"orgid": account.org, "from": CONTACT, "to": "9003", "content": "a", "sessionid": session}
    account.desk.reply_shape = "empty"
    assert await account.call("message", **sent) is None
    assert account.status == 200
    account.desk.close_session(session)
    account.desk.reopen_keeps, account.desk.reopen_shape = False, "sessionid"
    renewed = (await account.call("message", **sent))["result"]["sessionid"]
    assert renewed != session
    assert len(account.desk.chat("9003", CONTACT)) == 1


async def test_every_form_of_message(account: Account) -> None:
    org, desk = account.org, account.desk
    session = await account.open("9004")
    await account.call("message", orgid=org, from_="9003", to=CONTACT, content="b", sessionid=session, timestamp=2000)
    await account.call("message", orgid=org, from_=CONTACT, to="9004", content="a", sessionid=session, timestamp=1000)
    original = desk.user_says("9003", CONTACT, "https://files.example/x.jpg", type=2)
    await account.call("message", orgid=org, from_="9003", to=CONTACT, messageid=original, sessionid=session)
    linked = account.serves(b"bytes", "y.jpg", "image/jpeg")
    await account.call("message", orgid=org, from_=CONTACT, to="9004", content=linked, type="7")
    await account.call("message", orgid=org, sessionid=session, type=8, content={"duration": 1})
    shown = desk.chat("9004", CONTACT)
    assert [(each.direction, each.type) for each in shown] == [
        ("outgoing", 1), ("incoming", 1), ("outgoing", 2), ("incoming", 2), ("incoming", 8)
    ]  # fmt: skip
    assert [each.notified for each in shown] == [False, False, False, True, True]
    assert [each.content for each in desk.chat("9004", CONTACT, by="time")][:2] == ["a", "b"]
    assert shown[2].content == "https://files.example/x.jpg"


async def test_contacts_and_users_by_id(account: Account) -> None:
    user = next(iter(account.desk.desk.organizations[account.org].users_by_id))
    sent = {"orgid": account.org, "senderid": "tg:1", "sendername": "A", "userid": user}
    session = (await account.call("message", **sent))["result"]["sessionid"]
    await account.call("message", **sent, content="a", sessionid=session)
    account.desk.user_says("9003", "tg:1", "b")
    await account.desk.hooks_taken()
    assert [each.content for each in account.desk.chat("9003", "tg:1")] == ["a", "b"]
    assert account.heard[0]["params"]["senderid"] == "tg:1"
    assert "to" not in account.heard[0]["params"]


async def test_indications(account: Account) -> None:
    session = await account.open()
    sent = {"orgid": account.org, "from": CONTACT, "to": "9003", "content": "a", "sessionid": session}
    messageid = (await account.call("message", **sent))["result"]["messageid"]
    for method, params in (
        ("delivered", {"messageid": messageid}),
        ("updated", {"messageid": messageid, "content": "b"}),
        ("read", {"sessionid": session}),
        ("typing", {"sessionid": session}),
    ):
        assert await account.call(method, orgid=account.org, **params) == {"result": {}}
    (shown,) = account.desk.chat("9003", CONTACT)
    assert (shown.content, shown.edited, shown.delivered) == ("b", True, False)  # what the contact said, it has
    (kept,) = account.desk.sessions_of("9003", CONTACT)
    assert kept.read_at is not None and kept.typing_at is not None
    await account.call("deleted", orgid=account.org, messageid=messageid)
    assert account.desk.chat("9003", CONTACT) == []


async def test_a_user_speaks(account: Account) -> None:
    messageid = account.desk.user_says("9003", CONTACT, "Hello")
    await account.desk.hooks_taken()
    (session,) = account.desk.sessions_of("9003", CONTACT)
    user = account.desk.desk.organizations[account.org].users["9003"]
    assert account.heard == [
        {
            "method": "message",
            "params": {
                "to": CONTACT, "from": "9003", "orgid": account.org, "userid": user.id, "messageid": messageid,
                "sessionid": session.id, "content": "Hello", "type": 1,
            },
            "api_key": KEY,
        }
    ]  # fmt: skip
    assert (session.opened_by, account.desk.hook_answers) == ("user", [200])


async def test_variants_of_the_webhook(account: Account) -> None:
    desk = account.desk
    desk.user_says("9003", CONTACT, "1", form="legacy")
    await desk.hooks_taken()
    desk.user_says("9003", CONTACT, "2", form="senderid", type="1")
    await desk.hooks_taken()
    desk.user_says("9003", CONTACT, "3", copies=3)
    await desk.hooks_taken()
    legacy, senderid, *copies = (each["params"] for each in account.heard)
    assert {"messageid", "sessionid"} & set(legacy) == set()
    assert "ownerid" in legacy
    assert (senderid["senderid"], senderid["type"]) == (CONTACT, "1")
    assert len(copies) == 3 and copies[0] == copies[1] == copies[2]


async def test_events_of_the_app(account: Account) -> None:
    desk = account.desk
    messageid = desk.user_says("9003", CONTACT, "a")
    await desk.hooks_taken()
    session = desk.chat("9003", CONTACT)[0].sessionid
    desk.app_delivered(messageid)
    desk.app_read(session)
    desk.app_read(session, messageid)
    desk.app_typing(session)
    desk.user_edits(messageid, "b")
    desk.user_deletes(messageid)
    desk.emit_event("unread", {"sessionid": session}, api_key="wrong")
    await desk.hooks_taken()
    told = {each["method"]: each for each in account.heard[1:]}
    assert set(told) == {"delivered", "read", "typing", "updated", "deleted", "unread"}
    assert told["updated"]["params"] == {"messageid": messageid, "content": "b"}
    assert told["unread"]["api_key"] == "wrong"
    assert all("orgid" not in each["params"] for each in told.values())
    assert len(account.heard) == 8


@pytest.mark.parametrize("escape", [False, True])
@pytest.mark.parametrize("text", ["nul \0", "\U0001f44d\U0001f3fd é", "half \ud83d é"])
async def test_any_text_survives_a_webhook(account: Account, escape: bool, text: str) -> None:
    account.desk.escape_hooks = escape
    account.desk.user_says("9003", CONTACT, text)
    await account.desk.hooks_taken()
    assert account.heard[0]["params"]["content"] == text
    assert account.raw[0].isascii() is (escape or "\U0001f44d" not in text)


@pytest.mark.parametrize(("echo", "log"), [("before", ["webhook", "answer"]), ("after", ["answer", "webhook"])])
async def test_echo(account: Account, echo: Any, log: list[str]) -> None:
    session = await account.open()
    account.desk.echo = echo
    account.log.clear()
    sent = {"orgid": account.org, "from": CONTACT, "to": "9003", "content": "a", "sessionid": session}
    messageid = (await account.call("message", **sent))["result"]["messageid"]
    await account.desk.hooks_taken()
    assert account.log == log
    params = account.heard[0]["params"]
    assert (params["messageid"], params["from"], params["to"]) == (messageid, "9003", CONTACT)


async def test_a_group_chat_on_a_shared_number(account: Account) -> None:
    account.desk.add_number("15550001111", ["9003", "9004"])
    session = await account.open("15550001111")
    sent: dict[str, Any] = {
        "orgid": account.org,
        "from": CONTACT,
        "to": "15550001111",
        "content": "a",
        "sessionid": session,
    }
    await account.call("message", **sent)
    account.desk.user_says("9004", CONTACT, "b", sessionid=session)
    shown = account.desk.chat("15550001111", CONTACT)
    assert [(each.content, each.sender) for each in shown] == [("a", CONTACT), ("b", "9004")]


async def test_a_lost_answer_leaves_the_message_there(account: Account) -> None:
    session = await account.open()
    account.desk.faults.append(Fault("lost", match=lambda call: call.name == "message"))
    sent = {"orgid": account.org, "from": CONTACT, "to": "9003", "content": "a", "sessionid": session}
    with pytest.raises(aiohttp.ClientError):
        await account.call("message", **sent)
    assert len(account.desk.chat("9003", CONTACT)) == 1

"""What is done to messages that are there: edits, deletions and receipts, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from syncd.engine.platform import Platform
from syncd.model.sending import AuthFailed, Author, Change, NotSent, RateLimited, Receipt, Rejected, SendError, Sent
from syncd.platforms.ringotel import CAPABILITIES
from syncd.simulators.base import Fault
from tests.platforms.ringotel.harness import CONTACT, KEY, ORGID, TEXT, Bench, bench

Do = Callable[[Platform, Change], Awaitable[Sent]]
WAYS: dict[str, Do] = {
    "updated": lambda platform, change: platform.edit(change),
    "deleted": lambda platform, change: platform.delete(change),
    "delivered": lambda platform, change: platform.receipt(change, Receipt.DELIVERED),
    "read": lambda platform, change: platform.receipt(change, Receipt.READ),
}
every_way = pytest.mark.parametrize("method", WAYS)


def change(on: Bench, text: str = TEXT) -> Change:
    """Of a message that 9003 wrote."""
    messageid = on.desk.user_says("9003", CONTACT, "before")
    return Change(ORGID, messageid, on.desk.desk.messages[messageid].sessionid, text)


def test_all_of_it_can_be_done() -> None:
    assert CAPABILITIES.edits and CAPABILITIES.deletes and CAPABILITIES.receipts


@pytest.mark.parametrize(
    ("method", "params", "seen"),
    [
        ("updated", ["orgid", "messageid", "content"], (TEXT, "sent", True, False)),
        ("deleted", ["orgid", "messageid"], ("before", "sent", False, True)),
        ("delivered", ["orgid", "messageid"], ("before", "delivered", False, False)),
        ("read", ["orgid", "sessionid"], ("before", "read", False, False)),
    ],
)
async def test_the_call_and_what_it_does(method: str, params: list[str], seen: tuple[Any, ...]) -> None:
    async with bench() as on:
        what = change(on)
        everything = {"orgid": ORGID, "messageid": what.messageid, "sessionid": what.sessionid, "content": TEXT}
        for _ in range(2):
            assert await WAYS[method](on.platform, what) == Sent(None, None, 200, "")
            (shown,) = on.desk.shown("9003", CONTACT)
            assert (shown.text, shown.tick, shown.edited, shown.deleted) == seen
        first, second = on.desk.calls_of(method)
        assert first.params == second.params == {name: everything[name] for name in params}
        assert first.headers["Content-Type"] == "application/json"


async def test_a_read_chat_is_read_up_to_now() -> None:
    async with bench() as on:
        changes = [change(on) for _ in range(3)]
        await on.platform.receipt(changes[1], Receipt.READ)
        on.desk.user_says("9003", CONTACT, "later")
        assert [line.tick for line in on.desk.shown("9003", CONTACT)] == ["read"] * 3 + ["sent"]


async def test_a_read_without_session_is_rejected_without_a_request() -> None:
    async with bench() as on:
        with pytest.raises(Rejected, match="session"):
            await on.platform.receipt(Change(ORGID, "1-2", None), Receipt.READ)
        assert on.desk.calls == []
        what = change(on)
        await on.platform.receipt(Change(ORGID, what.messageid, None), Receipt.DELIVERED)
        assert len(on.desk.calls) == 1


async def test_our_copies_can_be_changed_too() -> None:
    async with bench() as on:
        sessionid = await on.opened()
        sent = await on.platform.send(on.outgoing(author=Author.USER, author_extension="9003", sessionid=sessionid))
        assert sent.messageid is not None
        await on.platform.edit(Change(ORGID, sent.messageid, sessionid, "nul \0 half \ud83d \U0001f44d"))
        (shown,) = on.desk.shown("9003", CONTACT)
        assert (shown.text, shown.side) == ("nul \0 half \ud83d \U0001f44d", "user")
        await on.platform.delete(Change(ORGID, sent.messageid, sessionid))
        assert on.desk.chat("9003", CONTACT) == []


@every_way
@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b""), (204, b""), (200, b"{}"), (200, b'{"result":{}}'), (200, b'{"result":null,"error":null}'),
     (202, b'{"result":[]}'), (200, b'{"result":"ok"}'), (200, b"OK"), (200, b"true"), (200, b"[]"),
     (200, b'{"result":{"messageid":"m","sessionid":"s"}}')],
)  # fmt: skip
async def test_any_2xx_without_error_is_success(method: str, status: int, body: bytes) -> None:
    async with bench() as on:
        on.desk.faults.append(Fault("status", status=status, body=body))
        assert await WAYS[method](on.platform, change(on)) == Sent(None, None, status, "")


HTML = b"\n<!DOCTYPE html><html><title>502 Bad Gateway</title></html>"


@every_way
@pytest.mark.parametrize(
    ("status", "body", "outcome", "tries"),
    [
        (200, b'{"error":{"message":"Message not found"}}', Rejected, None),
        (200, b'{"result":{"error":"no","status":-1}}', Rejected, None),
        (200, HTML, NotSent, None),
        (302, b"", Rejected, None),
        (401, HTML, AuthFailed, None),
        (404, HTML, Rejected, None),
        (429, b"", RateLimited, None),
        (500, b'{"error":"x"}', NotSent, 3),
        (500, HTML, NotSent, None),
        (502, HTML, NotSent, None),
        (503, b"", NotSent, None),
    ],
)
async def test_every_other_answer_has_its_outcome(
    method: str, status: int, body: bytes, outcome: type[SendError], tries: int | None
) -> None:
    async with bench() as on:
        on.desk.faults.append(Fault("status", status=status, body=body))
        with pytest.raises(SendError) as error:
            await WAYS[method](on.platform, change(on))
        assert type(error.value) is outcome
        assert error.value.http_status == status
        if isinstance(error.value, NotSent):
            assert error.value.tries == tries
        assert len(on.desk.calls) == 1


@every_way
async def test_a_doubt_is_not_held_but_repeated(method: str) -> None:
    """G3: what may be done twice is never in doubt."""
    async with bench(timeout=0.3) as on:
        what = change(on)
        for fault in (Fault("lost"), Fault("hangup"), Fault("delay", seconds=1.0)):
            on.desk.faults.append(fault)
            with pytest.raises(NotSent) as error:
                await WAYS[method](on.platform, what)
            assert error.value.tries is None
        await WAYS[method](on.platform, what)
    async with bench(base_url="http://127.0.0.1:9/api") as on:
        with pytest.raises(NotSent):
            await WAYS[method](on.platform, change(on))


async def test_neither_key_nor_text_is_kept_of_an_answer() -> None:
    """G12: an answer may repeat the new text."""
    async with bench() as on:
        body = json.dumps({"error": {"message": f"cannot store {TEXT!r} for {KEY}"}}).encode()
        on.desk.faults.append(Fault("status", status=200, body=body))
        with pytest.raises(Rejected) as error:
            await on.platform.edit(change(on))
        kept = f"{error.value.reason} {error.value.answer}"
        assert TEXT[:12] not in kept and KEY not in kept

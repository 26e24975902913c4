"""Who is in an organization: `getChatUsers` (page §4.3), over real sockets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from syncd.model.sending import AuthFailed, MaybeSent, NotSent, RateLimited, Rejected, SendError
from syncd.platforms.ringotel import plugin
from syncd.simulators.base import Call, Fault
from tests.platforms.ringotel.harness import KEY, ORGID, bench


def asked(call: Call) -> bool:
    """Matches the one call."""
    return call.name == "getChatUsers"


def test_the_platform_says_that_it_can() -> None:
    assert plugin.capabilities.directory


async def test_each_userid_has_its_extension() -> None:
    async with bench() as on:
        elsewhere = on.desk.add_organization(["501"], orgid="28446744073709551617")
        there = on.desk.desk.organizations[ORGID].users
        assert await on.platform.users(ORGID) == {there[one].id: one for one in ("9003", "9004")}
        assert list((await on.platform.users(elsewhere)).values()) == ["501"]
        assert [(call.name, call.params) for call in on.desk.calls] == [
            ("getChatUsers", {"orgid": ORGID}),
            ("getChatUsers", {"orgid": elsewhere}),
        ]


@pytest.mark.parametrize(
    "row",
    [{"id": "1"}, {"phone": "9"}, {"id": "", "phone": "9"}, {"id": "1", "phone": None}, {"id": 1.5, "phone": "9"}, 7],
)
async def test_rows_that_name_no_user_are_left_out(row: Any) -> None:
    async with bench() as on:
        rows = [row, {"id": 18446744073709551999, "phone": 9003, "name": "n", "state": 2}]
        body = json.dumps({"result": rows}).encode()
        on.desk.faults.append(Fault("reply", status=200, body=body, match=asked))
        assert await on.platform.users(ORGID) == {"18446744073709551999": "9003"}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("status", status=401), AuthFailed),
        (Fault("status", status=429, headers={"Retry-After": "7"}), RateLimited),
        (Fault("status", status=200, body=b'{"error":{"message":"Organization not found"}}'), Rejected),
        (Fault("status", status=200, body=b'{"result":{}}'), MaybeSent),
        (Fault("status", status=502, body=b"<html>"), MaybeSent),
        (Fault("hangup"), MaybeSent),
    ],
)
async def test_a_fault_is_a_send_error(fault: Fault, kind: type[SendError]) -> None:
    async with bench() as on:
        fault.match = asked
        on.desk.faults.append(fault)
        with pytest.raises(kind) as error:
            await on.platform.users(ORGID)
        assert KEY not in f"{error.value!r} {vars(error.value)}"
        assert len(on.desk.calls) == 1, "asked once; whoever asks knows when to ask again"


async def test_nobody_listens() -> None:
    async with bench() as on:
        await on.desk.stop()
        with pytest.raises(NotSent):
            await on.platform.users(ORGID)

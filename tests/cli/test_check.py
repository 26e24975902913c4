"""`check`, `check --live` and `hooks`."""

from __future__ import annotations

from email.utils import formatdate
from time import time
from typing import Any

from syncd.simulators.base import Fault
from tests.cli.conftest import Bridge, Ran, on_sqlite
from tests.support.settings import (
    ACCESS_KEY,
    API_KEY,
    BIRD_CHANNEL,
    DESK_HOOK_SECRET,
    ISLASH_HOOK_SECRET,
    ORGANIZATION,
    PUBLIC_URL,
)
from tests.support.waiting import until


def faults(ran: Ran) -> dict[str, str]:
    """Details of the findings that are faults, by account (or id, where it is ours)."""
    return {row["account"] or row["id"]: row["detail"] for row in ran.document["findings"] if not row["ok"]}


def by_id(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in rows}


@on_sqlite
async def test_check_explains_the_config(bridge: Bridge) -> None:
    bridge.configure(replaced={'region = "GB"': 'region = "GB"\nedits = "ignore"'})
    ran = await bridge("check", "--json")
    assert ran.code == 0
    found = ran.document
    assert found["ok"]
    assert by_id(found["accounts"])["birdpoll"]["role"] == "channel"
    sms = by_id(found["links"])["sms"]
    assert sms["users"] == ["9003", "9004"]
    assert sms["desk"] == {"account": "office", "organization": ORGANIZATION}
    assert sms["channel"] == {"account": "bird", "end": BIRD_CHANNEL}
    hooks = by_id(found["hooks"])
    assert hooks["bird"]["url"] == f"{PUBLIC_URL}/hooks/bird"
    assert hooks["office"]["url"] == f"{PUBLIC_URL}/hooks/office/[secret]"
    assert hooks["islash/whatsapp"]["url"] == f"{PUBLIC_URL}/hooks/islash/[secret]"
    assert "accounts.office.api_key" in by_id(found["warnings"])
    # The tests' config sets this one key of those that do nothing yet.
    assert bridge.world.ring.calls == []


async def test_live_finds_what_is_wrong_until_it_is_right(bridge: Bridge) -> None:
    bird = bridge.world.bird
    first = await bridge("check", "--live", "--json")
    assert first.code == 1
    assert not first.document["ok"]
    assert faults(first).keys() == {"bird", "birdpoll"}  # nobody has registered their webhooks

    dry = await bridge("hooks", "register", "--dry-run", "--json")
    assert dry.code == 0
    assert {row["detail"] for row in dry.document["findings"]} == {"would be created"}
    assert (await bridge("check", "--live", "--json")).code == 1

    done = await bridge("hooks", "register", "--json")
    assert done.code == 0
    assert {row["detail"] for row in done.document["findings"]} == {"created"}
    calls = len([call for call in bird.calls if call.name == "create_subscription"])
    again = await bridge("hooks", "register", "--json")
    assert again.code == 0
    assert len([call for call in bird.calls if call.name == "create_subscription"]) == calls

    right = await bridge("check", "--live", "--json")
    assert faults(right) == {}
    assert right.code == 0
    assert {"database", "clock/office", "clock/bird", "clock/islash"} <= by_id(right.document["findings"]).keys()


@on_sqlite
async def test_live_finds_keys_that_are_refused(bridge: Bridge) -> None:
    bridge.configure(replaced={API_KEY: "no-key-of-theirs", ACCESS_KEY: "nor-this"})
    ran = await bridge("check", "--live", "--json")
    assert ran.code == 1
    assert faults(ran).keys() == {"office", "bird", "birdpoll"}
    assert "no-key-of-theirs" not in ran.out + ran.err
    registered = await bridge("hooks", "register", "--json")
    assert registered.code == 1
    assert faults(registered).keys() == {"bird", "birdpoll"}


@on_sqlite
async def test_live_compares_clocks(bridge: Bridge) -> None:
    late = {"Date": formatdate(time() - 90, usegmt=True)}
    bridge.world.islash.faults.append(Fault("status", times=-1, status=503, headers=late))
    ran = await bridge("check", "--live", "--json")
    assert ran.code == 1
    clock = by_id(ran.document["findings"])["clock/islash"]
    assert not clock["ok"]
    assert "s ahead" in clock["detail"]
    assert by_id(ran.document["findings"])["clock/office"]["ok"]


@on_sqlite
async def test_hooks_shows_whole_addresses_that_work(bridge: Bridge) -> None:
    ran = await bridge("hooks", "--json", shows_secrets=True)
    assert ran.code == 0
    rows = by_id(ran.document["hooks"])
    assert rows["office"]["url"] == f"{PUBLIC_URL}/hooks/office/{DESK_HOOK_SECRET}"
    assert rows["islash/whatsapp"]["url"] == f"{PUBLIC_URL}/hooks/islash/{ISLASH_HOOK_SECRET}"
    assert rows["islash/whatsapp"]["link"] == "whatsapp"
    assert "hooks register" in rows["bird"]["note"]
    told = await bridge("hooks", shows_secrets=True)
    assert all(row["url"] in told.out.split() for row in rows.values())
    # And the platforms that use them are heard.
    await bridge.run()
    await bridge.world.contact_says("hello")
    await until(lambda: bridge.world.desk("9003") == ["hello"], "delivered")

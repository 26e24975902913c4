"""What is known of accounts: stored, told once at each change, shown; and one refused link is not an account."""

from __future__ import annotations

import pytest

from syncd.simulators.base import Fault
from tests.cli.conftest import Shell
from tests.scenarios.operating import done, is_send
from tests.support.bridge import metric
from tests.support.databases import Database
from tests.support.figures import Figures, Note
from tests.support.settings import API_KEY, ISLASH_SESSION, POLLED, SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World

OTHER_SESSION = "is/other+session=2"
OTHER_SECRET = "islash-hook-of-another-link"


async def state(world: World, account: str) -> str:
    """What the table says; `up` where it says nothing."""
    rows = await world.database.rows(f"SELECT state FROM account_state WHERE account = '{account}'")
    return str(rows[0]["state"]) if rows else "up"


async def becomes(world: World, account: str, wanted: str) -> None:
    """Wait until table and metric say so."""

    async def so() -> bool:
        shown = metric(await world.metrics(), "syncd_account_up", account=account)
        return await state(world, account) == wanted and shown == (wanted == "up")

    await until(so, f"{account} is {wanted}")


async def test_accounts_that_are_not_well_keep_their_queue(world: World, operator: Shell, figures: Note) -> None:
    """G1, G4, G10: throttled, failing, unauthorised, and up again: stored and told once; nothing is lost."""
    await world.start()
    await world.contact_says("hello")
    await world.contact_says("hello", contact=BOB, link=WHATSAPP)
    await world.quiet()

    throttled = Fault("status", times=2, status=429, headers={"Retry-After": "1"}, match=is_send)
    world.bird.faults.append(throttled)
    for number in range(5):
        await world.user_says("9003", f"throttled {number}")
    await becomes(world, "bird", "throttled")
    assert (await state(world, "birdpoll"), await state(world, "islash")) == ("up", "up")
    await becomes(world, "bird", "up")
    assert throttled.hits == 2, "one request found out each time, not one a message"
    await world.quiet()

    port = int(world.islash.url.rpartition(":")[2])
    await world.islash.stop()
    for number in range(5):
        await world.user_says("9003", f"failing {number}", contact=BOB, link=WHATSAPP)
    await becomes(world, "islash", "failing")
    found = (await operator("status", "--json")).document
    (row,) = [row for row in found["accounts"] if row["id"] == "islash"]
    assert (row["state"], row["reason"].partition(":")[0], found["backlog"]) == ("failing", "not connected", 5)
    await world.islash.start(port)
    await becomes(world, "islash", "up")
    await world.quiet()

    world.ring.api_key = "another/key+2=$"
    for number in range(5):
        await world.contact_says(f"unauthorised {number}")
    await becomes(world, "office", "unauthorised")
    await world.bridge.kill()
    world.ring.api_key = API_KEY
    await world.bridge.start()
    await becomes(world, "office", "up")
    await world.check()
    lines = [
        (line["event"], line["account"])
        for line in world.bridge.lines()
        if line["event"].startswith("account.") and line["account"] != "birdpoll"
    ]
    assert lines == [
        ("account.throttled", "bird"),
        ("account.up", "bird"),
        ("account.failing", "islash"),
        ("account.up", "islash"),
        ("account.unauthorised", "office"),
    ], "the last one recovers in another process, for which it never was otherwise"
    figures(Figures("429, unreachable, 401", world.database.kind, len(world.said), len(world.said), 0, 0, 0))


async def test_one_refused_session_holds_back_no_other_link(world: World, operator: Shell, figures: Note) -> None:
    """G10: iSlash refuses one link's session: its lanes wait, told once; the account's other link goes on."""
    second = {"account": "islash", "session": OTHER_SESSION, "webhook_secret": OTHER_SECRET}
    world.islash.sessions[OTHER_SESSION] = "whatsapp"
    world.islash.hook_urls[OTHER_SESSION] = f"{world.bridge.url}/hooks/islash/{OTHER_SECRET}"
    await world.start(Settings(links=(WHATSAPP, POLLED, SMS), keys_of={POLLED: {"channel": second}}))
    await world.contact_says("hello", contact=BOB, link=WHATSAPP)
    world.islash.contact_says(OTHER_SESSION, ALICE.removeprefix("+"), "hello")
    await until(lambda: world.desk("9003", ALICE), "the other link's contact is there")
    await world.quiet()
    del world.islash.sessions[ISLASH_SESSION]
    for number in range(3):
        await world.user_says("9003", f"refused {number}", contact=BOB, link=WHATSAPP)
        world.ring.user_says("9003", ALICE, f"taken {number}")

    def others() -> list[str]:
        return [message.text for message in world.islash.sent(OTHER_SESSION, ALICE.removeprefix("+"))]

    await until(lambda: len(others()) == 3, "the other link goes on", seconds=5)
    assert others() == [f"taken {number}" for number in range(3)]
    await until(lambda: world.bridge.events("link.refused"), "told")
    assert await state(world, "islash") == "up"
    refused = sum(call.params["session"] == ISLASH_SESSION for call in world.islash.calls_of("send"))
    assert refused == 1, "its lane waits"
    world.islash.sessions[ISLASH_SESSION] = "whatsapp"
    await done(operator, "resume", WHATSAPP)
    await world.arrive(lambda: world.channel(WHATSAPP, BOB), [f"refused {number}" for number in range(3)])
    await world.quiet()
    for event in ("link.refused", "link.works_again"):
        assert [line["link"] for line in world.bridge.events(event)] == [WHATSAPP]
    assert world.bridge.events("account.unauthorised") == []
    figures(Figures("one session refused", world.database.kind, 8, 8, 0, 0, 0))


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_a_new_process_does_not_believe_what_an_old_one_saw(database: Database, world: World) -> None:
    """G13, G14: what a process that ended wrote of an account stands only until another knows better."""
    await world.start()
    await world.contact_says("hello")
    await world.quiet()
    await world.bridge.stop()
    await database.change("DELETE FROM account_state")
    await database.change("INSERT INTO account_state VALUES ('office', 'failing', 'not connected', now())")
    assert await state(world, "office") == "failing"
    await world.bridge.start()
    await world.contact_says("hello again")
    await becomes(world, "office", "up")

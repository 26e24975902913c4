"""Polling beside webhooks: what it says of them."""

from __future__ import annotations

from tests.support.settings import POLLED, Settings
from tests.support.waiting import until
from tests.support.world import World


async def test_a_webhook_that_went_silent_is_told_of_once(world: World) -> None:
    """G1, G13: polls find what no webhook brings: nothing is lost, and one line says that the webhook is broken."""
    await world.start(Settings(poll_interval="0.2s"))
    # The first poll of all only sets the cursor.
    await until(lambda: world.database.value("SELECT count(*) FROM cursor WHERE value <> ''"), "polled once")
    told: list[str] = []
    for number in range(8):
        told.append(f"without a webhook {number}")
        await world.contact_says(told[-1], link=POLLED)
        await world.arrive(lambda: world.desk("9003"), told)
    await until(lambda: world.bridge.events("webhook.silent"), "it is said")
    await world.check()
    assert [line["link"] for line in world.bridge.events("webhook.silent")] == [POLLED]

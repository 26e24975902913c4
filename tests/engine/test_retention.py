"""What was kept long enough goes, and nothing that is still needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, select, update

from syncd.engine import retention as engine_retention
from syncd.engine.retention import Retention
from syncd.store.schema import delivery, event, mapping, message
from syncd.store.writer import Store
from tests.engine.stage import Stage, stage
from tests.model.samples import contact_said
from tests.store.databases import Database


@pytest.fixture
async def there(store: Store) -> AsyncIterator[Stage]:
    """An engine whose senders are shut: nothing is sent."""
    made = stage(store)
    for sender in made.dispatcher.senders.values():
        sender.gate.shut(3600)
    yield made
    await made.dispatcher.drain()


async def bodies(database: Database) -> list[tuple[bool, bool]]:
    """Of each message and of each event, whether its body is there."""
    texts = await database.rows(message, "id", "body")
    events = await database.rows(event, "id", "body")
    return [(one[1] is not None, two[1] is not None) for one, two in zip(texts, events, strict=True)]


async def test_old_texts_and_events_go(database: Database, there: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """G2, design §4: bodies after `retention.bodies`, raw events after `retention.events`; a late copy is known."""
    for number in range(3):
        await there.tell("bird", contact_said(f"c{number}", f"text {number}"))

    def age(conn: Connection) -> None:
        first, second = conn.execute(select(message.c.id).order_by(message.c.id).limit(2)).scalars()
        long_ago = datetime.now(UTC) - timedelta(days=100)
        conn.execute(update(message).where(message.c.id.in_((first, second))).values(created_at=long_ago))
        conn.execute(update(event).values(received_at=long_ago))
        conn.execute(update(delivery).where(delivery.c.message == first).values(state="sent", open=False))

    await database.run(age)
    monkeypatch.setattr(engine_retention, "PAGE", 1)
    swept = Retention(
        there.store, bodies=timedelta(days=90), events=timedelta(days=30), clock=lambda: datetime.now(UTC)
    )
    for _ in range(2):
        await swept.sweep()
    assert await bodies(database) == [(False, False), (True, False), (True, False)]
    assert len(await database.rows(mapping, "message")) == 3
    await there.tell("bird", contact_said("c0", "text 0"))
    assert len(await database.rows(message, "id")) == 3

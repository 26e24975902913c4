"""The figures of `/metrics`: what they say of the tables, and at what price."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from sqlalchemy import Connection, Engine, event

import syncd
from syncd import metrics
from syncd.config import load
from syncd.daemon import figures as figures_module
from syncd.daemon.figures import Figures
from syncd.model.clock import utc_now
from syncd.model.files import Attachment, FileKind
from syncd.store import accounts, cursors, lanes, migrations, operations, reports
from syncd.store import media as media_of_messages
from syncd.store import schema as tables
from syncd.store.database import Location
from syncd.store.dialect import insert_rows
from syncd.store.writer import Store
from tests.scenarios.operating import rejecting
from tests.scenarios.test_files import contact_sends
from tests.scenarios.test_files import settings as files_settings
from tests.store.databases import statements
from tests.store.samples import claim, completion, duty, put
from tests.support.bridge import metric
from tests.support.databases import Database, sqlite_database
from tests.support.files import JPEG, PNG
from tests.support.settings import POLLED, POLLED_CHANNEL, SMS, WHATSAPP, Settings, toml
from tests.support.waiting import until
from tests.support.world import BOB, World

NOW = datetime.now(UTC)


@dataclass(slots=True)
class Shown:
    """A store with its figures. The config may be changed."""

    store: Store
    folder: Path
    figures: Figures
    config: Any

    def configure(self, settings: Settings) -> None:
        """Take another config."""
        urls = dict.fromkeys(("ringotel", "bird", "islash"), "http://127.0.0.1:1")
        file = self.folder / "config.toml"
        database = f"sqlite:///{self.folder / 'unused.db'}"
        file.write_text(toml(settings, database=database, listen="127.0.0.1:1", admin="127.0.0.1:2", urls=urls))
        self.config = load(file, {})

    async def now(self) -> None:
        """Read the figures, however fresh they are."""
        self.figures._not_before = 0.0
        before = value("syncd_report_time_seconds")
        await self.figures.refresh()
        await until(lambda: value("syncd_report_time_seconds") > before, "they are read")


@pytest.fixture
async def shown(database: Database, tmp_path: Path) -> AsyncIterator[Shown]:
    """On an empty database of each kind."""
    location = Location.of(database.url)
    await migrations.with_connection(location, migrations.upgrade)
    store = Store(location)
    await store.start()
    made = Shown(store, tmp_path, Figures(store, lambda: made.config, utc_now), None)
    made.configure(Settings(poll_interval="30s"))
    try:
        yield made
    finally:
        await made.figures.close()
        await store.stop()


def value(name: str, **labels: str) -> float:
    """What `/metrics` shows in this process."""
    return metric(generate_latest(metrics.registry).decode(), name, **labels)


def reasons(link: str, account: str) -> dict[str, float]:
    """What lanes wait for; only where there are some."""
    found = {
        reason: value("syncd_lanes_waiting", link=link, account=account, reason=reason)
        for reason in figures_module.REASONS
    }
    return {reason: count for reason, count in found.items() if count}


def _end(conn: Connection, lane: str, state: str = "ready", *, why: str = "", wait: float | None = 600.0) -> None:
    """An attempt on the head of a lane ends so."""
    held = claim(conn, "one", f"{lane}/channel")[f"{lane}/channel"]
    lanes.complete(conn, [completion(held, state, wait=wait, why=why)], "one", NOW)


async def test_lanes_are_counted_by_what_they_wait_for(shown: Shown) -> None:
    waits = {
        "c2": "not connected: refused",
        "c3": "rate limited: 429",
        "c4": "account: 401",
        "c5": "its end: no such session",
    }
    await shown.store.write(put, duty(1), duty(2), *(duty(1, lane) for lane in (*waits, "c6", "c7", "c8")))
    await shown.store.write(put, duty(1, "c9", "desk:9003"))
    for lane, why in waits.items():
        await shown.store.write(lambda conn, lane=lane, why=why: _end(conn, lane, why=why))
    await shown.store.write(lambda conn: _end(conn, "c6", "unknown", why="waits for news"))
    await shown.store.write(lambda conn: _end(conn, "c7", "dead", wait=None))
    # What it waited for is over, and nobody has come yet.
    await shown.store.write(lambda conn: _end(conn, "c8", why="rate limited: 429", wait=-1.0))
    await shown.now()
    assert reasons(SMS, "bird") == {
        "ready": 2,
        "doubt": 1,
        "unauthorised": 1,
        "rate_limited": 1,
        "refused": 1,
        "retry": 1,
    }
    assert reasons(SMS, "office") == {"ready": 1}
    assert reasons(WHATSAPP, "islash") == {}
    states = {state: value("syncd_deliveries", link=SMS, account="bird", state=state) for state in ("dead", "unknown")}
    assert states == {"dead": 1, "unknown": 1}
    assert value("syncd_deliveries", link=SMS, account="bird", state="backlog") == 8
    assert value("syncd_deliveries", link=SMS, account="office") == 1
    age = (NOW - duty(1).created_at).total_seconds()
    assert value("syncd_oldest_delivery_seconds", link=SMS, account="bird") == pytest.approx(age, abs=300)
    assert value("syncd_oldest_delivery_seconds", link=WHATSAPP) == 0

    await shown.store.write(accounts.set_state, "bird", "unauthorised", "401", NOW)
    await shown.now()
    assert reasons(SMS, "bird") == {"doubt": 1, "unauthorised": 3, "rate_limited": 1, "refused": 1, "retry": 1}
    await shown.store.write(operations.pause_sending, "bird", "somebody", NOW)
    await shown.now()
    assert reasons(SMS, "bird") == {"doubt": 1, "paused": 6}, "a doubt is settled all the same"
    assert reasons(SMS, "office") == {"ready": 1}
    assert (value("syncd_paused"), value("syncd_paused", link=SMS, account="bird")) == (1, 1)
    await shown.store.write(operations.pause_sending, SMS, "somebody", NOW)
    await shown.now()
    assert reasons(SMS, "office") == {"paused": 1}

    shown.configure(Settings(links=(WHATSAPP,)))
    await shown.now()
    assert value("syncd_lanes_waiting", link=SMS) == value("syncd_deliveries", link=SMS) == 0
    assert reasons(metrics.REMOVED, metrics.REMOVED) == {
        "ready": 3,
        "doubt": 1,
        "unauthorised": 1,
        "rate_limited": 1,
        "refused": 1,
        "retry": 1,
    }
    assert value("syncd_deliveries", link=metrics.REMOVED, state="dead") == 1


async def test_pages_of_lanes_make_a_whole(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the size of a page, and where a lane has nothing left, every lane is counted once."""
    await shown.store.write(put, *(duty(number, f"c{lane}") for lane in range(7) for number in range(1, lane % 3 + 2)))
    await shown.store.write(lambda conn: _end(conn, "c3", "sent", wait=None))
    for size in (1, 2, 3, 6, 7, 100):
        monkeypatch.setattr(figures_module, "PAGE", size)
        await shown.now()
        assert reasons(SMS, "bird") == {"ready": 6}, size
        assert value("syncd_deliveries", link=SMS, state="backlog") == 12, size


async def test_events_files_and_polls(shown: Shown) -> None:
    def held(number: int, account: str, state: str) -> dict[str, Any]:
        told = {"account": account, "key": f"k{number}", "end": "", "via": "webhook", "body": b"", "copies": 1}
        return told | {"id": f"e{number}", "received_at": NOW, "state": state, "conversation_id": "c1", "reason": ""}

    def store(conn: Connection) -> None:
        states = [
            ("bird", "parked"),
            ("bird", "parked"),
            ("bird", "waiting"),
            ("islash", "done"),
            ("office", "waiting"),
        ]
        insert_rows(conn, tables.event, [held(number, *one) for number, one in enumerate(states)])
        files = [Attachment(url=url, kind=FileKind.IMAGE) for url in ("https://files.example/1", None)]
        media_of_messages.add(conn, "m1", "bird", files, NOW, iter(("f1", "f2")).__next__)

    await shown.now()
    assert value("syncd_last_poll_time_seconds", account="birdpoll", link=POLLED) == 0
    await shown.store.write(store)
    await shown.store.write(cursors.take, "birdpoll", POLLED_CHANNEL, "one", timedelta(minutes=1))
    await shown.store.write(cursors.move, "birdpoll", POLLED_CHANNEL, "c1", "one", NOW)
    await shown.now()
    found = {
        (account, state): value("syncd_events_held", account=account, state=state)
        for account in ("office", "bird", "islash")
        for state in ("waiting", "parked")
    }
    assert {pair: count for pair, count in found.items() if count} == {
        ("bird", "parked"): 2,
        ("bird", "waiting"): 1,
        ("office", "waiting"): 1,
    }
    assert (value("syncd_media_wanted", account="bird"), value("syncd_media_wanted")) == (1, 1)
    assert value("syncd_last_poll_time_seconds", link=POLLED) == pytest.approx(NOW.timestamp(), abs=0.001)
    told = generate_latest(metrics.registry).decode()
    assert f'syncd_last_poll_time_seconds{{account="bird",link="{SMS}"}}' not in told, "it is not polled"


async def test_many_scrapes_read_once(shown: Shown) -> None:
    await shown.store.write(put, duty(1))
    shown.figures._not_before = 0.0
    with statements() as sent:
        await asyncio.gather(*(shown.figures.refresh() for _ in range(50)))
        once = len(sent)
        await asyncio.gather(*(shown.figures.refresh() for _ in range(50)))
    assert (len(sent), 0 < once < 12) == (once, True)
    assert value("syncd_deliveries", link=SMS, state="backlog") == 1


async def test_the_longer_it_takes_the_rarer_it_is(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures_module, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(figures_module, "SHARE", 1_000_000)
    await shown.now()
    await shown.store.write(put, duty(1))
    await shown.figures.refresh()
    assert value("syncd_deliveries", link=SMS, state="backlog") == 0
    monkeypatch.setattr(figures_module, "SHARE", 0)
    await shown.now()
    await shown.store.write(put, duty(2))
    await shown.figures.refresh()
    assert value("syncd_deliveries", link=SMS, state="backlog") == 2


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_scrape_does_not_wait_for_a_slow_database(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    going_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(conn: Connection) -> None:
        asyncio.run_coroutine_threadsafe(going_on.wait(), loop).result(60)

    monkeypatch.setattr(figures_module, "WAIT_SECONDS", 0.05)
    readers = [asyncio.create_task(shown.store.read(slow)) for _ in range(2)]
    before = value("syncd_report_time_seconds")
    shown.figures._not_before = 0.0
    try:
        for _ in range(3):
            await asyncio.wait_for(shown.figures.refresh(), 10)
        assert value("syncd_report_time_seconds") == before
    finally:
        going_on.set()
        await asyncio.gather(*readers)
    await until(lambda: value("syncd_report_time_seconds") > before, "what was begun is finished")


async def test_an_outage_is_shown_and_old_figures_stay(shown: Shown) -> None:
    await shown.store.write(put, duty(1))
    await shown.now()
    assert value("syncd_database_up") == 1
    shown.store.outage.failed(ConnectionResetError(), asyncio.get_running_loop().time())
    shown.figures._not_before = 0.0
    before = value("syncd_report_time_seconds")
    await shown.figures.refresh()
    assert value("syncd_database_up") == 0
    assert (value("syncd_deliveries"), value("syncd_report_time_seconds")) == (1, before)
    await until(lambda: value("syncd_database_up") == 1, "it is over")


async def test_no_report_goes_through_what_is_settled(tmp_path: Path) -> None:
    """Of events, deliveries, files and lanes a report reads by the partial indexes only, which hold what is open."""
    location = Location.of(sqlite_database(tmp_path).url)
    await migrations.with_connection(location, migrations.upgrade)
    store = Store(location)
    seen: list[tuple[str, Any]] = []

    def note(conn: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    def plans(conn: Connection) -> list[str]:
        event.listen(Engine, "before_cursor_execute", note)
        try:
            for after in ("", "c1"):
                reports.lanes_waiting(conn, after, 1, NOW)
            reports.held_by_link(conn)
            reports.events_held(conn)
            reports.media_wanted(conn)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        asked = [conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given) for statement, given in seen]
        return [row[3] for rows in asked for row in rows]

    await store.start()
    try:
        await store.write(put, duty(1), duty(1, "c2"))
        steps = await store.read(plans)
    finally:
        await store.stop()
    whole = {"event", "delivery", "media", "lane", "conversation"}
    through = [step for step in steps if step.split()[1] in whole and "USING PRIMARY KEY" not in step]
    assert len(through) >= 6
    assert [
        step for step in through if " USING INDEX ix_" not in step and " USING COVERING INDEX ix_" not in step
    ] == []


async def test_the_daemon_shows_them(world: World) -> None:
    await world.start()
    text = await world.metrics()
    assert metric(text, "syncd_build_info", version=syncd.__version__) == 1
    assert metric(text, "syncd_database_up") == 1
    assert metric(text, "process_start_time_seconds") > NOW.timestamp() - 3600
    assert metric(text, "syncd_last_webhook_time_seconds", account="bird") == 0
    began = datetime.now(UTC).timestamp()
    await world.contact_says("hello")
    text = await world.metrics()
    assert metric(text, "syncd_last_webhook_time_seconds", account="bird") >= began
    assert metric(text, "syncd_last_webhook_time_seconds", account="islash") == 0
    await world.contact_says("hello", contact=BOB, link=WHATSAPP)
    await world.quiet()

    world.bird.faults.append(rejecting(SMS))
    await world.user_says("9003", "no such number")
    world.tolerated.add("delivery.dead")
    await world.islash.stop()
    for number in range(3):
        await world.user_says("9003", f"away {number}", contact=BOB, link=WHATSAPP)

    async def seen() -> bool:
        text = await world.metrics()
        dead = metric(text, "syncd_deliveries", link=SMS, account="bird", state="dead")
        backlog = metric(text, "syncd_deliveries", link=WHATSAPP, account="islash", state="backlog")
        waits = metric(text, "syncd_lanes_waiting", link=WHATSAPP, account="islash")
        return (dead, backlog, waits) == (1, 3, 1)

    await until(seen, "they show what is given up and what waits", gap=0.1)


async def test_the_daemon_counts_files(world: World) -> None:
    await world.start(files_settings(world))
    await contact_sends(world, PNG)
    await world.quiet()
    world.bird.media_gone = True
    await contact_sends(world, JPEG)

    async def seen() -> bool:
        text = await world.metrics()
        counted = [metric(text, "syncd_media_total", account="bird", result=result) for result in ("kept", "missing")]
        return counted == [1, 1]

    await until(seen, "one is kept, one is missing", gap=0.1)

"""Messages that statuses, edits, deletions and answers speak of: loaded with all that was made of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.model.decide import decide
from syncd.model.facts import CopyStatus, Fact, StatusSeen, UserDeleted, UserEdited
from syncd.model.files import FileKind
from syncd.model.outcome import Outcome
from syncd.model.picture import Picture
from syncd.model.sending import Author
from syncd.model.work import CHANNEL, Op
from syncd.store import loading, said, saving
from syncd.store.dialect import insert_rows
from syncd.store.lanes import Held
from syncd.store.schema import conversation, delivery, mapping, message
from tests.model.samples import (
    CONTACT,
    TOPOLOGY,
    channel_said,
    chat,
    contact_said,
    counter,
    incoming,
    status_seen,
    user_said,
)
from tests.store.databases import Database, statements
from tests.store.samples import claim, duty, put

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
COLLEAGUE = "desk:9004"
SENT, DELIVERED, READ, FAILED = CopyStatus.SENT, CopyStatus.DELIVERED, CopyStatus.READ, CopyStatus.FAILED


def copy(conn: Connection, number: int, messageid: str | None, **changes: Any) -> None:
    """A copy of the `number`-th message: by default ours on the channel of `sms`."""
    conversation_id = changes.pop("conversation_id", "c1")
    row: dict[str, Any] = {
        "message": duty(number, conversation_id).message,
        "link": "sms",
        "account": "bird",
        "contact": CONTACT,
        "extension": None,
        "sessionid": None,
        "messageid": messageid,
        "part": 0,
        "direction": "out",
        "origin": False,
        "status": "sent",
        "created_at": NOW,
        "updated_at": NOW,
    }
    insert_rows(conn, mapping, [row | changes])


def on_desk(conn: Connection, number: int, messageid: str | None, sessionid: str = "s4", **changes: Any) -> None:
    """Ours in a chat of user 9004."""
    copy(conn, number, messageid, **({"account": "office", "extension": "9004", "sessionid": sessionid} | changes))


def open_session(conn: Connection, sessionid: str = "s4", extension: str = "9004") -> None:
    picture = Picture(counter(f"session-{sessionid}-"), NOW)
    picture.adopt(chat(extension), sessionid, spelling=None, at=NOW)
    saving.save_sessions(conn, picture)


def two_messages(conn: Connection) -> None:
    """Two messages of user 9003, on the channel and in the colleague's chat."""
    put(conn, *(duty(number, target=target) for number in (1, 2) for target in (CHANNEL, COLLEAGUE)))
    open_session(conn)
    for number in (1, 2):
        original = {"account": "office", "extension": "9003", "sessionid": "s3", "origin": True, "status": "received"}
        copy(conn, number, f"u{number}", **original)
        copy(conn, number, f"b{number}")
        on_desk(conn, number, f"m{number}")


def loaded(conn: Connection, *facts: Fact, account: str | None = None) -> Picture:
    picture = Picture(counter(), NOW)
    loading.load(conn, picture, TOPOLOGY, [incoming(fact, account=account) for fact in facts])
    return picture


async def load(database: Database, *facts: Fact, account: str | None = None) -> Picture:
    return await database.run(lambda conn: loaded(conn, *facts, account=account))


async def test_a_message_comes_with_its_deliveries_and_copies(database: Database) -> None:
    await database.run(two_messages)
    await database.run(
        lambda conn: conn.execute(
            message.update()
            .where(message.c.id == duty(1).message)
            .values(files="image,voice", revision=3, author="user", extension="9003")
        )
    )
    picture = await load(database, UserEdited("u1", "new"), account="office")
    (found,) = picture.said.values()
    one = duty(1)
    assert (found.id, found.link, found.contact, found.conversation_id) == (one.message, "sms", CONTACT, "c1")
    assert (found.author, found.extension, found.text, found.said_at) == (Author.USER, "9003", one.text, one.said_at)
    assert (found.revision, found.kinds) == (3, (FileKind.IMAGE, FileKind.VOICE))
    wanted = [(each.delivery_id, each.lane_id, each.target) for each in (one, duty(1, target=COLLEAGUE))]
    assert [(errand.id, errand.lane_id, errand.target) for errand in found.errands] == wanted
    assert {(errand.op, errand.part, errand.state) for errand in found.errands} == {(Op.MESSAGE, 0, "ready")}
    assert sorted((each.account, each.messageid) for each in found.copies) == [
        ("bird", "b1"),
        ("office", "m1"),
        ("office", "u1"),
    ]
    assert all(picture.copies[each.account, each.messageid or ""] is each for each in found.copies)
    assert ("sms", CONTACT) in picture.conversations


@pytest.mark.parametrize(
    ("fact", "account"),
    [
        (UserEdited("u1", "new"), "office"),
        (UserDeleted("u1"), "office"),
        (status_seen(DELIVERED, "b1"), "bird"),
        (status_seen(READ, "b1"), "bird"),
        (status_seen(FAILED, "b1"), "bird"),
        (channel_said("b1", status=FAILED), "bird"),
        (contact_said("new", quotes="b1"), "bird"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
async def test_what_speaks_of_a_message_has_it_loaded(database: Database, fact: Fact, account: str) -> None:
    await database.run(two_messages)
    assert list((await load(database, fact, account=account)).said) == [duty(1).message]


@pytest.mark.parametrize(
    ("fact", "account"),
    [
        (status_seen(SENT, "b1"), "bird"),
        (status_seen(CopyStatus.DELETED, "b1"), "bird"),
        (channel_said("b1", status=SENT), "bird"),
        (channel_said("b1", status=None), "bird"),
        (status_seen(READ, "unknown"), "bird"),
        (status_seen(READ, "b1"), "islash"),
        (contact_said("new", quotes="unknown"), "bird"),
        (contact_said("b1"), "bird"),
        (UserEdited("unknown", "new"), "office"),
        (user_said("u1"), "office"),
    ],
)
async def test_what_changes_nothing_has_nothing_loaded(database: Database, fact: Fact, account: str) -> None:
    await database.run(two_messages)
    assert (await load(database, fact, account=account)).said == {}


async def test_many_are_loaded_in_few_statements(database: Database) -> None:
    count = 60

    def fill(conn: Connection) -> None:
        put(conn, *(duty(number) for number in range(1, count + 1)))
        for number in range(1, count + 1):
            copy(conn, number, f"b{number}")

    await database.run(fill)
    with statements() as seen:
        picture = await load(database, *(status_seen(READ, f"b{number}") for number in range(1, count + 1)))
    assert len(picture.said) == count
    assert len(seen) <= 20


# --- statuses of many at once ---


def lately(picture: Picture) -> dict[tuple[str, str], list[str]]:
    return {key: sorted(str(each.messageid) for each in copies) for key, copies in picture.lately.items()}


async def test_a_session_is_what_we_put_there_and_is_not_read_yet(database: Database) -> None:
    def fill(conn: Connection) -> None:
        put(conn, *(duty(number) for number in range(1, 8)))
        open_session(conn)
        on_desk(conn, 1, "sent")
        on_desk(conn, 2, "delivered", status="delivered")
        on_desk(conn, 3, "read", status="read")
        on_desk(conn, 4, "theirs", origin=True)
        on_desk(conn, 5, None)
        on_desk(conn, 6, "elsewhere", sessionid="s5")
        on_desk(conn, 7, "another", account="another office")

    await database.run(fill)
    picture = await load(database, StatusSeen(READ, sessionid="s4"), account="office")
    assert lately(picture) == {("office", "s4"): ["delivered", "sent"]}
    assert set(picture.said) == {duty(1).message, duty(2).message}
    assert all(picture.copies["office", each.messageid or ""] is each for each in picture.lately["office", "s4"])


async def test_a_watermark_is_of_what_the_recipient_was_sent_on_that_channel(database: Database) -> None:
    await database.run(two_messages)
    mark = StatusSeen(READ, end="sms-channel", recipient=CONTACT[1:], at=NOW)
    assert lately(await load(database, mark)) == {("bird", "sms"): ["b1", "b2"]}


@pytest.mark.parametrize(
    "fact",
    [
        StatusSeen(READ, sessionid="unknown"),
        StatusSeen(READ, end="sms-channel"),
        StatusSeen(READ, end="another", recipient=CONTACT),
        StatusSeen(READ, end="sms-channel", recipient="447700900999"),
    ],
)
async def test_a_status_of_many_that_are_nobodys(database: Database, fact: Fact) -> None:
    await database.run(two_messages)
    picture = await load(database, fact)
    assert [copies for copies in picture.lately.values() if copies] == []
    assert picture.said == {}


async def test_two_reads_in_one_batch_share_their_copies(database: Database) -> None:
    await database.run(two_messages)
    fact = StatusSeen(READ, sessionid="s4")
    assert lately(await load(database, fact, fact, account="office")) == {("office", "s4"): ["m1", "m2"]}


async def test_only_the_latest_are_looked_at(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """G9: a chat of years costs no more than one of a day."""
    monkeypatch.setattr(said, "LATEST", 2)

    def fill(conn: Connection) -> None:
        put(conn, *(duty(number) for number in range(1, 6)))
        open_session(conn)
        for number in range(1, 6):
            on_desk(conn, number, f"m{number}")

    await database.run(fill)
    picture = await load(database, StatusSeen(READ, sessionid="s4"), account="office")
    assert lately(picture) == {("office", "s4"): ["m4", "m5"]}


async def test_each_conversation_of_a_session_has_its_latest(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session is of one chat, whatever links its people meet on (design §2)."""
    monkeypatch.setattr(said, "LATEST", 2)

    def fill(conn: Connection) -> None:
        put(conn, *(duty(number) for number in range(1, 4)), duty(4, "c2"))
        conn.execute(conversation.update().where(conversation.c.id == "c2").values(link="whatsapp", contact=CONTACT))
        open_session(conn)
        for number in range(1, 4):
            on_desk(conn, number, f"m{number}")
        on_desk(conn, 4, "m4", conversation_id="c2", link="whatsapp")

    await database.run(fill)
    picture = await load(database, StatusSeen(READ, sessionid="s4"), account="office")
    assert "m4" in lately(picture)["office", "s4"]


# --- what a status settles ---


def _in_doubt(conn: Connection) -> str:
    put(conn, duty(1))
    conn.execute(delivery.update().values(state="unknown", open=False, tried_at=NOW))
    return "whose answer was lost"


def _nameless(conn: Connection) -> str:
    put(conn, duty(1))
    conn.execute(delivery.update().values(state="sent", open=False, tried_at=NOW))
    copy(conn, 1, None)
    return "whose id was not told"


@pytest.mark.parametrize("fill", [_in_doubt, _nameless])
async def test_a_failure_that_tells_the_id_as_well_is_told(database: Database, fill: Callable[..., str]) -> None:
    why = await database.run(fill)
    fact = status_seen(FAILED, "new", end="sms-channel", recipient=CONTACT)

    def take(conn: Connection) -> tuple[Outcome, Picture]:
        picture = loaded(conn, fact)
        return decide(picture, TOPOLOGY, incoming(fact, at=NOW)), picture

    outcome, picture = await database.run(take)
    assert outcome.reason == f"failed of message {duty(1).message}, {why}"
    assert [one.said.id for one in picture.untold] == [duty(1).message]


# --- lanes ---


@pytest.mark.parametrize(
    ("fact", "account", "held"),
    [
        (UserEdited("u1", "new"), "office", True),
        (UserDeleted("u1"), "office", True),
        (status_seen(READ, "b1"), "bird", False),
    ],
    ids=["an edit", "a deletion", "a status"],
)
async def test_what_an_edit_may_change_in_the_queue_is_not_claimed_meanwhile(
    shared: Database, fact: Fact, account: str, held: bool
) -> None:
    """G14: whichever process has the lane, it sends what was there before the edit, or what is there after it."""
    await shared.run(two_messages)
    assert isinstance(shared.engine, AsyncEngine)
    async with shared.engine.connect() as conn:
        await conn.run_sync(lambda plain: loaded(plain, fact, account=account))
        claiming = asyncio.create_task(shared.run(lambda plain: claim(plain, "other", duty(1).lane_id)))
        done, _ = await asyncio.wait({claiming}, timeout=0.3)
        assert bool(done) is not held
        await conn.commit()
    (found,) = (await claiming).values()
    assert isinstance(found, Held)

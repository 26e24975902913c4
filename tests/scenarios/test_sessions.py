"""Sessions of the desk: opened once, closed by the platform, and every shape of answer."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any, Literal

from syncd.simulators.base import Call, Fault
from tests.support.history import Fault as Wrong
from tests.support.history import Lane
from tests.support.settings import Settings
from tests.support.waiting import until
from tests.support.world import ALICE, World

HTML = b"<html><head><title>502 Bad Gateway</title></head></html>"


def to(extension: str, text: str, contact: str = ALICE) -> Any:
    """Matches the call that puts a contact's text into a user's chat."""

    def match(call: Call) -> bool:
        return (call.params.get("from"), call.params.get("to"), call.params.get("content")) == (
            contact,
            extension,
            text,
        )

    return match


def contacts(count: int) -> list[str]:
    """So many contacts."""
    return [f"+4477009{number:05}" for number in range(100, 100 + count)]


async def answered(world: World, answers: dict[str, Fault]) -> None:
    """Three messages of each contact; the second one's copy for 9003 is answered as that contact's fault says."""
    await world.start(world.settings)
    for contact in answers:
        await world.contact_says("one", contact=contact)
    await world.quiet()
    for contact, fault in answers.items():
        fault.match = to("9003", "two", contact)
        world.ring.faults.append(fault)
        await world.contact_says("two", contact=contact)
        await world.contact_says("three", contact=contact)
    for contact, fault in answers.items():
        await world.arrive(lambda: world.desk("9004", contact), ["one", "two", "three"])  # noqa: B023 - awaited at once
        await until(lambda: fault.hits, "the call was made")  # noqa: B023


async def second(world: World, contact: str = ALICE) -> dict[str, Any]:
    """The delivery of a contact's second message to 9003."""
    (row,) = await world.deliveries(f"d.target = 'desk:9003' AND d.seq = 2 AND c.contact = '{contact}'")
    return row


def calls(world: World, text: str, contact: str = ALICE) -> int:
    """How often the daemon tried to put a contact's text into 9003's chat."""
    return sum(map(to("9003", text, contact), world.ring.calls_of("message")))


async def doubted(world: World) -> None:
    """Wait until every second message, and nothing else, is in doubt; then let the time pass for news of it."""

    async def all_doubted() -> bool:
        if await world.deliveries("d.state = 'sending'"):
            return False  # It has arrived and is not recorded yet: a kill would make a doubt of that too.
        return {row["state"] for row in await world.deliveries("d.target = 'desk:9003' AND d.seq = 2")} == {"unknown"}

    await until(all_doubted, "in doubt")
    await world.bridge.kill()
    await world.database.age(120)
    await world.bridge.start()


async def test_the_first_messages_of_a_contact_at_once(world: World) -> None:
    """G6: twenty first messages at once open one session for each user."""
    world.ring.latency = 0.05
    world.ring.open_always_new = True
    await world.start()
    posted = []
    for number in range(20):
        world.contact_posts(f"message {number}")
        posted.append(world.bird.posted)
    await asyncio.gather(*(task for task in posted if task is not None))
    await world.quiet()
    assert Counter((one.extension, one.contact) for one in world.ring.open_calls) == {
        ("9003", ALICE): 1,
        ("9004", ALICE): 1,
    }
    assert sorted(world.desk("9003")) == sorted(f"message {number}" for number in range(20))
    assert world.desk("9003") == world.desk("9004"), "one order for everybody"
    assert len(world.ring.sessions_of("9003", ALICE)) == 1


async def test_closed_sessions(world: World) -> None:
    """G3, G6: whatever a closed session's answer names, nothing is sent twice and the new session is used."""
    shapes: tuple[Literal["messageid", "sessionid", "both"], ...] = ("messageid", "sessionid", "both")
    await world.start()
    for contact, shape in zip(contacts(3), shapes, strict=True):
        world.ring.reopen_shape = shape
        await world.contact_says("one", contact=contact)
        await world.quiet()
        (old,) = world.ring.sessions_of("9003", contact)
        world.ring.close_session(old.id)
        await world.contact_says("two", contact=contact)
        await world.quiet()
        await world.contact_says("three", contact=contact)
        await world.user_says("9004", "four", contact=contact)
        await world.check()
        known = await world.database.rows(
            f"SELECT sessionid, current FROM session WHERE extension = '9003' AND contact = '{contact}'"
        )
        assert old.id in [row["sessionid"] for row in known], "the old id stays known"
        (current,) = [row["sessionid"] for row in known if row["current"]]
        if shape == "messageid":
            assert current == old.id, "nothing named another"
        else:
            assert [one.id for one in world.ring.sessions_of("9003", contact)] == [old.id, current], shape
            last = world.ring.chat("9003", contact)[-1]
            assert last.sessionid == current, shape


async def test_an_answer_with_a_sessionid_only_is_named_later(world: World) -> None:
    """G3: accepted without an id: not sent again; a later `delivered` of that session tells the id."""
    world.ring.reply_shape = "sessionid"
    await world.start()
    await world.contact_says("one")
    await world.check()
    (copy,) = world.ring.chat("9003", ALICE)
    (row,) = [row for row in await world.mapping() if row["extension"] == "9003"]
    assert row["messageid"] is None
    world.ring.app_delivered(copy.id)
    await world.check()
    (row,) = [row for row in await world.mapping() if row["extension"] == "9003"]
    assert (row["messageid"], row["status"]) == (copy.id, "delivered")


async def test_a_closed_session_that_swallows_the_message(world: World) -> None:
    """Design §9: `resend_on_reopen` sends once more, where the answer names a new session and no message."""
    world.ring.reopen_keeps = False
    await world.start(Settings(resend_on_reopen=True))
    await world.contact_says("one")
    await world.quiet()
    (old,) = world.ring.sessions_of("9003", ALICE)
    world.ring.close_session(old.id)
    await world.contact_says("two")
    await world.contact_says("three")
    await world.check()


async def test_doubts_that_are_held(world: World) -> None:
    """G3: an answer that leaves open what was done is never guessed at: held as `unknown`, and the lane goes on."""
    answers = [(200, b""), (200, b"{}"), (200, b'{"result":{}}'), (200, HTML), (502, HTML), (504, b"")]
    faults = [Fault("reply", status=status, body=body) for status, body in answers]
    doubts = dict(zip(contacts(len(faults)), faults, strict=True))
    await answered(world, doubts)
    for contact in doubts:
        assert world.desk("9003", contact) == ["one", "two"], "the lane waits while the doubt is being settled"
    await doubted(world)
    await world.check()
    for contact, fault in doubts.items():
        held = await second(world, contact)
        assert (held["state"], bool(held["open"])) == ("unknown", False), fault
        assert held["reason"]
        assert calls(world, "two", contact) == 1, fault


async def test_a_doubt_that_is_sent_again(world: World) -> None:
    """G3: with `on_unknown = "resend"` the doubt is sent again, before what was said after it."""
    world.settings.on_unknown = "resend"
    await answered(world, {ALICE: Fault("status", status=502, body=HTML)})
    await doubted(world)
    await world.check()
    assert calls(world, "two") == 2
    assert (await second(world))["state"] == "sent"


async def test_a_doubt_settled_by_an_echo(world: World) -> None:
    """G3, G5: the answer is lost, the echo names the message: nothing new appears in any other chat."""
    await answered(world, {ALICE: Fault("lost")})
    (copy,) = [one for one in world.ring.chat("9003", ALICE) if one.content == "two"]
    session = world.ring.desk.sessions[copy.sessionid]
    await world.ring.emit(world.ring.hook("message", world.ring.told(copy, session)))
    await world.check()
    assert calls(world, "two") == 1
    assert await world.database.value("SELECT count(*) FROM message") == 3
    assert (await second(world))["state"] == "sent", "the echo settles the doubt"


async def test_a_doubt_is_not_settled_by_somebody_else(world: World) -> None:
    """G1, G3: what the user writes while a send into the chat is in doubt is the user's, and goes out in the end."""
    await answered(world, {ALICE: Fault("hangup")})
    await world.user_says("9003", "mine")
    await doubted(world)
    await world.quiet()
    assert world.channel() == ["mine"]
    assert world.desk("9004")[-1] == "mine"
    assert world.desk("9003") == ["one", "three"]
    assert (await second(world))["state"] == "unknown", "nothing told of it"


async def test_a_doubt_settled_by_a_status(world: World) -> None:
    """G3, design §14: a status names an id that nothing claims, in the session of the one doubt: it was sent."""
    await answered(world, {ALICE: Fault("lost")})
    (copy,) = [one for one in world.ring.chat("9003", ALICE) if one.content == "two"]
    world.ring.app_delivered(copy.id)
    await world.check()
    assert calls(world, "two") == 1
    assert (await second(world))["state"] == "sent", "the status settles the doubt"
    assert copy.id in [row["messageid"] for row in await world.mapping()]


async def test_refusals(world: World) -> None:
    """G10, design §8.4: a refused message is dead at once, with the reason; its lane goes on."""
    answers: list[tuple[int, Any]] = [
        (200, {"error": {"message": "no such user"}}),
        (200, {"error": "no"}),
        (200, {"result": {"error": "update - Unauthorized", "status": -1}}),
        (400, {"error": {"code": 7, "message": "bad"}}),
    ]
    faults = [Fault("status", status=status, body=json.dumps(body).encode()) for status, body in answers]
    refused = dict(zip(contacts(len(faults)), faults, strict=True))
    await answered(world, refused)
    await world.check(excused=[Wrong("lost", Lane("desk:9003", contact), "two") for contact in refused])
    for contact, fault in refused.items():
        dead = await second(world, contact)
        assert dead["state"] == "dead", fault
        assert dead["reason"], fault
        assert calls(world, "two", contact) == 1, fault


async def test_500s_with_an_error(world: World) -> None:
    """Design §14: a 500 with a JSON `error` is not done: two more tries, then it is rejected."""
    twice, thrice = contacts(2)
    body = b'{"error":{"message":"try later"}}'
    await answered(
        world, {twice: Fault("status", 2, status=500, body=body), thrice: Fault("status", 3, status=500, body=body)}
    )
    await world.check(excused=[Wrong("lost", Lane("desk:9003", thrice), "two")])
    assert [calls(world, "two", contact) for contact in (twice, thrice)] == [3, 3]
    assert [(await second(world, contact))["state"] for contact in (twice, thrice)] == ["sent", "dead"]


async def test_a_429_with_retry_after(world: World) -> None:
    """G4, design §8.4: the account waits as it was told, and that costs no attempt."""
    await answered(world, {ALICE: Fault("status", status=429, headers={"Retry-After": "1"}, body=b"slow down")})
    await world.check()
    first, again = (call.at for call in filter(to("9003", "two"), world.ring.calls_of("message")))
    assert 0.95 <= again - first < 4
    assert (await second(world))["attempts"] == 1


async def test_a_refused_key(world: World) -> None:
    """Design §8.4: a 401 pauses the account, says so once, and asks seldom; nothing is given up."""
    world.tolerated.add("account.unauthorised")
    await world.start()
    await world.contact_says("one")
    await world.quiet()
    refusal = Fault("status", times=-1, status=401, body=b'{"error":{"message":"Unauthorized"}}')
    world.ring.faults.append(refusal)
    for number in range(5):
        await world.contact_says(f"more {number}")
    await world.user_says("9003", "the channel is not touched")
    await until(lambda: refusal.hits, "refused")
    await until(lambda: "the channel is not touched" in world.channel(), "the channel is not touched")
    await asyncio.sleep(1.5)
    # Calls that were under way when the first was refused are refused too.
    assert refusal.hits <= 4, "a refused key is not tried over and over"
    assert len(world.bridge.events("account.unauthorised")) == 1
    assert not await world.deliveries("d.state = 'dead'")
    world.ring.faults.clear()
    await world.bridge.restart_after_kill()
    await world.check()

"""Thirty events of every kind, in three orders and with copies: the same chats come out (G2, G4, G14).

What is told of one conversation stays in its order, as it was said: the order of acknowledgement is the order of the
chats (G4). All else may come when it likes: copies of anything, whatever nobody carries, and statuses, also before the
message that they speak of. An edit or a deletion is early in every order or late in every order, because that makes a
difference to people: what is early is never seen as it was, what is late is told to the contact by a note.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from syncd.simulators.base import Fault, Hook, Simulator
from syncd.simulators.bird import BirdSimulator
from syncd.simulators.islash import ISlashSimulator, SentMessage
from syncd.simulators.ringotel_desk import Message, Shown
from tests.scenarios.test_files import from_bird, settings
from tests.support.files import JPEG, PDF, SAMPLES, VIDEO, VOICE
from tests.support.settings import BIRD_CHANNEL, ISLASH_SESSION
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World

GOLDEN = Path(__file__).with_name("whole_conversation.json")
PEOPLE = {"Alice, by Bird": ALICE, "Bob, by iSlash": BOB}
SAMPLE_OF = {one.sha256: one for one in SAMPLES}

EDITED, DELETED = "We open at nine", "Never mind"
"""What is edited and deleted before it is there."""


@dataclass(frozen=True)
class Event:
    """A webhook, and what may not be moved past what."""

    hook: Hook
    lane: str = ""
    """Whose conversation it is a message of; empty: it may come at any time."""
    before: str = ""
    """The words of the message that it must come before."""
    words: str = ""


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bird and iSlash call what they are sent by what it says, so that a status of it can come before it."""
    made, accept = BirdSimulator._made, ISlashSimulator._accept

    def named(self: BirdSimulator, channel: Any, address: str, body: Any, at: Any, messageid: str | None = None) -> Any:
        text = body.get("text", {}).get("text")
        return made(self, channel, address, body, at, messageid or (text and called(text)))

    def accepted(self: ISlashSimulator, params: dict[str, Any]) -> SentMessage:
        message = accept(self, params)
        if message.text:
            del self.messages[message.sid]
            message.sid = called(message.text)
            self.messages[message.sid] = message
        return message

    monkeypatch.setattr(BirdSimulator, "_made", named)
    monkeypatch.setattr(ISlashSimulator, "_accept", accepted)


def called(text: str) -> str:
    """The id of what says this."""
    return text.lower().replace(" ", "-")


class Script:
    """Webhooks as the simulators make them, kept instead of posted."""

    def __init__(self, world: World) -> None:
        self.world = world

    def told(self, who: Simulator, do: Callable[[], object]) -> Hook:
        """The webhook that tells of something that is done."""
        kept: list[Hook] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(who, "emit", lambda hook, **how: kept.append(hook))
            do()
        (hook,) = kept
        return hook

    def alice(self, text: str, **how: Any) -> Event:
        bird, messageid = self.world.bird, f"alice-{called(text)}"
        says = lambda: bird.contact_says(BIRD_CHANNEL, ALICE, text, messageid=messageid, **how)  # noqa: E731
        return Event(self.told(bird, says), ALICE, words=text)

    def bob(self, text: str = "", **how: Any) -> Event:
        islash = self.world.islash
        says = lambda: islash.contact_says(ISLASH_SESSION, BOB[1:], text, **how)  # noqa: E731
        return Event(self.told(islash, says), BOB, words=text)

    def user(self, extension: str, contact: str, text: str) -> Event:
        ring = self.world.ring
        return Event(self.told(ring, lambda: ring.user_says(extension, contact, text)), contact, words=text)

    def of_user(self, do: Callable[[], object], *, before: str = "") -> Event:
        """Something else that Ringotel tells."""
        return Event(self.told(self.world.ring, do), before=before)

    def id_of(self, text: str) -> str:
        """Ringotel's id of what a user said."""
        (found,) = [one.id for one in self.world.ring.desk.messages.values() if one.content == text and not one.by_api]
        return found

    def first_act(self) -> list[Event]:
        """What people say, and what may come before the message that it speaks of."""
        ring, bird, islash = self.world.ring, self.world.bird, self.world.islash
        voice = partial(islash.contact_sends, kind="voice", content_type=VOICE.content_type, name=VOICE.name)
        sends = lambda: voice(ISLASH_SESSION, BOB[1:], VOICE.content)  # noqa: E731
        file = lambda: ring.user_sends_file("9003", ALICE, PDF.content, PDF.name)  # noqa: E731
        agent = lambda: bird.agent_says(BIRD_CHANNEL, ALICE, "An agent has looked into it")  # noqa: E731
        said = [
            self.alice("Good morning"),
            self.bob("Hi there"),
            self.user("9003", ALICE, "How can we help?"),
            self.alice("It looks like this", files=[from_bird(JPEG)]),
            Event(self.told(islash, sends), BOB),
            self.user("9003", ALICE, EDITED),
            self.user("9004", ALICE, DELETED),
            self.bob(content=_LOCATION),
            self.bob(content=_CARD),
            self.alice("That is what I meant", reply_to="alice-good-morning"),
            Event(self.told(ring, file), ALICE),
            Event(self.told(bird, agent), ALICE),
            self.user("9004", BOB, "We are on our way"),
            self.alice("", files=[from_bird(VIDEO)]),
            self.user("9003", ALICE, "It costs ten pounds"),
            self.user("9003", BOB, "Wrong number"),
            self.user("9004", ALICE, "Please call me"),
        ]
        session = ring.sessions_of("9003", ALICE)[0].id
        free = [
            self.of_user(lambda: ring.user_edits(self.id_of(EDITED), "We open at ten"), before=EDITED),
            self.of_user(lambda: ring.user_deletes(self.id_of(DELETED)), before=DELETED),
            self._interaction("read"),
            self._interaction("reaction"),
            self._status("sent"),
            self._status("delivered"),
            self.of_user(lambda: ring.app_typing(session)),
            self.of_user(lambda: ring.emit_event("unread", {"sessionid": session})),
        ]
        return [*free[:2], *said, *free[2:]]

    def second_act(self) -> list[Event]:
        """What speaks of what is there."""
        ring, bird = self.world.ring, self.world.bird
        session = ring.sessions_of("9003", ALICE)[0].id
        failed = lambda: bird.set_status(called("Please call me"), "delivery_failed", reason="131047")  # noqa: E731
        delivered = lambda: bird.set_status(called("It costs ten pounds"), "delivered")  # noqa: E731
        return [
            self.of_user(lambda: ring.user_edits(self.id_of("It costs ten pounds"), "It costs nine pounds")),
            self.of_user(lambda: ring.user_deletes(self.id_of("Wrong number"))),
            Event(self.told(bird, failed)),
            Event(self.told(bird, delivered)),
            self.of_user(lambda: ring.app_read(session)),
        ]

    def _status(self, status: str) -> Event:
        """A status of what is not sent yet."""
        islash = self.world.islash
        value = islash._status(_ON_ITS_WAY, status, None, "wrapped", islash._clock(), True)
        return Event(self.told(islash, lambda: islash._post(ISLASH_SESSION, "wrapped", value, 1, 0.0)))

    def _interaction(self, kind: str) -> Event:
        done = {
            "id": f"{kind}-1",
            "messageId": called("How can we help?"),
            "channelId": BIRD_CHANNEL,
            "platformId": "sms",
            "type": kind,
            "messageReference": "",
            "receiver": {"contacts": [{"identifierKey": "phonenumber", "identifierValue": ALICE}]},
            "createdAt": "2026-03-14T15:09:26Z",
            "details": "",
            "metadata": {},
        }
        return Event(self.world.bird.hook("sms.interaction", done))


_LOCATION = {"type": "location", "location": {"latitude": 51.5, "longitude": -0.12, "name": "The shop"}}
_CARD = {
    "type": "contacts",
    "contacts": [{"name": {"formatted_name": "Carol Jones"}, "phones": [{"phone": "+44 7700 900003"}]}],
}
_ON_ITS_WAY = SentMessage(1, called("We are on our way"), ISLASH_SESSION, BOB[1:], "We are on our way", 0)


def shuffled(events: list[Event], chance: random.Random) -> list[Event]:
    """The same events in another order: messages of one conversation keep theirs."""
    lanes = {lane: iter([one for one in events if one.lane == lane]) for lane in (ALICE, BOB)}
    places = list(events)
    chance.shuffle(places)
    # Each conversation keeps the places that it drew, and its messages take them in their order.
    order = [next(lanes[one.lane]) if one.lane else one for one in places]
    for early in [one for one in order if one.before]:
        order.remove(early)
        last = next(place for place, one in enumerate(order) if one.words == early.before)
        order.insert(chance.randrange(last + 1), early)
    return order


def with_copies(events: list[Event], chance: random.Random) -> Iterator[tuple[Event, int]]:
    """Each event at its place, some of them several times at once, and earlier ones again in between."""
    seen: list[Event] = []
    for event in events:
        seen.append(event)
        yield event, chance.choice((1, 1, 2, 3))
        if chance.random() < 0.4:
            yield chance.choice(seen), 1


async def play(world: World, events: list[Event], chance: random.Random | None) -> None:
    """Post the events one after another, and wait until nothing is left to do."""
    order = events if chance is None else shuffled(events, chance)
    for event, copies in [(one, 1) for one in order] if chance is None else with_copies(order, chance):
        assert await asyncio.gather(*(world.bird.post(event.hook) for _ in range(copies))) == [200] * copies
    await world.quiet()
    await until(lambda: _none(world, "SELECT count(*) FROM event WHERE state IN ('parked', 'waiting')"), "found")
    await world.quiet()


async def _none(world: World, count: str) -> bool:
    found: int = await world.database.value(count)
    return found == 0


def chats(world: World) -> dict[str, Any]:
    """What people see. What a user wrote himself stands apart: his app shows it before any bridge knows of it."""
    found: dict[str, Any] = {}
    for extension in ("9003", "9004"):
        for name, contact in PEOPLE.items():
            key = (next(iter(world.ring.desk.organizations)), extension, contact.removeprefix("+"))
            messages = world.ring.desk.chats[key]
            found[f"{extension} with {name}"] = {
                "written to it": [line(one) for one in messages if one.by_api],
                "written by its user": [line(one, ticks=True) for one in messages if not one.by_api],
            }
    alice = [one for one in world.bird.received(BIRD_CHANNEL, ALICE) if one.text != "An agent has looked into it"]
    found["Alice, by Bird"] = [one.text or _file(one.files[0]) for one in alice]
    found["Bob, by iSlash"] = [one.text for one in world.islash.sent(ISLASH_SESSION, BOB[1:])]
    return found


def line(message: Message, *, ticks: bool = False) -> str:
    shown = Shown.of(message)
    states = [state for state in ("edited", "deleted") if getattr(shown, state)]
    states += [shown.tick] if ticks else []
    text = shown.text if shown.file is None else _file(shown.file)
    return f"{shown.author}: {text}" + (f" ({', '.join(states)})" if states else "")


def _file(file: Any) -> str:
    """A file by its name, if it is what it was."""
    return f"<{file.name}: {SAMPLE_OF[file.sha256].content_type}>"


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("seed", [None, 1, 2], ids=["as said", "first shuffle", "second shuffle"])
async def test_the_same_chats_come_out(world: World, seed: int | None) -> None:
    """G2, G4, G14: neither order nor copies nor the database make a difference to anybody."""
    world.bird.outbound_hooks = "none"
    await world.start(settings(world))
    chance = None if seed is None else random.Random(seed)
    script = Script(world)
    first = script.first_act()
    await play(world, first, chance)
    second = script.second_act()
    assert len(first) + len(second) == 30
    await play(world, second if chance is None else [*second, *(Event(one.hook) for one in first)], chance)
    assert chats(world) == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("late", ["edited", "deleted"])
async def test_a_change_that_overtakes_a_message_which_then_waits(world: World, late: str) -> None:
    """Design §8.2: what was parked is applied before anything is sent, also where the message had to wait itself."""
    await world.start()
    await world.contact_says("first")
    await world.quiet()
    kept: list[Hook] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.ring, "emit", lambda hook, **how: kept.append(hook))
        messageid = world.ring.user_says("9003", ALICE, "as it was")
    world.ring.faults.append(Fault("delay", seconds=1.0, times=-1, match=lambda call: call.name == "message"))
    await world.contact_says("second")
    await until(lambda: len(world.ring.calls_of("message")) == 4, "in flight")
    if late == "edited":
        world.ring.user_edits(messageid, "as it is")
    else:
        world.ring.user_deletes(messageid)
    await world.ring.hooks_taken()
    assert await world.ring.post(kept[0]) == 200
    assert not await _none(world, "SELECT count(*) FROM event WHERE state = 'waiting'")
    await world.quiet()
    assert world.channel() == (["as it is"] if late == "edited" else [])

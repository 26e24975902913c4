"""What people and platforms do around a kill. Whatever a play waits for also comes when the daemon dies meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from asyncpg.exceptions import DeadlockDetectedError

from syncd.simulators.base import Call, Fault
from syncd.simulators.bird_records import Record, SimChannel, SimFile
from syncd.store import migrations
from syncd.store.database import Location
from tests.support.files import JPEG, PNG, Sample
from tests.support.history import Arrived, Lane, Said
from tests.support.platforms import Bird
from tests.support.settings import BIRD_CHANNEL, POLLED, SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World

Play = Callable[[World], Awaitable[None]]

CAROL = "+447700900003"
POISON = "poison"
"""How a text begins that the database refuses; see `poisonable`."""
SECONDS = 60.0
"""For anything that a play waits for: the daemon may die and be started again meanwhile."""


class HoldingBird(Bird):
    """A Bird that carries sends out, and can be made to hold their answers back."""

    def __init__(self, **keys: Any) -> None:
        super().__init__(**keys)
        self.holding = False
        self.held = 0

    async def accepted(self, channel: SimChannel, address: str, request: dict[str, Any]) -> Record:
        record = await super().accepted(channel, address, request)
        self.held += self.holding
        while self.holding:
            await asyncio.sleep(0.01)
        return record


class FilingWorld(World):
    """A world in which people send files: a file, and the line that stands for one, is a message without text."""

    def arrived(self) -> list[Arrived]:
        """Every copy, files among them."""
        return [replace(one, text="") if self._is_file(one.text) else one for one in super().arrived()]

    def _is_file(self, content: str) -> bool:
        return content.startswith((f"{self.bridge.url}/media/", f"{self.ring.url}/files/", "[image"))


# --- before the daemon that is to die is started ---


async def configured(world: World) -> None:
    """An empty database."""
    world.configure()


async def polling(world: World) -> None:
    """An empty database, and a channel that is polled."""
    world.configure(Settings(poll_interval="0.3s"))


async def filing(world: World) -> None:
    """An empty database; files may come from the simulators, and links lead to the daemon itself."""
    world.bird.public_hook_url = f"{world.bridge.url}/hooks/bird"
    hosts = [world.bird.media_host, world.bird.bucket_host, world.ring.url.partition("//")[2]]
    bird = {"media_hosts": [world.bird.media_host]}
    world.configure(
        Settings(
            server={"public_url": world.bridge.url},
            media={"private_hosts": hosts},
            keys_of_account={"bird": bird, "birdpoll": bird},
        )
    )


async def filing_nothing(world: World) -> None:
    """The same, and what contacts send is not there any more when it is fetched."""
    await filing(world)
    world.bird.media_gone = True


async def filing_later(world: World) -> None:
    """The same, and what contacts send cannot be had at first."""
    await filing(world)
    world.bird.faults.append(Fault("status", status=503, match=lambda call: call.name == "media"))


async def poisonable(world: World) -> None:
    """A database that refuses to store certain messages: the defect of a translation."""
    await _poisonable(world, "INSERT")


async def poisonable_edits(world: World) -> None:
    """The same for certain new texts of messages."""
    await _poisonable(world, "UPDATE")


async def _poisonable(world: World, when: str) -> None:
    world.configure()
    world.bird.outbound_hooks = "none"  # a send is settled by its answer only
    await migrations.with_connection(Location.of(world.database.url), migrations.upgrade)
    if world.database.kind == "sqlite":
        await world.database.change(
            f"CREATE TRIGGER poison BEFORE {when} ON message "
            f"WHEN substr(NEW.body, 1, {len(POISON)}) = x'{POISON.encode().hex()}' "
            "BEGIN SELECT RAISE(ABORT, 'poison'); END"
        )
        return
    await world.database.change(
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN IF substring(NEW.body FROM 1 FOR {len(POISON)}) = '\\x{POISON.encode().hex()}'::bytea "
        "THEN RAISE data_exception; END IF; RETURN NEW; END $$"
    )
    trigger = f"CREATE TRIGGER poison BEFORE {when} ON message FOR EACH ROW EXECUTE FUNCTION poison()"
    await world.database.change(trigger)


async def refusing(world: World) -> None:
    """The desk refuses to open each chat's session at first."""
    world.configure()
    seen: set[tuple[str, str]] = set()

    def first(call: Call) -> bool:
        chat = str(call.params.get("from")), str(call.params.get("to"))
        if call.name != "open" or chat in seen:
            return False
        seen.add(chat)
        return True

    refusal = b'{"error": {"message": "busy"}}'
    world.ring.faults.append(Fault("status", times=-1, status=500, body=refusal, match=first))


async def answerless(world: World) -> None:
    """Bird takes the first send, and its answer is lost; nothing else tells of it."""
    world.configure()
    world.bird.outbound_hooks = "none"
    world.bird.faults.append(Fault("lost", match=lambda call: call.name == "send"))


async def in_doubt(world: World) -> None:
    """A daemon was killed while nobody knew whether a send had been carried out; it had not."""
    await world.start()
    await world.contact_says("before", contact=BOB, link=WHATSAPP)
    await world.quiet()
    world.islash.faults.append(Fault("hangup"))
    await world.user_says("9003", "in doubt", contact=BOB, link=WHATSAPP)
    await _counted(world, 1, "delivery WHERE state = 'unknown'")
    await world.bridge.kill()
    await world.database.age(120)


async def interrupted(world: World) -> None:
    """A daemon was killed: with a send and an opening in flight, and with an account that it had found throttled."""
    await world.start()
    await world.contact_says("before the first kill")
    await world.quiet()
    world.bird.faults.append(Fault("status", status=429, headers={"Retry-After": "60"}))
    # Carried out, and answered too late.
    world.ring.faults.append(
        Fault("delay", times=-1, seconds=60.0, match=lambda call: call.name in ("message", "open"))
    )
    await world.user_says("9003", "throttled")
    await asyncio.gather(
        world.contact_says("in flight"),
        world.contact_says("waits for its session", contact=BOB, link=WHATSAPP),
    )
    for what in (
        "delivery WHERE state = 'sending'",
        "session WHERE state = 'opening'",
        "account_state WHERE state = 'throttled'",
        "lane WHERE owner IS NOT NULL",
    ):
        await _counted(world, 1, what)
    await world.bridge.kill()
    world.ring.faults.clear()
    await world.database.age(120)


async def behind(world: World) -> None:
    """A user was added to a link, and a channel has messages that nobody told of: a resync is asked for."""
    await world.start(Settings(users=("9003",)))
    await world.contact_says("alice 1")
    await world.user_says("9003", "to alice 2")
    await world.contact_says("bob 1", contact=BOB)
    await world.quiet()
    await world.bridge.stop()
    for text, contact in (("alice 3", ALICE), ("bob 2", BOB), ("alice 4", ALICE)):
        world.bird.contact_says(BIRD_CHANNEL, contact, text, webhook=False)
        world.note_contact(text, contact=contact)
    world.configure(Settings())
    both = [Lane(f"desk:{user}", "") for user in world.settings.users]
    for place, said in enumerate(world.said):
        others = {replace(lane, contact=said.origin.contact) for lane in both} - {said.origin}
        channels = {lane for lane in said.targets if not lane.target.startswith("desk:")}
        world.said[place] = replace(said, targets=tuple(sorted(channels | others, key=str)))
    detail = '{"since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z", "mode": "live"}'
    values = f"'asked', 'resync', '{SMS}', '{detail}', 'somebody', '2026-01-01T00:00:00.000000Z', 'waiting'"
    columns = "id, kind, subject, detail, asked_by, asked_at, state"
    await world.database.change(f"INSERT INTO operation ({columns}) VALUES ({values})")


async def remembered(world: World) -> None:
    """Two contacts have been talked with, and one of them is to be forgotten."""
    await world.start()
    for contact in (BOB, CAROL):
        await world.contact_says("before", contact=contact, link=WHATSAPP)
        await world.user_says("9003", "to whom it concerns", contact=contact, link=WHATSAPP)
        await world.quiet()
    await world.bridge.stop()
    values = f"'asked', 'forget', '{CAROL}', 'somebody', '2026-01-01T00:00:00.000000Z', 'waiting'"
    await world.database.change(
        f"INSERT INTO operation (id, kind, subject, asked_by, asked_at, state) VALUES ({values})"
    )


# --- while it lives, and after it is started again ---


async def talk(world: World) -> None:
    """Two contacts write first, on two channels, users answer, and an agent."""

    async def alice() -> None:
        await world.contact_says("alice 1")
        await world.user_says("9003", "to alice 2")
        await world.contact_says("alice 3")
        await world.agent_says("agent to alice 4")

    async def bob() -> None:
        await world.contact_says("bob 1", contact=BOB, link=WHATSAPP)
        await world.user_says("9004", "to bob 2", contact=BOB, link=WHATSAPP)
        await world.contact_says("bob 3", contact=BOB, link=WHATSAPP)

    await asyncio.gather(alice(), bob())
    await world.quiet(seconds=SECONDS)


async def first_contacts(world: World) -> None:
    """Three contacts write first, at once."""
    await asyncio.gather(
        world.contact_says("alice 1"),
        world.contact_says("bob 1", contact=BOB, link=WHATSAPP),
        world.contact_says("carol 1", contact=CAROL, link=WHATSAPP),
    )
    await world.contact_says("alice 2")
    await world.quiet(seconds=SECONDS)


async def doubt(world: World) -> None:
    """A user writes, and more is said while nobody knows whether that arrived."""
    await world.contact_says("alice 1")
    await world.user_says("9003", "to alice 2")
    await world.user_says("9004", "to alice 3")
    await world.contact_says("alice 4")
    await world.quiet(seconds=SECONDS)


async def poison(world: World) -> None:
    """A message that cannot be translated, at once; and one that is first looked at after a send was settled."""
    bird = _holding(world)
    await world.contact_says("bob 1", contact=BOB)
    await _says_poison(world, BOB)
    await world.contact_says("alice 1")
    bird.holding, before = True, bird.held
    await world.user_says("9003", "to alice 2")
    await until(lambda: bird.held > before, "a send in flight", seconds=SECONDS)
    await world.agent_says("agent to alice 3")
    await _says_poison(world, ALICE)
    await world.contact_says("alice 4")
    bird.holding = False
    await world.contact_says("bob 2", contact=BOB)
    await world.quiet(seconds=SECONDS)


async def polled(world: World) -> None:
    """A contact writes where only polls find it, and is answered there."""

    await polled_once(world)
    await asyncio.gather(contact_says(world, "carol 1", CAROL, POLLED), contact_says(world, "alice 1", ALICE, SMS))
    await world.user_says("9003", "to carol 2", contact=CAROL, link=POLLED)
    await contact_says(world, "carol 3", CAROL, POLLED)
    await world.quiet(seconds=SECONDS)


async def caught_up(world: World) -> None:
    """The resync is carried out."""

    async def ended() -> bool:
        return not await world.database.value("SELECT count(*) FROM operation WHERE state <> 'done'")

    await until(ended, "the resync is done", seconds=SECONDS)
    await world.quiet(seconds=SECONDS)


async def forgotten(world: World) -> None:
    """The contact is forgotten, and writes again; another one is not."""

    async def ended() -> bool:
        return not await world.database.value("SELECT count(*) FROM operation WHERE state <> 'done'")

    await until(ended, "the contact is forgotten", seconds=SECONDS)
    texts = "SELECT count(*) FROM message WHERE body IS NOT NULL"
    assert await world.database.value(texts) == 2, "the other one's"
    numbers = f"SELECT count(*) FROM mapping WHERE contact = '{CAROL}'"
    assert not await world.database.value(numbers)
    await contact_says(world, "somebody new", CAROL, WHATSAPP)
    await world.quiet(seconds=SECONDS)


async def terminated(world: World) -> None:
    """SIGTERM while messages are being sent."""
    await world.contact_says("alice 1")
    world.ring.latency = world.bird.latency = 0.1
    await asyncio.gather(world.contact_says("bob 1", contact=BOB, link=WHATSAPP), world.user_says("9003", "to alice 2"))
    world.bridge.send_signal(signal.SIGTERM)


async def files(world: World) -> None:
    """A contact sends a picture and a user another one, and more is said after each."""

    async def alice() -> None:
        await world.contact_says("alice 1")
        await _contact_sends(world, JPEG)
        await world.contact_says("alice 3")
        await world.user_says("9003", "to alice 4")

    async def bob() -> None:
        await world.contact_says("bob 1", contact=BOB, link=WHATSAPP)
        await _user_sends(world, PNG)
        await world.user_says("9004", "to bob 3", contact=BOB, link=WHATSAPP)

    await asyncio.gather(alice(), bob())
    await _filed(world, 2)
    await world.quiet(seconds=SECONDS)
    shown = Counter(
        (chat, message.file.sha256)
        for chat, messages in world.ring.desk.chats.items()
        for message in messages
        if message.file is not None
    )
    assert {digest for _, digest in shown} <= {JPEG.sha256, PNG.sha256}, "files as they were sent"
    assert set(shown.values()) <= {1}, "a file twice in a chat"


async def files_at_the_end(world: World) -> None:
    """SIGTERM while a picture is being fetched."""
    await world.contact_says("alice 1")
    world.bird.media_pause = 3.0
    await _contact_sends(world, JPEG)
    await _counted(world, 1, "media WHERE state = 'wanted' AND hash IS NOT NULL")
    world.bridge.send_signal(signal.SIGTERM)
    await until(lambda: not world.bridge.running or world.bridge.starts > 1, "an end", seconds=SECONDS)
    world.bird.media_pause = 0.0
    await until(lambda: world.bridge.starts > 1, "another daemon", seconds=SECONDS)
    await _filed(world, 1)
    await world.quiet(seconds=SECONDS)


async def too_early(world: World) -> None:
    """An edit overtakes its message; of another one the message never comes."""
    await _overtaken(world, "as it is")
    world.note_user("9003", "as it is")
    parked = "event WHERE state = 'parked'"
    while await world.database.value(f"SELECT count(*) FROM {parked}"):
        await world.database.change(
            "UPDATE event SET received_at = '2001-01-01T00:00:00.000000Z' WHERE state = 'parked'"
        )
        await asyncio.sleep(0.2)
    await world.quiet(seconds=SECONDS)


async def too_early_and_poison(world: World) -> None:
    """An edit that cannot be translated overtakes its message, which is carried as it was; what is said next too."""
    await _overtaken(world, f"{POISON} edit")
    world.note_user("9003", "as it was")
    await _counted(world, 1, "event WHERE state = 'failed'")
    await world.contact_says("alice 2")
    await world.quiet(seconds=SECONDS)


async def _overtaken(world: World, edit: str) -> None:
    await world.contact_says("alice 1")
    await world.quiet(seconds=SECONDS)  # or the message waits, as what may be an echo, and is edited after it was sent
    url, world.ring.hook_url = world.ring.hook_url, ""
    said = world.ring.user_says("9003", ALICE, "as it was")
    message = world.ring.desk.messages[said]
    hook = world.ring.told(message, world.ring.desk.sessions[message.sessionid])
    world.ring.hook_url = url
    for messageid, text in ((said, edit), ("1710100373597-never", "of nothing")):
        world.ring.emit_event("updated", {"messageid": messageid, "content": text})
        await world.ring.hooks_taken()
    world.ring.emit_event("message", hook)
    await world.ring.hooks_taken()


async def long_send(world: World) -> None:
    """A send that takes so long that its lane's lease is renewed."""
    bird = _holding(world)
    bird.outbound_hooks = "none"  # or they settle it before its answer
    lease = "SELECT max(lease_until) FROM lane WHERE target = 'channel'"
    await world.contact_says("alice 1")
    bird.holding, before = True, bird.held
    await world.user_says("9003", "to alice 2")
    await until(lambda: bird.held > before, "a send in flight", seconds=SECONDS)
    first = await world.database.value(lease)

    async def renewed() -> bool:
        return bool(await world.database.value(lease) != first)

    await until(renewed, "another lease", seconds=SECONDS)
    bird.holding = False
    await world.contact_says("alice 3")
    await world.quiet(seconds=SECONDS)


async def decided(world: World) -> None:
    """An operator has a send in doubt repeated, and stops a link and lets it go on."""
    held = "delivery WHERE state = 'unknown' AND NOT open"
    await _counted(world, 1, held)
    ((delivery,),) = [row.values() for row in await world.database.rows(f"SELECT id FROM {held}")]
    while await world.database.value(f"SELECT count(*) FROM {held}"):
        # Refused where another daemon has carried it out meanwhile.
        await command(world, "unknown", "settle", delivery, "--resend")
    await done(world, "pause", WHATSAPP)
    await world.user_says("9004", "said while paused", contact=BOB, link=WHATSAPP)
    await world.contact_says("heard while paused", contact=BOB, link=WHATSAPP)
    assert "said while paused" not in world.channel(WHATSAPP, BOB)
    await done(world, "resume", WHATSAPP)
    await world.quiet(seconds=SECONDS)


async def decided_elsewhere(world: World) -> None:
    """The same on another machine, that shares the database only."""
    elsewhere = {"SYNCD_SERVER__CONTROL_SOCKET": str(world.bridge.config.parent / "elsewhere.sock")}
    await world.contact_says("bob 1", contact=BOB, link=WHATSAPP)
    await done(world, "pause", WHATSAPP, **elsewhere)
    await _counted(world, 1, "pause")
    await world.user_says("9004", "said while paused", contact=BOB, link=WHATSAPP)
    assert "said while paused" not in world.channel(WHATSAPP, BOB)
    await done(world, "resume", WHATSAPP, **elsewhere)
    await world.quiet(seconds=SECONDS)


async def last_words(world: World) -> None:
    """Everybody who took part says something more: lanes, sessions and echoes are in order."""
    for contact, link in dict.fromkeys((one.origin.contact, _link_of(one)) for one in world.said):
        await contact_says(world, f"{contact} says goodbye", contact, link)
        await world.user_says("9004", f"goodbye to {contact}", contact=contact, link=link)


async def polled_once(world: World) -> None:
    """Wait for the first poll: what was said before it is nobody's business."""
    await _counted(world, 1, "cursor WHERE value <> ''")


async def contact_says(world: World, text: str, contact: str, link: str) -> None:
    """A contact writes, and the daemon knows of it, also where only a poll tells."""
    messageid = await world.contact_says(text, contact=contact, link=link)
    if link == POLLED:
        await _counted(world, 1, f"mapping WHERE messageid = '{messageid}'")


async def command(world: World, *arguments: str, **environ: str) -> int:
    """Run a command of `syncd`; its exit code."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}
    with (world.bridge.config.parent / "commands.log").open("ab") as log:
        asked = (*arguments, "--config", str(world.bridge.config))
        return await (await world.bridge.launch(asked, log, inherited | environ)).wait()


async def done(world: World, *arguments: str, **environ: str) -> None:
    """Run a command of `syncd` until it is done, for the daemon may be dead."""
    while await command(world, *arguments, **environ):
        await asyncio.sleep(0.05)


async def _counted(world: World, count: int, what: str) -> None:
    """Wait until there are so many rows."""

    async def so() -> bool:
        return bool(await world.database.value(f"SELECT count(*) FROM {what}") >= count)

    await until(so, f"{count} {what}", seconds=SECONDS, gap=0.02)


async def _filed(world: World, count: int) -> None:
    """Wait until so many files are kept or missing; whoever had claimed one and died is not waited for."""

    async def so() -> bool:
        try:
            await world.database.change("UPDATE media SET due_at = created_at WHERE state = 'wanted'")
        except DeadlockDetectedError:
            return False  # The daemon was at them in another order; PostgreSQL chose this one to give way.
        return bool(await world.database.value("SELECT count(*) FROM media WHERE state <> 'wanted'") >= count)

    await until(so, f"{count} files", seconds=SECONDS, gap=0.3)


async def _contact_sends(world: World, sample: Sample) -> None:
    file = SimFile(sample.content, sample.content_type, sample.name)
    world.bird.contact_says(BIRD_CHANNEL, ALICE, "", files=[file])
    assert world.bird.posted is not None
    await world.bird.posted
    world.note_contact("")


async def _user_sends(world: World, sample: Sample) -> None:
    world.ring.user_sends_file("9003", BOB, sample.content, sample.name)
    assert world.ring.posted is not None
    await world.ring.posted
    world.note_user("9003", "", contact=BOB, link=WHATSAPP)


def _link_of(said: Said) -> str:
    return next(lane.target for lane in (said.origin, *said.targets) if not lane.target.startswith("desk:"))


async def _says_poison(world: World, contact: str) -> None:
    world.contact_posts(f"{POISON} of {contact}", contact=contact, link=SMS)
    assert world.bird.posted is not None
    await world.bird.posted


def _holding(world: World) -> HoldingBird:
    assert isinstance(world.bird, HoldingBird)
    return world.bird

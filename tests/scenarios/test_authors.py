"""Who wrote, where the desk's webhooks name a user by `userid` only, or by the shared number of a group chat."""

from __future__ import annotations

from dataclasses import replace

from syncd.simulators.base import Call, Fault
from tests.support.history import Fault as Wrong
from tests.support.history import Lane
from tests.support.settings import SMS, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World

NUMBER = "+442079460000"
PARKED = "SELECT count(*) FROM event WHERE state = 'parked'"


def asks_who_is_there(call: Call) -> bool:
    """Matches the call that reads an organization's users."""
    return call.name == "getChatUsers"


def authors(world: World, extension: str, contact: str = ALICE) -> list[tuple[str, str]]:
    """Who wrote what the daemon put into a user's chat from our side, as the chat shows it."""
    return [
        (message.sender, message.content)
        for message in world.ring.chat(extension, contact)
        if message.by_api and message.direction == "outgoing"
    ]


async def parked(world: World, count: int) -> None:
    """Wait until so many events are parked."""

    async def so() -> bool:
        return bool(await world.database.value(PARKED) == count)

    await until(so, f"{count} parked events")


async def known(world: World) -> None:
    """Wait until the directory was read."""

    async def so() -> bool:
        return bool(await world.database.value("SELECT count(*) FROM desk_user"))

    await until(so, "the directory")


async def reasons(world: World) -> list[str]:
    """Why events of the desk are ignored."""
    ignored = "SELECT reason FROM event WHERE account = 'office' AND state = 'ignored' ORDER BY id"
    return [row["reason"] for row in await world.database.rows(ignored)]


async def test_an_author_without_from_before_the_directory_was_read(world: World) -> None:
    """G1, G4: parked, and translated in order when the directory tells who it was; once, also after a kill."""
    down = Fault("hangup", times=-1, match=asks_who_is_there)
    world.ring.faults.append(down)
    world.ring.authors = "userid"
    await world.start()
    for number in range(3):
        await world.user_says("9003", f"to alice {number}")
        await world.user_says("9004", f"to bob {number}", contact=BOB)
    await parked(world, 6)
    assert world.channel() == world.channel(contact=BOB) == []
    await world.bridge.restart_after_kill()
    await until(lambda: len(world.bridge.events("directory.failing")) == 2, "the second daemon has failed too")
    await parked(world, 6)
    world.ring.faults.clear()
    await parked(world, 0)
    await world.user_says("9003", "to alice 3")
    await world.check()
    assert authors(world, "9004") == [("9003", f"to alice {number}") for number in range(4)]
    assert authors(world, "9003", BOB) == [("9004", f"to bob {number}") for number in range(3)]
    assert len(world.bridge.events("directory.failing")) == 2, "told once by each daemon"
    assert len(world.bridge.events("directory.works_again")) == 1


async def test_once_the_directory_is_read_nothing_waits(world: World) -> None:
    """The author is known at once, in chats never seen before too; colleagues see who it was."""
    world.ring.authors = "userid"
    world.ring.echo = "before"
    await world.start()
    await known(world)
    await world.user_says("9003", "first")
    await world.contact_says("hello")
    await world.user_says("9004", "second")
    await world.check()
    assert authors(world, "9004") == [("9003", "first")]
    assert authors(world, "9003") == [("9004", "second")]
    assert "parked" not in {line["outcome"] for line in world.bridge.events("event.taken")}


async def test_a_user_who_is_made_after_the_start(world: World) -> None:
    """The directory is read again as soon as an event names somebody whom it does not have."""
    world.settings.users = ("9003", "9200")
    world.ring.authors = "userid"
    await world.start(world.settings)
    await known(world)
    world.ring.add_user("9200")
    said = await world.user_says("9200", "I am new here")
    world.ring.user_edits(said, "I am new")  # before anything was sent
    world.said[-1] = replace(world.said[-1], text="I am new")
    await world.arrive(world.channel, ["I am new"], seconds=8)
    await world.check()
    assert authors(world, "9003") == [("9200", "I am new")]
    assert len(world.ring.calls_of("getChatUsers")) == 2


async def test_order_is_kept_when_the_author_comes_to_be_known(world: World) -> None:
    """G4: what is said when the directory has just learned of a user goes out behind what was parked before."""
    world.settings.users = ("9003", "9200")
    world.ring.authors = "userid"
    await world.start(world.settings)
    await known(world)
    world.ring.faults.append(Fault("hangup", times=-1, match=asks_who_is_there))
    world.ring.add_user("9200")
    await world.user_says("9200", "one")
    await world.user_says("9200", "two")
    await parked(world, 2)
    world.ring.faults.clear()
    number = 0
    while await world.database.value(PARKED):
        # Some of these come when the directory is stored and nobody has looked at what is parked.
        number += 1
        await world.user_says("9200", f"more {number}")
    await world.user_says("9200", "last")
    await world.check()
    assert world.channel()[:2] == ["one", "two"]


async def test_a_stranger_is_given_up(world: World) -> None:
    """A userid that the desk tells nothing of: the API is not asked over and over, and the event ends with a reason."""
    world.ring.authors = "userid"
    await world.start()
    await known(world)
    asked = len(world.ring.calls_of("getChatUsers"))
    world.ring.user_says("9003", ALICE, "who is this?")
    await world.ring.hooks_taken()
    world.ring.hook_url, url = "", world.ring.hook_url
    said = world.ring.desk.messages[world.ring.user_says("9003", BOB, "a stranger's")]
    hook = world.ring.told(said, world.ring.desk.sessions[said.sessionid])
    world.ring.hook_url = url
    for number in range(20):
        world.ring.emit_event("message", hook | {"userid": "17000000000000000000", "messageid": f"stranger-{number}"})
        await world.ring.hooks_taken()
    world.note_user("9003", "who is this?")
    await parked(world, 20)
    await world.check()
    assert len(world.ring.calls_of("getChatUsers")) <= asked + 1
    await world.bridge.kill()
    early = "UPDATE event SET received_at = '2001-01-01T00:00:00.000000Z' WHERE state = 'parked'"
    await world.database.change(early)
    await world.bridge.start()
    await parked(world, 0)
    await world.check()
    told = "its author is unknown: the desk told of no such user"
    assert await reasons(world) == [told] * 20


async def test_a_stranger_of_a_company_that_is_on_no_link(world: World) -> None:
    """Nobody waits for an author whose message would go nowhere."""
    world.ring.authors = "userid"
    elsewhere = "28446744073709551616"
    world.ring.add_organization(["9003"], orgid=elsewhere)
    await world.start()
    world.ring.user_says("9003", ALICE, "another company's 9003", elsewhere)
    await world.check()
    assert await reasons(world) == ["no link lists this user"]
    assert all(call.params["orgid"] != elsewhere for call in world.ring.calls_of("getChatUsers"))


async def test_a_group_chat(world: World) -> None:
    """Ringotel's page §6: `from` is the shared number, the `userid` says who wrote; colleagues see who it was."""
    world.ring.add_number(NUMBER, ("9004", "9006"))
    world.ring.authors = "number"
    await world.start(Settings(users=("9003", NUMBER), links=(SMS,)))
    await known(world)
    await world.contact_says("hello")
    await world.quiet()
    (group,) = world.ring.sessions_of(NUMBER, ALICE)
    for extension in ("9004", "9006"):
        # 9004 and 9006 are on the link by the number only.
        world.ring.user_says(extension, ALICE, f"{extension} is here", sessionid=group.id)
        await world.ring.hooks_taken()
        world.note_user(NUMBER, f"{extension} is here")
    await world.user_says("9003", "and I")
    world.ring.add_user("9300")
    world.ring.user_says("9300", ALICE, "9300 is new", sessionid=group.id)
    await world.ring.hooks_taken()
    world.note_user(NUMBER, "9300 is new")
    await world.check()
    wrote = [("9004", "9004 is here"), ("9006", "9006 is here"), (NUMBER, "9300 is new")]
    assert authors(world, "9003") == wrote
    assert authors(world, NUMBER) == [("9003", "and I")]
    said = await world.database.rows("SELECT extension FROM message WHERE author = 'user' ORDER BY seq")
    assert [row["extension"] for row in said] == ["9004", "9006", "9003", NUMBER]


async def test_a_group_chat_without_from(world: World) -> None:
    """The session tells the chat, the `userid` who wrote in it."""
    world.ring.add_number(NUMBER, ("9004", "9006"))
    world.ring.authors = "userid"
    await world.start(Settings(users=("9003", NUMBER), links=(SMS,)))
    await known(world)
    await world.contact_says("hello")
    await world.quiet()
    (group,) = world.ring.sessions_of(NUMBER, ALICE)
    world.ring.user_says("9006", ALICE, "9006 is here", sessionid=group.id)
    await world.ring.hooks_taken()
    world.note_user(NUMBER, "9006 is here")
    await world.check()
    assert authors(world, "9003") == [("9006", "9006 is here")]


async def test_a_directory_that_fails_holds_back_nobody_else(world: World) -> None:
    """G10: it is tried again, and told once; whoever is known goes on."""
    world.ring.faults.append(Fault("status", times=-1, status=500, body=b"{}", match=asks_who_is_there))
    world.ring.authors = "userid"
    await world.start()
    await world.user_says("9003", "nobody knows me yet")
    await world.contact_says("hello", contact=BOB)
    await world.arrive(lambda: world.desk("9004", BOB), ["hello"])
    await until(lambda: len(world.ring.calls_of("getChatUsers")) > 2, "tried again")
    assert len(world.bridge.events("directory.failing")) == 1
    lost = [Wrong("lost", Lane(target, ALICE), "nobody knows me yet") for target in (SMS, "desk:9004")]
    await world.check(excused=lost)
    world.ring.faults.clear()
    await world.arrive(world.channel, ["nobody knows me yet"])
    await world.check()

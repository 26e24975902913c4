"""Which link a user's message goes out on."""

from __future__ import annotations

from tests.support.history import Said
from tests.support.settings import POLLED, SMS, WHATSAPP, Settings
from tests.support.waiting import until
from tests.support.world import ALICE, BOB, World


async def test_a_user_writes_where_the_contact_last_wrote(world: World) -> None:
    """Design §4: of two links that share a user the one counts on which the contact last wrote, else the first."""
    await world.start(Settings(links=(SMS, WHATSAPP), users_of={WHATSAPP: ("9003", "9005")}))
    await world.user_says("9003", "who speaks first goes out on the first link", contact=BOB)
    for round_ in range(2):
        # Each is awaited: across links a chat knows no order.
        await world.contact_says(f"by SMS {round_}")
        await world.quiet()
        await world.user_says("9003", f"answer to SMS {round_}", link=SMS)
        await world.quiet()
        await world.contact_says(f"by WhatsApp {round_}", link=WHATSAPP)
        await world.quiet()
        await world.user_says("9003", f"answer to WhatsApp {round_}", link=WHATSAPP)
        await world.quiet()
        await world.user_says("9004", f"is on the SMS link only {round_}", link=SMS)
        await world.user_says("9005", f"is on the WhatsApp link only {round_}", link=WHATSAPP)
    await world.check()
    events = await world.database.rows("SELECT reason FROM event WHERE account = 'office' ORDER BY received_at, id")
    assert "first link" in events[0]["reason"]
    assert "last wrote" in events[1]["reason"]


async def test_two_links_share_one_session(world: World) -> None:
    """G6: the chat of one user with one contact is one session, whatever links they meet on."""
    await world.start()
    for link in (SMS, WHATSAPP):
        await world.contact_says(f"by {link}", link=link)
    await world.quiet()
    assert sorted(world.desk("9003")) == [f"by {SMS}", f"by {WHATSAPP}"]
    assert len(world.ring.sessions_of("9003", ALICE)) == 1
    assert [call.extension for call in world.ring.open_calls].count("9003") == 1


async def test_a_user_on_no_link(world: World) -> None:
    """Design §4: a message of a user on no link is ignored with a reason, and so is one of another organization."""
    await world.start()
    world.ring.add_organization(["9003"], orgid="28446744073709551616")
    world.ring.user_says("9100", ALICE, "nobody listens")
    world.ring.user_says("9003", ALICE, "another company's 9003", "28446744073709551616")
    await world.check()
    events = await world.database.rows("SELECT state, reason FROM event")
    assert [(row["state"], bool(row["reason"])) for row in events] == [("ignored", True)] * 2
    assert await world.database.value("SELECT count(*) FROM message") == 0


async def test_the_same_contact_at_two_companies(world: World) -> None:
    """G10: chats of users who do not share a link never mix."""
    await world.start(Settings(links=(SMS, WHATSAPP), users_of={SMS: ("9003",), WHATSAPP: ("9005",)}))
    await world.contact_says("for 9003", link=SMS)
    await world.contact_says("for 9005", link=WHATSAPP)
    await world.user_says("9003", "from 9003", link=SMS)
    await world.user_says("9005", "from 9005", link=WHATSAPP)
    await world.check()
    assert world.desk("9003") == ["for 9003"]
    assert world.desk("9005") == ["for 9005"]


async def test_national_spellings_are_one_contact(world: World) -> None:
    """Design §2, §4: a user's national spelling, read with the link's region, is the channel's E.164 contact."""
    await world.start(Settings(links=(SMS, POLLED)))
    await world.contact_says("hello")
    await world.quiet()
    world.ring.user_says("9003", "07700900001", "hello back", sessionid=world.ring.sessions_of("9003", ALICE)[0].id)
    world.ring.user_says("9004", "07700 900001", "written as it is read")
    await until(lambda: len(world.channel()) == 2, "both on the channel")
    await world.quiet()
    contacts = await world.database.rows("SELECT DISTINCT contact FROM mapping")
    assert [row["contact"] for row in contacts] == [ALICE]
    assert isinstance(world.said[0], Said)

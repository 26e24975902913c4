"""Texts and ids as nobody expects them."""

from __future__ import annotations

import json

from syncd.simulators import base
from tests.support.history import Fault, Lane
from tests.support.settings import BIRD_CHANNEL, ORGANIZATION, SMS, WHATSAPP
from tests.support.world import ALICE, BOB, World

PAST_64_BITS = 18446744073709551617

TEXTS = {
    "emoji": "👋🏽👩‍👩‍👧‍👦🇬🇧",
    "right to left": "\u202eשלום\u202c \u200fمرحبا\u200e",
    "newlines": "a\r\nb\n\nc\u2028d\te",
    "edges": " \u00a0 blank at both ends \u3000 ",
    "quotes": "\"'\\ {} <b> & %s $1 '; DROP TABLE mapping; --",
    "combining": "e\u0301 is not \u00e9",
    "NUL": "a\x00b",
    "controls": "\x01\x1b[31m\x7f",
    "lone surrogate": "a\ud83db",
    "only digits": "18446744073709551617",
    "JSON": '{"method":"message"}',
    "noncharacter": "\ufffe\uffff\U0010ffff",
    "long": "x" * 1500,
}
"""All of them must be carried as they are."""
HARD = {"empty": "", "blank": " \n ", "100 kB": "0123456789" * 10_000}
"""These may be refused, with a reason."""


async def test_texts_of_contacts(world: World) -> None:
    """G4, G10: every text is carried as it is, in order."""
    await world.start()
    for link, contact in ((SMS, ALICE), (WHATSAPP, BOB)):
        for text in TEXTS.values():
            await world.contact_says(text, contact=contact, link=link)
    await world.check()


async def test_texts_of_users(world: World) -> None:
    """G4, G10: the same for what users write."""
    await world.start()
    for link, contact in ((SMS, ALICE), (WHATSAPP, BOB)):
        await world.contact_says("hello", contact=contact, link=link)
        for text in TEXTS.values():
            await world.user_says("9003", text, contact=contact, link=link)
    torn = TEXTS["lone surrogate"]
    # A form is UTF-8, which has no lone surrogates; JSON has.
    await world.check(excused=[Fault("altered", Lane(WHATSAPP, BOB), torn)])
    assert world.channel(WHATSAPP, BOB)[list(TEXTS).index("lone surrogate")] == torn.replace("\ud83d", "\ufffd")


async def test_hard_texts(world: World) -> None:
    """G10: an empty or huge text is carried, whole or in parts, or refused with a reason; the lane goes on."""
    await world.start()
    for text in HARD.values():
        world.contact_posts(text)
        await world.bird.hooks_taken()
        await world.contact_says("next")
        world.ring.user_says("9003", BOB, text)
        await world.ring.hooks_taken()
        await world.user_says("9003", "next", contact=BOB)
    await world.quiet()
    refused = [row["reason"] for row in await world.deliveries("d.state <> 'sent'")]
    assert all(refused), "each with a reason"
    for there in (world.desk("9003"), world.desk("9004"), world.channel(SMS, BOB), world.desk("9004", BOB)):
        assert there.count("next") == 3
        others = "".join(there).replace("next", "").removeprefix("[text]").strip()
        assert others in ("", HARD["100 kB"]), "an empty text may be told of in words; the long one is whole"


async def test_long_ids_as_numbers(world: World) -> None:
    """Design §7: ids are text, exact past 2**64, also where a platform writes them as JSON numbers."""
    await world.start()
    await world.contact_says("hello", messageid=str(PAST_64_BITS))
    await world.quiet()
    (session,) = world.ring.sessions_of("9003", ALICE)
    params = {
        "orgid": int(ORGANIZATION),
        "from": 9003,
        "to": ALICE,
        "userid": PAST_64_BITS + 1,
        "messageid": PAST_64_BITS + 2,
        "sessionid": PAST_64_BITS + 3,
        "content": "numbers",
        "type": "1",
    }
    world.ring.emit_event("message", params)
    answer = {"result": {"messageid": PAST_64_BITS + 4, "sessionid": PAST_64_BITS + 5}}
    copy = base.Fault("reply", status=200, body=json.dumps(answer).encode(), match=lambda call: call.name == "message")
    world.ring.faults.append(copy)
    await world.arrive(lambda: world.desk("9004"), ["hello", "numbers"])
    await world.arrive(world.channel, ["numbers"])
    await world.quiet()
    ids = {row["messageid"] for row in await world.mapping()}
    assert {str(PAST_64_BITS), str(PAST_64_BITS + 2), str(PAST_64_BITS + 4)} <= ids
    known = {row["sessionid"]: row for row in await world.database.rows("SELECT * FROM session")}
    assert known[str(PAST_64_BITS + 3)]["current"], "a webhook's new session becomes current"
    assert known[str(PAST_64_BITS + 5)]["current"], "and so does an answer's"
    assert not known[session.id]["current"]
    assert world.bird.sent(BIRD_CHANNEL, ALICE)

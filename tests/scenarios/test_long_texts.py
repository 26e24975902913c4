"""Texts that no single message holds, and answers to messages."""

from __future__ import annotations

from tests.support.settings import BIRD_CHANNEL
from tests.support.waiting import until
from tests.support.world import ALICE, World

FAMILY = "👨\u200d👩\u200d👧\u200d👦"


async def test_long_texts_are_split(world: World) -> None:
    """G3, G4: at words, in order, none lost; each part has its row, and a kill between them repeats none."""
    await world.start()
    words = " ".join(f"word{number:05d}" for number in range(1200))
    await world.contact_says(words)
    world.said.clear()
    await until(lambda: len(world.desk("9003")) >= 3, "shown")
    await world.quiet()
    await world.bridge.restart_after_kill()
    await world.user_says("9003", words)
    world.said.clear()
    await until(lambda: len(world.channel()) >= 2, "sent")
    await world.quiet()
    for parts in (world.desk("9003"), world.desk("9004")[:3], world.channel()):
        assert " ".join(parts) == words
        assert max(map(len, parts)) <= 4096
    rows = [row for row in await world.mapping() if row["extension"] == "9003" and row["direction"] == "in"]
    assert sorted(row["part"] for row in rows) == [0, 1, 2]


async def test_an_endless_word_is_split_between_characters(world: World) -> None:
    """What people see as one character stays one."""
    await world.start()
    await world.contact_says(FAMILY * 1000)
    world.said.clear()
    await until(lambda: len("".join(world.desk("9003"))) == 7000, "shown")
    assert len(world.desk("9003")) == 2
    assert all(part.replace(FAMILY, "") == "" for part in world.desk("9003"))


async def test_an_answer_says_to_what(world: World) -> None:
    """A quote is a line above the text, where the message is known."""
    await world.start()
    await world.user_says("9003", "Shall we deliver on Monday\nor on Tuesday?")
    await world.quiet()
    (sent,) = world.bird.sent(BIRD_CHANNEL, ALICE)
    for answered in (sent["id"], "never-seen"):
        world.bird.contact_says(BIRD_CHANNEL, ALICE, "Yes", reply_to=answered)
        await world.bird.hooks_taken()
    await until(lambda: len(world.desk("9003")) >= 2, "shown")
    await world.quiet()
    assert world.desk("9003") == ["> Shall we deliver on Monday or on Tuesday?\nYes", "Yes"]

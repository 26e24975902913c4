"""The checker itself: it finds every kind of fault, and nothing in a clean history."""

from __future__ import annotations

import random

import pytest

from tests.support.history import Arrived, Kind, Lane, Said, faults

ALICE = "+447700900001"
BOB = "+447700900002"
CHANNEL = Lane("sms", ALICE)
ANNA = Lane("desk:9003", ALICE)
BEN = Lane("desk:9004", ALICE)
SAID = [
    Said("one", CHANNEL, (ANNA, BEN)),
    Said("two", ANNA, (CHANNEL, BEN)),
    Said("three", CHANNEL, (ANNA, BEN)),
    Said("one", CHANNEL, (ANNA, BEN)),
    Said("four", CHANNEL, (ANNA, BEN)),
    Said("secret of Bob", Lane("sms", BOB), (Lane("desk:9003", BOB),)),
]
BOBS = [Arrived(Lane("desk:9003", BOB), "secret of Bob")]


def history(anna: str, ben: str = "one two three one four", channel: str = "two") -> list[Arrived]:
    """Copies by lane, one word a text."""
    lanes = ((ANNA, anna), (BEN, ben), (CHANNEL, channel))
    return [Arrived(lane, text) for lane, texts in lanes for text in texts.split()] + BOBS


def test_a_clean_history_has_no_fault() -> None:
    assert faults(SAID, history("one three one four")) == []


@pytest.mark.parametrize(
    ("anna", "kind", "text"),
    [
        ("one three four", "lost", "one"),
        ("one one four", "lost", "three"),
        ("three one four", "lost", "one"),
        ("", "lost", "one"),
        ("one three three one four", "doubled", "three"),
        ("one three one four one", "doubled", "one"),
        ("three one one four", "reordered", "one"),
        ("one three four one", "reordered", "one"),
        ("one two three one four", "looped", "two"),
        ("one Three one four", "altered", "three"),
        ("one three one four…", "altered", "four"),
        ("one three one four [syncd]", "invented", "[syncd]"),
    ],
)
def test_each_kind_of_fault_is_found_and_named(anna: str, kind: Kind, text: str) -> None:
    found = faults(SAID, history(anna))
    assert (kind, ANNA, text) in [(fault.kind, fault.lane, fault.text) for fault in found]
    assert {fault.lane for fault in found} == {ANNA}
    assert {fault.kind for fault in found} == {kind}


def test_a_copy_for_another_contact_or_channel_is_leaked() -> None:
    wrong = [Arrived(BEN, "secret of Bob"), Arrived(Lane("whatsapp", ALICE), "two")]
    found = faults(SAID, history("one three one four") + wrong)
    assert [(fault.kind, fault.lane) for fault in found] == [("leaked", BEN), ("leaked", Lane("whatsapp", ALICE))]


def test_what_is_in_doubt_may_be_missing_or_there_but_not_twice() -> None:
    said = [Said("one", CHANNEL, (ANNA,), in_doubt=frozenset({ANNA})), Said("two", CHANNEL, (ANNA,))]
    for texts, kinds in (("two", []), ("one two", []), ("one one two", ["doubled"]), ("one", ["lost"])):
        found = faults(said, [Arrived(ANNA, text) for text in texts.split()])
        assert [fault.kind for fault in found] == kinds, texts


def test_no_damage_of_a_long_lane_goes_unseen() -> None:
    dice = random.Random(7)
    texts = [dice.choice("abcdefgh") * dice.randint(1, 3) for _ in range(60)]
    said = [Said(text, CHANNEL, (ANNA,)) for text in texts]
    for _ in range(200):
        damaged = list(texts)
        place = dice.randrange(len(damaged) - 1)
        match dice.choice(["drop", "double", "swap", "change"]):
            case "drop":
                del damaged[place]
            case "double":
                damaged.insert(place, damaged[place])
            case "swap":
                damaged[place : place + 2] = damaged[place : place + 2][::-1]
            case "change":
                damaged[place] += "!"
        found = faults(said, [Arrived(ANNA, text) for text in damaged])
        assert bool(found) == (damaged != texts)

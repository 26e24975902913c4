"""What a resync finds missing: by ids first, then by time and text, and never a guess."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from syncd.model.resync import (
    Carried,
    Entry,
    Known,
    Nameless,
    Plan,
    Put,
    Retry,
    Scope,
    Take,
    Told,
    compare_entry,
    compare_told,
)
from syncd.model.sending import Author

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALICE, BOB = "+447700900001", "+447700900002"
SCOPE = Scope("sms", NOW - HOUR, NOW)
NOTHING = Known({}, (), {}, ())
TOLD = Told("message:1", "1", None, ALICE, Author.CONTACT, "hello", NOW - HOUR / 2)
OURS = replace(TOLD, author=Author.CHANNEL)
ENTRY = Entry("m1", "c1", ALICE, NOW - HOUR / 2, True, False, {"9003"}, ())


def plan_of(scope: Scope = SCOPE) -> Plan:
    return Plan(scope, ("9003", "9004"))


def told(one: Told, known: Known = NOTHING, scope: Scope = SCOPE) -> Plan:
    plan = plan_of(scope)
    compare_told(plan, [one], known)
    return plan


def entered(entry: Entry, scope: Scope = SCOPE, oldest: datetime | None = None) -> Plan:
    plan = plan_of(scope)
    compare_entry(plan, entry, oldest=oldest)
    return plan


def test_what_nobody_knows_is_taken_for_all_users() -> None:
    plan = told(TOLD)
    assert plan.steps == [Take(ALICE, TOLD.said_at, "message:1", again=False)]
    assert (plan.messages, plan.copies, plan.odd) == (1, 2, [])


@pytest.mark.parametrize(
    ("one", "known", "reason"),
    [
        (TOLD, Known({"1": "hello"}, (), {}, ()), "known"),
        (TOLD, Known({"1": None}, (), {}, ()), "known"),
        (replace(OURS, reference="syncd-1"), Known({}, ("syncd-1",), {}, ()), "known"),
        (TOLD, Known({}, (), {"message:1": "gone"}, ()), "erased"),
        (TOLD, Known({}, (), {"message:1": "waits"}, ()), "under way"),
        (TOLD, Known({}, (), {"message:1": "settled"}, ()), "of no interest"),
        (OURS, Known({}, (), {}, [Nameless(ALICE, "hello", TOLD.said_at, False)]), "known"),
        (replace(TOLD, said_at=NOW + HOUR), NOTHING, "outside"),
        (replace(TOLD, said_at=NOW - 2 * HOUR), NOTHING, "outside"),
    ],
)
def test_what_needs_nothing_is_counted(one: Told, known: Known, reason: str) -> None:
    plan = told(one, known)
    assert (plan.steps, plan.odd, dict(plan.seen)) == ([], [], {reason: 1})


def test_other_contacts_are_not_asked_for() -> None:
    plan = told(TOLD, scope=replace(SCOPE, contact=BOB))
    assert (plan.steps, dict(plan.seen)) == ([], {"other contacts": 1})
    assert told(TOLD, scope=replace(SCOPE, contact=ALICE)).copies == 2


def test_other_words_are_shown_and_left_alone() -> None:
    plan = told(TOLD, Known({"1": "hallo"}, (), {}, ()))
    (odd,) = plan.odd
    assert (odd.kind, odd.id, plan.steps) == ("differing", "1", [])


@pytest.mark.parametrize(
    "nameless",
    [
        [Nameless(ALICE, "hello", TOLD.said_at + timedelta(seconds=100), True)],
        [Nameless(ALICE, "hello", TOLD.said_at, False), Nameless(ALICE, "hello", TOLD.said_at, False)],
        [Nameless(ALICE, "hello", TOLD.said_at, False), Nameless(ALICE, "hello", TOLD.said_at, True)],
    ],
)
def test_what_may_be_ours_is_never_guessed(nameless: list[Nameless]) -> None:
    plan = told(OURS, Known({}, (), {}, nameless))
    assert ([one.kind for one in plan.odd], plan.steps) == (["ambiguous"], [])


@pytest.mark.parametrize(
    "nameless",
    [
        Nameless(BOB, "hello", TOLD.said_at, False),
        Nameless(ALICE, "hullo", TOLD.said_at, False),
        Nameless(ALICE, "hello", TOLD.said_at + timedelta(minutes=3), False),
    ],
)
def test_what_is_not_alike_is_another_message(nameless: Nameless) -> None:
    assert told(OURS, Known({}, (), {}, [nameless])).messages == 1
    same = replace(nameless, contact=ALICE, text="hello", said_at=TOLD.said_at)
    assert told(TOLD, Known({}, (), {}, [same])).messages == 1, "a contact's message is none of ours"


def test_an_event_that_meant_nothing_is_taken_again() -> None:
    (step,) = told(TOLD, Known({}, (), {"message:1": "missed"}, ())).steps
    assert isinstance(step, Take)
    assert step.again


def test_a_chat_that_lacks_a_message_gets_it() -> None:
    plan = entered(ENTRY)
    assert plan.steps == [Put(ALICE, ENTRY.said_at, "c1", "m1", "desk:9004")]
    assert (plan.messages, plan.copies, dict(plan.seen)) == (1, 1, {"there": 1})
    assert entered(ENTRY, replace(SCOPE, user="9003")).steps == []
    assert entered(ENTRY, replace(SCOPE, user="9004")).copies == 1


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("ready", "under way"),
        ("sending", "under way"),
        ("unknown", "in doubt"),
        ("skipped", "dropped"),
        ("sent", "there"),
    ],
)
def test_what_was_decided_of_a_copy_holds(state: str, reason: str) -> None:
    plan = entered(replace(ENTRY, deliveries=[Carried("d1", "desk:9004", state)]), replace(SCOPE, user="9004"))
    assert (plan.steps, dict(plan.seen)) == ([], {reason: 1})


def test_what_was_given_up_is_tried_again_part_by_part() -> None:
    parts = [Carried(f"d{n}", "desk:9004", state) for n, state in enumerate(("sent", "dead", "dead"))]
    plan = entered(replace(ENTRY, chats={"9003", "9004"}, deliveries=parts))
    assert [step.delivery for step in plan.steps if isinstance(step, Retry)] == ["d1", "d2"]
    assert (plan.messages, plan.copies) == (1, 2)


@pytest.mark.parametrize(
    ("entry", "oldest", "reason"),
    [
        (replace(ENTRY, deleted=True), None, "taken back"),
        (replace(ENTRY, has_content=False), None, "removed by retention"),
        (ENTRY, NOW, "too old"),
    ],
)
def test_what_cannot_or_must_not_be_put_is_counted(entry: Entry, oldest: datetime | None, reason: str) -> None:
    plan = entered(entry, replace(SCOPE, user="9004"), oldest)
    assert (plan.steps, dict(plan.seen)) == ([], {reason: 1})


def test_steps_are_sorted_by_contact_and_time() -> None:
    plan = plan_of()
    for number, contact in ((3, ALICE), (1, BOB), (2, ALICE), (0, ALICE)):
        compare_told(
            plan, [replace(TOLD, key=str(number), contact=contact, said_at=NOW - HOUR + number * HOUR / 9)], NOTHING
        )
    keys = {contact: [step.key for step in steps if isinstance(step, Take)] for contact, steps in plan.sorted().items()}
    assert keys == {ALICE: ["0", "2", "3"], BOB: ["1"]}

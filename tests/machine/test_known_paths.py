"""Paths through the machine that chance takes rarely: each shows what one precaution is for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from syncd.model.facts import CopyStatus
from tests.machine.facade import End
from tests.machine.scenery import CONTACTS, Policy
from tests.machine.setting import Ground
from tests.machine.steps import How, Machine

CONTACT = CONTACTS[0]


@contextmanager
def played(ground: Ground, policy: Policy, *, echoes: bool) -> Iterator[Machine]:
    """A machine to take steps with; afterwards all settles and is judged."""
    machine: Machine = type("Machine", (Machine,), {"ground": ground})()
    try:
        machine.begin(policy=policy, echoes=echoes)
        yield machine
    except BaseException:
        machine.broken = True
        raise
    finally:
        machine.teardown()


def at_once(*trouble: tuple[str, End], prompt: bool = False, by: int = 0) -> How:
    """Told to one process now, with this becoming of the next calls."""
    return How(by, list(trouble), prompt)


def write(machine: Machine, link: str, how: How) -> None:
    """The contact writes."""
    machine.contact_writes(link=link, contact=CONTACT, common=False, how=how)


def answer(machine: Machine, user: str, how: How) -> None:
    """A user writes to the contact."""
    machine.user_writes(user=user, contact=CONTACT, names="all", how=how)


def tell_status_of(machine: Machine, account: str, place: int) -> None:
    """The platform tells that a copy was delivered."""
    truth = machine.setting.truth
    truth.status_of([one for one in truth.arrivals if one.account == account][place], CopyStatus.DELIVERED)
    machine.deliver(pick=0, who=0, mode="once", trouble=[])


def test_an_echo_that_overtakes_its_answer_is_no_news(ground: Ground) -> None:
    """G5: the echo waits until the answer tells whose it is."""
    with played(ground, "hold", echoes=True) as machine:
        write(machine, "solo", at_once(("office", "slow, done"), prompt=True))


def test_what_a_process_learns_after_its_lease_ended_undoes_nothing(ground: Ground) -> None:
    """G3, G4, G14: another has the lane and is sending; that ours was not sent is no reason to send it once more."""
    if len(ground.look.processes) < 2:
        pytest.skip("takes two processes")
    with played(ground, "resend", echoes=False) as machine:
        write(machine, "solo", at_once(("office", "slow"), ("office", "slow")))
        machine.mishap(who=0, what="freeze", account="office")
        machine.slow_call_ends(pick=0, end="not sent")
        machine.time_passes(seconds=31.0)
        machine.mishap(who=0, what="freeze", account="office")
        machine.time_passes(seconds=3.0)


def test_a_process_that_stood_still_between_claim_and_send_sends_nothing_more(ground: Ground) -> None:
    """G3, G14: meanwhile another has found out that it was not sent, and sent it."""
    if len(ground.look.processes) < 2:
        pytest.skip("takes two processes")
    with played(ground, "hold", echoes=False) as machine:
        machine.doom(who=0, units=2, fate="stands still")
        answer(machine, "9005", at_once())
        machine.time_passes(seconds=61.0)


def test_an_echo_that_settles_a_doubt_tells_the_session_too(ground: Ground) -> None:
    """G6: the session was closed, and the answer that would have named the new one is lost."""
    with played(ground, "hold", echoes=True) as machine:
        write(machine, "solo", at_once())
        machine.session_is_closed(user="9005", contact=CONTACT)
        write(machine, "solo", at_once(("office", "lost, done"), prompt=True))


def test_of_two_doubts_in_one_chat_each_echo_settles_its_own(ground: Ground) -> None:
    """G5: two links lead into the chat, and both answers are lost; what the contact said must not go back to them."""
    with played(ground, "hold", echoes=True) as machine:
        for link in ("sms", "whatsapp"):
            write(machine, link, at_once())
        for link in ("sms", "whatsapp"):
            write(machine, link, at_once(("office", "lost, done")))
        machine.deliver_several_at_once(count=20, who=0, trouble=[])


def test_an_echo_behind_an_event_that_waits_settles_its_doubt_at_once(ground: Ground) -> None:
    """G5: when the wait is over the doubt is gone, and the echo would pass for news."""
    with played(ground, "resend", echoes=True) as machine:
        write(machine, "solo", at_once(("office", "lost, done")))
        answer(machine, "9005", at_once())
        machine.deliver_several_at_once(count=20, who=0, trouble=[])


def test_an_echo_that_waited_while_all_were_dead_settles_its_doubt(ground: Ground) -> None:
    """G5, G7: it was acknowledged before, and is looked at before the doubt is old enough to be sent again."""
    with played(ground, "resend", echoes=True) as machine:
        write(machine, "solo", at_once(("office", "slow, done"), prompt=True))
        for _ in ground.look.processes:
            machine.kill(who=0)
        machine.time_passes(seconds=31.0)


def test_an_event_that_waits_goes_where_it_would_have_gone(ground: Ground) -> None:
    """G4: what the contact writes elsewhere meanwhile does not lead it there, behind what was said later."""
    with played(ground, "hold", echoes=False) as machine:
        write(machine, "whatsapp", at_once())
        write(machine, "whatsapp", at_once(("office", "lost, done")))
        answer(machine, "9003", at_once())
        write(machine, "sms", at_once())


def test_events_that_wait_keep_their_order_whatever_clocks_say(ground: Ground) -> None:
    """G4: the second is taken by a process whose clock is behind."""
    with played(ground, "hold", echoes=False) as machine:
        write(machine, "solo", at_once(("office", "lost, done")))
        answer(machine, "9005", at_once())
        machine.mishap(who=1, what="clock behind", account="office")
        machine.kill(who=0)
        answer(machine, "9005", at_once())


def test_a_status_that_may_speak_of_a_copy_without_id_settles_no_doubt(ground: Ground) -> None:
    """G3: the first was taken without telling its id, the second never arrived; one of them is told to be delivered."""
    with played(ground, "hold", echoes=False) as machine:
        write(machine, "whatsapp", at_once())
        answer(machine, "9003", at_once(("islash", "taken without id")))
        answer(machine, "9003", at_once(("islash", "lost, not done")))
        tell_status_of(machine, "islash", 0)


def test_a_status_that_may_speak_of_a_doubt_names_no_other_copy(ground: Ground) -> None:
    """G3: the first was taken without telling its id, the answer to the second is lost: it is the second's status."""
    with played(ground, "hold", echoes=False) as machine:
        for trouble in ([], [("office", "taken without id")], [("office", "lost, done")]):
            write(machine, "solo", How(0, trouble, prompt=False))  # type: ignore[arg-type]
        tell_status_of(machine, "office", -1)

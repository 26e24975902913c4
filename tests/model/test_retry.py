"""What the end of an attempt means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.model.retry import (
    GIVE_UP_AFTER,
    LONGEST_WAIT,
    MOST_ATTEMPTS,
    Verdict,
    backoff,
    class_of,
    too_old,
    verdict,
)
from syncd.model.sending import (
    AuthFailed,
    EndRefused,
    Gone,
    MaybeSent,
    NotSent,
    RateLimited,
    Rejected,
    SendError,
    Sent,
)


def judge(result: Sent | SendError, attempts: int = 1, waited: timedelta = timedelta()) -> Verdict:
    return verdict(result, attempts=attempts, waited=waited, draw=lambda: 0.5)


def test_sent_settles_the_delivery() -> None:
    assert judge(Sent("m1")) == Verdict("sent", False, None, "")


@pytest.mark.parametrize("error", [Rejected("too long"), Gone("no such channel")])
def test_a_verdict_of_the_platform_is_final_and_lets_the_lane_go_on(error: SendError) -> None:
    assert judge(error) == Verdict("dead", False, None, error.reason)


@pytest.mark.parametrize(
    ("attempts", "waited"),
    [(1, timedelta()), (1000, GIVE_UP_AFTER - timedelta(seconds=1)), (MOST_ATTEMPTS - 1, 10 * GIVE_UP_AFTER)],
)
def test_not_sent_is_tried_again_until_both_attempts_and_hours_are_enough(attempts: int, waited: timedelta) -> None:
    """G3: neither a burst of quick failures nor a long pause alone gives a message up."""
    judged = judge(NotSent("refused"), attempts, waited)
    assert (judged.state, judged.open, judged.counts, judged.why) == ("ready", True, True, "refused")
    assert judged.wait is not None
    assert 0 < judged.wait <= LONGEST_WAIT


def test_not_sent_is_given_up_after_enough_attempts_and_hours() -> None:
    judged = judge(NotSent("refused"), MOST_ATTEMPTS, GIVE_UP_AFTER)
    assert (judged.state, judged.open) == ("dead", False)
    assert judged.why == f"given up after {MOST_ATTEMPTS} tries in 48 hours: refused"


def test_a_message_is_sent_until_it_is_too_old() -> None:
    now = datetime(2026, 5, 4, 12, tzinfo=UTC)
    assert too_old(now - timedelta(hours=12), now, timedelta(hours=12)) is None
    assert too_old(now + timedelta(hours=1), now, timedelta(hours=12)) is None
    judged = too_old(now - timedelta(hours=12, seconds=1), now, timedelta(hours=12))
    assert judged == Verdict("dead", False, None, "older than max_age: said 2026-05-03 23:59 UTC")


def test_a_refused_end_waits_and_costs_no_attempt() -> None:
    """G10: a wrong session key of one link is no reason to pause the account."""
    judged = judge(EndRefused("wrong session"), attempts=MOST_ATTEMPTS, waited=10 * GIVE_UP_AFTER)
    assert (judged.state, judged.open, judged.counts) == ("ready", True, False)
    assert judged.wait == 60.0


def test_not_sent_with_a_cap_is_tried_so_often() -> None:
    states = [judge(NotSent("error 17", tries=3), attempts).state for attempts in (1, 2, 3, 4)]
    assert states == ["ready", "ready", "dead", "dead"]
    assert "after 3 tries" in judge(NotSent("error 17", tries=3), 3).why


def test_a_rate_limit_waits_as_told_and_costs_no_attempt() -> None:
    assert judge(RateLimited("slow down", retry_after=17.5)).wait == 17.5
    for told in (RateLimited("slow down", retry_after=0.0), RateLimited("slow down")):
        judged = judge(told, attempts=9)
        assert (judged.state, judged.open, judged.counts) == ("ready", True, False)


def test_a_rate_limit_without_a_time_waits_a_second_at_least() -> None:
    wait = judge(RateLimited("slow down")).wait
    assert wait is not None
    assert wait >= 1


def test_a_refused_key_keeps_the_delivery_and_costs_no_attempt() -> None:
    judged = judge(AuthFailed("401"), attempts=50)
    assert (judged.state, judged.open, judged.counts) == ("ready", True, False)
    assert judged.wait is not None
    assert judged.wait > 0


def test_a_doubt_holds_the_lane() -> None:
    judged = judge(MaybeSent("answer lost"))
    assert (judged.state, judged.open, judged.counts, judged.why) == ("unknown", True, True, "answer lost")
    assert judged.wait is not None
    assert judged.wait > 0


def test_an_error_of_no_known_class_is_tried_again() -> None:
    assert judge(SendError("odd")).state == "ready"


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_short_at_first_and_bounded(attempts: int, drawn: float) -> None:
    wait = backoff(attempts, lambda: drawn)
    assert 0 < wait <= 0.05 + min(LONGEST_WAIT, 0.5 * 2 ** min(attempts - 1, 20))


def test_the_ceiling_of_the_wait_doubles() -> None:
    ceilings = [backoff(attempts, lambda: 1.0) - 0.05 for attempts in range(1, 6)]
    assert ceilings == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0])


@pytest.mark.parametrize(
    ("result", "name"),
    [
        (Sent(None), "sent"),
        (NotSent(""), "not_sent"),
        (RateLimited(""), "rate_limited"),
        (Rejected(""), "rejected"),
        (AuthFailed(""), "auth_failed"),
        (EndRefused(""), "end_refused"),
        (Gone(""), "gone"),
        (MaybeSent(""), "maybe_sent"),
    ],
)
def test_classes_have_the_names_of_the_attempt_table(result: Sent | SendError, name: str) -> None:
    assert class_of(result) == name

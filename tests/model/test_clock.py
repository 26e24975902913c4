"""Ids: unique, and rising whatever the clock does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from syncd.model.clock import Ids, utc_now

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_ids_rise_within_one_millisecond() -> None:
    ids = Ids(lambda: START, "0" * 8)
    drawn = [ids() for _ in range(1000)]
    assert drawn == sorted(set(drawn))


def test_ids_rise_when_the_clock_goes_back() -> None:
    times = iter([START, START - timedelta(hours=1), START + timedelta(milliseconds=1)])
    ids = Ids(lambda: next(times), "0" * 8)
    assert (drawn := [ids(), ids(), ids()]) == sorted(set(drawn))


def test_ids_of_a_later_time_are_greater_whoever_makes_them() -> None:
    earlier, later = Ids(lambda: START), Ids(lambda: START + timedelta(milliseconds=1))
    assert max(earlier() for _ in range(100)) < later()


def test_two_processes_that_draw_differently_make_different_ids() -> None:
    one, other = Ids(lambda: START), Ids(lambda: START)
    assert {one() for _ in range(100)}.isdisjoint({other() for _ in range(100)})


def test_threads_draw_no_id_twice_and_each_sees_them_rise() -> None:
    ids = Ids(lambda: START, "0" * 8)
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: [ids() for _ in range(500)], range(8)))
    assert all(part == sorted(part) for part in drawn)
    assert len({one for part in drawn for one in part}) == 8 * 500


def test_the_wall_clock_is_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)

"""What one client may ask of a process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quotes.streaming import limits
from quotes.streaming.limits import Failures, Pace, Seats


def test_pace_allows_its_burst_then_its_rate() -> None:
    pace = Pace(burst=3, per_second=2, now=0)

    assert [pace.allows(0) for _ in range(4)] == [True, True, True, False]
    assert [pace.allows(0.5), pace.allows(0.5)] == [True, False]


def test_pace_saves_no_more_than_its_burst() -> None:
    pace = Pace(burst=2, per_second=100, now=0)

    assert [pace.allows(1_000) for _ in range(3)] == [True, True, False]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200))
def test_pace_never_exceeds_burst_plus_rate(steps: list[float]) -> None:
    pace, now, allowed = Pace(burst=5, per_second=10, now=0), 0.0, 0
    for step in steps:
        now += step
        allowed += pace.allows(now)

    assert allowed <= 5 + 10 * now + 1e-6


def test_each_further_failure_waits_twice_as_long_up_to_a_bound() -> None:
    failures = Failures()

    delays = [failures.delay_after("10.0.0.1", now=0) for _ in range(40)]

    assert delays[:4] == [0.25, 0.5, 1.0, 2.0]
    assert max(delays) == delays[-1] == limits.FAILURE_DELAY_SECONDS_MAX
    assert failures.delay_after("10.0.0.2", now=0) == 0.25


def test_failures_are_forgotten_after_a_while() -> None:
    failures = Failures()
    for _ in range(5):
        failures.delay_after("10.0.0.1", now=0)

    assert failures.delay_after("10.0.0.1", limits.FAILURES_FORGOTTEN_SECONDS + 1) == 0.25


def test_the_memory_of_failures_is_bounded() -> None:
    failures = Failures()
    for number in range(limits.FAILURES_REMEMBERED_MAX + 10):
        failures.delay_after(str(number), now=0)

    assert len(failures._of) == limits.FAILURES_REMEMBERED_MAX
    assert failures.delay_after("0", now=0) == 0.25


def test_seats_are_counted_per_account_and_given_back() -> None:
    seats = Seats()

    assert [seats.take(1, 2), seats.take(1, 2), seats.take(1, 2)] == [True, True, False]
    assert seats.take(2, 2)
    seats.release(1)
    assert seats.take(1, 2)
    for account in (1, 1, 2):
        seats.release(account)
    assert not seats._taken

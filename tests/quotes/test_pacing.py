"""How far a replay's market time should be, with wall time passed in."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.pacing import LAG_SECONDS_MAX, SPEED_MAX, SPEED_MIN, Pace

START_US = 1_381_132_800_000_000


def test_market_time_passes_at_the_speed() -> None:
    pace = Pace(100.0, START_US, speed=60.0)
    assert pace.target_us(100.0) == START_US
    assert pace.target_us(100.5) == START_US + 30_000_000
    assert pace.target_us(99.0) == START_US


def test_paused_market_stands() -> None:
    pace = Pace(100.0, START_US, speed=60.0, paused=True)
    assert pace.target_us(500.0) == START_US
    assert pace.wall_of(START_US + 1) == inf
    assert pace.lag_seconds(500.0, START_US) == 0.0


@pytest.mark.parametrize(("speed", "paused"), [(10.0, False), (60.0, True), (1.0, True)])
def test_change_takes_effect_from_where_the_market_is(speed: float, paused: bool) -> None:
    pace = Pace(100.0, START_US, speed=60.0)
    changed = pace.changed(110.0, START_US + 600_000_000, speed=speed, paused=paused)
    assert changed.target_us(110.0) == START_US + 600_000_000
    assert changed.target_us(112.0) == START_US + 600_000_000 + (
        0 if paused else int(2 * speed * 1_000_000)
    )


def test_unchanged_pace_keeps_its_schedule_and_its_lag() -> None:
    pace = Pace(100.0, START_US, speed=60.0)
    late = pace.changed(110.0, START_US, speed=60.0, paused=False)
    assert late.target_us(110.0) == START_US + 600_000_000


def test_lag_is_in_wall_seconds() -> None:
    pace = Pace(100.0, START_US, speed=60.0)
    assert pace.lag_seconds(110.0, START_US + 480_000_000) == pytest.approx(2.0)
    assert pace.lag_seconds(110.0, START_US + 900_000_000) == 0.0


def test_jump_goes_on_from_there_at_the_same_speed() -> None:
    jumped = Pace(100.0, START_US, speed=2.0).jumped(101.0, START_US + 3_600_000_000)
    assert jumped.target_us(103.0) == START_US + 3_604_000_000


def test_schedule_slips_when_the_machine_cannot_keep_up() -> None:
    pace = Pace(100.0, START_US, speed=60.0)
    assert pace.slipped(104.0, START_US) is pace
    slept = pace.slipped(3_700.0, START_US)
    assert slept.lag_seconds(3_700.0, START_US) == pytest.approx(LAG_SECONDS_MAX)


@given(
    speed=st.floats(SPEED_MIN, SPEED_MAX),
    at=st.integers(0, 86_400_000_000),
)
def test_schedule_reaches_an_instant_when_it_says(speed: float, at: int) -> None:
    pace = Pace(100.0, START_US, speed=speed)
    wall = pace.wall_of(START_US + at)
    assert abs(pace.target_us(wall) - (START_US + at)) <= 2 + speed


@given(walls=st.lists(st.floats(0, 10_000), min_size=2), speed=st.floats(SPEED_MIN, SPEED_MAX))
def test_target_never_runs_backwards(walls: list[float], speed: float) -> None:
    pace = Pace(100.0, START_US, speed=speed)
    targets = [pace.target_us(wall) for wall in sorted(walls)]
    assert targets == sorted(targets)

"""A stepped market: the same orders get the same fills, and the books of a traded day prove."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import stepped_day


def test_a_simulated_quarter_of_an_hour_is_the_same_twice() -> None:
    words = "--feed simulated --date 2024-03-05 --minutes 15 --orders 60 --runs 2"

    assert stepped_day.main(words.split()) == 0


def test_a_recorded_quarter_of_an_hour_is_the_same_twice(lean_data: Path) -> None:
    words = f"--data {lean_data} --minutes 15 --orders 100 --runs 2"

    assert stepped_day.main(words.split()) == 0


@pytest.mark.long
def test_the_recorded_day_with_two_thousand_orders_is_the_same_twice(lean_data: Path) -> None:
    assert stepped_day.main(["--data", str(lean_data), "--orders", "2400", "--runs", "2"]) == 0

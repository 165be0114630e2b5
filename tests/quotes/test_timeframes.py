from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.calendar import NEW_YORK
from quotes.timeframes import InvalidTimeframe, parse_timeframe

LENGTHS = ["1Min", "5Min", "7Min", "59Min", "1Hour", "4Hour", "23Hour", "1Day", "1Week", "1Month",
           "3Month", "12Month"]  # fmt: skip


def seconds(new_york: str) -> int:
    return int(datetime.fromisoformat(new_york).replace(tzinfo=NEW_YORK).timestamp())


@pytest.mark.parametrize(
    ("text", "name"),
    [("1Min", "1Min"), ("59T", "59Min"), ("1Hour", "1Hour"), ("23H", "23Hour"), ("1D", "1Day"),
     ("1Day", "1Day"), ("1W", "1Week"), ("1Month", "1Month"), ("12M", "12Month")],
)  # fmt: skip
def test_understands_what_clients_write(text: str, name: str):
    assert str(parse_timeframe(text)) == name


@pytest.mark.parametrize(
    "text",
    ["", "Min", "0Min", "60Min", "24Hour", "2Day", "2Week", "5Month", "1min", "1 Min", "-1Min",
     "1Min\n", "1Year", "٣Min", "1" * 5000 + "Min"],
)  # fmt: skip
def test_refuses_other_lengths(text: str):
    with pytest.raises(InvalidTimeframe) as refused:
        parse_timeframe(text)
    assert refused.value.http_status == 400
    assert len(refused.value.message) < 100


@pytest.mark.parametrize(
    ("length", "instant", "label", "end"),
    [
        ("5Min", "2013-10-07 09:34:59", "2013-10-07 09:30", "2013-10-07 09:35"),
        ("7Min", "2013-10-07 09:59:00", "2013-10-07 09:56", "2013-10-07 10:00"),
        ("1Hour", "2013-10-07 09:34:59", "2013-10-07 09:00", "2013-10-07 10:00"),
        ("4Hour", "2013-10-07 09:34:59", "2013-10-07 08:00", "2013-10-07 12:00"),
        ("23Hour", "2013-10-07 23:30:00", "2013-10-07 23:00", "2013-10-08 00:00"),
        ("1Day", "2013-10-07 09:34:59", "2013-10-07 00:00", "2013-10-08 00:00"),
        ("1Week", "2013-10-13 23:59:59", "2013-10-07 00:00", "2013-10-14 00:00"),
        ("1Month", "2013-12-31 23:59:59", "2013-12-01 00:00", "2014-01-01 00:00"),
        ("3Month", "2013-11-05 00:00:00", "2013-10-01 00:00", "2014-01-01 00:00"),
        ("1Day", "2026-03-08 12:00:00", "2026-03-08 00:00", "2026-03-09 00:00"),
        ("6Hour", "2026-03-08 03:30:00", "2026-03-08 00:00", "2026-03-08 06:00"),
    ],
)
def test_label_and_end_of_the_bar_an_instant_lies_in(
    length: str, instant: str, label: str, end: str
):
    bars = parse_timeframe(length)
    assert bars.label(seconds(instant)) == seconds(label)
    assert bars.end(seconds(label)) == seconds(end)


@pytest.mark.parametrize("length", LENGTHS)
@given(at=st.integers(1_000_000, 3_000_000_000))
def test_bars_cover_time_without_gap_or_overlap(length: str, at: int):
    bars = parse_timeframe(length)
    label = bars.label(at)
    end = bars.end(label)
    assert label <= at < end
    assert bars.label(label) == label
    assert bars.label(end - 1) == label
    assert bars.label(end) == end


@pytest.mark.parametrize("length", LENGTHS)
def test_bars_follow_each_other_over_both_clock_changes(length: str):
    bars = parse_timeframe(length)
    for change in (datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)):
        label = bars.label(int((change - timedelta(days=1)).timestamp()))
        while label < (change + timedelta(days=2)).timestamp():
            assert bars.label(bars.end(label)) == bars.end(label)
            label = bars.end(label)

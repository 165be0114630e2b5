"""The stretches of time that a portfolio history is told in. Pure, apart from the calendar.

A history covers whole trading days; a day is one stretch, or many of some minutes. A stretch is
labelled with its beginning and told as of its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from portfolios.errors import HistoryInvalid
from quotes.calendar import Calendar, TradingDay
from quotes.ticks import MICROSECONDS, to_instant, to_micros

# Seconds of the timeframes below a day.
STEPS = {"1Min": 60, "5Min": 300, "15Min": 900, "1H": 3600}
DAILY = "1D"
TIMEFRAMES = (*STEPS, DAILY)
SPANS_MAX = 10_000
PERIOD = re.compile(r"(\d{1,3})([DWMA])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """From `label` (epoch seconds) to `end`, which it does not include, within a trade date."""

    label: int
    on: date
    end: datetime


@dataclass(frozen=True, slots=True)
class Range:
    """First and last date of a history, both included."""

    first: date
    last: date

    @property
    def timeframe(self) -> str:
        """The one that suits its length: 1Min below a week, 15Min below a month, else 1D."""
        if (self.last - self.first).days + 1 < 7:
            return "1Min"
        return DAILY if self.last >= _month_from(self.first) else "15Min"


def range_of(
    calendar: Calendar, today: date, period: str | None, first: date | None, last: date | None
) -> Range:
    """The dates asked for; two of the three, the period being a month where it is missing.

    `today` is the last trading day that has begun. Raises HistoryInvalid.
    """
    if first is not None and last is not None and period is not None:
        raise HistoryInvalid("only two of start, end and period are accepted")
    if first is None or (last is None and period is not None):
        match = PERIOD.fullmatch(period or "1M")
        if match is None or int(match[1]) == 0:
            raise HistoryInvalid("period must be a number and D, W, M or A")
        count, unit = int(match[1]), match[2]
        if first is None:
            last = last or today
            first = _before(calendar, last, count, unit)
        else:
            last = _after(calendar, first, count, unit)
    last = last or today
    if first > last:
        raise HistoryInvalid("the history would end before it starts")
    return Range(first, min(last, today))


def _before(calendar: Calendar, last: date, count: int, unit: str) -> date:
    """The first date of a period that ends with `last`."""
    if unit != "D":
        return _moved(last, -count, unit) + timedelta(days=1)
    first = last if calendar.day(last) else calendar.previous_day(last).date
    for _ in range(count - 1):
        first = calendar.previous_day(first).date
    return first


def _after(calendar: Calendar, first: date, count: int, unit: str) -> date:
    if unit != "D":
        return _moved(first, count, unit) - timedelta(days=1)
    last = first if calendar.day(first) else calendar.next_day(first).date
    for _ in range(count - 1):
        last = calendar.next_day(last).date
    return last


def _month_from(first: date) -> date:
    """The last date of the month that begins with `first`."""
    return _moved(first, 1, "M") - timedelta(days=1)


def _moved(on: date, count: int, unit: str) -> date:
    """So many weeks, months or years away; the end of a month stays within its month."""
    if unit == "W":
        return on + timedelta(weeks=count)
    months = on.year * 12 + on.month - 1 + count * (12 if unit == "A" else 1)
    year, month = divmod(months, 12)
    if not 1 <= year <= 9998:
        raise HistoryInvalid("the period is too long")
    following = date(year + month // 11, (month + 1) % 12 + 1, 1)
    return date(year, month + 1, min(on.day, (following - timedelta(days=1)).day))


def spans(days: Sequence[TradingDay], timeframe: str, *, extended: bool) -> list[Span]:
    """The stretches of these days. Raises HistoryInvalid beyond SPANS_MAX."""
    found: list[Span] = []
    for span in _all_spans(days, timeframe, extended):
        if len(found) == SPANS_MAX:
            raise HistoryInvalid(
                f"more than {SPANS_MAX} points: ask for a shorter period or a longer timeframe",
                maximum=SPANS_MAX,
            )
        found.append(span)
    return found


def _all_spans(days: Sequence[TradingDay], timeframe: str, extended: bool) -> Iterator[Span]:
    for day in days:
        if timeframe == DAILY:
            yield Span(_seconds(day.open_at), day.date, day.after_at)
            continue
        step = STEPS[timeframe]
        begin, end = (day.pre_at, day.after_at) if extended else (day.open_at, day.close_at)
        label = _seconds(begin)
        for start in range(label - label % step, _seconds(end), step):
            yield Span(start, day.date, to_instant((start + step) * MICROSECONDS))


def _seconds(at: datetime) -> int:
    return to_micros(at) // MICROSECONDS

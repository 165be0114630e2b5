"""When the market is open: trading days, their sessions and their settlement.

Two calendars answer the same questions. `EXCHANGE` is that of NYSE and Nasdaq, `ROUND_THE_CLOCK`
that of the simulated market, where every calendar day is one regular session from midnight to
midnight New York.

The exchange's closures come from the `holidays` package (financial market NYSE). It knows the rules
and the single days: the holidays with their observed days, Hurricane Sandy (2012-10-29 and -30),
the mournings for Reagan (2004-06-11), Ford (2007-01-02), Bush (2018-12-05) and Carter
(2025-01-09), September 2001; and, as category `half_day`, the early closings at 13:00: the day
after Thanksgiving, Christmas Eve and July 3, each only where it is itself a trading day. Its days
are exactly those on which SPY traded from 1998-01-02 to 2021-03-31 (a test compares them with
LEAN's daily history). It does not know trading halts within a day, nor what nobody knows yet: a day
of mourning arrives with an upgrade of the package.

Sessions of a trading day, New York time: overnight 20:00 of the evening before to 04:00, pre 04:00
to 09:30, regular 09:30 to 16:00, after 16:00 to 20:00; on an early day regular ends at 13:00 and
after at 17:00. The end of a session belongs to the next one.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from holidays.constants import HALF_DAY
from holidays.financial.ny_stock_exchange import NewYorkStockExchange

NEW_YORK = ZoneInfo("America/New_York")

# Beyond these years no calendar has trading days; a question about them must not cost centuries.
FIRST_YEAR = 1970
LAST_YEAR = 2099

OVERNIGHT_OPENS = time(20)
PRE_OPENS = time(4)
AFTER_CLOSES = time(20)
AFTER_CLOSES_EARLY = time(17)

# From this date on: regular hours. NYSE opened at 10:00 until 1985 and closed at 15:30 until 1974.
REGULAR_HOURS = (
    (date(1985, 9, 30), time(9, 30), time(16)),
    (date(1974, 10, 1), time(10), time(16)),
    (date.min, time(10), time(15, 30)),
)

# From this trade date on: trading days to settlement (SEC rule 15c6-1 and its amendments).
SETTLEMENT_CYCLES = (
    (date(2024, 5, 28), 1),
    (date(2017, 9, 5), 2),
    (date(1995, 6, 7), 3),
    (date.min, 5),
)

_EARLY_CLOSE = re.compile(r"markets close at (\d+):(\d+)([ap])m")


class Session(StrEnum):
    """What part of a trading day an instant lies in."""

    PRE = "pre"
    REGULAR = "regular"
    AFTER = "after"
    OVERNIGHT = "overnight"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class TradingDay:
    """One trading day; its instants are aware UTC datetimes in ascending order."""

    date: date  # in New York
    overnight_at: datetime  # the overnight session before it begins, on the evening before
    pre_at: datetime
    open_at: datetime  # of the regular session
    close_at: datetime
    after_at: datetime  # the after-hours session, and with it the trading day, ends
    early: bool = False

    def session_at(self, instant: datetime) -> Session:
        """The session of an instant before this day's end; CLOSED before its overnight session."""
        if instant >= self.close_at:
            return Session.AFTER
        if instant >= self.open_at:
            return Session.REGULAR
        if instant >= self.pre_at:
            return Session.PRE
        return Session.OVERNIGHT if instant >= self.overnight_at else Session.CLOSED


class _Year:
    """The trading days of one year, with the keys that lookups bisect."""

    def __init__(self, days: list[TradingDay]) -> None:
        self.days = days
        self.dates = [day.date for day in days]
        self.ends = [day.after_at for day in days]


class Calendar:
    """Questions every calendar answers; a subclass only says which days of a year it trades on.

    Years are built once and kept, so that a lookup costs microseconds: order entry and matching
    ask on every order and quote.
    """

    def __init__(self) -> None:
        self._years: dict[int, _Year] = {}
        # The day last found and the end of the one before: nearly all questions are about today.
        self._latest: tuple[datetime, TradingDay] | None = None

    def trading_days(self, year: int) -> list[TradingDay]:
        """All trading days of a year, ascending."""
        raise NotImplementedError

    def day(self, on: date) -> TradingDay | None:
        """The trading day of this date, None when the market does not open."""
        year = self._year(on.year)
        at = bisect_left(year.dates, on)
        return year.days[at] if at < len(year.days) and year.dates[at] == on else None

    def days(self, start: date, end: date) -> list[TradingDay]:
        """The trading days from start to end, both inclusive, ascending."""
        found: list[TradingDay] = []
        for number in range(max(start.year, FIRST_YEAR), min(end.year, LAST_YEAR) + 1):
            year = self._year(number)
            found += year.days[bisect_left(year.dates, start) : bisect_right(year.dates, end)]
        return found

    def session_at(self, instant: datetime) -> Session:
        """The session that an instant lies in."""
        return self.current_day(instant).session_at(instant)

    def current_day(self, instant: datetime) -> TradingDay:
        """The trading day whose sessions hold the instant, between sessions the next one.

        LookupError where the calendar ends.
        """
        if self._latest is not None:
            since, day = self._latest
            if since <= instant < day.after_at:
                return day
        number = max(instant.astimezone(NEW_YORK).year, FIRST_YEAR)
        while number <= LAST_YEAR:
            year = self._year(number)
            at = bisect_right(year.ends, instant)
            if at < len(year.days):
                if at:
                    self._latest = (year.ends[at - 1], year.days[at])
                return year.days[at]
            number += 1
        raise LookupError(f"no trading day after {instant}")

    def trading_date(self, instant: datetime) -> date:
        """The New York date of `current_day`."""
        return self.current_day(instant).date

    def next_open(self, instant: datetime) -> datetime:
        """The first opening of a regular session after the instant."""
        day = self.current_day(instant)
        return day.open_at if instant < day.open_at else self.next_day(day.date).open_at

    def next_close(self, instant: datetime) -> datetime:
        """The first close of a regular session after the instant."""
        day = self.current_day(instant)
        return day.close_at if instant < day.close_at else self.next_day(day.date).close_at

    def next_day(self, on: date) -> TradingDay:
        """The first trading day after a date; LookupError where the calendar ends."""
        for number in range(max(on.year, FIRST_YEAR), LAST_YEAR + 1):
            year = self._year(number)
            at = bisect_right(year.dates, on)
            if at < len(year.days):
                return year.days[at]
        raise LookupError(f"no trading day after {on}")

    def previous_day(self, on: date) -> TradingDay:
        """The last trading day before a date; LookupError where the calendar begins."""
        for number in range(min(on.year, LAST_YEAR), FIRST_YEAR - 1, -1):
            year = self._year(number)
            at = bisect_left(year.dates, on)
            if at:
                return year.days[at - 1]
        raise LookupError(f"no trading day before {on}")

    def settlement_date(self, traded_on: date) -> date:
        """The date on which a trade settles, by the cycle in force on its trade date.

        Counts trading days: the two bank holidays on which the exchange trades (Columbus Day and
        Veterans Day) are taken as settlement days.
        """
        settles_on = traded_on
        for _ in range(next(days for since, days in SETTLEMENT_CYCLES if traded_on >= since)):
            settles_on = self.next_day(settles_on).date
        return settles_on

    def _year(self, number: int) -> _Year:
        year = self._years.get(number)
        if year is None:
            known = FIRST_YEAR <= number <= LAST_YEAR
            # Two threads may build the same year; they build it equal, and one of them stays.
            year = self._years[number] = _Year(self.trading_days(number) if known else [])
        return year


class ExchangeCalendar(Calendar):
    """NYSE and Nasdaq: weekdays without the exchange's holidays, with its early closings."""

    def trading_days(self, year: int) -> list[TradingDay]:
        holidays = NewYorkStockExchange(years=year)
        half_days = NewYorkStockExchange(years=year, categories=(HALF_DAY,))
        return [
            self._trading_day(on, _early_close(half_days.get(on, "")))
            for on in _dates_of(year)
            if on.weekday() < 5 and on not in holidays
        ]

    def _trading_day(self, on: date, early_close: time | None) -> TradingDay:
        opens, closes = next(hours for since, *hours in REGULAR_HOURS if on >= since)
        early = early_close is not None and early_close < closes
        return TradingDay(
            date=on,
            overnight_at=_instant(on - timedelta(days=1), OVERNIGHT_OPENS),
            pre_at=_instant(on, PRE_OPENS),
            open_at=_instant(on, opens),
            close_at=_instant(on, early_close if early and early_close else closes),
            after_at=_instant(on, AFTER_CLOSES_EARLY if early else AFTER_CLOSES),
            early=early,
        )


class RoundTheClockCalendar(Calendar):
    """The simulated market: one regular session a calendar day, midnight to midnight New York."""

    def trading_days(self, year: int) -> list[TradingDay]:
        days = []
        for on in _dates_of(year):
            begins = _instant(on, time())
            ends = _instant(on + timedelta(days=1), time())
            days.append(TradingDay(on, begins, begins, begins, ends, ends))
        return days


def _dates_of(year: int) -> list[date]:
    first = date(year, 1, 1)
    return [first + timedelta(days=n) for n in range((date(year + 1, 1, 1) - first).days)]


def _instant(on: date, at: time) -> datetime:
    return datetime.combine(on, at, NEW_YORK).astimezone(UTC)


def _early_close(name: str) -> time | None:
    """The closing time that the package writes into the name of a half day."""
    match = _EARLY_CLOSE.search(name)
    if match is None:
        return None
    hour, minute, half = int(match[1]) % 12, int(match[2]), match[3]
    return time(hour + 12 if half == "p" else hour, minute)


EXCHANGE = ExchangeCalendar()
ROUND_THE_CLOCK = RoundTheClockCalendar()

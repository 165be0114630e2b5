"""The past of a simulated market: the bars it would have had, up to where it begins to run.

Minute bars lie on the minute levels of `simulated_prices.PricePaths`, so each opens where the one
before it closed and the last one closes where the live market goes on. Where there are minutes, the
daily bar is their aggregate; older daily bars lie on the same path, seen once an hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from math import exp, sqrt
from random import Random

from quotes.bars import DAY, MINUTE, merged, midnight
from quotes.calendar import NEW_YORK
from quotes.feeds.listings import LISTINGS
from quotes.feeds.simulated import (
    CENT,
    LOT,
    QUOTES_PER_SECOND,
    TRADE_SHARE,
    mean_lots,
)
from quotes.feeds.simulated_prices import PricePaths, activity_at
from quotes.ticks import Bar

DAILY_DAYS = 365
MINUTE_DAYS = 7
HOURS = 24
VOLUME_SPREAD = 0.35  # of the logarithm of a bar's volume
MINUTES_PER_DAY = 1440


def simulated_history(seed: int, until: datetime) -> Iterator[list[Bar]]:
    """One list of bars per instrument: a year of days, then a week of minutes, each ascending.

    The last minute is the last whole one before `until`, and the last day is the day of `until` as
    far as it has come.
    """
    paths = PricePaths(seed)
    for index in range(len(LISTINGS)):
        yield _bars_of(paths, index, until)


def _bars_of(paths: PricePaths, index: int, until: datetime) -> list[Bar]:
    today = until.astimezone(NEW_YORK).date()
    days = [
        _day_bar(paths, index, today - timedelta(days=ago))
        for ago in range(DAILY_DAYS, MINUTE_DAYS, -1)
    ]
    end = int(until.timestamp()) // 60 * 60
    minutes: list[Bar] = []
    for ago in range(MINUTE_DAYS, -1, -1):
        on = today - timedelta(days=ago)
        bars = _minute_bars(paths, index, on, end)
        if bars:
            days.append(merged(bars, DAY, midnight(on)))
        minutes += bars
    return days + minutes


def _minute_bars(paths: PricePaths, index: int, on: date, end: int) -> list[Bar]:
    """The minute bars of a day that end by `end` (epoch seconds)."""
    listing = LISTINGS[index]
    levels = paths.minute_levels(on, index)
    begin, count = midnight(on), len(levels) - 1
    scale = listing.price / (CENT / 10_000)
    cents = [scale * exp(level) for level in levels]
    draw = paths.generator("minute bars", on, listing.symbol)
    reach = listing.volatility / 100 / sqrt(count) / 3
    bars = []
    for n in range(min(count, (end - begin) // 60)):
        busy = activity_at(n / count)
        values = _bar_over(cents[n : n + 2], reach, 60 * listing.activity * busy, draw)
        bars.append(Bar(listing.symbol, MINUTE, begin + 60 * n, *values))
    return bars


def _day_bar(paths: PricePaths, index: int, on: date) -> Bar:
    """A daily bar without its minutes: a coarse walk between the day's two midnights."""
    listing = LISTINGS[index]
    draw = paths.generator("daily bar", on, listing.symbol)
    ends = paths.day_level(on, index), paths.day_level(on + timedelta(days=1), index)
    sd = listing.volatility / 100
    scale = listing.price / (CENT / 10_000)
    cents = [scale * exp(level) for level in paths.hour_levels(*ends, sd, draw)]
    seconds = 60 * MINUTES_PER_DAY * listing.activity
    values = _bar_over(cents, sd / sqrt(HOURS) / 3, seconds, draw)
    return Bar(listing.symbol, DAY, midnight(on), *values)


def _bar_over(
    cents: list[float], reach: float, busy_seconds: float, draw: Random
) -> tuple[int, ...]:
    """A bar's values, from open to vwap, over a path.

    `reach` is how far, relatively, prices stray from the points of the path.
    """
    open_, close = round(cents[0]), round(cents[-1])
    high = max(open_, close, round(max(cents) * (1 + reach * draw.random())))
    low = min(open_, close, round(min(cents) * (1 - reach * draw.random())))
    trades = max(1, round(busy_seconds * QUOTES_PER_SECOND * TRADE_SHARE))
    lots = trades * mean_lots(cents[0]) * exp(VOLUME_SPREAD * (2 * draw.random() - 1))
    prices = [price * CENT for price in (open_, high, low, close)]
    return *prices, max(trades, int(lots)) * LOT, trades, sum(prices) // 4

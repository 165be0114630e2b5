"""A recorded market at a known instant: Monday 2013-10-07, 10:05 in New York, with its history."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from quotes import history, latest
from quotes.bars import DAY, MINUTE, midnight
from quotes.calendar import NEW_YORK
from quotes.feeds.base import InstrumentSpec
from quotes.tick_history import store
from quotes.ticks import Bar, Quote, Trade, to_micros
from tests.portfolios.market import set_market_time

NOW = datetime(2013, 10, 7, 14, 5, tzinfo=UTC)
TODAY = date(2013, 10, 7)
OPENED = int(datetime.combine(TODAY, time(9, 30), NEW_YORK).timestamp())
SYMBOLS = ("AIG", "IBM")


def play(symbols: tuple[str, ...] = SYMBOLS) -> None:
    """Minute bars from the open to past now, daily bars of two weeks, a quote and a trade each."""
    set_market_time(NOW)
    ids = history.enlist(InstrumentSpec(symbol) for symbol in symbols)
    for place, symbol in enumerate(symbols):
        price = 500_000 + place * 1_000_000
        minutes = [minute_bar(symbol, minute, price) for minute in range(60)]
        days = [daily_bar(symbol, TODAY - timedelta(days=back), price) for back in range(14)]
        history.upsert_bars(minutes + [day for day in days if day is not None])
        at_us = to_micros(NOW) - 1_250
        ticks = [
            Quote(symbol, at_us, price, 300, price + 100, 200, 7, 1, at_us, "P", "Q"),
            Trade(symbol, at_us, price + 50, 100, 3, 1, at_us, "D", ("@",)),
        ]
        latest.put_many(ticks)
        store.insert(ticks, ids)


def minute_bar(symbol: str, minute: int, price: int) -> Bar:
    opened = price + minute * 100
    return Bar(
        symbol, MINUTE, OPENED + 60 * minute, opened, opened + 250, opened - 50, opened + 100,
        1_000 + minute, 10, opened + 33,
    )  # fmt: skip


def daily_bar(symbol: str, on: date, price: int) -> Bar | None:
    if on.weekday() >= 5:
        return None
    low = price - on.day * 100
    return Bar(symbol, DAY, midnight(on), price, price + 900, low, price + 100, 1_000_000, 5_000, 0)

"""A market that stands still: a test says what time it is and what things cost."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal

from quotes import latest
from quotes.amounts import PRICE_PLACES, to_units
from quotes.calendar import NEW_YORK
from quotes.clock import market_clock
from quotes.models import Bar, Instrument, MarketClock, Timeframe
from quotes.ticks import Quote, Trade, to_micros


def set_market_time(at: datetime) -> None:
    """Let the market's clock, that of a recorded day, stand at this instant."""
    row, _ = MarketClock.objects.update_or_create(
        pk=1,
        defaults={
            "mode": MarketClock.Mode.STEPPED,
            "source": "lean-test",
            "watermark_us": to_micros(at),
        },
    )
    market_clock().follow(row)


def set_quote(symbol: str, bid: str, ask: str) -> None:
    """Let this be the newest quote; a price of 0 leaves the side empty."""
    at_us = market_clock().now_us()
    latest.put_many([Quote(symbol, at_us, _units(bid), 100, _units(ask), 100, sequence=at_us)])


def set_trade(symbol: str, price: str) -> None:
    """Let this be the last trade, inside a wide quote."""
    set_quote(symbol, "0.01", "99999")
    at_us = market_clock().now_us()
    latest.put_many([Trade(symbol, at_us, _units(price), 100, sequence=at_us)])


def set_close(instrument: Instrument, on: date, price: str) -> None:
    """Let the instrument have closed at this price on a trading day."""
    start = int(datetime.combine(on, time(), NEW_YORK).timestamp())
    prices = dict.fromkeys(("open", "high", "low", "close"), Decimal(price))
    Bar.objects.create(
        instrument=instrument, timeframe=Timeframe.DAY, start=start, volume=1, **prices
    )


def _units(price: str) -> int:
    return to_units(Decimal(price), PRICE_PLACES)

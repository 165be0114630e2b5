"""Corrections and cancellations of a trade, as a feed and as ingest say them."""

from __future__ import annotations

from typing import Any

from quotes.feeds.alpaca_wire import Revision
from quotes.feeds.tape import CORRECTED_FROM, Tape
from quotes.last_prices import LastPrices
from quotes.ticks import CORRECTED, Amendment, Trade
from tests.streams import OPENING_US

NOW = OPENING_US + 5_000_000


def corrected(was: Trade, **fields: Any) -> Trade:
    return was._replace(sequence=CORRECTED_FROM, amended=CORRECTED, **fields)


def correction(was: Trade, **fields: Any) -> Amendment:
    return Amendment(was.symbol, NOW, was, corrected(was, **fields))


def cancellation(was: Trade) -> Amendment:
    return Amendment(was.symbol, NOW, was)


def told(was: Trade, *amendments: Amendment, before: Trade | None = None) -> list[Amendment]:
    """As ingest tells them where `was` is the last price, and `before` the one before it."""
    prices = LastPrices(lambda symbol: before)
    prices.hear({was.symbol: was})
    return prices.amend(amendments)


def twice_corrected(was: Trade) -> list[Amendment]:
    """As a tape tells it: the second time it is the correction that is corrected."""
    tape = Tape()
    tape.print("first", was)
    told = [
        Revision(was.symbol, NOW, "first", was._replace(price=493_000), "second", ""),
        Revision(was.symbol, NOW, "second", was._replace(price=492_000), "third", ""),
    ]
    return tape.amend(told)

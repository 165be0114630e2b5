"""The market as an order meets it: read before any lock is taken."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from quotes import history, latest
from quotes.amounts import PRICE_PLACES, to_units
from quotes.clock import market_clock
from quotes.latest import Latest
from quotes.models import Instrument
from quotes.splits import Split, adjusted, splits_of
from trading.models import AUCTIONS, TimeInForce
from trading.risk import MarketView
from trading.sessions import may_trade, takes_auction_orders


def market_view(
    instrument: Instrument, *, extended_hours: bool, time_in_force: str = TimeInForce.DAY
) -> MarketView:
    """What risk needs to know of the instrument now. Reads the latest quote, never from a cache
    that several share."""
    return view_of(
        instrument,
        splits_of([instrument.pk]),
        latest.get(instrument.symbol),
        extended_hours=extended_hours,
        time_in_force=time_in_force,
    )


def view_of(
    instrument: Instrument,
    splits: Sequence[Split],
    known: Latest,
    *,
    extended_hours: bool,
    time_in_force: str,
) -> MarketView:
    """The same from what was read of it: its splits in force, its latest quote and trade."""
    clock = market_clock()
    newest = adjusted({instrument.symbol: known}, splits)[instrument.symbol]
    is_for_auction = time_in_force in AUCTIONS
    is_open = not is_for_auction and may_trade(clock.session(), extended_hours=extended_hours)
    if newest.trade is not None:
        last_price = newest.trade.price
    elif is_open and not instrument.halted:
        last_price = 0  # an open market is judged by its quote
    else:
        last_price = _previous_close(instrument, splits)
    return MarketView(
        symbol=instrument.symbol,
        is_open=is_open,
        quote=newest.quote,
        last_price=last_price,
        is_stale=clock.feed_is_silent(),
        is_tradable=instrument.tradable and instrument.status == Instrument.Status.ACTIVE,
        is_fractionable=instrument.fractionable,
        is_halted=instrument.halted,
        is_marginable=instrument.marginable,
        is_shortable=instrument.shortable and instrument.easy_to_borrow,
        takes_order=not is_for_auction
        or takes_auction_orders(clock.calendar, clock.now(), time_in_force),
    )


def _previous_close(instrument: Instrument, splits: Sequence[Split]) -> int:
    closes = history.previous_close([instrument.pk], market_clock().now(), splits)
    return to_units(closes.get(instrument.pk, Decimal(0)), PRICE_PLACES)

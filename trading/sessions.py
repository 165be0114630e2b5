"""When an order may trade, and until when it lives. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from quotes.calendar import Calendar, Session, TradingDay
from trading.models import AUCTIONS, TimeInForce

GTC_LIFETIME = timedelta(days=90)

# Extended-hours orders trade overnight as well, as Alpaca's do with the same flag since it trades
# around the clock on weekdays: if the feed has no quotes of the night, they wait.
EXTENDED = frozenset({Session.OVERNIGHT, Session.PRE, Session.REGULAR, Session.AFTER})

# Alpaca's windows: orders for an auction are taken until so long before it, and again from an hour
# before the end of the trading day, for the next day's.
CUTOFFS = {TimeInForce.OPG: timedelta(minutes=2), TimeInForce.CLS: timedelta(minutes=10)}
REOPENS = timedelta(hours=1)

# How late an auction may print: openings are delayed, closings are printed minutes after the bell.
AUCTION_LASTS = timedelta(minutes=30)


def may_trade(session: Session, *, extended_hours: bool) -> bool:
    """Whether an order may fill in this session."""
    return session in EXTENDED if extended_hours else session is Session.REGULAR


def expiry(
    calendar: Calendar, at: datetime, time_in_force: str, *, extended_hours: bool
) -> datetime | None:
    """When an order submitted at that market time ends by itself; null for immediate ones.

    A day order lives to the next close, one for extended hours to the end of its trading day, one
    for an auction until that must be over.
    """
    if time_in_force in AUCTIONS:
        return next_auction(calendar, at, time_in_force) + AUCTION_LASTS
    if time_in_force == TimeInForce.GTC:
        return at + GTC_LIFETIME
    if time_in_force != TimeInForce.DAY:
        return None
    return calendar.current_day(at).after_at if extended_hours else calendar.next_close(at)


def next_auction(calendar: Calendar, at: datetime, time_in_force: str) -> datetime:
    """The first official auction of that kind after the instant."""
    if time_in_force == TimeInForce.OPG:
        return calendar.next_open(at)
    return calendar.next_close(at)


def takes_auction_orders(calendar: Calendar, at: datetime, time_in_force: str) -> bool:
    """Whether orders for an auction are taken now: not from shortly before it until the evening.

    Where the market never closes there is no evening: then until the auction is over.
    """
    day = calendar.current_day(at)
    cutoff = CUTOFFS[TimeInForce(time_in_force)]
    if next_auction(calendar, at, time_in_force) - at <= cutoff:
        return False
    if at < _auction_of(day, time_in_force) - cutoff:
        return True
    if day.close_at == day.after_at:
        return at >= _auction_of(day, time_in_force) + AUCTION_LASTS
    return at >= day.after_at - REOPENS


def _auction_of(day: TradingDay, time_in_force: str) -> datetime:
    return day.open_at if time_in_force == TimeInForce.OPG else day.close_at

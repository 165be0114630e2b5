"""When an order may trade, and until when it lives. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from quotes.calendar import Calendar, Session
from trading.models import TimeInForce

GTC_LIFETIME = timedelta(days=90)

EXTENDED = frozenset({Session.PRE, Session.REGULAR, Session.AFTER})


def may_trade(session: Session, *, extended_hours: bool) -> bool:
    """Whether an order may fill in this session."""
    return session in EXTENDED if extended_hours else session is Session.REGULAR


def expiry(
    calendar: Calendar, at: datetime, time_in_force: str, *, extended_hours: bool
) -> datetime | None:
    """When an order submitted at that market time ends by itself; null for immediate ones.

    A day order lives to the next close, one for extended hours to the end of its trading day.
    """
    if time_in_force == TimeInForce.GTC:
        return at + GTC_LIFETIME
    if time_in_force != TimeInForce.DAY:
        return None
    return calendar.current_day(at).after_at if extended_hours else calendar.next_close(at)

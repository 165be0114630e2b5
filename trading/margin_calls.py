"""Margin calls: an account with less equity than its maintenance margin has a time to mend that.

The operator's rule: the call is due MARGIN_CALL_DAYS trading days later, shortly before the close,
or at once where that is 0. An account that is still short then is liquidated (`liquidation.py`).
A call is over as soon as the equity suffices again. All of it is recorded.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q

from events import log
from events.errors import OpenbellError
from events.leases import Lease, LeaseLost
from events.transactions import retried
from portfolios.borrowing import Marks, margin_now, marks_of
from portfolios.locks import lock_account
from portfolios.margin import CASH, Margin
from portfolios.models import Account, Position
from quotes.amounts import plain
from quotes.calendar import Calendar, Session
from quotes.clock import market_clock
from quotes.models import MarketClock
from trading.liquidation import liquidate

SLICE = 200  # accounts looked at together
LEAD = timedelta(minutes=15)  # before the close: closing positions takes an open market
LOOK_SECONDS = 2.0
ACTOR = "engine"

logger = logging.getLogger(__name__)


def watch(lease: Lease, stop: threading.Event) -> None:
    """Look at all margin accounts again and again until `stop`, or until the lease is lost.

    In a thread of its own, beside the engine that owns the lease. A stepped market looks by itself,
    at each barrier.
    """
    try:
        while not stop.wait(LOOK_SECONDS):
            try:
                if market_clock().mode != MarketClock.Mode.STEPPED:
                    look(between=lease.check)
            except LeaseLost:
                return
            except (OperationalError, InterfaceError) as error:
                logger.warning("margin calls wait, the database is away: %s", error)
                connection.close()
            except Exception:
                logger.exception("margin calls could not be made")
    finally:
        connection.close()


def look(between: Callable[[], None] = lambda: None) -> None:
    """Look at every margin account once; `between` is called before each slice and each change."""
    after = 0
    while accounts := list(
        Account.objects.filter(pk__gt=after, multiplier__gt=CASH).order_by("pk")[:SLICE]
    ):
        between()
        for account, marks in _worth_judging(accounts):
            between()
            try:
                _look_at(account.pk, marks)
            except OpenbellError as error:  # what cannot be done now is tried at the next look
                logger.warning("account %s: %s", account.number, error.message)
        after = accounts[-1].pk


def due_at(calendar: Calendar, at: datetime) -> datetime:
    """When a call made at that market time is due."""
    day = calendar.current_day(at)
    for _ in range(settings.MARGIN_CALL_DAYS):
        day = calendar.next_day(day.date)
    return day.close_at - LEAD if settings.MARGIN_CALL_DAYS else at


def _worth_judging(accounts: list[Account]) -> list[tuple[Account, Marks]]:
    """Those that are short of maintenance, or have been called, as far as can be told unlocked."""
    rows = Position.objects.filter(~Q(quantity=Decimal(0)), account__in=accounts)
    symbols: dict[int, str] = {}
    holders = set()
    for account_id, instrument_id, symbol in rows.values_list(
        "account_id", "instrument_id", "instrument__symbol"
    ):
        symbols[instrument_id] = symbol
        holders.add(account_id)
    marks = marks_of(symbols)
    return [
        (account, marks)
        for account in accounts
        if account.called_at is not None
        or (account.pk in holders and margin_now(account, marks).is_short_of_maintenance)
    ]


def _look_at(account_id: int, marks: Marks) -> None:
    account, margin = _judge(account_id, marks)
    if account.call_due_at is None or not margin.is_short_of_maintenance:
        return
    clock = market_clock()
    if clock.now() >= account.call_due_at and clock.session() is Session.REGULAR:
        liquidate(account, margin, marks)


@retried
@transaction.atomic(durable=True)
def _judge(account_id: int, marks: Marks) -> tuple[Account, Margin]:
    """Make the call, or end it."""
    account = lock_account(account_id)
    margin = margin_now(account, marks)
    if margin.is_short_of_maintenance == (account.called_at is not None):
        return account, margin
    clock = market_clock()
    now = clock.now()
    if margin.is_short_of_maintenance:
        account.called_at, account.call_due_at = now, due_at(clock.calendar, now)
    else:
        account.called_at = account.call_due_at = None
    log.record(
        "trading.margin.called" if account.called_at else "trading.margin.met",
        actor=ACTOR,
        subject=f"account:{account.public_id}",
        account=account,
        at=now,
        payload=_numbers(account, margin),
    )
    account.save(update_fields=["called_at", "call_due_at", "event_sequence"])
    return account, margin


def _numbers(account: Account, margin: Margin) -> Mapping[str, str]:
    numbers = {"equity": plain(margin.equity), "maintenance_margin": plain(margin.maintenance)}
    if account.call_due_at is not None:
        numbers["due_at"] = account.call_due_at.isoformat()
    return numbers

"""Margin calls: an account with less equity than its maintenance margin has a time to mend that.

The operator's rule: the call is due MARGIN_CALL_DAYS trading days later, shortly before the close,
or at once where that is 0. An account that is still short then is liquidated (`liquidation.py`).
A call is over as soon as the equity suffices again. All of it is recorded.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Exists, OuterRef, Q

from events import log
from events.errors import OpenbellError, Unavailable
from events.leases import Lease, LeaseLost
from events.transactions import retried
from portfolios.borrowing import Held, Marks, margin_now, margin_with, marks_of
from portfolios.locks import lock_account
from portfolios.margin import INTRADAY, MARGIN, Margin
from portfolios.models import Account, Position
from quotes import splits
from quotes.amounts import plain
from quotes.calendar import Calendar, Session
from quotes.clock import market_clock
from quotes.models import MarketClock
from trading.liquidation import liquidate

SLICE = 200  # accounts looked at together
LEAD = timedelta(minutes=15)  # before the close: closing positions takes an open market
LOOK_SECONDS = 2.0
HOLDS = ~Q(quantity=Decimal(0))
HELD_COLUMNS = ("quantity", "cost_basis", "instrument__marginable")  # of a `Held`
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
    """Look at every margin account once; `between` is called before each slice and each change.

    Not while a split is due or booked: then prices and quantities do not go together.
    """
    for multiplier in (MARGIN, INTRADAY):
        after = 0
        while accounts := _next_slice(multiplier, after):
            between()
            counted = splits.counted(market_clock().now())
            if counted[0]:
                return
            held = _held(accounts)
            marks = marks_of(dict(held.symbols))
            for account in accounts:
                if _is_worth_judging(account, held.of.get(account.pk, {}), marks):
                    between()
                    _look_at(account, marks, counted)
            after = accounts[-1].pk


def due_at(calendar: Calendar, at: datetime) -> datetime:
    """When a call made at that market time is due."""
    day = calendar.current_day(at)
    for _ in range(settings.MARGIN_CALL_DAYS):
        day = calendar.next_day(day.date)
    return day.close_at - LEAD if settings.MARGIN_CALL_DAYS else at


class _Holdings(NamedTuple):
    of: dict[int, dict[int, Held]]  # by account and instrument id
    symbols: dict[int, str]


def _next_slice(multiplier: int, after: int) -> list[Account]:
    """The next open accounts by id that hold something or have been called."""
    holding = Exists(Position.objects.filter(HOLDS, account_id=OuterRef("pk")))
    rows = Account.objects.filter(multiplier=multiplier, pk__gt=after, status=Account.Status.ACTIVE)
    return list(rows.filter(Q(called_at__isnull=False) | holding).order_by("pk")[:SLICE])


def _held(accounts: Sequence[Account]) -> _Holdings:
    """What the accounts hold, in one query."""
    found = _Holdings({}, {})
    rows = Position.objects.filter(HOLDS, account__in=accounts)
    for account_id, pk, symbol, *rest in rows.values_list(
        "account_id", "instrument_id", "instrument__symbol", *HELD_COLUMNS
    ):
        found.symbols[pk] = symbol
        found.of.setdefault(account_id, {})[pk] = Held(*rest)
    return found


def _is_worth_judging(account: Account, held: Mapping[int, Held], marks: Marks) -> bool:
    """It has been called, or is short of maintenance as far as can be told without its lock."""
    if account.called_at is not None:
        return True
    return margin_with(account, held, marks).is_short_of_maintenance


def _look_at(account: Account, marks: Marks, counted: tuple[int, int]) -> None:
    """Judge under the lock, and do what is due. What cannot be done now waits for the next look."""
    try:
        account, margin = _judge(account.pk, marks, counted)
        if account.call_due_at is None or not margin.is_short_of_maintenance:
            return
        clock = market_clock()
        if clock.now() >= account.call_due_at and clock.session() is Session.REGULAR:
            liquidate(account, margin, marks)
    except OpenbellError as error:
        logger.warning("account %s: %s", account.number, error.message)


@retried
@transaction.atomic(durable=True)
def _judge(account_id: int, marks: Marks, counted: tuple[int, int]) -> tuple[Account, Margin]:
    """Make the call, or end it. Raises Unavailable where splits were booked since the marks."""
    account = lock_account(account_id)
    if splits.counted(market_clock().now()) != counted:
        raise Unavailable("a split is being booked")
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

"""Pictures of an account, for everybody who shows one. Reading only, no locks.

A portfolio costs the same number of queries whatever it holds, and looks at no history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db.models import Q, Sum

from portfolios.errors import AccountNotFound, PositionNotFound
from portfolios.models import Account, Position
from portfolios.valuation import AccountSummary, PositionView, summarize, value_position
from quotes import history, latest
from quotes.clock import market_clock

ZERO = Decimal(0)

# More than there are instruments listed in the US, so no account's sum is ever cut short.
POSITIONS_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Portfolio:
    """An account's numbers and what it holds, of one instant."""

    summary: AccountSummary
    positions: list[PositionView]


def get_account(account_id: int | None) -> Account:
    """The account behind a credential. Raises AccountNotFound."""
    account = None if account_id is None else Account.objects.filter(pk=account_id).first()
    if account is None:
        raise AccountNotFound
    return account


def portfolio(account: Account) -> Portfolio:
    """The account valued now: its sums, and its open positions by symbol."""
    clock = market_clock()
    now = clock.now()
    today = clock.calendar.trading_date(now)
    views = _valued(_holdings(account, today), today, now)
    return Portfolio(
        summarize(account, views, traded_today=account.day_on == today),
        [view for view in views if view.quantity],
    )


def account_summary(account: Account) -> AccountSummary:
    """The account's sums, valued now."""
    return portfolio(account).summary


def position_views(account: Account) -> list[PositionView]:
    """The open positions, valued now, by symbol."""
    return portfolio(account).positions


def position_view(account: Account, instrument_id: int) -> PositionView:
    """One open position, valued now. Raises PositionNotFound."""
    clock = market_clock()
    now = clock.now()
    today = clock.calendar.trading_date(now)
    rows = list(
        Position.objects.filter(account_id=account.pk, instrument_id=instrument_id)
        .exclude(quantity=0)
        .select_related("instrument")
    )
    if not rows:
        raise PositionNotFound
    return _valued(rows, today, now)[0]


def short_cost(account_id: int) -> Decimal:
    """What the account's short positions were sold for, a positive number; one query.

    Under the account's lock this is what an order check feeds to `buying_power`.
    """
    shorts = Position.objects.filter(account_id=account_id, quantity__lt=0)
    return -(shorts.aggregate(sum=Sum("cost_basis"))["sum"] or ZERO)


def _holdings(account: Account, today: date) -> list[Position]:
    """What the account holds, and what it has traded today."""
    rows = Position.objects.filter(account_id=account.pk)
    rows = rows.filter(~Q(quantity=0) | Q(day_on=today))
    return list(rows.select_related("instrument").order_by("instrument__symbol")[:POSITIONS_MAX])


def _valued(positions: Sequence[Position], today: date, now: datetime) -> list[PositionView]:
    """Two round trips for any number of positions: quotes and closes."""
    quotes = latest.get_many([position.instrument.symbol for position in positions])
    closes = history.previous_close([position.instrument_id for position in positions], now)
    return [
        value_position(
            position,
            latest=quotes.get(position.instrument.symbol),
            previous_close=closes.get(position.instrument_id),
            traded_today=position.day_on == today,
        )
        for position in positions
    ]

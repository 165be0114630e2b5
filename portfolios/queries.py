"""Pictures of an account, for everybody who shows one. Reading only, no locks.

A portfolio costs the same number of queries whatever it holds, and looks at no history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from portfolios.borrowing import POSITIONS_MAX, terms_now
from portfolios.counting_splits import splits_between
from portfolios.errors import AccountNotFound, PositionNotFound
from portfolios.models import Account, Lot, Position
from portfolios.valuation import (
    AccountSummary,
    Holding,
    PositionView,
    summarize,
    value_position,
)
from quotes import history, latest
from quotes.clock import market_clock
from quotes.splits import adjusted

ACCOUNTS_SHOWN_MAX = 100
LOTS_MAX = 500  # of one page

# The fields of a Holding that a position has by another name, or its instrument has.
_NAMED_ELSEWHERE = {
    "asset_id": "instrument__public_id",
    "symbol": "instrument__symbol",
    "exchange": "instrument__exchange",
    "marginable": "instrument__marginable",
}
_STORED = tuple(_NAMED_ELSEWHERE.get(name, name) for name in Holding._fields)


@dataclass(frozen=True, slots=True)
class Portfolio:
    """An account's numbers and what it holds, of one instant."""

    summary: AccountSummary
    positions: list[PositionView]


def get_account(account_id: int | None) -> Account:
    """The account behind a credential. Raises AccountNotFound."""
    if account_id is None:
        raise AccountNotFound
    try:
        return Account.objects.get(pk=account_id)
    except Account.DoesNotExist:
        raise AccountNotFound from None


def users_account(user_id: int, public_id: UUID) -> Account:
    """The account of that public id, if it is the user's. Raises AccountNotFound."""
    account = Account.objects.filter(user_id=user_id, public_id=public_id).first()
    if account is None:
        raise AccountNotFound
    return account


def users_accounts(user_id: int) -> list[Account]:
    """The user's accounts, open ones first, oldest first; as many as are shown."""
    rows = Account.objects.filter(user_id=user_id).select_related("successor")
    return list(rows.order_by("-status", "pk")[:ACCOUNTS_SHOWN_MAX])


def portfolio(account: Account) -> Portfolio:
    """The account valued now: its sums, and its open positions by symbol."""
    clock = market_clock()
    now = clock.now()
    today = clock.calendar.trading_date(now)
    rows = Position.objects.filter(account_id=account.pk)
    held = _holdings(rows.filter(~Q(quantity=0) | Q(day_on=today)))  # what it traded today, too
    views = _valued(account.pk, held, today, now)
    return Portfolio(
        summarize(account, views, traded_today=account.day_on == today, terms=terms_now(clock)),
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
    rows = Position.objects.filter(account_id=account.pk, instrument_id=instrument_id)
    held = _holdings(rows.exclude(quantity=0))
    if not held:
        raise PositionNotFound
    return _valued(account.pk, held, today, now)[0]


def lots(account_id: int, instrument_id: int, *, after: int, limit: int) -> list[Lot]:
    """Open lots of a position in the order of opening, those with an id above `after`."""
    rows = Lot.objects.filter(account_id=account_id, instrument_id=instrument_id, pk__gt=after)
    return list(rows.order_by("pk")[: min(limit, LOTS_MAX + 1)])


def _holdings(rows: QuerySet[Position]) -> list[Holding]:
    """What the rows hold, by symbol.

    Without making models of them, which would take longer than everything else.
    """
    found = rows.order_by("instrument__symbol").values_list(*_STORED)
    return [Holding._make(row) for row in found[:POSITIONS_MAX]]


def _valued(
    account_id: int, held: Sequence[Holding], today: date, now: datetime
) -> list[PositionView]:
    """Three round trips for any number of positions: splits, quotes and closes."""
    ids = {holding.instrument_id for holding in held}
    splits = splits_between(account_id, ids) if ids else []
    quotes = adjusted(latest.get_many([holding.symbol for holding in held]), splits)
    closes = history.previous_close(ids, now, splits)
    return [
        value_position(
            holding,
            latest=quotes.get(holding.symbol),
            previous_close=closes.get(holding.instrument_id),
            today=today,
        )
        for holding in held
    ]

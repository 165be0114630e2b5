"""What a position is worth now and how that changed: pure, one property per number.

The API, the screen and the admin read these same properties, so they cannot disagree. Amounts of
USD are rounded to the ledger's four decimals where price meets quantity; ratios are exact to
`RATIO_PLACES`; rounding for show happens where it is shown.

A position of an instrument that nobody has priced yet counts at its cost, and its price is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from portfolios.margin import CASH, MARGIN, Margin, Stake, Terms, maintenance_of, margin_of
from portfolios.models import Account
from quotes.amounts import EXACT, PRICE_PLACES, from_units, rounded
from quotes.latest import Latest

ZERO = Decimal(0)
RATIO_PLACES = 10


def mark(latest: Latest | None, previous_close: Decimal | None) -> Decimal | None:
    """The price a position is valued at: last trade, else mid of a two-sided quote, else close."""
    if latest is not None and latest.trade is not None:
        return from_units(latest.trade.price, PRICE_PLACES)
    if latest is not None and latest.quote is not None and latest.quote.is_two_sided:
        return rounded(from_units(latest.quote.bid + latest.quote.ask, PRICE_PLACES) / 2)
    return previous_close


class Holding(NamedTuple):
    """What is stored of a position and its instrument, so far as its value depends on it.

    `day_*` are of the trade date `day_on`, as on `models.Position`.
    """

    instrument_id: int
    asset_id: UUID
    symbol: str
    exchange: str
    marginable: bool
    quantity: Decimal
    hold_quantity: Decimal
    cost_basis: Decimal
    realized: Decimal
    day_on: date | None
    day_open_quantity: Decimal
    day_flow: Decimal
    day_opened_quantity: Decimal
    day_opened_cost: Decimal


@dataclass(frozen=True, slots=True)
class PositionView:
    """One position, valued. `_today` is of the current trade date, signed as the quantity is."""

    asset_id: UUID
    symbol: str
    exchange: str
    marginable: bool
    quantity: Decimal
    hold_quantity: Decimal
    cost_basis: Decimal
    realized: Decimal
    current_price: Decimal | None
    previous_close: Decimal | None
    opened_today: Decimal  # shares whose lots were opened today
    cost_today: Decimal  # what those cost
    day_open_quantity: Decimal  # shares held before today's first execution
    day_flow: Decimal  # today's proceeds less costs and fees

    @property
    def side(self) -> str:
        return "long" if self.quantity > 0 else "short"

    @property
    def quantity_available(self) -> Decimal:
        """Shares that no open order holds, signed as the quantity is."""
        return self.quantity - self.hold_quantity.copy_sign(self.quantity)

    @property
    def avg_entry_price(self) -> Decimal:
        """Cost per share, fees apart; positive for a short position too."""
        return EXACT.divide(self.cost_basis, self.quantity) if self.quantity else ZERO

    @property
    def market_value(self) -> Decimal:
        """Negative when short; at cost while there is no price."""
        if self.current_price is None:
            return self.cost_basis
        return _value(self.quantity, self.current_price)

    @property
    def previous_value(self) -> Decimal:
        """What was held before today, at the previous close."""
        return _value(self.day_open_quantity, self._reference_price)

    @property
    def unrealized_pl(self) -> Decimal:
        return self.market_value - self.cost_basis

    @property
    def unrealized_plpc(self) -> Decimal:
        """As a fraction of the cost."""
        return _ratio(self.unrealized_pl, self.cost_basis)

    @property
    def intraday_basis(self) -> Decimal:
        """What today's profit of the shares still held is measured from.

        Shares from before today count from the previous close, today's from what they cost.
        """
        if self.previous_close is None:
            return self.cost_basis
        return _value(self.quantity - self.opened_today, self.previous_close) + self.cost_today

    @property
    def unrealized_intraday_pl(self) -> Decimal:
        return self.market_value - self.intraday_basis

    @property
    def unrealized_intraday_plpc(self) -> Decimal:
        return _ratio(self.unrealized_intraday_pl, self.intraday_basis)

    @property
    def change_today(self) -> Decimal:
        """The price's change since the previous close, as a fraction."""
        if self.current_price is None or not self.previous_close:
            return ZERO
        return _ratio(self.current_price - self.previous_close, self.previous_close)

    @property
    def day_pl(self) -> Decimal:
        """All that today did to this instrument: realised and not, fees included."""
        return self.market_value + self.day_flow - self.previous_value

    @property
    def _reference_price(self) -> Decimal:
        """The previous close; where there is none, what makes an old holding's day profit zero."""
        if self.previous_close is not None:
            return self.previous_close
        return self.current_price if self.current_price is not None else self.avg_entry_price


def value_position(
    holding: Holding, *, latest: Latest | None, previous_close: Decimal | None, today: date
) -> PositionView:
    """The holding, valued; `today` is the current trade date."""
    traded_today = holding.day_on == today
    return PositionView(
        asset_id=holding.asset_id,
        symbol=holding.symbol,
        exchange=holding.exchange,
        marginable=holding.marginable,
        quantity=holding.quantity,
        hold_quantity=holding.hold_quantity,
        cost_basis=holding.cost_basis,
        realized=holding.realized,
        current_price=mark(latest, previous_close),
        previous_close=previous_close,
        opened_today=holding.day_opened_quantity if traded_today else ZERO,
        cost_today=holding.day_opened_cost if traded_today else ZERO,
        day_open_quantity=holding.day_open_quantity if traded_today else holding.quantity,
        day_flow=holding.day_flow if traded_today else ZERO,
    )


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """The account's numbers at one instant; equity = cash + long value + short value."""

    cash: Decimal
    hold_cash: Decimal
    margin: Margin
    long_market_value: Decimal
    short_market_value: Decimal  # negative
    last_equity: Decimal  # at the previous close, and what was paid in or out since
    last_maintenance: Decimal  # the maintenance margin then
    unrealized_pl: Decimal

    @property
    def equity(self) -> Decimal:
        return self.cash + self.long_market_value + self.short_market_value

    @property
    def day_pl(self) -> Decimal:
        """Since the previous close, deposits and withdrawals apart; dividends are part of it."""
        return self.equity - self.last_equity

    @property
    def buying_power(self) -> Decimal:
        """What new orders can still be worth."""
        return self.margin.buying_power


def summarize(
    account: Account, views: Iterable[PositionView], *, traded_today: bool, terms: Terms
) -> AccountSummary:
    """Add up the account. `views` are all positions held now or traded today.

    `traded_today` says that the account's day columns are of the current trade date; `terms` are
    the margin rules of this instant.
    """
    views = list(views)
    values = [view.market_value for view in views]
    cash_before = account.day_open_cash if traded_today else account.cash
    return AccountSummary(
        cash=account.cash,
        hold_cash=account.hold_cash,
        margin=_margin(account, views, terms),
        long_market_value=sum((value for value in values if value > 0), ZERO),
        short_market_value=sum((value for value in values if value < 0), ZERO),
        last_equity=cash_before + sum((view.previous_value for view in views), ZERO),
        last_maintenance=_last_maintenance(account, views, terms),
        unrealized_pl=sum((view.unrealized_pl for view in views), ZERO),
    )


def _margin(account: Account, views: list[PositionView], terms: Terms) -> Margin:
    stakes = [Stake(view.quantity, view.market_value, view.marginable) for view in views]
    return margin_of(
        terms,
        multiplier=account.multiplier,
        cash=account.cash,
        hold_cash=account.hold_cash,
        short_cost=-sum((view.cost_basis for view in views if view.quantity < 0), ZERO),
        stakes=stakes,
    )


def _last_maintenance(account: Account, views: list[PositionView], terms: Terms) -> Decimal:
    """Of what was held before today, at the previous close."""
    if account.multiplier == CASH:
        return sum((abs(view.previous_value) for view in views), ZERO)
    stakes = [Stake(view.day_open_quantity, view.previous_value, view.marginable) for view in views]
    return maintenance_of(terms.pack, MARGIN, stakes)


def _value(quantity: Decimal, price: Decimal) -> Decimal:
    return rounded(EXACT.multiply(quantity, price))


def _ratio(change: Decimal, base: Decimal) -> Decimal:
    return rounded(EXACT.divide(change, abs(base)), RATIO_PLACES) if base else ZERO

"""How much of what an account holds it must cover itself: margin rules by date. Pure.

A *requirement* is the part of a position's value that its owner covers with equity. *Initial*
margin bounds what may be opened, *maintenance* margin what may be kept. Equity beyond the initial
margin and beyond what open orders hold is the account's *excess*; buying power is what the excess
opens at the account's leverage, and an order is accepted as long as its own requirement fits in.
So whatever fills at the prices it was accepted at leaves the excess where it was:

    margin account, 2 ×      cash  10,000   initial     0   held     0   excess 10,000  power 20,000
    buy of 8,000 accepted    cash  10,000   initial     0   held 4,000   excess  6,000  power 12,000
    filled                   cash   2,000   initial 4,000   held     0   excess  6,000  power 12,000

A cash account (multiplier 1) goes by `buying_power.py` alone and covers everything in full. What is
borrowed, dollars or shares, costs no interest.

Sources: Regulation T (12 CFR 220.12) for half of what is opened; FINRA Rule 4210(c) for shorts and
for the 25 % of the intraday rule; for the rest Alpaca's table ("Margin and Short Selling" in its
documentation), as it was until it also asked for 50 % of what costs between 2.50 and 6.00 USD. From
which day on that is could not be found, so it is no row here, nor is what it asks for leveraged
funds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from portfolios.buying_power import spendable
from quotes.amounts import CASH_PLACES, EXACT

ZERO = Decimal(0)
WHOLE = Decimal(1)

CASH, MARGIN, INTRADAY = 1, 2, 4  # the multipliers of an account

RATE_PLACES = 4


@dataclass(frozen=True, slots=True)
class Pack:
    """The margin rules from a market date on. Amounts in USD, rates as fractions of the value."""

    since: date
    margin_equity_min: Decimal  # with less, an account is treated as a cash account
    intraday_equity_min: Decimal  # with less, 4 × is 2 ×
    long_rate: Decimal = Decimal("0.30")
    long_intraday_rate: Decimal = Decimal("0.25")
    long_low_price: Decimal = Decimal("2.50")  # below it a share is covered in full
    short_rate: Decimal = Decimal("0.30")
    short_min: Decimal = Decimal("5.00")  # a share
    short_low_price: Decimal = Decimal("5.00")  # below it a share is covered in full,
    short_low_min: Decimal = Decimal("2.50")  # and with no less than this


PACKS = (
    # Four times took the 25,000 USD of a pattern day trader.
    Pack(date.min, Decimal(2_000), Decimal(25_000)),
    # FINRA's intraday margin replaced the rules of day trading (Regulatory Notice 26-10); Alpaca
    # followed the same day.
    Pack(date(2026, 6, 4), Decimal(2_000), Decimal(2_000)),
)


class Terms(NamedTuple):
    """By which rules an account is judged at an instant: 4 × is for the regular session only."""

    pack: Pack
    in_session: bool


class Stake(NamedTuple):
    """A position at its mark; quantity and value are negative when short."""

    quantity: Decimal
    value: Decimal
    marginable: bool


@dataclass(frozen=True, slots=True)
class Margin:
    """What an account must cover and what it can still open, at one instant; USD."""

    pack: Pack
    equity: Decimal
    spendable: Decimal  # equity beyond the initial margin
    held: Decimal  # by open orders: their own requirements
    leverage: int  # in force now, at most the account's multiplier
    overnight: Decimal  # the initial margin at 2 ×
    maintenance: Decimal
    cash_of_its_own: Decimal  # neither borrowed nor owed for shorts, nor held
    has_shorts: bool = False

    @property
    def excess(self) -> Decimal:
        """Equity that nothing needs; negative where prices have fallen."""
        return self.spendable - self.held

    @property
    def buying_power(self) -> Decimal:
        """What new orders can be worth that ask for the least; never shown below zero."""
        return self.non_marginable_power * self.leverage

    @property
    def non_marginable_power(self) -> Decimal:
        """What can be opened without borrowing."""
        return max(self.excess, ZERO)

    @property
    def overnight_excess(self) -> Decimal:
        """The excess by Regulation T, never shown below zero."""
        return max(self.equity - self.overnight - self.held, ZERO)

    @property
    def is_short_of_maintenance(self) -> bool:
        return self.equity < self.maintenance


def pack_on(on: date) -> Pack:
    """The rules in force on that market date."""
    return PACKS[max(bisect_right(PACKS, on, key=lambda pack: pack.since) - 1, 0)]


def margin_of(
    terms: Terms,
    *,
    multiplier: int,
    cash: Decimal,
    hold_cash: Decimal,
    short_cost: Decimal,
    stakes: Iterable[Stake],
) -> Margin:
    """The account's margin: what the API and the screen show, and what orders are judged by.

    `short_cost` is what its shorts were sold for, a positive number: what a cash account that has
    any covers.
    """
    stakes = list(stakes)
    if multiplier == CASH:
        return _cash_margin(terms.pack, cash, hold_cash, short_cost, stakes)
    equity = cash + sum((stake.value for stake in stakes), ZERO)
    leverage = leverage_in_force(terms, multiplier, equity)
    initial = sum((initial_requirement(terms.pack, leverage, stake) for stake in stakes), ZERO)
    overnight = sum(
        (initial_requirement(terms.pack, min(leverage, MARGIN), stake) for stake in stakes), ZERO
    )
    return Margin(
        pack=terms.pack,
        equity=equity,
        spendable=equity - initial,
        held=hold_cash,
        leverage=leverage,
        overnight=overnight,
        maintenance=maintenance_of(terms.pack, leverage, stakes),
        cash_of_its_own=cash - hold_cash + sum((min(stake.value, ZERO) for stake in stakes), ZERO),
        has_shorts=any(stake.quantity < 0 for stake in stakes),
    )


def leverage_in_force(terms: Terms, multiplier: int, equity: Decimal) -> int:
    """How many dollars a dollar of excess opens now."""
    pack = terms.pack
    if equity < pack.margin_equity_min:
        return CASH
    if multiplier == INTRADAY and not (terms.in_session and equity >= pack.intraday_equity_min):
        return MARGIN
    return multiplier


def maintenance_of(pack: Pack, leverage: int, stakes: Iterable[Stake]) -> Decimal:
    """The equity below which positions must be closed."""
    return sum((maintenance_requirement(pack, leverage, stake) for stake in stakes), ZERO)


def maintenance_requirement(pack: Pack, leverage: int, stake: Stake) -> Decimal:
    """What keeping one position takes; that 25 % suffice is a rule of the regular session."""
    if stake.quantity == 0:
        return ZERO
    rate, least = _maintenance(pack, leverage, stake.quantity < 0, _price(stake), stake.marginable)
    return _required(stake, rate, least)


def initial_requirement(pack: Pack, leverage: int, stake: Stake) -> Decimal:
    """What opening one position takes, at its mark."""
    if stake.quantity == 0:
        return ZERO
    rate, least = _initial(pack, leverage, stake.quantity < 0, _price(stake), stake.marginable)
    return _required(stake, rate, least)


def order_rate(
    pack: Pack, leverage: int, *, is_short: bool, marginable: bool, price: Decimal, market: Decimal
) -> Decimal:
    """Which part of an opening order's value at `price` it holds, rounded up.

    Enough for the position at that price, and also at a lower market where that asks for more:
    below 2.50 a share bought is covered in full.
    """
    needed = ZERO
    for at in (price, min(price, market or price)):
        rate, least = _initial(pack, leverage, is_short, at, marginable)
        needed = max(needed, at * rate, least)
    unit = Decimal(1).scaleb(-RATE_PLACES)
    rate = EXACT.divide(needed, price)
    return rate.quantize(unit, rounding=ROUND_CEILING, context=EXACT)


def worth_of(power: Decimal, rate: Decimal) -> Decimal:
    """The value of the largest order at that rate, rounded down."""
    unit = Decimal(1).scaleb(-CASH_PLACES)
    return EXACT.divide(power, rate).quantize(unit, rounding=ROUND_FLOOR, context=EXACT)


def _cash_margin(
    pack: Pack, cash: Decimal, hold_cash: Decimal, short_cost: Decimal, stakes: Iterable[Stake]
) -> Margin:
    values = [stake.value for stake in stakes]
    gross = sum((abs(value) for value in values), ZERO)
    return Margin(
        pack=pack,
        equity=cash + sum(values, ZERO),
        spendable=spendable(cash, short_cost),
        held=hold_cash,
        leverage=CASH,
        overnight=gross,
        maintenance=gross,
        cash_of_its_own=spendable(cash, short_cost) - hold_cash,
        has_shorts=short_cost > 0,
    )


def _price(stake: Stake) -> Decimal:
    return abs(EXACT.divide(stake.value, stake.quantity))


def _required(stake: Stake, rate: Decimal, least: Decimal) -> Decimal:
    exact = max(EXACT.multiply(abs(stake.value), rate), EXACT.multiply(abs(stake.quantity), least))
    unit = Decimal(1).scaleb(-CASH_PLACES)
    return exact.quantize(unit, rounding=ROUND_CEILING, context=EXACT)


def _initial(
    pack: Pack, leverage: int, is_short: bool, price: Decimal, marginable: bool
) -> tuple[Decimal, Decimal]:
    """A rate of the value, and the least a share takes."""
    rate, least = _maintenance(pack, leverage, is_short, price, marginable)
    return max(rate, WHOLE / leverage), least


def _maintenance(
    pack: Pack, leverage: int, is_short: bool, price: Decimal, marginable: bool
) -> tuple[Decimal, Decimal]:
    if is_short:
        if price < pack.short_low_price:
            return WHOLE, pack.short_low_min
        return (pack.short_rate if marginable else WHOLE), pack.short_min
    if not marginable or price < pack.long_low_price:
        return WHOLE, ZERO
    return (pack.long_intraday_rate if leverage == INTRADAY else pack.long_rate), ZERO

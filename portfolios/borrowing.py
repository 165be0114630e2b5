"""What an account may borrow against now: its margin, mostly worked out under its lock.

Prices are read before the lock (`read_marks`), for nothing under it speaks to the fast store.
What was bought or sold short meanwhile has no mark, and counts at its cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple, Protocol

from django.db.models import Q

from portfolios.margin import Margin, Stake, Terms, margin_of, pack_on
from portfolios.models import Account, Position
from portfolios.splits import splits_for
from portfolios.valuation import mark
from quotes import history, latest
from quotes.amounts import EXACT, rounded
from quotes.calendar import Session
from quotes.clock import Clock, market_clock
from quotes.splits import adjusted

ZERO = Decimal(0)
FLAT = Q(quantity=ZERO)


class Held(NamedTuple):
    """A position as far as its margin depends on it."""

    quantity: Decimal
    cost_basis: Decimal
    marginable: bool


class Marks(Protocol):
    """Prices in USD per share, by instrument id; a mapping is one."""

    def get(self, instrument_id: int, /) -> Decimal | None: ...


NO_MARKS: Mapping[int, Decimal] = {}

# More than there are instruments listed in the US, so no account's sum is ever cut short.
POSITIONS_MAX = 20_000


def terms_now(clock: Clock | None = None) -> Terms:
    """The margin rules of this instant."""
    clock = clock or market_clock()
    on = clock.calendar.trading_date(clock.now())
    return Terms(pack_on(on), clock.session() is Session.REGULAR)


def read_marks(account_id: int) -> Mapping[int, Decimal]:
    """The prices of what the account holds: last trade, else mid of a quote, else close."""
    rows = Position.objects.filter(account_id=account_id).exclude(FLAT)
    held = dict(rows.values_list("instrument_id", "instrument__symbol")[:POSITIONS_MAX])
    return marks_of(held, account_id)


def marks_of(held: Mapping[int, str], account_id: int | None = None) -> Mapping[int, Decimal]:
    """The prices of instruments, given as their symbols by id, as far as there are any.

    Where a split is being booked just now, as they count for the account.
    """
    if not held:
        return {}
    splits = splits_for(account_id, held.keys())
    newest = adjusted(latest.get_many(held.values()), splits)
    closes = history.previous_close(held, market_clock().now(), splits)
    found = {pk: mark(newest.get(symbol), closes.get(pk)) for pk, symbol in held.items()}
    return {pk: price for pk, price in found.items() if price is not None}


def margin_now(
    account: Account, marks: Marks, changed: Iterable[tuple[Position, bool]] = ()
) -> Margin:
    """The margin of an account at these prices; locked, where something is decided by it.

    `changed` are positions that are not yet written as they are now, each with whether it is
    marginable.
    """
    rows = Position.objects.filter(account_id=account.pk).exclude(FLAT)
    stored = rows.values_list("instrument_id", "quantity", "cost_basis", "instrument__marginable")
    held = {pk: Held(*rest) for pk, *rest in stored[:POSITIONS_MAX]}
    for position, marginable in changed:
        held[position.instrument_id] = Held(position.quantity, position.cost_basis, marginable)
    return margin_with(account, held, marks)


def margin_with(account: Account, held: Mapping[int, Held], marks: Marks) -> Margin:
    """The margin of an account that holds this, by instrument id; at cost where nothing is known
    of a price."""
    stakes, short_cost = [], ZERO
    for instrument_id, (quantity, cost, marginable) in held.items():
        price = marks.get(instrument_id)
        value = cost if price is None else rounded(EXACT.multiply(quantity, price))
        stakes.append(Stake(quantity, value, marginable))
        short_cost -= cost if quantity < 0 else ZERO
    return margin_of(
        terms_now(),
        multiplier=account.multiplier,
        cash=account.cash,
        hold_cash=account.hold_cash,
        short_cost=short_cost,
        stakes=stakes,
    )

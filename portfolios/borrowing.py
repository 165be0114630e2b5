"""What an account may borrow against now: its margin, mostly worked out under its lock.

Prices are read before the lock (`read_marks`), for nothing under it speaks to the fast store.
What was bought or sold short meanwhile has no mark, and counts at its cost. What was split
meanwhile has one that does not go with its quantity: then they are read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, Protocol, TypeVar

from django.db.models import Q

from events.errors import Unavailable
from portfolios.counting_splits import splits_between
from portfolios.margin import Margin, Stake, Terms, margin_of, pack_on
from portfolios.models import Account, Position
from portfolios.valuation import mark
from quotes import history, latest
from quotes.amounts import EXACT, rounded
from quotes.calendar import Session
from quotes.clock import Clock, market_clock
from quotes.splits import Split, adjusted, splits_of

T = TypeVar("T")

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
TRIES_MAX = 5  # of a use case whose prices have to be read anew; splits are days apart


class MarksNeeded(Exception):
    """The locked account is a margin account, and no prices were read that go with its books."""


@dataclass(frozen=True, slots=True)
class OwnMarks:
    """The prices of what one account holds, and by which splits they count for it."""

    prices: Mapping[int, Decimal] = field(default_factory=dict)
    transaction: int | None = None  # the account's last one before anything else was read
    splits: tuple[Split, ...] = ()
    held: frozenset[int] = frozenset()

    def get(self, instrument_id: int) -> Decimal | None:
        return self.prices.get(instrument_id)

    def go_with(self, account: Account) -> bool:
        """Whether no split of what was held has been booked or taken back in the locked account
        since: asked of its number of transactions, and only where that has grown, of the splits.
        """
        if account.transaction_sequence == self.transaction:
            return True
        return tuple(splits_between(account.pk, self.held)) == self.splits


def terms_now(clock: Clock | None = None) -> Terms:
    """The margin rules of this instant."""
    clock = clock or market_clock()
    on = clock.calendar.trading_date(clock.now())
    return Terms(pack_on(on), clock.session() is Session.REGULAR)


def with_marks(account_id: int, use_case: Callable[[OwnMarks | None], T]) -> T:
    """Carry out a use case, again with prices where it turns out to need them, or newer ones.

    Raises what it raises, and Unavailable where splits are booked faster than it comes about.
    """
    marks = None
    for _ in range(TRIES_MAX):
        try:
            return use_case(marks)
        except MarksNeeded:
            marks = read_marks(account_id)
    raise Unavailable("a split is being booked, nothing was stored")


def read_marks(account_id: int) -> OwnMarks:
    """The prices of what the account holds: last trade, else mid of a quote, else close."""
    rows = Position.objects.filter(account_id=account_id).exclude(FLAT)
    columns = ("instrument_id", "instrument__symbol", "account__transaction_sequence")
    found = list(rows.values_list(*columns)[:POSITIONS_MAX])
    if not found:
        return OwnMarks()
    held = {pk: symbol for pk, symbol, _ in found}
    splits = splits_between(account_id, held.keys())
    return OwnMarks(_prices(held, splits), found[0][2], tuple(splits), frozenset(held))


def marks_of(held: Mapping[int, str]) -> Mapping[int, Decimal]:
    """The prices of instruments, given as their symbols by id, as far as there are any."""
    return _prices(held, splits_of(held.keys())) if held else {}


def _prices(held: Mapping[int, str], splits: list[Split]) -> Mapping[int, Decimal]:
    """As they count after these splits."""
    newest = adjusted(latest.get_many(held.values()), splits)
    closes = history.previous_close(held, market_clock().now(), splits)
    found = {pk: mark(newest.get(symbol), closes.get(pk)) for pk, symbol in held.items()}
    return {pk: price for pk, price in found.items() if price is not None}


def margin_locked(account: Account, marks: OwnMarks | None) -> Margin:
    """The margin by which something is decided under the account's lock; for `with_marks`.

    Raises MarksNeeded.
    """
    if marks is None or not marks.go_with(account):
        raise MarksNeeded
    return margin_now(account, marks)


def margin_now(
    account: Account, marks: Marks, changed: Iterable[tuple[Position, bool]] = ()
) -> Margin:
    """The margin of an account at these prices.

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

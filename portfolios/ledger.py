"""The only writer of postings, and the only place where holds change.

A transaction is a list of moves; each takes a positive amount of one asset from one ledger to
another of the same account's book, so there is no unbalanced entry to refuse. Every function here
works under the account's lock. `draft` and the holds change objects in memory only, so that
settlement can write a batch at once; whoever calls them saves the account's BOOK_FIELDS.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Protocol

from django.db import transaction

from events.bulk import insert_rows, new_row, update_rows
from portfolios.errors import BoundExceeded
from portfolios.models import (
    BOOK_FIELDS,
    Account,
    AccountDay,
    Ledger,
    Position,
    Posting,
    PostingKind,
)
from quotes.amounts import BALANCE_MAX, CASH_PLACES, QUANTITY_PLACES, to_units

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Move:
    """A positive amount of one asset, from one ledger to another. Instrument None is USD."""

    instrument_id: int | None
    source: Ledger
    target: Ledger
    amount: Decimal

    def __post_init__(self) -> None:
        assert self.amount > 0, f"a move of {self.amount}"
        assert self.source != self.target, f"a move from {self.source} to itself"
        assert (self.instrument_id is None) == (Ledger.SHARES not in (self.source, self.target)), (
            "shares move between shares and street, dollars between the other ledgers"
        )

    @classmethod
    def usd(cls, source: Ledger, target: Ledger, amount: Decimal) -> Move:
        return cls(None, source, target, amount)

    @property
    def units(self) -> int:
        """The amount as the posting stores it, a scaled integer."""
        return to_units(self.amount, CASH_PLACES if self.instrument_id is None else QUANTITY_PLACES)

    @property
    def cash_effect(self) -> Decimal:
        """What the move does to the account's cash."""
        if self.target == Ledger.CASH:
            return self.amount
        return -self.amount if self.source == Ledger.CASH else ZERO

    @property
    def paid_in(self) -> Decimal:
        """What its owner brings in by it, or takes out: no profit, no loss."""
        return self.cash_effect if Ledger.FUNDING in (self.source, self.target) else ZERO


@dataclass(frozen=True, slots=True)
class Transaction:
    """Drafted, not yet written: its postings, and the trade date where it is that day's first."""

    postings: list[Posting]
    day: AccountDay | None


def draft(
    account: Account,
    *,
    kind: PostingKind,
    moves: Sequence[Move],
    at: datetime,
    trade_date: date,
    reference: str = "",
    recorded_at: datetime | None = None,
) -> Transaction:
    """One transaction of the account, numbered and booked to its cash in memory, not yet written.

    Raises BoundExceeded, before anything changed, where cash would leave its bounds.
    """
    assert moves, "a transaction moves something"
    cash, paid_in = account.cash, ZERO
    for move in moves:
        cash += move.cash_effect
        paid_in += move.paid_in
    if abs(cash) > BALANCE_MAX:
        raise BoundExceeded("cash balance out of bounds", balance=cash, limit=BALANCE_MAX)

    day = _begin_day(account, trade_date)
    account.day_open_cash += paid_in
    account.cash = cash
    account.transaction_sequence += 1
    recorded_at = recorded_at or datetime.now(UTC)
    postings = [
        new_row(
            Posting,
            account_id=account.pk,
            transaction=account.transaction_sequence,
            n=n,
            kind=kind,
            instrument_id=move.instrument_id,
            source=move.source,
            target=move.target,
            amount=move.units,
            reference=reference,
            at=at,
            recorded_at=recorded_at,
        )
        for n, move in enumerate(moves, start=1)
    ]
    return Transaction(postings, day)


def _begin_day(account: Account, trade_date: date) -> AccountDay | None:
    # Another process's clock may lag a moment: a late posting counts to the day already begun.
    if account.day_on is not None and account.day_on >= trade_date:
        return None
    account.day_on = trade_date
    account.day_open_cash = account.cash
    return new_row(
        AccountDay,
        account_id=account.pk,
        on=trade_date,
        first_transaction=account.transaction_sequence + 1,
        open_cash=account.cash,
    )


def write(transactions: Sequence[Transaction]) -> None:
    """Append drafted transactions: their postings in one statement, and the days they begin."""
    assert transaction.get_connection().in_atomic_block, "postings are part of a transaction"
    insert_rows(posting for one in transactions for posting in one.postings)
    insert_rows(one.day for one in transactions if one.day is not None)


def save(accounts: Iterable[Account]) -> None:
    """Save the books of locked accounts: what postings, holds and events changed on them."""
    assert transaction.get_connection().in_atomic_block, "books change in a transaction"
    update_rows(accounts, BOOK_FIELDS)


def post(
    account: Account,
    *,
    kind: PostingKind,
    moves: Sequence[Move],
    at: datetime,
    trade_date: date,
    reference: str = "",
) -> Transaction:
    """Draft and write one transaction of USD; the caller saves the account. Raises BoundExceeded.

    Shares only move with their position and lots: see `positions.apply_execution`.
    """
    assert all(move.instrument_id is None for move in moves), "shares move with their position"
    drafted = draft(
        account, kind=kind, moves=moves, at=at, trade_date=trade_date, reference=reference
    )
    write([drafted])
    return drafted


class Holding(Protocol):
    """An order as the ledger sees it: what it keeps others from spending."""

    account_id: int
    instrument_id: int
    hold_cash: Decimal
    hold_quantity: Decimal


def hold(
    account: Account,
    position: Position | None,
    order: Holding,
    *,
    cash: Decimal = ZERO,
    quantity: Decimal = ZERO,
) -> None:
    """Set what the order holds, and move the totals of account and position by the difference.

    The amounts are recomputed from the order's leaves quantity each time, never decremented. In
    memory: the caller saves the order, `Account.hold_cash` and `Position.hold_quantity`.
    """
    assert cash >= 0, f"a hold of {cash}"
    assert quantity >= 0, f"a hold of {quantity} shares"
    assert order.account_id == account.pk, "an order holds on its own account"
    account.hold_cash += cash - order.hold_cash
    assert account.hold_cash >= 0, "holds are the sum of open orders"
    order.hold_cash = cash

    if position is None:
        assert quantity == order.hold_quantity == 0, "shares are held on a position"
        return
    assert position.account_id == account.pk, "a position of the same account"
    assert position.instrument_id == order.instrument_id, "a position of the same instrument"
    position.hold_quantity += quantity - order.hold_quantity
    assert position.hold_quantity >= 0, "holds are the sum of open orders"
    order.hold_quantity = quantity


def release(account: Account, position: Position | None, order: Holding) -> None:
    """Free everything the order holds: a finished order holds nothing."""
    hold(account, position, order)

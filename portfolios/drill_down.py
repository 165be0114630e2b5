"""What is behind a position's numbers: the transactions that moved its shares, newest first.

Each tells what it did to quantity, cost and realised profit, and what they were after it, so the
parts of all of them add up to the position. A page is one walk along an index, whatever the past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from portfolios.errors import PositionNotFound
from portfolios.models import Ledger, Position, Posting
from quotes.amounts import CASH_PLACES, from_units

ZERO = Decimal(0)
ENTRIES_MAX = 100


class Totals(NamedTuple):
    """Quantity in shares, signed; cost basis and realised profit in USD."""

    quantity: Decimal
    cost_basis: Decimal
    realized: Decimal


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction of a position's ledger.

    `change` and `after` are None where the transaction was booked before totals were kept.
    """

    transaction: int
    kind: str
    at: datetime
    execution_id: str
    cash: Decimal  # what it brought in, before fees; negative for a purchase
    fee: Decimal
    lot_choice: Sequence[str] | None
    change: Totals | None
    after: Totals | None
    postings: list[Posting]


@dataclass(frozen=True, slots=True)
class Page:
    """The position's numbers now, and some of the entries that make them."""

    totals: Totals
    entries: list[Entry]
    next: int | None  # the transaction before which the next page begins


def position_ledger(
    account_id: int, instrument_id: int, *, before: int | None = None, limit: int = ENTRIES_MAX
) -> Page:
    """A page of entries, newest first, those of transactions before `before`.

    Raises PositionNotFound where the account never held the instrument.
    """
    position = Position.objects.filter(account_id=account_id, instrument_id=instrument_id).first()
    if position is None:
        raise PositionNotFound
    rows = Posting.objects.filter(account_id=account_id, instrument_id=instrument_id)
    if before is not None:
        rows = rows.filter(transaction__lt=before)
    limit = min(limit, ENTRIES_MAX)
    shares = list(rows.order_by("-transaction")[: limit + 1])  # one more, to compare with
    shown, beyond = shares[:limit], len(shares) > limit
    return Page(
        Totals(position.quantity, position.cost_basis, position.realized),
        _entries(account_id, shares, len(shown)),
        shown[-1].transaction if beyond else None,
    )


def _entries(account_id: int, shares: Sequence[Posting], count: int) -> list[Entry]:
    postings: dict[int, list[Posting]] = {one.transaction: [] for one in shares[:count]}
    rows = Posting.objects.filter(account_id=account_id, transaction__in=postings)
    for posting in rows.select_related("instrument").order_by("transaction", "n"):
        postings[posting.transaction].append(posting)
    earlier = [*map(_after, shares[1:]), Totals(ZERO, ZERO, ZERO)]
    return [
        _entry(one, postings[one.transaction], previous)
        for one, previous in zip(shares[:count], earlier, strict=False)
    ]


def _entry(shares: Posting, postings: list[Posting], previous: Totals | None) -> Entry:
    after = _after(shares)
    change = None
    if after is not None and previous is not None:
        change = Totals(*(now - then for now, then in zip(after, previous, strict=True)))
    dollars = [one for one in postings if one.instrument_id is None]
    traded = [one for one in dollars if one.target != Ledger.FEES]
    return Entry(
        transaction=shares.transaction,
        kind=shares.kind,
        at=shares.at,
        execution_id=shares.reference,
        cash=sum((_signed(one) for one in traded), ZERO),
        fee=-sum((_signed(one) for one in dollars if one.target == Ledger.FEES), ZERO),
        lot_choice=shares.lot_choice,
        change=change,
        after=after,
        postings=postings,
    )


def _signed(posting: Posting) -> Decimal:
    """What a posting of dollars did to cash."""
    amount = from_units(posting.amount, CASH_PLACES)
    return amount if posting.target == Ledger.CASH else -amount


def _after(shares: Posting) -> Totals | None:
    if shares.quantity_after is None or shares.cost_after is None or shares.realized_after is None:
        return None
    return Totals(shares.quantity_after, shares.cost_after, shares.realized_after)

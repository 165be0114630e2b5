"""What the books must say, worked out again from the ledger alone.

Every transaction is replayed, in order, through the same pure functions that booked it, into an
empty account that is never saved. The stored account, positions and lots must equal the result to
the last digit; `reconcile` compares them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from uuid import UUID

from portfolios import ledger
from portfolios.errors import BoundExceeded
from portfolios.ledger import Move
from portfolios.lots import Choice
from portfolios.models import (
    Account,
    AccountDay,
    Ledger,
    Lot,
    Position,
    PositionDay,
    Posting,
    PostingKind,
)
from portfolios.positions import Execution, apply_execution, new_position
from portfolios.splits import apply_split
from quotes.amounts import CASH_PLACES, EXACT, PRICE_PLACES, QUANTITY_PLACES, from_units, rounded
from quotes.calendar import Calendar

# Rows fetched at a time, so that an account with a long past does not fill the memory.
CHUNK = 2_000

# How a tampered ledger shows when it is replayed: it closes what was never opened, moves nothing,
# names no execution. An audit reports that and goes on.
_IMPOSSIBLE = (AssertionError, BoundExceeded, LookupError, ValueError)


@dataclass(slots=True)
class Books:
    """The account as its postings make it; positions and lots by instrument id."""

    account: Account
    positions: dict[int, Position] = field(default_factory=dict)
    lots: dict[int, list[Lot]] = field(default_factory=dict)
    days: list[tuple[object, ...]] = field(default_factory=list)  # what each began with
    activities: list[tuple[int, Decimal]] = field(default_factory=list)  # all that was no trade
    postings: int = 0
    broken: list[str] = field(default_factory=list)  # transactions that replay as something else


def rebuild(account_id: int, calendar: Calendar) -> Books:
    """Replay the account's ledger. The calendar tells which trade date an instant belongs to."""
    books = Books(Account(pk=account_id))
    rows = Posting.objects.filter(account_id=account_id).order_by("transaction", "n")
    stream = rows.iterator(chunk_size=CHUNK)
    for _, transaction in groupby(stream, key=lambda posting: posting.transaction):
        _replay(books, list(transaction), calendar)
    return books


def _replay(books: Books, recorded: list[Posting], calendar: Calendar) -> None:
    first = recorded[0]
    books.postings += len(recorded)
    try:
        if first.kind == PostingKind.TRADE:
            replayed = _replay_trade(books, recorded, calendar)
        elif first.kind == PostingKind.SPLIT:
            replayed = _replay_split(books, recorded, calendar)
        else:
            replayed = _replay_transfer(books, recorded, calendar)
    except _IMPOSSIBLE as error:
        books.broken.append(f"{first.transaction}: {error}")
        return
    for stored, made in zip(recorded, replayed, strict=False):
        if stored.quantity_after is None:  # written before totals were kept
            made.quantity_after = made.cost_after = made.realized_after = None
    if list(_facts(recorded)) != list(_facts(replayed)):
        books.broken.append(f"{first.transaction}: replays as another transaction")


def _replay_transfer(books: Books, recorded: list[Posting], calendar: Calendar) -> list[Posting]:
    first = recorded[0]
    before = books.account.cash
    drafted = ledger.draft(
        books.account,
        kind=PostingKind(first.kind),
        moves=[_move(posting) for posting in recorded],
        at=first.at,
        trade_date=calendar.trading_date(first.at),
        reference=first.reference,
    )
    _note_day(books, drafted.day)
    books.activities.append((first.transaction, books.account.cash - before))
    return drafted.postings


def _replay_trade(books: Books, recorded: list[Posting], calendar: Calendar) -> list[Posting]:
    execution = _execution(recorded, calendar)
    instrument_id = execution.instrument_id
    position = books.positions.get(instrument_id)
    if position is None:
        position = new_position(books.account.pk, instrument_id, execution.at)
        books.positions[instrument_id] = position
    lots = books.lots.setdefault(instrument_id, [])
    applied = apply_execution(books.account, position, lots, execution)
    _note_day(books, applied.transaction.day)
    _note_day(books, applied.day)
    return applied.postings


def _replay_split(books: Books, recorded: list[Posting], calendar: Calendar) -> list[Posting]:
    (shares,) = recorded
    assert shares.instrument_id is not None
    applied = apply_split(
        books.account,
        books.positions[shares.instrument_id],
        books.lots[shares.instrument_id],
        at=shares.at,
        trade_date=calendar.trading_date(shares.at),
        reference=shares.reference,
    )
    assert applied.transaction is not None, "a split that moves nothing"
    _note_day(books, applied.transaction.day)
    _note_day(books, applied.day)
    books.activities.append((shares.transaction, Decimal(0)))
    return applied.transaction.postings


def _note_day(books: Books, day: AccountDay | PositionDay | None) -> None:
    if day is not None:
        books.days.append(day_facts(day))


def day_facts(day: AccountDay | PositionDay) -> tuple[object, ...]:
    """What a day's row says, in an order in which rows can be sorted."""
    if isinstance(day, AccountDay):
        return (day.on, 0, day.first_transaction, day.open_cash)
    return (day.on, 1, day.instrument_id, day.open_quantity)


def _execution(recorded: list[Posting], calendar: Calendar) -> Execution:
    """The trade behind a transaction; its price is what cash and quantity imply."""
    (shares,) = [posting for posting in recorded if posting.instrument_id is not None]
    assert shares.instrument_id is not None
    cash, fee = 0, 0
    for posting in recorded:
        if posting.instrument_id is None and posting.target == Ledger.FEES:
            fee += posting.amount
        elif posting.instrument_id is None:
            cash += posting.amount
    quantity = from_units(shares.amount, QUANTITY_PLACES)
    paid = from_units(cash, CASH_PLACES)
    return Execution(
        execution_id=UUID(shares.reference),
        instrument_id=shares.instrument_id,
        side="buy" if shares.target == Ledger.SHARES else "sell",
        quantity=quantity,
        price=rounded(EXACT.divide(paid, quantity), PRICE_PLACES),
        cash=paid,
        fee=from_units(fee, CASH_PLACES),
        at=shares.at,
        trade_date=calendar.trading_date(shares.at),
        choice=Choice.from_stored(shares.lot_choice),
    )


def _move(posting: Posting) -> Move:
    places = CASH_PLACES if posting.instrument_id is None else QUANTITY_PLACES
    return Move(
        posting.instrument_id,
        Ledger(posting.source),
        Ledger(posting.target),
        from_units(posting.amount, places),
    )


def _facts(postings: list[Posting]) -> Iterator[tuple[object, ...]]:
    """Everything a posting says except when it was written down."""
    for posting in postings:
        yield (
            posting.transaction,
            posting.n,
            posting.kind,
            posting.instrument_id,
            posting.source,
            posting.target,
            posting.amount,
            posting.reference,
            posting.lot_choice,
            posting.quantity_after,
            posting.cost_after,
            posting.realized_after,
            posting.at,
        )

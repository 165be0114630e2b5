"""Positions: how one execution changes an account's books, and how the change is written.

`apply_execution` is pure apart from the objects it is given: it drafts the postings and changes
account, position and lots in memory. `write` stores what any number of executions changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from events.bulk import insert_rows, new_row, update_rows
from events.reads import Wanted, find_together
from portfolios import ledger, lot_rows, lots
from portfolios.errors import BoundExceeded
from portfolios.ledger import Move, Transaction
from portfolios.lot_rows import Key
from portfolios.lots import OLDEST_FIRST, Choice
from portfolios.models import (
    Account,
    Ledger,
    Lot,
    LotMethod,
    Position,
    PositionDay,
    Posting,
    PostingKind,
)
from quotes.amounts import EXACT, PRICE_PLACES, QUANTITY_MAX, rounded

ZERO = Decimal(0)

_WRITTEN_FIELDS = (
    "quantity",
    "hold_quantity",
    "cost_basis",
    "realized",
    "day_on",
    "day_open_quantity",
    "day_flow",
    "day_opened_quantity",
    "day_opened_cost",
    "updated_at",
)


@dataclass(frozen=True, slots=True)
class Execution:
    """One trade of an account, as its books see it. `cash` is price × quantity, rounded once."""

    execution_id: UUID
    instrument_id: int
    side: str  # "buy" or "sell"
    quantity: Decimal
    price: Decimal
    cash: Decimal
    fee: Decimal
    at: datetime  # market time
    trade_date: date  # the New York date of its session
    choice: Choice = OLDEST_FIRST  # of the lots that it closes
    recorded_at: datetime | None = None  # wall time, now where none is given

    def __post_init__(self) -> None:
        assert self.side in ("buy", "sell"), self.side
        assert self.quantity > 0, f"an execution of {self.quantity}"
        assert self.cash > 0, "a fill whose cash rounds to zero is not made"
        assert self.fee >= 0, f"a fee of {self.fee}"

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity if self.side == "buy" else -self.quantity

    @property
    def lot_price(self) -> Decimal:
        """Cash per share: the price, but where the cash of a crumb had to be rounded.

        This is the price a lot has, for the ledger knows it too.
        """
        return rounded(EXACT.divide(self.cash, self.quantity), PRICE_PLACES)

    @property
    def flow(self) -> Decimal:
        """What it brings in, before fees: proceeds of a sale, minus the cost of a purchase."""
        return -self.cash if self.side == "buy" else self.cash


@dataclass(slots=True)
class Applied:
    """What one execution did: rows to append, lots to insert, update or delete."""

    transaction: Transaction
    day: PositionDay | None = None  # where it is the position's first of that trade date
    realized: Decimal = ZERO
    opened: Lot | None = None
    reduced: list[Lot] = field(default_factory=list)
    closed: list[Lot] = field(default_factory=list)

    @property
    def postings(self) -> list[Posting]:
        return self.transaction.postings

    @property
    def shares(self) -> Posting:
        """The posting that moves the shares, the second of each trade."""
        return self.transaction.postings[1]


def new_position(account_id: int, instrument_id: int, at: datetime) -> Position:
    """An empty position, not yet written."""
    return new_row(Position, account_id=account_id, instrument_id=instrument_id, updated_at=at)


def apply_execution(
    account: Account, position: Position, open_lots: list[Lot], execution: Execution
) -> Applied:
    """Book one execution, in memory, and say what is to be written.

    `open_lots` are lots of the position in the order they were opened, those among them that the
    execution's choice closes (see `lot_rows.load`); the list is kept up to date, so that a batch
    may apply several executions in turn. An execution larger than an opposite position closes it
    and opens the rest.
    Raises BoundExceeded, before anything changed, where cash or quantity would leave its bounds.
    """
    assert position.account_id == account.pk, "a position of the same account"
    assert position.instrument_id == execution.instrument_id, "a position of that instrument"
    quantity = position.quantity + execution.signed_quantity
    if abs(quantity) > QUANTITY_MAX:
        raise BoundExceeded("position out of bounds", quantity=quantity, limit=QUANTITY_MAX)

    applied = Applied(
        ledger.draft(
            account,
            kind=PostingKind.TRADE,
            moves=_moves(execution),
            at=execution.at,
            trade_date=execution.trade_date,
            reference=str(execution.execution_id),
            recorded_at=execution.recorded_at,
        )
    )
    applied.day = begin_day(position, execution.trade_date)
    position.day_flow += execution.flow - execution.fee
    position.updated_at = execution.at
    closing = _closing_quantity(position, execution)
    if closing:
        _close(position, open_lots, execution, closing, applied)
        if execution.choice.method != LotMethod.FIFO:
            applied.shares.lot_choice = execution.choice.stored()
    if closing < execution.quantity:
        _open(position, open_lots, execution, closing, applied)
    tell_totals(position, applied.shares)
    assert position.quantity == quantity, "opened and closed add up to the execution"
    return applied


def _moves(execution: Execution) -> list[Move]:
    """Buy: cash → street, street → shares, cash → fees. A sale, short or not, is the mirror."""
    instrument_id, cash, quantity = execution.instrument_id, execution.cash, execution.quantity
    if execution.side == "buy":
        moves = [
            Move.usd(Ledger.CASH, Ledger.STREET, cash),
            Move(instrument_id, Ledger.STREET, Ledger.SHARES, quantity),
        ]
    else:
        moves = [
            Move.usd(Ledger.STREET, Ledger.CASH, cash),
            Move(instrument_id, Ledger.SHARES, Ledger.STREET, quantity),
        ]
    if execution.fee:
        moves.append(Move.usd(Ledger.CASH, Ledger.FEES, execution.fee))
    return moves


def begin_day(position: Position, trade_date: date) -> PositionDay | None:
    """Let the trade date begin for the position, if it has not: what it was before."""
    if position.day_on is not None and position.day_on >= trade_date:
        return None
    position.day_on = trade_date
    position.day_open_quantity = position.quantity
    position.day_flow = ZERO
    position.day_opened_quantity = position.day_opened_cost = ZERO
    return new_row(
        PositionDay,
        account_id=position.account_id,
        instrument_id=position.instrument_id,
        on=trade_date,
        open_quantity=position.quantity,
    )


def _closing_quantity(position: Position, execution: Execution) -> Decimal:
    """How much of the execution closes what is held in the other direction."""
    if position.quantity * execution.signed_quantity >= 0:
        return ZERO
    return min(abs(position.quantity), execution.quantity)


def _close(
    position: Position,
    open_lots: list[Lot],
    execution: Execution,
    closing: Decimal,
    applied: Applied,
) -> None:
    relief = lots.relieve(open_lots, closing, choice=execution.choice, today=position.day_on)
    flow = lots.part(execution.flow, closing, execution.quantity)
    fee = lots.part(execution.fee, closing, execution.quantity)

    applied.realized = flow - relief.cost - fee - relief.fee
    applied.reduced, applied.closed = relief.reduced, relief.closed
    position.quantity -= relief.quantity
    position.cost_basis -= relief.cost
    position.realized += applied.realized
    position.day_opened_quantity -= relief.todays_quantity
    position.day_opened_cost -= relief.todays_cost
    assert position.quantity != 0 or position.cost_basis == 0, "nothing held has no cost"
    assert position.quantity != 0 or not open_lots, "nothing held has no lots"


def tell_totals(position: Position, shares: Posting) -> None:
    """Let the posting that moves the shares say what the position is after it."""
    shares.quantity_after = position.quantity
    shares.cost_after = position.cost_basis
    shares.realized_after = position.realized


def _open(
    position: Position,
    open_lots: list[Lot],
    execution: Execution,
    closed: Decimal,
    applied: Applied,
) -> None:
    """Open a lot with what the closing part has left of quantity, cash and fee."""
    cost, fee = -execution.flow, execution.fee
    if closed:
        cost -= lots.part(cost, closed, execution.quantity)
        fee -= lots.part(fee, closed, execution.quantity)
    opened = execution.quantity - closed
    applied.opened = lots.open_lot(
        account_id=position.account_id,
        instrument_id=position.instrument_id,
        execution_id=execution.execution_id,
        price=execution.lot_price,
        quantity=opened if execution.side == "buy" else -opened,
        cost=cost,
        fee=fee,
        at=execution.at,
        on=position.day_on,
    )
    open_lots.append(applied.opened)
    position.quantity += applied.opened.quantity_left
    position.cost_basis += applied.opened.cost_left
    position.day_opened_quantity += applied.opened.quantity_left
    position.day_opened_cost += applied.opened.cost_left


def load_positions(keys: Iterable[Key]) -> dict[Key, Position]:
    """The positions that exist under these (account id, instrument id) keys, in one query."""
    wanted = set(keys)
    if not wanted:
        return {}
    [rows] = find_together(wanted_positions(wanted))
    return by_key(rows)


def wanted_positions(keys: Iterable[Key]) -> Wanted[Position]:
    """The same for a trip with others; there has to be at least one key."""
    accounts_of: dict[int, set[int]] = {}
    for account_id, instrument_id in keys:
        accounts_of.setdefault(instrument_id, set()).add(account_id)
    pairs = [
        {"instrument_id": instrument_id, "account_id": accounts}
        for instrument_id, accounts in accounts_of.items()
    ]
    return Wanted(Position, either=pairs)


def by_key(rows: Iterable[Position]) -> dict[Key, Position]:
    return {(row.account_id, row.instrument_id): row for row in rows}


def shares_to_close(
    held: Mapping[Key, Position], trades: Iterable[tuple[Key, Decimal]]
) -> dict[Key, Decimal]:
    """How many shares of each position these trades can close at most, by key.

    A trade is its key and its quantity, negative for a sale; those that go the position's own way
    close nothing of what is stored.
    """
    closing: dict[Key, Decimal] = {}
    for key, signed in trades:
        position = held.get(key)
        if position is not None and position.quantity * signed < 0:
            closing[key] = closing.get(key, ZERO) + abs(signed)
    return closing


def write(positions: Iterable[Position], applied: Sequence[Applied]) -> None:
    """Store what a batch of executions changed: postings, positions and lots, in bulk.

    A lot that one execution of the batch opened and a later one changed is written once, as it
    is now; one that was closed again is not written at all. Accounts are saved by `ledger.save`,
    after events have taken their numbers too.
    """
    assert transaction.get_connection().in_atomic_block, "books change in a transaction"
    ledger.write([one.transaction for one in applied])
    insert_rows(one.day for one in applied if one.day is not None)
    save_positions(positions)

    opened = [one.opened for one in applied if one.opened is not None]
    fresh = {id(lot) for lot in opened}
    reduced = {id(lot): lot for one in applied for lot in one.reduced if lot.quantity_left}
    lot_rows.write(
        opened=[lot for lot in opened if lot.quantity_left],
        reduced=[lot for key, lot in reduced.items() if key not in fresh],
        closed=[lot for one in applied for lot in one.closed if id(lot) not in fresh],
    )


def save_positions(positions: Iterable[Position]) -> None:
    """Insert the new and update the known positions, two statements at most."""
    rows = list(positions)
    insert_rows(row for row in rows if row.pk is None)
    update_rows([row for row in rows if row.pk is not None], _WRITTEN_FIELDS)

"""An account that has traded a great deal: orders, fills and books of any length, in bulk.

Through the use cases a million fills take hours. Here the rows are written as settlement would
have left them: one filled order per fill, its postings, and positions and lots that add up
(`portfolios.reconcile` proves it). Events are left out: nothing that is read here looks at them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from django.db import connection, models, transaction

from portfolios.models import (
    BOOK_FIELDS,
    Account,
    Ledger,
    Lot,
    Position,
    PositionDay,
    Posting,
    PostingKind,
)
from quotes.amounts import CASH_PLACES, PRICE_UNIT, QUANTITY_UNIT, from_units
from quotes.models import Instrument
from trading.models import Fill, Order, OrderStatus, OrderType, Side, TimeInForce

ROWS_PER_TRANSACTION = 5_000
ROWS_PER_STATEMENT = 400  # SQLite takes 32,766 values
OPEN_LOTS = 20  # of each instrument, at the end
CENT = PRICE_UNIT // 100
STEP = timedelta(milliseconds=1)


class Trades:
    """What the account did: one share at a time, instrument after instrument, sold two cents
    dearer, of which one is the fee.

    The last purchases of each instrument are not sold again.
    """

    def __init__(self, instruments: Sequence[Instrument], fills: int) -> None:
        assert fills % len(instruments) == 0, "every instrument is traded as often"
        self.instruments = instruments
        self.fills = fills
        self.each = fills // len(instruments)
        self._paired = max(self.each - OPEN_LOTS, 0) // 2 * 2

    def side(self, n: int) -> Side:
        turn = n // len(self.instruments)
        return Side.SELL if turn % 2 and turn < self._paired else Side.BUY

    def price(self, n: int) -> int:
        """In 1/10,000 USD."""
        if self.side(n) == Side.SELL:
            return self.price(n - len(self.instruments)) + 2 * CENT
        return 100 * PRICE_UNIT + n // len(self.instruments) % 100 * 100

    def fee(self, n: int) -> int:
        """In 1/10,000 USD."""
        return CENT if self.side(n) == Side.SELL else 0

    def open_lots(self, place: int) -> list[int]:
        """The numbers of the fills of an instrument that still stand as lots."""
        turns = range(self._paired, self.each)
        return [turn * len(self.instruments) + place for turn in turns]

    @property
    def realized_each(self) -> int:
        return self._paired // 2 * CENT


def trade_a_lot(
    account: Account, instruments: Sequence[Instrument], fills: int, at: datetime
) -> None:
    """Give a fresh account this many fills, one a millisecond from `at` on."""
    trades = Trades(instruments, fills)
    first_id = Order.objects.count() + 1
    _insert(_order(account, instruments[0], at), _orders(trades, account, first_id, at))
    _insert(_fill(account, instruments[0], at), _fills(trades, account, first_id, at))
    begun = account.transaction_sequence + 1
    _insert(_posting(account, at), _postings(trades, account, begun, at))
    _settle(trades, account, at)


def execution_id(account: Account, n: int) -> UUID:
    return UUID(int=account.pk << 64 | n)


# --- rows -----------------------------------------------------------------------------------------


def _orders(trades: Trades, account: Account, first_id: int, at: datetime) -> Iterator[Any]:
    for n in range(trades.fills):
        price, stamp = trades.price(n), _stamp(at, n)
        yield {
            "id": first_id + n,
            "public_id": execution_id(account, n).hex,
            "client_order_id": f"n-{n}",
            "instrument_id": trades.instruments[n % len(trades.instruments)].pk,
            "side": trades.side(n).value,
            "filled_cash": price,
            "filled_avg_price": price * 10**5,
            "submitted_at": stamp,
            "updated_at": stamp,
            "filled_at": stamp,
        }


def _fills(trades: Trades, account: Account, first_id: int, at: datetime) -> Iterator[Any]:
    for n in range(trades.fills):
        price = trades.price(n)
        yield {
            "id": first_id + n,
            "execution_id": execution_id(account, n).hex,
            "order_id": first_id + n,
            "instrument_id": trades.instruments[n % len(trades.instruments)].pk,
            "side": trades.side(n).value,
            "price": price,
            "cash": price,
            "fee": trades.fee(n),
            "fee_pack": "us" if trades.fee(n) else "",
            "at": _stamp(at, n),
        }


def _postings(trades: Trades, account: Account, begun: int, at: datetime) -> Iterator[Any]:
    for n in range(trades.fills):
        common = {
            "transaction": begun + n,
            "reference": str(execution_id(account, n)),
            "at": _stamp(at, n),
        }
        cash, shares = (Ledger.CASH, Ledger.STREET), (Ledger.STREET, Ledger.SHARES)
        if trades.side(n) == Side.SELL:
            cash, shares = cash[::-1], shares[::-1]
        instrument_id = trades.instruments[n % len(trades.instruments)].pk
        yield common | _move(1, None, cash, trades.price(n))
        yield common | _move(2, instrument_id, shares, QUANTITY_UNIT)
        if fee := trades.fee(n):
            yield common | _move(3, None, (Ledger.CASH, Ledger.FEES), fee)


def _move(n: int, instrument_id: int | None, way: tuple[Ledger, ...], amount: int) -> Any:
    source, target = (ledger.value for ledger in way)
    return {
        "n": n, "instrument_id": instrument_id, "source": source, "target": target,
        "amount": amount,
    }  # fmt: skip


def _stamp(at: datetime, n: int) -> str:
    return (at + n * STEP).strftime("%Y-%m-%d %H:%M:%S.%f")


def _order(account: Account, instrument: Instrument, at: datetime) -> Order:
    return Order(
        account=account, instrument=instrument, side=Side.BUY, type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY, quantity=Decimal(1), status=OrderStatus.FILLED,
        filled_quantity=Decimal(1), fill_count=1, submitted_at=at, updated_at=at, recorded_at=at,
    )  # fmt: skip


def _fill(account: Account, instrument: Instrument, at: datetime) -> Fill:
    return Fill(
        account=account, instrument=instrument, order_id=0, number=1, side=Side.BUY,
        quantity=Decimal(1), price=Decimal(1), cash=Decimal(1), position_quantity=Decimal(1),
        cumulative_quantity=Decimal(1), leaves_quantity=Decimal(0), at=at, recorded_at=at,
        execution_id=UUID(int=0), bid=Decimal(1), bid_size=1, ask=Decimal(1), ask_size=1,
        taken_before=Decimal(0), quote_sequence=1, quote_epoch=1, quote_at=at,
        quote_received_at=at, resolution="tick", model="nbbo", model_version=1,
    )  # fmt: skip


def _posting(account: Account, at: datetime) -> Posting:
    return Posting(account=account, kind=PostingKind.TRADE, at=at, recorded_at=at)


# --- books ----------------------------------------------------------------------------------------


def _settle(trades: Trades, account: Account, at: datetime) -> None:
    """Positions, lots and the account's cash, as the fills leave them."""
    flow = sum(_signed(trades, n) for n in range(trades.fills))
    account.cash += from_units(flow, CASH_PLACES)
    account.transaction_sequence += trades.fills
    assert account.day_on is not None, "its deposit began the day"
    with transaction.atomic():
        account.save(update_fields=BOOK_FIELDS)
        for place, instrument in enumerate(trades.instruments):
            lots = [_lot(trades, account, n, at) for n in trades.open_lots(place)]
            Lot.objects.bulk_create(lots)
            _position(trades, account, instrument, lots, at).save()
            PositionDay.objects.create(
                account=account, instrument=instrument, on=account.day_on, open_quantity=Decimal(0)
            )


def _signed(trades: Trades, n: int) -> int:
    price = trades.price(n)
    return price - trades.fee(n) if trades.side(n) == Side.SELL else -price


def _lot(trades: Trades, account: Account, n: int, at: datetime) -> Lot:
    price = from_units(trades.price(n), CASH_PLACES)
    return Lot(
        account=account,
        instrument=trades.instruments[n % len(trades.instruments)],
        execution_id=execution_id(account, n),
        price=price,
        quantity_opened=Decimal(1),
        quantity_left=Decimal(1),
        cost_left=price,
        opened_at=at + n * STEP,
        opened_on=account.day_on,
    )


def _position(
    trades: Trades, account: Account, instrument: Instrument, lots: list[Lot], at: datetime
) -> Position:
    cost = sum((lot.cost_left for lot in lots), Decimal(0))
    realized = from_units(trades.realized_each, CASH_PLACES)
    return Position(
        account=account,
        instrument=instrument,
        quantity=Decimal(len(lots)),
        cost_basis=cost,
        realized=realized,
        day_on=account.day_on,
        day_flow=realized - cost,
        day_opened_quantity=Decimal(len(lots)),
        day_opened_cost=cost,
        updated_at=at + trades.fills * STEP,
    )


# --- writing --------------------------------------------------------------------------------------


def _insert(template: models.Model, rows: Iterator[dict[str, Any]]) -> None:
    """Insert rows that differ from the template in the columns named, as the database has them."""
    first = next(rows)
    fields: list[Any] = [
        field
        for field in template._meta.concrete_fields
        if not field.primary_key or field.attname in first
    ]
    common = {
        field.attname: field.get_db_prep_save(getattr(template, field.attname), connection)
        for field in fields
        if field.attname not in first
    }
    remaining = (common | row for row in _chained(first, rows))
    names = [field.attname for field in fields]
    columns = ", ".join(connection.ops.quote_name(field.column) for field in fields)
    table = connection.ops.quote_name(template._meta.db_table)
    while some := list(islice(remaining, ROWS_PER_TRANSACTION)):
        with transaction.atomic():
            for start in range(0, len(some), ROWS_PER_STATEMENT):
                _insert_some(table, columns, names, some[start : start + ROWS_PER_STATEMENT])


def _insert_some(table: str, columns: str, names: list[str], rows: list[dict[str, Any]]) -> None:
    places = f"({', '.join(['%s'] * len(names))})"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({columns}) VALUES {', '.join([places] * len(rows))}",
            [row[name] for row in rows for name in names],
        )


def _chained(first: dict[str, Any], rest: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield first
    yield from rest

"""Proof that orders agree with holds, fills with orders, and postings with fills.

Checks for `portfolios.reconcile`, which settings name there.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from django.db.models import Count, Max, Q, Sum

from portfolios.models import Account, Ledger, Position, Posting, PostingKind
from portfolios.reconcile import Check, Compared
from quotes.amounts import CASH_PLACES, QUANTITY_PLACES, to_units
from trading import states
from trading.holds import Hold
from trading.legs import hold_of
from trading.models import PAIRS, Fill, Leg, Order, OrderStatus, Side

ZERO = Decimal(0)
CHUNK = 2_000


def holds_agree(account: Account) -> Iterator[Compared]:
    """Each order holds what it has left to do, and account and positions the sums of them."""
    cash = ZERO
    shares: dict[int, Decimal] = {}
    for order in Order.objects.filter(account_id=account.pk).iterator(chunk_size=CHUNK):
        expected = hold_of(order)
        held = Hold(order.hold_cash, order.hold_quantity)
        yield Compared(
            "an order holds what it has left to do", _name(account, order), expected, held
        )
        cash += order.hold_cash
        if order.hold_quantity:
            shares[order.instrument_id] = shares.get(order.instrument_id, ZERO) + held.quantity
    subject = f"account {account.number}"
    yield Compared("account holds equal its open orders", subject, cash, account.hold_cash)
    for position in Position.objects.filter(account_id=account.pk).select_related("instrument"):
        yield Compared(
            "position holds equal its open orders",
            f"{subject}, {position.instrument.symbol}",
            shares.pop(position.instrument_id, ZERO),
            position.hold_quantity,
        )
    yield Compared("shares are held on positions", subject, {}, shares)


def exits_agree(account: Account) -> Iterator[Compared]:
    """Of a pair of exits both or none are open, and both have the same left to do."""
    stops = Order.objects.filter(
        account_id=account.pk,
        leg=Leg.STOP_LOSS,
        order_class__in=sorted(PAIRS),
        status__in=sorted(states.OPEN),
    )
    for stop in stops.iterator(chunk_size=CHUNK):
        pair = Order.objects.filter(Q(parent_id=stop.parent_id) | Q(pk=stop.parent_id))
        pair = pair.filter(leg=Leg.TAKE_PROFIT, status__in=sorted(states.OPEN))
        left = [one.quantity - one.filled_quantity for one in pair if one.quantity is not None]
        assert stop.quantity is not None
        yield Compared(
            "exits of a pair have the same left to do",
            _name(account, stop),
            [stop.quantity - stop.filled_quantity],
            left,
        )


def fills_agree_with_orders(account: Account) -> Iterator[Compared]:
    """What an order says of its fills is what its fills add up to."""
    rows = Fill.objects.filter(account_id=account.pk).values("order_id")
    sums = {
        row["order_id"]: (row["quantity"], row["cash"], row["fills"], row["last"])
        for row in rows.annotate(
            quantity=Sum("quantity"), cash=Sum("cash"), fills=Count("id"), last=Max("number")
        ).order_by()
    }
    for order in Order.objects.filter(account_id=account.pk).iterator(chunk_size=CHUNK):
        quantity, cash, fills, last = sums.get(order.pk, (ZERO, ZERO, 0, 0))
        yield Compared(
            "an order has filled what its fills add up to",
            _name(account, order),
            (quantity, cash, fills, last),
            (order.filled_quantity, order.filled_cash, order.fill_count, order.fill_count),
        )
        if order.quantity is not None:
            yield Compared(
                "an order is filled when all of it is",
                _name(account, order),
                order.filled_quantity == order.quantity,
                order.status == OrderStatus.FILLED,
            )


def fills_agree_with_postings(account: Account) -> Iterator[Compared]:
    """Every fill is one transaction of the ledger, of its cash, shares and fee; and none else."""
    posted: dict[str, list[tuple[object, ...]]] = {}
    rows = Posting.objects.filter(account_id=account.pk, kind=PostingKind.TRADE)
    for row in rows.order_by("transaction", "n").iterator(chunk_size=CHUNK):
        moved = (row.instrument_id, row.source, row.target, row.amount)
        posted.setdefault(row.reference, []).append(moved)
    for fill in Fill.objects.filter(account_id=account.pk).iterator(chunk_size=CHUNK):
        reference = str(fill.execution_id)
        yield Compared(
            "a fill is posted once, with its cash, shares and fee",
            f"account {account.number}, execution {reference}",
            _moves(fill),
            posted.pop(reference, []),
        )
    yield Compared(
        "every trade in the ledger has its fill", f"account {account.number}", [], sorted(posted)
    )


def _moves(fill: Fill) -> list[tuple[object, ...]]:
    cash = to_units(fill.cash, CASH_PLACES)
    quantity = to_units(fill.quantity, QUANTITY_PLACES)
    moves: list[tuple[object, ...]]
    if fill.side == Side.BUY:
        moves = [
            (None, Ledger.CASH, Ledger.STREET, cash),
            (fill.instrument_id, Ledger.STREET, Ledger.SHARES, quantity),
        ]
    else:
        moves = [
            (None, Ledger.STREET, Ledger.CASH, cash),
            (fill.instrument_id, Ledger.SHARES, Ledger.STREET, quantity),
        ]
    if fill.fee:
        moves.append((None, Ledger.CASH, Ledger.FEES, to_units(fill.fee, CASH_PLACES)))
    return moves


def _name(account: Account, order: Order) -> str:
    return f"account {account.number}, order {order.public_id}"


CHECKS: tuple[Check, ...] = (
    holds_agree,
    exits_agree,
    fills_agree_with_orders,
    fills_agree_with_postings,
)

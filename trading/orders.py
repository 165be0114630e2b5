"""What can be done with an order: submit it, cancel it, let it expire.

Each use case is one transaction in five beats: lock, check, change, record, announce. Fills are
settled by `trading.execution.settlement`; nothing else writes orders.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import transaction

from events.bulk import insert_row, new_row, one_trip, update_rows
from events.errors import OpenbellError, Refused
from events.transactions import retried
from portfolios import ledger, positions
from portfolios.borrowing import OwnMarks, with_marks
from portfolios.locks import lock_account
from portfolios.models import BOOK_FIELDS, Account
from quotes import latest
from quotes.clock import market_clock
from quotes.latest import Latest
from quotes.models import Instrument
from quotes.queries import Listed
from trading import client_ids, states, updates
from trading.ending import end
from trading.errors import OrderFinished, OrderForced
from trading.execution.matching import Waiting
from trading.judging import account_view, find_listed, judge, margin_for
from trading.legs import legs_of
from trading.locks import lock_account_for, lock_order, lock_orders, turn
from trading.market import view_of
from trading.models import Leg, Order, OrderClass, OrderStatus, TimeInForce
from trading.refusals import record_refusal
from trading.request import OrderRequest
from trading.request_rules import check_request
from trading.risk import Assessment, MarketView
from trading.sessions import expiry

TICK = timedelta(microseconds=1)
SLICE = (
    100  # orders that one transaction cancels or expires: writers of SQLite queue for each other
)

EXPIRED = "its time was up"


def submit(*, account_id: int, request: OrderRequest, actor: str) -> Order:
    """Accept an order: it is durable, and what it may cost is held, when this returns.

    A refusal stores no order and leaves the client's id free; it is recorded as an event of its
    own. Raises what `check_request` and `risk.assess` raise, DuplicateClientOrderId,
    AccountNotFound, AccountBusy, Unavailable.
    """
    try:
        check_request(request)
        listed = find_listed(request.symbol)
        known = latest.get(listed.symbol)
        with turn(account_id), client_ids.unique(account_id, request.client_order_id):
            return with_marks(
                account_id, partial(_submit, account_id, request, listed, known, actor)
            )
    except Refused as refusal:
        record_refusal(account_id, request.summary(), refusal, actor)
        raise


@retried
@transaction.atomic(durable=True)
def _submit(
    account_id: int,
    request: OrderRequest,
    listed: Listed,
    known: Latest,
    actor: str,
    marks: OwnMarks | None,
) -> Order:
    account, position, instrument, splits = lock_account_for(account_id, listed)
    margin = margin_for(account, marks)
    market = view_of(
        instrument,
        splits,
        known,
        extended_hours=request.extended_hours,
        time_in_force=request.time_in_force,
    )

    assessment = judge(request, account_view(account, position, margin), instrument, market)

    order = accepted_order(account, instrument, request, assessment)
    order.reason = waits_for(order, market)
    ledger.hold(
        account,
        position,
        order,
        cash=assessment.hold.cash,
        quantity=assessment.hold.quantity,
    )
    with one_trip() as trip:
        insert_row(order)
        if request.order_class != OrderClass.SIMPLE:
            trip.send()  # its legs name it
        legs = _save_legs(account, order, request)
        if position is not None:
            positions.save_positions([position])

        events = [
            updates.draft(
                str(one.status), one, account, instrument, at=one.submitted_at, actor=actor
            )
            for one in (order, *legs)
        ]
        update_rows([account], [*BOOK_FIELDS, "last_order_at"])

        updates.record(events, order)
    order.nested_legs = legs
    return order


def cancel(*, account_id: int, order_id: UUID, actor: str, even_forced: bool = False) -> Order:
    """Cancel what is left of an open order and free what it held.

    With `even_forced` also one that the floor placed to close a position by force. Raises
    AccountNotFound, OrderNotFound, OrderFinished, OrderForced, AccountBusy, Unavailable.
    """
    with turn(account_id):
        return _cancel(account_id, order_id, actor, even_forced)


@retried
@transaction.atomic(durable=True)
def _cancel(account_id: int, order_id: UUID, actor: str, even_forced: bool) -> Order:
    account = lock_account(account_id)
    order = lock_order(account, order_id)

    if order.status not in states.CANCELABLE:
        raise OrderFinished(order.status)
    if order.is_forced and not even_forced:
        raise OrderForced(order.public_id)

    end(account, [order], OrderStatus.CANCELED, at=market_clock().now(), actor=actor)
    return order


def cancel_all(
    *, account_id: int, actor: str, even_forced: bool = False
) -> list[tuple[Order, OpenbellError | None]]:
    """Cancel every order that was open at the call, oldest first.

    Each comes back with None, or with the error that kept it from being canceled: OrderForced of
    those that close a position by force, unless `even_forced`. Raises AccountNotFound, AccountBusy,
    Unavailable.
    """
    with turn(account_id):
        open_orders = Order.objects.filter(account_id=account_id, status__in=states.OPEN)
        pks = list(open_orders.order_by("pk").values_list("pk", flat=True))
        return [
            outcome
            for start in range(0, len(pks), SLICE)
            for outcome in _cancel_slice(account_id, pks[start : start + SLICE], actor, even_forced)
        ]


@retried
@transaction.atomic(durable=True)
def _cancel_slice(
    account_id: int, pks: Sequence[int], actor: str, even_forced: bool
) -> list[tuple[Order, OpenbellError | None]]:
    account = lock_account(account_id)
    orders = lock_orders(pks)

    outcomes = [(order, _what_keeps(order, even_forced)) for order in orders.values()]
    ending = [
        order for order, kept in outcomes if kept is None and order.status in states.CANCELABLE
    ]

    end(account, ending, OrderStatus.CANCELED, at=market_clock().now(), actor=actor)
    return outcomes


def _what_keeps(order: Order, even_forced: bool) -> OpenbellError | None:
    """Why one of all orders is not canceled; a leg may have been, with its parent just before."""
    if order.status not in states.CANCELABLE:
        return None if order.status == OrderStatus.CANCELED else OrderFinished(order.status)
    return OrderForced(order.public_id) if order.is_forced and not even_forced else None


def expire_due(
    now: datetime,
    instrument_ids: Iterable[int] | None = None,
    between: Callable[[], None] = lambda: None,
) -> list[Order]:
    """Expire every open order whose time was up at that market time, the earliest first.

    One transaction for each account; `between` is called before each, for there may be many.
    """
    due = Order.objects.filter(status__in=states.OPEN, expires_at__lte=now)
    if instrument_ids is not None:
        due = due.filter(instrument_id__in=list(instrument_ids))
    expired: list[Order] = []
    while rows := list(due.order_by("expires_at", "pk").values_list("account_id", "pk")[:SLICE]):
        by_account: dict[int, list[int]] = {}
        for account_id, pk in rows:
            by_account.setdefault(account_id, []).append(pk)
        for account_id, pks in by_account.items():
            between()
            expired += _expire(account_id, pks, now)
    return expired


@retried
@transaction.atomic(durable=True)
def _expire(account_id: int, pks: Sequence[int], now: datetime) -> list[Order]:
    account = lock_account(account_id)
    orders = lock_orders(pks)

    due = [
        order
        for order in orders.values()
        if order.status in states.OPEN and order.expires_at is not None and order.expires_at <= now
    ]
    due.sort(key=_expires_at)
    end(account, due, OrderStatus.EXPIRED, at=None, actor="engine", reason=EXPIRED)
    return due


def _expires_at(order: Order) -> datetime:
    assert order.expires_at is not None
    return order.expires_at


def _save_legs(account: Account, order: Order, request: OrderRequest) -> list[Order]:
    """Store the legs that the order has; the account's last order is the last of them."""
    legs = legs_of(order, request)
    for leg in legs:
        insert_row(leg)
        account.last_order_at = leg.submitted_at
    return legs


def accepted_order(
    account: Account, instrument: Instrument, request: OrderRequest, assessment: Assessment
) -> Order:
    """The order as it is stored; its market time is later than that of the account's last one."""
    clock = market_clock()
    at = clock.now()
    if account.last_order_at is not None:
        at = max(at, account.last_order_at + TICK)
    account.last_order_at = at
    order = new_row(
        Order,
        account_id=account.pk,
        instrument_id=instrument.pk,
        client_order_id=request.client_order_id or str(uuid.uuid4()),
        side=request.side,
        type=request.type,
        time_in_force=request.time_in_force,
        order_class=request.order_class,
        leg=Leg.TAKE_PROFIT if request.order_class == OrderClass.OCO else "",
        extended_hours=request.extended_hours,
        is_forced=request.is_forced,
        quantity=request.quantity,
        notional=request.notional,
        limit_price=request.limit_price,
        stop_price=assessment.stop_price or request.stop_price,
        trail_price=request.trail_price,
        trail_percent=request.trail_percent,
        hwm=assessment.hwm,
        collar_price=assessment.collar_price,
        lot_method=request.lot_method or account.lot_method,
        lot_ids=list(request.lots) or None,
        intent=assessment.intent,
        margin_rate=assessment.margin_rate,
        hold_price=assessment.hold_price,
        status=OrderStatus.ACCEPTED,
        submitted_at=at,
        updated_at=at,
        expires_at=expiry(
            clock.calendar, at, request.time_in_force, extended_hours=request.extended_hours
        ),
        recorded_at=datetime.now(UTC),
    )
    order.account, order.instrument = account, instrument
    return order


def waits_for(order: Order, market: MarketView) -> str:
    """Why a new order cannot trade at once; "" where it can."""
    if order.time_in_force == TimeInForce.OPG:
        return Waiting.OPENING
    if order.time_in_force == TimeInForce.CLS:
        return Waiting.CLOSING
    return "" if market.is_open else Waiting.CLOSED

"""Replacing an order: a new one takes its place, with other terms for what is left to do.

The old order ends as `replaced` in the transaction that accepts the new one, so there is no moment
with both or neither. The new order has its own id and its own place in line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from functools import partial
from uuid import UUID

from django.db import transaction

from events.bulk import insert_row, update_rows
from events.errors import Refused
from events.transactions import retried
from portfolios import ledger, positions
from portfolios.borrowing import OwnMarks, with_marks
from portfolios.locks import lock_account
from portfolios.models import BOOK_FIELDS
from quotes.amounts import PRICE_PLACES, plain, to_units
from quotes.clock import market_clock
from quotes.models import Instrument
from trading import client_ids, queries, states, updates
from trading.errors import InvalidOrder, OrderFinished, OrderForced, OrderRuleBroken
from trading.holds import Hold
from trading.judging import account_view, judge, margin_for
from trading.legs import ENTRY, is_complex, is_holding, stop_collar
from trading.locks import lock_order, lock_relatives, turn
from trading.market import market_view
from trading.models import Intent, Leg, Order, OrderStatus, OrderType, Side, TimeInForce
from trading.order_classes import check_exit_prices
from trading.orders import accepted_order, waits_for
from trading.refusals import record_refusal
from trading.request import OrderRequest
from trading.request_rules import PRICES, check_client_order_id, check_quantity, check_request
from trading.risk import AccountView, Assessment, MarketView, assess

ZERO = Decimal(0)

# The columns of an order that being replaced changes.
REPLACED_FIELDS = (
    "status",
    "reason",
    "updated_at",
    "replaced_at",
    "replaced_by",
    "hold_cash",
    "hold_quantity",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The terms that a client wants otherwise; None leaves a term as it is.

    `quantity` is of the whole order: what has been filled already counts in it. `trail` is in USD
    or in percent, as the order's own.
    """

    quantity: Decimal | None = None
    time_in_force: TimeInForce | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    client_order_id: str = ""  # of the new order; empty: one is generated

    def summary(self) -> dict[str, str]:
        """What was asked for, as the event of a refusal keeps it."""
        asked = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: str(value) for name, value in asked if value not in (None, "")}


def replace_order(*, account_id: int, order_id: UUID, changes: Changes, actor: str) -> Order:
    """Put a new order in the place of one that works; returns the new one.

    Its quantity is what is asked for less what has been filled. A refusal changes nothing, and is
    recorded as an event. Raises OrderNotFound, OrderFinished, OrderForced, what `check_request` and
    `risk.assess` raise, DuplicateClientOrderId, AccountBusy, Unavailable.
    """
    known = queries.get_order(account_id, order_id)
    try:
        check_client_order_id(changes.client_order_id)
        market = market_view(
            known.instrument,
            extended_hours=known.extended_hours,
            time_in_force=changes.time_in_force or known.time_in_force,
        )
        with turn(account_id), client_ids.unique(account_id, changes.client_order_id):
            return with_marks(
                account_id, partial(_replace, account_id, known, changes, market, actor)
            )
    except Refused as refusal:
        asked = {"replaces": str(order_id), **changes.summary()}
        record_refusal(account_id, asked, refusal, actor, order_id)
        raise


@retried
@transaction.atomic(durable=True)
def _replace(
    account_id: int,
    known: Order,
    changes: Changes,
    market: MarketView,
    actor: str,
    marks: OwnMarks | None,
) -> Order:
    instrument = known.instrument
    account = lock_account(account_id)
    margin = margin_for(account, marks)
    old = lock_order(account, known.public_id)
    key = (account.pk, instrument.pk)
    position = positions.load_positions([key]).get(key)

    _check_replaceable(old)
    request = _request(old, changes, instrument.symbol)
    check_request(request)
    family = [old, *lock_relatives([old])]
    _check_family(family, changes, request)
    others = _without(family, account_view(account, position, margin))
    assessment = _judged(request, old, others, instrument, _market_of(old, market))

    order = accepted_order(account, instrument, request, assessment)
    order.reason = waits_for(order, market)
    _inherit(order, old)
    states.transition(old, OrderStatus.REPLACED, order.submitted_at)
    ledger.release(account, position, old)
    hold = assessment.hold if is_holding(order) else Hold()
    ledger.hold(account, position, order, cash=hold.cash, quantity=hold.quantity)
    insert_row(order)
    _adopt(order, old)
    update_rows([old], REPLACED_FIELDS)
    if position is not None:
        positions.save_positions([position])

    at, name = order.submitted_at, str(order.status)
    events = [
        updates.draft("replaced", old, account, instrument, at=old.updated_at, actor=actor),
        updates.draft(name, order, account, instrument, at=at, actor=actor),
    ]
    update_rows([account], [*BOOK_FIELDS, "last_order_at"])

    updates.record(events, old, order)
    return order


def _check_replaceable(order: Order) -> None:
    """It works, and something of it can be changed by its owner.

    Raises OrderFinished, OrderForced, OrderRuleBroken.
    """
    if order.status in states.TERMINAL:
        raise OrderFinished(order.status)
    if order.is_forced:
        raise OrderForced(order.public_id)
    if order.status not in states.REPLACEABLE:
        raise OrderRuleBroken(
            f'order is in "{order.status}" state and cannot be replaced', status=order.status
        )
    if order.expires_at is not None and order.expires_at <= market_clock().now():
        raise OrderFinished(OrderStatus.EXPIRED)
    if order.quantity is None:
        raise OrderRuleBroken("orders by amount cannot be replaced")


def _request(order: Order, changes: Changes, symbol: str) -> OrderRequest:
    """The ticket of the new order. Raises InvalidOrder, OrderRuleBroken."""
    prices = _prices(order, changes)
    request = OrderRequest(
        symbol=symbol,
        side=Side(order.side),
        type=OrderType(order.type),
        time_in_force=changes.time_in_force or TimeInForce(order.time_in_force),
        quantity=_quantity_left(order, changes.quantity),
        limit_price=prices["limit_price"],
        stop_price=prices["stop_price"],
        trail_price=prices["trail_price"],
        trail_percent=prices["trail_percent"],
        client_order_id=changes.client_order_id,
        extended_hours=order.extended_hours,
    )
    same = request.time_in_force == order.time_in_force and changes.quantity in (
        None,
        order.quantity,
    )
    if same and prices == _prices(order, Changes()):
        raise OrderRuleBroken("order parameters are not changed")
    return request


def _quantity_left(order: Order, asked: Decimal | None) -> Decimal:
    assert order.quantity is not None
    if asked is not None:
        check_quantity(asked)
    whole = order.quantity if asked is None else asked
    left = whole - order.filled_quantity
    if left <= 0:
        raise OrderRuleBroken(
            f"nothing is left to replace: {plain(order.filled_quantity)} of {plain(whole)} filled",
            filled_qty=plain(order.filled_quantity),
            qty=plain(whole),
        )
    return left


def _prices(order: Order, changes: Changes) -> dict[str, Decimal | None]:
    """The prices that the new order is made of; a trailing stop's own moves by itself."""
    prices: dict[str, Decimal | None] = {name: getattr(order, name) for name in PRICES}
    if order.type == OrderType.TRAILING_STOP:
        prices["stop_price"] = None
    if changes.limit_price is not None:
        prices["limit_price"] = changes.limit_price
    if order.triggered_at is not None and (changes.stop_price or changes.trail):
        raise OrderRuleBroken("its stop was triggered and cannot be changed any more")
    if changes.stop_price is not None:
        prices["stop_price"] = changes.stop_price
    if changes.trail is not None:
        if order.type != OrderType.TRAILING_STOP:
            raise InvalidOrder(f"{order.type} orders do not take trail")
        name = "trail_percent" if order.trail_price is None else "trail_price"
        prices[name] = changes.trail
    return prices


def _as_it_works(request: OrderRequest, order: Order) -> OrderRequest:
    """A stop that was triggered works as a limit or market order, and is judged as one."""
    if order.triggered_at is None:
        return request
    type_ = OrderType.MARKET if request.limit_price is None else OrderType.LIMIT
    return replace(request, type=type_, stop_price=None, trail_price=None, trail_percent=None)


def _check_family(family: Sequence[Order], changes: Changes, request: OrderRequest) -> None:
    """Of an order with relatives only prices change, and they go on lying on both sides."""
    old, *relatives = family
    if not is_complex(old):
        return
    if changes.quantity is not None or changes.time_in_force is not None:
        raise OrderRuleBroken(
            f"of {old.order_class} orders only limit_price and stop_price can be replaced"
        )
    limits: dict[str, Decimal | None] = {}
    stops: dict[str, Decimal | None] = {}
    for one in relatives:
        if one.status in states.OPEN:
            limits[one.leg], stops[one.leg] = one.limit_price, one.stop_price
    limits[old.leg], stops[old.leg] = request.limit_price, request.stop_price
    check_exit_prices(
        exits_buy=(old.side == Side.BUY) is bool(old.leg),
        take_profit=limits.get(Leg.TAKE_PROFIT),
        stop_loss=stops.get(Leg.STOP_LOSS),
        base=limits.get(ENTRY),
    )


def _judged(
    request: OrderRequest,
    old: Order,
    account: AccountView,
    instrument: Instrument,
    market: MarketView,
) -> Assessment:
    """Whether the account may have the new order. Raises what `judge` raises.

    Who belongs to a bracket, OCO or OTO may stand beside orders of the other side, as when it was
    placed. A leg that waits for its entry holds nothing, and is not judged before that.
    """
    if not is_complex(old):
        return judge(_as_it_works(request, old), account, instrument, market)
    client_ids.check_free(account.pk, request.client_order_id)
    if old.status != OrderStatus.HELD:
        return assess(_as_it_works(request, old), account, market)
    collar = stop_collar(request.is_buy, request.type, request.stop_price)
    return Assessment(Hold(), collar, intent=Intent(old.intent))


def _without(orders: Iterable[Order], view: AccountView) -> AccountView:
    """The account as if these orders held nothing."""
    cash = sum((order.hold_cash for order in orders), ZERO)
    quantity = sum((order.hold_quantity for order in orders), ZERO)
    margin = view.margin
    if margin is not None:
        margin = replace(margin, held=margin.held - cash)
    return replace(
        view,
        hold_cash=view.hold_cash - cash,
        margin=margin,
        held_quantity=view.held_quantity - quantity,
    )


def _market_of(order: Order, market: MarketView) -> MarketView:
    """The market, with the mark that a trailing stop has reached: it never steps back."""
    return market if order.hwm is None else replace(market, mark=to_units(order.hwm, PRICE_PLACES))


def _inherit(order: Order, old: Order) -> None:
    """What the new order has from the old one without being asked."""
    order.replaces = old
    order.order_class, order.leg = old.order_class, old.leg
    order.parent_id = old.parent_id
    order.lot_method, order.lot_ids = old.lot_method, old.lot_ids
    if is_complex(old):
        order.expires_at = old.expires_at  # a family ends as one
    if old.status == OrderStatus.HELD:
        order.status, order.reason = OrderStatus.HELD, old.reason
    if old.triggered_at is not None:
        order.triggered_at, order.stop_price, order.hwm = old.triggered_at, old.stop_price, old.hwm


def _adopt(order: Order, old: Order) -> None:
    """The stored new order takes over the links and the legs of the old one."""
    old.replaced_by = order
    if is_complex(old) and old.parent_id is None:
        Order.objects.filter(parent=old).update(parent=order)

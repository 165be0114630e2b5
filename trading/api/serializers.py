"""The shapes of requests about orders: types, ranges and enumerations, nothing else.

What the fields must be together is `trading.request_rules`' to say, whether the order is allowed
`trading.risk`'s. A number may be written as JSON number or string and is exact either way.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from events.errors import Invalid
from portfolios.models import LotMethod
from quotes.api.fields import CalendarDateField, InstantField, QuerySerializer, SymbolsField
from trading.errors import InvalidOrder, NotOffered
from trading.models import OrderClass, OrderType, Side, TimeInForce
from trading.queries import ACTIVITIES_MAX, ORDERS_DEFAULT, ORDERS_MAX
from trading.replacing import Changes
from trading.request import OrderRequest
from trading.request_rules import CLIENT_ORDER_ID_MAX, LOTS_MAX

NUMBER = re.compile(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,2})?", re.ASCII)
BIGGEST = 2**63 - 1  # that an id can be
OFFERED = frozenset(OrderClass)
MAGNITUDE_MAX = 30  # digits before or after the point: far beyond any bound, cheap to reckon with


@extend_schema_field(OpenApiTypes.DECIMAL)
class AmountField(serializers.Field):
    """A finite number, written as a JSON number or as a string; never a boolean."""

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, int | float | str | Decimal):
            raise serializers.ValidationError("must be a number")
        text = repr(data) if isinstance(data, float) else str(data)
        if not NUMBER.fullmatch(text):
            raise serializers.ValidationError("must be a number")
        amount = Decimal(text)
        if amount and abs(amount.adjusted()) > MAGNITUDE_MAX:
            raise serializers.ValidationError("is out of all proportion")
        return amount


class TakeProfit(serializers.Serializer):
    """The exit of a bracket, OCO or OTO that takes a profit."""

    limit_price = AmountField()


class StopLoss(serializers.Serializer):
    """The exit that bounds a loss."""

    stop_price = AmountField()
    limit_price = AmountField(
        required=False, allow_null=True, help_text="makes it a stop-limit order"
    )


class Body(serializers.Serializer):
    """A body that is read often, by `checked` alone: nothing is made or copied for a request."""

    @classmethod
    def checked(cls, data: Any) -> dict[str, Any]:
        """The values of a body. Raises ValidationError.

        What the body leaves out, and may leave out, is not looked at.
        """
        values, errors = {}, {}
        for name, field in _fields_of(cls).items():
            if name not in data and not field.required:
                continue
            try:
                values[name] = field.run_validation(data.get(name, serializers.empty))
            except serializers.ValidationError as error:
                errors[name] = error.detail
        if errors:
            raise serializers.ValidationError(errors)
        return values


@lru_cache
def _fields_of(body: type[Body]) -> dict[str, serializers.Field]:
    """Its fields, once for all requests: they keep nothing of what they read."""
    return dict(body().fields.items())


class OrderBody(Body):
    """The body of POST /v2/orders."""

    symbol = serializers.CharField(max_length=64, help_text="symbol or asset id")
    qty = AmountField(required=False, allow_null=True, help_text="shares; or else notional")
    notional = AmountField(required=False, allow_null=True, help_text="USD; or else qty")
    side = serializers.ChoiceField(Side.choices)
    type = serializers.ChoiceField(OrderType.choices)
    time_in_force = serializers.ChoiceField(TimeInForce.choices)
    limit_price = AmountField(required=False, allow_null=True)
    stop_price = AmountField(required=False, allow_null=True)
    trail_price = AmountField(required=False, allow_null=True)
    trail_percent = AmountField(required=False, allow_null=True)
    extended_hours = serializers.BooleanField(required=False, allow_null=True)
    client_order_id = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        trim_whitespace=False,
        max_length=CLIENT_ORDER_ID_MAX,
        help_text="any text, unique within the account; generated where absent",
    )
    order_class = serializers.ChoiceField(
        ["", *OrderClass.values, "mleg"], required=False, allow_null=True
    )
    lot_method = serializers.ChoiceField(
        LotMethod.choices,
        required=False,
        allow_null=True,
        help_text="which lots a closing fill relieves first; default: as the account has it",
    )
    lots = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=BIGGEST),
        required=False,
        allow_null=True,
        max_length=LOTS_MAX,
        help_text="ids of `GET /v2/positions/{symbol}/lots`, with lot_method specific: these are "
        "closed first, in this order, then the oldest",
    )
    take_profit = TakeProfit(required=False, allow_null=True)
    stop_loss = StopLoss(required=False, allow_null=True)


def _limit_price(data: dict[str, Any], order_class: str) -> Decimal | None:
    """The order's limit price; that of an OCO stands in its take_profit, or in both places."""
    price: Decimal | None = data.get("limit_price")
    take_profit = data.get("take_profit")
    if order_class != OrderClass.OCO or not take_profit:
        return price
    if price not in (None, take_profit["limit_price"]):
        raise InvalidOrder("limit_price and take_profit.limit_price of an oco order are the same")
    return take_profit["limit_price"]


class ReplaceBody(Body):
    """The body of PATCH /v2/orders/{id}; what is left out, or null, stays as it is."""

    qty = AmountField(
        required=False, allow_null=True, help_text="of the whole order, with what has been filled"
    )
    time_in_force = serializers.ChoiceField(TimeInForce.choices, required=False, allow_null=True)
    limit_price = AmountField(required=False, allow_null=True)
    stop_price = AmountField(required=False, allow_null=True)
    trail = AmountField(
        required=False, allow_null=True, help_text="of a trailing stop, in USD or percent as it was"
    )
    client_order_id = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        trim_whitespace=False,
        max_length=CLIENT_ORDER_ID_MAX,
        help_text="of the new order; generated where absent",
    )


class TradingQuery(QuerySerializer):
    """A query string of the trading API, where a wrong parameter is 422."""

    error = Invalid


class OrderListQuery(TradingQuery):
    status = serializers.ChoiceField(["open", "closed", "all"], default="open")
    limit = serializers.IntegerField(min_value=1, max_value=ORDERS_MAX, default=ORDERS_DEFAULT)
    after = InstantField(required=False, help_text="submitted later than this")
    until = InstantField(required=False, help_text="submitted earlier than this")
    direction = serializers.ChoiceField(["asc", "desc"], default="desc")
    nested = serializers.BooleanField(default=False, help_text="legs within their parent")
    side = serializers.ChoiceField(Side.choices, required=False)
    symbols = SymbolsField(required=False)
    after_order_id = serializers.UUIDField(required=False)
    before_order_id = serializers.UUIDField(required=False)


class NestedQuery(TradingQuery):
    nested = serializers.BooleanField(default=False, help_text="legs within their parent")


class ClientIdQuery(TradingQuery):
    client_order_id = serializers.CharField(trim_whitespace=False)
    nested = serializers.BooleanField(default=False, help_text="legs within their parent")


class CloseQuery(TradingQuery):
    qty = AmountField(required=False, help_text="shares; or else percentage")
    percentage = AmountField(required=False, help_text="of the position, above 0, at most 100")


class CloseAllQuery(TradingQuery):
    cancel_orders = serializers.BooleanField(default=False, help_text="open orders go first")


class ActivitiesQuery(TradingQuery):
    activity_types = serializers.CharField(required=False, help_text="FILL,DIV,…")
    category = serializers.ChoiceField(["trade_activity", "non_trade_activity"], required=False)
    date = CalendarDateField(required=False, help_text="one New York day")
    after = InstantField(required=False)
    until = InstantField(required=False)
    direction = serializers.ChoiceField(["asc", "desc"], default="desc")
    page_size = serializers.IntegerField(
        min_value=1, max_value=ACTIVITIES_MAX, default=ACTIVITIES_MAX
    )
    page_token = serializers.CharField(required=False, help_text="id of the last item seen")


def read_order_id(text: str) -> UUID:
    """The order id of a path. Raises Invalid where it is no UUID."""
    try:
        return UUID(text)
    except ValueError:
        raise Invalid("order_id is missing") from None


def read_changes(request: Request) -> Changes:
    """What a request's body wants otherwise of an order. Raises ValidationError."""
    data = ReplaceBody.checked(request.data)
    named = data.get("time_in_force")
    return Changes(
        quantity=data.get("qty"),
        time_in_force=TimeInForce(named) if named else None,
        limit_price=data.get("limit_price"),
        stop_price=data.get("stop_price"),
        trail=data.get("trail"),
        client_order_id=data.get("client_order_id") or "",
    )


def read_order(body: Any) -> OrderRequest:
    """The ticket in the data of a body. Raises ValidationError, InvalidOrder, NotOffered."""
    data = OrderBody.checked(body)
    order_class = data.get("order_class") or OrderClass.SIMPLE
    if order_class not in OFFERED:
        raise NotOffered(f"order class {order_class}")
    take_profit, stop_loss = data.get("take_profit") or {}, data.get("stop_loss") or {}
    return OrderRequest(
        symbol=data["symbol"],
        side=Side(data["side"]),
        type=OrderType(data["type"]),
        time_in_force=TimeInForce(data["time_in_force"]),
        quantity=data.get("qty"),
        notional=data.get("notional"),
        limit_price=_limit_price(data, order_class),
        stop_price=data.get("stop_price"),
        trail_price=data.get("trail_price"),
        trail_percent=data.get("trail_percent"),
        client_order_id=data.get("client_order_id") or "",
        extended_hours=bool(data.get("extended_hours")),
        order_class=OrderClass(order_class),
        lot_method=LotMethod(data["lot_method"]) if data.get("lot_method") else None,
        lots=tuple(data.get("lots") or ()),
        take_profit=take_profit.get("limit_price"),
        stop_loss=stop_loss.get("stop_price"),
        stop_loss_limit=stop_loss.get("limit_price"),
    )

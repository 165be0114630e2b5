"""The shapes of answers about orders, for the documentation."""

from __future__ import annotations

from rest_framework import serializers

from portfolios.models import LotMethod
from trading.models import Intent, OrderStatus, OrderType, Side, TimeInForce


class Amount(serializers.CharField):
    """A decimal number as a string, in plain notation."""


class Order(serializers.Serializer):
    id = serializers.UUIDField()
    client_order_id = serializers.CharField()
    created_at = serializers.DateTimeField(help_text="market time, as every instant here")
    updated_at = serializers.DateTimeField()
    submitted_at = serializers.DateTimeField()
    filled_at = serializers.DateTimeField(allow_null=True)
    expired_at = serializers.DateTimeField(allow_null=True)
    canceled_at = serializers.DateTimeField(allow_null=True)
    failed_at = serializers.DateTimeField(allow_null=True)
    replaced_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    replaced_by = serializers.UUIDField(allow_null=True)
    replaces = serializers.UUIDField(allow_null=True)
    asset_id = serializers.UUIDField()
    symbol = serializers.CharField()
    asset_class = serializers.CharField()
    notional = Amount(allow_null=True, help_text="USD, of an order by amount")
    qty = Amount(allow_null=True, help_text="null for an order by amount")
    filled_qty = Amount()
    filled_avg_price = Amount(allow_null=True, help_text="volume-weighted")
    order_class = serializers.CharField()
    order_type = serializers.ChoiceField(OrderType.choices)
    type = serializers.ChoiceField(OrderType.choices)
    side = serializers.ChoiceField(Side.choices)
    position_intent = serializers.ChoiceField(Intent.choices)
    time_in_force = serializers.ChoiceField(TimeInForce.choices)
    limit_price = Amount(allow_null=True)
    stop_price = Amount(allow_null=True)
    trail_percent = Amount(allow_null=True)
    trail_price = Amount(allow_null=True)
    hwm = Amount(allow_null=True)
    status = serializers.ChoiceField(OrderStatus.choices)
    extended_hours = serializers.BooleanField()
    legs = serializers.ListField(
        child=serializers.DictField(),
        allow_null=True,
        help_text="the exits of a bracket, OCO or OTO: orders like this one; null unless nested",
    )
    subtag = serializers.CharField(allow_null=True)
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    reason = serializers.CharField(
        allow_null=True, help_text="why it waits, or why it ended; beyond Alpaca's object"
    )
    lot_method = serializers.ChoiceField(
        LotMethod.choices, help_text="which lots a closing fill relieves first"
    )
    lots = serializers.ListField(
        child=serializers.CharField(), allow_null=True, help_text="ids of lots closed before others"
    )


class Preview(serializers.Serializer):
    symbol = serializers.CharField()
    side = serializers.ChoiceField(Side.choices)
    qty = Amount(allow_null=True)
    notional = Amount(allow_null=True)
    position_intent = serializers.ChoiceField(Intent.choices, allow_null=True)
    status = serializers.ChoiceField(["accepted", "refused"])
    price = Amount(allow_null=True, help_text="its limit or stop, else what it would meet")
    cost = Amount(allow_null=True, help_text="its worth at that price")
    fees = Amount(allow_null=True, help_text="if it were executed at that price in one piece")
    collar_price = Amount(allow_null=True, help_text="the worst price of a market order")
    initial_margin = Amount(allow_null=True, help_text="what it would hold of the equity")
    qty_held = Amount(allow_null=True, help_text="the shares it would hold, where it closes")
    buying_power = Amount(help_text="before it")
    buying_power_after = Amount(help_text="while it is open")
    refusal = serializers.DictField(
        allow_null=True, help_text="the error that the order would get, with its numbers"
    )


class CanceledOrder(serializers.Serializer):
    id = serializers.UUIDField()
    status = serializers.IntegerField(help_text="HTTP status of this order's cancel")
    body = serializers.DictField(required=False, help_text="the error, where there is one")


class ClosedPosition(serializers.Serializer):
    symbol = serializers.CharField()
    status = serializers.IntegerField(help_text="HTTP status of this position's order")
    body = serializers.DictField(help_text="the order, or the error")


class Activity(serializers.Serializer):
    id = serializers.CharField()
    account_id = serializers.UUIDField()
    activity_type = serializers.CharField()
    transaction_time = serializers.DateTimeField()
    type = serializers.ChoiceField(["fill", "partial_fill"])
    price = Amount()
    qty = Amount()
    cum_qty = Amount()
    leaves_qty = Amount()
    side = serializers.ChoiceField(Side.choices)
    symbol = serializers.CharField()
    order_id = serializers.UUIDField()
    order_status = serializers.ChoiceField(OrderStatus.choices)


class NonTradeActivity(serializers.Serializer):
    id = serializers.CharField()
    account_id = serializers.UUIDField()
    activity_type = serializers.CharField(
        help_text="CSD a deposit, CSW a withdrawal, JNLC a transfer, FEE what a sale was charged,"
        " DIV a dividend, SPLIT"
    )
    date = serializers.DateField(help_text="the trade date it counts to")
    net_amount = Amount(help_text="what it did to cash")
    description = serializers.CharField()
    status = serializers.CharField()
    symbol = serializers.CharField(required=False, help_text="of FEE, DIV and SPLIT")
    qty = serializers.CharField(
        required=False,
        help_text="FEE: the shares sold; DIV: those it was paid on; SPLIT: those it added",
    )
    order_id = serializers.UUIDField(required=False, help_text="of FEE")  # beyond Alpaca's
    per_share_amount = serializers.CharField(required=False, help_text="of DIV, in USD")

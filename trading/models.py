"""Orders and their fills."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import F, Q

from events.fields import ExactTextField
from portfolios.margin import RATE_PLACES
from portfolios.models import Account, LotMethod
from quotes.amounts import ScaledField, cash_field, price_field, quantity_field
from quotes.models import Instrument
from quotes.ticks import CLOSE, OPEN

AVERAGE_PLACES = 9
TRAIL_PERCENT_PLACES = 4


def average_field(**kwargs: Any) -> ScaledField:
    """An average price in USD per share, finer than a price."""
    return ScaledField(places=AVERAGE_PLACES, **kwargs)


def percent_field(**kwargs: Any) -> ScaledField:
    """A percentage."""
    return ScaledField(places=TRAIL_PERCENT_PLACES, **kwargs)


def rate_field(**kwargs: Any) -> ScaledField:
    """A part of something, 1 being all of it."""
    return ScaledField(places=RATE_PLACES, **kwargs)


class Side(models.TextChoices):
    BUY = "buy"
    SELL = "sell"


class OrderType(models.TextChoices):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"


class TimeInForce(models.TextChoices):
    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    OPG = "opg"
    CLS = "cls"


STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})
# What becomes a market order, at once or when it is triggered.
MARKETS = frozenset({OrderType.MARKET, OrderType.STOP, OrderType.TRAILING_STOP})
IMMEDIATE = frozenset({TimeInForce.IOC, TimeInForce.FOK})
AUCTIONS = {TimeInForce.OPG: OPEN, TimeInForce.CLS: CLOSE}  # of quotes.ticks


class OrderClass(models.TextChoices):
    SIMPLE = "simple"
    BRACKET = "bracket"
    OCO = "oco"
    OTO = "oto"


PAIRS = frozenset({OrderClass.BRACKET, OrderClass.OCO})  # two exits of which one is filled


class Leg(models.TextChoices):
    """What a leg of a bracket, OCO or OTO order is for."""

    TAKE_PROFIT = "take_profit"
    STOP_LOSS = "stop_loss"


class Intent(models.TextChoices):
    """What an order does to the position it meets, as judged when it was accepted."""

    BUY_TO_OPEN = "buy_to_open"
    BUY_TO_CLOSE = "buy_to_close"
    SELL_TO_OPEN = "sell_to_open"
    SELL_TO_CLOSE = "sell_to_close"


class OrderStatus(models.TextChoices):
    ACCEPTED = "accepted"  # committed, not yet seen by the engine
    NEW = "new"  # admitted: its place in the book is fixed
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REJECTED = "rejected"
    SUSPENDED = "suspended"
    HELD = "held"


class Order(models.Model):
    """An instruction to buy or sell, from acceptance to its terminal state.

    Rows are written by the use cases of `trading.orders` and by settlement, nowhere else.
    `*_at` is market time, `recorded_at` wall time.
    """

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, db_index=False)
    instrument = models.ForeignKey(Instrument, models.PROTECT, db_index=False)
    client_order_id = ExactTextField(max_length=128)
    side = models.CharField(max_length=4, choices=Side.choices)
    type = models.CharField(max_length=16, choices=OrderType.choices)
    time_in_force = models.CharField(max_length=4, choices=TimeInForce.choices)
    order_class = models.CharField(
        max_length=8, choices=OrderClass.choices, default=OrderClass.SIMPLE
    )
    # A bracket's or OTO's exits have the entry as parent, the stop of an OCO its take-profit.
    parent = models.ForeignKey("self", models.PROTECT, null=True, related_name="legs")
    leg = models.CharField(max_length=12, choices=Leg.choices, blank=True)
    intent = models.CharField(max_length=16, choices=Intent.choices, blank=True)
    # How a closing fill picks its lots; `lot_ids` are the keys of those named, for `specific`.
    lot_method = models.CharField(max_length=8, choices=LotMethod.choices, default=LotMethod.FIFO)
    lot_ids = models.JSONField(null=True)
    extended_hours = models.BooleanField(default=False)
    is_forced = models.BooleanField(default=False)  # placed by the floor, to close a position
    quantity = quantity_field(null=True)  # null for an order by amount
    notional = cash_field(null=True)
    limit_price = price_field(null=True)
    stop_price = price_field(null=True)  # of a trailing stop: derived from `hwm`, moves with it
    trail_price = price_field(null=True)
    trail_percent = percent_field(null=True)
    hwm = price_field(null=True)  # the best price since submission that a trailing stop follows
    triggered_at = models.DateTimeField(null=True)  # a stop, from when on it works as an order
    collar_price = price_field(null=True)  # a market order is matched as a limit at this price
    status = models.CharField(max_length=16, choices=OrderStatus.choices)
    filled_quantity = quantity_field(default=Decimal(0))
    filled_cash = cash_field(default=Decimal(0))  # sum of its fills' price × quantity, as posted
    # Volume-weighted from the exact products, for the posted ones are rounded to what is paid.
    filled_avg_price = average_field(null=True)
    fill_count = models.PositiveIntegerField(default=0)
    hold_cash = cash_field(default=Decimal(0))
    hold_quantity = quantity_field(default=Decimal(0))
    # Of an opening order: the part of its value that it holds, in a cash account all of it; and
    # what a share sold short counts for. Others are held at their limit or collar.
    margin_rate = rate_field(default=Decimal(1))
    hold_price = price_field(null=True)
    reason = models.CharField(max_length=200, blank=True)  # why it waits, or why it ended
    submitted_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    filled_at = models.DateTimeField(null=True)
    canceled_at = models.DateTimeField(null=True)
    expired_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    replaced_at = models.DateTimeField(null=True)
    replaces = models.ForeignKey("self", models.PROTECT, null=True, related_name="+")
    replaced_by = models.ForeignKey("self", models.PROTECT, null=True, related_name="+")
    recorded_at = models.DateTimeField()

    nested_legs: list[Order] | None = None  # where a query was asked for them; no column

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "client_order_id"], name="order_client_id_once"
            ),
            models.CheckConstraint(
                condition=Q(quantity__isnull=False) | Q(notional__isnull=False),
                name="order_has_size",
            ),
            models.CheckConstraint(
                condition=Q(quantity__isnull=True) | Q(filled_quantity__lte=F("quantity")),
                name="order_not_overfilled",
            ),
            models.CheckConstraint(
                condition=Q(hold_cash__gte=Decimal(0), hold_quantity__gte=Decimal(0)),
                name="order_hold_not_negative",
            ),
        ]
        indexes = [
            # Every list of orders is a walk along this one, with nothing to look up in the rows.
            models.Index(
                fields=[
                    "account",
                    "submitted_at",
                    "id",
                    "status",
                    "side",
                    "instrument",
                    "parent",
                ],
                name="order_by_submission",
            ),
            models.Index(
                fields=["account", "status", "instrument", "side"], name="order_by_status"
            ),
            # The engine's own index, the one exception to "account first".
            models.Index(fields=["instrument", "status"], name="order_of_engine"),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.public_id}"


class Fill(models.Model):
    """One execution, with the certificate from which anyone can recompute it."""

    execution_id = models.UUIDField(unique=True)  # derived: a repeat hits this index
    account = models.ForeignKey(Account, models.PROTECT, db_index=False)
    order = models.ForeignKey(Order, models.PROTECT, related_name="fills")
    instrument = models.ForeignKey(Instrument, models.PROTECT)
    number = models.PositiveIntegerField()  # 1, 2, … within the order
    side = models.CharField(max_length=4, choices=Side.choices)
    quantity = quantity_field()
    price = price_field()
    cash = cash_field()  # price × quantity, rounded half-even once
    fee = cash_field(default=Decimal(0))
    fee_pack = models.CharField(max_length=8, blank=True)  # of trading.fees, if one charged
    position_quantity = quantity_field()  # signed, after this fill
    cumulative_quantity = quantity_field()  # what the order had filled, this fill included
    leaves_quantity = quantity_field(null=True)  # what the order still wanted after this fill
    at = models.DateTimeField()  # market time
    recorded_at = models.DateTimeField()

    # The certificate: the quote it used, what had been taken of it before, and by which rule.
    bid = price_field()
    bid_size = models.BigIntegerField()
    ask = price_field()
    ask_size = models.BigIntegerField()
    taken_before = quantity_field()
    quote_sequence = models.BigIntegerField()
    quote_epoch = models.BigIntegerField()
    quote_at = models.DateTimeField()
    quote_received_at = models.DateTimeField()
    resolution = models.CharField(max_length=8)
    # Of an order that stood in line (model `queue`): its place, and the trade that let it through.
    queue_ahead = quantity_field(null=True)
    queue_reached = quantity_field(null=True)
    trade_sequence = models.BigIntegerField(null=True)
    trade_price = price_field(null=True)
    trade_size = models.BigIntegerField(null=True)
    model = models.CharField(max_length=16)
    model_version = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["order", "number"], name="fill_number_once"),
            models.CheckConstraint(
                condition=Q(quantity__gt=Decimal(0)), name="fill_quantity_positive"
            ),
            models.CheckConstraint(condition=Q(cash__gt=Decimal(0)), name="fill_cash_positive"),
            models.CheckConstraint(
                condition=Q(fee=Decimal(0), fee_pack="")
                | (Q(fee__gt=Decimal(0)) & ~Q(fee_pack="")),
                name="fill_fee_has_pack",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "at", "id"], name="fill_by_account"),
            # Charges are few beside fills: their list must not walk past those without.
            models.Index(fields=["account", "fee_pack", "at", "id"], name="fill_by_charge"),
        ]

    def __str__(self) -> str:
        return f"{self.order_id} #{self.number}"

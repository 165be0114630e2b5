"""What a client asks for when it places an order."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal

from portfolios.models import LotMethod
from trading.models import MARKETS, STOPS, OrderClass, OrderType, Side, TimeInForce


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """An order ticket as the client filled it in; prices in USD per share, notional in USD."""

    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    client_order_id: str = ""  # empty: one is generated
    extended_hours: bool = False
    order_class: OrderClass = OrderClass.SIMPLE
    lot_method: LotMethod | None = None  # None: as the account has it
    lots: tuple[int, ...] = ()  # ids of those to close first, with `specific`
    is_forced: bool = False  # by the floor, on an account that may be stopped
    # The exits of an order that is not simple. The limit price of an OCO is its take-profit's.
    take_profit: Decimal | None = None  # a limit price
    stop_loss: Decimal | None = None  # a stop price
    stop_loss_limit: Decimal | None = None  # makes the stop-loss a stop-limit order

    @property
    def is_buy(self) -> bool:
        return self.side == Side.BUY

    @property
    def exits_buy(self) -> bool:
        """Whether its exits buy: those of an entry trade the other way, those of an OCO as it."""
        return self.is_buy is (self.order_class == OrderClass.OCO)

    @property
    def is_market(self) -> bool:
        return self.type == OrderType.MARKET

    @property
    def is_stop(self) -> bool:
        return self.type in STOPS

    @property
    def becomes_market(self) -> bool:
        """A market order now, or when its stop is triggered."""
        return self.type in MARKETS

    @property
    def is_fractional(self) -> bool:
        """By amount, or for a quantity that is not whole."""
        return self.quantity is None or self.quantity != self.quantity.to_integral_value()

    def summary(self) -> dict[str, str]:
        """What was asked for, as the event of a refusal keeps it."""
        asked = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: str(value) for name, value in asked if value not in (None, "", ())}

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from events.errors import OpenbellError
from trading.models import OrderClass, OrderType, Side, TimeInForce
from trading.request import OrderRequest, check_request

LIMIT = OrderRequest(
    symbol="AAPL",
    side=Side.BUY,
    type=OrderType.LIMIT,
    time_in_force=TimeInForce.DAY,
    quantity=Decimal(10),
    limit_price=Decimal("190.25"),
)
MARKET = replace(LIMIT, type=OrderType.MARKET, limit_price=None)


@pytest.mark.parametrize(
    "request_",
    [
        LIMIT,
        MARKET,
        replace(MARKET, quantity=None, notional=Decimal("25.5")),
        replace(LIMIT, quantity=Decimal("0.123456789")),
        replace(LIMIT, limit_price=Decimal("0.1234")),
        replace(LIMIT, limit_price=Decimal("190.2500")),
        replace(LIMIT, extended_hours=True),
        replace(LIMIT, time_in_force=TimeInForce.IOC),
        replace(LIMIT, client_order_id="é " * 64),
    ],
)
def test_sensible_tickets_pass(request_: OrderRequest) -> None:
    check_request(request_)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quantity": None}, 40010001),
        ({"notional": Decimal(5)}, 40010001),
        ({"quantity": Decimal(0)}, 40010001),
        ({"quantity": Decimal(-1)}, 40010001),
        ({"quantity": Decimal("NaN")}, 40010001),
        ({"quantity": Decimal("Infinity")}, 40010001),
        ({"quantity": Decimal("1E+30")}, 42210000),
        ({"quantity": Decimal("1E-10")}, 42210000),
        ({"limit_price": None}, 40010001),
        ({"limit_price": Decimal("190.251")}, 42210000),
        ({"limit_price": Decimal("0.12345")}, 42210000),
        ({"limit_price": Decimal("1E+9")}, 42210000),
        ({"stop_price": Decimal(1)}, 40010001),
        ({"client_order_id": "x" * 129}, 40010001),
        ({"client_order_id": "\ud800"}, 40010001),
        ({"type": OrderType.MARKET}, 40010001),
        ({"type": OrderType.STOP}, 42210000),
        ({"type": OrderType.TRAILING_STOP}, 42210000),
        ({"time_in_force": TimeInForce.FOK}, 42210000),
        ({"time_in_force": TimeInForce.OPG}, 42210000),
        ({"order_class": OrderClass.BRACKET}, 42210000),
        ({"extended_hours": True, "time_in_force": TimeInForce.GTC}, 42210000),
    ],
)
def test_senseless_tickets_are_refused_with_a_code(changes: dict[str, Any], code: int) -> None:
    with pytest.raises(OpenbellError) as refused:
        check_request(replace(LIMIT, **changes))
    assert refused.value.code == code
    assert refused.value.http_status == 422


def test_what_is_not_offered_says_so() -> None:
    with pytest.raises(OpenbellError, match="stop_limit is not offered yet"):
        check_request(replace(LIMIT, type=OrderType.STOP_LIMIT))

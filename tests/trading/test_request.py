from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from events.errors import OpenbellError
from trading.models import OrderClass, OrderType, Side, TimeInForce
from trading.request import OrderRequest
from trading.request_rules import check_request

LIMIT = OrderRequest(
    symbol="AAPL",
    side=Side.BUY,
    type=OrderType.LIMIT,
    time_in_force=TimeInForce.DAY,
    quantity=Decimal(10),
    limit_price=Decimal("190.25"),
)
MARKET = replace(LIMIT, type=OrderType.MARKET, limit_price=None)
STOP = replace(MARKET, type=OrderType.STOP, stop_price=Decimal("191.5"))
STOP_LIMIT = replace(STOP, type=OrderType.STOP_LIMIT, limit_price=Decimal(192))
TRAILING = replace(MARKET, type=OrderType.TRAILING_STOP, trail_percent=Decimal("1.25"))


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
        replace(LIMIT, extended_hours=True, time_in_force=TimeInForce.GTC),
        replace(LIMIT, time_in_force=TimeInForce.IOC),
        replace(LIMIT, time_in_force=TimeInForce.FOK),
        replace(MARKET, time_in_force=TimeInForce.OPG),
        replace(LIMIT, time_in_force=TimeInForce.CLS),
        STOP,
        replace(STOP, quantity=Decimal("0.5")),
        replace(STOP_LIMIT, time_in_force=TimeInForce.GTC),
        TRAILING,
        replace(TRAILING, trail_percent=None, trail_price=Decimal("0.05")),
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
        ({"order_class": OrderClass.BRACKET}, 40010001),
        ({"extended_hours": True, "time_in_force": TimeInForce.IOC}, 42210000),
        ({"extended_hours": True, "time_in_force": TimeInForce.CLS}, 42210000),
    ],
)
def test_senseless_tickets_are_refused_with_a_code(changes: dict[str, Any], code: int) -> None:
    with pytest.raises(OpenbellError) as refused:
        check_request(replace(LIMIT, **changes))
    assert refused.value.code == code
    assert refused.value.http_status == 422


@pytest.mark.parametrize(
    ("request_", "changes", "code"),
    [
        (STOP, {"stop_price": None}, 40010001),
        (STOP, {"stop_price": Decimal(0)}, 40010001),
        (STOP, {"stop_price": Decimal("191.505")}, 42210000),
        (STOP, {"stop_price": Decimal("1E+9")}, 42210000),
        (STOP, {"limit_price": Decimal(192)}, 40010001),
        (STOP, {"trail_price": Decimal(1)}, 40010001),
        (STOP, {"time_in_force": TimeInForce.IOC}, 42210000),
        (STOP, {"time_in_force": TimeInForce.FOK}, 42210000),
        (STOP, {"time_in_force": TimeInForce.OPG}, 42210000),
        (STOP, {"quantity": None, "notional": Decimal(100)}, 42210000),
        (STOP, {"extended_hours": True}, 42210000),
        (STOP_LIMIT, {"limit_price": None}, 40010001),
        (STOP_LIMIT, {"stop_price": None}, 40010001),
        (STOP_LIMIT, {"extended_hours": True}, 42210000),
        (TRAILING, {"trail_percent": None}, 40010001),
        (TRAILING, {"trail_price": Decimal(1)}, 40010001),
        (TRAILING, {"stop_price": Decimal(1)}, 40010001),
        (TRAILING, {"limit_price": Decimal(1)}, 40010001),
        (TRAILING, {"trail_percent": Decimal(-1)}, 40010001),
        (TRAILING, {"trail_percent": Decimal(100)}, 42210000),
        (TRAILING, {"trail_percent": Decimal("1.00001")}, 42210000),
        (TRAILING, {"trail_percent": None, "trail_price": Decimal("1.005")}, 42210000),
        (TRAILING, {"quantity": Decimal("1.5")}, 42210000),
        (TRAILING, {"time_in_force": TimeInForce.CLS}, 42210000),
        (LIMIT, {"trail_percent": Decimal(1)}, 40010001),
    ],
)
def test_a_stop_has_the_prices_of_its_type_and_no_others(
    request_: OrderRequest, changes: dict[str, Any], code: int
) -> None:
    with pytest.raises(OpenbellError) as refused:
        check_request(replace(request_, **changes))
    assert (refused.value.http_status, refused.value.code) == (422, code)

"""Orders in line behind what is displayed (the model `queue`), on a floor with sessions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.floor import CLOSE, OPENING, TradingFloor, now_of
from trading.execution.matching import FillModel
from trading.models import TimeInForce

pytestmark = pytest.mark.django_db

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.mark.parametrize("extended_hours", [False, True])
def test_a_place_in_line_is_had_only_where_the_order_may_trade(extended_hours: bool) -> None:
    floor, account = TradingFloor(model=FillModel.QUEUE), funded_account()
    floor.show("99", "100")
    order = floor.buy(
        account,
        "10",
        limit="98",
        time_in_force=TimeInForce.GTC,
        extended_hours=extended_hours,
    )
    floor.pass_time(seconds=1)
    floor.play(floor.quote("95", "100", at=CLOSE + SECOND))  # nobody else bids 98 in the evening
    floor.play(floor.quote("98", "98", bid_size=500, at=OPENING + DAY + SECOND))

    assert now_of(order).filled_quantity == (10 if extended_hours else 0)
    assert_books_balance(account)

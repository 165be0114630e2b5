from __future__ import annotations

from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command

from tests.portfolios.factories import funded_account
from tests.trading.floor import TradingFloor

pytestmark = pytest.mark.django_db


def exported() -> list[str]:
    out = StringIO()
    call_command("export_fills", stdout=out)
    return out.getvalue().splitlines()


def test_fills_are_exported_without_ids_or_wall_times() -> None:
    floor = TradingFloor()
    floor.show("99", "100", ask_size=4)
    account = funded_account()
    floor.buy(account, "10", client_order_id='comma, "quote"')
    floor.buy(account, None, notional=Decimal(50), client_order_id="by amount")
    floor.pass_time(seconds=1)
    floor.show("99", "100", ask_size=30)

    assert exported() == [
        "client_order_id,fill_number,side,quantity,price,market_time,quote_sequence",
        '"comma, ""quote""",1,buy,4,100,2013-10-07T16:00:00.001000Z,1',
        "by amount,1,buy,0.5,100,2013-10-07T16:00:01.002000Z,2",
        '"comma, ""quote""",2,buy,6,100,2013-10-07T16:00:01.002000Z,2',
    ]


def test_without_fills_only_the_heading_is_printed() -> None:
    assert len(exported()) == 1

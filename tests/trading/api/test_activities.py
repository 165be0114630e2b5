from __future__ import annotations

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from alpaca.trading.models import NonTradeActivity as AlpacaActivity

from portfolios.accounts import deposit, withdraw
from portfolios.models import NonTradeActivity
from tests.portfolios.factories import funded_account
from tests.trading.api.programs import MARKET, Trader
from tests.trading.floor import TradingFloor
from trading.models import Fill

pytestmark = pytest.mark.django_db


@pytest.fixture
def trader() -> Trader:
    """Opened with 100,000; 500 in, bought, bought, 200 out, bought."""
    floor = TradingFloor()
    floor.show()
    trader = Trader(funded_account("100000"))

    def buy() -> None:
        trader.post(MARKET | {"qty": "1"})
        floor.pass_time(seconds=1)

    deposit(account_id=trader.account.pk, amount=Decimal(500), actor="test")
    buy()
    buy()
    withdraw(account_id=trader.account.pk, amount=Decimal(200), actor="test")
    floor.pass_time(seconds=1)
    buy()
    return trader


def listed(trader: Trader, of_type: str = "", **query: Any) -> list[dict[str, Any]]:
    answer = trader.get(f"/v2/account/activities{of_type}", **query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def types(rows: list[dict[str, Any]]) -> list[str]:
    return [row["activity_type"] for row in rows]


def test_activities_add_up_to_the_cash_fees_and_all(settings) -> None:
    settings.FEES = "us"
    floor = TradingFloor()
    floor.show()
    trader = Trader(funded_account("100000"))
    for side in ("buy", "sell"):
        trader.post(MARKET | {"side": side, "qty": "10"})
        floor.pass_time(seconds=1)

    fee, sale, purchase, paid_in = listed(trader)
    fills = [Decimal(one["qty"]) * Decimal(one["price"]) for one in (sale, purchase)]
    others = [Decimal(one["net_amount"]) for one in (paid_in, fee)]
    cash = fills[0] - fills[1] + sum(others)
    assert trader.get("/v2/account").json()["cash"] == str(cash)


@pytest.fixture
def seller(settings: Any) -> Trader:
    """Opened with 100,000; bought 40, sold 10 and 25, and 2 for free."""
    settings.FEES = "us"
    floor = TradingFloor()
    floor.show()
    trader = Trader(funded_account("100000"))
    for order in ({"qty": "40"}, {"side": "sell", "qty": "10"}, {"side": "sell", "qty": "25"}):
        trader.post(MARKET | order)
        floor.pass_time(seconds=1)
    settings.FEES = "none"
    trader.post(MARKET | {"side": "sell", "qty": "2"})
    floor.pass_time(seconds=1)
    return trader


def test_what_a_sale_is_charged_is_an_activity(seller: Trader) -> None:
    rows = listed(seller)
    assert types(rows) == ["FILL", "FEE", "FILL", "FEE", "FILL", "FILL", "CSD"]
    assert types(listed(seller, activity_types="FEE")) == ["FEE", "FEE"]
    assert types(listed(seller, "/FEE", page_size=1)) == ["FEE"]
    assert types(listed(seller, activity_types="FILL,CSD")) == ["FILL"] * 4 + ["CSD"]
    assert types(listed(seller, category="non_trade_activity")) == ["FEE", "FEE", "CSD"]

    fee, sale = rows[1:3]
    assert fee == {
        "id": fee["id"],
        "account_id": str(seller.account.public_id),
        "activity_type": "FEE",
        "date": "2013-10-07",
        "net_amount": "-0.06",  # 2,475 × 17.40 ÷ 1,000,000 = 0.043, and 25 × 0.000119
        "description": "SEC and FINRA fees on the sale of 25 AAPL",
        "status": "executed",
        "symbol": "AAPL",
        "qty": "25",
        "order_id": sale["order_id"],
    }
    assert AlpacaActivity(**fee).net_amount == -0.06
    assert len({row["id"] for row in rows}) == len(rows)


def test_deposits_and_withdrawals_stand_beside_fills(trader: Trader) -> None:
    assert types(listed(trader)) == ["FILL", "CSW", "FILL", "FILL", "CSD", "CSD"]
    assert types(listed(trader, activity_types="CSD,CSW")) == ["CSW", "CSD", "CSD"]
    assert types(listed(trader, "/CSW")) == ["CSW"]
    assert types(listed(trader, category="non_trade_activity")) == ["CSW", "CSD", "CSD"]
    assert types(listed(trader, category="trade_activity")) == ["FILL"] * 3
    assert listed(trader, "/CSD", category="trade_activity") == []
    assert listed(trader, "/NOPE") == []


def test_a_withdrawal_is_answered_as_the_official_client_reads_it(trader: Trader) -> None:
    (row,) = listed(trader, "/CSW")

    parsed = AlpacaActivity(**row)
    assert (parsed.net_amount, parsed.activity_type) == (-200, "CSW")
    assert str(parsed.date) == "2013-10-07"
    assert row["id"].startswith("20131007120")


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("page_size", [1, 2, 5])
@pytest.mark.parametrize("whose", ["trader", "seller"])
def test_pages_hold_everything_once_even_where_all_have_one_instant(
    whose: str, direction: str, page_size: int, request: pytest.FixtureRequest
) -> None:
    trader = request.getfixturevalue(whose)
    at = Fill.objects.order_by("at")[0].at
    NonTradeActivity.objects.update(at=at)
    Fill.objects.update(at=at)
    for asked in ({}, {"activity_types": "FEE,CSD"}):
        query = {"direction": direction, **asked}
        whole = listed(trader, **query)
        seen = listed(trader, **query, page_size=page_size)
        while page := listed(trader, **query, page_size=page_size, page_token=seen[-1]["id"]):
            seen += page
            assert len(seen) <= len(whole)
        assert seen == whole


def test_bounds_in_time_hold_for_all_kinds(trader: Trader) -> None:
    middle = Fill.objects.order_by("at")[1].at

    later = listed(trader, after=middle.isoformat())
    earlier = listed(trader, until=(middle + timedelta(microseconds=1)).isoformat())
    assert later + earlier == listed(trader)
    assert len(listed(trader, date="2013-10-07")) == 6
    assert listed(trader, date="2013-10-08") == []


def test_a_token_of_another_account_or_of_nothing_is_refused(trader: Trader) -> None:
    other = Trader(funded_account())
    theirs = listed(other)[0]["id"]

    for token in (theirs, f"0::{uuid.uuid4()}", "x"):
        answer = trader.get("/v2/account/activities", page_token=token)
        assert answer.status_code == 400, token

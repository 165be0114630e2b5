from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from portfolios.models import Account, Lot, Position
from tests.portfolios.factories import assert_books_balance, funded_account, trade
from tests.trading.api.programs import MARKET, Trader
from tests.trading.floor import TradingFloor

pytestmark = pytest.mark.django_db


@pytest.fixture
def trader(floor: TradingFloor) -> Trader:
    """Long 10 at 100, 10 at 130 and 10 at 110."""
    trader = Trader(funded_account("100000"))
    for ask in ("100", "130", "110"):
        floor.show(str(int(ask) - 1), ask)
        trader.post(MARKET)
        floor.pass_time(seconds=1)
    return trader


def lots(trader: Trader, **query: Any) -> list[dict[str, Any]]:
    answer = trader.get("/v2/positions/AAPL/lots", **query)
    assert answer.status_code == 200, answer.content
    return answer.json()["lots"]


def sell(trader: Trader, floor: TradingFloor, quantity: str, **fields: Any) -> Decimal:
    """Sell at 120 and say what that realised."""
    before = Position.objects.get().realized
    floor.show("120", "121")
    answer = trader.post(MARKET | {"side": "sell", "qty": quantity, **fields})
    assert answer.status_code == 200, answer.content
    floor.pass_time(seconds=1)
    assert_books_balance(trader.account)
    return Position.objects.get().realized - before


def left(trader: Trader) -> list[tuple[str, str]]:
    return [(lot["price"], lot["qty"]) for lot in lots(trader)]


def test_lots_are_listed_oldest_first_and_add_up_to_the_position(trader: Trader) -> None:
    shown = lots(trader)

    assert left(trader) == [("100", "10"), ("130", "10"), ("110", "10")]
    position = trader.get("/v2/positions/AAPL").json()
    assert sum(Decimal(lot["cost_basis"]) for lot in shown) == Decimal(position["cost_basis"])


def test_lots_come_in_pages(trader: Trader) -> None:
    first = trader.get("/v2/positions/AAPL/lots", page_size=2).json()
    token = first["next_page_token"]
    second = trader.get("/v2/positions/AAPL/lots", page_size=2, page_token=token).json()

    assert first["lots"] + second["lots"] == lots(trader)
    assert second["next_page_token"] is None


@pytest.mark.parametrize("query", [{"page_size": 0}, {"page_size": 501}, {"page_token": "x"}])
def test_a_wrong_page_is_refused(trader: Trader, query: dict[str, Any]) -> None:
    assert trader.get("/v2/positions/AAPL/lots", **query).status_code == 422


def test_the_lots_of_an_unknown_symbol_do_not_exist(trader: Trader) -> None:
    assert trader.get("/v2/positions/NOPE/lots").status_code == 404


def test_another_accounts_lots_are_not_shown(trader: Trader) -> None:
    assert lots(Trader(funded_account())) == []


@pytest.mark.parametrize(("method", "realized"), [("fifo", "150"), ("lifo", "50"), ("hifo", "-50")])
def test_an_order_closes_the_lots_of_its_method(trader, floor, method, realized) -> None:
    assert sell(trader, floor, "15", lot_method=method) == Decimal(realized)


def test_an_order_that_does_not_say_goes_by_the_accounts_choice(trader, floor) -> None:
    answer = trader.client.patch(
        "/v2/account/configurations", {"lot_method": "hifo"}, content_type="application/json"
    )
    assert answer.json()["lot_method"] == "hifo"

    assert sell(trader, floor, "15") == Decimal(-50)
    assert sell(trader, floor, "5", lot_method="fifo") == Decimal(100)


def test_named_lots_are_closed_in_their_order_and_shown_on_the_order(trader, floor) -> None:
    first, second, third = (lot["id"] for lot in lots(trader))

    realized = sell(trader, floor, "15", lot_method="specific", lots=[third, int(second)])

    assert realized == Decimal(10 * 10 - 5 * 10)
    assert left(trader) == [("100", "10"), ("130", "5")]
    (order,) = trader.get("/v2/orders", status="closed", limit=1).json()
    assert (order["lot_method"], order["lots"]) == ("specific", [third, second])
    assert first


def test_a_named_lot_that_is_gone_at_the_fill_gives_way_to_the_oldest(trader, floor) -> None:
    third = lots(trader)[2]["id"]
    trader.post(
        MARKET | {"side": "sell", "qty": "5", "type": "limit", "limit_price": "125"}
        | {"lot_method": "specific", "lots": [third]}
    )  # fmt: skip
    assert sell(trader, floor, "10", lot_method="lifo") == Decimal(100)

    floor.show("125", "126")

    assert left(trader) == [("100", "5"), ("130", "10")]
    assert_books_balance(trader.account)


def test_a_replacement_closes_the_lots_that_the_old_order_named(trader, floor) -> None:
    third = lots(trader)[2]["id"]
    floor.show("120", "121")
    old = trader.post(
        MARKET | {"side": "sell", "qty": "5", "type": "limit", "limit_price": "125"}
        | {"lot_method": "specific", "lots": [third]}
    ).json()  # fmt: skip
    floor.pass_time(seconds=1)

    new = trader.client.patch(
        f"/v2/orders/{old['id']}", {"limit_price": "126"}, content_type="application/json"
    ).json()
    assert (new["lot_method"], new["lots"]) == ("specific", [third])
    floor.show("126", "127")

    assert left(trader) == [("100", "10"), ("130", "10"), ("110", "5")]


@pytest.mark.parametrize(
    "fields",
    [
        {"lot_method": "average"},
        {"lot_method": "specific"},
        {"lot_method": "specific", "lots": []},
        {"lots": ["1"]},
        {"lot_method": "fifo", "lots": ["1"]},
        {"lot_method": "specific", "lots": ["x"]},
        {"lot_method": "specific", "lots": [0]},
        {"lot_method": "specific", "lots": [2**63]},
        {"lot_method": "specific", "lots": "1"},
        {"lot_method": "specific", "lots": [1, 1]},
        {"lot_method": "specific", "lots": list(range(1, 102))},
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(trader: Trader, fields: dict[str, Any]) -> None:
    answer = trader.post(MARKET | {"side": "sell", "qty": "1", **fields})

    assert answer.status_code == 422, answer.content
    assert not trader.get("/v2/orders").json()


def test_lots_of_others_or_of_the_wrong_direction_cannot_be_named(trader: Trader) -> None:
    mine = lots(trader)[0]["id"]
    other: Account = funded_account()
    trade(other, "buy", "1", "100")
    theirs = str(Lot.objects.get(account=other).pk)

    answer = trader.post(
        MARKET | {"side": "sell", "qty": "1", "lot_method": "specific", "lots": [mine, theirs]}
    )
    assert answer.status_code == 422
    assert answer.json()["lots"] == theirs

    answer = trader.post(MARKET | {"qty": "1", "lot_method": "specific", "lots": [mine]})
    assert answer.json()["message"] == f"no lots of AAPL to close: {mine}"

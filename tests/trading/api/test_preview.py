from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from events.models import Event
from portfolios.configurations import configure
from portfolios.models import Account
from tests.portfolios.factories import funded_account
from tests.trading.api.programs import LIMIT, MARKET, Trader
from tests.trading.floor import TradingFloor
from trading.models import Order

pytestmark = pytest.mark.django_db


@pytest.fixture
def trader(floor: TradingFloor) -> Trader:
    return Trader(funded_account("10000"))


def ask(trader: Trader, body: dict[str, Any]) -> dict[str, Any]:
    answer = trader.post(body, "/v2/orders/preview")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_buy_is_shown_with_its_cost_and_the_power_it_leaves(trader):
    found = ask(trader, MARKET)

    assert found == {
        "symbol": "AAPL",
        "side": "buy",
        "qty": "10",
        "notional": None,
        "position_intent": "buy_to_open",
        "status": "accepted",
        "price": "100",
        "cost": "1000",
        "fees": "0",
        "collar_price": "104",
        "initial_margin": "1040",
        "qty_held": "0",
        "buying_power": "10000",
        "buying_power_after": "8960",
        "refusal": None,
    }


def test_nothing_is_stored(trader):
    before = (Order.objects.count(), Event.objects.count(), rows(trader))
    ask(trader, MARKET)
    ask(trader, MARKET | {"qty": "1000"})
    assert (Order.objects.count(), Event.objects.count(), rows(trader)) == before


def rows(trader: Trader) -> list[Any]:
    return list(Account.objects.filter(pk=trader.account.pk).values())


@pytest.mark.parametrize(
    "changes",
    [
        {"qty": "1000"},
        {"qty": "0.5", "time_in_force": "gtc"},
        {"side": "sell"},
        {"symbol": "NOPE"},
        {"limit_price": "2000"},
        {"limit_price": "100.001"},
        {"qty": "1", "notional": "5"},
        {"stop_price": "5"},
    ],
)
def test_what_is_refused_is_refused_with_the_words_the_order_would_hear(trader, changes):
    body = LIMIT | changes
    found = ask(trader, body)
    refused = trader.post(body)

    assert refused.status_code in (403, 422)
    assert found["status"] == "refused"
    assert found["refusal"] == refused.json()
    assert found["buying_power_after"] == found["buying_power"]


def test_what_no_order_could_be_read_from_is_an_error(trader):
    answer = trader.post(MARKET | {"side": "hold"}, "/v2/orders/preview")
    assert answer.status_code == 422


def test_the_preview_and_the_order_agree(floor, trader):
    configure(account_id=trader.account.pk, changes={"max_margin_multiplier": "2"}, actor="test")
    found = ask(trader, MARKET | {"side": "sell"})
    assert (found["position_intent"], found["initial_margin"]) == ("sell_to_open", "515")

    trader.post(MARKET | {"side": "sell"})

    assert trader.get("/v2/account").json()["buying_power"] == found["buying_power_after"]
    assert Order.objects.get().hold_cash == Decimal(found["initial_margin"])


def test_a_sale_shows_its_fees(floor, trader, settings):
    settings.FEES = "us"
    trader.post(MARKET)
    floor.pass_time(seconds=1)

    found = ask(trader, MARKET | {"side": "sell"})

    assert (found["position_intent"], found["qty_held"]) == ("sell_to_close", "10")
    assert (found["cost"], found["fees"]) == ("990", "0.03")


def test_the_kill_switch_answers_like_cancel_all(trader):
    order = trader.place()
    answer = trader.post({}, "/v2/account/stop")

    assert answer.status_code == 207
    assert answer.json() == [{"id": order["id"], "status": 200}]
    assert trader.get("/v2/account").json()["trade_suspended_by_user"] is True
    assert trader.post(LIMIT).status_code == 403

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from alpaca.trading.models import Order as AlpacaOrder
from alpaca.trading.models import TradeActivity
from django.test import Client

from events.models import Event
from tests.portfolios.factories import assert_books_balance, funded_account, make_instrument
from tests.trading.api.programs import LIMIT, MARKET, Trader
from tests.trading.floor import TradingFloor
from trading.models import Order

pytestmark = pytest.mark.django_db


@pytest.fixture
def trader(floor: TradingFloor) -> Trader:
    return Trader(funded_account("100000"))


def test_an_order_is_answered_as_the_official_client_reads_it(trader: Trader) -> None:
    order = trader.place(client_order_id="mine")
    parsed = AlpacaOrder(**order)
    assert (parsed.status, parsed.client_order_id, parsed.qty) == ("accepted", "mine", "1")
    assert order == trader.get(f"/v2/orders/{order['id']}").json()


@pytest.mark.parametrize(
    ("written", "exact"),
    [("1.0", "1"), ('"1.0"', "1"), ("0.1", "0.1"), ("1e1", "10"), ('"0.123456789"', "0.123456789")],
)
def test_numbers_are_exact_however_they_are_written(
    trader: Trader, written: str, exact: str
) -> None:
    body = json.dumps(LIMIT | {"limit_price": 90}).replace('"qty": 1.0', f'"qty": {written}')
    if float(exact) < 1 / 90:
        body = body.replace("90", "95")
    answer = trader.post(body)
    assert answer.status_code == 200, answer.content
    assert answer.json()["qty"] == exact


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"qty": None}, 422, 40010001),
        ({"qty": 1, "notional": 5}, 422, 40010001),
        ({"qty": -1}, 422, 40010001),
        ({"qty": 0}, 422, 40010001),
        ({"qty": "NaN"}, 422, 40010001),
        ({"qty": "Infinity"}, 422, 40010001),
        ({"qty": True}, 422, 40010001),
        ({"qty": []}, 422, 40010001),
        ({"qty": {}}, 422, 40010001),
        ({"qty": "1_000"}, 422, 40010001),
        ({"qty": " 1"}, 422, 40010001),
        ({"qty": ""}, 422, 40010001),
        ({"qty": "٣"}, 422, 40010001),
        ({"qty": "1e99"}, 422, 40010001),
        ({"qty": 10**12}, 422, 42210000),
        ({"qty": "0.0000000001"}, 422, 42210000),
        ({"side": "hold"}, 422, 40010001),
        ({"side": None}, 422, 40010001),
        ({"side": ["buy"]}, 422, 40010001),
        ({"type": "magic"}, 422, 40010001),
        ({"time_in_force": "eternal"}, 422, 40010001),
        ({"symbol": None}, 422, 40010001),
        ({"symbol": "NOPE"}, 422, 42210000),
        ({"symbol": "x" * 5000}, 422, 40010001),
        ({"symbol": {"a": 1}}, 422, 40010001),
        ({"limit_price": None}, 422, 40010001),
        ({"limit_price": "90.123"}, 422, 42210000),
        ({"limit_price": -3}, 422, 40010001),
        ({"client_order_id": "x" * 129}, 422, 40010001),
        ({"client_order_id": "a\x00b"}, 422, 40010001),
        ({"client_order_id": {"x": 1}}, 422, 40010001),
        ({"extended_hours": "perhaps"}, 422, 40010001),
        ({"order_class": "bracket"}, 422, 40010001),
        ({"order_class": "bracket", "take_profit": 1, "stop_loss": []}, 422, 40010001),
        ({"order_class": "bracket", "take_profit": {"limit_price": "x"}}, 422, 40010001),
        ({"order_class": "oto", "stop_loss": {}}, 422, 40010001),
        ({"order_class": "oto", "stop_loss": {"stop_price": 96}}, 422, 42210000),
        ({"order_class": "oco", "take_profit": {"limit_price": 96}}, 422, 40010001),
        ({"order_class": "mleg"}, 422, 42210000),
        ({"order_class": "heap"}, 422, 40010001),
        ({"take_profit": {"limit_price": 1}}, 422, 40010001),
        ({"type": "stop", "stop_price": 90}, 422, 40010001),
        ({"type": "stop_limit"}, 422, 40010001),
        ({"type": "trailing_stop", "limit_price": None}, 422, 40010001),
        ({"trail_percent": 1}, 422, 40010001),
        ({"time_in_force": "fok", "qty": "1.5"}, 422, 42210000),
        ({"time_in_force": "opg"}, 422, 42210000),
        ({"qty": 100_000}, 403, 40310000),
        ({"side": "sell"}, 403, 40310000),
    ],
)
def test_bad_orders_get_a_coded_error_and_change_nothing(
    trader: Trader, changes: dict[str, Any], status: int, code: int
) -> None:
    answer = trader.post(LIMIT | changes)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    assert answer.json()["message"]
    assert not Order.objects.exists()
    assert_books_balance(trader.account)


@pytest.mark.parametrize("body", ["{", "[]", '"x"', "null", "1", '{"qty": NaN}', "\udcff"])
def test_malformed_bodies_are_refused(trader: Trader, body: str) -> None:
    answer = trader.client.post(
        "/v2/orders", body.encode(errors="surrogateescape"), content_type="application/json"
    )
    assert answer.status_code in (400, 422)
    assert answer.json()["code"] == 40010001


def test_a_refusal_explains_itself_in_numbers(trader: Trader) -> None:
    body = trader.post(LIMIT | {"qty": 100_000}).json()
    assert (body["buying_power"], body["cost_basis"]) == ("100000", "9550000")


def test_without_a_key_nobody_trades(floor: TradingFloor) -> None:
    answer = Client().post("/v2/orders", json.dumps(LIMIT), content_type="application/json")
    assert answer.status_code == 401


def test_a_fill_is_seen_everywhere(floor: TradingFloor, trader: Trader) -> None:
    order = trader.post(MARKET).json()
    floor.pass_time(seconds=1)
    filled = trader.get(f"/v2/orders/{order['id']}").json()
    assert (filled["status"], filled["filled_qty"], filled["filled_avg_price"]) == (
        "filled",
        "10",
        "100",
    )
    assert trader.get("/v2/positions/AAPL").json()["qty"] == "10"
    activity = trader.get("/v2/account/activities/FILL").json()[0]
    assert (activity["qty"], activity["price"], activity["type"]) == ("10", "100", "fill")
    assert activity["order_id"] == order["id"]
    TradeActivity(**activity)
    told = Event.objects.get(kind="trading.order.fill").payload
    assert told["order"] == filled


def test_orders_are_listed_by_every_filter(floor: TradingFloor, trader: Trader) -> None:
    make_instrument("MSFT")
    first, second = trader.place(), trader.place(symbol="MSFT", qty=2)
    trader.delete(f"/v2/orders/{first['id']}")
    third = trader.post(MARKET).json()

    def ids(**query: Any) -> list[str]:
        answer = trader.get("/v2/orders", **query)
        assert answer.status_code == 200, answer.content
        return [order["id"] for order in answer.json()]

    assert ids() == [third["id"], second["id"]]
    assert ids(status="closed") == [first["id"]]
    assert ids(status="all", direction="asc") == [first["id"], second["id"], third["id"]]
    assert ids(status="all", limit=1) == [third["id"]]
    assert ids(status="all", symbols="MSFT,NOPE") == [second["id"]]
    assert ids(status="all", side="sell") == []
    assert ids(status="all", nested="True", after=first["submitted_at"]) == [
        third["id"],
        second["id"],
    ]
    assert ids(status="all", until=second["submitted_at"]) == [first["id"]]
    assert ids(status="all", after_order_id=second["id"]) == [third["id"]]


@pytest.mark.parametrize(
    "query",
    [
        {"status": "odd"},
        {"limit": 0},
        {"limit": 501},
        {"limit": "many"},
        {"after": "yesterday"},
        {"direction": "up"},
        {"side": "both"},
        {"nested": "perhaps"},
        {"after_order_id": "x"},
        {"symbols": "a b;c"},
    ],
)
def test_bad_filters_are_refused(trader: Trader, query: dict[str, Any]) -> None:
    answer = trader.get("/v2/orders", **query)
    assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


def test_client_ids_may_hold_any_character(trader: Trader) -> None:
    name = "a/b c%?&#é+ "
    order = trader.place(client_order_id=name)
    found = trader.get("/v2/orders:by_client_order_id", client_order_id=name)
    assert found.json()["id"] == order["id"]
    missing = trader.get("/v2/orders:by_client_order_id", client_order_id=name.strip())
    assert (missing.status_code, missing.json()["code"]) == (404, 40410000)
    again = trader.post(LIMIT | {"client_order_id": name})
    assert (again.status_code, again.json()["code"]) == (422, 40010001)


def test_cancel_answers_204_once(trader: Trader) -> None:
    order = trader.place()
    answer = trader.delete(f"/v2/orders/{order['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    again = trader.delete(f"/v2/orders/{order['id']}")
    assert (again.status_code, again.json()["code"]) == (422, 42210000)


def test_unknown_and_malformed_ids(trader: Trader) -> None:
    for method in (trader.get, trader.delete):
        unknown = method(f"/v2/orders/{uuid.uuid4()}")
        assert (unknown.status_code, unknown.json()["code"]) == (404, 40410000)
        malformed = method("/v2/orders/not-an-id")
        assert (malformed.status_code, malformed.json()["code"]) == (422, 40010001)


def test_replacing_is_not_offered_yet(trader: Trader) -> None:
    order = trader.place()
    answer = trader.client.patch(
        f"/v2/orders/{order['id']}", '{"qty": "2"}', content_type="application/json"
    )
    assert (answer.status_code, answer.json()["code"]) == (422, 42210000)


def test_accounts_do_not_see_each_other(trader: Trader) -> None:
    order = trader.place(client_order_id="mine")
    stranger = Trader(funded_account())
    assert stranger.get(f"/v2/orders/{order['id']}").status_code == 404
    assert stranger.delete(f"/v2/orders/{order['id']}").status_code == 404
    assert stranger.get("/v2/orders", status="all").json() == []
    by_name = stranger.get("/v2/orders:by_client_order_id", client_order_id="mine")
    assert by_name.status_code == 404


def test_cancel_all_answers_an_array_always(trader: Trader) -> None:
    answer = trader.delete("/v2/orders")
    assert (answer.status_code, answer.json()) == (207, [])
    placed = [trader.place()["id"] for _ in range(2)]
    answer = trader.delete("/v2/orders")
    assert answer.json() == [{"id": order_id, "status": 200} for order_id in placed]
    assert_books_balance(trader.account)


def bought(floor: TradingFloor, trader: Trader, quantity: str = "10") -> None:
    trader.post(MARKET | {"qty": quantity})
    floor.pass_time(seconds=1)


def test_a_position_is_closed_whole_by_quantity_or_by_share(
    floor: TradingFloor, trader: Trader
) -> None:
    bought(floor, trader)
    assert trader.delete("/v2/positions/AAPL?qty=2").json()["qty"] == "2"
    assert trader.delete("/v2/positions/AAPL?percentage=25").json()["qty"] == "2.5"
    floor.pass_time(seconds=1)
    order = trader.delete("/v2/positions/AAPL").json()
    assert (order["qty"], order["side"], order["type"]) == ("5.5", "sell", "market")
    floor.pass_time(seconds=1)
    gone = trader.get("/v2/positions/AAPL")
    assert (gone.status_code, gone.json()["code"]) == (404, 40410000)
    assert_books_balance(trader.account)


@pytest.mark.parametrize(
    "query", ["qty=1&percentage=5", "percentage=0", "percentage=101", "qty=-1", "qty=nan"]
)
def test_bad_closings_are_refused(floor: TradingFloor, trader: Trader, query: str) -> None:
    bought(floor, trader)
    answer = trader.delete(f"/v2/positions/AAPL?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


def test_shares_in_open_orders_keep_a_position_from_closing(
    floor: TradingFloor, trader: Trader
) -> None:
    bought(floor, trader)
    trader.place(side="sell", qty=4, limit_price=150)
    answer = trader.delete("/v2/positions")
    assert answer.status_code == 207
    entry = answer.json()[0]
    assert (entry["symbol"], entry["status"]) == ("AAPL", 403)
    assert entry["body"]["available"] == "6"
    entry = trader.delete("/v2/positions?cancel_orders=true").json()[0]
    assert (entry["status"], entry["body"]["qty"]) == (200, "10")
    assert_books_balance(trader.account)


def test_closing_nothing(trader: Trader) -> None:
    assert trader.delete("/v2/positions").json() == []
    for symbol in ("AAPL", "NOPE"):
        answer = trader.delete(f"/v2/positions/{symbol}")
        assert (answer.status_code, answer.json()["code"]) == (404, 40410000)


def test_activities_are_paged_by_the_last_id_seen(floor: TradingFloor, trader: Trader) -> None:
    for _ in range(5):
        bought(floor, trader, "1")
    whole = trader.get("/v2/account/activities", activity_types="FILL,DIV").json()
    assert len(whole) == 5
    seen: list[dict[str, Any]] = []
    while page := trader.get(
        "/v2/account/activities/FILL",
        page_size=2,
        **({"page_token": seen[-1]["id"]} if seen else {}),
    ).json():
        seen += page
    assert seen == whole
    upwards = trader.get("/v2/account/activities", direction="asc", category="trade_activity")
    assert upwards.json() == whole[::-1]
    assert trader.get("/v2/account/activities/DIV").json() == []
    assert trader.get("/v2/account/activities", date="2013-10-08").json() == []
    assert len(trader.get("/v2/account/activities/FILL", date="2013-10-07").json()) == 5
    bad = trader.get("/v2/account/activities", page_token="x")
    assert (bad.status_code, bad.json()["code"]) == (400, 40010001)


def test_cumulative_quantities_run_up_to_the_order(floor: TradingFloor, trader: Trader) -> None:
    floor.show("99", "100", ask_size=4)
    trader.post(MARKET)
    floor.pass_time(seconds=1)
    floor.show("99", "100", ask_size=40)
    rows = trader.get("/v2/account/activities/FILL", direction="asc").json()
    assert [(row["cum_qty"], row["leaves_qty"], row["type"]) for row in rows] == [
        ("4", "6", "partial_fill"),
        ("10", "0", "fill"),
    ]


def test_order_times_carry_the_market_not_the_wall(floor: TradingFloor, trader: Trader) -> None:
    order = trader.place()
    assert order["submitted_at"].startswith("2013-10-07T16:00:00")
    floor.pass_time(**{"hours": 1})
    later = trader.place()
    parsed = [AlpacaOrder(**one).submitted_at for one in (order, later)]
    assert parsed[1] - parsed[0] >= timedelta(hours=1)


def test_an_order_is_replaced_as_the_official_client_reads_it(
    floor: TradingFloor, trader: Trader
) -> None:
    old = trader.place(client_order_id="old")
    path = f"/v2/orders/{old['id']}"
    refused = trader.patch(path, {"qty": 2})
    assert (refused.status_code, refused.json()["code"]) == (422, 42210000)
    floor.pass_time(seconds=1)

    answer = trader.patch(path, {"qty": 2, "limit_price": "96.5", "stop_price": None})
    assert answer.status_code == 200, answer.content
    new = AlpacaOrder(**answer.json())
    assert (str(new.replaces), new.qty, new.limit_price) == (old["id"], "2", "96.5")
    ended = AlpacaOrder(**trader.get(path).json())
    assert (ended.status, ended.replaced_by) == ("replaced", new.id)
    assert ended.replaced_at is not None
    assert [order["id"] for order in trader.get("/v2/orders").json()] == [str(new.id)]
    assert_books_balance(trader.account)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, 42210000),
        ({"qty": "many"}, 422, 40010001),
        ({"qty": 0}, 422, 40010001),
        ({"time_in_force": "eternal"}, 422, 40010001),
        ({"limit_price": [1]}, 422, 40010001),
        ({"limit_price": "95.001"}, 422, 42210000),
        ({"client_order_id": "x" * 129, "qty": 2}, 422, 40010001),
        ({"qty": 100_000}, 403, 40310000),
        ("[]", 400, 40010001),
    ],
)
def test_a_bad_replacement_is_refused_with_a_code(
    floor: TradingFloor, trader: Trader, body: Any, status: int, code: int
) -> None:
    old = trader.place()
    floor.pass_time(seconds=1)
    answer = trader.patch(f"/v2/orders/{old['id']}", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    assert Order.objects.get().status == "new"


def test_an_unknown_order_is_not_replaced(trader: Trader) -> None:
    assert trader.patch(f"/v2/orders/{uuid.uuid4()}", {"qty": 2}).status_code == 404
    assert trader.patch("/v2/orders/none", {"qty": 2}).status_code == 422


BRACKET: dict[str, Any] = MARKET | {
    "order_class": "bracket",
    "take_profit": {"limit_price": 110.0},
    "stop_loss": {"stop_price": "90", "limit_price": None},
}


def test_a_bracket_is_answered_with_its_legs(floor: TradingFloor, trader: Trader) -> None:
    answer = trader.post(BRACKET)
    assert answer.status_code == 200, answer.content
    placed = AlpacaOrder(**answer.json())
    assert placed.order_class == "bracket"
    assert [leg.status for leg in placed.legs or []] == ["held", "held"]
    floor.pass_time(seconds=1)

    path = f"/v2/orders/{placed.id}"
    assert trader.get(path).json()["legs"] is None
    legs = AlpacaOrder(**trader.get(path, nested="True").json()).legs or []
    assert [(leg.status, leg.type, leg.qty) for leg in legs] == [
        ("new", "limit", "10"),
        ("new", "stop", "10"),
    ]
    by_client_id = trader.get(
        "/v2/orders:by_client_order_id",
        client_order_id=placed.client_order_id,
        nested="true",
    )
    assert len(by_client_id.json()["legs"]) == 2
    assert len(trader.get("/v2/orders").json()) == 2
    (nested,) = trader.get("/v2/orders", nested="true").json()
    assert (nested["id"], len(nested["legs"])) == (str(placed.id), 2)
    assert trader.delete(f"/v2/orders/{legs[0].id}").status_code == 204
    assert trader.get("/v2/orders", nested="true").json() == []
    assert_books_balance(trader.account)


def test_an_oco_takes_its_limit_price_from_its_take_profit(
    floor: TradingFloor, trader: Trader
) -> None:
    trader.post(MARKET)
    floor.pass_time(seconds=1)
    pair = BRACKET | {"order_class": "oco", "side": "sell", "type": "limit"}
    differing = trader.post(pair | {"limit_price": 111})
    assert (differing.status_code, differing.json()["code"]) == (422, 40010001)
    order = trader.post(pair).json()
    assert (order["limit_price"], order["status"]) == ("110", "accepted")
    assert [(leg["type"], leg["side"]) for leg in order["legs"]] == [("stop", "sell")]
    assert_books_balance(trader.account)

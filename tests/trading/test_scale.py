"""What is read of an account costs the same however much it has traded."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks.busy_account import trade_a_lot
from portfolios.models import Lot
from portfolios.reconcile import ledger_agrees
from tests.people import Trader, a_trader
from tests.portfolios.factories import make_instrument
from tests.portfolios.market import set_market_time
from tests.trading.floor import NOON
from trading.models import Fill, Order
from trading.reconcile import fills_agree_with_orders

pytestmark = pytest.mark.django_db

SIZES = (100, 1_000, 5_000)
READS = (
    "/v2/account",
    "/v2/positions",
    "/v2/account/activities?activity_types=FILL",
    "/v2/account/activities?activity_types=FEE",
    "/v2/account/activities",
    "/v2/orders?status=all",
    "/v2/orders?status=closed",
    "/v2/orders?status=open",
    "/v2/orders?status=all&nested=true",
    "/v2/orders?status=open&nested=true",
)


def busy_trader(fills: int, instruments: int = 10) -> Trader:
    set_market_time(NOON)
    trader = a_trader(cash="1000000")
    traded = [make_instrument(f"S{n}") for n in range(instruments)]
    trader.account.refresh_from_db()
    trade_a_lot(trader.account, traded, fills, NOON)
    return trader


def read(client: Client, path: str) -> tuple[list[dict[str, object]], int]:
    """The answer, and how many statements it cost.

    Of three times the fewest: key and clock are looked at again from time to time.
    """
    costs = []
    for _ in range(3):
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(path)
        assert answer.status_code == 200, answer.content
        costs.append(len(queries))
    return answer.json(), min(costs)


def test_busy_accounts_books_are_consistent() -> None:
    account = busy_trader(1_000).account
    compared = [*ledger_agrees(account), *fills_agree_with_orders(account)]
    assert compared
    assert [line for line in compared if not line.agrees] == []


def test_reading_costs_as_many_statements_whatever_was_traded() -> None:
    clients = [busy_trader(size).client() for size in SIZES]
    costs = {path: [read(client, path)[1] for client in clients] for path in READS}
    assert {path: cost for path, cost in costs.items() if len(set(cost)) > 1} == {}
    assert {path: max(cost) for path, cost in costs.items() if max(cost) > 4} == {}


def test_a_portfolio_of_many_open_lots_costs_as_many_statements() -> None:
    few, many = busy_trader(100), busy_trader(100)
    lot = Lot.objects.filter(account=many.account).values().first()
    assert lot is not None
    del lot["id"]
    Lot.objects.bulk_create(Lot(**lot) for _ in range(5_000))
    for path in ("/v2/account", "/v2/positions"):
        with CaptureQueriesContext(connection) as queries:
            many.client().get(path)
        assert [one["sql"] for one in queries if "portfolios_lot" in one["sql"]] == []
        assert read(few.client(), path)[1] == read(many.client(), path)[1]


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_pages_of_activities_hold_every_fill_once_at_the_same_cost(direction: str) -> None:
    trader = busy_trader(1_000)
    client = trader.client()
    path = f"/v2/account/activities/FILL?direction={direction}"
    seen, costs = [], []
    while True:
        token = f"&page_token={seen[-1]}" if seen else ""
        page, cost = read(client, path + token)
        if not page:
            break
        seen += [str(item["id"]) for item in page]
        costs.append(cost)

    order_by = ("at", "pk") if direction == "asc" else ("-at", "-pk")
    fills = Fill.objects.filter(account=trader.account).order_by(*order_by)
    assert [one.rpartition("::")[2] for one in seen] == [str(f.execution_id) for f in fills]
    assert len(costs) == 10
    assert len(set(costs[1:])) == 1


def test_pages_of_orders_hold_every_order_once() -> None:
    trader = busy_trader(1_000)
    client = trader.client()
    seen: list[dict[str, object]] = []
    while True:
        until = f"&until={seen[-1]['submitted_at']}" if seen else ""
        page, _ = read(client, f"/v2/orders?status=all&limit=70{until}")
        if not page:
            break
        seen += page
    orders = Order.objects.filter(account=trader.account).order_by("-submitted_at")
    assert [one["id"] for one in seen] == [str(order.public_id) for order in orders]


@pytest.mark.django_db(transaction=True)  # ANALYZE commits
@pytest.mark.skipif(connection.vendor != "mysql", reason="asks MySQL for its plan")
@pytest.mark.parametrize("token", ["", "&page_token=0::{middle}"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize(
    ("kind", "index"), [("FILL", "fill_by_account"), ("FEE", "fill_by_charge")]
)
def test_page_of_activities_is_a_walk_along_its_index(
    kind: str, index: str, direction: str, token: str
) -> None:
    """No row is sorted to find the page, nor read to learn that it is not on it."""
    trader = busy_trader(5_000)
    analyze()
    middle = Fill.objects.filter(account=trader.account).order_by("pk")[2_500].execution_id
    path = f"/v2/account/activities/{kind}?direction={direction}{token.format(middle=middle)}"
    with CaptureQueriesContext(connection) as queries:
        assert len(trader.client().get(path).json()) == 100

    (statement,) = [one["sql"] for one in queries if "JOIN trading_fill" in one["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}")
        names = [column[0] for column in cursor.description]
        plan = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    (walk,) = [step for step in plan if step["select_type"] == "DERIVED"]
    assert walk["key"] == index, plan
    # In the middle it is entered by a range; MariaDB may call the whole of it one, too.
    assert walk["type"] in ({"range"} if token else {"ref", "range"}), plan
    assert "Using index" in walk["Extra"], plan
    assert "filesort" not in walk["Extra"], plan


def analyze() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE trading_fill, trading_order")
        cursor.fetchall()


def rows_read() -> int:
    """What this connection has had the storage engine read so far."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(value) for _, value in cursor.fetchall())


@pytest.mark.django_db(transaction=True)  # ANALYZE commits
@pytest.mark.skipif(connection.vendor != "mysql", reason="counts what MySQL reads")
def test_page_in_the_middle_reads_no_more_than_it_shows() -> None:
    trader = busy_trader(5_000)
    analyze()
    middle = Fill.objects.filter(account=trader.account).order_by("pk")[2_500]
    until = middle.order.submitted_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    paths = [
        "/v2/account/activities/FILL?page_size=10",
        f"/v2/account/activities/FILL?page_size=10&page_token=0::{middle.execution_id}",
        f"/v2/account/activities/FILL?page_size=10&direction=asc&page_token=0::{middle.execution_id}",
        f"/v2/account/activities/FEE?page_size=10&page_token=0::{middle.execution_id}",
        "/v2/account/activities?page_size=10",
        "/v2/account/activities?page_size=10&direction=asc",
        f"/v2/account/activities?page_size=10&page_token=0::{middle.execution_id}",
        f"/v2/account/activities?page_size=10&direction=asc&page_token=0::{middle.execution_id}",
        f"/v2/account/activities?page_size=10&until={until}",
        f"/v2/account/activities?page_size=10&activity_types=FILL,FEE&direction=asc&after={until}",
        "/v2/orders?status=all&limit=10",
        f"/v2/orders?status=all&limit=10&until={until}",
        f"/v2/orders?status=all&limit=10&direction=asc&after={until}",
        f"/v2/orders?status=closed&limit=10&until={until}",
        f"/v2/orders?status=closed&limit=10&nested=true&until={until}",
    ]
    client, costs = trader.client(), {}
    for path in paths:
        before = rows_read()
        assert len(client.get(path).json()) == 10
        costs[path] = rows_read() - before
    assert max(costs.values()) < 300, costs  # asking for the counters reads some, too

from __future__ import annotations

import uuid
from typing import Any

import pytest
from alpaca.trading.models import Asset
from django.test import Client

from quotes import halts
from quotes.models import Instrument
from tests.people import a_trader

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    Instrument.objects.create(symbol="AAPL", name="Apple Inc.", exchange="NASDAQ")
    Instrument.objects.create(symbol="SPY", exchange="ARCA", shortable=False)
    Instrument.objects.create(symbol="OLD", exchange="NYSE", status="inactive", tradable=False)
    return a_trader().client()


def symbols(client: Client, query: str) -> list[str]:
    return [asset["symbol"] for asset in client.get(f"/v2/assets?{query}").json()]


def test_assets_read_back(client: Client) -> None:
    assets = [Asset(**raw) for raw in client.get("/v2/assets").json()]

    apple = next(asset for asset in assets if asset.symbol == "AAPL")
    assert (apple.name, apple.exchange, apple.asset_class) == ("Apple Inc.", "NASDAQ", "us_equity")
    assert apple.tradable
    assert not next(asset for asset in assets if asset.symbol == "SPY").shortable


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["AAPL", "OLD", "SPY"]),
        ("status=active", ["AAPL", "SPY"]),
        ("status=inactive&asset_class=us_equity", ["OLD"]),
        ("exchange=ARCA", ["SPY"]),
        ("exchange=OTC", []),
        ("asset_class=crypto", []),
        ("attributes=ptp_no_exception", ["AAPL", "OLD", "SPY"]),
    ],
)
def test_assets_are_filtered(client: Client, query: str, found: list[str]) -> None:
    assert symbols(client, query) == found


def test_asset_is_found_by_symbol_and_by_id(client: Client) -> None:
    by_symbol = client.get("/v2/assets/aapl").json()

    assert client.get(f"/v2/assets/{by_symbol['id']}").json() == by_symbol


@pytest.mark.parametrize("name", ["NOSUCH", str(uuid.uuid4()), "A" * 3000, "%27", "-"])
def test_unknown_asset_is_404(client: Client, name: str) -> None:
    answer = client.get(f"/v2/assets/{name}")

    assert (answer.status_code, answer.json()["code"]) == (404, 40410000)


def test_bad_status_is_422(client: Client) -> None:
    answer = client.get("/v2/assets?status=sleeping")

    assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


def test_a_halted_instrument_is_not_tradable(client: Client) -> None:
    halts.halt(Instrument.objects.get(symbol="AAPL"), reason="news", actor="operator:1")

    assert client.get("/v2/assets/AAPL").json()["tradable"] is False


def test_listing_costs_one_query(client: Client, django_assert_max_num_queries: Any) -> None:
    client.get("/v2/assets")
    with django_assert_max_num_queries(1):
        client.get("/v2/assets")

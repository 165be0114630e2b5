"""Nonsense on every route: a coded error in JSON, never a 5xx, and nothing changed."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from django.test import Client

from access.models import ApiKey
from events.models import Event
from portfolios.models import Account, Posting, Watchlist
from tests.api import recording
from tests.api.test_openapi import api_routes
from tests.people import Trader, a_trader
from trading.models import Order

pytestmark = pytest.mark.django_db

ORDER = {
    "symbol": "AIG",
    "qty": "1",
    "side": "buy",
    "type": "limit",
    "time_in_force": "day",
    "limit_price": "50",
}
NONSENSE = [
    None, True, [], {}, ["AIG"], {"a": 1}, "", " ", "NaN", "Infinity", "-Infinity", "sNaN",
    "1e999999999", "1E+30", "-1", "0", "0x10", "1_000", "1,5", "\u0000", "💩", "x" * 5000,
    -1, 0, 10**30, 10**4000, 1e-300, "9" * 400, "0." + "0" * 300 + "1", "' OR 1=1 --",
]  # fmt: skip


@pytest.fixture
def trader() -> Trader:
    recording.play()
    return a_trader()


@pytest.fixture
def client(trader: Trader) -> Client:
    return trader.client()


def state() -> list[Any]:
    """Everything that a request could have changed. A refusal may leave an event that says so."""
    events = Event.objects.exclude(kind__endswith=".refused")
    account = Account.objects.order_by("pk").values("cash", "hold_cash", "trading_suspended")
    rows = [model.objects.count() for model in (Order, Posting, Watchlist, ApiKey)]
    return [*rows, events.count(), *account]


def assert_refused(answer: Any) -> None:
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.content[:300])
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert isinstance(body["code"], int)
    assert body["code"] // 100_000 in (400, 401, 403, 404, 405, 413, 422)
    assert isinstance(body["message"], str)


def post(client: Client, path: str, body: Any) -> Any:
    return client.post(path, body, content_type="application/json")


def test_the_order_itself_is_good(client: Client) -> None:
    answer = post(client, "/v2/orders", ORDER)

    assert answer.status_code == 200, answer.content


@pytest.mark.parametrize("field", ["symbol", "qty", "side", "type", "time_in_force", "limit_price"])
def test_an_order_with_a_field_of_nonsense_is_refused(client: Client, field: str) -> None:
    before = state()

    for nonsense in NONSENSE:
        assert_refused(post(client, "/v2/orders", {**ORDER, field: nonsense}))
    assert_refused(post(client, "/v2/orders", {k: v for k, v in ORDER.items() if k != field}))

    assert state() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"qty": None, "notional": "NaN"},
        {"qty": None, "notional": "1e999999999"},
        {"qty": None, "notional": -5},
        {"notional": "100"},
        {"symbol": "NOSUCH"},
        {"limit_price": "50.001"},
        {"limit_price": "0.00001"},
        {"qty": "0.0000000001"},
        {"qty": "1e10"},
        {"limit_price": "1e8"},
        {"qty": "100000", "limit_price": "50"},
        {"client_order_id": "x" * 129},
        {"client_order_id": ["a"]},
        {"extended_hours": "maybe"},
        {"type": "market"},
        {"type": "stop"},
        {"order_class": "mleg"},
        {"order_class": {"a": 1}},
        {"take_profit": {"limit_price": "60"}, "order_class": "bracket"},
        {"legs": "x", "order_class": "oco"},
    ],
)
def test_an_order_that_may_not_be_is_refused(client: Client, changes: dict[str, Any]) -> None:
    before = state()

    assert_refused(post(client, "/v2/orders", {**ORDER, **changes}))

    assert state() == before


BROKEN = [
    b"{", b"[]", b"[1]", b"7", b"null", b'"x"', b"NaN", b"\xff\xfe", b"a=b", b'{"a":1e999}',
    b"x" * 70_000,
]  # fmt: skip


@pytest.mark.parametrize("method", ["post", "put", "patch"])
def test_broken_bodies_are_refused_on_every_route(client: Client, method: str) -> None:
    before = state()

    for path in _paths("AIG"):
        for body in BROKEN:
            answer = getattr(client, method)(path, body, content_type="application/json")
            assert_refused(answer)

    assert state() == before


@pytest.mark.parametrize("method", ["post", "put", "patch"])
def test_objects_of_nonsense_change_nothing_on_any_route(client: Client, method: str) -> None:
    names = ("name", "symbols", "symbol", "to", "speed", "suspend_trade", "no_shorting", "qty")
    before = state()

    for path, value in itertools.product(_paths("AIG"), [7, [7], {"a": 7}, "\u0000", "x" * 5000]):
        body = dict.fromkeys(names, value)
        assert_refused(getattr(client, method)(path, body, content_type="application/json"))

    assert state() == before


@pytest.mark.parametrize("name", ["NOSUCH", "%00", "💩", "A" * 2000, "-1", "..", "0" * 36])
@pytest.mark.parametrize("method", ["get", "delete"])
def test_names_of_nothing_find_nothing(client: Client, method: str, name: str) -> None:
    before = state()

    for path in _paths(name):
        if f"/{name}" not in path:
            continue
        answer = getattr(client, method)(path)
        if answer.status_code != 200:
            assert_refused(answer)

    assert state() == before


def test_parameters_of_nonsense_are_refused_or_ignored(client: Client) -> None:
    names = (
        "symbols", "limit", "start", "end", "after", "until", "status", "direction", "side",
        "nested", "page_token", "page_size", "date", "activity_types", "since", "sort",
        "timeframe", "qty", "percentage", "client_order_id", "name", "asset_class", "exchange",
    )  # fmt: skip
    before = state()

    for path, value in itertools.product(
        _paths("AIG"), ["-1", "NaN", "%00", "%F0%9F%92%A9", "9" * 60]
    ):
        answer = client.get(f"{path}?{'&'.join(f'{name}={value}' for name in names)}")
        if answer.status_code != 200:
            assert_refused(answer)

    assert state() == before


def _paths(name: str) -> list[str]:
    routes = (re.sub(r"<.*?>", name, path) for path, _view in api_routes() if "^" not in path)
    return [f"/{path}" for path in routes]

"""Every code that a refusal carries is in the API's documentation, and every one there is met."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig
from django.db import OperationalError
from django.http import Http404
from django.test import Client
from rest_framework import exceptions

from access import keys
from access.api.refusals import listed
from config.api import describe
from events.models import IdempotencyKey
from portfolios import watchlists
from quotes import market
from quotes.clock import forget_clock, market_clock
from quotes.latest import forget_latest
from quotes.models import MarketClock
from tests.api.test_hot import stop_the_minute
from tests.people import Trader, an_operator
from tests.trading.floor import TradingFloor
from trading import orders

pytestmark = pytest.mark.django_db

APPS = ("access", "config", "events", "portfolios", "quotes", "trading")
CODE = re.compile(r"\b[45]\d{2}[1]\d{4}\b")
BUY = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit"} | {
    "limit_price": "90",
    "time_in_force": "day",
}


class House:
    """An operator on the floor, by key and by session."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.floor = TradingFloor()
        self.floor.show()
        self.trader: Trader = an_operator()
        self.browser = self.trader.browser()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        client = self.trader.client(raise_request_exception=False)
        return self.by(client, method, path, body, **headers)

    def by(self, client: Client, method: str, path: str, body: Any, **headers: str) -> Any:
        said = "" if body is None else json.dumps(body)
        return getattr(client, method)(path, said, "application/json", headers=headers)

    def order(self, **changes: Any) -> Any:
        return self.ask("post", "/v2/orders", BUY | changes)

    def once(self, method: str, path: str, body: Any = None) -> Any:
        return self.ask(method, path, body, **{"Idempotency-Key": "once"})


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    forget_clock()
    forget_latest()
    return House(monkeypatch)


def _being_done(house: House) -> Any:
    house.order()
    house.once("delete", "/v2/orders")
    IdempotencyKey.objects.update(status=None, answer="")
    return house.once("delete", "/v2/orders")


def _without_an_answer(house: House) -> Any:
    for _ in range(2):
        answer = house.by(
            house.browser, "post", "/api/keys", {"name": "robot"}, **{"Idempotency-Key": "once"}
        )
    return answer


def _by_a_page_of_another_account(house: House) -> Any:
    return house.by(house.browser, "get", "/v2/account", None, **{"Openbell-Account": "another"})


def _with_a_key_of_another(house: House) -> Any:
    house.once("post", "/v2/orders", BUY)
    return house.once("post", "/v2/orders", BUY | {"qty": "2"})


def _too_often(house: House) -> Any:
    stop_the_minute(house.patch)
    house.patch.setattr(settings, "RATE_LIMIT_PER_MINUTE", 1)
    house.ask("get", "/v2/account")
    return house.ask("get", "/v2/account")


def _with_a_bug(house: House) -> Any:
    def fail(**_: Any) -> None:
        raise RuntimeError("a bug")

    house.patch.setattr(orders, "submit", fail)
    return house.order()


def _without_a_market(house: House) -> Any:
    MarketClock.objects.all().delete()
    return house.ask("post", "/api/market/pause")


def _unsettled(house: House) -> Any:
    house.patch.setitem(market.advance.__kwdefaults__, "timeout_seconds", 0.0)
    to = market_clock().now() + timedelta(seconds=1)
    return house.ask("post", "/api/market/advance", {"to": to.isoformat()})


# By status and code, a request that is answered with it, and fields that explain it in numbers.
EVERY: dict[tuple[int, int], tuple[Callable[[House], Any], set[str]]] = {
    (400, 40010001): (lambda house: house.ask("get", "/v2/stocks/bars"), set()),
    (401, 40110000): (lambda house: Client().get("/v2/account"), set()),
    (403, 40310000): (lambda house: house.order(qty="100000"), {"buying_power", "cost_basis"}),
    (404, 40410000): (lambda house: house.ask("get", "/v2/nothing"), set()),
    (405, 40510000): (lambda house: house.ask("put", "/v2/orders"), set()),
    (409, 40910000): (_being_done, set()),
    (409, 40910001): (_without_an_answer, {"key_id"}),
    (409, 40910002): (_by_a_page_of_another_account, set()),
    (413, 41310000): (lambda house: house.order(client_order_id="x" * 70_000), set()),
    (422, 40010001): (lambda house: house.order(client_order_id="x" * 129, qty="1"), set()),
    (422, 42210000): (lambda house: house.order(limit_price="90.001"), {"minimum_increment"}),
    (422, 42210001): (_with_a_key_of_another, {"idempotency_key"}),
    (429, 42910000): (_too_often, {"limit", "retry_after_seconds"}),
    (500, 50010000): (_with_a_bug, set()),
    (503, 50310000): (_without_a_market, set()),
    (503, 50310002): (_unsettled, {"to", "settled"}),
}


def test_no_listed_code_is_left_out() -> None:
    assert EVERY.keys() == {(each.status, each.code) for each in listed()}


@pytest.mark.parametrize("key", EVERY, ids=str)
def test_every_listed_code_is_met(house: House, key: tuple[int, int]) -> None:
    ask, numbers = EVERY[key]

    answer = ask(house)

    assert (answer.status_code, answer.json()["code"]) == key, answer.content
    told = answer.json()
    assert told.keys() >= {"code", "message", *numbers}
    assert all(isinstance(told[name], str) for name in numbers)


def test_every_code_in_the_sources_is_listed() -> None:
    found = subprocess.run(
        ["git", "ls-files", *(f"{app}/*.py" for app in APPS)],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    written = {
        int(code)
        for path in found
        for code in CODE.findall(Path(settings.BASE_DIR, path).read_text())
        if "/feeds/" not in path  # they end a process, and answer nobody
    }
    assert len(written) > 10
    assert written <= {each.code for each in listed()}


@pytest.mark.parametrize(
    "error",
    [
        OperationalError(2006, "gone"),
        exceptions.ValidationError("wrong"),
        exceptions.NotAuthenticated(),
        exceptions.ParseError(),
        exceptions.MethodNotAllowed("PUT"),
        exceptions.PermissionDenied(),
        Http404(),
        PermissionDenied(),
        RequestDataTooBig(),
        BadRequest(),
        ValueError("a bug"),
    ],
)
def test_what_is_not_our_own_has_a_listed_code(error: Exception) -> None:
    status, body = describe(error)
    assert (status, body["code"]) in EVERY


# --- in numbers ---------------------------------------------------------------------------------


def test_a_bound_that_is_reached_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KEYS_PER_ACCOUNT_MAX", 1)
    monkeypatch.setattr(watchlists, "WATCHLISTS_MAX", 0)
    monkeypatch.setattr("portfolios.accounts.ACCOUNTS_PER_USER_MAX", 1)
    house.floor.buy(house.trader.account, "1")
    house.floor.pass_time(seconds=1)
    watched = {"name": "Mine", "symbols": []}
    asked: list[tuple[Any, str]] = [
        (house.by(house.browser, "post", "/api/keys", {"name": "robot"}), "1"),
        (house.by(house.browser, "post", "/api/accounts", {"name": "2", "cash": "9.00"}), "1"),
        (house.ask("post", "/v2/watchlists", watched), "0"),
        (house.ask("delete", "/v2/positions/AAPL?percentage=101"), "100"),
        (house.ask("post", "/v2/orders", BUY, **{"Idempotency-Key": "x" * 256}), "255"),
    ]
    for answer, maximum in asked:
        assert (answer.status_code, answer.json().get("maximum")) == (422, maximum), answer.content

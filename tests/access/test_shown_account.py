"""A page of one account, left open while its session goes over to another one."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from access import lookups
from access.accounts import reset_account
from access.authentication import sockets
from access.models import ApiKey
from events.models import Event
from portfolios.accounts import open_account
from portfolios.models import Account, Watchlist
from tests.people import Trader, a_trader
from tests.trading.floor import TradingFloor
from trading.models import Order

pytestmark = pytest.mark.django_db

ORDER = {
    "symbol": "AAPL",
    "side": "buy",
    "type": "limit",
    "time_in_force": "day",
    "qty": "1",
    "limit_price": "90",
}
# Everything that the screen sends.
ASKED = [
    ("post", "/v2/orders", ORDER),
    ("post", "/v2/orders/preview", ORDER),
    ("patch", "/v2/orders/{order}", {"qty": "2"}),
    ("delete", "/v2/orders/{order}", None),
    ("delete", "/v2/orders", None),
    ("post", "/api/keys", {"name": "robot"}),
    ("delete", "/api/keys/{key}", None),
    ("post", "/v2/watchlists", {"name": "Watchlist", "symbols": ["AAPL"]}),
    ("patch", "/v2/account/configurations", {"suspend_trade": True}),
    ("get", "/v2/account", None),
    ("get", "/v2/positions", None),
    ("get", "/v2/orders", None),
    ("get", "/v2/clock", None),
    ("get", "/v2/watchlists", None),
    ("get", "/api/keys", None),
]


class TwoAccounts:
    """Somebody whose session acts for the second of two accounts; that one has an order."""

    def __init__(self) -> None:
        self.floor = TradingFloor()
        self.floor.show()
        self.trader: Trader = a_trader()
        self.first = self.trader.account
        self.second = open_account(user=self.trader.user, cash=Decimal(5000), actor="test")
        self.order = self.floor.buy(self.second, "1", limit="90")
        self.browser = self.trader.browser()
        session = self.browser.session
        session["account_id"] = self.second.pk
        session.save()
        lookups.forget_everyone()

    def ask(self, shown: Account, method: str, path: str, body: Any, **headers: str) -> Any:
        """As a page that shows this account."""
        named = path.format(order=self.order.public_id, key=self.trader.key_id)
        said = "" if body is None else json.dumps(body)
        headers = {"Openbell-Account": str(shown.public_id), **headers}
        return getattr(self.browser, method)(named, said, "application/json", headers=headers)

    def books(self) -> Any:
        """Whatever a request of the screen could have changed."""
        return [
            list(kind.objects.order_by("pk").values())
            for kind in (Account, Order, ApiKey, Watchlist, Event)
        ]


@pytest.fixture
def two() -> TwoAccounts:
    return TwoAccounts()


@pytest.mark.parametrize(("method", "path", "body"), ASKED)
@pytest.mark.parametrize("once", [{}, {"Idempotency-Key": "once"}], ids=["", "once"])
def test_a_page_of_another_account_changes_nothing_and_is_told(two, method, path, body, once):
    before = two.books()

    answer = two.ask(two.first, method, path, body, **once)

    assert (answer.status_code, answer.json()["code"]) == (409, 40910002), answer.content
    assert "another account" in answer.json()["message"]
    assert two.books() == before


@pytest.mark.parametrize("path", ["/v2/account", "/v2/orders"])
def test_a_page_of_the_account_that_is_traded_is_served(two, path):
    assert two.ask(two.second, "get", path, None).status_code == 200


def test_an_order_of_the_page_goes_to_the_account_that_it_shows(two):
    answer = two.ask(two.second, "post", "/v2/orders", ORDER)

    assert answer.status_code == 200
    assert list(Order.objects.values_list("account", flat=True)) == [two.second.pk] * 2


def test_an_account_that_another_process_has_opened_is_known_as_soon_as_it_is_chosen(two):
    old = lookups.find_user(two.trader.user.pk)
    session = two.browser.session
    session["account_id"] = open_account(user=two.trader.user, cash=Decimal(3), actor="test").pk
    session.save()
    lookups.forget_everyone()
    lookups._users.keep(two.trader.user.pk, old)  # as in a process that has not heard of it

    assert two.browser.get("/v2/account").json()["cash"] == "3"


def test_an_account_of_somebody_else_is_none_that_is_traded(two):
    assert two.ask(a_trader().account, "get", "/v2/account", None).status_code == 409


def test_a_page_that_was_open_when_its_account_was_begun_anew_is_told(two):
    new = reset_account(account_id=two.second.pk, cash=Decimal(7), actor="test")
    session = two.browser.session
    session["account_id"] = new.pk
    session.save()
    lookups.forget_everyone()

    assert two.ask(two.second, "post", "/v2/orders", ORDER).status_code == 409
    assert not Order.objects.filter(account=new).exists()
    assert two.ask(new, "get", "/v2/account", None).json()["cash"] == "7"


def test_a_page_of_an_account_beyond_those_that_are_kept_is_served(two, monkeypatch):
    monkeypatch.setattr(lookups, "ACCOUNTS_PER_USER_MAX", 1)
    reset_account(account_id=two.second.pk, cash=Decimal(7), actor="test")  # in another session
    lookups.forget_everyone()

    assert f'data-shown-account="{two.second.public_id}"' in two.browser.get("/").content.decode()
    answer = two.ask(two.second, "get", "/v2/account", None)
    assert (answer.status_code, answer.json().get("id")) == (200, str(two.second.public_id))
    assert two.ask(two.first, "get", "/v2/account", None).status_code == 409
    assert handshake(two.browser, f"account={two.second.public_id}").account_id == two.second.pk


def test_an_account_of_somebody_else_is_not_acted_for_beyond_those_that_are_kept(two, monkeypatch):
    monkeypatch.setattr(lookups, "ACCOUNTS_PER_USER_MAX", 1)
    other = a_trader().account
    session = two.browser.session
    session["account_id"] = other.pk
    session.save()
    lookups.forget_everyone()

    assert two.ask(other, "get", "/v2/account", None).status_code == 409
    assert two.browser.get("/v2/account").json()["id"] == str(two.first.public_id)


def test_the_screen_names_the_account_that_it_shows(two):
    page = two.browser.get("/").content.decode()

    shown = two.second.public_id
    assert f'data-shown-account="{shown}"' in page
    assert f'data-account-stream="/stream?honest=1&amp;account={shown}"' in page


def test_a_stream_of_another_account_than_the_page_shows_is_not_opened(two):
    assert handshake(two.browser, "honest=1").account_id == two.second.pk
    assert handshake(two.browser, f"account={two.second.public_id}").account_id == two.second.pk
    assert handshake(two.browser, f"honest=1&account={two.first.public_id}") is None
    assert handshake(two.browser, "account=%ff") is None


def handshake(browser: Client, query: str) -> Any:
    """Whom a socket of our own page, with this query, is opened for."""
    cookie = f"{settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}"
    headers = [(b"cookie", cookie.encode()), (b"origin", b"http://localhost")]
    scope = {"headers": [*headers, (b"host", b"localhost")], "query_string": query.encode()}
    return sockets.by_scope(scope)

"""Every write of the API under an Idempotency-Key: asked for by many at once, done by one of them,
and done again by none, whatever has become of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from access.api import accounts
from access.api.documentation import document
from events.models import Event, IdempotencyKey
from portfolios.models import Watchlist, WatchlistEntry
from quotes.clock import forget_clock, market_clock
from quotes.latest import forget_latest
from quotes.models import MarketClock
from quotes.ticks import to_instant
from tests.meeting import together
from tests.people import Trader, an_operator
from tests.portfolios.factories import assert_books_balance
from tests.trading.floor import TradingFloor
from trading.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 4
BUY = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit"} | {
    "limit_price": "90",
    "time_in_force": "day",
}
ONCE = {"Idempotency-Key": "once"}
CONFIGURATIONS = "/v2/account/configurations"


class House:
    """An operator with a working order, a position, a watchlist, two accounts and two keys."""

    def __init__(self) -> None:
        forget_clock()
        forget_latest()
        self.floor = TradingFloor()
        self.floor.show()
        self.trader: Trader = an_operator()
        self.program, self.browser = self.trader.client(), self.trader.browser()
        self.floor.buy(self.trader.account, "3")
        self.order = self.made("/v2/orders", BUY)["id"]
        self.floor.pass_time(seconds=1)
        watched = {"name": "Mine", "symbols": ["AAPL"]}
        self.list = f"/v2/watchlists/{self.made('/v2/watchlists', watched)['id']}"
        self.first = str(self.trader.account.public_id)
        self.second = self.made("/api/accounts", {"name": "2", "cash": "50.00"})["id"]
        self.key = self.made("/api/keys", {"name": "robot"})["key_id"]

    def made(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.send("post", path, body)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """By the program's key; in the person's session where that is what it takes."""
        is_session = path.startswith("/api/") and not path.startswith("/api/market")
        client = Client() if is_session else self.program
        if is_session:
            client.cookies = self.browser.cookies
        said = "" if body is None else json.dumps(body)
        return getattr(client, method)(path, said, "application/json", headers=headers)

    def once(self, method: str, path: str, body: Any = None) -> Any:
        return self.send(method, path, body, **ONCE)

    def play(self) -> None:
        """Let the market be a replay."""
        MarketClock.objects.update(mode=MarketClock.Mode.REPLAY, paused=True)
        market_clock().refresh()

    def settle(self, **duration: float) -> str:
        """An instant to come, up to which a stepped market has settled already."""
        row = MarketClock.objects.get()
        to = to_instant(row.watermark_us) + timedelta(**duration)
        MarketClock.objects.update(settled_us=row.watermark_us + 10**9)
        return to.isoformat()

    def state(self) -> tuple[Any, ...]:
        """What was changed and by which request, refusals apart, and what no event tells of."""
        events = Event.objects.exclude(kind__endswith=".refused").order_by("id")
        return (
            list(events.values_list("request_id", "kind")),
            list(Watchlist.objects.values_list("name", "updated_at")),
            list(WatchlistEntry.objects.values_list("pk", "instrument_id")),
            [each.get_decoded().get("account_id") for each in Session.objects.all()],
        )


@pytest.fixture
def house() -> House:
    return House()


def _in_a_replay(path: str, body: Any = None) -> Callable[[House], tuple[str, Any]]:
    def ask(house: House) -> tuple[str, Any]:
        house.play()
        return path, body

    return ask


def _close_position(house: House) -> tuple[str, Any]:
    house.send("delete", "/v2/orders")  # which it could trade with
    return "/v2/positions/AAPL?qty=1", None


def _jump(house: House) -> tuple[str, Any]:
    to = house.settle(hours=1)
    house.play()
    return "/api/market/jump", {"to": to}


# By operation of the document: the path and the body of a request that changes something.
EVERY: dict[str, Callable[[House], tuple[str, Any]]] = {
    "place_order": lambda house: ("/v2/orders", BUY),
    "cancel_all_orders": lambda house: ("/v2/orders", None),
    "replace_order": lambda house: (f"/v2/orders/{house.order}", {"qty": "2"}),
    "cancel_order": lambda house: (f"/v2/orders/{house.order}", None),
    "close_all_positions": lambda house: ("/v2/positions?cancel_orders=true", None),
    "close_position": _close_position,
    "change_account_configurations": lambda house: (CONFIGURATIONS, {"suspend_trade": True}),
    "stop_account": lambda house: ("/v2/account/stop", {}),
    "create_watchlist": lambda house: ("/v2/watchlists", {"name": "New", "symbols": ["AAPL"]}),
    "v2_watchlists_create": lambda house: (house.list, {"symbol": "AAPL"}),
    "v2_watchlists_update": lambda house: (house.list, {"name": "New", "symbols": ["AAPL"]}),
    "v2_watchlists_destroy": lambda house: (house.list, None),
    "remove_watchlist_symbol": lambda house: (f"{house.list}/AAPL", None),
    "v2_watchlists:by_name_create": lambda house: (
        "/v2/watchlists:by_name?name=Mine",
        {"symbol": "AAPL"},
    ),
    "v2_watchlists:by_name_update": lambda house: (
        "/v2/watchlists:by_name?name=Mine",
        {"name": "New"},
    ),
    "v2_watchlists:by_name_destroy": lambda house: ("/v2/watchlists:by_name?name=Mine", None),
    "open_account": lambda house: ("/api/accounts", {"name": "3", "cash": "100.00"}),
    "choose_account": lambda house: ("/api/session/account", {"account_id": house.second}),
    "reset_account": lambda house: (f"/api/accounts/{house.first}/reset", {"cash": "100.00"}),
    "transfer_cash": lambda house: (
        "/api/transfers",
        {"from_account": house.first, "to_account": house.second, "amount": "5.00"},
    ),
    "create_key": lambda house: ("/api/keys", {"name": "another"}),
    "revoke_key": lambda house: (f"/api/keys/{house.key}", None),
    "advance_market": lambda house: ("/api/market/advance", {"to": house.settle(minutes=1)}),
    "jump_market": _jump,
    "pause_market": _in_a_replay("/api/market/pause"),
    "resume_market": _in_a_replay("/api/market/resume"),
    "set_market_speed": _in_a_replay("/api/market/speed", {"speed": 10}),
}
ASKS_ONLY = {"preview_order"}
IN_STEPS = {"reset_account"}  # each of which is done once, and may be another request's


def writes() -> dict[str, str]:
    """The operations of the document that change something, and their methods."""
    return {
        operation["operationId"]: method
        for item in document()["paths"].values()
        for method, operation in item.items()
        if method in ("post", "put", "patch", "delete")
    }


def test_no_write_is_left_out() -> None:
    assert EVERY.keys() == writes().keys() - ASKS_ONLY


@pytest.mark.parametrize("operation", EVERY)
def test_of_many_at_once_one_is_done(house: House, operation: str) -> None:
    method, (path, body) = writes()[operation], EVERY[operation](house)
    before = house.state()
    answers = together(*[partial(house.once, method, path, body)] * AT_ONCE)
    after = house.state()
    again = house.once(method, path, body)
    other = house.once(method, path, {**(body or {}), "more": 1})

    done = [answer for answer in answers if answer.status_code < 400]
    told = {answer.status_code for answer in answers} - {done[0].status_code}
    assert told <= {409, 429, 503}, "it is done, being done, or it was not its turn in time"
    assert len({answer.content for answer in done}) == 1
    made = after[0][len(before[0]) :]
    if operation in IN_STEPS:
        assert len({kind for _, kind in made}) == len(made)
    else:
        assert len({request for request, _ in made}) <= 1
    if operation == "create_key":  # whose secret is told once
        assert (again.status_code, again.json()["code"]) == (409, 40910001)
    else:
        assert (again.status_code, again.content) == (done[0].status_code, done[0].content)
        assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, 42210001)
    assert house.state() == after
    assert_books_balance(house.trader.account)


# --- nothing to change --------------------------------------------------------------------------


def test_who_canceled_nothing_does_not_cancel_what_comes_later(house: House) -> None:
    house.send("delete", "/v2/orders")
    assert house.once("delete", "/v2/orders").json() == []
    later = house.made("/v2/orders", BUY)["id"]

    again = house.once("delete", "/v2/orders")

    assert (again.status_code, again.json()) == (207, [])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert Order.objects.get(public_id=later).status == "accepted"


def test_what_was_so_already_is_not_made_so_later(house: House) -> None:
    first = house.once("patch", CONFIGURATIONS, {"suspend_trade": False})
    house.send("patch", CONFIGURATIONS, {"suspend_trade": True})

    again = house.once("patch", CONFIGURATIONS, {"suspend_trade": False})
    other = house.once("patch", CONFIGURATIONS, {"suspend_trade": True})

    assert again.content == first.content
    assert house.send("get", CONFIGURATIONS).json()["suspend_trade"] is True
    assert (other.status_code, other.json()["code"]) == (422, 42210001)


def test_where_nothing_could_be_closed_it_may_be_tried_again(house: House) -> None:
    sale = {**BUY, "side": "sell", "qty": "3", "limit_price": "150"}
    house.made("/v2/orders", sale)  # it holds the shares
    refused = house.once("delete", "/v2/positions")
    assert [each["status"] for each in refused.json()] == [403]
    house.send("delete", "/v2/orders")

    assert [each["status"] for each in house.once("delete", "/v2/positions").json()] == [200]


def test_a_question_takes_no_key(house: House) -> None:
    assert house.once("post", "/v2/orders/preview", BUY).status_code == 200
    assert not IdempotencyKey.objects.exists()
    assert house.once("post", "/v2/orders", BUY).status_code == 200


def test_who_was_logged_out_meanwhile_is_told_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_account = accounts.own_account

    def log_out_first(*which: Any) -> Any:
        Session.objects.all().delete()
        return own_account(*which)

    monkeypatch.setattr(accounts, "own_account", log_out_first)
    answer = house.once("put", "/api/session/account", {"account_id": house.second})
    assert (answer.status_code, answer.json()["code"]) == (400, 40010001)


# --- the answer was lost ------------------------------------------------------------------------


def test_what_was_done_later_under_the_same_request_name_is_no_part_of_it(house: House) -> None:
    """Not every client gives each of its requests a name of its own."""
    name = {"X-Request-ID": "mine"}

    def ask(method: str, path: str, body: Any = None, key: str = "") -> Any:
        headers = name | ({"Idempotency-Key": key} if key else {})
        return house.send(method, path, body, **headers).json()

    canceled = ask("delete", "/v2/orders", key="cancel")
    closed = ask("delete", "/v2/positions", key="close")
    assert [each["id"] for each in canceled] == [house.order]
    assert [each["status"] for each in closed] == [200]
    _let_time_pass()
    house.floor.pass_time(seconds=1)
    later = ask("post", "/v2/orders", BUY)["id"]
    house.send("delete", f"/v2/orders/{later}", **name)

    assert ask("delete", "/v2/orders", key="cancel") == canceled
    again = ask("delete", "/v2/positions", key="close")
    assert [each["body"]["id"] for each in again] == [closed[0]["body"]["id"]]


def _let_time_pass() -> None:
    """Until nothing of it is at work any more, with the answers lost."""
    for model in (IdempotencyKey, Order, Event):
        column = "created_at" if model is IdempotencyKey else "recorded_at"
        for row in model.objects.all():
            earlier = getattr(row, column) - timedelta(seconds=31)
            model.objects.filter(pk=row.pk).update(**{column: earlier})
    IdempotencyKey.objects.update(status=None, answer="")

"""Writes over HTTP, killed between any two statements: whoever sends them again has them once.

A process of its own carries the request out and is killed at the n-th point that it passes: before
a statement, or before, within or after a COMMIT. The client has no answer and sends the same
request again, with the same Idempotency-Key. All points are tried one after the other, every
`STRIDE`-th in the short form.
"""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from access import rebuilding
from access.models import ApiKey
from events.models import Event
from portfolios.accounts import open_account
from portfolios.models import Account
from quotes.clock import forget_clock, market_clock
from quotes.latest import forget_latest
from tests.conftest import LONG
from tests.faults.crash_points import Armed, Fork
from tests.people import Trader, a_trader
from tests.portfolios.factories import assert_books_balance
from tests.trading.floor import TradingFloor
from trading.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

STRIDE = 1 if LONG else 5
RESET_STRIDE = 1 if LONG else 9  # each takes an account of its own
POINTS_MAX = 200
ORDER = {"symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day"}
BUY = {**ORDER, "qty": "1", "limit_price": "90"}
BRACKET = {
    **BUY,
    "order_class": "bracket",
    "take_profit": {"limit_price": "110"},
    "stop_loss": {"stop_price": "80"},
}


def send(client: Client, method: str, path: str, key: str, body: dict[str, Any] | None) -> Any:
    ask = getattr(client, method)
    headers = {"Idempotency-Key": key} if key else {}
    if body is None:
        return ask(path, headers=headers)
    return ask(path, json.dumps(body), content_type="application/json", headers=headers)


class Desk:
    """A trader with shares, and what the books of orders say of them."""

    def __init__(self, floor: TradingFloor) -> None:
        self.floor = floor
        self.trader: Trader = a_trader()
        floor.buy(self.trader.account, "50")
        floor.pass_time(seconds=1)

    def send(self, method: str, path: str, key: str, body: dict[str, Any] | None) -> Any:
        market_clock().heard()
        return send(self.trader.client(), method, path, key, body)

    def working(self, count: int) -> list[str]:
        """Ids of so many new orders that the engine has taken in."""
        placed = [self.send("post", "/v2/orders", "", BUY).json()["id"] for _ in range(count)]
        if placed:
            self.floor.pass_time(seconds=1)
        return placed

    def count(self, kind: str) -> int:
        return Event.objects.filter(account_id=self.trader.account.pk, kind=kind).count()


@dataclass(frozen=True)
class Write:
    """What is sent, what is there before it, and what is counted to have happened once."""

    method: str
    path: str
    status: int
    body: dict[str, Any] | None = None
    kind: str = "trading.order.accepted"
    working: int = 0  # orders that are open before
    places: int = 1  # orders that it adds, exits included


CANCELED = "trading.order.canceled"
WRITES = {
    "submit": Write("post", "/v2/orders", 200, BUY),
    "submit with exits": Write("post", "/v2/orders", 200, BRACKET, places=3),
    "cancel": Write("delete", "/v2/orders/{order}", 204, kind=CANCELED, working=1, places=0),
    "replace": Write("patch", "/v2/orders/{order}", 200, {"qty": "2"}, working=1),
    "cancel all": Write("delete", "/v2/orders", 207, kind=CANCELED, working=3, places=0),
    "close a part": Write("delete", "/v2/positions/AAPL?qty=0.02", 200),
}


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    forget_clock()
    forget_latest()
    floor = TradingFloor()
    floor.show()
    monkeypatch.setattr(rebuilding, "AT_WORK", timedelta(0))  # nobody is: they were killed
    return Desk(floor)


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_is_killed_and_sent_again_is_done_once(
    desk: Desk, fork: Fork, name: str
) -> None:
    write = WRITES[name]
    struck = []
    for point in range(1, POINTS_MAX, STRIDE):
        orders = desk.working(write.working)
        path = write.path.format(order=orders[0] if orders else "")
        done, placed = desk.count(write.kind), Order.objects.count()

        def ask(path: str = path, key: str = f"point-{point}") -> Any:
            return desk.send(write.method, path, key, write.body)

        sent = fork(ask, Armed(point))
        if sent.wait() == 0:
            break
        assert sent.result == -signal.SIGKILL
        struck.append(sent.struck_at())
        when = f"killed at point {point}: {struck[-1]}"
        again = ask()
        assert again.status_code == write.status, (when, again.content)
        assert desk.count(write.kind) == done + (1 if write.places else write.working), when
        assert Order.objects.count() == placed + write.places, when
        if name == "replace":
            assert again.json()["replaces"] == orders[0], when
        if name == "cancel all":
            assert [entry["id"] for entry in again.json()] == orders, when
        assert_books_balance(desk.trader.account)
    else:
        pytest.fail(f"a request has more than {POINTS_MAX} points")
    assert len(struck) > 5 // STRIDE
    if STRIDE == 1:
        for statement in ("INSERT INTO events_idempotencykey", "before COMMIT", "after COMMIT"):
            assert any(statement in one for one in struck), f"never killed at {statement}"


def test_without_a_key_its_own_id_keeps_an_order_from_being_placed_twice(
    desk: Desk, fork: Fork
) -> None:
    for point in range(1, POINTS_MAX, STRIDE):
        body = {**BUY, "client_order_id": f"mine-{point}"}
        sent = fork(lambda body=body: desk.send("post", "/v2/orders", "", body), Armed(point))
        if sent.wait() == 0:
            break
        again = desk.send("post", "/v2/orders", "", body)
        assert again.status_code == 200 or again.json()["code"] == 40010001
        mine = Order.objects.filter(client_order_id=body["client_order_id"])
        assert mine.count() == 1, sent.struck_at()
        assert_books_balance(desk.trader.account)


def test_a_transfer_that_is_killed_and_sent_again_moves_its_cash_once(
    desk: Desk, fork: Fork
) -> None:
    source, browser = desk.trader.account, desk.trader.browser()
    target = open_account(user=desk.trader.user, cash=Decimal(1), actor="test")
    pair = {"from_account": str(source.public_id), "to_account": str(target.public_id)}
    moved = 0
    for point in range(1, POINTS_MAX, STRIDE):
        body, key = {**pair, "amount": "10.00"}, f"point-{point}"

        def ask(body: dict[str, str] = body, key: str = key) -> Any:
            return send(browser, "post", "/api/transfers", key, body)

        sent, moved = fork(ask, Armed(point)), moved + 1
        if sent.wait() == 0:
            break
        again = ask()
        assert again.status_code == 200, (sent.struck_at(), again.content)
        target.refresh_from_db()
        assert target.cash == 1 + 10 * moved, sent.struck_at()
        assert_books_balance(source, target)
    assert moved > 12 // STRIDE


def test_a_reset_that_is_killed_and_sent_again_opens_one_account(desk: Desk, fork: Fork) -> None:
    resets = 0
    for point in range(1, POINTS_MAX, RESET_STRIDE):
        trader = a_trader()
        desk.floor.buy(trader.account, "1", limit="90")
        browser = trader.browser()
        path = f"/api/accounts/{trader.account.public_id}/reset"

        def ask(browser: Client = browser, path: str = path) -> Any:
            return send(browser, "post", path, "once", {"cash": "500.00"})

        sent, resets = fork(ask, Armed(point)), resets + 1
        if sent.wait() == 0:
            break
        again = ask()
        when = f"killed at point {point}: {sent.struck_at()}"
        assert again.status_code == 200, (when, again.content)
        old, new = Account.objects.filter(user=trader.user).order_by("pk")
        assert (old.status, old.successor_id, new.cash) == ("ACCOUNT_CLOSED", new.pk, 500), when
        assert again.json()["id"] == str(new.public_id), when
        assert [order.status for order in Order.objects.filter(account=old)] == ["canceled"], when
        assert ApiKey.objects.get(key_id=trader.key_id).account_id == new.pk, when
        assert_books_balance(old, new)
    assert resets > 40 // RESET_STRIDE

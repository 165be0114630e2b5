"""Clients that retry blindly: whatever is sent twice with one key is done once, answered twice."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from access import rebuilding
from access.models import ApiKey
from events import idempotency
from events.errors import Unavailable
from events.models import Event, IdempotencyKey
from portfolios.models import Account, Watchlist
from tests.meeting import WAIT_SECONDS_MAX, together
from tests.people import Trader, a_trader, an_operator
from tests.portfolios.factories import assert_books_balance
from tests.trading.floor import TradingFloor
from trading import kill_switch, locks, orders
from trading.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

BUY = {
    "symbol": "AAPL",
    "qty": "1",
    "side": "buy",
    "type": "limit",
    "limit_price": "90",
    "time_in_force": "day",
}


@pytest.fixture
def floor() -> TradingFloor:
    floor = TradingFloor()
    floor.show()
    return floor


@pytest.fixture
def trader(floor: TradingFloor) -> Trader:
    return a_trader()


@pytest.fixture
def client(trader: Trader) -> Client:
    return trader.client()


def send(client: Client, method: str, path: str, key: str = "once", **body: Any) -> Any:
    ask = getattr(client, method)
    headers = {"Idempotency-Key": key} if key else {}
    if not body:
        return ask(path, headers=headers)
    return ask(path, json.dumps(body), content_type="application/json", headers=headers)


def buy(client: Client, key: str = "once", **changes: Any) -> Any:
    return send(client, "post", "/v2/orders", key, **{**BUY, **changes})


def is_replay(answer: Any) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def lose_the_answer() -> IdempotencyKey:
    """As after a crash between the commit and the answer."""
    IdempotencyKey.objects.update(status=None, answer="")
    return IdempotencyKey.objects.get()


def kinds() -> list[str]:
    return list(Event.objects.order_by("id").values_list("kind", flat=True))


def test_an_order_sent_twice_is_placed_once_and_answered_twice(
    trader: Trader, client: Client
) -> None:
    first, second = buy(client), buy(client)

    assert (first.status_code, second.status_code) == (200, 200)
    assert second.content == first.content
    assert second.headers["Content-Type"] == first.headers["Content-Type"]
    assert (is_replay(first), is_replay(second)) == (False, True)
    assert Order.objects.count() == 1
    assert_books_balance(trader.account)


def test_another_key_or_none_is_another_order(trader: Trader, client: Client) -> None:
    for key in ("once", "twice", "", ""):
        answer = buy(client, key)
        assert (answer.status_code, is_replay(answer)) == (200, False)
    assert Order.objects.count() == 4
    assert IdempotencyKey.objects.count() == 2


def test_the_answer_stays_what_it_was_whatever_becomes_of_the_order(
    floor: TradingFloor, client: Client
) -> None:
    first = buy(client, limit_price="100")
    floor.pass_time(seconds=1)
    assert Order.objects.get().status == "filled"
    assert buy(client, limit_price="100").json() == first.json()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/v2/orders", {**BUY, "qty": "2"}),
        ("post", "/v2/orders?a=1", BUY),
        ("post", "/v2/watchlists", BUY),
        ("delete", "/v2/orders", {}),
    ],
)
def test_a_key_that_comes_with_another_request_is_refused(
    client: Client, method: str, path: str, body: dict[str, str]
) -> None:
    buy(client)
    refused = send(client, method, path, "once", **body)

    assert (refused.status_code, refused.json()["code"]) == (422, 42210001)
    assert refused.json()["idempotency_key"] == "once"
    assert [order.status for order in Order.objects.all()] == ["accepted"]


def test_keys_are_the_callers_own(client: Client) -> None:
    assert buy(client).status_code == 200
    stranger = a_trader()
    answer = buy(stranger.client())
    assert (answer.status_code, is_replay(answer)) == (200, False)
    assert Order.objects.count() == 2


def test_keys_differ_by_every_letter(client: Client) -> None:
    for key in ("a", "A", "a.", "ä".encode().decode("latin1")):
        buy(client, key)
    assert Order.objects.count() == 3  # the last one is malformed


@pytest.mark.parametrize("key", [" ", "two words", "x" * 256, "tab\there", "naïve"])
def test_a_malformed_key_is_refused_before_anything_is_done(client: Client, key: str) -> None:
    answer = buy(client, key)
    assert (answer.status_code, answer.json()["code"]) == (422, 40010001)
    assert "Idempotency-Key" in answer.json()["message"]
    assert not Order.objects.exists()


def test_a_refusal_is_not_kept_and_may_be_tried_again(floor: TradingFloor) -> None:
    trader = a_trader(cash="100")
    client = trader.client()
    floor.show("99", "100")
    for _ in range(2):
        refused = buy(client, limit_price="100", qty="2")
        assert (refused.status_code, is_replay(refused)) == (403, False)
    assert not IdempotencyKey.objects.exists()
    assert kinds().count("trading.order.refused") == 2

    assert buy(client, qty="1").status_code == 200  # the key is free for whatever is accepted


def test_a_stranger_and_a_broken_body_hear_what_they_always_hear(client: Client) -> None:
    assert buy(Client()).status_code == 401
    assert (
        buy(Client(headers={"APCA-API-KEY-ID": "X", "APCA-API-SECRET-KEY": "Y"})).status_code == 401
    )
    broken = client.post(
        "/v2/orders", "{", content_type="application/json", headers={"Idempotency-Key": "once"}
    )
    assert broken.status_code == 400
    assert not IdempotencyKey.objects.exists()


def test_after_a_day_the_key_is_free_again(client: Client) -> None:
    buy(client)
    IdempotencyKey.objects.update(created_at=idempotency._oldest() - timedelta(seconds=1))
    answer = buy(client)
    assert (answer.status_code, is_replay(answer)) == (200, False)
    assert Order.objects.count() == 2
    assert IdempotencyKey.objects.count() == 1


def test_old_keys_are_swept_in_slices(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "SWEPT", 2)
    for key in "abcd":
        buy(client, key)
    IdempotencyKey.objects.exclude(key="d").update(created_at=idempotency._oldest())
    assert [idempotency.sweep() for _ in range(3)] == [2, 1, 0]
    assert IdempotencyKey.objects.get().key == "d"


# --- the answer was lost ------------------------------------------------------------------------


def test_an_order_whose_answer_was_lost_is_answered_from_its_event(
    floor: TradingFloor, client: Client
) -> None:
    first = buy(client, limit_price="100")
    lose_the_answer()
    again = buy(client, limit_price="100")
    assert (again.json(), is_replay(again)) == (first.json(), True)

    lose_the_answer()
    floor.pass_time(seconds=1)
    filled = buy(client, limit_price="100").json()
    assert (filled["id"], filled["status"]) == (first.json()["id"], "filled")
    assert IdempotencyKey.objects.get().status == 200  # from now on the answer is this one


def test_an_order_with_exits_whose_answer_was_lost_comes_with_its_exits(client: Client) -> None:
    exits = {"take_profit": {"limit_price": "110"}, "stop_loss": {"stop_price": "80"}}
    first = buy(client, order_class="bracket", **exits)
    assert len(first.json()["legs"]) == 2
    lose_the_answer()
    assert buy(client, order_class="bracket", **exits).json() == first.json()
    assert Order.objects.count() == 3


def test_a_cancel_whose_answer_was_lost_is_204_again(client: Client) -> None:
    order = buy(client, "").json()
    first = send(client, "delete", f"/v2/orders/{order['id']}")
    stored = send(client, "delete", f"/v2/orders/{order['id']}")
    lose_the_answer()
    rebuilt = send(client, "delete", f"/v2/orders/{order['id']}")
    for answer in (first, stored, rebuilt):
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers.get("Content-Type") == first.headers.get("Content-Type")
    assert kinds().count("trading.order.canceled") == 1


def test_a_replacement_whose_answer_was_lost_is_the_new_order_again(
    floor: TradingFloor, trader: Trader, client: Client
) -> None:
    path = f"/v2/orders/{buy(client, '').json()['id']}"
    floor.pass_time(seconds=1)
    first = send(client, "patch", path, qty="2")
    assert first.status_code == 200
    assert send(client, "patch", path, qty="2").content == first.content
    lose_the_answer()
    assert send(client, "patch", path, qty="2").json() == first.json()
    assert kinds().count("trading.order.replaced") == 1
    assert_books_balance(trader.account)


def test_canceling_all_is_carried_on_where_it_stopped(
    trader: Trader, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ended between two of its transactions: some orders are still open."""
    placed = [buy(client, "").json()["id"] for _ in range(3)]
    first = send(client, "delete", "/v2/orders")
    assert [entry["id"] for entry in first.json()] == placed
    assert send(client, "delete", "/v2/orders").json() == first.json()

    row = lose_the_answer()
    busy = send(client, "delete", "/v2/orders")
    assert (busy.status_code, busy.json()["code"]) == (409, 40910000)
    assert busy.headers["Retry-After"] == "1"

    left = buy(client, "").json()["id"]
    IdempotencyKey.objects.update(created_at=row.created_at - timedelta(seconds=31))
    Order.objects.filter(public_id=left).update(recorded_at=row.created_at - timedelta(seconds=40))
    later = buy(client, "").json()["id"]
    carried_on = send(client, "delete", "/v2/orders")
    assert [entry["id"] for entry in carried_on.json()] == [*placed, left]
    assert Order.objects.get(public_id=later).status == "accepted"  # placed after the call
    assert_books_balance(trader.account)


def test_canceling_all_is_carried_on_whole_or_not_answered(
    trader: Trader, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be canceled now is not left out of an answer that is kept for a day."""
    monkeypatch.setattr(rebuilding, "AT_WORK", timedelta(0))
    first = buy(client, "").json()["id"]
    send(client, "delete", "/v2/orders")
    row = lose_the_answer()
    left = buy(client, "").json()["id"]
    Order.objects.filter(public_id=left).update(recorded_at=row.created_at)  # as if it was there

    with monkeypatch.context() as crowded:
        crowded.setattr(locks, "WAITING_MAX", -1)
        busy = send(client, "delete", "/v2/orders")
    carried_on = send(client, "delete", "/v2/orders")

    assert (busy.status_code, busy.json()["code"]) == (429, 42910000)
    assert [entry["id"] for entry in carried_on.json()] == [first, left]
    assert_books_balance(trader.account)


def test_closing_all_says_what_was_closed_and_closes_nothing_twice(
    floor: TradingFloor, trader: Trader, client: Client
) -> None:
    floor.buy(trader.account, "3")
    floor.pass_time(seconds=1)
    first = send(client, "delete", "/v2/positions")
    assert first.json()[0]["status"] == 200
    row = lose_the_answer()
    IdempotencyKey.objects.update(created_at=row.created_at - timedelta(seconds=31))

    again = send(client, "delete", "/v2/positions")
    assert (again.status_code, again.json()) == (207, first.json())
    assert Order.objects.filter(side="sell").count() == 1


def test_a_watchlist_has_no_event_and_its_key_all_the_same(client: Client) -> None:
    first = send(client, "post", "/v2/watchlists", name="Mine", symbols=["AAPL"])
    again = send(client, "post", "/v2/watchlists", name="Mine", symbols=["AAPL"])
    assert (again.status_code, again.json()) == (200, first.json())
    lose_the_answer()
    rebuilt = send(client, "post", "/v2/watchlists", name="Mine", symbols=["AAPL"])
    assert (rebuilt.status_code, rebuilt.json()) == (200, first.json())
    assert Watchlist.objects.count() == 1

    path = f"/v2/watchlists/{first.json()['id']}"
    assert send(client, "delete", path, "gone").status_code == 204
    IdempotencyKey.objects.update(status=None)
    assert send(client, "delete", path, "gone").status_code == 204


def test_accounts_are_opened_paid_and_reset_once(trader: Trader, client: Client) -> None:
    browser = trader.browser()
    opened = send(browser, "post", "/api/accounts", "open", name="Second", cash="500.00")
    assert opened.status_code == 200
    pair = {"from_account": str(trader.account.public_id), "to_account": opened.json()["id"]}
    paid = send(browser, "post", "/api/transfers", "pay", amount="25.00", **pair)
    assert paid.json()["to_account"]["cash"] == "525"
    resting = buy(client, "").json()["id"]
    path = f"/api/accounts/{trader.account.public_id}/reset"
    new = send(browser, "post", path, "reset", cash="100.00")
    assert new.json()["is_current"] is True

    for _ in range(2):  # from what was kept, and from what was recorded
        again = send(browser, "post", "/api/accounts", "open", name="Second", cash="500.00")
        assert again.json()["id"] == opened.json()["id"]
        again = send(browser, "post", "/api/transfers", "pay", amount="25.00", **pair)
        assert again.json()["to_account"]["cash"] == "525"
        again = send(browser, "post", path, "reset", cash="100.00")
        assert (again.json(), is_replay(again)) == (new.json(), True)
        IdempotencyKey.objects.update(status=None, answer="")
    assert Account.objects.filter(user=trader.user).count() == 3
    assert Order.objects.get(public_id=resting).status == "canceled"
    assert kinds().count("portfolios.cash.deposited") == 4


def test_a_reset_that_stopped_twice_is_finished_under_its_second_key(
    trader: Trader, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = trader.browser()
    path = f"/api/accounts/{trader.account.public_id}/reset"
    for _ in range(2):
        buy(client, "")
    monkeypatch.setattr(kill_switch, "TRIES", 0)
    monkeypatch.setattr(orders, "SLICE", 1)
    with monkeypatch.context() as crowded:
        crowded.setattr(locks, "WAITING_MAX", -1)
        assert send(browser, "post", path, "first", cash="100.00").status_code == 429
    cancel_slice = orders._cancel_slice

    def cancel_the_first(*which: Any) -> Any:
        patched.setattr(orders, "_cancel_slice", lose_the_database)
        return cancel_slice(*which)

    def lose_the_database(*_: Any) -> Any:
        raise Unavailable

    with monkeypatch.context() as patched:
        patched.setattr(orders, "_cancel_slice", cancel_the_first)
        assert send(browser, "post", path, "second", cash="100.00").status_code == 503

    done = send(browser, "post", path, "second", cash="100.00")

    new = Account.objects.get(predecessor=trader.account)
    assert (done.status_code, done.json()["id"]) == (200, str(new.public_id))
    assert_books_balance(trader.account, new)


def test_the_kill_switch_is_thrown_once_and_carried_on(
    trader: Trader, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "AT_WORK", timedelta(0))
    placed = [buy(client, "").json()["id"] for _ in range(2)]
    first = send(client, "post", "/v2/account/stop", reason="enough")
    assert [entry["id"] for entry in first.json()] == placed
    lose_the_answer()
    again = send(client, "post", "/v2/account/stop", reason="enough")
    assert (again.status_code, again.json()) == (207, first.json())
    assert kinds().count("portfolios.account.stopped") == 1


def test_a_form_of_our_pages_may_name_a_key(trader: Trader) -> None:
    browser = trader.browser(enforce_csrf_checks=True)
    browser.get("/accounts")
    token = {"X-CSRFToken": browser.cookies["csrftoken"].value, "Idempotency-Key": "once"}
    body = json.dumps({"name": "Second", "cash": "500.00"})

    def post(headers: dict[str, str]) -> Any:
        return browser.post("/api/accounts", body, "application/json", headers=headers)

    assert post({"Idempotency-Key": "once"}).status_code == 403
    first, second = post(token), post(token)

    assert (first.status_code, is_replay(first)) == (200, False)
    assert (second.content, is_replay(second)) == (first.content, True)
    assert Account.objects.filter(user=trader.user).count() == 2


def test_a_choice_of_the_owners_is_made_once(client: Client) -> None:
    path = "/v2/account/configurations"
    first = send(client, "patch", path, suspend_trade=True)
    send(client, "patch", path, "", suspend_trade=False)
    assert send(client, "patch", path, suspend_trade=True).json() == first.json()
    lose_the_answer()
    assert send(client, "patch", path, suspend_trade=True).json()["suspend_trade"] is False
    assert kinds().count("portfolios.account.configured") == 2


def test_the_secret_of_a_key_is_never_kept(trader: Trader) -> None:
    browser = trader.browser()
    first = send(browser, "post", "/api/keys", name="robot")
    assert first.status_code == 200
    again = send(browser, "post", "/api/keys", name="robot")
    assert (again.status_code, again.json()["code"]) == (409, 40910001)
    assert again.json()["key_id"] == first.json()["key_id"]
    assert ApiKey.objects.filter(name="robot").count() == 1
    assert IdempotencyKey.objects.get().answer == ""


def test_an_operator_moves_the_market_once(floor: TradingFloor) -> None:
    client = an_operator().client()
    answers = [send(client, "post", "/api/market/pause") for _ in range(2)]
    assert {answer.status_code for answer in answers} == {422}  # a stepped market has no pause
    assert not IdempotencyKey.objects.exists()


def test_where_nothing_tells_the_answer_it_is_said_what_was_done(client: Client) -> None:
    buy(client)
    lose_the_answer()
    IdempotencyKey.objects.update(subject="thing:7", kind="test.thing.made")
    lost = buy(client)
    assert (lost.status_code, lost.json()["code"]) == (409, 40910001)
    assert (lost.json()["subject"], lost.json()["event"]) == ("thing:7", "test.thing.made")
    assert Order.objects.count() == 1


# --- two at once --------------------------------------------------------------------------------


def test_of_many_at_once_one_is_done_and_all_are_answered_alike(
    trader: Trader, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "WAITING_MAX", 1_000)  # as between processes
    monkeypatch.setattr(locks, "WAIT_SECONDS_MAX", WAIT_SECONDS_MAX)
    assert client.get("/v2/account").status_code == 200
    answers = together(*[lambda: buy(trader.client(), client_order_id="mine")] * 8)
    assert Counter(answer.status_code for answer in answers) == {200: 8}
    assert len({answer.content for answer in answers}) == 1
    assert Counter(map(is_replay, answers)) == {False: 1, True: 7}
    assert Order.objects.count() == 1
    assert_books_balance(trader.account)


def test_where_no_lock_orders_them_the_unique_key_does(trader: Trader) -> None:
    def retry() -> Any:
        return send(trader.client(), "post", "/v2/watchlists", name="Mine", symbols=[])

    answers = together(*[retry] * 6)
    assert Counter(answer.status_code for answer in answers) == {200: 6}
    assert Watchlist.objects.count() == 1

"""Several accounts of one user: opened, chosen, paid between, begun anew."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import Client
from django.urls import reverse

from access import lookups
from access.accounts import reset_account
from access.errors import OrdersStillOpen
from access.models import ApiKey
from events.errors import Unavailable
from events.models import Event
from portfolios import accounts
from portfolios.accounts import (
    close_account,
    deposit,
    freeze,
    open_account,
    transfer,
    withdraw,
)
from portfolios.errors import (
    AccountClosed,
    AccountNotFound,
    AmountInvalid,
    InsufficientFunds,
    TooManyAccounts,
)
from portfolios.models import Account, NonTradeActivity, Posting
from quotes.streaming.bus import CONTROL, WhenFull, bus
from tests.meeting import together
from tests.people import Trader, a_trader, an_operator
from tests.portfolios.factories import assert_books_balance, make_user
from tests.trading.floor import TradingFloor
from trading import kill_switch, locks
from trading.errors import AccountBlocked, AccountBusy
from trading.models import Order

pytestmark = pytest.mark.django_db


def another(trader: Trader, cash: str = "500") -> Account:
    return open_account(user=trader.user, cash=Decimal(cash), actor="test")


def send(client: Client, path: str, body: dict[str, Any], method: str = "post") -> Any:
    return getattr(client, method)(path, body, content_type="application/json")


def cash(*held: Account) -> list[Decimal]:
    return [Account.objects.get(pk=account.pk).cash for account in held]


def test_a_transfer_is_a_transaction_in_each_book_with_one_reference():
    trader = a_trader(cash="1000")
    other = another(trader)

    transfer(
        source_id=trader.account.pk, target_id=other.pk, amount=Decimal("250.50"), actor="test"
    )

    assert cash(trader.account, other) == [Decimal("749.50"), Decimal("750.50")]
    rows = Posting.objects.filter(kind="transfer").order_by("account")
    assert [(one.source, one.target) for one in rows] == [("cash", "funding"), ("funding", "cash")]
    assert rows[0].reference == rows[1].reference != ""
    activities = NonTradeActivity.objects.filter(type="JNLC").order_by("account")
    assert [one.net_amount for one in activities] == [Decimal("-250.50"), Decimal("250.50")]
    assert activities[0].description == f"to {other.number}"
    assert_books_balance(trader.account, other)


def test_a_transfer_that_cannot_be_changes_neither_book():
    trader, stranger = a_trader(cash="1000"), a_trader()
    other, closed = another(trader), another(trader)
    close_account(account_id=closed.pk, actor="test")
    mine = trader.account.pk

    for target, amount, error in [
        (other.pk, "1000.01", InsufficientFunds),
        (other.pk, "0.001", AmountInvalid),
        (mine, "1", AmountInvalid),
        (stranger.account.pk, "1", AccountNotFound),
        (10**9, "1", AccountNotFound),
        (closed.pk, "1", AccountClosed),
    ]:
        with pytest.raises(error):
            transfer(source_id=mine, target_id=target, amount=Decimal(amount), actor="test")

    assert cash(trader.account, other) == [1000, 500]
    assert not Posting.objects.filter(kind="transfer").exists()
    assert_books_balance(trader.account, other)


@pytest.mark.django_db(transaction=True)
def test_transfers_both_ways_at_the_same_time_all_happen_and_lose_nothing():
    trader = a_trader(cash="1000")
    other = another(trader, "1000")
    pair = (trader.account.pk, other.pk)

    def pay(n: int) -> None:
        source, target = pair if n % 2 else pair[::-1]
        try:
            transfer(source_id=source, target_id=target, amount=Decimal(n + 1), actor="test")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(pay, range(20)))

    assert cash(trader.account, other) == [990, 1010]  # each way 10, one dollar apart
    assert_books_balance(trader.account, other)


def test_a_closed_account_moves_no_cash_and_takes_no_order():
    floor = TradingFloor()
    floor.show()
    account = a_trader().account
    close_account(account_id=account.pk, actor="test")
    close_account(account_id=account.pk, actor="test")

    with pytest.raises(AccountClosed):
        deposit(account_id=account.pk, amount=Decimal(1), actor="test")
    with pytest.raises(AccountClosed):
        withdraw(account_id=account.pk, amount=Decimal(1), actor="test")
    with pytest.raises(AccountBlocked):
        floor.buy(account, "1")
    assert Event.objects.filter(kind="portfolios.account.closed").count() == 1
    assert_books_balance(account)


def test_a_user_keeps_a_bounded_number_of_open_accounts(monkeypatch):
    monkeypatch.setattr(accounts, "ACCOUNTS_PER_USER_MAX", 2)
    trader = a_trader()
    second = another(trader)

    def one_more() -> Account:
        return accounts.open_another_account(
            user=trader.user, name="More", cash=Decimal(1), actor="test"
        )

    with pytest.raises(TooManyAccounts):
        one_more()
    close_account(account_id=second.pk, actor="test")
    one_more()


@pytest.mark.django_db(transaction=True)
def test_the_bound_holds_for_any_number_that_are_asked_for_at_once(monkeypatch):
    monkeypatch.setattr(accounts, "ACCOUNTS_PER_USER_MAX", 3)
    user = a_trader().user

    def one_more() -> Account:
        return accounts.open_another_account(user=user, name="N", cash=Decimal(1), actor="test")

    outcomes = together(*[one_more] * 6)

    opened = [outcome for outcome in outcomes if isinstance(outcome, Account)]
    assert (len(opened), Account.objects.filter(user=user).count()) == (2, 3)
    assert {type(outcome) for outcome in outcomes} <= {Account, TooManyAccounts, Unavailable}


@pytest.mark.django_db(transaction=True)
def test_a_first_account_is_opened_once_however_often_it_is_asked_for():
    user = make_user()

    def press() -> Account:
        return accounts.open_first_account(user=user, cash=Decimal(1), actor="test")

    assert len(set(together(*[press] * 4))) == 1
    assert Account.objects.filter(user=user).count() == 1


def test_a_reset_leaves_the_old_book_to_be_read_and_moves_keys_to_a_fresh_one():
    floor = TradingFloor()
    floor.show()
    trader = a_trader(cash="10000")
    floor.buy(trader.account, "10")
    floor.pass_time(seconds=1)
    resting = floor.buy(trader.account, "1", limit="90")

    new = reset_account(account_id=trader.account.pk, cash=Decimal(777), actor="test")

    old = Account.objects.get(pk=trader.account.pk)
    resting.refresh_from_db()
    assert (old.status, old.successor, resting.status) == ("ACCOUNT_CLOSED", new, "canceled")
    assert (old.cash, old.hold_cash) == (9000, 0)
    assert (new.cash, new.user_id, new.status) == (777, old.user_id, "ACTIVE")
    assert ApiKey.objects.get(key_id=trader.key_id).account == new
    shown = trader.client().get("/v2/account").json()
    assert (shown["account_number"], shown["cash"]) == (new.number, "777")
    assert trader.client().get("/v2/positions").json() == []
    assert trader.browser().get("/v2/account").json()["account_number"] == new.number
    assert Event.objects.get(kind="access.account.reset").payload["keys"] == 1
    assert_books_balance(old, new)


def test_what_an_operator_froze_stays_frozen_when_its_owner_begins_anew():
    floor = TradingFloor()
    floor.show()
    account = a_trader().account
    freeze(account_id=account.pk, actor="operator:1", reason="test")

    new = reset_account(account_id=account.pk, cash=Decimal(777), actor="test")

    with pytest.raises(AccountBlocked):
        floor.buy(new, "1")
    assert Event.objects.get(kind="access.account.reset").payload["frozen"] is True


def test_a_reset_that_was_interrupted_is_finished_by_the_next_one(monkeypatch):
    floor = TradingFloor()
    floor.show()
    trader = a_trader()
    floor.buy(trader.account, "1", limit="90")
    with monkeypatch.context() as patched:
        patched.setattr(kill_switch, "cancel_all", lambda **_: [])
        with pytest.raises(OrdersStillOpen):
            reset_account(account_id=trader.account.pk, cash=Decimal(5), actor="test")

    new = reset_account(account_id=trader.account.pk, cash=Decimal(5), actor="test")
    again = reset_account(account_id=trader.account.pk, cash=Decimal(6), actor="test")

    assert again == new
    assert Account.objects.filter(user=trader.user).count() == 2
    assert_books_balance(trader.account, new)


def test_a_reset_waits_for_its_turn_behind_the_orders_that_came_before_it(monkeypatch):
    trader = a_trader()
    crowd = SimpleNamespace(sleep=lambda _: monkeypatch.setattr(locks, "WAITING_MAX", 2))
    monkeypatch.setattr(kill_switch, "time", crowd)
    monkeypatch.setattr(locks, "WAITING_MAX", -1)  # as many as may wait are there

    new = reset_account(account_id=trader.account.pk, cash=Decimal(5), actor="test")

    assert Account.objects.get(pk=trader.account.pk).successor == new


@pytest.mark.parametrize("cash", ["0", "-1", "0.001", "1e15", "nan"])
def test_a_reset_to_an_impossible_amount_closes_nothing(cash):
    trader = a_trader()

    with pytest.raises(AmountInvalid):
        reset_account(account_id=trader.account.pk, cash=Decimal(cash), actor="test")

    assert Account.objects.get().status == "ACTIVE"


@pytest.mark.django_db(transaction=True)
def test_orders_that_arrive_during_a_reset_are_canceled_or_refused():
    floor = TradingFloor()
    floor.show()
    trader = a_trader()
    accepted, refused, resets = [], [], []

    def act(n: int) -> None:
        try:
            if n == 5:
                resets.append(
                    reset_account(account_id=trader.account.pk, cash=Decimal(5), actor="test")
                )
            else:
                accepted.append(floor.buy(trader.account, "1", limit="90"))
        except (AccountBlocked, AccountBusy) as refusal:
            refused.append(refusal)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(act, range(30)))

    statuses = Order.objects.filter(account=trader.account).values_list("status", flat=True)
    assert set(statuses) == {"canceled"}
    assert len(statuses) == len(accepted)
    assert len(accepted) + len(refused) == 29
    assert_books_balance(trader.account, *resets)


@pytest.mark.django_db(transaction=True)
async def test_sockets_hear_of_a_reset_after_commit() -> None:
    trader = await sync_to_async(a_trader)()
    heard = bus().subscribe([CONTROL], limit=10, when_full=WhenFull.DROP_OLDEST)

    await sync_to_async(reset_account)(account_id=trader.account.pk, cash=Decimal(5), actor="test")

    messages = await heard.get_many(timeout=2)
    heard.close()
    message = {"kind": "account_reset", "account_id": trader.account.pk}
    assert messages == [(CONTROL, message)]


def test_accounts_are_opened_chosen_and_listed_over_the_api():
    trader = a_trader()
    browser = trader.browser()

    opened = send(browser, "/api/accounts", {"name": "Second", "cash": 250}).json()
    lookups.forget_everyone()
    assert (opened["name"], opened["cash"], opened["is_current"]) == ("Second", "250", False)
    chosen = send(browser, "/api/session/account", {"account_id": opened["id"]}, "put")
    assert chosen.json()["is_current"]
    assert browser.get("/v2/account").json()["id"] == opened["id"]
    assert opened["account_number"] in browser.get("/").content.decode()

    listed = trader.client().get("/api/accounts").json()
    assert [one["is_current"] for one in listed] == [True, False]


def test_cash_is_moved_and_an_account_reset_over_the_api():
    trader = a_trader(cash="1000")
    other = another(trader)
    browser = trader.browser()
    ids = {"from_account": str(trader.account.public_id), "to_account": str(other.public_id)}

    moved = send(browser, "/api/transfers", {**ids, "amount": "99.99"})
    assert moved.json()["from_account"]["cash"] == "900.01"
    refused = send(browser, "/api/transfers", {**ids, "amount": 5000})
    assert (refused.status_code, refused.json()["buying_power"]) == (403, "900.01")

    path = f"/api/accounts/{ids['from_account']}/reset"
    new = send(browser, path, {"cash": 20}).json()
    assert (new["cash"], new["status"], new["is_current"]) == ("20", "ACTIVE", True)
    lookups.forget_everyone()
    listed = browser.get("/api/accounts").json()
    assert [one["status"] for one in listed] == ["ACTIVE", "ACTIVE", "ACCOUNT_CLOSED"]
    assert listed[-1]["successor"] == new["id"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("post", "/api/accounts", {"cash": 0}, 422),
        ("post", "/api/accounts", {"cash": "1e99"}, 422),
        ("post", "/api/accounts", {"name": "x" * 65}, 422),
        ("put", "/api/session/account", {"account_id": "x"}, 422),
        ("put", "/api/session/account", {"account_id": "{theirs}"}, 404),
        ("post", "/api/accounts/x/reset", {}, 404),
        ("post", "/api/accounts/{theirs}/reset", {}, 404),
        (
            "post",
            "/api/transfers",
            {"from_account": "{theirs}", "to_account": "{mine}", "amount": 1},
            404,
        ),
        (
            "post",
            "/api/transfers",
            {"from_account": "{mine}", "to_account": "{mine}", "amount": 1},
            422,
        ),
        ("post", "/api/transfers", {"from_account": "{mine}"}, 422),
    ],
)
def test_what_is_not_ones_own_or_makes_no_sense_is_refused(method, path, body, status):
    trader, stranger = a_trader(), a_trader()
    named = {"mine": str(trader.account.public_id), "theirs": str(stranger.account.public_id)}
    body = {
        key: value.format(**named) if isinstance(value, str) else value
        for key, value in body.items()
    }

    answer = send(trader.browser(), path.format(**named), body, method)

    assert answer.status_code == status, answer.content
    assert {"code", "message"} <= answer.json().keys()
    assert cash(trader.account, stranger.account) == [100_000, 100_000]


def test_a_reset_of_another_account_leaves_the_session_where_it_is():
    trader = a_trader()
    other = another(trader)
    browser = trader.browser()

    new = send(browser, f"/api/accounts/{other.public_id}/reset", {"cash": 20}).json()

    lookups.forget_everyone()
    assert (new["cash"], new["is_current"]) == ("20", False)
    assert browser.get("/v2/account").json()["id"] == str(trader.account.public_id)


def test_a_key_acts_for_its_own_account_alone():
    trader = a_trader()
    body = {
        "from_account": str(trader.account.public_id),
        "to_account": str(another(trader).public_id),
    }

    for path in ("/api/accounts", f"/api/accounts/{trader.account.public_id}/reset"):
        assert send(trader.client(), path, {}).status_code == 403
    assert send(trader.client(), "/api/transfers", {**body, "amount": 1}).status_code == 403


def test_an_operator_resets_accounts_and_hears_of_one_that_cannot_be_reset_now(monkeypatch):
    first, crowded, last = (a_trader().account for _ in range(3))
    monkeypatch.setattr(kill_switch, "TRIES", 0)
    cancel_all = kill_switch.cancel_all

    def busy_for_one(*, account_id: int, **how: Any) -> Any:
        if account_id == crowded.pk:
            raise AccountBusy
        return cancel_all(account_id=account_id, **how)

    monkeypatch.setattr(kill_switch, "cancel_all", busy_for_one)
    page = operate("reset_accounts", first, crowded, last, confirmed="yes")

    assert page.count("takes its place") == 2
    assert f"{crowded.number}: {AccountBusy.message}" in page
    assert f"{crowded.number} is closed" not in page
    again = [Account.objects.get(pk=one.pk) for one in (first, crowded, last)]
    assert [one.successor is not None for one in again] == [True, False, True]
    monkeypatch.setattr(kill_switch, "cancel_all", cancel_all)
    assert "takes its place" in operate("reset_accounts", crowded, confirmed="yes")


def operate(action: str, *rows: Account, **fields: str) -> str:
    """What admin says after an operator has run the action on these accounts."""
    url = reverse("admin:portfolios_account_changelist")
    chosen = {"action": action, "_selected_action": [row.pk for row in rows], **fields}
    return an_operator().browser().post(url, chosen, follow=True).content.decode()


def test_an_operator_moves_cash_in_out_and_between_accounts_in_admin():
    trader = a_trader(cash="100")
    other = another(trader, "1")

    assert "50 deposited" in operate("deposit_cash", trader.account, other, amount="50")
    assert "20.50 withdrawn" in operate("withdraw_cash", trader.account, amount="20.50")
    said = operate("transfer_cash", trader.account, amount="9.5", to_account=other.number)

    assert f"9.5 moved from {trader.account.number} to {other.number}" in said
    assert cash(trader.account, other) == [120, Decimal("60.50")]
    actors = Event.objects.filter(kind="portfolios.cash.withdrawn").values_list("actor", flat=True)
    assert all(actor.startswith("operator:") for actor in actors)
    assert_books_balance(trader.account, other)


def test_a_list_that_an_operator_sends_twice_moves_cash_once():
    browser, trader = an_operator().browser(), a_trader(cash="100")
    url = reverse("admin:portfolios_account_changelist")

    def press(amount: str, number: str) -> str:
        chosen = {"action": "deposit_cash", "_selected_action": [trader.account.pk]}
        asked = {**chosen, "amount": amount, "number": number}
        return browser.post(url, asked, follow=True).content.decode()

    page = browser.get(url).content.decode()
    (number,) = re.findall(r'type="hidden" name="number" value="([^"]+)"', page)
    assert "50 deposited" in press("50", number)
    assert "This was sent before" in press("50", number)
    assert cash(trader.account) == [150]
    assert "70 deposited" in press("70", number), "the browser went back, and it is another"
    assert number not in browser.get(url).content.decode()
    assert_books_balance(trader.account)


@pytest.mark.parametrize(
    ("action", "fields", "said"),
    [
        ("deposit_cash", {}, "an amount is needed"),
        ("withdraw_cash", {"amount": "1000"}, "insufficient cash to withdraw"),
        ("deposit_cash", {"amount": "0.001"}, "dollars and cents"),
        ("transfer_cash", {"amount": "1", "to_account": "PA0"}, "account not found"),
        ("transfer_cash", {"amount": "1"}, "account not found"),
    ],
)
def test_admin_says_why_cash_cannot_be_moved(action, fields, said):
    trader = a_trader(cash="100")

    assert said in operate(action, trader.account, **fields).lower()
    assert cash(trader.account) == [100]


def test_an_operator_resets_accounts_in_admin():
    trader = a_trader(cash="5")

    said = operate("reset_accounts", trader.account, confirmed="yes")

    new = Account.objects.get(predecessor=trader.account)
    assert f"{new.number} takes its place" in said
    assert new.cash == 100_000

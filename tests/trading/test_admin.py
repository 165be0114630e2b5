from __future__ import annotations

import pytest
from django.test import Client

from events.models import Event
from portfolios.models import Account
from tests.portfolios.factories import assert_books_balance
from tests.trading.floor import TradingFloor, now_of
from trading import kill_switch, locks, orders
from trading.errors import AccountBusy
from trading.models import Fill, Order

pytestmark = pytest.mark.django_db


def test_an_operator_cancels_through_the_use_case(
    floor: TradingFloor, account: Account, operator: Client
) -> None:
    open_order = floor.buy(account, "1", limit="90")
    filled = floor.buy(account, "1")
    floor.pass_time(seconds=1)
    answer = operator.post(
        "/admin/trading/order/",
        {"action": "cancel_orders", "_selected_action": [open_order.pk, filled.pk]},
        follow=True,
    )
    assert b"1 orders are canceled" in answer.content
    assert b"already in" in answer.content
    assert (now_of(open_order).status, now_of(filled).status) == ("canceled", "filled")
    assert Event.objects.get(kind="trading.order.canceled").actor.startswith("operator:")
    assert_books_balance(account)


def test_fills_and_orders_can_be_seen_but_not_touched(
    floor: TradingFloor, account: Account, operator: Client
) -> None:
    order = floor.buy(account, "1")
    floor.pass_time(seconds=1)
    fill = Fill.objects.get()
    for name, row in (("order", order), ("fill", fill)):
        assert operator.get(f"/admin/trading/{name}/").status_code == 200
        assert operator.get(f"/admin/trading/{name}/{row.pk}/change/").status_code == 200
        assert operator.get(f"/admin/trading/{name}/add/").status_code == 403
        assert operator.post(f"/admin/trading/{name}/{row.pk}/delete/").status_code == 403
        operator.post(f"/admin/trading/{name}/{row.pk}/change/", {"quantity": "5"})
    delete = {"action": "delete_selected", "_selected_action": [fill.pk], "post": "yes"}
    operator.post("/admin/trading/fill/", delete)
    assert Fill.objects.get().quantity == 1
    assert Order.objects.count() == 1
    assert_books_balance(account)


def test_an_operator_pulls_the_kill_switch(
    floor: TradingFloor, account: Account, operator: Client
) -> None:
    order = floor.buy(account, "1", limit="90")
    answer = operator.post(
        "/admin/portfolios/account/",
        {"action": "stop_accounts", "_selected_action": [account.pk]},
        follow=True,
    )
    assert b"is stopped, 1 orders are canceled" in answer.content
    assert now_of(order).status == "canceled"
    account.refresh_from_db()
    assert (account.frozen, account.trading_suspended) == (True, False)
    event = Event.objects.get(kind="portfolios.account.stopped")
    assert event.actor.startswith("operator:")
    assert_books_balance(account)


def stop(operator: Client, account: Account) -> str:
    chosen = {"action": "stop_accounts", "_selected_action": [account.pk]}
    return operator.post("/admin/portfolios/account/", chosen, follow=True).content.decode()


def test_what_the_kill_switch_could_not_cancel_is_named(
    floor: TradingFloor, account: Account, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled, canceled = (floor.buy(account, "1", limit=limit) for limit in ("90", "91"))
    lock_orders = orders.lock_orders

    def filled_just_before(pks: list[int]) -> dict[int, Order]:
        Order.objects.filter(pk=filled.pk).update(status="filled")
        return lock_orders(pks)

    monkeypatch.setattr(orders, "lock_orders", filled_just_before)
    page = stop(operator, account)

    assert f"rder {filled.public_id}: " in page  # its first letter is capital there
    assert f"{account.number} is stopped, 1 orders are canceled, 1 could not be" in page
    assert now_of(canceled).status == "canceled"


def test_an_account_too_busy_to_cancel_is_said_to_be_frozen(
    floor: TradingFloor, account: Account, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = floor.buy(account, "1", limit="90")
    monkeypatch.setattr(kill_switch, "TRIES", 0)
    crowd = locks._Queue(users=locks.WAITING_MAX + 1)
    monkeypatch.setitem(locks._queues, account.pk, crowd)

    page = stop(operator, account)

    assert f"{account.number}: {AccountBusy.message}; it is frozen, but its orders" in page
    assert now_of(order).status != "canceled"
    monkeypatch.delitem(locks._queues, account.pk)
    assert "is stopped, 1 orders are canceled" in stop(operator, account)
    assert_books_balance(account)

"""A price falls: the call, the time it leaves, and what happens when nobody answers."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from events.leases import acquire
from events.models import Event
from portfolios.accounts import close_account, deposit, freeze
from portfolios.margin import Margin, pack_on
from portfolios.models import Account, Position
from quotes import latest
from quotes.clock import market_clock
from quotes.models import MarketClock
from tests.portfolios.factories import (
    assert_books_balance,
    funded_account,
    make_instrument,
    margin_account,
    new_york,
)
from tests.trading.floor import TradingFloor, now_of, watching
from tests.waiting import PATIENCE_SECONDS, eventually
from trading import margin_calls
from trading.errors import InsufficientBuyingPower
from trading.liquidation import ACTOR, Closable, to_close
from trading.models import Order, TimeInForce
from trading.orders import cancel

DUE = new_york("2013-10-08 15:45")  # a quarter of an hour before the next day's close


@pytest.fixture
def floor(db) -> TradingFloor:
    floor = TradingFloor()
    floor.show("99.99", "100")
    return floor


@pytest.fixture
def borrower(floor: TradingFloor) -> Account:
    """Holds 180 shares of 100 with an equity of 10,000: 8,000 are borrowed."""
    account = margin_account()
    floor.buy(account, "180", limit="100")
    floor.pass_time(seconds=1)
    account.refresh_from_db()
    assert account.cash == -8000
    return account


def events(prefix: str) -> list[str]:
    found = Event.objects.filter(kind__startswith=prefix).order_by("id")
    return list(found.values_list("kind", flat=True))


def again(account: Account) -> Account:
    return Account.objects.get(pk=account.pk)


def test_below_maintenance_the_account_is_called_once_and_can_open_nothing(floor, borrower):
    floor.show("66", "67")  # equity 3,970, 30 % of 11,970 is 3,591: not yet
    assert again(borrower).called_at is None

    floor.show("62", "63")  # equity 3,250, maintenance 3,375
    floor.show("62", "63.5")

    account = again(borrower)
    assert account.called_at is not None
    assert account.call_due_at == DUE
    (event,) = Event.objects.filter(kind="trading.margin.called")
    assert (event.payload["equity"], event.payload["maintenance_margin"]) == ("3250", "3375")
    with pytest.raises(InsufficientBuyingPower):
        floor.buy(borrower, "1", limit="50")
    assert_books_balance(borrower)


def test_a_price_that_recovers_ends_the_call(floor, borrower):
    floor.show("62", "63")
    floor.show("70", "71")

    assert (again(borrower).called_at, again(borrower).call_due_at) == (None, None)
    assert events("trading.margin") == ["trading.margin.called", "trading.margin.met"]


def test_so_does_a_deposit(floor, borrower):
    floor.show("62", "63")
    deposit(account_id=borrower.pk, amount=Decimal(1000), actor="test")
    floor.pass_time(seconds=1)

    assert again(borrower).called_at is None


def test_when_nobody_answers_the_position_is_closed(floor, borrower):
    waiting = floor.buy(borrower, "1", limit="50", time_in_force=TimeInForce.GTC)
    floor.show("62", "63")
    floor.play(floor.quote("61", "62", at=new_york("2013-10-08 15:44")))
    assert not Order.objects.filter(client_order_id__startswith="liquidation-").exists()

    floor.play(floor.quote("61", "62", at=new_york("2013-10-08 15:46")))
    floor.play(floor.quote("61", "62", at=new_york("2013-10-08 15:47")))
    floor.play(floor.quote("61", "62", at=new_york("2013-10-08 15:48")))

    (forced,) = Order.objects.filter(client_order_id__startswith="liquidation-")
    assert (forced.side, forced.quantity, forced.status) == ("sell", Decimal(180), "filled")
    accepted = Event.objects.get(subject=f"order:{forced.public_id}", kind__endswith=".accepted")
    assert accepted.actor == ACTOR
    waiting.refresh_from_db()
    assert waiting.status == "canceled"
    assert Position.objects.get(account=borrower).quantity == 0
    assert again(borrower).cash == Decimal(-8000 + 180 * 61)
    assert again(borrower).called_at is None
    assert_books_balance(borrower)


def test_an_operator_may_leave_no_time_and_a_frozen_account_is_closed_too(
    floor, borrower, settings
):
    settings.MARGIN_CALL_DAYS = 0
    freeze(account_id=borrower.pk, actor="operator:1", reason="test")
    floor.show("62", "63")
    floor.show("62", "63")

    assert Position.objects.get(account=borrower).quantity == 0
    assert_books_balance(borrower)


def test_a_short_that_rises_is_bought_back(floor, settings):
    settings.MARGIN_CALL_DAYS = 0
    account = margin_account()
    floor.sell(account, "180")
    floor.pass_time(seconds=1)
    floor.show("120", "121")
    floor.show("121", "122")

    assert Position.objects.get(account=account).quantity == 0
    assert_books_balance(account)


def test_without_a_price_nothing_is_placed_and_nothing_refused_over_and_over(
    floor, borrower, settings
):
    settings.MARGIN_CALL_DAYS = 0
    floor.show("0", "63")
    floor.prints("62")
    floor.pass_time(seconds=1)

    assert again(borrower).called_at is not None
    assert not Order.objects.filter(client_order_id__startswith="liquidation-").exists()
    assert not Event.objects.filter(kind="trading.order.refused").exists()

    floor.show("62", "63")
    floor.show("62", "63")
    assert Position.objects.get(account=borrower).quantity == 0


def test_a_position_that_cannot_be_closed_shields_no_other(floor, settings):
    settings.MARGIN_CALL_DAYS = 0
    dead = make_instrument("DEAD")
    floor.play(floor.quote("99.99", "100", symbol="DEAD"))
    account = margin_account()
    floor.buy(account, "100", limit="100", symbol="DEAD")
    floor.buy(account, "80", limit="100")
    floor.pass_time(seconds=1)
    dead.tradable = False
    dead.save()
    floor.play(floor.quote("60", "61"), floor.quote("60", "61", symbol="DEAD"))
    floor.show("60", "61")

    held = Position.objects.filter(account=account)
    quantities = dict(held.values_list("instrument__symbol", "quantity"))
    assert quantities == {"DEAD": 100, "AAPL": 0}
    assert_books_balance(account)


def test_an_order_that_is_closing_already_is_not_placed_again(floor, borrower, settings):
    settings.MARGIN_CALL_DAYS = 0
    for ask_size in range(3):
        floor.show("62", "63", bid_size=0, ask_size=ask_size)

    (forced,) = Order.objects.filter(client_order_id__startswith="liquidation-")
    assert (forced.status, forced.filled_quantity) == ("new", 0)
    assert not Event.objects.filter(kind="trading.order.refused").exists()
    floor.show("62", "63")
    assert Position.objects.get(account=borrower).quantity == 0
    assert_books_balance(borrower)


def test_orders_of_its_owner_hold_nothing_off_while_one_of_ours_waits(floor, settings):
    settings.MARGIN_CALL_DAYS = 0
    make_instrument("MSFT")
    floor.play(floor.quote("99.99", "100", symbol="MSFT"))
    account = margin_account()
    for symbol in ("AAPL", "MSFT"):
        floor.buy(account, "90", limit="100", symbol=symbol)
    floor.pass_time(seconds=1)

    def fall() -> None:
        floor.play(
            floor.quote("40", "41", bid_size=0), floor.quote("40", "41", bid_size=0, symbol="MSFT")
        )

    fall()
    fall()
    forced = {order.instrument.symbol: order for order in Order.objects.filter(status="new")}
    assert set(forced) == {"AAPL", "MSFT"}
    cancel(account_id=account.pk, order_id=forced["MSFT"].public_id, actor="test", even_forced=True)
    far = floor.sell(
        account, "90", limit="500", symbol="MSFT", client_order_id="liquidation-of-mine"
    )
    fall()
    floor.play(floor.quote("40", "41", symbol="MSFT"))

    assert now_of(far).status == "canceled"
    assert now_of(forced["AAPL"]).status == "new"
    held = dict(Position.objects.values_list("instrument__symbol", "quantity"))
    assert held == {"AAPL": 90, "MSFT": 0}
    assert_books_balance(account)


def test_a_book_that_is_closed_is_left_alone(floor, borrower, settings):
    settings.MARGIN_CALL_DAYS = 0
    close_account(account_id=borrower.pk, actor="test")
    floor.show("62", "63")
    floor.show("62", "63")

    assert again(borrower).called_at is None
    assert Position.objects.get(account=borrower).quantity == 180


def test_a_cash_account_is_never_called(floor):
    account = funded_account("10000")
    floor.buy(account, "100", limit="100")
    floor.pass_time(seconds=1)
    floor.show("1", "2")

    assert again(account).called_at is None


def margin_with(equity: Decimal) -> Margin:
    zero = Decimal(0)
    pack = pack_on(date(2026, 11, 20))
    return Margin(pack, equity, zero, zero, 2, zero, zero, zero)


amounts = st.decimals("0", "100000", places=2)


@given(equity=st.decimals("-1000", "100000", places=2), requirements=st.lists(amounts, max_size=6))
def test_the_largest_go_first_and_no_more_than_must(equity, requirements):
    all_of_them = [
        Closable(f"S{number}", Decimal(1), requirement)
        for number, requirement in enumerate(requirements)
    ]
    chosen = to_close(margin_with(equity), all_of_them)

    kept = [one for one in all_of_them if one not in chosen]
    needed = sum((one.requirement for one in kept), Decimal(0))
    assert equity >= needed or not kept
    if chosen:
        smallest = min(one.requirement for one in chosen)
        assert all(one.requirement <= smallest for one in kept)
        assert equity < needed + smallest


@pytest.mark.django_db(transaction=True)
def test_the_watch_calls_beside_the_engine_and_ends_with_its_lease(monkeypatch):
    floor = TradingFloor()
    floor.show("99.99", "100")
    account = margin_account()
    floor.buy(account, "180", limit="100")
    floor.pass_time(seconds=1)
    MarketClock.objects.update(mode=MarketClock.Mode.REPLAY)
    latest.put_many([floor.quote("62", "63")])
    market_clock().refresh()
    monkeypatch.setattr(margin_calls, "LOOK_SECONDS", 0.01)
    lease = floor.engine.pending.lease
    with watching(margin_calls.watch, lease) as watch:
        eventually(lambda: again(account).called_at, "a call")
        lease.release()
        assert acquire("execution:0") is not None
        watch.join(PATIENCE_SECONDS)
        assert not watch.is_alive()


def test_looking_costs_the_same_queries_however_many_accounts(floor):
    def holders(count: int) -> None:
        for _ in range(count):
            account = margin_account()
            floor.buy(account, "1", limit="100")
        floor.pass_time(seconds=1)

    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            margin_calls.look()
        return len(captured)

    holders(2)
    few = cost()
    holders(3)
    assert cost() == few

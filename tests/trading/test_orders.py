from __future__ import annotations

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest

from events.models import Event
from portfolios.accounts import freeze
from portfolios.models import Account, Position
from quotes import queries
from quotes.models import Instrument
from tests.portfolios.factories import assert_books_balance, funded_account, make_instrument
from tests.trading.floor import CLOSE, MORNING, NOON, TradingFloor, now_of
from trading import orders
from trading.errors import (
    AccountBlocked,
    DuplicateClientOrderId,
    InsufficientBuyingPower,
    InsufficientQuantity,
    NotTradable,
    NoUsablePrice,
    OrderFinished,
    OrderNotFound,
    OrderRuleBroken,
)
from trading.models import Order, TimeInForce

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(floor: TradingFloor) -> Account:
    return funded_account("10000")


def held(account: Account) -> Decimal:
    account.refresh_from_db()
    return account.hold_cash


def kinds(account: Account) -> list[str]:
    events = Event.objects.filter(account_id=account.pk, kind__startswith="trading.")
    return list(events.order_by("account_sequence").values_list("kind", flat=True))


def test_an_accepted_order_is_stored_held_and_told(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "10", limit="95.50")

    stored = now_of(order)
    assert (stored.status, stored.hold_cash) == ("accepted", Decimal(955))
    assert held(account) == Decimal(955)
    assert stored.expires_at == CLOSE
    event = Event.objects.get(kind="trading.order.accepted")
    assert event.payload["order"]["id"] == str(order.public_id)
    assert event.account_sequence == account.event_sequence
    assert_books_balance(account)


def test_an_order_is_for_the_instrument_that_has_the_symbol_now(
    floor: TradingFloor, account: Account
) -> None:
    floor.buy(account, "1", limit="90")
    Instrument.objects.filter(pk=floor.instrument.pk).update(symbol="GONE")
    taken_over = make_instrument("AAPL")

    assert now_of(floor.buy(account, "1", limit="90")).instrument == taken_over

    Instrument.objects.filter(pk=taken_over.pk).update(halted=True, tradable=False)
    with pytest.raises(NotTradable):
        floor.buy(account, "1", limit="90")


def test_a_symbol_that_is_gone_is_refused_by_whoever_knew_it(
    floor: TradingFloor, account: Account
) -> None:
    floor.buy(account, "1", limit="90")
    Instrument.objects.filter(pk=floor.instrument.pk).update(symbol="GONE")

    for _ in range(2):  # from memory, and once that has forgotten it
        with pytest.raises(OrderRuleBroken, match="asset not found for AAPL") as refused:
            floor.buy(account, "1", limit="90")
        assert refused.value.http_status == 422
        assert "AAPL" not in queries._listed
    assert kinds(account)[1:] == ["trading.order.refused"] * 2

    Instrument.objects.filter(pk=floor.instrument.pk).update(symbol="AAPL")
    assert now_of(floor.buy(account, "1", limit="90")).instrument == floor.instrument


def test_order_times_strictly_increase_while_the_market_stands(
    floor: TradingFloor, account: Account
) -> None:
    placed = [floor.buy(account, "1", limit="90") for _ in range(3)]
    times = [order.submitted_at for order in placed]
    assert times == sorted(set(times))


def test_two_orders_never_pass_on_the_same_cash(floor: TradingFloor, account: Account) -> None:
    floor.buy(account, "60", limit="99")
    with pytest.raises(InsufficientBuyingPower) as refused:
        floor.buy(account, "60", limit="99")
    assert refused.value.extras == {"buying_power": "4060", "cost_basis": "5940"}
    assert_books_balance(account)


def test_a_refusal_stores_nothing_but_its_event(floor: TradingFloor, account: Account) -> None:
    with pytest.raises(InsufficientBuyingPower):
        floor.buy(account, "1000", limit="99", client_order_id="again")

    assert not Order.objects.exists()
    assert held(account) == 0
    event = Event.objects.get(kind="trading.order.refused")
    assert event.payload["refusal"]["buying_power"] == "10000"
    assert event.payload["request"]["quantity"] == "1000"
    floor.buy(account, "1", limit="99", client_order_id="again")  # the id is free
    assert_books_balance(account)


def test_a_client_order_id_is_taken_for_ever(floor: TradingFloor, account: Account) -> None:
    first = floor.buy(account, "1", limit="90", client_order_id="mine")
    orders.cancel(account_id=account.pk, order_id=first.public_id, actor="test")
    with pytest.raises(DuplicateClientOrderId) as refused:
        floor.buy(account, "2", limit="91", client_order_id="mine")
    assert (refused.value.http_status, refused.value.code) == (422, 40010001)
    assert Order.objects.count() == 1


def test_client_order_ids_are_compared_byte_for_byte(floor: TradingFloor, account: Account) -> None:
    for name in ("a", "a ", "A", "é", "e\u0301"):
        floor.buy(account, "1", limit="90", client_order_id=name)
    assert Order.objects.count() == 5
    floor.buy(funded_account(), "1", limit="90", client_order_id="a")  # another account's


def test_a_duplicate_is_told_apart_even_where_cash_is_short(
    floor: TradingFloor, account: Account
) -> None:
    floor.buy(account, "100", limit="99", client_order_id="once")
    with pytest.raises(DuplicateClientOrderId):
        floor.buy(account, "100", limit="99", client_order_id="once")


def test_cancel_frees_what_was_held(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "10", limit="90")
    orders.cancel(account_id=account.pk, order_id=order.public_id, actor="test")

    stored = now_of(order)
    assert stored.status == "canceled"
    assert stored.canceled_at is not None
    assert held(account) == 0
    assert kinds(account) == ["trading.order.accepted", "trading.order.canceled"]
    assert_books_balance(account)


def test_a_finished_order_cannot_be_canceled(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "10", limit="90")
    orders.cancel(account_id=account.pk, order_id=order.public_id, actor="test")
    with pytest.raises(OrderFinished, match='already in "canceled" state'):
        orders.cancel(account_id=account.pk, order_id=order.public_id, actor="test")
    assert kinds(account).count("trading.order.canceled") == 1


def test_another_accounts_order_is_not_found(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "10", limit="90")
    stranger = funded_account()
    for unknown in (order.public_id, uuid.uuid4()):
        with pytest.raises(OrderNotFound):
            orders.cancel(account_id=stranger.pk, order_id=unknown, actor="test")


def test_cancel_all_takes_every_open_order_of_the_account_only(
    floor: TradingFloor, account: Account
) -> None:
    mine = [floor.buy(account, "1", limit="90") for _ in range(3)]
    others = floor.buy(funded_account(), "1", limit="90")
    outcomes = orders.cancel_all(account_id=account.pk, actor="test")

    assert [(order.pk, error) for order, error in outcomes] == [(one.pk, None) for one in mine]
    assert held(account) == 0
    assert now_of(others).status == "accepted"
    assert orders.cancel_all(account_id=account.pk, actor="test") == []
    assert_books_balance(account)


def test_day_orders_expire_at_the_close_and_gtc_after_ninety_days(
    floor: TradingFloor, account: Account
) -> None:
    day = floor.buy(account, "1", limit="90")
    gtc = floor.buy(account, "1", limit="90", time_in_force=TimeInForce.GTC)
    assert now_of(gtc).expires_at == gtc.submitted_at + timedelta(days=90)

    assert orders.expire_due(CLOSE - timedelta(microseconds=1)) == []
    assert [order.pk for order in orders.expire_due(CLOSE)] == [day.pk]
    assert [order.pk for order in orders.expire_due(NOON + timedelta(days=91))] == [gtc.pk]
    stored = now_of(day)
    assert (stored.status, stored.expired_at) == ("expired", CLOSE)
    assert held(account) == 0
    assert_books_balance(account)


def test_a_jump_expires_orders_in_the_order_of_their_time(
    floor: TradingFloor, account: Account
) -> None:
    gtc = floor.buy(account, "1", limit="90", time_in_force=TimeInForce.GTC)
    day = floor.buy(account, "1", limit="90")
    expired = orders.expire_due(NOON + timedelta(days=200))
    assert [order.pk for order in expired] == [day.pk, gtc.pk]


def test_a_sell_holds_shares_and_two_cannot_sell_the_same(
    floor: TradingFloor, account: Account
) -> None:
    floor.buy(account, "10")
    floor.pass_time(seconds=1)
    floor.sell(account, "6", limit="120")
    with pytest.raises(InsufficientQuantity) as refused:
        floor.sell(account, "5", limit="120")
    assert refused.value.extras["available"] == "4"
    assert Position.objects.get().hold_quantity == 6
    assert_books_balance(account)


def test_unknown_and_untradable_symbols_are_refused(floor: TradingFloor, account: Account) -> None:
    with pytest.raises(OrderRuleBroken, match="asset not found for NOPE"):
        floor.buy(account, "1", symbol="NOPE")
    floor.instrument.tradable = False
    floor.instrument.save()
    with pytest.raises(NotTradable):
        floor.buy(account, "1")


def test_an_instrument_can_be_named_by_its_id(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "1", symbol=str(floor.instrument.public_id))
    assert now_of(order).instrument == floor.instrument


def test_a_frozen_account_places_no_orders_but_may_cancel(
    floor: TradingFloor, account: Account
) -> None:
    order = floor.buy(account, "1", limit="90")
    freeze(account_id=account.pk, actor="operator:1", reason="asked to")
    with pytest.raises(AccountBlocked):
        floor.buy(account, "1", limit="90")
    orders.cancel(account_id=account.pk, order_id=order.public_id, actor="test")


def test_before_the_opening_orders_queue_against_the_last_price() -> None:
    floor = TradingFloor(MORNING)
    account = funded_account("10000")
    with pytest.raises(NoUsablePrice):
        floor.buy(account, "10")
    floor.show("90", "110")
    floor.print_trade("98")
    order = floor.buy(account, "10")
    assert (order.status, order.reason) == ("accepted", "the market is closed")
    assert order.hold_cash == Decimal("1019.2")
    assert order.expires_at == CLOSE
    assert_books_balance(account)

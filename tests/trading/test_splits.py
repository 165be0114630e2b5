"""A split as the engine carries it out: in order, halted meanwhile, killed anywhere."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from portfolios.accounts import withdraw
from portfolios.errors import InsufficientFunds
from portfolios.history import HistoryRequest, portfolio_history
from portfolios.models import Account, NonTradeActivity, Position
from portfolios.queries import account_summary, position_view
from quotes import corporate_actions, halts, latest
from quotes.clock import market_clock
from quotes.corporate_actions import announce_split
from quotes.models import CorporateAction, Instrument, MarketClock
from quotes.ticks import to_micros
from tests.portfolios.factories import (
    assert_books_balance,
    funded_account,
    margin_account,
    new_york,
)
from tests.portfolios.market import set_close
from tests.trading.floor import TradingFloor, now_of, watching
from tests.waiting import eventually
from trading import corporate_actions as carrying
from trading import margin_calls, orders
from trading.models import TimeInForce
from trading.verification import verify_fills

MONDAY, TUESDAY = date(2013, 10, 7), date(2013, 10, 8)
SPLIT_AT = new_york("2013-10-07 20:00")  # as the overnight session of Tuesday begins
NIGHT = new_york("2013-10-08 03:00")
NOON = new_york("2013-10-08 12:00")


def announce(new: int = 4, old: int = 1, **fields) -> CorporateAction:
    terms = {"symbol": "AAPL", "ex_on": TUESDAY, **fields}
    return announce_split(new_shares=new, old_shares=old, actor="operator:1", **terms)


def holder(floor: TradingFloor, quantity: str = "10") -> Account:
    account = funded_account("100000")
    floor.buy(account, quantity, limit="100")
    floor.show("99", "100")
    return account


def short_seller(floor: TradingFloor) -> Account:
    account = margin_account()
    floor.sell(account, "50", limit="99")
    floor.show("99", "100")
    return account


def summary_of(account: Account):
    return account_summary(Account.objects.get(pk=account.pk))


def test_value_and_cost_are_the_same_before_and_after_it(floor):
    long, short = holder(floor), short_seller(floor)
    announce()
    before = [summary_of(account) for account in (long, short)]

    floor.play(until=NIGHT)

    after = [summary_of(account) for account in (long, short)]
    assert [one.equity for one in after] == [one.equity for one in before]
    assert [one.margin for one in after] == [one.margin for one in before]
    view = position_view(long, floor.instrument.pk)
    assert (view.quantity, view.cost_basis, view.current_price) == (40, 1000, Decimal("24.875"))
    assert Position.objects.get(account=short).quantity == -200
    activity = NonTradeActivity.objects.get(account=long, type="SPLIT")
    assert (activity.at, activity.on, activity.quantity) == (SPLIT_AT, TUESDAY, 30)
    assert not Instrument.objects.get().halted
    assert Account.objects.get(pk=short.pk).called_at is None
    assert [step.wrong for step in verify_fills()] == [None]
    assert_books_balance(long, short)


def test_the_days_profit_and_the_history_do_not_jump(floor):
    account = holder(floor)
    announce()
    set_close(floor.instrument, MONDAY, "99.5")
    floor.play(until=NIGHT)
    assert summary_of(account).day_pl == 0

    floor.play(floor.quote("24.90", "25.10", at=NOON))
    set_close(floor.instrument, TUESDAY, "25")

    assert summary_of(account).day_pl == 40 * (Decimal(25) - Decimal("24.875"))
    told = portfolio_history(Account.objects.get(pk=account.pk), HistoryRequest(timeframe="1D"))
    assert told.equity == [Decimal("99995"), Decimal("100000")]  # 10 × 99.5, 40 × 25
    hours = portfolio_history(
        Account.objects.get(pk=account.pk), HistoryRequest(timeframe="1H", first=TUESDAY)
    )
    assert hours.equity[0] == Decimal("99995")  # 40 × 24.875, before anything traded
    assert_books_balance(account)


def test_all_open_orders_end_with_the_reason_and_free_what_they_held(floor):
    account = holder(floor)
    gtc = {"time_in_force": TimeInForce.GTC}
    waiting = [
        floor.sell(account, "5", limit="150", **gtc),
        floor.buy(account, "1", limit="50", **gtc),
    ]
    stranger = funded_account()
    waiting.append(floor.buy(stranger, "1", limit="50", **gtc))
    floor.show("99", "100")
    announce()
    floor.play(until=NIGHT)

    for order in map(now_of, waiting):
        assert (order.status, order.reason) == ("canceled", "canceled by AAPL split 4:1")
        assert order.canceled_at == SPLIT_AT
    # The market is at 25 now, below the limits that were; nothing of it fills.
    floor.play(floor.quote("24.90", "25.10", at=NOON))
    assert Position.objects.get(account=account).quantity == 40
    assert_books_balance(account, stranger)


def test_many_orders_end_in_several_transactions(floor, monkeypatch):
    monkeypatch.setattr(carrying, "ORDERS_MAX", 2)
    account = holder(floor)
    gtc = {"time_in_force": TimeInForce.GTC}
    orders = [floor.buy(account, "1", limit="50", **gtc) for _ in range(5)]
    announce()
    floor.play(until=NIGHT)

    assert {now_of(order).status for order in orders} == {"canceled"}
    assert Position.objects.get(account=account).quantity == 40
    assert_books_balance(account)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("after", [True, False])
def test_killed_around_any_account_it_goes_on_where_it_was(floor, monkeypatch, after):
    accounts = [holder(floor) for _ in range(3)]
    action = announce()
    monkeypatch.setattr(carrying, "SLICE", 2)
    book, calls = carrying._split_or_end_some, iter(range(100))

    def die(*args):
        dies = next(calls) in (0, 2, 4)
        if dies and not after:
            raise Killed
        done = book(*args)
        if dies:
            raise Killed
        return done

    monkeypatch.setattr(carrying, "_split_or_end_some", die)
    for _ in range(3):
        with pytest.raises(Killed):
            carrying.carry_out(SPLIT_AT)
        assert Instrument.objects.get().halt_reason == "AAPL split 4:1 is being booked"
        with pytest.raises(halts.SplitUnderWay):
            halts.resume(floor.instrument, actor="operator:1")
        for account in accounts:  # each valued by its own shares, split or not
            assert summary_of(account).equity == Decimal("99995")
    carrying.carry_out(SPLIT_AT)

    action.refresh_from_db()
    assert (action.status, action.accounts) == ("done", 3)
    assert {one.quantity for one in Position.objects.all()} == {Decimal(40)}
    assert not Instrument.objects.get().halted
    assert_books_balance(*accounts)


def test_one_that_is_called_off_while_another_is_booked_is_not_booked(floor):
    account = holder(floor)
    announce()
    late = announce(2, ex_on=date(2013, 10, 9))

    def call_off():
        if Position.objects.get(account=account).quantity == 40 and late.status == "announced":
            late.status = corporate_actions.cancel(action_id=late.pk, actor="test").status

    carrying.carry_out(late.due_at, between=call_off)

    assert Position.objects.get(account=account).quantity == 40
    late.refresh_from_db()
    assert late.status == "canceled"
    assert not Instrument.objects.get().halted
    assert_books_balance(account)


def test_a_former_owner_that_wakes_late_splits_no_shares_that_are_new(floor, monkeypatch):
    """It stood still before an account that had an order; meanwhile all was done."""
    account = funded_account("100000")
    waiting = floor.buy(account, "1", limit="50", time_in_force=TimeInForce.GTC)
    announce()
    book = carrying._split_or_end_some
    bought = []

    def stand_still(*stale):
        monkeypatch.setattr(carrying, "_split_or_end_some", book)
        orders.cancel(account_id=account.pk, order_id=waiting.public_id, actor="test")
        carrying.carry_out(SPLIT_AT)
        floor.play(floor.quote("24.90", "25.10", at=NOON))
        floor.buy(account, "10", limit="26")
        floor.show("24.90", "25.10")
        bought.append(floor.buy(account, "1", limit="20"))
        return book(*stale)

    monkeypatch.setattr(carrying, "_split_or_end_some", stand_still)
    carrying.carry_out(SPLIT_AT)

    assert Position.objects.get(account=account).quantity == 10
    assert now_of(bought[0]).status == "accepted"
    assert_books_balance(account)


def test_no_margin_is_called_while_a_split_is_booked(floor):
    short = short_seller(floor)
    action = corporate_actions.begin(announce().pk, actor="engine")
    before = Account.objects.get(pk=short.pk).called_at
    carrying._split_or_end_some(action, short.pk)
    margin_calls.look()

    assert Account.objects.get(pk=short.pk).called_at is before is None


@pytest.mark.parametrize("is_begun", [False, True])
def test_until_its_books_are_split_an_account_counts_the_market_as_it_was(floor, is_begun):
    long, short = holder(floor), short_seller(floor)
    action = announce()
    before = [summary_of(account) for account in (long, short)]
    MarketClock.objects.update(watermark_us=to_micros(NIGHT))
    market_clock().refresh()
    latest.put_many([floor.quote("24.75", "25", at=NIGHT)])  # which is 99 to 100 of before
    if is_begun:
        corporate_actions.begin(action.pk, actor="engine")

    assert [summary_of(account).equity for account in (long, short)] == [
        one.equity for one in before
    ]
    with pytest.raises(InsufficientFunds):
        withdraw(account_id=short.pk, amount=Decimal(8000), actor="test")
    margin_calls.look()
    assert Account.objects.get(pk=short.pk).called_at is None
    carrying.carry_out(NIGHT)
    assert [summary_of(account).equity for account in (long, short)] == [
        one.equity for one in before
    ]
    assert_books_balance(long, short)


def test_no_margin_is_called_between_a_splits_time_and_its_booking(floor):
    account = margin_account()
    floor.buy(account, "180", limit="100")
    floor.show("99", "100")
    announce()
    MarketClock.objects.update(watermark_us=to_micros(NIGHT))
    market_clock().refresh()
    latest.put_many([floor.quote("24.75", "25", at=NIGHT)])

    margin_calls.look()
    assert Account.objects.get(pk=account.pk).called_at is None
    carrying.carry_out(NIGHT)
    margin_calls.look()
    assert Account.objects.get(pk=account.pk).called_at is None


def test_an_operators_own_halt_stays(floor):
    holder(floor)
    announce()
    halts.halt(floor.instrument, reason="news", actor="operator:1")
    floor.play(until=NIGHT)

    assert Instrument.objects.get().halt_reason == "news"


def test_an_instrument_that_the_source_resumes_amid_its_split_goes_on_after_it(floor):
    announced = announce()
    halts.follow({"AAPL": (True, "news")})
    action = corporate_actions.begin(announced.pk, actor="engine")

    halts.follow({"AAPL": (False, "")})
    assert Instrument.objects.get().halt_reason == "AAPL split 4:1 is being booked"
    corporate_actions.finish(action, actor="engine")

    assert not Instrument.objects.get().halted


def test_an_instrument_that_the_source_halts_amid_its_split_stays_halted_after_it(floor):
    action = corporate_actions.begin(announce().pk, actor="engine")

    halts.follow({"AAPL": (True, "news")})
    corporate_actions.finish(action, actor="engine")
    assert Instrument.objects.get().halt_reason == f"{halts.UPSTREAM}: news"
    halts.follow({"AAPL": (False, "")})

    assert not Instrument.objects.get().halted


@pytest.mark.django_db(transaction=True)
def test_on_wall_time_the_engine_halts_and_a_thread_books(monkeypatch):
    floor = TradingFloor()
    floor.show("99", "100")
    account = holder(floor)
    action = announce()
    MarketClock.objects.update(mode=MarketClock.Mode.LIVE)
    market_clock().refresh()
    carrying.carry_out(market_clock().now(), begins_splits=False)
    action.refresh_from_db()
    assert action.status == "announced"  # the engine is first

    floor.restart()
    engine = floor.engine
    assert engine.listing.is_halted("AAPL")
    monkeypatch.setattr(carrying, "LOOK_SECONDS", 0.01)
    with watching(carrying.watch, engine.pending.lease):
        booked = CorporateAction.objects.filter(pk=action.pk, status="done")
        eventually(booked.exists, "somebody to book it")
    assert Position.objects.get(account=account).quantity == 40
    assert not Instrument.objects.get().halted


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"new": 1}, "changes the number"),
        ({"new": 0}, "between 1:1000"),
        ({"new": 1001}, "between 1:1000"),
        ({"old": -1}, "between 1:1000"),
        ({"ex_on": date(2013, 10, 12)}, "trading day"),
        ({"ex_on": MONDAY}, "before it is carried out"),
        ({"ex_on": date(2015, 10, 12)}, "at most a year"),
    ],
)
def test_bad_terms_are_refused_and_store_nothing(floor, fields, says):
    with pytest.raises(corporate_actions.Refused, match=says):
        announce(**fields)
    assert not CorporateAction.objects.exists()

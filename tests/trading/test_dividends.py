"""Dividends: announced by an operator, paid by the engine as market time passes their day."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from events.models import Event
from portfolios import dividends
from portfolios.accounts import close_account
from portfolios.models import Account, Entitlement, NonTradeActivity, Position
from portfolios.queries import account_summary
from quotes import corporate_actions
from quotes.clock import market_clock
from quotes.corporate_actions import AlreadyAnnounced, TooLate, announce_dividend
from quotes.models import CorporateAction, MarketClock
from tests.portfolios.factories import (
    assert_books_balance,
    funded_account,
    make_instrument,
    margin_account,
    new_york,
)
from tests.trading.api.programs import Trader
from tests.trading.floor import TradingFloor, watching
from tests.waiting import eventually
from trading import corporate_actions as carrying

TUESDAY, THURSDAY = date(2013, 10, 8), date(2013, 10, 10)
TUESDAY_NOON = new_york("2013-10-08 12:00")
PAID_AT = new_york("2013-10-09 20:00")  # as the overnight session of Thursday begins


def announce(per_share: str = "0.25", **fields) -> CorporateAction:
    terms = {"symbol": "AAPL", "ex_on": TUESDAY, "payable_on": THURSDAY, **fields}
    return announce_dividend(per_share=Decimal(per_share), actor="operator:1", **terms)


def holder(floor: TradingFloor, quantity: str) -> Account:
    account = funded_account("100000")
    floor.buy(account, quantity, limit="100")
    floor.show("99", "100")
    return account


def cash_of(account: Account) -> Decimal:
    return Account.objects.get(pk=account.pk).cash


def test_whoever_held_before_the_ex_date_is_paid_whatever_they_traded_since(floor):
    action = announce()
    kept, sold, late = holder(floor, "10"), holder(floor, "4"), funded_account("100000")
    floor.play(floor.quote("99", "100", at=TUESDAY_NOON))
    floor.sell(sold, "4", limit="99")
    floor.buy(late, "8", limit="100")
    floor.show("99", "100")
    before = {account.pk: cash_of(account) for account in (kept, sold, late)}

    floor.play(until=new_york("2013-10-09 19:59"))
    assert {account.pk: cash_of(account) for account in (kept, sold, late)} == before
    floor.play(until=new_york("2013-10-10 04:00"))

    paid = [cash_of(account) - before[account.pk] for account in (kept, sold, late)]
    assert paid == [Decimal("2.5"), Decimal("1"), Decimal(0)]
    action.refresh_from_db()
    assert (action.status, action.accounts) == ("done", 2)
    activity = NonTradeActivity.objects.get(account=kept, type="DIV")
    assert (activity.at, activity.on) == (PAID_AT, THURSDAY)
    assert_books_balance(kept, sold, late)


def test_who_is_short_pays(floor):
    account = margin_account()
    floor.sell(account, "10", limit="99")
    floor.show("99", "100")
    announce()
    before = cash_of(account)

    floor.play(until=new_york("2013-10-10 04:00"))

    assert cash_of(account) == before - Decimal("2.5")
    assert NonTradeActivity.objects.get(account=account, type="DIV").net_amount == Decimal("-2.5")
    assert_books_balance(account)


def test_it_is_rounded_once_and_a_crumb_earns_nothing(floor):
    account = holder(floor, "0.333333333")
    crumb = holder(floor, "0.01")
    announce("0.123457")
    announce("0.000001", ex_on=date(2013, 10, 9))
    before = cash_of(account), cash_of(crumb)

    floor.play(until=new_york("2013-10-10 04:00"))

    # 0.333333333 × 0.123457 = 0.0411523…, 0.01 × 0.123457 = 0.00123457
    assert cash_of(account) - before[0] == Decimal("0.0412")
    assert cash_of(crumb) - before[1] == Decimal("0.0012")
    assert Entitlement.objects.filter(account=crumb, transaction=None).count() == 1
    assert_books_balance(account, crumb)


def test_it_is_part_of_the_profit_of_the_day_it_is_paid(floor):
    account = holder(floor, "10")
    announce()
    floor.play(until=new_york("2013-10-10 12:00"))

    summary = account_summary(Account.objects.get(pk=account.pk))
    assert summary.day_pl == summary.equity - summary.last_equity == Decimal("2.5")


def test_it_is_an_activity_of_the_account(floor):
    account = holder(floor, "10")
    announce()
    floor.play(until=new_york("2013-10-10 04:00"))

    (shown,) = Trader(account).get("/v2/account/activities/DIV").json()
    assert shown.pop("id").startswith("20131009200000000::")
    assert shown == {
        "account_id": str(account.public_id),
        "activity_type": "DIV",
        "date": "2013-10-10",
        "net_amount": "2.5",
        "description": "AAPL dividend 0.25",
        "status": "executed",
        "symbol": "AAPL",
        "qty": "10",
        "per_share_amount": "0.25",
    }


def test_a_closed_account_is_left_alone(floor):
    account = holder(floor, "10")
    announce()
    close_account(account_id=account.pk, actor="test")
    before = cash_of(account)

    floor.play(until=new_york("2013-10-10 04:00"))
    assert cash_of(account) == before


class Killed(BaseException):
    """The process ends here."""


def test_killed_after_any_account_it_is_paid_once(floor, monkeypatch):
    accounts = [holder(floor, "10") for _ in range(3)]
    action = announce()
    monkeypatch.setattr(carrying, "SLICE", 2)
    before = [cash_of(account) for account in accounts]
    pay, left = dividends.pay, iter(range(100))

    def pay_and_die(*args, **fields):
        paid = pay(*args, **fields)
        if next(left) in (0, 2, 5):
            raise Killed
        return paid

    monkeypatch.setattr(carrying.dividends, "pay", pay_and_die)
    for _ in range(3):
        with pytest.raises(Killed):
            carrying.carry_out(PAID_AT)
    carrying.carry_out(PAID_AT)

    assert [cash_of(one) - was for one, was in zip(accounts, before, strict=True)] == [
        Decimal("2.5")
    ] * 3
    action.refresh_from_db()
    assert (action.status, action.accounts) == ("done", 3)
    assert Event.objects.filter(kind="portfolios.dividend.paid").count() == 3
    assert_books_balance(*accounts)


def test_one_that_is_called_off_while_another_is_paid_is_not_paid(floor):
    account = holder(floor, "10")
    announce("0.25")
    second = announce("1", ex_on=date(2013, 10, 9))
    before = cash_of(account)

    def call_off():
        if cash_of(account) > before and second.status == "announced":
            second.status = corporate_actions.cancel(action_id=second.pk, actor="test").status

    carrying.carry_out(PAID_AT, between=call_off)

    assert cash_of(account) == before + Decimal("2.5")
    second.refresh_from_db()
    assert second.status == "canceled"
    assert not Entitlement.objects.filter(action=second).exists()
    assert_books_balance(account)


def test_an_engine_that_starts_late_carries_out_what_is_due(floor):
    account = holder(floor, "10")
    action = announce()
    floor.restart()
    MarketClock.objects.filter(pk=1).update(watermark_us=int(PAID_AT.timestamp() + 60) * 1_000_000)
    market_clock().refresh()
    assert floor.engine

    action.refresh_from_db()
    assert action.status == "done"
    assert_books_balance(account)


@pytest.mark.django_db(transaction=True)
def test_on_wall_time_a_thread_beside_the_engine_pays(monkeypatch):
    floor = TradingFloor()
    floor.show("99", "100")
    account = holder(floor, "10")
    action = announce()
    before = cash_of(account)
    MarketClock.objects.update(mode=MarketClock.Mode.LIVE)
    market_clock().refresh()
    monkeypatch.setattr(carrying, "LOOK_SECONDS", 0.01)
    with watching(carrying.watch, floor.engine.pending.lease):
        paid = CorporateAction.objects.filter(pk=action.pk, status="done")
        eventually(paid.exists, "somebody to pay")
    assert cash_of(account) == before + Decimal("2.5")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"per_share": "0"}, "amount per share"),
        ({"per_share": "-1"}, "amount per share"),
        ({"per_share": "0.0000001"}, "amount per share"),
        ({"per_share": "NaN"}, "amount per share"),
        ({"per_share": "1e9"}, "amount per share"),
        ({"ex_on": date(2013, 10, 12)}, "trading day"),
        ({"payable_on": date(2013, 10, 7)}, "ex-date or within a year"),
        ({"payable_on": date(2015, 10, 7)}, "ex-date or within a year"),
        ({"ex_on": date(2013, 10, 4), "payable_on": date(2013, 10, 7)}, "before it is carried out"),
        ({"symbol": "NONE"}, "asset not found"),
    ],
)
def test_bad_terms_are_refused_and_store_nothing(floor, fields, says):
    with pytest.raises(corporate_actions.Refused, match=says):
        announce(**fields)
    assert not CorporateAction.objects.exists()


def test_a_shards_own_are_found_behind_many_of_others(floor, monkeypatch):
    monkeypatch.setattr(corporate_actions, "DUE_MAX", 2)
    for symbol in ("MSFT", "IBM", "SPY"):
        announce(symbol=make_instrument(symbol).symbol)
    own = announce(ex_on=date(2013, 10, 9))
    ids = {floor.instrument.pk}

    assert corporate_actions.next_due_at(ids) == own.due_at
    assert corporate_actions.due(PAID_AT, ids) == [own]
    assert len(corporate_actions.due(PAID_AT)) == 2
    carrying.carry_out(PAID_AT, ids)
    assert corporate_actions.next_due_at(ids) is None
    carrying.carry_out(PAID_AT)
    assert {action.status for action in CorporateAction.objects.all()} == {"done"}


def test_it_is_announced_once_and_can_be_called_off_until_it_is_due(floor):
    action = announce()
    with pytest.raises(AlreadyAnnounced):
        announce("0.5")

    corporate_actions.cancel(action_id=action.pk, actor="operator:1")
    with pytest.raises(TooLate):
        corporate_actions.cancel(action_id=action.pk, actor="operator:1")
    again, account = announce("0.5"), holder(floor, "10")
    before = cash_of(account)
    floor.play(until=new_york("2013-10-10 04:00"))

    assert cash_of(account) == before + 5
    with pytest.raises(TooLate):
        corporate_actions.cancel(action_id=again.pk, actor="operator:1")
    assert Position.objects.get(account=account).quantity == 10

from __future__ import annotations

from decimal import Decimal
from importlib import import_module

import pytest
from django.apps import apps

from portfolios.accounts import deposit, withdraw
from portfolios.models import (
    AccountDay,
    Lot,
    NonTradeActivity,
    Position,
    PositionDay,
)
from portfolios.rebuild import day_facts
from tests.portfolios.factories import (
    assert_ledger_agrees,
    funded_account,
    make_instrument,
    new_york,
    trade,
)
from tests.portfolios.market import set_market_time

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("bought_before", [True, False])
def test_the_days_lots_of_stored_positions_are_counted(bought_before: bool) -> None:
    set_market_time(new_york("2024-03-05 12:00"))
    account = funded_account()
    if bought_before:
        trade(account, "buy", "5", "90", at=new_york("2024-03-04 12:00"))
    trade(account, "buy", "3", "100", at=new_york("2024-03-05 11:00"))
    trade(account, "sell", "1", "101", at=new_york("2024-03-05 11:30"))
    Position.objects.update(day_opened_quantity=Decimal(0), day_opened_cost=Decimal(0))

    import_module("portfolios.migrations.0002_day_opened").count_the_days_lots(apps, None)

    assert Position.objects.get().day_opened_quantity == (3 if bought_before else 2)
    assert_ledger_agrees(account)


def test_the_days_lots_of_stored_positions_are_dated() -> None:
    set_market_time(new_york("2024-03-05 12:00"))
    account = funded_account()
    trade(account, "buy", "5", "90", at=new_york("2024-03-04 12:00"))
    trade(account, "buy", "3", "100", at=new_york("2024-03-05 11:00"))
    Lot.objects.update(opened_on=None)

    import_module("portfolios.migrations.0004_lot_choice").date_the_days_lots(apps, None)

    dated = list(Lot.objects.order_by("pk").values_list("opened_on", flat=True))
    assert [str(one) for one in dated] == ["None", "2024-03-05"]
    trade(account, "sell", "7", "110", at=new_york("2024-03-05 13:00"))
    assert Position.objects.get().day_opened_quantity == 1
    assert_ledger_agrees(account)


def test_days_and_activities_are_written_as_they_would_have_been() -> None:
    set_market_time(new_york("2024-03-04 12:00"))
    accounts = [funded_account(), funded_account("777")]
    for day in ("2024-03-04", "2024-03-05", "2024-03-08"):
        set_market_time(new_york(f"{day} 12:00"))
        for account in accounts:
            deposit(account_id=account.pk, amount=Decimal(5), actor="test")
            trade(account, "buy", "2", "10", fee="0.1", at=new_york(f"{day} 12:00"))
            trade(account, "sell", "1", "11", at=new_york(f"{day} 12:00"))
        withdraw(account_id=accounts[0].pk, amount=Decimal(3), actor="test")
    trade(accounts[1], "sell", "4", "9", instrument=make_instrument("IBM"))
    before = past()
    for model in (AccountDay, PositionDay, NonTradeActivity):
        model.objects.all().delete()

    import_module("portfolios.migrations.0006_days_and_activities").write_the_past(apps, None)

    assert past() == before
    assert len(before[0]) == 7 + 7
    assert_ledger_agrees(*accounts)


def past() -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    days = [
        (day.account_id, *day_facts(day))
        for model in (AccountDay, PositionDay)
        for day in model.objects.all()
    ]
    rows = NonTradeActivity.objects.order_by("account", "transaction")
    told = rows.values_list("account", "transaction", "type", "net_amount", "at", "on")
    return sorted(days), list(told)

from __future__ import annotations

from decimal import Decimal
from importlib import import_module

import pytest
from django.apps import apps

from portfolios.models import Position
from tests.portfolios.factories import assert_ledger_agrees, funded_account, new_york, trade
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

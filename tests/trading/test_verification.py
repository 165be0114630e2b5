"""Every fill can be worked out again, and one that was tampered with is found."""

from __future__ import annotations

from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.db.models import F

from portfolios.models import Account
from tests.portfolios.factories import assert_books_balance, funded_account, trade
from tests.trading.floor import CLOSE, TradingFloor
from trading import verification
from trading.execution.matching import FillModel
from trading.models import Fill, OrderType, TimeInForce

pytestmark = pytest.mark.django_db


def verify() -> str:
    out = StringIO()
    call_command("verify_fills", stdout=out, stderr=StringIO())
    return out.getvalue().strip()


def a_day_of_every_kind() -> Account:
    """Fills by market, amount, limit, fok, stop, stop limit, trailing stop and auction."""
    floor = TradingFloor()
    floor.show("99", "100", ask_size=30)
    account, seller = funded_account("100000"), funded_account("100000")
    trade(seller, "buy", "30.5", "99", instrument=floor.instrument)
    floor.buy(account, "50", limit="101")
    floor.buy(account, None, notional=Decimal(333))
    floor.show("99", "100", ask_size=55)
    floor.show("99", "101", ask_size=500)
    floor.buy(account, "7", limit="101", time_in_force=TimeInForce.FOK)
    floor.sell(seller, "12.5")
    floor.buy(account, "5", type=OrderType.STOP, stop_price=Decimal(103))
    stop_limit = {"type": OrderType.STOP_LIMIT, "stop_price": Decimal(103)}
    floor.buy(account, "6", limit_price=Decimal(104), **stop_limit)
    floor.sell(seller, "10", type=OrderType.TRAILING_STOP, trail_percent=Decimal(2))
    floor.sell(seller, "8", time_in_force=TimeInForce.CLS)
    floor.play(floor.quote("102", "103", ask_size=3), floor.trade("103"))
    floor.show("105", "106")
    floor.show("101", "102")
    floor.play(floor.trade("101.5", at=CLOSE, auction="close"))
    return account


def test_fills_of_every_kind_agree_with_their_certificates() -> None:
    account = a_day_of_every_kind()
    kinds = set(Fill.objects.values_list("order__type", "order__time_in_force", "resolution"))
    assert kinds == {
        ("limit", "day", "tick"),
        ("market", "day", "tick"),
        ("limit", "fok", "tick"),
        ("stop", "day", "tick"),
        ("stop_limit", "day", "tick"),
        ("trailing_stop", "day", "tick"),
        ("market", "cls", "auction"),
    }
    assert verify() == f"{Fill.objects.count()} fills, all as their certificates make them"
    assert_books_balance(account)


def test_fills_from_the_line_agree_with_their_certificates() -> None:
    floor = TradingFloor(model=FillModel.QUEUE)
    floor.show("99", "100", bid_size=30)
    accounts = [funded_account(), funded_account()]
    for account in accounts:
        floor.buy(account, "10", limit="99")
    floor.show("98", "99", ask_size=15)
    floor.prints("99", 20)
    assert Fill.objects.count() == 0
    floor.prints("99", 13)
    floor.prints("98.5", 1)
    first, *others = Fill.objects.order_by("pk")
    assert (first.quantity, first.queue_ahead, first.trade_size) == (3, 10, 13)
    assert [fill.quantity for fill in others] == [7, 5]
    assert [fill.trade_price for fill in others] == [Decimal("98.5")] * 2
    assert verify() == "3 fills, all as their certificates make them"
    assert_books_balance(*accounts)


@pytest.mark.parametrize(
    ("which", "changes", "why"),
    [
        ({"order__type": "limit"}, {"price": F("price") + 100}, "price"),
        ({"order__type": "limit"}, {"quantity": F("quantity") - 10**9}, "quantity"),
        ({"order__type": "market"}, {"cash": F("cash") + 1}, "cash"),
        ({"order__type": "stop"}, {"ask": F("ask") - 100}, "price"),
        ({"order__type": "stop"}, {"taken_before": F("taken_before") + 10**9}, "quantity"),
        ({"order__type": "trailing_stop"}, {"quote_sequence": F("quote_sequence") + 1}, "id"),
        ({"resolution": "auction"}, {"bid": F("bid") + 100}, "price"),
        ({"order__time_in_force": "fok"}, {"model": "guess"}, "model guess"),
        ({"order__time_in_force": "fok"}, {"number": 2}, "fills before it"),
    ],
)
def test_one_altered_fill_is_found_and_named(
    which: dict[str, Any], changes: dict[str, Any], why: str
) -> None:
    a_day_of_every_kind()
    altered = Fill.objects.filter(**which).order_by("pk").first()
    assert altered is not None
    Fill.objects.filter(pk=altered.pk).update(**changes)
    with pytest.raises(CommandError, match=why) as wrong:
        verify()
    assert str(altered.execution_id) in str(wrong.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fee": F("fee") - 100}, "its fee is 0.02, its certificate makes 0.03"),
        ({"fee": F("fee") + 1}, "its fee is 0.0301, its certificate makes 0.03"),
        ({"fee_pack": "uk"}, "fees of the pack uk are not known here for a sell"),
        # On another day the rates are others.
        ({"at": CLOSE.replace(year=2024)}, "its fee is 0.03, its certificate makes 0.05"),
    ],
)
def test_a_fee_that_its_pack_does_not_charge_is_found_and_named(
    changes: dict[str, Any], why: str, settings: Any
) -> None:
    settings.FEES = "us"
    a_day_of_every_kind()
    settings.FEES = "none"  # what is charged from now on changes nothing about the past
    assert verify().endswith("all as their certificates make them")
    sold = Fill.objects.filter(side="sell").order_by("pk")[:1].get()
    assert (sold.fee, sold.fee_pack) == (Decimal("0.03"), "us")
    Fill.objects.filter(side="sell").update(**changes)  # of all of them the first is named
    with pytest.raises(CommandError, match=why) as wrong:
        verify()
    assert str(sold.execution_id) in str(wrong.value)


def test_a_purchase_is_not_charged_and_a_charge_names_its_pack() -> None:
    a_day_of_every_kind()
    bought = Fill.objects.filter(side="buy").order_by("pk")[:1].get()
    with pytest.raises(IntegrityError), transaction.atomic():
        Fill.objects.filter(pk=bought.pk).update(fee=1)
    Fill.objects.filter(pk=bought.pk).update(fee=1, fee_pack="us")
    with pytest.raises(CommandError, match="pack us are not known here for a buy"):
        verify()


def test_slices_do_not_break_an_order_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    a_day_of_every_kind()
    monkeypatch.setattr(verification, "SLICE", 1)
    assert len(list(verification.verify_fills())) == Fill.objects.count()
    assert verify().endswith("all as their certificates make them")

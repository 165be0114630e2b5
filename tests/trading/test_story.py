"""An order's page in admin: all that it went through, and nothing that can be changed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events.models import Event
from portfolios.models import Account, Posting
from tests.trading.floor import TradingFloor, change, now_of
from trading import orders, story
from trading.delivery import update_of
from trading.errors import InsufficientBuyingPower
from trading.models import Fill, Order

pytestmark = pytest.mark.django_db

QUERIES_MAX = 12  # session, user and permissions among them


@pytest.fixture
def floor() -> TradingFloor:
    floor = TradingFloor()
    floor.show("99", "100", ask_size=4)
    return floor


def canceled_after_two_fills(floor: TradingFloor, account: Account) -> Order:
    order = floor.buy(account, "10", limit="100")
    floor.pass_time(seconds=1)
    floor.show("98", "99.50", ask_size=3)
    orders.cancel(account_id=account.pk, order_id=order.public_id, actor="operator:1")
    return now_of(order)


def test_the_story_tells_events_holds_fills_and_postings(
    floor: TradingFloor, account: Account
) -> None:
    told = story.tell(canceled_after_two_fills(floor, account))

    names = [one.name for one in told.chapters]
    assert names == ["accepted", "new", "partial_fill", "partial_fill", "canceled"]
    assert [one.hold_cash for one in told.chapters] == ["1000", "1000", "600", "300", "0"]
    assert [one.filled for one in told.chapters] == ["0", "0", "4", "7", "7"]
    assert told.chapters[2].detail == "4 at 100, position 4"
    assert told.chapters[-1].event.actor == "operator:1"
    assert [(shown.fill.quantity, shown.wrong) for shown in told.fills] == [(4, ""), (3, "")]
    moved = [(one.amount, one.asset, one.source, one.target) for one in told.fills[1].postings]
    assert moved == [("298.5", "USD", "cash", "street"), ("3", "AAPL", "street", "shares")]
    posted = {shown.transaction for shown in told.fills}
    assert posted == set(Posting.objects.filter(kind="trade").values_list("transaction", flat=True))
    assert not told.is_cut


def test_terms_that_were_refused_are_told_with_the_order(
    floor: TradingFloor, account: Account, operator: Client
) -> None:
    order = floor.buy(account, "10", limit="90")
    floor.pass_time(seconds=1)
    with pytest.raises(InsufficientBuyingPower) as refusal:
        change(order, quantity="100000")

    asked = story.tell(now_of(order)).chapters[-1]
    assert (asked.name, asked.detail) == ("refused", "quantity 100000")
    assert asked.reason == refusal.value.message
    page = operator.get(f"/admin/trading/order/{order.pk}/change/").content.decode()
    assert page.count(refusal.value.message) == 1
    assert now_of(order).status == "new"


def test_a_fill_that_was_tampered_with_stands_out(
    floor: TradingFloor, account: Account, operator: Client
) -> None:
    order = canceled_after_two_fills(floor, account)
    Fill.objects.filter(number=2).update(price=Decimal(98))
    page = operator.get(f"/admin/trading/order/{order.pk}/change/").content.decode()
    assert page.count("the same") == 1
    assert "DIFFERS: its price is 98" in page


def test_the_page_costs_the_same_whatever_the_order_went_through(
    floor: TradingFloor, account: Account, operator: Client
) -> None:
    short, long = floor.buy(account, "1", limit="90"), canceled_after_two_fills(floor, account)
    counts = []
    for order in (short, long):
        with CaptureQueriesContext(connection) as queries:
            assert operator.get(f"/admin/trading/order/{order.pk}/change/").status_code == 200
        counts.append(len(queries))
    assert counts[1] - counts[0] <= 1  # its postings
    assert max(counts) <= QUERIES_MAX


def test_it_is_cut_where_it_is_long(
    floor: TradingFloor, account: Account, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = canceled_after_two_fills(floor, account)
    monkeypatch.setattr(story, "SHOWN_MAX", 1)
    told = story.tell(order)
    assert (len(told.chapters), len(told.fills), told.is_cut) == (1, 1, True)
    page = operator.get(f"/admin/trading/order/{order.pk}/change/").content.decode()
    assert "more than is shown here" in page


def test_what_stays_in_the_log_is_not_told_to_clients(
    floor: TradingFloor, account: Account
) -> None:
    canceled_after_two_fills(floor, account)
    for event in Event.objects.filter(kind__startswith="trading.order."):
        assert "books" in event.payload
        update = update_of(event)
        assert update is not None
        assert "books" not in update


def test_relatives_are_named(floor: TradingFloor, account: Account) -> None:
    old, new, leg = (floor.buy(account, "1", limit="90") for _ in range(3))
    Order.objects.filter(pk=new.pk).update(replaces=old)
    Order.objects.filter(pk=old.pk).update(replaced_by=new)
    Order.objects.filter(pk=leg.pk).update(parent=new)
    told = story.tell(now_of(new))
    assert [(one.how, one.order.pk) for one in told.relatives] == [
        ("replaces", old.pk),
        ("leg", leg.pk),
    ]
    assert [one.how for one in story.tell(now_of(old)).relatives] == ["replaced by"]
    assert [one.how for one in story.tell(now_of(leg)).relatives] == ["parent"]

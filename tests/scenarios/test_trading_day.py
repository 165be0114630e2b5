"""A trader's day, told in the words of the field, on a market that stands between the sentences."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from portfolios.models import Account, Position
from quotes import halts
from quotes.clock import forget_clock
from quotes.latest import forget_latest
from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.floor import CLOSE, MORNING, OPENING, TradingFloor, now_of
from trading import orders
from trading.closing import close_all
from trading.errors import InsufficientBuyingPower, InsufficientQuantity
from trading.execution.certificate import recompute
from trading.execution.matching import Match
from trading.models import Fill, Order, TimeInForce

pytestmark = pytest.mark.django_db


@pytest.fixture
def floor() -> TradingFloor:
    forget_clock()
    forget_latest()
    return TradingFloor(MORNING)


def statuses(*placed: Order) -> list[str]:
    return [now_of(order).status for order in placed]


def cash(account: Account) -> Decimal:
    account.refresh_from_db()
    return account.cash


def test_from_the_opening_bell_to_the_close(floor: TradingFloor) -> None:
    ann = funded_account("10000")

    # Before the bell she queues a market buy; it is held against the last price.
    floor.show("98", "102")
    floor.print_trade("100")
    opening_buy = floor.buy(ann, "20")
    assert statuses(opening_buy) == ["accepted"]
    assert now_of(opening_buy).hold_cash == Decimal(2080)

    # The bell: the first quote of the session fills what is displayed, then the rest.
    floor.play(floor.quote("100", "100.50", ask_size=15, at=OPENING))
    assert statuses(opening_buy) == ["partially_filled"]
    floor.show("100", "100.60", ask_size=15)
    assert statuses(opening_buy) == ["filled"]
    assert now_of(opening_buy).filled_avg_price == Decimal("100.525")
    assert cash(ann) == Decimal("10000") - Decimal("2010.50")

    # She offers half of it higher up and bids for more lower down; both rest.
    offer = floor.sell(ann, "10", limit="103")
    bid = floor.buy(ann, "30", limit="99", time_in_force=TimeInForce.GTC)
    floor.show("100", "101")
    assert statuses(offer, bid) == ["new", "new"]

    # She cannot sell the same shares twice, nor spend held cash.
    with pytest.raises(InsufficientQuantity):
        floor.sell(ann, "15")
    with pytest.raises(InsufficientBuyingPower):
        floor.buy(ann, "100", limit="60")

    # The price runs: her offer is lifted at the bid, better than she asked.
    floor.show("103.25", "103.40")
    assert statuses(offer, bid) == ["filled", "new"]
    assert now_of(offer).filled_avg_price == Decimal("103.25")
    assert Position.objects.get().realized == Decimal(10) * (Decimal("103.25") - Decimal("100.5"))

    # News: the stock is halted; it falls through her bid, and nothing trades.
    halts.halt(floor.instrument, reason="news pending", actor="operator:1")
    floor.show("90", "91")
    floor.show("97", "98", ask_size=12)
    assert statuses(bid) == ["new"]
    halts.resume(floor.instrument, actor="operator:1")
    floor.pass_time(seconds=1)
    assert now_of(bid).filled_quantity == 12

    # An immediate order takes what is there; a small fraction rounds her position off.
    floor.show("97", "98.50", ask_size=5)
    ioc = floor.buy(ann, "8", limit="98.50", time_in_force=TimeInForce.IOC)
    floor.pass_time(seconds=1)
    assert statuses(ioc) == ["canceled"]
    fraction = floor.buy(ann, None, notional=Decimal(50))
    floor.show("97", "98.60")
    assert statuses(fraction) == ["filled"]

    # The close: her day order expires, her good-till-canceled bid lives on until she cancels it.
    day_bid = floor.buy(ann, "1", limit="50")
    floor.play(until=CLOSE + timedelta(hours=1))
    assert statuses(day_bid) == ["expired"]
    assert now_of(bid).status == "filled" or now_of(bid).hold_cash > 0
    orders.cancel_all(account_id=ann.pk, actor="test")

    # The next morning she sells everything at the opening and is flat.
    [(symbol, closing)] = close_all(account_id=ann.pk, actor="test", cancel_orders=True)
    assert (symbol, closing.status) == ("AAPL", "accepted")  # type: ignore[union-attr]
    floor.play(floor.quote("99", "99.10", at=OPENING + timedelta(days=1)))
    position = Position.objects.get()
    assert (position.quantity, position.hold_quantity, position.cost_basis) == (0, 0, 0)
    assert cash(ann) == Decimal(10_000) + position.realized
    assert ann.hold_cash == 0
    assert_books_balance(ann)
    assert_every_certificate_holds()


def test_two_traders_and_one_displayed_size(floor: TradingFloor) -> None:
    ann, bob = funded_account(), funded_account()
    floor.play(floor.quote("99", "100", ask_size=100, at=OPENING))

    # Bob bids more for the shares, Ann was there first at the lower price.
    ann_bids = floor.buy(ann, "60", limit="97")
    bob_bids = floor.buy(bob, "60", limit="98")
    floor.pass_time(seconds=1)
    floor.show("95", "96", ask_size=80)

    # Price before time: Bob has all of his, Ann what is left, at the same touch.
    assert now_of(bob_bids).filled_quantity == 60
    assert now_of(ann_bids).filled_quantity == 20
    assert now_of(bob_bids).filled_avg_price == now_of(ann_bids).filled_avg_price == 96

    # The same quote again shows nothing new; forty more shares do.
    floor.show("95", "96", ask_size=80)
    assert now_of(ann_bids).filled_quantity == 20
    floor.show("95", "96", ask_size=120)
    assert now_of(ann_bids).filled_quantity == 60
    assert_books_balance(ann, bob)
    assert_every_certificate_holds()


def assert_every_certificate_holds() -> None:
    spent: dict[int, Decimal] = {}
    for fill in Fill.objects.select_related("order__instrument").order_by("order", "number"):
        before = spent.get(fill.order_id, Decimal(0))
        found = recompute(fill, fill.order, before)
        assert isinstance(found, Match), found
        assert (found.price, found.quantity) == (fill.price.scaleb(4), fill.quantity.scaleb(9))
        spent[fill.order_id] = before + fill.cash

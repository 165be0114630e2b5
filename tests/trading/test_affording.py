"""What a margin account can afford when an order's price has moved, by the floor's own prices."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from portfolios.borrowing import margin_now
from portfolios.models import Account, Position
from tests.portfolios.factories import make_instrument, margin_account, trade
from tests.trading.floor import MORNING, OPENING, TradingFloor, now_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def floor() -> TradingFloor:
    floor = TradingFloor(MORNING)
    floor.print_trade("50")
    return floor


@pytest.fixture
def account(floor: TradingFloor) -> Account:
    """Holds 100 shares of MSFT bought at 50, and 5,000 in cash."""
    account = margin_account()
    trade(account, "buy", "100", "50", instrument=make_instrument("MSFT"))
    return Account.objects.get(pk=account.pk)


def open_with(floor: TradingFloor, msft: str, bid: str, ask: str) -> None:
    """The market opens: a trade in what is held, then a quote of what is ordered."""
    floor.play(
        floor.trade(msft, at=OPENING, symbol="MSFT"),
        floor.quote(bid, ask, at=OPENING + timedelta(milliseconds=1)),
    )


def test_what_has_risen_carries_an_order_that_its_cost_would_not(floor, account):
    # Held anew at 104: 7,800. The equity beyond its margin is 7,500 at cost, and 10,000 at 100.
    order = floor.buy(account, "150")
    open_with(floor, "100", "99", "100")

    assert now_of(order).status == "filled"


def test_what_has_fallen_no_longer_does(floor, account):
    order = floor.buy(account, "280")  # holds 7,280 of 7,500
    open_with(floor, "10", "49", "50")

    rejected = now_of(order)
    assert rejected.status == "rejected"
    assert "needs 14560, has 11000" in rejected.reason


def test_positions_that_a_batch_has_changed_count_as_they_are_now(account):
    marks = {Position.objects.get().instrument_id: Decimal(60)}
    stored = margin_now(account, marks)
    assert (stored.equity, stored.excess) == (11_000, 8_000)

    position = Position.objects.get()
    position.quantity, position.cost_basis = Decimal(200), Decimal(11_000)
    account.cash -= 6_000
    changed = margin_now(account, marks, [(position, True)])

    assert (changed.equity, changed.excess) == (11_000, 5_000)


def test_what_has_no_price_counts_at_its_cost(account):
    assert margin_now(account, {}).equity == 10_000

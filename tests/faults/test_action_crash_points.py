"""Corporate actions, killed between any two statements: each account has it once, all the same.

A process of its own carries one out and is killed at the n-th point that it passes: before a
statement, or before, within or after a COMMIT. Then another engine takes over and finishes. All
points are tried one after the other, each with an action of its own, every `STRIDE`-th in the short
form.
"""

from __future__ import annotations

import signal
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest

from events.models import Event
from portfolios.models import Account, NonTradeActivity, Position
from quotes import corporate_actions
from quotes.clock import market_clock
from quotes.corporate_actions import announce_dividend, announce_split
from quotes.models import CorporateAction, Instrument
from tests.conftest import LONG
from tests.faults.crash_points import Armed, Fork
from tests.portfolios.factories import assert_books_balance, funded_account
from tests.trading.floor import TradingFloor, now_of
from trading import corporate_actions as carrying
from trading.models import Order, TimeInForce

pytestmark = pytest.mark.django_db(transaction=True)

STRIDE = 1 if LONG else 13
POINTS_MAX = 400
PER_SHARE = Decimal("0.50")
LATER = timedelta(hours=5)

Holding = tuple[Decimal, Decimal]  # cash and shares


class House:
    """Accounts with shares, and a market that moves from one action's day to the next."""

    def __init__(self) -> None:
        self.floor = TradingFloor()
        self.floor.show()
        self.accounts = [funded_account("100000") for _ in range(2)]
        for account in self.accounts:
            self.floor.buy(account, "10")
        self.floor.pass_time(seconds=1)

    def holdings(self) -> list[Holding]:
        cash = Account.objects.order_by("pk").values_list("cash", flat=True)
        shares = Position.objects.order_by("account_id").values_list("quantity", flat=True)
        return list(zip(cash, shares, strict=True))

    def orders(self) -> list[Order]:
        gtc = {"limit": "1", "time_in_force": TimeInForce.GTC}
        return [self.floor.buy(account, "1", **gtc) for account in self.accounts]

    def take_over(self, action: CorporateAction) -> None:
        """Another engine finishes what is due."""
        self.floor.restart()
        self.floor.play(until=max(action.due_at, market_clock().now()) + LATER)


def announced(kind: str, turn: int) -> CorporateAction:
    """An action of the next trading day; of splits every other one takes the last one back."""
    calendar = market_clock().calendar
    on = calendar.next_day(calendar.trading_date(market_clock().now())).date
    if kind == "dividend":
        return announce_dividend(
            symbol="AAPL", per_share=PER_SHARE, ex_on=on, payable_on=on, actor="operator:1"
        )
    new, old = (2, 1) if turn % 2 or kind == "reversal" else (1, 2)
    return announce_split(
        symbol="AAPL", new_shares=new, old_shares=old, ex_on=on, actor="operator:1"
    )


def due(kind: str, turn: int, house: House) -> CorporateAction:
    """The same, about to be carried out or, where that is asked for, to be taken back."""
    action = announced(kind, turn)
    if kind == "reversal":
        house.take_over(action)
        corporate_actions.reverse(action_id=action.pk, actor="operator:1")
    return action


def expected(action: CorporateAction, kind: str, before: Holding) -> Holding:
    cash, shares = before
    if kind == "dividend":
        return cash + PER_SHARE * shares, shares
    assert action.new_shares is not None
    assert action.old_shares is not None
    if kind == "reversal":
        return cash, shares * action.old_shares / action.new_shares
    return cash, shares * action.new_shares / action.old_shares


@pytest.mark.parametrize("kind", ["split", "reversal", "dividend"])
def test_an_action_that_is_killed_anywhere_is_carried_out_once(fork: Fork, kind: str) -> None:
    house, struck = House(), []
    for turn, point in enumerate(range(1, POINTS_MAX, STRIDE), start=1):
        action = due(kind, turn, house)
        resting = [] if kind == "dividend" else house.orders()
        before, told = house.holdings(), NonTradeActivity.objects.count()
        moment = max(action.due_at, market_clock().now())
        killed = fork(partial(carrying.carry_out, moment), Armed(point))
        if killed.wait():
            assert killed.result == -signal.SIGKILL
            struck.append(killed.struck_at())
        house.take_over(action)

        when = f"killed at point {point}: {killed.struck_at() if killed.result else 'never'}"
        assert house.holdings() == [expected(action, kind, one) for one in before], when
        assert NonTradeActivity.objects.count() == told + len(house.accounts), when
        for order in map(now_of, resting):
            assert (order.status, order.reason) == ("canceled", f"canceled by {action}"), when
        end = "reversed" if kind == "reversal" else "done"
        ends = Event.objects.filter(
            kind=f"quotes.corporate_action.{end}", subject=f"corporate_action:{action.public_id}"
        )
        assert (CorporateAction.objects.get(pk=action.pk).status, ends.count()) == (end, 1), when
        assert not Instrument.objects.get().halted, when
        assert_books_balance(*house.accounts)
        if killed.result == 0:
            break
    else:
        pytest.fail(f"an action has more than {POINTS_MAX} points")
    assert len(struck) > 20 // STRIDE
    if STRIDE == 1:
        assert {"before COMMIT", "after COMMIT"} <= set(struck)

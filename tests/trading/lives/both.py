"""A floor and its model, to which the same things happen: the market, cash, and what they compare.

Each method is something that can happen (`dice.py`); what cannot happen just now does nothing.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from access.accounts import reset_account
from events.errors import Refused
from portfolios import accounts
from portfolios.configurations import configure
from portfolios.models import Account, Position
from portfolios.queries import account_summary
from quotes.halts import halt, resume
from tests.portfolios.factories import assert_books_balance, funded_account, new_york
from tests.portfolios.model import Model as Books
from tests.trading.floor import TradingFloor
from tests.trading.lives.market import Market
from tests.trading.lives.model import Lives
from tests.trading.lives.tickets import Life, No, Ticket
from trading.execution.matching import FillModel
from trading.kill_switch import stop_trading
from trading.models import Order
from trading.verification import verify_fills

# A week of trading, from just after each opening to the close and the evening.
DAYS = [
    [new_york(f"2013-10-{day:02} {time}") for time in ("09:30:01", "16:00", "19:30")]
    for day in (7, 8, 9, 10, 11)
]
CASH = 3_000


class Both:
    """A cash account and a margin account in one market of whole dollars."""

    def __init__(self, model: FillModel) -> None:
        self.floor = TradingFloor(model=model, keeps_history=True)
        self.model = Lives(Market(has_lines=model is FillModel.QUEUE))
        self.day = 0
        self.real: dict[Ticket, int] = {}
        self.accounts: list[Account] = []
        self.past: list[tuple[Life, Account]] = []
        for is_cash in (True, False):
            account = funded_account(str(CASH))
            if not is_cash:
                wanted = {"max_margin_multiplier": "2"}
                configure(account_id=account.pk, changes=wanted, actor="test")
            self.accounts.append(account)
            self.model.lives.append(new_life(account, on_margin=not is_cash))
        self.prints(100, 1)
        self.quotes(100, 1, 10, 10)

    # The market.

    def quotes(self, bid: int, spread: int, bid_size: int, ask_size: int) -> None:
        shown = {"bid_size": bid_size, "ask_size": ask_size}
        self.model.take_in()
        self.model.quote([bid, bid + spread], [bid_size, ask_size])
        self.floor.show(str(bid), str(bid + spread), **shown)

    def prints(self, price: int, size: int) -> None:
        self.model.take_in()
        self.model.trade(price, size)
        self.floor.prints(str(price), size)

    def an_auction_prints(self, price: int, size: int) -> None:
        """The opening one in the day, the closing one after it."""
        market = self.model.market
        if market.is_evening:
            return
        self.model.take_in()
        self.model.auction("opg" if market.is_open else "cls", price, size)
        self.floor.prints(str(price), size, auction="open" if market.is_open else "close")

    def time_passes(self) -> None:
        self.model.take_in()
        self.floor.pass_time(seconds=1)

    def the_market_closes(self) -> None:
        if self.model.market.is_open:
            self.model.take_in()
            self.model.close()
            self.floor.play(until=DAYS[self.day][1])

    def evening_comes(self) -> None:
        if not self.model.market.is_open and not self.model.market.is_evening:
            self.model.take_in()
            self.model.evening()
            self.floor.play(until=DAYS[self.day][2])

    def another_day_begins(self, bid: int, size: int) -> None:
        market = self.model.market
        if not market.is_evening or self.day + 1 == len(DAYS):
            return
        self.day += 1
        at: datetime = DAYS[self.day][0]
        market.is_open, market.is_evening = True, False
        self.model.take_in()
        self.model.quote([bid, bid + 1], [size, size])
        self.floor.play(
            self.floor.quote(str(bid), str(bid + 1), bid_size=size, ask_size=size, at=at)
        )

    def trading_is_halted(self) -> None:
        self.model.market.is_halted = True
        halt(self.floor.instrument, reason="news", actor="test")

    def trading_goes_on(self) -> None:
        self.model.market.is_halted = False
        resume(self.floor.instrument, actor="test")

    def the_engine_dies(self) -> None:
        self.model.forget()
        self.floor.restart()

    # Accounts.

    def deposits(self, who: int, amount: int) -> None:
        self.model.deposit(self.model.lives[who], amount)
        account_id = self.accounts[who].pk
        accounts.deposit(account_id=account_id, amount=Decimal(amount), actor="test")

    def withdraws(self, who: int, amount: int) -> None:
        account_id = self.accounts[who].pk
        self.both(
            lambda: self.model.withdraw(self.model.lives[who], amount),
            lambda: accounts.withdraw(account_id=account_id, amount=Decimal(amount), actor="test"),
        )

    def pulls_the_kill_switch(self, who: int) -> None:
        self.model.stop(self.model.lives[who])
        stop_trading(account_id=self.accounts[who].pk, actor="test", reason="enough")

    def trades_on(self) -> None:
        for life, account in zip(self.model.lives, self.accounts, strict=True):
            if life.stopped:
                life.stopped = False
                life.events += 1
                wanted = {"suspend_trade": False}
                configure(account_id=account.pk, changes=wanted, actor="test")

    def begins_anew(self, who: int, cash: int) -> None:
        life, account = self.model.lives[who], self.accounts[who]
        self.model.reset(life)
        fresh = reset_account(account_id=account.pk, cash=Decimal(cash), actor="test")
        self.past.append((life, account))
        self.accounts[who] = fresh
        self.model.lives[who] = new_life(fresh, on_margin=life.on_margin)

    # What must be so after each step.

    def compare(self) -> None:
        for life, row in zip(self.model.lives, self.accounts, strict=True):
            account = self.compare_books(life, row)
            power = self.model.free(life) * self.model.leverage(life)
            assert account_summary(account).buying_power == power
        self.compare_orders()

    def compare_books(self, life: Life, row: Account) -> Account:
        account = Account.objects.get(pk=row.pk)
        position = Position.objects.filter(account=account).first() or Position()
        cash, shares = self.model.held(life)
        assert (account.cash, account.hold_cash) == (life.books.cash, cash)
        assert (position.quantity, position.hold_quantity) == (life.books.quantity, shares)
        assert (position.cost_basis, position.realized) == (
            life.books.cost_basis,
            life.books.realized,
        )
        assert account.event_sequence == life.events
        return account

    def compare_orders(self) -> None:
        rows = Order.objects.in_bulk(self.real.values())
        for order, pk in self.real.items():
            row = rows[pk]
            cash, shares = order.hold()
            found = (row.status, row.quantity, row.filled_quantity, row.hold_cash)
            assert found == (order.status, order.quantity, order.filled, cash), order
            assert row.hold_quantity == shares, order

    def prove(self) -> None:
        """What must be so in the end, also of accounts that others took the place of."""
        for life, account in self.past:
            self.compare_books(life, account)
        assert_books_balance(*self.accounts, *(account for _, account in self.past))
        assert {progress.wrong for progress in verify_fills()} <= {None}

    def both(self, model: Any, real: Any) -> None:
        """Do it to both; either both refuse it or none."""
        refused: Refused | None = None
        try:
            real()
        except Refused as error:
            refused = error
        try:
            model()
        except No:
            assert refused is not None, "the model refuses it"
        else:
            assert refused is None, f"the model does not: {refused}"


def new_life(account: Account, *, on_margin: bool) -> Life:
    row = Account.objects.get(pk=account.pk)
    return Life(on_margin, Books(cash=Fraction(row.cash)), row.event_sequence)

"""Accounts go through random lives on the real floor, beside a model that is obvious code."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from events.errors import Refused
from portfolios import accounts
from portfolios.configurations import configure
from portfolios.models import Account, Position
from portfolios.queries import account_summary
from quotes.halts import halt, resume
from tests.conftest import LONG
from tests.portfolios.factories import assert_books_balance, funded_account, new_york
from tests.portfolios.model import Model as Books
from tests.trading.conftest import forget_market
from tests.trading.floor import TradingFloor
from tests.trading.lives import OPEN, WORKING, Life, Lives, No, Ticket
from tests.trading.lives_at_random import throw
from trading.kill_switch import stop_trading
from trading.models import Order, OrderClass, OrderType, Side, TimeInForce
from trading.orders import cancel
from trading.replacing import Changes, replace_order
from trading.verification import verify_fills

pytestmark = pytest.mark.django_db

# A week of trading, from just after each opening to the close.
DAYS = [
    (new_york(f"2013-10-{day:02} 09:30:01"), new_york(f"2013-10-{day:02} 16:00"))
    for day in (7, 8, 9, 10, 11)
]
CASH = 3_000


class RandomLives(RuleBasedStateMachine):
    """A cash account and a margin account in one market of whole dollars.

    Each life is lived in a savepoint, so that the next one finds nothing of it.
    """

    @initialize()
    def begin(self) -> None:
        self._fees = override_settings(FEES="us")
        self._fees.enable()
        self._savepoint = transaction.savepoint()
        forget_market()
        self.floor = TradingFloor()
        self.model = Lives()
        self.day = 0
        self.real: dict[Ticket, int] = {}
        self.accounts: list[Account] = []
        for is_cash in (True, False):
            account = funded_account(str(CASH))
            if not is_cash:
                wanted = {"max_margin_multiplier": "2"}
                configure(account_id=account.pk, changes=wanted, actor="test")
            self.accounts.append(account)
            books = Books(cash=Fraction(CASH))
            events = Account.objects.get(pk=account.pk).event_sequence
            self.model.lives.append(Life(not is_cash, books, events))
        self.prints(100)
        self.quotes(100, 1, 10, 10)

    @rule(dice=st.randoms(use_true_random=True), times=st.integers(1, 12))
    def time_goes_on(self, dice: Random, times: int) -> None:
        for _ in range(times):
            what, how = throw(dice)
            note(f"{what} {how}")
            getattr(self, what)(**how)
            self.accounts_are_what_the_model_says()
            self.orders_are_what_the_model_says()

    # The market.

    def quotes(self, bid: int, spread: int, bid_size: int, ask_size: int) -> None:
        shown = {"bid_size": bid_size, "ask_size": ask_size}
        self.model.take_in()
        self.model.quote(bid, bid + spread, bid_size, ask_size)
        self.floor.show(str(bid), str(bid + spread), **shown)

    def prints(self, price: int) -> None:
        self.model.take_in()
        self.model.trade(price)
        self.floor.prints(str(price))

    def time_passes(self) -> None:
        self.model.take_in()
        self.floor.pass_time(seconds=1)

    def the_market_closes(self) -> None:
        if not self.model.is_open:
            return
        self.model.take_in()
        self.model.close()
        self.floor.play(until=DAYS[self.day][1])

    def another_day_begins(self, bid: int, size: int) -> None:
        if self.model.is_open or self.day + 1 == len(DAYS):
            return
        self.day += 1
        at: datetime = DAYS[self.day][0]
        self.model.is_open = True
        self.model.take_in()
        self.model.quote(bid, bid + 1, size, size)
        self.floor.play(
            self.floor.quote(str(bid), str(bid + 1), bid_size=size, ask_size=size, at=at)
        )

    def trading_is_halted(self) -> None:
        self.model.is_halted = True
        halt(self.floor.instrument, reason="news", actor="test")

    def trading_goes_on(self) -> None:
        self.model.is_halted = False
        resume(self.floor.instrument, actor="test")

    def the_engine_dies(self) -> None:
        self.model.forget()
        self.floor.restart()

    # Cash.

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

    # Orders.

    def limits(self, who: int, buys: bool, quantity: int, price: int, lasts: str) -> None:
        order = Ticket(self.model.lives[who], buys, quantity, price=price, lasts=lasts)
        self.submits(who, order, [], limit=price)

    def trades(self, who: int, buys: bool, quantity: int, lasts: str) -> None:
        if not self.model.is_open or self.model.is_halted:
            return
        order = Ticket(self.model.lives[who], buys, quantity, kind="market", lasts=lasts)
        self.submits(who, order, [])

    def stops(self, who: int, buys: bool, quantity: int, price: int, then: int, lasts: str) -> None:
        """A stop, or with `then`, a distance from it, a stop-limit order."""
        limit = price + (then if buys else -then) if then else 0
        order = Ticket(self.model.lives[who], buys, quantity, "stop", price, lasts, then=limit)
        kind = OrderType.STOP_LIMIT if limit else OrderType.STOP
        self.submits(who, order, [], limit=limit, type=kind, stop_price=Decimal(price))

    def trails(self, who: int, quantity: int, trail: int, lasts: str) -> None:
        life = self.model.lives[who]
        if self.model.is_open and not self.model.is_halted and life.books.quantity > 0:
            order = Ticket(life, False, quantity, kind="trail", lasts=lasts, trail=trail)
            fields = {"type": OrderType.TRAILING_STOP, "trail_price": Decimal(trail)}
            self.submits(who, order, [], **fields)

    def brackets(
        self, who: int, quantity: int, price: int, above: int, below: int, lasts: str
    ) -> None:
        """Of a limit order, or without a price, of one at the market."""
        bid, ask = (price, price) if price else self.model.touch
        if not price and (not self.model.is_open or self.model.is_halted):
            return
        order = self.entry(who, quantity, price, lasts)
        legs = [
            self.exit(order, "limit", ask + above, "profit"),
            self.exit(order, "stop", bid - below, "loss"),
        ]
        exits = {"take_profit": Decimal(ask + above), "stop_loss": Decimal(bid - below)}
        self.submits(who, order, legs, limit=price, order_class=OrderClass.BRACKET, **exits)

    def one_triggers_other(
        self, who: int, quantity: int, price: int, beyond: int, lasts: str
    ) -> None:
        """An entry with a take-profit above it, or a stop-loss below."""
        order = self.entry(who, quantity, price, lasts)
        leg = self.exit(order, "limit" if beyond > 0 else "stop", price + beyond, "exit")
        exits = {"take_profit" if beyond > 0 else "stop_loss": Decimal(price + beyond)}
        self.submits(who, order, [leg], limit=price, order_class=OrderClass.OTO, **exits)

    def pairs(self, who: int, quantity: int, price: int, below: int, lasts: str) -> None:
        order = Ticket(
            self.model.lives[who], False, quantity, price=price, lasts=lasts, leg="profit"
        )
        legs = [self.exit(order, "stop", price - below, "loss")]
        exits = {"take_profit": Decimal(price), "stop_loss": Decimal(price - below)}
        self.submits(who, order, legs, limit=price, order_class=OrderClass.OCO, **exits)

    def cancels(self, which: int) -> None:
        order = self.one_of(which, OPEN)
        if order is not None:
            self.model.cancel(order)
            real = Order.objects.get(pk=self.real[order])
            cancel(account_id=real.account_id, order_id=real.public_id, actor="test")

    def replaces(self, which: int, quantity: int, price: int) -> None:
        old = self.one_of(which, WORKING, simple=True)
        if old is None or quantity <= old.filled or (quantity, price) == (old.quantity, old.price):
            return
        real = Order.objects.get(pk=self.real[old])
        order = Ticket(old.life, old.buys, quantity - old.filled, price=price, lasts=old.lasts)
        changes = Changes(quantity=Decimal(quantity), limit_price=Decimal(price))
        self.both(
            lambda: self.model.submit(order, [], old=old),
            lambda: self.stored(
                [order],
                replace_order(
                    account_id=real.account_id,
                    order_id=real.public_id,
                    changes=changes,
                    actor="test",
                ),
            ),
        )

    def pulls_the_kill_switch(self, who: int) -> None:
        life = self.model.lives[who]
        life.stopped = True
        life.events += 1
        for order in self.model.orders:
            if order.life is life and order.status in OPEN:
                order.become("canceled")
        stop_trading(account_id=self.accounts[who].pk, actor="test", reason="enough")

    def trades_on(self) -> None:
        for life, account in zip(self.model.lives, self.accounts, strict=True):
            if life.stopped:
                life.stopped = False
                life.events += 1
                wanted = {"suspend_trade": False}
                configure(account_id=account.pk, changes=wanted, actor="test")

    # What must be so after each step.

    def accounts_are_what_the_model_says(self) -> None:
        for life, row in zip(self.model.lives, self.accounts, strict=True):
            account = Account.objects.get(pk=row.pk)
            position = Position.objects.filter(account=account).first() or Position()
            cash, shares = self.model.held(life)
            power = self.model.free(life) * self.model.leverage(life)
            assert (account.cash, account.hold_cash) == (life.books.cash, cash)
            assert (position.quantity, position.hold_quantity) == (life.books.quantity, shares)
            assert (position.cost_basis, position.realized) == (
                life.books.cost_basis,
                life.books.realized,
            )
            assert account_summary(account).buying_power == power
            assert account.event_sequence == life.events

    def orders_are_what_the_model_says(self) -> None:
        rows = Order.objects.in_bulk(self.real.values())
        for order, pk in self.real.items():
            row = rows[pk]
            cash, shares = order.hold()
            found = (row.status, row.quantity, row.filled_quantity, row.hold_cash)
            assert found == (order.status, order.quantity, order.filled, cash), order
            assert row.hold_quantity == shares, order

    def teardown(self) -> None:
        try:
            if hasattr(self, "model"):
                assert_books_balance(*self.accounts)
                assert {progress.wrong for progress in verify_fills()} <= {None}
        finally:
            if hasattr(self, "floor"):
                self.floor.restart()
                transaction.savepoint_rollback(self._savepoint)
                forget_market()
                self._fees.disable()

    # How.

    def entry(self, who: int, quantity: int, price: int, lasts: str) -> Ticket:
        kind = "limit" if price else "market"
        return Ticket(self.model.lives[who], True, quantity, kind, price, lasts, leg="entry")

    def exit(self, entry: Ticket, kind: str, price: int, leg: str) -> Ticket:
        order = Ticket(entry.life, False, entry.quantity, kind, price, entry.lasts, leg, "held")
        order.bound = Fraction(price if kind == "limit" else 0)
        return order

    def one_of(
        self, which: int, statuses: tuple[str, ...], *, simple: bool = False
    ) -> Ticket | None:
        found = [order for order in self.real if order.status in statuses]
        if simple:
            found = [order for order in found if order.kind == "limit" and not order.leg]
        return found[which % len(found)] if found else None

    def submits(self, who: int, order: Ticket, legs: list[Ticket], **fields: Any) -> None:
        fields["time_in_force"] = TimeInForce(order.lasts)
        side = Side.BUY if order.buys else Side.SELL
        account, quantity = self.accounts[who], str(order.quantity)
        fields["limit"] = fields.get("limit") or None
        self.both(
            lambda: self.model.submit(order, legs),
            lambda: self.stored(
                [order, *legs], self.floor.place(account, side, quantity, **fields)
            ),
        )

    def stored(self, orders: list[Ticket], first: Order) -> None:
        legs = Order.objects.filter(parent=first).order_by("pk")
        for order, row in zip(orders, [first, *legs], strict=True):
            self.real[order] = row.pk

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


def test_lives_are_as_the_model_says() -> None:
    run_state_machine_as_test(
        RandomLives,
        settings=settings(
            max_examples=40 if LONG else 6,
            stateful_step_count=40 if LONG else 12,
            deadline=None,
            derandomize=not LONG,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )

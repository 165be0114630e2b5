"""The matching rules, written down one after the other: slow, and with nothing to get wrong.

One symbol in one regular session. Every order is looked at on every tick, sizes are fractions of a
share. It shares no code with the real floor but the types of orders and ticks.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from math import ceil, floor

from quotes.amounts import QUANTITY_UNIT as SHARE
from quotes.ticks import Quote, Trade
from trading.execution.matching import FillModel, WorkingOrder


@dataclass(frozen=True)
class Halt:
    """The instrument is halted from here on, or resumed."""

    is_on: bool


Script = list[WorkingOrder | Quote | Trade | Halt]
Happening = tuple[int, str, int, int, int]  # step, what, order's row id, quantity, price


class NaiveMarket:
    """Plays a script and writes down what happens."""

    def __init__(self, model: FillModel) -> None:
        self.model = model
        self.happened: list[Happening] = []
        self.step = 0
        self.is_halted = False
        self.quote: Quote | None = None
        self.trade: Trade | None = None  # the last that set the price
        self.left = {True: Fraction(0), False: Fraction(0)}  # of the displayed size, by is_buy
        self.working: list[WorkingOrder] = []
        self.stops: list[WorkingOrder] = []
        self.waiting: list[WorkingOrder] = []  # for an auction

    def play(self, script: Script) -> list[Happening]:
        for self.step, step in enumerate(script):
            if isinstance(step, Quote):
                self.hear_quote(step)
            elif isinstance(step, Trade):
                self.hear_trade(step)
            elif isinstance(step, Halt):
                self.hear_halt(step)
            else:
                self.hear_order(copy(step))
        return self.happened

    def hear_order(self, order: WorkingOrder) -> None:
        if order.auction:
            self.waiting.append(order)
        elif order.trail:
            self.stops.append(order)
            self.follow(order.is_buy)
        elif order.stop:
            self.stops.append(order)
            if self.trade is not None:
                self.trigger([order], self.trade.price)
        else:
            self.work(order)

    def hear_quote(self, quote: Quote) -> None:
        before, self.quote = self.quote, quote
        for buy in (True, False):
            size, was = self.touch(buy)[1], self.touch(buy, before)
            if self.touch(buy)[0] != was[0]:
                self.left[buy] = Fraction(size)
            elif size >= was[1]:
                self.left[buy] += size - was[1]
            else:
                self.left[buy] = min(self.left[buy], Fraction(size))
        self.serve()

    def hear_halt(self, halt: Halt) -> None:
        resumed, self.is_halted = self.is_halted and not halt.is_on, halt.is_on
        if resumed:
            self.serve()

    def serve(self) -> None:
        for buy in (True, False):
            for order in self.ranked(buy):
                self.line_up(order)
                self.take(order)
        for buy in (True, False):
            self.follow(buy)

    def hear_trade(self, trade: Trade) -> None:
        if trade.sets_price:
            self.trade = trade
        if self.is_halted:
            return
        if trade.auction:
            self.cross(trade)
        for buy in (True, False):
            if self.model is FillModel.QUEUE and trade.counts_volume:
                self.advance(buy, trade)
        for buy in (True, False):
            if trade.sets_price:
                plain = [one for one in self.stops if one.is_buy == buy and not one.trail]
                self.trigger(plain, trade.price)

    # --- taking what is displayed ---------------------------------------------------------------

    def work(self, order: WorkingOrder) -> None:
        self.working.append(order)
        self.take(order)
        if order in self.working and order.is_immediate:
            self.working.remove(order)
            self.happened.append((self.step, "cancel", order.pk, 0, 0))
        self.line_up(order)

    def take(self, order: WorkingOrder) -> None:
        buy = order.is_buy
        price = self.touch(buy)[0]
        if price == 0 or self.is_crossed() or (price > order.bound if buy else price < order.bound):
            return
        if self.is_halted:
            return
        if order.leaves is not None:
            wanted = Fraction(order.leaves - order.reached, SHARE)
        else:
            wanted = Fraction(order.cash_left * SHARE // price, SHARE)
        if self.model is not FillModel.INSTANT and wanted > self.left[buy]:
            wanted = Fraction(0) if order.is_all_or_none else Fraction(floor(self.left[buy]))
        if self.worth(wanted, price) == 0:
            return
        self.left[buy] -= wanted
        if order.ahead or order.reached:
            order.reached += int(wanted * SHARE)
        else:
            self.fill(order, wanted, price)

    def fill(self, order: WorkingOrder, quantity: Fraction, price: int) -> None:
        self.happened.append((self.step, "fill", order.pk, int(quantity * SHARE), price))
        if order.leaves is not None:
            order.leaves -= int(quantity * SHARE)
            done = order.leaves == 0
        else:
            order.cash_left -= self.worth(quantity, price)
            done = order.cash_left * SHARE // price == 0
        if done and order in self.working:
            self.working.remove(order)

    # --- standing in line -----------------------------------------------------------------------

    def line_up(self, order: WorkingOrder) -> None:
        if self.model is not FillModel.QUEUE or order.ahead is not None or order.is_market:
            return
        if self.quote is None or self.is_crossed() or order.leaves is None or self.is_halted:
            return
        price, displayed = self.touch(not order.is_buy)
        if price == order.bound:
            order.ahead = displayed * SHARE
        elif price == 0 or (price < order.bound if order.is_buy else price > order.bound):
            order.ahead = 0

    def advance(self, buy: bool, trade: Trade) -> None:
        ours = Fraction(0)  # of this trade, to orders of ours
        for order in self.ranked(buy):
            through = trade.price < order.bound if buy else trade.price > order.bound
            if order.ahead is None or not (trade.price == order.bound or through):
                continue
            if through and not trade.sets_price:
                continue
            beyond = Fraction(trade.size) - Fraction(order.ahead, SHARE) - ours
            order.ahead = 0 if through else max(order.ahead - trade.size * SHARE, 0)
            quantity = Fraction(order.reached, SHARE)
            if not through:
                quantity = min(quantity, max(beyond, Fraction(0)))
            if quantity < Fraction(order.leaves, SHARE):
                quantity = Fraction(floor(quantity))
            if self.worth(quantity, order.bound) == 0:
                continue
            ours += 0 if through else quantity
            order.reached -= int(quantity * SHARE)
            self.fill(order, quantity, order.bound)

    # --- stops and auctions ---------------------------------------------------------------------

    def follow(self, buy: bool) -> None:
        price = self.touch(buy)[0]
        if price == 0 or self.is_crossed() or self.is_halted:
            return
        trailing = [one for one in self.stops if one.is_buy == buy and one.trail]
        for order in trailing:
            order.mark = min(order.mark, price) if buy else max(order.mark, price)
            exact = Fraction(order.mark * order.trail.percent, 1_000_000) + order.trail.price
            order.stop = ceil(order.mark + exact) if buy else floor(order.mark - exact)
        self.trigger(trailing, price)

    def trigger(self, stops: list[WorkingOrder], price: int) -> None:
        if self.is_halted:
            return
        met = [one for one in stops if (price >= one.stop if one.is_buy else price <= one.stop)]
        for order in sorted(met, key=lambda one: (one.stop if one.is_buy else -one.stop, one.pk)):
            self.stops.remove(order)
            self.happened.append((self.step, "trigger", order.pk, 0, price))
            if order.is_market and order.is_buy:
                touch = 0 if self.is_crossed() else self.touch(True)[0]
                order.bound = max((touch or price) * 104 // 100, 1)
            self.work(order)

    def cross(self, trade: Trade) -> None:
        for order in [one for one in self.waiting if one.auction == trade.auction]:
            self.waiting.remove(order)
            worse = trade.price > order.bound if order.is_buy else trade.price < order.bound
            quantity = Fraction(order.leaves, SHARE)
            if (worse and not order.is_market) or self.worth(quantity, trade.price) == 0:
                self.happened.append((self.step, "cancel", order.pk, 0, 0))
            else:
                self.fill(order, quantity, trade.price)

    # --- the market -----------------------------------------------------------------------------

    def ranked(self, buy: bool) -> list[WorkingOrder]:
        ours = [one for one in self.working if one.is_buy == buy]
        return sorted(ours, key=lambda one: (-one.bound if buy else one.bound, one.pk))

    def touch(self, buy: bool, quote: Quote | str | None = "now") -> tuple[int, int]:
        quote = self.quote if quote == "now" else quote
        if quote is None:
            return 0, 0
        return (quote.ask, quote.ask_size) if buy else (quote.bid, quote.bid_size)

    def is_crossed(self) -> bool:
        return self.quote is not None and 0 < self.quote.ask < self.quote.bid

    @staticmethod
    def worth(quantity: Fraction, price: int) -> int:
        exact = Decimal(int(quantity * SHARE)) * price / SHARE
        return int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))

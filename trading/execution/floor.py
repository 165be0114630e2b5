"""The trading floor in memory: resting orders, standing quotes, the session; and matching on them.

No database and no clock here. Whoever drives it says what time it is and whether the feed is
silent; what the floor decides goes to `decide`, to be settled.

Stops wait beside the resting orders. A trade that sets the price triggers plain stops, a quote the
trailing ones, which follow the bid (a sell) or the ask (a buy); both only in the regular session
and not in a halt. A stop that is triggered meets the quote that stands, after all who rest.

So does an exit that its entry wakes: an order of a bracket or OTO that waited for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from quotes.amounts import PRICE_PLACES, from_units
from quotes.calendar import Calendar
from quotes.ticks import Quote, Trade
from trading import holds
from trading.execution import queue
from trading.execution.book import Book
from trading.execution.decisions import (
    Admission,
    Decision,
    Ending,
    Execution,
    Following,
    Trigger,
)
from trading.execution.hours import Hours
from trading.execution.intake import Listing
from trading.execution.matching import (
    FillModel,
    Level,
    Match,
    Waiting,
    WorkingOrder,
    is_within,
    match,
    sweep,
    touch,
)
from trading.execution.side import Side
from trading.execution.standing import Standing
from trading.execution.stops import is_met
from trading.models import OrderStatus

NOTHING_AT_ONCE = "no more could be had at once"
NEVER = 2**63 - 1
FOLLOWED_MAX = 500  # trailing stops whose moves one pass writes


class Floor:
    """One shard's market. Instants are market microseconds."""

    def __init__(
        self,
        listing: Listing,
        calendar: Calendar,
        now_us: int,
        decide: Callable[[Decision], None],
        model: FillModel = FillModel.NBBO,
    ) -> None:
        self.book = Book()
        self.standing = Standing()
        self.hours = Hours(calendar, now_us)
        self.now_us = now_us
        self.action_us = NEVER  # when the next corporate action is due
        self.is_stale = False
        self._listing = listing
        self._decide = decide
        self.model = model
        self._moved: dict[int, WorkingOrder] = {}  # trailing stops, since it was last written
        self._woken: list[WorkingOrder] = []  # exits whose turn comes after all who rest

    @property
    def next_us(self) -> int:
        """The next instant at which time itself changes something."""
        return min(self.hours.ends_us, self.book.expires_us, self.action_us)

    def hear(self, quote: Quote) -> None:
        """Let this quote stand; `match_resting` lets orders meet it."""
        self.now_us = max(self.now_us, quote.at_us)
        self.standing.hear(quote)

    def match_resting(self, symbol: str, quote: Quote) -> None:
        """Match the resting orders of a symbol against the quote that stands, then let its
        trailing stops follow."""
        resting = self.book.of(symbol)
        if resting is None or not self.hours.anyone_may_trade or self._listing.is_halted(symbol):
            return
        for is_buy in (True, False):
            side = resting.side(is_buy)
            if side:
                if self.model is FillModel.QUEUE:
                    queue.line_up_front(self._eligible(side, quote.at_us), quote)
                self._sweep(self._eligible(side, quote.at_us), is_buy, quote)
        if self.hours.everyone_may_trade and not quote.is_crossed:
            for is_buy in (True, False):
                self._follow(symbol, is_buy, quote)
        self._wake()

    def match_standing(self, symbol: str) -> None:
        """Match them against the quote that stands already, where it is usable: size came back, or
        a halt or the feed's silence is over."""
        quote = self.usable_quote(symbol)
        if isinstance(quote, Quote):
            self.match_resting(symbol, quote)

    def hear_trade(self, trade: Trade) -> None:
        """Let those in line move up by this trade, and trigger the stops it reaches."""
        self.now_us = max(self.now_us, trade.at_us)
        self.standing.hear_trade(trade)
        symbol = trade.symbol
        resting = self.book.of(symbol)
        if resting is None or not self.hours.anyone_may_trade or self._listing.is_halted(symbol):
            return
        if self.model is FillModel.QUEUE and trade.counts_volume:
            for is_buy in (True, False):
                self._advance(resting.side(is_buy), trade)
        if trade.sets_price and self.hours.everyone_may_trade:
            for is_buy in (True, False):
                for order in resting.stops(is_buy).met_by_trade(trade.price):
                    self._trigger(order, trade, trade.price)
        self._wake()

    def take_in(self, admission: Admission) -> None:
        """Give an order its place: it meets the standing quote, and what is left of it rests or,
        where it cannot wait, ends."""
        order = admission.order
        self._decide(admission)
        admission.reason = self._enter(order)
        if order.rivals:  # an OCO's take-profit; an entry's exits wait for its fills
            self._woken += order.followers
        self._wake()

    def wake(self, order: WorkingOrder) -> None:
        """An exit goes to work that settlement has woken, and nobody here knew of."""
        self._woken.append(order)
        self._wake()

    def match_incoming(self, order: WorkingOrder) -> bool:
        """Match a new order against the quote that stands; True when that completes it.

        Whoever rests has had this quote already, so the new order takes from what they left.
        """
        quote = self.usable_quote(order.symbol)
        if isinstance(quote, Waiting) or quote.at_us >= order.expires_us:
            return False
        return self._sweep([order], order.is_buy, quote)

    def take_back(self, execution: Execution) -> None:
        """Free the size of a fill that was not settled."""
        order, found = execution.order, execution.match
        if execution.takes_displayed_size:
            self.standing.give_back(order.symbol, order.is_buy, found.price, found.quantity)

    def usable_quote(self, symbol: str) -> Quote | Waiting:
        """The quote that stands, or why nothing may trade with it.

        A quote from before this session does not count: nothing fills outside the session.
        """
        if not self.hours.anyone_may_trade:
            return Waiting.CLOSED
        if self._listing.is_halted(symbol):
            return Waiting.HALTED
        if self.is_stale:
            return Waiting.STALE
        quote = self.standing.quote(symbol)
        if quote is None or quote.at_us < self.hours.began_us:
            return Waiting.NO_QUOTE
        return quote

    def why(self, order: WorkingOrder) -> Waiting | None:
        """Why an order does not trade; None where it is about to.

        A stop, and a limit order whose price the market has not reached, wait for that and nothing
        else.
        """
        if order.stop:
            return Waiting.LIMIT
        if order.reached:
            return Waiting.LINE
        quote = self.standing.quote(order.symbol)
        if not order.is_market:
            price = 0 if quote is None else touch(quote, order.is_buy)[0]
            if price == 0 or not is_within(order.bound, price, order.is_buy):
                return Waiting.LIMIT
        if not self.hours.may_trade(order):
            return Waiting.CLOSED
        usable = self.usable_quote(order.symbol)
        if isinstance(usable, Waiting):
            return usable
        outcome = match(order, usable, self._level(usable, order.is_buy).taken, self.model)
        return outcome if isinstance(outcome, Waiting) else None

    def take_moved(self) -> list[Following]:
        """Where trailing stops have moved to since the last call, as decisions; not too many."""
        pks = sorted(self._moved)[:FOLLOWED_MAX]
        moved = [self._moved.pop(pk) for pk in pks]
        return [
            Following(order, self.now_us, order.stop, order.mark)
            for order in moved
            if order.stop and order.pk in self.book
        ]

    def _wake(self) -> None:
        """Let exits go to work whose entry has been filled."""
        while self._woken:
            order = self._woken.pop(0)
            if not order.leaves or order.pk in self.book:
                continue
            if self.hours.may_trade(order):
                self._enter(order)
            else:
                self.book.add(order)

    def _enter(self, order: WorkingOrder) -> str:
        """Give an order its place after all who rest; why it waits there, where it does."""
        if not order.stop:
            return self._work(order)
        order.reason = ""
        self.book.add(order)
        self._trigger_if_met(order)
        return ""

    def _follow(self, symbol: str, is_buy: bool, quote: Quote) -> None:
        """Let the trailing stops of one side follow a quote, and trigger those it reaches."""
        resting = self.book.of(symbol)
        price = touch(quote, is_buy)[0]
        if resting is None or price == 0:
            return
        stops = resting.stops(is_buy)
        if not stops:
            return
        for order in stops.follow(price):
            self._moved[order.pk] = order
        for order in stops.met_by_quote(price):
            if quote.at_us < order.expires_us:
                self._trigger(order, quote, price)

    def _trigger_if_met(self, order: WorkingOrder) -> None:
        """Trigger a new stop where the market is beyond its price already."""
        quote = self.usable_quote(order.symbol)
        if order.trail is not None:
            if isinstance(quote, Waiting) or quote.is_crossed:
                return
            self._follow(order.symbol, order.is_buy, quote)
            return
        trade = self.standing.trade(order.symbol)
        is_of_now = trade is not None and trade.at_us >= self.hours.began_us
        if trade is None or not is_of_now or self._listing.is_halted(order.symbol):
            return
        if is_met(order, trade.price):
            self._trigger(order, trade, trade.price)

    def _trigger(self, order: WorkingOrder, tick: Quote | Trade, price: int) -> None:
        """Make a market or limit order of a stop, and let it meet the standing quote.

        A market buy gets a new collar, of the touch or, where no quote is usable, of the price that
        triggered it: the old one stood on the stop's own price.
        """
        self.book.remove(order.pk)
        at_us = max(self.now_us, order.submitted_us)
        decision = Trigger(order, at_us, tick, price, order.stop, order.mark)
        order.stop = 0
        if holds.needs_collar(
            is_market=order.is_market,
            is_buy=order.is_buy,
            by_amount=order.leaves is None,
            is_short=order.is_short,
        ):
            order.bound = holds.collar(order.is_buy, self._usable_touch(order) or price)
            decision.collar_price = from_units(order.bound, PRICE_PLACES)
        self._decide(decision)
        decision.reason = self._work(order)

    def _usable_touch(self, order: WorkingOrder) -> int:
        """The price that the order meets; 0 where no usable quote shows one."""
        quote = self.usable_quote(order.symbol)
        if isinstance(quote, Waiting) or quote.is_crossed:
            return 0
        return touch(quote, order.is_buy)[0]

    def _work(self, order: WorkingOrder) -> str:
        """Let an order that has just become active meet the standing quote; what is left of it
        rests, or ends at once. Returns why it waits, where it does."""
        if self.match_incoming(order):
            return ""
        why = self.why(order) or Waiting.LIMIT
        if order.is_immediate:
            reason = str(why) or NOTHING_AT_ONCE
            at_us = max(self.now_us, order.submitted_us)
            self._decide(Ending(order, at_us, OrderStatus.CANCELED, reason))
            return ""
        order.reason = str(why)
        if self.model is FillModel.QUEUE:
            quote = self.usable_quote(order.symbol)
            if isinstance(quote, Quote):
                queue.line_up(order, quote)
        self.book.add(order)
        return order.reason

    def _advance(self, side: Side, trade: Trade) -> None:
        """Let a side's orders in line move up, and execute what that lets through."""
        for order, found, completes, place in queue.advance(
            self._eligible(side, trade.at_us), trade
        ):
            quote = self.standing.quote(order.symbol)
            assert quote is not None, "nobody reaches anything without a quote"
            self._execute(order, found, completes, quote, place)
            if completes:
                self.book.remove(order.pk)

    def _eligible(self, side: Side, at_us: int) -> Iterator[WorkingOrder]:
        """The orders that may trade at this instant, best first."""
        everyone = self.hours.everyone_may_trade
        for order in side:
            if at_us < order.expires_us and (everyone or self.hours.may_trade(order)):
                yield order

    def _sweep(self, orders: Iterable[WorkingOrder], is_buy: bool, quote: Quote) -> bool:
        """Match orders of one side; True when the last fill completed its order."""
        level = self._level(quote, is_buy)
        fills, left = sweep(orders, quote, level, self.model)
        if left != level:
            self.standing.put(quote.symbol, is_buy, left)
        completes = False
        for order, found, completes in fills:
            self._execute(order, found, completes, quote)
            if completes:
                self.book.remove(order.pk)
        return completes

    def _level(self, quote: Quote, is_buy: bool) -> Level:
        return self.standing.level(quote, is_buy)

    def _execute(
        self,
        order: WorkingOrder,
        found: Match,
        completes: bool,
        quote: Quote,
        place: queue.Place | None = None,
    ) -> None:
        at_us = max(self.now_us, order.submitted_us)
        self._decide(
            Execution(order, at_us, quote, found, order.fills, completes, self.model, place)
        )
        for rival in order.rivals:
            if not rival.leaves:
                self.book.remove(rival.pk)
        if completes and not order.rivals:
            self._woken += order.followers

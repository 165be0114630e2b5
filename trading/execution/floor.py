"""The trading floor in memory: resting orders, standing quotes, the session; and matching on them.

No database and no clock here. Whoever drives it says what time it is and whether the feed is
silent; what the floor decides goes to `decide`, to be settled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from quotes.calendar import Calendar
from quotes.ticks import Quote
from trading.execution.book import Book, Side
from trading.execution.decisions import Decision, Execution
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
from trading.execution.standing import Standing


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
        self.is_stale = False
        self._listing = listing
        self._decide = decide
        self._model = model

    @property
    def next_us(self) -> int:
        """The next instant at which time itself changes something."""
        return min(self.hours.ends_us, self.book.expires_us)

    def hear(self, quote: Quote) -> None:
        """Let this quote stand; `match_resting` lets orders meet it."""
        self.now_us = max(self.now_us, quote.at_us)
        self.standing.hear(quote)

    def match_resting(self, symbol: str, quote: Quote) -> None:
        """Match the resting orders of a symbol against the quote that stands."""
        resting = self.book.of(symbol)
        if resting is None or not self.hours.anyone_may_trade or self._listing.is_halted(symbol):
            return
        for is_buy in (True, False):
            side = resting.side(is_buy)
            if side:
                self._sweep(self._eligible(side, quote), is_buy, quote)

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
        if execution.model is FillModel.NBBO:
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

        A limit order whose price the market has not reached waits for that and nothing else.
        """
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
        outcome = match(order, usable, self._level(usable, order.is_buy).taken, self._model)
        return outcome if isinstance(outcome, Waiting) else None

    def _eligible(self, side: Side, quote: Quote) -> Iterator[WorkingOrder]:
        """The orders that may trade with this quote now, best first."""
        everyone = self.hours.everyone_may_trade
        for order in side:
            if quote.at_us < order.expires_us and (everyone or self.hours.may_trade(order)):
                yield order

    def _sweep(self, orders: Iterable[WorkingOrder], is_buy: bool, quote: Quote) -> bool:
        """Match orders of one side; True when the last fill completed its order."""
        fills, left = sweep(orders, quote, self._level(quote, is_buy), self._model)
        if fills:
            self.standing.put(quote.symbol, is_buy, left)
        completes = False
        for order, found, completes in fills:
            self._execute(order, found, completes, quote)
            if completes:
                self.book.remove(order.pk)
        return completes

    def _level(self, quote: Quote, is_buy: bool) -> Level:
        return self.standing.level(quote, is_buy)

    def _execute(self, order: WorkingOrder, found: Match, completes: bool, quote: Quote) -> None:
        at_us = max(self.now_us, order.submitted_us)
        self._decide(Execution(order, at_us, quote, found, order.fills, completes, self._model))

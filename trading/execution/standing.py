"""The quotes that stand, what has been taken of them, and the last trades."""

from __future__ import annotations

from collections.abc import Iterable

from quotes.ticks import CANCELED, Amendment, Quote, Trade
from trading.execution.matching import Level, give_back, roll, touch

Touch = tuple[str, bool]  # (symbol, whether it is the side that buys meet)


class Standing:
    """The last quote of each symbol that this engine heard.

    A level is only kept where something has been taken; all others are untouched.
    """

    def __init__(self) -> None:
        self._quotes: dict[str, Quote] = {}
        self._levels: dict[Touch, Level] = {}
        self._trades: dict[str, Trade] = {}  # the last that set the price
        self._heard: dict[str, tuple[int, int]] = {}  # epoch and sequence of the last trade

    def quote(self, symbol: str) -> Quote | None:
        return self._quotes.get(symbol)

    def hear(self, quote: Quote) -> None:
        """Let this quote stand from now on."""
        symbol = quote.symbol
        self._quotes[symbol] = quote
        for is_buy in (True, False):
            level = self._levels.get((symbol, is_buy))
            if level is not None:
                self.put(symbol, is_buy, roll(level, *touch(quote, is_buy)))

    def forget_before(self, symbol: str, at_us: int) -> None:
        """Let nothing stand that was said of the symbol before that instant."""
        quote, trade = self._quotes.get(symbol), self._trades.get(symbol)
        if quote is not None and quote.at_us < at_us:
            del self._quotes[symbol]
            for is_buy in (True, False):
                self._levels.pop((symbol, is_buy), None)
        if trade is not None and trade.at_us < at_us:
            del self._trades[symbol]

    def level(self, quote: Quote, is_buy: bool) -> Level:
        """What is taken of the standing quote's touch."""
        level = self._levels.get((quote.symbol, is_buy))
        return level or Level(*touch(quote, is_buy))

    def put(self, symbol: str, is_buy: bool, level: Level) -> None:
        if level.taken:
            self._levels[symbol, is_buy] = level
        else:
            self._levels.pop((symbol, is_buy), None)

    def give_back(self, symbol: str, is_buy: bool, price: int, quantity: int) -> None:
        """Free the size of a fill that was dropped, where its price still stands."""
        level = self._levels.get((symbol, is_buy))
        if level is not None:
            self.put(symbol, is_buy, give_back(level, price, quantity))

    def trade(self, symbol: str) -> Trade | None:
        """The last trade that set the price; None where it was canceled and nobody knows the one
        before."""
        trade = self._trades.get(symbol)
        return None if trade is None or trade.is_canceled else trade

    def hear_trade(self, trade: Trade) -> None:
        self._heard[trade.symbol] = (trade.epoch, trade.sequence)
        if trade.sets_price:
            self._trades[trade.symbol] = trade

    def let_stand(self, latest: Iterable[Trade]) -> None:
        """Take these for the last trades, whatever they once set in motion."""
        for trade in latest:
            if not self.is_restated(trade):
                self.hear_trade(trade)

    def amend(self, amendments: Iterable[Amendment]) -> None:
        """Take the feed's word on what last prices are, where prints were amended. It triggers
        nothing: it is no trade."""
        for amendment in amendments:
            if amendment.last is not None:
                self._restate(amendment.last)
            else:
                self._take_back(amendment)

    def is_restated(self, trade: Trade) -> bool:
        """Whether a latest trade stands where it does by amendments only; then it is taken here."""
        if trade.stands:
            self._restate(trade)
        return bool(trade.stands)

    def _restate(self, last: Trade) -> None:
        symbol, (epoch, number, _) = last.symbol, last.rank
        held = self._trades.get(symbol)
        if held is None or last.rank > held.rank:
            self._trades[symbol] = last
            self._heard[symbol] = max(self._heard.get(symbol, (-1, -1)), (epoch, number))

    def _take_back(self, amendment: Amendment) -> None:
        """Where this print is still the last here, a newer one is on its way: until that is heard,
        it is what it was amended to."""
        held = self._trades.get(amendment.symbol)
        if held is not None and (held.epoch, held.sequence) == amendment.number:
            now = amendment.as_print()
            if now is None or not now.sets_price:
                now = held._replace(amended=CANCELED)
            self._trades[amendment.symbol] = now._replace(stands=held.stands)

    def is_newer_trade(self, trade: Trade) -> bool:
        """Whether the trade came after the last one heard."""
        return (trade.epoch, trade.sequence) > self._heard.get(trade.symbol, (-1, -1))

    def is_newer(self, quote: Quote) -> bool:
        """Whether the quote came after the one that stands."""
        held = self._quotes.get(quote.symbol)
        return held is None or (quote.epoch, quote.sequence) > (held.epoch, held.sequence)

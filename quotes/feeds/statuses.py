"""What an upstream says of halts, and which of them may have ended unheard. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from quotes.feeds.alpaca_wire import Message, read_status
from quotes.ticks import Trade


class Statuses:
    """The trading status of each symbol as far as the upstream told it.

    Alpaca's service says only what changes, and nothing on a subscription: a resumption that fell
    into a break is never said again. But nobody trades in a halt. So a trade at a price of its own,
    made after the break, ends a halt from before it, unless this connection has said otherwise.

    `halted` are symbols that the upstream had halted before this start.
    """

    def __init__(self, halted: Iterable[str]) -> None:
        self._halted = set(halted)
        self._unsure: set[str] = set()  # of the halted ones; this connection has not named them
        self._since_us = 0
        self._news: dict[str, tuple[bool, str]] = {}

    def begin(self, at_us: int) -> None:
        """Another connection, from this instant on: what was said in between is lost."""
        self._since_us = at_us
        self._unsure = set(self._halted)

    def hear(self, message: Message) -> None:
        """Take a status message. What neither halts nor resumes is passed over."""
        halted = read_status(message)
        if halted is not None:
            self.note(message["S"], halted, message.get("rm") or message.get("sm") or "")

    def note(self, symbol: str, halted: bool, reason: str = "") -> None:
        """The symbol is halted or trades."""
        self._unsure.discard(symbol)
        if halted:
            self._halted.add(symbol)
        else:
            self._halted.discard(symbol)
        self._news[symbol] = halted, reason

    def see(self, trade: Trade) -> None:
        """A symbol that trades is not halted."""
        if trade.symbol in self._unsure and trade.sets_price and trade.at_us > self._since_us:
            self.note(trade.symbol, False)

    def take(self) -> dict[str, tuple[bool, str]]:
        """Symbols that were halted (True) or resumed since the last call, and why."""
        news, self._news = self._news, {}
        return news

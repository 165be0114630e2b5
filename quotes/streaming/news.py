"""What the bus brings besides ticks: bars, amendments of trades, changes of trading status, and
news for listeners."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from quotes.streaming.audience import EVERYTHING, Audience, Changed, Channel, Following
from quotes.streaming.bus import BARS, TICK_TOPICS, tick_topic
from quotes.streaming.codec import Codec, Number, Status
from quotes.streaming.fanout import Fanout
from quotes.streaming.numbering import Numbering
from quotes.streaming.standings import Standings
from quotes.ticks import Amendment, Bar

log = logging.getLogger(__name__)

_BAR_CHANNELS = frozenset({Channel.BARS, Channel.UPDATED_BARS, Channel.DAILY_BARS})


def topics_of(channel: Channel, symbol: str) -> tuple[str, ...]:
    """The topics to hear for a channel of a symbol. Statuses come by control, heard anyway."""
    if channel in _BAR_CHANNELS:
        return (BARS,)
    if channel in (Channel.STATUSES, Channel.LULDS):
        return ()
    return TICK_TOPICS if symbol == EVERYTHING else (tick_topic(symbol),)


class News:
    """Delivers bars and statuses, and numbers those of each symbol and kind without gaps."""

    def __init__(
        self, audiences: Mapping[Channel, Audience], fanout: Fanout, standings: Standings
    ) -> None:
        self.listeners: dict[str, list[Callable[[Any], None]]] = {}
        self._audiences = audiences
        self._fanout = fanout
        self._standings = standings
        self._numbers = {channel: Numbering() for channel in (*_BAR_CHANNELS, Channel.STATUSES)}
        self._amendments = Numbering()
        # Symbol → the last of its amendments that was told, or lost; and that of all the others.
        self._amended_to: dict[str, Number] = {}
        self._others_amended_to: Number | None = None
        self._to_tell: list[tuple[Amendment, Number]] = []
        self._newest_start: dict[str, int] = {}  # symbol → start of its newest minute bar
        self._newest_minute = -1  # of all symbols
        self._changed: Changed = {}

    def hear(self, topic: str, message: Any) -> None:
        """Deliver one message."""
        if topic == BARS:
            self._hear_bars(message)
        for hear in tuple(self.listeners.get(topic, ())):
            hear(message)

    def note_amendments(self, amendments: Iterable[Amendment]) -> None:
        """Number them by symbol, to be told after the trades that came with them."""
        for amendment in amendments:
            self._to_tell.append((amendment, self._number_amendment(amendment.symbol)))

    def stop(self) -> None:
        """Nobody is left to be told what became of trades."""
        self._to_tell.clear()

    def amend(self) -> None:
        """Tell everyone who wants a symbol's trades what became of some of them."""
        to_tell, self._to_tell = self._to_tell, []
        audience = self._audiences[Channel.TRADES]
        for amendment, number in to_tell:
            try:
                self._standings.amend(amendment)
                self._fanout.offer(audience, amendment.symbol, Codec.amendment, amendment, number)
                self._note_amended(amendment.symbol, number)
            except Exception:
                log.exception("a correction was not delivered")
        self._fanout.flush()

    def amended_to(self, symbol: str) -> tuple[int, int] | None:
        """(epoch, number) of the last amendment of its trades that was told or lost, if any was."""
        number = self._amended_to.get(symbol, self._others_amended_to)
        return None if number is None else (number.epoch, number.sequence)

    def statuses_to(self, symbol: str) -> tuple[int, int] | None:
        """(epoch, number) of the last of its statuses that was told or lost, if any was."""
        last = self._numbers[Channel.STATUSES].last(symbol)
        return (self._standings.epoch, last) if last else None

    def skip_numbers_of_amendments(self) -> None:
        """Batches were lost, and perhaps amendments with them: leave a gap, for clients to see.

        The lost one may have been the first of its symbol. Where nothing was heard yet, the first
        batch will show whether one was lost of a trade that the store told of.
        """
        if not self._standings.has_heard:
            return
        self._amendments.lose()
        self._others_amended_to = Number(self._amendments.losses, self._standings.epoch)
        for symbol in self._amendments.symbols:
            self._amended_to[symbol] = self._last_amendment_of(symbol)
        for symbol in self._symbols(Channel.TRADES) | self._amendments.symbols:
            self._say_changed(Following.AMENDMENTS, symbol, self._last_amendment_of(symbol))

    def skip_numbers(self) -> None:
        """Messages were lost: leave a gap in each numbering, for clients to see."""
        for channel, numbers in self._numbers.items():
            numbers.lose()
            # The lost one may have been the first of its symbol; statuses are looked up.
            first = self._symbols(channel) if channel in _BAR_CHANNELS else set[str]()
            for symbol in first | numbers.symbols:
                self._last(channel, symbol)

    def take_changed(self) -> Changed:
        """(epoch, number) of the newest message of each channel and symbol since the last call."""
        changed, self._changed = self._changed, {}
        return changed

    def changed(self) -> Changed:
        """The same, as the next call will tell it."""
        return {channel: dict(places) for channel, places in self._changed.items()}

    def tell_status(self, symbol: str, reason: str | None) -> None:
        """Deliver the trading status; `reason` is that of a halt, None where trading goes on."""
        status = Status(symbol, self._standings.now_us(), reason is not None, reason or "")
        number = self._number(Channel.STATUSES, symbol)
        self._fanout.offer(self._audiences[Channel.STATUSES], symbol, Codec.status, status, number)
        self._fanout.flush()

    def _hear_bars(self, bars: Iterable[Bar]) -> None:
        for bar in bars:
            channel, kind = self._kind_of(bar)
            number = self._number(channel, bar.symbol)
            audience = self._audiences[channel]
            self._fanout.offer(audience, bar.symbol, Codec.bar, kind, bar, number)
        self._fanout.flush()

    def _kind_of(self, bar: Bar) -> tuple[Channel, str]:
        if bar.timeframe == "1Day":
            return Channel.DAILY_BARS, "d"
        # A minute closes for all symbols at once: what comes of one that is over was changed.
        if bar.start <= self._newest_start.get(bar.symbol, -1) or bar.start < self._newest_minute:
            return Channel.UPDATED_BARS, "u"
        self._newest_start[bar.symbol] = self._newest_minute = bar.start
        return Channel.BARS, "b"

    def _symbols(self, channel: Channel) -> set[str]:
        """What somebody wants of a channel, by name."""
        wanted = set(self._audiences[channel].of)
        if EVERYTHING in wanted:
            wanted |= self._standings.symbols()
        return wanted - {EVERYTHING}

    def _number_amendment(self, symbol: str) -> Number:
        self._amendments.count(symbol)
        return self._last_amendment_of(symbol)

    def _last_amendment_of(self, symbol: str) -> Number:
        return Number(self._amendments.last(symbol), self._standings.epoch)

    def _note_amended(self, symbol: str, number: Number) -> None:
        number = max(number, self._amended_to.get(symbol, number))
        self._amended_to[symbol] = number
        self._say_changed(Following.AMENDMENTS, symbol, number)

    def _number(self, channel: Channel, symbol: str) -> Number:
        """The next number of this kind of message."""
        self._numbers[channel].count(symbol)
        return self._last(channel, symbol)

    def _last(self, channel: Channel, symbol: str) -> Number:
        """The last number of this kind of message, which is new."""
        number = Number(self._numbers[channel].last(symbol), self._standings.epoch)
        self._say_changed(channel, symbol, number)
        return number

    def _say_changed(self, channel: Channel | Following, symbol: str, number: Number) -> None:
        self._changed.setdefault(channel, {})[symbol] = (number.epoch, number.sequence)

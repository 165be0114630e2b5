"""Where each symbol stands, as far as this process has heard: its newest quote and last trade.

Also what tells that something was not heard: batches are numbered without gaps in a feed epoch.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, TypeVar

from quotes.streaming.audience import Changed, Channel
from quotes.streaming.bus import TICK_TOPICS, tick_topic
from quotes.ticks import MICROSECONDS, Amendment, Batch, Place, Quote, Trade

# A feed says that it is there four times a second, whatever the market does.
SILENT_SECONDS = 1.5

BEGINNING = Place(1, 0)  # before the first batch there ever was

Item = TypeVar("Item")


class Standing(NamedTuple):
    """The newest quote and the last trade that set the price; None where there is none yet.

    `trades` is the (epoch, number) of the last trade of any kind, from which the stream goes on.
    The store knows only those that set the price, so it is None until one is heard.
    """

    quote: Quote | None
    trade: Trade | None
    trades: tuple[int, int] | None = None


NOWHERE = Standing(None, None)


class Arrival(Enum):
    """What a batch is to those before it."""

    NEXT = "next"
    AFTER_GAP = "after a gap"
    LATE = "not after the last one"  # sent again, or overtaken: its ticks are judged one by one
    OLD = "from an older feed epoch"


class Pulse(NamedTuple):
    """How alive the feed is."""

    # Market time up to which every tick was delivered, None before the first batch.
    watermark_us: int | None
    quiet_ms: int | None  # since the last batch, heartbeats of the feed included
    # Whether this process is sure to know what was said: nothing is being looked for that was lost,
    # the feed was heard a moment ago if anybody wants ticks, and bars and halts would reach us.
    current: bool = True


class Standings:
    """The memory of a hub."""

    def __init__(self) -> None:
        self.epoch = 0
        self._quotes: dict[str, Quote] = {}
        self._trades: dict[str, Trade] = {}  # of any kind, as heard
        # The number of a later one that only the store told of: those up to it may come still.
        self._stored: dict[str, tuple[int, int]] = {}
        self._priced: dict[str, Trade] = {}  # that set the price
        self._places: dict[str, Place] = {}  # topic → where its last batch stands
        self._read_at: dict[str, Place] = {}  # topic → how far the store was when first asked
        self._come_to_us: dict[str, int] = {}  # topic → watermark of that batch
        self._heard_at: dict[str, float] = {}  # topic → when
        self._told_us: dict[str, int] = {}  # topic → watermark up to which all was delivered
        self._changed: Changed = {Channel.QUOTES: {}, Channel.TRADES: {}}

    def arrive(self, topic: str, batch: Batch, now: float) -> Arrival:
        """Note a batch; `now` is monotonic."""
        place, last = batch.place, self._places.get(topic)
        if last is not None and place <= last:
            return Arrival.OLD if place.epoch < last.epoch else Arrival.LATE
        self._heard_at[topic] = now
        self._places[topic], self._come_to_us[topic] = place, batch.watermark_us
        self.epoch = max(self.epoch, place.epoch)
        before = last or self._read_at.get(topic)
        # A feed that took over may have begun before the last words of the one before arrived.
        gap = before is not None and place > (before.epoch, before.number + 1)
        return Arrival.AFTER_GAP if gap else Arrival.NEXT

    def told(self) -> None:
        """Note that all that arrived has been delivered."""
        self._told_us = self._come_to_us.copy()

    def newer(self, ticks: Iterable[Quote | Trade]) -> Iterator[Quote | Trade]:
        """Remember ticks; those of them that are newer than the last of their symbol."""
        quotes, trades, priced = self._quotes, self._trades, self._priced
        new_quotes, new_trades = self._changed[Channel.QUOTES], self._changed[Channel.TRADES]
        for tick in ticks:
            symbol = tick.symbol
            if isinstance(tick, Quote):
                if is_newer(tick, quotes.get(symbol)):
                    quotes[symbol] = tick
                    new_quotes[symbol] = (tick.epoch, tick.sequence)
                    yield tick
            elif is_newer(tick, trades.get(symbol)):
                trades[symbol] = tick
                new_trades[symbol] = (tick.epoch, tick.sequence)
                if tick.sets_price and outranks(tick, priced.get(symbol)):
                    priced[symbol] = tick
                yield tick

    def silent_topics(self, symbols: Iterable[str]) -> set[str]:
        """The topics of these symbols of which nothing was heard yet."""
        return {tick_topic(symbol) for symbol in symbols} - self._places.keys()

    def read_at(self, topics: Iterable[str], place: Place | None) -> None:
        """Note how far the store had come before symbols of these topics were read from it.

        What it said may be told to clients: a first batch that does not follow shows a loss.
        """
        for topic in topics:
            self._read_at.setdefault(topic, place or BEGINNING)

    def learn(self, trades: Iterable[Trade | None]) -> None:
        """Remember prices that were not heard, but read from the store.

        The prints up to them that are still on their way are as new as ever: see `newer`.
        """
        for trade in trades:
            if trade is None or not outranks(trade, self._priced.get(trade.symbol)):
                continue
            self._priced[trade.symbol] = trade
            epoch, number, _ = trade.rank  # there was such a print
            heard = self._trades.get(trade.symbol)
            if heard is not None and (epoch, number) > (heard.epoch, heard.sequence):
                self._stored[trade.symbol] = (epoch, number)
                self._changed[Channel.TRADES][trade.symbol] = (epoch, number)

    def amend(self, amendment: Amendment) -> None:
        """The last price is what the feed says that it is by an amendment."""
        last = amendment.last
        if last is not None and outranks(last, self._priced.get(amendment.symbol)):
            self._priced[amendment.symbol] = last

    @property
    def has_heard(self) -> bool:
        """Whether anything was heard of the topics that are heard now."""
        return bool(self._places)

    def knows(self, symbol: str) -> bool:
        """Whether both a quote and a price of the symbol were heard."""
        return symbol in self._quotes and symbol in self._priced

    def symbols(self) -> set[str]:
        return self._quotes.keys() | self._trades.keys()

    def standing(
        self, symbols: Iterable[str], stored: Mapping[str, Standing]
    ) -> dict[str, Standing]:
        """Where the symbols stand, by what was heard or by the store, whichever is newer."""
        found = {}
        for symbol in symbols:
            quote, trade, _ = stored.get(symbol, NOWHERE)
            heard = self._quotes.get(symbol)
            quote = heard if is_newer(heard, quote) else quote
            priced = self._priced.get(symbol)
            trade = trade if outranks(trade, priced) else priced
            if quote or trade or symbol in stored:
                found[symbol] = Standing(quote, trade, self._come_to(symbol))
        return found

    def _come_to(self, symbol: str) -> tuple[int, int] | None:
        """The number of the last trade there is, heard or not; None before one was heard."""
        heard = self._trades.get(symbol)
        if heard is None:
            return None
        place = (heard.epoch, heard.sequence)
        return max(place, self._stored.get(symbol, place))

    def take_changed(self) -> Changed:
        """(epoch, number) of the newest quote and of the last trade of each symbol that got one
        since the last call."""
        changed, self._changed = self.changed(), {channel: {} for channel in self._changed}
        return changed

    def changed(self) -> Changed:
        """The same, as the next call will tell it."""
        changed = {channel: dict(places) for channel, places in self._changed.items()}
        trades = changed[Channel.TRADES]
        for symbol in trades.keys() & self._stored.keys():
            trades[symbol] = max(trades[symbol], self._stored[symbol])
        return changed

    def pulse(self, now: float) -> Pulse:
        """How alive the feed is; `now` is monotonic. The shard that is quiet longest counts."""
        if not self._heard_at:
            return Pulse(None, None, current=False)
        quiet = now - min(self._heard_at.values())
        told_us = min(self._told_us.values(), default=None)
        return Pulse(told_us, round(quiet * 1_000), quiet < SILENT_SECONDS)

    def now_us(self) -> int:
        """Market time by what was heard; the wall's where nothing was."""
        return min(self._come_to_us.values(), default=int(time.time() * MICROSECONDS))

    def forget(self, topic: str) -> None:
        """Nobody hears this topic any more: what is known of its symbols is growing old."""
        if topic not in TICK_TOPICS:
            return
        for known_of in (
            self._places, self._read_at, self._come_to_us, self._heard_at, self._told_us,
        ):  # fmt: skip
            known_of.pop(topic, None)
        gone = [symbol for symbol in self.symbols() if tick_topic(symbol) == topic]
        for symbol in gone:
            for known in (self._quotes, self._trades, self._stored, self._priced):
                known.pop(symbol, None)
            for changed in self._changed.values():
                changed.pop(symbol, None)


def is_newer(tick: Quote | Trade | None, than: Quote | Trade | None) -> bool:
    """Whether the first is there and came after the second, or the second is not there."""
    if tick is None or than is None:
        return tick is not None
    if tick.epoch != than.epoch:
        return tick.epoch > than.epoch
    return tick.sequence > than.sequence


def outranks(price: Trade | None, other: Trade | None) -> bool:
    """Whether the first is there, and the last price rather than the second."""
    if price is None or other is None:
        return price is not None
    if price.stands or other.stands:
        return price.rank > other.rank
    return is_newer(price, other)


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items, at most `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]

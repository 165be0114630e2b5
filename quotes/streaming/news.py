"""What the bus brings besides ticks: bars, changes of trading status, and news for listeners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from quotes.streaming.audience import EVERYTHING, Audience, Channel
from quotes.streaming.bus import BARS, CONTROL, TICK_TOPICS, tick_topic
from quotes.streaming.codec import Codec, Number, Status
from quotes.streaming.fanout import Fanout
from quotes.streaming.standings import Standings
from quotes.ticks import Bar

_BAR_CHANNELS = frozenset({Channel.BARS, Channel.UPDATED_BARS, Channel.DAILY_BARS})


def topics_of(channel: Channel, symbol: str) -> tuple[str, ...]:
    """The topics to hear for a channel of a symbol. Statuses come by control, heard anyway."""
    if channel in _BAR_CHANNELS:
        return (BARS,)
    if channel in (Channel.STATUSES, Channel.LULDS):
        return ()
    return TICK_TOPICS if symbol == EVERYTHING else (tick_topic(symbol),)


class News:
    """Delivers bars and statuses, and numbers the bars of each symbol and kind without gaps."""

    def __init__(
        self, audiences: Mapping[Channel, Audience], fanout: Fanout, standings: Standings
    ) -> None:
        self.listeners: dict[str, list[Callable[[Any], None]]] = {}
        self._audiences = audiences
        self._fanout = fanout
        self._standings = standings
        self._numbers: Counter[tuple[str, str]] = Counter()  # (kind, symbol) → its last number
        self._newest_start: dict[str, int] = {}

    def hear(self, topic: str, message: Any) -> None:
        """Deliver one message."""
        if topic == BARS:
            self._hear_bars(message)
        elif topic == CONTROL and message["kind"] in ("halt", "resume"):
            self._hear_status(message)
        for hear in tuple(self.listeners.get(topic, ())):
            hear(message)

    def skip_numbers(self) -> None:
        """Messages were lost: leave a gap in each numbering, for clients to see."""
        self._numbers.update(self._numbers.keys())

    def _hear_bars(self, bars: Iterable[Bar]) -> None:
        for bar in bars:
            channel, kind = self._kind_of(bar)
            self._numbers[kind, bar.symbol] += 1
            number = Number(self._numbers[kind, bar.symbol], self._standings.epoch)
            audience = self._audiences[channel]
            self._fanout.offer(audience, bar.symbol, Codec.bar, kind, bar, number)
        self._fanout.flush()

    def _kind_of(self, bar: Bar) -> tuple[Channel, str]:
        if bar.timeframe == "1Day":
            return Channel.DAILY_BARS, "d"
        if bar.start <= self._newest_start.get(bar.symbol, -1):
            return Channel.UPDATED_BARS, "u"  # a late trade changed a bar that was out
        self._newest_start[bar.symbol] = bar.start
        return Channel.BARS, "b"

    def _hear_status(self, message: Mapping[str, Any]) -> None:
        at_us = self._standings.now_us()
        halted = message["kind"] == "halt"
        status = Status(message["symbol"], at_us, halted, message.get("reason", ""))
        audience = self._audiences[Channel.STATUSES]
        self._fanout.offer(audience, status.symbol, Codec.status, status)
        self._fanout.flush()

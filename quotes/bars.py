"""Trades become bars, and bars become longer bars. Pure: no database, no clock.

Which trade sets a price is decided where trades are read (`Trade.sets_price`,
`Trade.counts_volume`; for recorded days in `quotes/feeds/conditions.py`), the `Aggregator` here
obeys it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time
from typing import NamedTuple

from quotes.calendar import NEW_YORK, Calendar, TradingDay
from quotes.ticks import MICROSECONDS, Bar, Trade, to_instant, to_micros

MINUTE = "1Min"
DAY = "1Day"
MINUTE_US = 60 * MICROSECONDS

# A bar waits this long in market time for its last trades before it is called finished. Feeds of
# one process are ordered, so the wait is for shards of a live feed that arrive out of step.
GRACE_US = 500_000

# A trade this late still corrects its minute; a later one counts in the daily bar only.
LATE_US = 15 * MINUTE_US

CLOSING_PRINT = "6"  # the sale condition of a closing auction


class _Running:
    """A bar that still takes trades. Open and close go by market time, not by arrival."""

    __slots__ = (
        "close", "closed_by", "high", "low", "notional", "open", "opened_by", "priced", "trades",
        "volume",
    )  # fmt: skip

    def __init__(self) -> None:
        self.open = self.high = self.low = self.close = 0
        self.opened_by = self.closed_by = (0, 0)
        self.volume = self.trades = 0
        self.notional = self.priced = 0  # of the trades that set a price: price × size, size

    def add(self, trade: Trade) -> None:
        self.volume += trade.size
        self.trades += 1
        if trade.sets_price:
            self._price(trade.price, (trade.at_us, trade.sequence))
            self.notional += trade.price * trade.size
            self.priced += trade.size

    def resume(self, bar: Bar, at_us: int) -> None:
        """Take over a stored bar as if its trades had come one after another up to an instant."""
        self.open, self.high, self.low, self.close = bar.open, bar.high, bar.low, bar.close
        self.opened_by, self.closed_by = (bar.start * MICROSECONDS, 0), (at_us, 0)
        self.volume, self.trades = bar.volume, bar.trade_count
        self.notional, self.priced = (bar.vwap or bar.close) * bar.volume, bar.volume

    def bar(self, symbol: str, timeframe: str, start: int) -> Bar | None:
        """The bar so far; None while no trade has set a price."""
        if not self.open:
            return None
        vwap = round(self.notional / self.priced) if self.priced else self.close
        return Bar(
            symbol, timeframe, start, self.open, self.high, self.low, self.close, self.volume,
            self.trades, vwap,
        )  # fmt: skip

    def _price(self, price: int, at: tuple[int, int]) -> None:
        if not self.open:
            self.open = self.high = self.low = self.close = price
            self.opened_by = self.closed_by = at
            return
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        if at >= self.closed_by:
            self.close, self.closed_by = price, at
        elif at < self.opened_by:
            self.open, self.opened_by = price, at


class _DayBounds(NamedTuple):
    """What the daily bar of a trading day takes, in microseconds."""

    label: int  # epoch seconds of midnight New York
    begin_us: int  # its first session, before the regular one
    open_us: int
    close_us: int
    end_us: int


class Aggregator:
    """Minute bars and the running daily bar of every symbol that trades.

    The rule, found in LEAN's recorded day of 2013-10-07 and written down by its makers (sources in
    `quotes/feeds/conditions.py`): every trade counts as volume except the repetitions that
    announce an official opening or closing price; a trade sets open, high, low and close unless
    its conditions exclude it. A minute in which no trade sets a price has no bar, its volume counts
    in the day. With this rule our minute bars of that day's regular session equal LEAN's own in
    open, high, low and close for AIG in 99.7 %, for BAC, IBM and SPY in 99.5 %, in volume in 99.0,
    99.7, 99.7 and 99.5 %. What differs are the first and the last minute of the session: LEAN moves
    the auctions into them, here a trade belongs to the minute it was printed in.

    The daily bar takes the regular session and the closing auction that prints after it; so it is
    the daily bar of the tape, and its close the official one. Its label is midnight New York.

    A minute bar is finished when the watermark passes its end plus `GRACE_US`: `close_until`
    returns it once. A trade that comes later still corrects it for `LATE_US`: `corrections`
    returns the bar again. Bars depend on the set of trades, not on the order they arrive in.
    """

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._minutes: dict[int, dict[str, _Running]] = {}  # by start in microseconds
        self._finished: dict[int, dict[str, _Running]] = {}
        self._days: dict[tuple[str, int], _Running] = {}
        self._corrected: set[tuple[int, str]] = set()
        self._touched: set[tuple[str, int]] = set()
        self._watermark_us = 0
        self._bounds = _DayBounds(0, 0, 0, 0, 0)

    def add(self, trade: Trade) -> None:
        """Count a trade in its minute and its day."""
        if not trade.counts_volume:
            return
        start = trade.at_us - trade.at_us % MINUTE_US
        minute = self._minutes.get(start)
        if minute is None:
            minute = self._open_minute(start)
        if minute is not None:
            running = minute.get(trade.symbol)
            if running is None:
                running = minute[trade.symbol] = _Running()
            running.add(trade)
            if minute is self._finished.get(start):
                self._corrected.add((start, trade.symbol))
        self._add_to_day(trade)

    def close_until(self, watermark_us: int) -> list[Bar]:
        """The minute bars that the watermark finishes, by (start, symbol)."""
        self._watermark_us = max(self._watermark_us, watermark_us)
        due = [
            start for start in self._minutes
            if start + MINUTE_US + GRACE_US <= self._watermark_us
        ]  # fmt: skip
        bars = []
        for start in sorted(due):
            minute = self._finished[start] = self._minutes.pop(start)
            bars += self._bars_of(start, minute)
        for start in [kept for kept in self._finished if self._is_past(kept)]:
            del self._finished[start]
        return bars

    def corrections(self) -> list[Bar]:
        """Finished minute bars that late trades have changed since the last call."""
        corrected, self._corrected = self._corrected, set()
        bars = []
        for start, symbol in sorted(corrected):
            running = self._finished.get(start, {}).get(symbol)
            bar = running.bar(symbol, MINUTE, start // MICROSECONDS) if running else None
            if bar:
                bars.append(bar)
        return bars

    def open_minutes(self) -> list[Bar]:
        """The minute bars that are not finished yet, as they stand."""
        return [
            bar for start in sorted(self._minutes)
            for bar in self._bars_of(start, self._minutes[start])
        ]  # fmt: skip

    def daily_bars(self, *, changed_only: bool = False) -> list[Bar]:
        """The running daily bars; with `changed_only` those that changed since it was last asked.

        The bars of the latest trading day stay, so that a late trade finds them.
        """
        keys = sorted(self._touched if changed_only else self._days)
        if changed_only:
            self._touched = set()
        bars = (self._days[key].bar(key[0], DAY, key[1]) for key in keys if key in self._days)
        return [bar for bar in bars if bar]

    def resume(self, bars: Iterable[Bar], at_us: int) -> None:
        """Go on with stored bars of the minute and day that `at_us` lies in; others are ignored."""
        minute_us = at_us - at_us % MINUTE_US
        label = self._bounds_at(at_us).label
        for bar in bars:
            if bar.timeframe == MINUTE and bar.start * MICROSECONDS == minute_us:
                minute = self._minutes.setdefault(minute_us, {})
                minute.setdefault(bar.symbol, _Running()).resume(bar, at_us)
            elif bar.timeframe == DAY and bar.start == label:
                self._days.setdefault((bar.symbol, label), _Running()).resume(bar, at_us)

    def _open_minute(self, start: int) -> dict[str, _Running] | None:
        """The minute a trade belongs to: a new one, or a finished one it is late for."""
        if start + MINUTE_US + GRACE_US > self._watermark_us:
            return self._minutes.setdefault(start, {})
        return None if self._is_past(start) else self._finished.setdefault(start, {})

    def _is_past(self, start: int) -> bool:
        return start + MINUTE_US + LATE_US <= self._watermark_us

    def _bars_of(self, start: int, minute: dict[str, _Running]) -> list[Bar]:
        seconds = start // MICROSECONDS
        bars = (minute[symbol].bar(symbol, MINUTE, seconds) for symbol in sorted(minute))
        return [bar for bar in bars if bar]

    def _add_to_day(self, trade: Trade) -> None:
        bounds = self._bounds
        if not bounds.begin_us <= trade.at_us < bounds.end_us:
            bounds = self._bounds_at(trade.at_us)
        regular = bounds.open_us <= trade.at_us < bounds.close_us
        if not regular and not (trade.at_us >= bounds.close_us and _is_closing_print(trade)):
            return
        key = (trade.symbol, bounds.label)
        running = self._days.get(key)
        if running is None:
            running = self._days[key] = _Running()
        running.add(trade)
        self._touched.add(key)

    def _bounds_at(self, at_us: int) -> _DayBounds:
        """The trading day an instant belongs to; days older than the newest seen are let go."""
        bounds = _bounds_of(self._calendar.current_day(to_instant(at_us)))
        if bounds.label > self._bounds.label:
            kept = self._bounds.label
            self._bounds = bounds
            self._days = {key: day for key, day in self._days.items() if key[1] >= kept}
        return bounds


def _bounds_of(day: TradingDay) -> _DayBounds:
    instants = (day.overnight_at, day.open_at, day.close_at, day.after_at)
    return _DayBounds(midnight(day.date), *map(to_micros, instants))


def _is_closing_print(trade: Trade) -> bool:
    return CLOSING_PRINT in trade.conditions


def midnight(on: date) -> int:
    """Midnight New York of a date in epoch seconds: the label of its daily bar."""
    return int(datetime.combine(on, time(), NEW_YORK).timestamp())


def merged(bars: Iterable[Bar], timeframe: str, start: int) -> Bar:
    """One longer bar of the bars of its interval, given in ascending order and at least one.

    The volume-weighted price is the mean of theirs weighted by volume.
    """
    bars = list(bars)
    volume = sum(bar.volume for bar in bars)
    notional = sum((bar.vwap or bar.close) * bar.volume for bar in bars)
    return Bar(
        symbol=bars[0].symbol,
        timeframe=timeframe,
        start=start,
        open=bars[0].open,
        high=max(bar.high for bar in bars),
        low=min(bar.low for bar in bars),
        close=bars[-1].close,
        volume=volume,
        trade_count=sum(bar.trade_count for bar in bars),
        vwap=round(notional / volume) if volume else bars[-1].close,
    )

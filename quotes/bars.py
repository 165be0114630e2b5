"""Trades become bars, and bars become longer bars. Pure: no database, no clock.

Which trade sets a price is decided where trades are read (`Trade.sets_price`,
`Trade.counts_volume`; for recorded days in `quotes/feeds/conditions.py`), the `Aggregator` here
obeys it.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from datetime import date, datetime, time
from typing import NamedTuple

from quotes.calendar import NEW_YORK, Calendar, TradingDay
from quotes.kept_trades import KeptTrades
from quotes.ticks import MICROSECONDS, Amendment, Bar, Trade, to_instant, to_micros

MINUTE = "1Min"
DAY = "1Day"
MINUTE_US = 60 * MICROSECONDS

# A bar waits this long in market time for its last trades before it is called finished. Feeds of
# one process are ordered, so the wait is for shards of a live feed that arrive out of step.
GRACE_US = 500_000

# A trade this late still corrects its minute; a later one counts in the daily bar only.
LATE_US = 15 * MINUTE_US

# What is said of a trade so much later still corrects its bars: a trading session, and some time to
# rule on its last trades. Within half a day no more than two trading days are touched, which is how
# many daily bars are held.
AMENDED_US = 8 * 60 * MINUTE_US

CLOSING_PRINT = "6"  # the sale condition of a closing auction


class _Running:
    """A bar that still takes trades. Open and close go by market time, not by arrival."""

    __slots__ = (
        "close", "closed_by", "high", "low", "notional", "open", "opened_by", "priced", "rest",
        "trades", "volume", "withdrawn",
    )  # fmt: skip

    def __init__(self) -> None:
        self.open = self.high = self.low = self.close = 0
        self.opened_by = self.closed_by = (0, 0)
        self.volume = self.trades = 0
        self.notional = self.priced = 0  # of the trades that set a price: price × size, size
        self.rest: _Running | None = None  # what is in it of trades that are not kept
        self.withdrawn = 0  # the last price of a bar whose every price turned out to be wrong

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
        self.rest = None
        self.rest = copy(self)

    def add_to_rest(self, trade: Trade) -> None:
        """Note of a trade in it that it is not kept, or no longer."""
        if self.rest is None:
            self.rest = _Running()
        self.rest.add(trade)

    def remake(self, kept: Iterable[Trade]) -> _Running:
        """The bar as these are the kept trades in it."""
        made = copy(self.rest) if self.rest else _Running()
        made.rest = self.rest
        for trade in kept:
            made.add(trade)
        made.withdrawn = 0 if made.open else self.close or self.withdrawn
        return made

    def bar(self, symbol: str, timeframe: str, start: int) -> Bar | None:
        """The bar so far; None while no trade has set a price, a withdrawn one if none does now."""
        if not self.open:
            price = self.withdrawn
            return Bar(symbol, timeframe, start, price, price, price, price, 0) if price else None
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

    Where trades can be taken back or corrected (`amendable`), those of the last `AMENDED_US` are
    kept, as far as there is room, and `amend` has their bars made anew. A bar in which no price is
    left is returned as withdrawn.
    """

    def __init__(self, calendar: Calendar, *, amendable: bool = False) -> None:
        self._calendar = calendar
        self._kept = KeptTrades() if amendable else None
        self._minutes: dict[int, dict[str, _Running]] = {}  # by start in microseconds
        self._finished: dict[int, dict[str, _Running]] = {}
        self._days: dict[tuple[str, int], _Running] = {}
        self._corrected: set[tuple[int, str]] = set()
        self._touched: set[tuple[str, int]] = set()
        self._stale: set[tuple[str, int]] = set()  # days to be made anew
        self._watermark_us = 0
        self._bounds = self._bounds_before = _DayBounds(0, 0, 0, 0, 0)

    def add(self, trade: Trade) -> None:
        """Count a trade in its minute and its day."""
        if not trade.counts_volume:
            return
        start = trade.at_us - trade.at_us % MINUTE_US
        minute = self._minutes.get(start)
        if minute is None and not self._is_past(start):
            minute = self._minute(start)
        is_kept = minute is not None and self._kept is not None and self._kept.add(start, trade)
        if minute is None:
            self.remember_price(trade)
        else:
            running = minute.get(trade.symbol)
            if running is None:
                running = minute[trade.symbol] = _Running()
            running.add(trade)
            if minute is self._finished.get(start):
                self._corrected.add((start, trade.symbol))
        self._add_to_day(trade, is_kept)

    def amend(self, amendments: Iterable[Amendment]) -> list[Amendment]:
        """Make the bars of these trades as if they had been printed as they are now, or never; a
        day's when it is asked for, for it may have many trades.

        Those of the amendments that came too late for that: they change no bar.
        """
        late, minutes = [], set()
        for amendment in amendments:
            symbol, at_us = amendment.symbol, amendment.original.at_us
            start = at_us - at_us % MINUTE_US
            if self._kept is not None and self._kept.amend(start, amendment):
                minutes.add((start, symbol))
                self._stale.add((symbol, self._bounds_at(at_us).label))
            else:
                late.append(amendment)
        for start, symbol in minutes:
            self._remake_minute(start, symbol)
        return late

    def newest_price(self, symbol: str) -> Trade | None:
        """The last known trade of a symbol that sets the price, as it was amended."""
        return self._kept.newest_price(symbol) if self._kept else None

    def remember_price(self, trade: Trade) -> None:
        """Know of a price that is in no minute here."""
        if self._kept is not None:
            self._kept.remember(trade)

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
        if self._kept is not None:
            for trade in self._kept.let_go(self._watermark_us - MINUTE_US - AMENDED_US + 1):
                if (key := self._day_of(trade)) in self._days:
                    self._days[key].add_to_rest(trade)
        while self._finished and self._is_over(oldest := min(self._finished)):
            del self._finished[oldest]
        return bars

    def corrections(self) -> list[Bar]:
        """Finished minute bars that late trades and amendments have changed since the last call."""
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
        while self._stale:
            self._remake_day(self._stale.pop())
        keys = sorted(self._touched if changed_only else self._days)
        if changed_only:
            self._touched = set()
        bars = (self._days[key].bar(key[0], DAY, key[1]) for key in keys if key in self._days)
        return [bar for bar in bars if bar]

    def resume(self, bars: Iterable[Bar], at_us: int) -> None:
        """Go on at an instant with the stored bars of its day, its minute, and those before that a
        late trade may still correct; others are ignored."""
        self._watermark_us = max(self._watermark_us, at_us)
        label = self._bounds_at(at_us).label
        for bar in bars:
            start = bar.start * MICROSECONDS
            if bar.timeframe == MINUTE and start <= at_us and not self._is_past(start):
                until_us = min(at_us, start + MINUTE_US - 1)
                self._minute(start).setdefault(bar.symbol, _Running()).resume(bar, until_us)
            elif bar.timeframe == DAY and bar.start == label:
                self._days.setdefault((bar.symbol, label), _Running()).resume(bar, at_us)

    def _remake_minute(self, start: int, symbol: str) -> None:
        assert self._kept is not None
        minute = self._minute(start)
        if minute is self._finished.get(start):
            self._corrected.add((start, symbol))
        running = minute.get(symbol) or _Running()
        minute[symbol] = running.remake(self._kept.of(start, symbol))

    def _remake_day(self, key: tuple[str, int]) -> None:
        assert self._kept is not None
        kept = [trade for trade in self._kept.all_of(key[0]) if self._day_of(trade) == key]
        if kept or key in self._days:
            self._days[key] = self._days.get(key, _Running()).remake(kept)
            self._touched.add(key)

    def _minute(self, start: int) -> dict[str, _Running]:
        """A minute that still changes: an open one, or one that something is late for."""
        is_open = start + MINUTE_US + GRACE_US > self._watermark_us
        return (self._minutes if is_open else self._finished).setdefault(start, {})

    def _is_past(self, start: int) -> bool:
        """Whether no trade changes the minute any more."""
        return start + MINUTE_US + LATE_US <= self._watermark_us

    def _is_over(self, start: int) -> bool:
        """Whether nothing changes the minute any more."""
        return self._is_past(start) and not (self._kept and self._kept.keeps(start))

    def _bars_of(self, start: int, minute: dict[str, _Running]) -> list[Bar]:
        seconds = start // MICROSECONDS
        bars = (minute[symbol].bar(symbol, MINUTE, seconds) for symbol in sorted(minute))
        return [bar for bar in bars if bar]

    def _add_to_day(self, trade: Trade, is_kept: bool) -> None:
        key = self._day_of(trade)
        if key is None:
            return
        running = self._days.get(key)
        if running is None:
            running = self._days[key] = _Running()
        running.add(trade)
        if self._kept is not None and not is_kept:
            running.add_to_rest(trade)
        self._touched.add(key)

    def _day_of(self, trade: Trade) -> tuple[str, int] | None:
        """The daily bar that a trade belongs to, if any."""
        bounds = self._bounds
        if trade.at_us < bounds.begin_us:
            bounds = self._bounds_before
        if not bounds.begin_us <= trade.at_us < bounds.end_us:
            bounds = self._bounds_at(trade.at_us)
        regular = bounds.open_us <= trade.at_us < bounds.close_us
        if not regular and not (trade.at_us >= bounds.close_us and _is_closing_print(trade)):
            return None
        return trade.symbol, bounds.label

    def _bounds_at(self, at_us: int) -> _DayBounds:
        """The trading day an instant belongs to; days older than the newest seen are let go."""
        bounds = _bounds_of(self._calendar.current_day(to_instant(at_us)))
        if bounds.label > self._bounds.label:
            before, self._bounds = self._bounds, bounds
            self._bounds_before = before
            self._days = {key: day for key, day in self._days.items() if key[1] >= before.label}
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

"""A market that never closes: seeded quotes and trades of some fifty US instruments.

Time is cut into seconds, and the ticks of a second follow from the seed and the second alone. So
the tape does not depend on when the feed was started, and catching up after a pause costs nothing:
`skip_to` goes straight to the instant.

A split divides the prices of its instrument from its instant on: the path goes on as it was, in new
shares, with the spreads and sizes of a share that costs so much.

At the usual activity it makes some 110 ticks a second over all instruments, little enough for the
one process that does everything. Each day opens and closes with an auction in every instrument.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date, timedelta
from math import ceil, sqrt
from operator import itemgetter
from random import Random

from quotes.bars import midnight
from quotes.calendar import NEW_YORK
from quotes.feeds.base import READ_LIMIT, Feed, InstrumentSpec, Tick
from quotes.feeds.listings import LISTINGS, Listing, listed_on
from quotes.feeds.simulated_prices import PricePaths, activity_at, price_of
from quotes.splits import Split
from quotes.ticks import CLOSE, MICROSECONDS, OPEN, Quote, Trade, to_instant

QUOTES_PER_SECOND = 1.4  # of an instrument of activity 1, at average time of day
TRADE_SHARE = 0.4  # of the quotes that a trade follows
INSIDE_SHARE = 0.12  # of the trades that print between bid and ask, where there is room
SPREAD_BPS = 0.6  # of an instrument of activity 1; never below one cent
WIDE_SHARE = 0.3  # of the quotes that are a cent wider
CENT = 100  # in 1/10,000 USD
LOT = 100
EXCHANGES = "NQPZKV"
CONDITIONS = ("@",)
CROSS_CONDITIONS = {OPEN: ("@", "O"), CLOSE: ("@", "6")}
CROSS_FACTOR = 20  # an auction trades this many times what is displayed

_at_us = itemgetter(1)


class SimulatedFeed(Feed):
    """The market of a seed from an instant on."""

    makes_prices = True

    def __init__(self, seed: int, start_us: int) -> None:
        self.source = f"simulated-{seed}"
        self.start_us = start_us
        self._paths = PricePaths(seed)
        self._splits: dict[str, list[Split]] = {}
        self._sequences = [[0, 0] for _ in LISTINGS]  # of quotes and of trades
        self._minute: tuple[int, list[list[float]]] = (-1, [])
        self._second = start_us // MICROSECONDS  # the next one to make
        self._from_us = start_us  # what a second has before this instant is left out
        self._ticks: list[Tick] = []
        self._next = 0

    def instruments(self) -> list[InstrumentSpec]:
        return [listing.spec for listing in LISTINGS]

    def opening_quotes(self) -> list[Quote]:
        """Where every instrument stands at the start: no part of the tape.

        Quiet instruments have no tick for a while, and nobody should have to wait for one.
        """
        second, part_us = divmod(self.start_us, MICROSECONDS)
        minute, offset = divmod(second, 60)
        levels = self._second_levels(minute)
        draw = self._paths.generator("opening", self.start_us)
        return [
            self._quote(index, self.start_us, _between(levels[index], offset, part_us), draw)
            for index in range(len(LISTINGS))
        ]

    def next_us(self) -> int | None:
        while self._next == len(self._ticks):
            self._make_second()
        return self._ticks[self._next].at_us

    def read(self, until_us: int, limit: int = READ_LIMIT) -> list[Tick]:
        ticks: list[Tick] = []
        while len(ticks) < limit:
            if self._next == len(self._ticks):
                if self._second * MICROSECONDS > until_us:
                    break
                self._make_second()
            end = bisect_right(self._ticks, until_us, lo=self._next, key=_at_us)
            taken = self._ticks[self._next : min(end, self._next + limit - len(ticks))]
            ticks += taken
            self._next += len(taken)
            if self._next < len(self._ticks):
                break
        return ticks

    def skip_to(self, at_us: int) -> None:
        if at_us >= self._second * MICROSECONDS:
            self._second, self._from_us = at_us // MICROSECONDS, at_us
            self._ticks, self._next = [], 0
        self._next = max(self._next, bisect_left(self._ticks, at_us, key=_at_us))

    def split(self, splits: Sequence[Split]) -> None:
        by_symbol: dict[str, list[Split]] = {}
        for split in splits:
            by_symbol.setdefault(split.symbol, []).append(split)
        self._splits = by_symbol

    def _make_second(self) -> None:
        """Make the ticks of the next second, in order."""
        second, self._second = self._second, self._second + 1
        minute, offset = divmod(second, 60)
        if minute != self._minute[0]:
            self._minute = minute, self._second_levels(minute)
        on = to_instant(second * MICROSECONDS).astimezone(NEW_YORK).date()
        draw = self._paths.generator(second)
        rate = QUOTES_PER_SECOND * activity_at((second - midnight(on)) / 86_400)
        turns = {
            (draw.randrange(MICROSECONDS), index)
            for index, listing in enumerate(LISTINGS)
            for _ in range(_whole(rate * listing.activity, draw))
        }
        self._ticks, self._next = [], 0
        crosses = _crosses(second, on)
        for part_us, index in sorted(turns | crosses.keys()):
            level = _between(self._minute[1][index], offset, part_us)
            at_us = second * MICROSECONDS + part_us
            auction = crosses.get((part_us, index))
            if auction:
                ticks = self._cross(index, at_us, level, auction)
            else:
                ticks = self._turn(index, at_us, level, draw)
            if at_us >= self._from_us:
                self._ticks += self._numbered(index, ticks)

    def _second_levels(self, minute: int) -> list[list[float]]:
        """Where each listing stands at each second of a minute since the epoch."""
        on, number = _minute_of_day(minute)
        draw = self._paths.generator("minute", minute)
        paths = []
        for index, listing in enumerate(LISTINGS):
            levels = self._paths.minute_levels(on, index)
            sd = listing.volatility / 100 / sqrt(len(levels) - 1)
            paths.append(self._paths.second_levels(levels[number], levels[number + 1], sd, draw))
        return paths

    def _turn(self, index: int, at_us: int, level: float, draw: Random) -> list[Tick]:
        """One quote, and sometimes the trade that takes from it; not numbered yet."""
        quote = self._quote(index, at_us, level, draw)
        if draw.random() >= TRADE_SHARE:
            return [quote]
        price, displayed = (
            (quote.ask, quote.ask_size) if draw.random() < 0.5 else (quote.bid, quote.bid_size)
        )
        spread = (quote.ask - quote.bid) // CENT
        if spread > 1 and draw.random() < INSIDE_SHARE:
            price = quote.bid + draw.randrange(1, spread) * CENT
        size = min(displayed, displayed_size(self._cents(index, at_us, level), draw))
        exchange = draw.choice(EXCHANGES)
        trade = Trade(
            quote.symbol, at_us, price, size, exchange=exchange, conditions=CONDITIONS
        )  # fmt: skip
        return [quote, trade]

    def _cross(self, index: int, at_us: int, level: float, auction: str) -> list[Tick]:
        """The auction that opens or closes the day: a quote, and a large trade at its middle."""
        draw = self._paths.generator("cross", at_us, index)
        quote = self._quote(index, at_us, level, draw)
        cents = (quote.bid + quote.ask) // 2 // CENT
        trade = Trade(
            quote.symbol, at_us, cents * CENT, CROSS_FACTOR * displayed_size(cents, draw),
            exchange=listed_on(quote.symbol), conditions=CROSS_CONDITIONS[auction],
            auction=auction,
        )  # fmt: skip
        return [quote, trade]

    def _quote(self, index: int, at_us: int, level: float, draw: Random) -> Quote:
        listing = LISTINGS[index]
        cents = self._cents(index, at_us, level)
        spread = spread_cents(listing, cents) + (draw.random() < WIDE_SHARE)
        bid = max(1, round(cents - spread / 2)) * CENT
        return Quote(
            listing.symbol, at_us,
            bid, displayed_size(cents, draw), bid + spread * CENT, displayed_size(cents, draw),
            bid_exchange=draw.choice(EXCHANGES), ask_exchange=draw.choice(EXCHANGES),
        )  # fmt: skip

    def _cents(self, index: int, at_us: int, level: float) -> float:
        """The price in cents that a level stands for at that instant."""
        listing = LISTINGS[index]
        cents = price_of(listing, level) * 100
        for split in self._splits.get(listing.symbol, ()):
            if split.at_us <= at_us:
                cents *= split.old / split.new
        return cents

    def _numbered(self, index: int, ticks: list[Tick]) -> list[Tick]:
        sequences = self._sequences[index]
        numbered = []
        for kind, tick in enumerate(ticks):
            sequences[kind] += 1
            numbered.append(tick._replace(sequence=sequences[kind], epoch=self.epoch))
        return numbered


def _crosses(second: int, on: date) -> dict[tuple[int, int], str]:
    """The auctions of a second, by part of the second and listing: the day's first and last
    microsecond."""
    if second == midnight(on):
        return {(0, index): OPEN for index in range(len(LISTINGS))}
    if second + 1 == midnight(on + timedelta(days=1)):
        return {(MICROSECONDS - 1, index): CLOSE for index in range(len(LISTINGS))}
    return {}


def _between(levels: list[float], offset: int, part_us: int) -> float:
    """From one second's level to the next a listing moves straight."""
    before, after = levels[offset : offset + 2]
    return before + (after - before) * part_us / MICROSECONDS


def spread_cents(listing: Listing, cents: float) -> int:
    """The usual spread: wider for dear and for quiet instruments."""
    return max(1, round(cents * SPREAD_BPS / 10_000 / sqrt(listing.activity)))


def mean_lots(cents: float) -> float:
    """Round lots at the touch, on average: people trade dollars, so cheap shares come in more."""
    return 2 + 40_000 / cents


def displayed_size(cents: float, draw: Random) -> int:
    """A size in shares, in round lots, of the exponential shape that sizes have."""
    return LOT * (1 + int(draw.expovariate(1 / mean_lots(cents))))


def _minute_of_day(minute: int) -> tuple[date, int]:
    """The New York date of a minute since the epoch, and its number in that day."""
    on = to_instant(minute * 60 * MICROSECONDS).astimezone(NEW_YORK).date()
    return on, minute - midnight(on) // 60


def _whole(expected: float, draw: Random) -> int:
    """A whole number that is `expected` on average."""
    return ceil(expected - draw.random())

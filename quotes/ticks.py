"""Quote, Trade and Bar: the frozen value types that everything on the tick path passes around.

Prices are integers in 1/10,000 USD (`quotes.amounts.PRICE_UNIT`), sizes are whole shares, instants
are integer microseconds since the epoch (UTC). Named tuples, because they are frozen, have no
instance dictionary and are the cheapest to make.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

MICROSECONDS = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

OPEN, CLOSE = "open", "close"  # the two official auctions of a day

# What becomes of a printed trade: it never was, or it was wrong and another stands in its place.
CANCELED, INCORRECT, CORRECTED = "canceled", "incorrect", "corrected"

# By what one last price of a symbol comes after another: the epoch and number of the newest print
# that set the price, and how often it was said anew since then, because prints were amended.
Rank = tuple[int, int, int]


class Quote(NamedTuple):
    """The NBBO of one symbol at one instant. A price of 0 means that the side is empty."""

    symbol: str
    at_us: int
    bid: int
    bid_size: int
    ask: int
    ask_size: int
    sequence: int = 0  # per symbol, rising within a feed epoch; numbers may jump
    epoch: int = 0
    received_us: int = 0
    bid_exchange: str = ""
    ask_exchange: str = ""
    resolution: str = "tick"  # tick, second or minute: how fine the source was

    @property
    def rank(self) -> Rank:
        return self.epoch, self.sequence, 0

    @property
    def is_crossed(self) -> bool:
        """The bid is above the ask. A locked quote (bid = ask) is not crossed."""
        return 0 < self.ask < self.bid

    @property
    def is_two_sided(self) -> bool:
        return self.bid > 0 and self.ask > 0


class Trade(NamedTuple):
    """One print of the tape."""

    symbol: str
    at_us: int
    price: int
    size: int
    sequence: int = 0  # per symbol, without gaps within a feed epoch
    epoch: int = 0
    received_us: int = 0
    exchange: str = ""
    conditions: tuple[str, ...] = ()
    sets_price: bool = True  # False: counts as volume only, never as open, high, low, close or last
    counts_volume: bool = True  # False: neither
    auction: str = ""  # OPEN or CLOSE: it prints the listing exchange's official cross
    amended: str = ""  # CANCELED, INCORRECT or CORRECTED, once that is known
    stands: Rank | tuple[()] = ()  # its rank as last price, where that was said anew

    @property
    def rank(self) -> Rank:
        return self.stands or (self.epoch, self.sequence, 0)

    @property
    def is_canceled(self) -> bool:
        """As a last price: it was taken back, and nobody knows the one before."""
        return self.amended == CANCELED


class Amendment(NamedTuple):
    """What the tape says of a trade that it printed earlier: it is corrected, or canceled.

    A corrected trade stands at the time of the original, under a sequence beyond those of prints.
    Whoever keeps last prices takes `last`, and need not know the trades before.
    """

    symbol: str
    at_us: int  # when it was said
    original: Trade
    corrected: Trade | None = None  # None: canceled
    action: str = "C"  # of a cancellation: C by the exchange's wish, E an error
    printed: int = 0  # the number of the print, where `original` is itself a correction of it
    # What the last price of the symbol is by it, where that is another; a canceled trade where
    # there is none any more.
    last: Trade | None = None

    @property
    def number(self) -> tuple[int, int]:
        """Epoch and number of the print that it is of."""
        return self.original.epoch, self.printed or self.original.sequence

    def as_print(self) -> Trade | None:
        """The trade as it is now, under the number of its print; None where it is canceled."""
        now = self.corrected
        return None if now is None else now._replace(sequence=self.number[1])


class Bar(NamedTuple):
    """Open, high, low, close, volume of one interval that starts at `start` (epoch seconds)."""

    symbol: str
    timeframe: str  # "1Min" or "1Day"
    start: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    trade_count: int = 0
    vwap: int = 0  # 1/10,000 USD; 0 where unknown

    @property
    def is_withdrawn(self) -> bool:
        """No trade is left that set a price in it: it stands for a bar that is no more."""
        return self.volume == self.trade_count == 0


class Place(NamedTuple):
    """How far a feed has come: the number of a batch, in the feed's epoch."""

    epoch: int
    number: int


class Batch(NamedTuple):
    """What one turn of ingest publishes: ticks in (market time, symbol, sequence) order.

    `watermark_us` is the instant up to which every tick of the feed has been ingested; it may pass
    the last tick. A batch without ticks is a heartbeat.
    """

    ticks: tuple[Quote | Trade, ...]
    watermark_us: int
    epoch: int
    number: int = 0  # gap-free per epoch, so that a subscriber can see what it missed
    amendments: tuple[Amendment, ...] = ()  # of trades in this batch or before

    @property
    def place(self) -> Place:
        return Place(self.epoch, self.number)


@lru_cache(4096)  # what one tick brings about happens at one instant
def to_instant(at_us: int) -> datetime:
    """Microseconds since the epoch as an aware UTC datetime, exactly."""
    return EPOCH + timedelta(microseconds=at_us)


def to_micros(instant: datetime) -> int:
    """An aware datetime as microseconds since the epoch, exactly."""
    delta = instant - EPOCH
    return (delta.days * 86_400 + delta.seconds) * MICROSECONDS + delta.microseconds

"""The contract of every market data feed: ticks in order, on demand, the same ones each time.

A feed knows instants, not waiting: how fast market time passes is the market clock's business.
Ingest asks with `read` for the ticks up to an instant, so that replay, stepped and simulated
markets are one loop. `tests/quotes/test_feeds.py` holds the contract as one test class that every
feed passes.

The order of ticks is (market time, symbol, quotes before trades, sequence): at one instant the NBBO
stands before the trades that print on it. Sequences count per symbol, quotes and trades apart, from
1 within a feed epoch; trades without gaps, so that a reader can tell that it missed one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from events.errors import OpenbellError
from quotes.ticks import Amendment, Quote, Trade

if TYPE_CHECKING:
    from quotes.splits import Split

Tick = Quote | Trade

READ_LIMIT = 20_000  # ticks a read returns at most, unless it is asked for fewer


class FeedError(OpenbellError):
    """The source of a feed is missing or cannot be understood; the sentence names it."""

    code = 50310001
    http_status = 503
    message = "the market data feed cannot be read"


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """How a feed describes an instrument it serves; `exchange` is a `quotes.models.Exchange`."""

    symbol: str
    name: str = ""
    exchange: str = "NYSE"


class Feed:
    """A source of ticks.

    `source` names the market it plays, for one database holds one market: "simulated-1",
    "lean-2013-10-07". `start_us` is where its market time begins, `end_us` where it ends (None:
    never). Set `epoch` before the first read; every tick carries it.
    """

    source: str
    start_us: int
    end_us: int | None = None
    epoch: int = 0
    amends_trades = False  # whether it may say of a trade later that it is wrong
    makes_prices = False  # whether they follow from nothing but the feed, so that it has to be told

    def instruments(self) -> list[InstrumentSpec]:
        """The instruments it serves, by symbol."""
        raise NotImplementedError

    def next_us(self) -> int | None:
        """The instant of the next tick, None when there will be no more. Consumes nothing."""
        raise NotImplementedError

    def read(self, until_us: int, limit: int = READ_LIMIT) -> list[Tick]:
        """The next ticks in order, none later than `until_us`, at most `limit` of them.

        Empty means that all ticks up to `until_us` have been read. How the asking is cut into
        calls makes no difference to the ticks. FeedError where the source turns out broken.
        """
        raise NotImplementedError

    def skip_to(self, at_us: int) -> None:
        """Pass over all ticks before an instant.

        For a restart or a jump: what is passed over is a gap, which the caller records.
        """
        while self.read(at_us - 1):
            pass

    def split(self, splits: Sequence[Split]) -> None:
        """Go by these splits, which are all that are announced: prices from then on are of the new
        shares. Recorded and real prices know of theirs."""

    def is_live(self) -> bool:
        """Whether its source can be heard. While it cannot, the market is silent."""
        return True

    def take_halts(self) -> Mapping[str, tuple[bool, str]]:
        """Symbols that the source halted (True) or resumed since the last call, and why."""
        return {}

    def take_amendments(self) -> Sequence[Amendment]:
        """What the source said since the last call of trades that were read already."""
        return ()

    def close(self) -> None:
        """Let go of files or connections; the feed is not used afterwards."""


def tick_order(tick: Tick) -> tuple[int, str, bool, int]:
    """The key by which ticks of all feeds are ordered."""
    return tick.at_us, tick.symbol, isinstance(tick, Trade), tick.sequence

"""A live market from an upstream that speaks Alpaca's data protocol.

The upstream is the real service or another Openbell, which is asked to be honest: it numbers what
it sends, so that what is lost on the way is a gap here too, for our own readers to see. A chain is
as live as its weakest link: where the upstream is away or its own feed silent, so is this one, and
nothing fills.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from quotes.feeds.base import READ_LIMIT, Feed, FeedError, InstrumentSpec, Tick
from quotes.feeds.intake import Heard, Intake
from quotes.feeds.listings import describe
from quotes.feeds.tape import Tape
from quotes.feeds.upstream import Link, Upstream
from quotes.models import Exchange, MarketClock
from quotes.ticks import Amendment, Trade

# Market time goes on with the wall's; a chain cannot follow one that is played or stands.
ON_WALL_TIME = frozenset({MarketClock.Mode.LIVE, MarketClock.Mode.SIMULATED})

SOURCE_LENGTH_MAX = 64  # of MarketClock.source


class AlpacaFeed(Feed):
    """The ticks of an upstream, as they arrive.

    `symbols` are what to subscribe to; none given means whatever another Openbell trades. `known`
    tells the instant of the last trade that was heard of each symbol before this start, `halted`
    which symbols the upstream had halted by then. The connection opens with the first read.
    """

    amends_trades = True

    def __init__(
        self,
        upstream: Upstream,
        symbols: Iterable[str] = (),
        known: Callable[[Iterable[str]], Mapping[str, int]] = lambda symbols: {},
        halted: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._specs = _instruments(upstream, sorted(set(symbols)))
        served = [spec.symbol for spec in self._specs]
        self.mode, self.source = _market(upstream)
        self.start_us = time.time_ns() // 1_000
        self._intake = Intake(
            self.start_us,
            known(served),
            honest=upstream.is_openbell,
            served=served,
            halted=halted(),
        )
        self._link = Link(upstream, served, self._intake)
        self._numbers: Counter[tuple[type, str]] = Counter()  # the last of each kind and symbol
        self._tape = Tape()

    def instruments(self) -> list[InstrumentSpec]:
        return self._specs

    def is_live(self) -> bool:
        return self._intake.is_live()

    def next_us(self) -> int:
        return self._intake.next_us()

    def read(self, until_us: int, limit: int = READ_LIMIT) -> list[Tick]:
        if not self._link.is_open:
            self._link.open()
        return [self._numbered(heard) for heard in self._intake.take(until_us, limit)]

    def take_halts(self) -> Mapping[str, tuple[bool, str]]:
        return self._intake.take_halts()

    def take_amendments(self) -> Sequence[Amendment]:
        return self._tape.amend(self._intake.take_revisions())

    def skip_to(self, at_us: int) -> None:
        self._intake.skip_to(at_us)

    def close(self) -> None:
        self._link.close()

    def _numbered(self, heard: Heard) -> Tick:
        """Trades that are missing leave their numbers out."""
        kind = type(heard.tick), heard.tick.symbol
        self._numbers[kind] += 1 + heard.tick.sequence
        tick = heard.tick._replace(sequence=self._numbers[kind], epoch=self.epoch)
        if isinstance(tick, Trade):
            self._tape.print(heard.name, tick)
        return tick


def _instruments(upstream: Upstream, symbols: list[str]) -> list[InstrumentSpec]:
    if symbols:
        return [describe(symbol) for symbol in symbols]
    assets = upstream.ask("/v2/assets?status=active")
    specs = [
        InstrumentSpec(
            asset["symbol"],
            asset.get("name") or "",
            asset["exchange"] if asset["exchange"] in Exchange.values else Exchange.NYSE,
        )
        for asset in assets
    ]
    if not specs:
        raise FeedError(f"{upstream.host} trades nothing")
    return sorted(specs, key=lambda spec: spec.symbol)


def _market(upstream: Upstream) -> tuple[str, str]:
    """The mode of our market and its name, which says when it trades: a simulation always does."""
    if not upstream.is_openbell:
        return MarketClock.Mode.LIVE, f"alpaca {upstream.host}"
    market = upstream.ask("/api/market")
    if market["mode"] not in ON_WALL_TIME:
        raise FeedError(
            f"{upstream.host} plays a {market['mode']} market; only one that is live or simulated"
            " can feed another Openbell"
        )
    origin = market["source"].partition(" ")[0] or "alpaca"
    return market["mode"], f"{origin} {upstream.host}"[:SOURCE_LENGTH_MAX]

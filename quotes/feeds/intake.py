"""What an upstream has said and ingest has not read yet, and whether all of it arrived.

One thread hears, another reads. Everything here is plain bookkeeping on messages that are passed
in; the socket is in `upstream.py`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import NamedTuple

from prometheus_client import Counter

from quotes.feeds.alpaca_wire import (
    Message,
    Place,
    Revision,
    micros_of,
    name_of,
    place_of,
    read_quote,
    read_revision,
    read_trade,
)
from quotes.feeds.base import Tick, tick_order
from quotes.feeds.statuses import Statuses
from quotes.ticks import CANCELED, Quote, Trade

# Some seconds of a busy market. Beyond, reading stops, and the upstream conflates or drops us.
WAITING_MAX = 100_000
# An honest upstream's heart beats every two seconds; a venue calls a feed silent after five.
SILENT_SECONDS = 5.0
# Corrections and cancellations that wait for the trade they are of.
REVISIONS_MAX = 10_000
# Of each symbol, the last trades that set the price: some may turn out canceled after a break.
PRICES_MAX = 8

MISSED = Counter("openbell_feed_missed_trades_total", "Trades that an upstream sent in vain.")
MISSED_AMENDMENTS = Counter(
    "openbell_feed_missed_amendments_total",
    "Corrections and cancellations of trades that did not arrive from an upstream.",
)


class Lost(Exception):
    """Messages of this connection are missing: what it says next cannot be trusted."""


class Heard(NamedTuple):
    """A tick, and by what name the upstream may speak of it again."""

    tick: Tick
    name: Hashable = None


class Intake:
    """Ticks between an upstream's socket and ingest.

    A tick that waits has in `sequence` how many of its kind are missing before it: 0, or 1 where
    their number cannot be known. The number itself is given when it is read.

    `known` has the instant of the last trade of each symbol that was heard before this start; an
    `honest` upstream numbers what it says and has a heartbeat. What it says of other symbols than
    those `served`, if any are named, is passed over. `halted` are those it had halted before.
    """

    def __init__(
        self,
        start_us: int,
        known: Mapping[str, int],
        *,
        honest: bool,
        served: Collection[str] = (),
        halted: Iterable[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.complete_us = start_us - 1  # the instant up to which everything is here
        self._known = known
        self._served = frozenset(served)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._waiting: list[Heard] = []
        self._revisions: deque[Revision] = deque(maxlen=REVISIONS_MAX)
        self._sorted = True
        self._places: dict[tuple[type, str], Place] = {}
        self._prices: dict[str, deque[tuple[Place, Hashable]]] = {}
        self._amended: dict[str, int] = {}  # symbol → number of the last amendment of its trades
        self._traded: set[str] = set()
        self._doubtful: set[str] = set()  # symbols whose next trade may follow a gap
        self._statuses = Statuses(halted)
        self._frames = 0
        self._honest = honest
        self._fed_at = float("-inf")  # the last sign of life of the upstream's own feed
        self._current = True  # False: the upstream may itself have missed something
        self._subscribed = False

    # --- the socket's thread ----------------------------------------------------------------

    def begin(self, at_us: int) -> None:
        """A new connection, from this instant of the wall clock on, counts its messages anew, and
        may be to another process."""
        self._frames = 0
        self._amended.clear()
        self._doubtful = set(self._traded)
        with self._lock:
            self._statuses.begin(at_us)

    def subscribed(self) -> None:
        """From now on the upstream says everything we asked for."""
        self._subscribed = True

    def end(self) -> None:
        """The connection is gone."""
        self._subscribed = False

    def hear(self, messages: list[Message]) -> None:
        """Take one frame; Lost when it shows that others did not arrive."""
        with self._lock:
            for message in messages:
                self._take(message)
        self._frames += 1

    def is_full(self) -> bool:
        return len(self._waiting) >= WAITING_MAX

    def _take(self, message: Message) -> None:
        kind = message["T"]
        if not self._serves(message.get("S")):
            return
        if kind == "q":
            self._quote(message["S"], message)
        elif kind == "t":
            self._trade(message["S"], message)
        elif kind in "cx":
            self._revisions.append(read_revision(message["S"], message))
            self._note_amended(message["S"], place_of(message), arrived=1)
        elif kind == "s":
            self._statuses.hear(message)
        elif kind == "snapshot":
            self._snapshot(message["S"], message)
        elif kind == "heartbeat":
            self._beat(message)

    def _serves(self, symbol: str | None) -> bool:
        """None stands for what is said of no symbol."""
        return symbol is None or not self._served or symbol in self._served

    def _quote(self, symbol: str, message: Message) -> None:
        place = place_of(message)
        if self._is_new(Quote, symbol, place):
            self._add(Heard(read_quote(symbol, message)))

    def _trade(self, symbol: str, message: Message) -> None:
        place = place_of(message)
        before = self._places.get((Trade, symbol))
        if not self._is_new(Trade, symbol, place):
            return
        missed = self._missed(symbol, before, place)
        MISSED.inc(missed)
        self._doubtful.discard(symbol)
        self._traded.add(symbol)
        trade = read_trade(symbol, message)._replace(sequence=missed)
        if not self._honest:  # another Openbell tells, and an operator's halt is none of its market
            self._statuses.see(trade)
        name = name_of(symbol, message)
        if place is not None and trade.sets_price:
            self._prices.setdefault(symbol, deque(maxlen=PRICES_MAX)).append((place, name))
        self._add(Heard(trade, name))

    def _missed(self, symbol: str, before: Place | None, place: Place | None) -> int:
        """How many trades are missing before this one: at least so many."""
        if before is None or place is None:
            return int(symbol in self._doubtful)
        if place.epoch == before.epoch:
            return place.number - before.number - 1
        # Another epoch counts from 1. What came last in the one before, nobody can tell us now.
        return place.number - 1 + int(symbol in self._doubtful)

    def _is_new(self, kind: type, symbol: str, place: Place | None) -> bool:
        if place is None:
            return True
        before = self._places.get((kind, symbol))
        if before is not None and place <= before:
            return False
        self._places[kind, symbol] = place
        return True

    def _snapshot(self, symbol: str, message: Message) -> None:
        """Where a symbol stands. Its last trade is news unless it was heard before we started."""
        quote, trade, trades = message["quote"], message["trade"], message["trades"]
        if message.get("halted") is not None:
            self._statuses.note(symbol, message["halted"])
        before = self._places.get((Trade, symbol))
        is_first = before is None
        if quote:
            self._quote(symbol, quote)
        if trade and "rank" in trade:
            self._revisions += self._canceled(symbol, trade)
        if trade and micros_of(trade["t"]) > self._known.get(symbol, -1):
            if trade.get("u") and not _is_after(place_of(trade), before):
                self._revisions.append(self._revision(symbol, trade))
            if trade.get("u") != CANCELED:
                self._trade(symbol, trade)
        if "amendments" in message:
            self._note_amended(symbol, Place(*message["amendments"] or (0, 0)), arrived=0)
        if trades and is_first:  # the stream goes on from here
            here = Place(*trades)
            self._places[Trade, symbol] = max(here, self._places.get((Trade, symbol), here))

    def _note_amended(self, symbol: str, place: Place | None, *, arrived: int) -> None:
        """Count what is missing between the last number and this one; the first begins."""
        if place is None:
            return
        last = self._amended.get(symbol, place.number - arrived)
        MISSED_AMENDMENTS.inc(max(place.number - last - arrived, 0))
        self._amended[symbol] = max(place.number, last)

    def _canceled(self, symbol: str, trade: Message) -> list[Revision]:
        """Of the trades that were heard, those after this one that would be the last price if they
        had not been taken back, be it while we were not there."""
        since, (epoch, number, _) = place_of(trade), trade["rank"]
        said_us = max(self.complete_us, micros_of(trade["t"]))
        return [
            Revision(symbol, said_us, name, None, None, "C")
            for place, name in self._prices.get(symbol, ())
            if since is not None and since < place <= (epoch, number)
        ]

    def _revision(self, symbol: str, trade: Message) -> Revision:
        """Of a trade that was heard: when it was said to be wrong, we may not have been there."""
        name, said_us = name_of(symbol, trade), max(self.complete_us, micros_of(trade["t"]))
        if trade["u"] == CANCELED:
            return Revision(symbol, said_us, name, None, None, "C")
        return Revision(symbol, said_us, name, read_trade(symbol, trade), name, "")

    def _beat(self, message: Message) -> None:
        if message["sent"] != self._frames:
            raise Lost(f"{message['sent']} messages were sent, {self._frames} arrived")
        self._current = message.get("current", True)
        if message["quiet_ms"] is not None:
            fed_at = self._monotonic() - message["quiet_ms"] / 1_000
            self._fed_at = max(self._fed_at, fed_at)
        for symbol, place in message["quotes"].items():
            known = self._places.get((Quote, symbol))
            if self._serves(symbol) and (known is None or known < Place(*place)):
                raise Lost(f"the newest quote of {symbol} did not arrive")
        if message["t"] is not None:
            self.complete_us = max(self.complete_us, micros_of(message["t"]))

    def _add(self, heard: Heard) -> None:
        self._waiting.append(heard)
        self._sorted = False
        self._fed_at = self._monotonic()
        # The last instant may go on in the next frame.
        self.complete_us = max(self.complete_us, heard.tick.at_us - 1)

    # --- ingest's thread --------------------------------------------------------------------

    def is_live(self) -> bool:
        """Whether the upstream is there, and its own feed not silent as far as it tells."""
        if not self._honest:
            return self._subscribed  # whether it is quiet or mute, the socket's pings tell
        heard = self._monotonic() - self._fed_at < SILENT_SECONDS
        return self._subscribed and self._current and heard

    def next_us(self) -> int:
        """The instant of the next tick, as far as is known."""
        with self._lock:
            self._sort()
            return self._waiting[0].tick.at_us if self._waiting else self.complete_us + 1

    def take(self, until_us: int, limit: int) -> list[Heard]:
        """The waiting ticks in order up to an instant, at most so many."""
        with self._lock:
            self._sort()
            count = 0
            for tick, _ in self._waiting[:limit]:
                if tick.at_us > until_us:
                    break
                count += 1
            taken = self._waiting[:count]
            del self._waiting[:count]
        return taken

    def take_revisions(self) -> list[Revision]:
        """What was said since the last call of trades that were printed before."""
        with self._lock:
            revisions = list(self._revisions)
            self._revisions.clear()
        return revisions

    def take_halts(self) -> dict[str, tuple[bool, str]]:
        """Symbols that were halted or resumed since the last call, and why."""
        with self._lock:
            return self._statuses.take()

    def skip_to(self, at_us: int) -> None:
        """Forget what is older than an instant, and count from there."""
        with self._lock:
            self._waiting = [each for each in self._waiting if each.tick.at_us >= at_us]
            self.complete_us = max(self.complete_us, at_us - 1)

    def _sort(self) -> None:
        if not self._sorted:
            self._waiting.sort(key=_order)
            self._sorted = True


def _is_after(place: Place | None, before: Place | None) -> bool:
    return place is None or before is None or place > before


def _order(heard: Heard) -> tuple[int, str, bool, int]:
    return tick_order(heard.tick)

"""The last trades of an upstream by the names that it gave them, for what it says of them later.

An exchange takes a trade back or corrects it minutes after it was printed. What is older than this
memory is passed over: it is told of, and changes nothing here.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable

from prometheus_client import Counter as Metric

from quotes.feeds.alpaca_wire import Revision
from quotes.ticks import CANCELED, CORRECTED, Amendment, Trade

TRADES_MAX = 50_000  # some 20 MB, and many minutes of a few hundred symbols
PATIENCE_SECONDS = 10.0  # for a trade that is corrected before market time has come to it
REVISIONS_WAITING_MAX = 10_000
# Prints count up from 1 in an epoch; trades that take the place of one count from here.
CORRECTED_FROM = 1 << 31

UNMATCHED = Metric(
    "openbell_feed_unmatched_amendments_total",
    "Corrections and cancellations of trades that are not remembered.",
)
log = logging.getLogger(__name__)


class Print:
    """A print: the trade as it stands by now, and the number that it was printed with."""

    def __init__(self, trade: Trade) -> None:
        self.stands = trade
        self.number = trade.sequence


class Tape:
    """Trades as they were numbered here; used by one thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._printed: OrderedDict[Hashable, Print] = OrderedDict()  # by all names it ever had
        self._corrected: Counter[str] = Counter()  # how many trades of a symbol were corrected
        self._waiting: list[tuple[Revision, float]] = []

    def print(self, name: Hashable, trade: Trade) -> None:
        """Remember a trade."""
        self._remember(name, Print(trade))

    def _remember(self, name: Hashable, printed: Print) -> None:
        self._printed[name] = printed
        if len(self._printed) > TRADES_MAX:
            self._printed.popitem(last=False)

    def amend(self, revisions: Iterable[Revision]) -> list[Amendment]:
        """What revisions come to; those whose trade is not printed yet wait for it a little.

        One that says what is known comes to nothing.
        """
        now, amendments = self._monotonic(), []
        asked = [*self._waiting, *((revision, now) for revision in revisions)]
        self._waiting = []
        for revision, since in asked:
            known = self._printed.get(revision.of)
            if known is not None and _says(revision.corrected, known.stands):
                self._remember(revision.name, known)
            elif known is not None and not known.stands.is_canceled:
                amendments.append(self._amended(revision, known))
            elif now - since < PATIENCE_SECONDS and len(self._waiting) < REVISIONS_WAITING_MAX:
                self._waiting.append((revision, since))
            else:
                UNMATCHED.inc()
                log.warning("%s: a trade is amended that is not remembered", revision.symbol)
        return amendments

    def _amended(self, revision: Revision, known: Print) -> Amendment:
        symbol, at_us, original = revision.symbol, revision.at_us, known.stands
        if revision.corrected is None:
            known.stands = original._replace(amended=CANCELED)
            return Amendment(symbol, at_us, original, action=revision.action, printed=known.number)
        number = CORRECTED_FROM + self._corrected[symbol]
        self._corrected[symbol] += 1
        corrected = revision.corrected._replace(
            at_us=original.at_us, sequence=number, epoch=original.epoch, amended=CORRECTED
        )
        known.stands = corrected
        self._remember(revision.name, known)
        return Amendment(symbol, at_us, original, corrected, printed=known.number)


def _says(revised: Trade | None, trade: Trade) -> bool:
    """Whether this is what the trade says anyway."""
    if revised is None:
        return trade.is_canceled
    return not trade.is_canceled and _content(revised) == _content(trade)


def _content(trade: Trade) -> tuple[object, ...]:
    return trade.price, trade.size, trade.conditions, trade.sets_price, trade.counts_volume

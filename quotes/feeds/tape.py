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
from quotes.ticks import CORRECTED, Amendment, Trade

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


class Tape:
    """Trades as they were numbered here; used by one thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        # Each trade as it stands, and the number of its print.
        self._printed: OrderedDict[Hashable, tuple[Trade, int]] = OrderedDict()
        self._corrected: Counter[str] = Counter()  # how many trades of a symbol were corrected
        self._waiting: list[tuple[Revision, float]] = []

    def print(self, name: Hashable, trade: Trade) -> None:
        """Remember a trade."""
        self._remember(name, trade, trade.sequence)

    def _remember(self, name: Hashable, trade: Trade, printed: int) -> None:
        self._printed[name] = trade, printed
        if len(self._printed) > TRADES_MAX:
            self._printed.popitem(last=False)

    def amend(self, revisions: Iterable[Revision]) -> list[Amendment]:
        """What revisions come to; those whose trade is not printed yet wait for it a little."""
        now, amendments = self._monotonic(), []
        asked = [*self._waiting, *((revision, now) for revision in revisions)]
        self._waiting = []
        for revision, since in asked:
            known = self._printed.pop(revision.of, None)
            if known is not None:
                amendments.append(self._amended(revision, *known))
            elif now - since < PATIENCE_SECONDS and len(self._waiting) < REVISIONS_WAITING_MAX:
                self._waiting.append((revision, since))
            else:
                UNMATCHED.inc()
                log.warning("%s: a trade is amended that is not remembered", revision.symbol)
        return amendments

    def _amended(self, revision: Revision, original: Trade, printed: int) -> Amendment:
        symbol, at_us = revision.symbol, revision.at_us
        if revision.corrected is None:
            return Amendment(symbol, at_us, original, action=revision.action, printed=printed)
        number = CORRECTED_FROM + self._corrected[symbol]
        self._corrected[symbol] += 1
        corrected = revision.corrected._replace(
            at_us=original.at_us, sequence=number, epoch=original.epoch, amended=CORRECTED
        )
        self._remember(revision.name, corrected, printed)
        return Amendment(symbol, at_us, original, corrected, printed=printed)

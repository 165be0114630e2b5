"""Where amendments of trades belong among the ticks of their batch. Pure.

A feed tells them beside its ticks. Batches must decide nothing, so an amendment counts from the
instant at which it was said, yet never before the print that it is of. One thing they do decide:
which price stands between a canceled print and a newer one. The feed tells the price before the
canceled one only where it has not heard the newer one yet; else there is none in between.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from quotes.ticks import Amendment, Batch, Quote, Trade

Stretch = tuple[Sequence[Quote | Trade], Sequence[Amendment]]


def stretches(batch: Batch) -> Iterable[Stretch]:
    """The ticks of a batch in their order, each run of them with the amendments that follow it."""
    ticks = batch.ticks
    if not batch.amendments:
        return [(ticks, ())]
    instants = [tick.at_us for tick in ticks]
    printed = {
        (tick.symbol, tick.epoch, tick.sequence): number
        for number, tick in enumerate(ticks, start=1)
        if isinstance(tick, Trade)
    }
    after: defaultdict[int, list[Amendment]] = defaultdict(list)  # so many ticks
    for each in batch.amendments:
        said, of = bisect_left(instants, each.at_us), printed.get(_newest_print(each), 0)
        after[max(said, of)].append(each)
    ends = sorted({*after, len(ticks)})
    return [(ticks[start:end], after[end]) for start, end in pairwise([0, *ends])]


def _newest_print(amendment: Amendment) -> tuple[str, int, int]:
    """Symbol, epoch and number of the newest print that whoever amends had heard."""
    epoch, number = amendment.number if amendment.last is None else amendment.last.rank[:2]
    return amendment.symbol, epoch, number

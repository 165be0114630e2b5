"""Python's cyclic garbage collector, in servers."""

from __future__ import annotations

import gc

# New objects, then young and middle collections, between two of each generation of the collector;
# Python's own 700, 10, 10 suit programs with few objects.
COLLECTOR_THRESHOLDS = (20_000, 20, 50)


def spare_the_collector() -> None:
    """Keep it from walking over the whole program, and every connection, again and again.

    What the start has left is never garbage. Of what comes later most is freed by counting; each
    full collection visits some 300 objects of every connection, for 10,000 of them half a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)

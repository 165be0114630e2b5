"""Pages of bars that have ended for good, kept as query results for all who page through the past.

A page is finished when its last bar ended before the market's day began. What is written there is
the exception: an import, the last bars of a day just over, a trade that came very late. Whoever
writes there says so (`note_written`), and every kept page is forgotten. A page that reaches into
the day is read each time, so that nobody misses a bar that has just closed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Any

from django.core.cache import caches
from django.db import transaction

from quotes.bars import midnight
from quotes.calendar import NEW_YORK
from quotes.clock import market_clock
from quotes.ticks import Bar
from quotes.timeframes import BarLength

NAME = "bars"  # in the table of cache policies
# Some 80 bytes each. Whoever asks for more at a time is fetching a year, once; it would push out
# what others come back for.
BARS_MAX = 1_000

Page = tuple[list[Bar], tuple[str, int] | None]


def page(
    length: BarLength, end: int, limit: int, query: Hashable, read: Callable[[], Page]
) -> Page:
    """The page that `read` reads, from the cache where it is finished; `query` is what names it.

    `end` is the last instant asked for, in epoch seconds, `limit` how many bars the page holds.
    """
    if limit > BARS_MAX or length.end(length.label(end)) > _day_began(market_clock().now()):
        return read()
    key = blake2b(repr((str(length), end, limit, query)).encode(), digest_size=16).hexdigest()
    cache: Any = caches["quotes"]
    bars, after = cache.get_or_load_many(NAME, [key], lambda _: {key: read()})[key]
    return [Bar._make(bar) for bar in bars], None if after is None else tuple(after)


def note_written(starts: Iterable[int], using: str) -> None:
    """Say that bars which start at these epoch seconds were written; heard once they are committed.

    In the transaction that wrote them, or after it.
    """
    if min(starts, default=_NEVER) < _day_began(market_clock().now()):
        transaction.on_commit(forget, using=using)


def forget() -> None:
    """Read every page anew."""
    caches["quotes"].forget(NAME)  # type: ignore[attr-defined]


_NEVER = 2**63


def _day_began(now: datetime) -> int:
    return midnight(now.astimezone(NEW_YORK).date())

"""The latest quote and trade of each symbol: what the market says now.

Ingest puts them, everybody gets them. The fast store is this process's memory (`local`) or Redis
(`redis`, the only file that knows its keys); what it does not know is loaded from the table that
ingest keeps (`rows`), with one query however many symbols miss. A tick never replaces a newer one:
(epoch, sequence) decides.

A quote carries its age; whether it may be used is the caller's to judge (`Clock.feed_is_silent`,
a halt, a crossed book).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from django.conf import settings

from quotes.latest import rows
from quotes.latest.local import NOTHING, Latest, LocalStore, Store, newest
from quotes.ticks import Quote, Trade

__all__ = [
    "NOTHING",
    "Latest",
    "Store",
    "forget_latest",
    "get",
    "get_many",
    "newest",
    "put_many",
    "store",
]

_store: Store | None = None
_making = threading.Lock()


def put_many(ticks: Iterable[Quote | Trade]) -> None:
    """Keep the newest quote and price-setting trade per symbol; ticks come in ascending order.

    On Redis this is one round trip, so never call it on an event loop's thread there.
    """
    store().put_many(ticks)


def get_many(symbols: Iterable[str]) -> dict[str, Latest]:
    """What is known of each of the symbols; `NOTHING` where nothing is.

    One round trip, and one query for those that miss: never on an event loop's thread.
    """
    wanted = list(dict.fromkeys(symbols))
    found = store().get_many(wanted)
    misses = [symbol for symbol in wanted if found.get(symbol, NOTHING).quote is None]
    if misses:
        loaded = rows.load(misses)
        store().put_many(tick for latest in loaded.values() for tick in latest if tick is not None)
        for symbol, stored in loaded.items():
            held = found.get(symbol, NOTHING)
            found[symbol] = Latest(stored.quote, held.trade or stored.trade)
    return {symbol: found.get(symbol, NOTHING) for symbol in wanted}


def get(symbol: str) -> Latest:
    """What is known of one symbol. For more than one use `get_many`."""
    return get_many([symbol])[symbol]


def store() -> Store:
    """The process's fast store, as settings name it."""
    global _store
    if _store is None:
        with _making:
            if _store is None:
                _store = _make()
    return _store


def _make() -> Store:
    if not settings.REDIS_URL:
        return LocalStore()
    from quotes.latest.redis import RedisStore  # the embedded set runs without it

    return RedisStore(settings.REDIS_URL)


def forget_latest() -> None:
    """Start the process's fast store afresh; on Redis, what it holds is deleted too."""
    global _store
    with _making:
        gone, _store = _store, None
    if gone is not None:
        gone.clear()
    rows.forget_instruments()


def _start_afresh_in_child() -> None:
    global _store, _making
    _store, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_start_afresh_in_child)  # connections are not shared

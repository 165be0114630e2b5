"""The latest quote and trade of each symbol: what the market says now.

Ingest puts them, everybody gets them. The fast store is this process's memory (`local`) or Redis
(`redis`, the only file that knows its keys); what it does not know is loaded from the table that
ingest keeps (`rows`). A tick never replaces a newer one: (epoch, sequence) decides, and of last
prices that were said anew their rank.

Of all who miss a symbol one loads it, over all processes: on Redis the first round trip answers and
locks what misses for its caller, the second writes back and frees. One query loads all that a
request misses, and all that other threads miss meanwhile (`gathering`). That the table has nothing
is remembered too, for a few seconds or until a tick is put.

A quote carries its age; whether it may be used is the caller's to judge (`Clock.feed_is_silent`,
a halt, a crossed book).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.cache import caches

from quotes.latest import rows
from quotes.latest.gathering import Gathering
from quotes.latest.local import NOTHING, Latest, LocalStore, Store, newest
from quotes.ticks import CANCELED, Place, Quote, Trade

__all__ = [
    "NOTHING",
    "Latest",
    "Store",
    "forget_latest",
    "get",
    "get_many",
    "newest",
    "place",
    "put_many",
    "store",
]

NAME = "latest"  # in the table of cache policies
CONDITIONS, STANDS = (Trade._fields.index(name) for name in ("conditions", "stands"))

_store: Store | None = None
_shared: Any = None  # the cache over the store, where that is Redis
_gathering = Gathering(rows.load)
_making = threading.Lock()


def put_many(ticks: Iterable[Quote | Trade], place: Place | None = None) -> None:
    """Keep the newest quote and price-setting trade per symbol; ticks come in ascending order.

    A feed says with them which `place` it has come to. On Redis this is one round trip, so never
    call it on an event loop's thread there.
    """
    store().put_many(ticks, place)


def place() -> Place | None:
    """The place of the feed up to which `get_many` is sure to know all; None if it cannot tell.

    Never on an event loop's thread.
    """
    return store().place()


def get_many(symbols: Iterable[str], *, with_canceled: bool = False) -> dict[str, Latest]:
    """What is known of each of the symbols; `NOTHING` where nothing is.

    A last price that was canceled, where none is known before it, is none: `with_canceled` shows
    the trade that says so, for those who have to tell whether they know something newer.

    Never on an event loop's thread: one round trip, and for those that miss one query and one round
    trip more. Raises Unavailable where another's load does not end.
    """
    wanted = list(dict.fromkeys(symbols))
    fast = store()
    found = (
        _through_memory(fast, wanted) if isinstance(fast, LocalStore) else _through_redis(wanted)
    )
    if not with_canceled:
        found = {symbol: _without_canceled(known) for symbol, known in found.items()}
    return {symbol: found.get(symbol, NOTHING) for symbol in wanted}


def _without_canceled(known: Latest) -> Latest:
    trade = known.trade
    return Latest(known.quote) if trade is not None and trade.amended == CANCELED else known


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
    global _shared
    if not settings.REDIS_URL:
        return LocalStore()
    from redis.exceptions import RedisError  # the embedded set runs without it

    from quotes.latest.redis import RedisStore

    made = RedisStore(settings.REDIS_URL)
    _shared = caches["quotes"].over(made, (RedisError,))  # type: ignore[attr-defined]
    return made


def _through_redis(wanted: list[str]) -> dict[str, Latest]:
    known = _shared.get_or_load_many(NAME, wanted, _load)
    return {symbol: _latest(*known[symbol]) for symbol in known}


def _through_memory(memory: LocalStore, wanted: list[str]) -> dict[str, Latest]:
    found = memory.get_whole(wanted)
    cache: Any = caches["quotes"]
    cache.count_hits(NAME, len(found))
    if missing := [symbol for symbol in wanted if symbol not in found]:
        known = cache.get_or_load_many(NAME, missing, _load)
        loaded = {symbol: _latest(*known[symbol]) for symbol in known}
        found |= memory.put_loaded(missing, loaded)
    return found


def _load(symbols: list[str]) -> dict[str, Latest]:
    return _gathering(symbols)


def _latest(quote: list[Any] | None, trade: list[Any] | None) -> Latest:
    """Of what the cache unpacked, where every tuple has become a list.

    A trade that the release before this one put has no `stands`.
    """
    if trade is not None:
        trade[CONDITIONS] = tuple(trade[CONDITIONS])
        trade[STANDS:] = map(tuple, trade[STANDS:])
    return Latest(
        None if quote is None else Quote._make(quote), None if trade is None else Trade(*trade)
    )


def forget_latest() -> None:
    """Start the process's fast store afresh; on Redis, what it holds is deleted too."""
    global _store
    with _making:
        gone, _store = _store, None
    if gone is not None:
        gone.clear()
    caches["quotes"].forget(NAME)  # type: ignore[attr-defined]
    rows.forget_instruments()


def _start_afresh_in_child() -> None:
    global _store, _making, _gathering
    _store, _making, _gathering = None, threading.Lock(), Gathering(rows.load)


os.register_at_fork(after_in_child=_start_afresh_in_child)  # connections are not shared

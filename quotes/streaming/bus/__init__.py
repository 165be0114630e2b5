"""The bus: how ticks, bars, orders and account news travel from who makes them to who hears them.

`bus()` is the process's own. Embedded it hands messages from thread to thread (`local`); with
Redis it carries them between processes (`redis`), behind the same contract (`local.Bus`) and the
same mailboxes. A message is plain data, a `Batch` or a list of `Bar`; it is shared, never changed.

Topics, and what they carry:

    ticks:<shard>   Batch, one a turn of ingest; see `tick_topic`
    bars            list[Bar]: minute bars that closed, and the running daily bar once a minute
    orders          {"instrument_id", "order_id", "account_id"}: an order was accepted
    account:<pk>    {"account_sequence", "update"}: after the commit that made it
    control         {"kind": "key_revoked" | "clock" | "halt" | "resume" | ...}

A bus may lose (Redis away, a full mailbox): then `Subscription.missed` is set, and the reader takes
what it needs from where the truth is. Whatever must not be lost is a row first.
"""

from __future__ import annotations

import os
import threading
from zlib import crc32

from django.conf import settings

from quotes.streaming.bus.local import Bus, NoRoom
from quotes.streaming.bus.mailbox import Subscription, WhenFull

__all__ = [
    "BARS",
    "CONTROL",
    "ORDERS",
    "TICK_SHARDS",
    "TICK_TOPICS",
    "Bus",
    "NoRoom",
    "Subscription",
    "WhenFull",
    "account_topic",
    "bus",
    "forget_bus",
    "tick_topic",
]

TICK_SHARDS = 1  # one engine and one feed serve all symbols; both are sharded together, later
TICK_TOPICS = tuple(f"ticks:{shard}" for shard in range(TICK_SHARDS))
BARS = "bars"
ORDERS = "orders"
CONTROL = "control"
# Where neither the messages nor a table tell the reader that one was lost.
NUMBERED = frozenset({BARS, CONTROL})

_bus: Bus | None = None
_making = threading.Lock()


def tick_topic(symbol: str) -> str:
    """The topic that carries the ticks of this symbol."""
    return TICK_TOPICS[crc32(symbol.encode()) % TICK_SHARDS]


def account_topic(account_id: int) -> str:
    """The topic that carries the news of this account."""
    return f"account:{account_id}"


def bus() -> Bus:
    """The process's bus: over Redis where settings name one, else inside this process."""
    global _bus
    if _bus is None:
        with _making:
            if _bus is None:
                _bus = _make()
    return _bus


def _make() -> Bus:
    if not settings.REDIS_STATE_URL:
        return Bus()
    from quotes.streaming.bus.redis import RedisBus  # the embedded set runs without it

    return RedisBus(settings.REDIS_STATE_URL, NUMBERED)


def forget_bus() -> None:
    """Close the process's bus; the next call of `bus()` makes a new one."""
    global _bus
    with _making:
        gone, _bus = _bus, None
    if gone is not None:
        gone.close()


def _start_afresh_in_child() -> None:
    global _bus, _making
    _bus, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_start_afresh_in_child)  # a thread does not survive a fork
